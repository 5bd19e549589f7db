//! What both endpoints of a joined conversation share in either protocol: buffers, a record and the endpoint's beliefs.
//! Also the checks on a failed machine, joined or not.

use proto_mail::{Error, Machine, RecvBuffer, SendBuffer};

use mailwire_tests::invariants::{self, Side};
use mailwire_tests::play::{Entry, Record};

use crate::automaton::{Beliefs, EndpointView, Stage};

/// The common part of both endpoints.
pub(crate) struct EndpointCommon {
    pub(crate) rx: RecvBuffer,
    pub(crate) tx: SendBuffer,
    pub(crate) record: Record,
    pub(crate) beliefs: Beliefs,
    /// Whether cleartext followed the line by which this endpoint agreed to start TLS.
    pub(crate) cleartext_after_agreement: bool,
    /// Output that is not on the wire yet.
    out: Vec<u8>,
    /// The progress of an exchange or a transaction that its `Debug` output does not show.
    pub(crate) progress: Vec<String>,
    /// The first inconsistency found.
    pub(crate) broken: Option<String>,
}

impl EndpointCommon {
    pub(crate) fn new() -> Self {
        Self {
            rx: RecvBuffer::new(),
            tx: SendBuffer::new(),
            record: Record::default(),
            beliefs: Beliefs::default(),
            cleartext_after_agreement: false,
            out: Vec::new(),
            progress: Vec::new(),
            broken: None,
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.rx.extend(bytes);
        self.record.heard(bytes.iter().filter(|&&byte| byte == b'\n').count());
    }

    /// TLS is established; the session starts again.
    pub(crate) fn secured(&mut self) {
        self.record.secured(&self.rx);
        if self.cleartext_after_agreement {
            self.broken = Some("TLS begins although cleartext followed the agreement to start it".to_owned());
        }
        (self.beliefs, self.progress) = (Beliefs::default(), Vec::new());
    }

    pub(crate) fn send(&mut self) {
        self.out.extend(self.tx.chunks().flat_map(|chunk| chunk.bytes.to_vec()));
        self.record.send(&mut self.tx);
    }

    /// Handles a failure, like [`ask_again`].
    pub(crate) fn fail(
        &mut self,
        error: &Error,
        more: &str,
        next: impl FnMut(&mut RecvBuffer, &mut SendBuffer) -> Next,
    ) {
        self.send();
        ask_again(error, more, (&mut self.rx, &mut self.tx), &mut self.record, next);
    }

    /// Returns the output, in cleartext split after each line that ends a piece.
    pub(crate) fn take_output(&mut self, clear: bool, ends: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        self.send();
        let out = std::mem::take(&mut self.out);
        let mut pieces = vec![Vec::new()];
        for line in out.split_inclusive(|&byte| byte == b'\n') {
            pieces.last_mut().unwrap().extend_from_slice(line);
            if clear && ends(line) {
                pieces.push(Vec::new());
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    pub(crate) fn view(&self, stage: Stage, state: String) -> EndpointView {
        let over = stage == Stage::Ended;
        // Before the handshake the content of unread bytes does not matter: any byte is fatal.
        let (unread, rx) = match (stage, self.rx.len()) {
            (Stage::Ended, _) => (0, String::new()),
            (Stage::HandshakePending, 1..) => (1, "any byte".to_owned()),
            (_, unread) => (unread, self.rx.bytes().escape_ascii().to_string()),
        };
        EndpointView {
            stage,
            unread,
            beliefs: self.beliefs,
            state: if over {
                String::new()
            } else {
                format!("{state} {rx} {:?} {}", self.progress, self.cleartext_after_agreement)
            },
        }
    }

    pub(crate) fn check_invariants(&self, side: Side) -> Result<usize, String> {
        let terms =
            invariants::Terms { side, secure: false, danger: false, may_hold: 1024, may_put_out: 4096 };
        invariants::check(&self.record, &terms)?;
        self.broken.clone().map_or(Ok(invariants::INVARIANTS + 2), Err)
    }
}

/// Whether an event occurred, or the error.
pub(crate) type Next = Result<bool, Error>;

/// Calls a failed machine again, also with more input. Records any output and any result other than the same error.
pub(crate) fn ask_again(
    error: &Error,
    more: &str,
    (rx, tx): (&mut RecvBuffer, &mut SendBuffer),
    record: &mut Record,
    mut next: impl FnMut(&mut RecvBuffer, &mut SendBuffer) -> Next,
) {
    record.send(tx);
    record.entries.push(Entry::Failed(error.clone()));
    for more in ["", "\r\n", more] {
        rx.extend(more.as_bytes());
        let again = next(rx, tx);
        if again.as_ref() != Err(error) {
            record.event(&again);
        }
        record.send(tx);
    }
}

/// Asks a machine for one event.
pub(crate) fn next(machine: &mut impl Machine, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Next {
    machine.next_event(rx, tx).map(|event| event.is_some())
}
