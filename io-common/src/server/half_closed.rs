//! Peers that have closed their side of the connection while a reply is being worked on.

use std::time::{Duration, Instant};

use crate::{stream::Stream, transport::Transport};

/// How long work goes on for a peer that closed its side and may still read the reply (`printf ... | nc`). Bytes sent or
/// received start it again.
const HALF_CLOSED: Duration = Duration::from_secs(30);
/// The same limit if the peer closed TLS without an alert: most probably it reads nothing more.
const CUT_OFF: Duration = Duration::from_secs(2);

/// How long a session goes on for a peer that has closed its side.
#[derive(Debug, Default)]
pub(super) struct HalfClosed {
    /// When the peer counts as gone, and the byte counts when that was computed.
    gone_at: Option<(Instant, (u64, u64))>,
}

impl HalfClosed {
    /// Forgets when the peer counts as gone: the session reads, and a read reports the end.
    pub(super) fn forget(&mut self) {
        self.gone_at = None;
    }

    /// Returns whether the peer is gone, for a session that has a machine and does not read: no read reports the end then.
    pub(super) fn is_gone<S: Stream>(&mut self, transport: &Transport<S>, now: Instant) -> bool {
        let closed = transport.is_read_closed() || transport.rx.is_closed();
        if !closed {
            self.gone_at = None;
            return false;
        }
        if transport.is_hung_up() {
            return true;
        }
        let counts = transport.counts();
        let gone_at = self.gone_at.filter(|(_, before)| *before == counts && !transport.has_output());
        let limit = || if transport.is_cut_off() { CUT_OFF } else { HALF_CLOSED };
        let gone_at = gone_at.unwrap_or_else(|| (now + limit(), counts));
        let (at, _) = *self.gone_at.insert(gone_at);
        at <= now
    }

    /// Returns when the peer counts as gone.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.gone_at.map(|(at, _)| at)
    }
}
