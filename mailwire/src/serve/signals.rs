//! What the server does about signals: SIGTERM and SIGINT end it, SIGHUP makes it reload its settings.
//!
//! The process ends at [`DEADLINE`] after SIGTERM, whatever still runs: a job of the store, a password that is being
//! computed, a log that cannot be written. Only work that no client was told of is lost then.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use io_mio::ReactorHandle;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::{Failure, Kind};
use crate::line_writer::LineWriter;

/// How long sessions have to finish when the server goes down.
const GRACE: Duration = Duration::from_secs(8);

/// When the process ends at the latest, from the first SIGTERM on.
const DEADLINE: Duration = Duration::from_millis(9500);

/// How long threads have to end when every session is over.
const THREADS: Duration = Duration::from_secs(2);

/// How long the last lines of the log have to be written.
const LAST_LINES: Duration = Duration::from_millis(200);

/// The thread that waits for signals.
#[derive(Debug)]
pub(super) struct Signals {
    server: Arc<Mutex<Option<ReactorHandle>>>,
    log: LineWriter,
}

impl Signals {
    /// Waits for signals from now on. Each SIGHUP puts something into the receiver, unless something is there.
    ///
    /// Before [`serving`](Self::serving) is called, SIGTERM and SIGINT end the process at once.
    ///
    /// # Errors
    /// The operating system gives no thread or no signals.
    pub(super) fn wait(log: &LineWriter) -> Result<(Self, Receiver<()>), Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Kind::Unavailable, format!("signals cannot be waited for: {error}"))
        };
        let (hang_up, hung_up) = sync_channel(1);
        let signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
        let this = Self { server: Arc::default(), log: log.clone() };
        let (server, log) = (Arc::clone(&this.server), log.clone());
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || obey(signals, &server, &hang_up, &log))
            .map_err(failed)?;
        Ok((this, hung_up))
    }

    /// The server runs: SIGTERM and SIGINT let its sessions finish from now on.
    pub(super) fn serving(&self, server: ReactorHandle) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Every session is over: ends the process soon, even if a thread goes on.
    pub(super) fn finished(&self) {
        exit_after(THREADS, &self.log);
    }
}

/// The first signal lets sessions finish, the second ends the process at once.
fn obey(
    mut signals: signal_hook::iterator::Signals,
    server: &Mutex<Option<ReactorHandle>>,
    hang_up: &SyncSender<()>,
    log: &LineWriter,
) {
    let mut stopping = false;
    for signal in signals.forever() {
        if signal == SIGHUP {
            let _ = hang_up.try_send(());
            continue;
        }
        let server = server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match server {
            Some(server) if !stopping => {
                stopping = true;
                tracing::info!("stopping");
                exit_after(DEADLINE, log);
                server.shut_down(GRACE);
            }
            None if signal == SIGTERM => exit(0, log),
            _ => exit(128 + signal, log),
        }
    }
}

fn exit_after(delay: Duration, log: &LineWriter) {
    let end = log.clone();
    let wait = move || {
        std::thread::sleep(delay);
        exit(0, &end);
    };
    if std::thread::Builder::new().name("deadline".to_owned()).spawn(wait).is_err() {
        tracing::warn!("no thread for the deadline: the server ends when its last job does");
    }
}

/// Ends the process without waiting for any lock or thread but, for a moment, the log.
fn exit(code: i32, log: &LineWriter) {
    log.flush(LAST_LINES);
    signal_hook::low_level::exit(code);
}
