//! The attacks. Each is a function that opens its sessions, keeps them busy until its time is up, and reports
//! figures. A server may refuse or close a hostile session.

pub(crate) mod flags;
pub(crate) mod guesses;
pub(crate) mod idle;
pub(crate) mod messages;
pub(crate) mod quotas;
pub(crate) mod search;
pub(crate) mod sections;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::neighbours::Neighbours;
use crate::server_process::{Process, StoreKind};
use crate::wire::{Endpoints, Imap};

/// The attacked server, and the end of the attack.
pub(crate) struct Target<'a> {
    pub(crate) endpoints: &'a Endpoints,
    pub(crate) process: Process,
    pub(crate) store: StoreKind,
    /// The well-behaved users beside the attack.
    pub(crate) neighbours: &'a Neighbours,
    pub(crate) directory: &'a Path,
    pub(crate) until: Instant,
    /// How many hostile sessions were opened.
    pub(crate) sessions: AtomicUsize,
}

impl Target<'_> {
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits, but not beyond the end of the attack.
    pub(crate) fn pause(&self, time: Duration) {
        std::thread::sleep(time.min(self.until.saturating_duration_since(Instant::now())));
    }

    pub(crate) fn opened(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens a session with a small receive buffer, again and again, and runs the attack in it until the time is up.
    pub(crate) fn besiege(&self, host: u8, user: &str, attack: impl Fn(&mut Imap) -> io::Result<()>) {
        while !self.is_over() {
            let outcome =
                self.endpoints.slow_imap(host, user, crate::fixtures::PASSWORD).and_then(|mut imap| {
                    self.opened();
                    attack(&mut imap)
                });
            if outcome.is_err() {
                self.pause(Duration::from_millis(200));
            }
        }
    }

    /// Reads 4 KiB at a time with pauses, as long as the attack lasts.
    pub(crate) fn read_slowly(&self, imap: &mut Imap, pause: Duration) -> io::Result<()> {
        while !self.is_over() && imap.wire.discard(4096)? > 0 {
            self.pause(pause);
        }
        Ok(())
    }
}

/// How much a value has grown.
pub(crate) const fn growth(before: u64, after: u64) -> u64 {
    after.saturating_sub(before)
}
