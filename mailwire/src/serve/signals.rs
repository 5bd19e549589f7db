//! Signal handling: SIGTERM and SIGINT stop the server, SIGHUP reloads its settings.
//!
//! The process ends at [`DEADLINE`] after SIGTERM, even if a job of the store, a password hash or a write to the log
//! is still running. Only work that was not acknowledged to a client is lost.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mailserver::ServerHandle;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::command_error::{CommandError, ExitCode};
use crate::line_writer::LineWriter;

/// How long sessions may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(8);

/// When the process ends at the latest, after the first SIGTERM.
const DEADLINE: Duration = Duration::from_millis(9500);

/// How long threads may take to end after the last session.
const THREADS: Duration = Duration::from_secs(2);

/// How long the last lines of the log may take to be written.
const LAST_LINES: Duration = Duration::from_millis(200);

/// The thread that handles signals.
#[derive(Debug)]
pub(super) struct Signals {
    server: Arc<Mutex<Option<ServerHandle>>>,
    log: LineWriter,
}

impl Signals {
    /// Starts to handle signals. Each SIGHUP puts an item into the receiver, unless it already contains one.
    ///
    /// Until [`serving`](Self::serving) is called, SIGTERM and SIGINT end the process at once.
    ///
    /// # Errors
    /// The operating system cannot start a thread or install the handlers.
    pub(super) fn listen(log: &LineWriter) -> Result<(Self, Receiver<()>), CommandError> {
        let failed = |error: std::io::Error| {
            CommandError::new(ExitCode::Unavailable, format!("cannot handle signals: {error}"))
        };
        let (reload, reloads) = sync_channel(1);
        let signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
        let this = Self { server: Arc::default(), log: log.clone() };
        let (server, log) = (Arc::clone(&this.server), log.clone());
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || handle(signals, &server, &reload, &log))
            .map_err(failed)?;
        Ok((this, reloads))
    }

    /// From now on, SIGTERM and SIGINT let the server's sessions finish.
    pub(super) fn serving(&self, server: ServerHandle) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Ends the process soon, even if a thread is still running. Called after the last session.
    pub(super) fn finished(&self) {
        exit_after(THREADS, &self.log);
    }
}

/// The first signal lets sessions finish; the second ends the process at once.
fn handle(
    mut signals: signal_hook::iterator::Signals,
    server: &Mutex<Option<ServerHandle>>,
    reload: &SyncSender<()>,
    log: &LineWriter,
) {
    let mut stopping = false;
    for signal in signals.forever() {
        if signal == SIGHUP {
            let _ = reload.try_send(());
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
        tracing::warn!("cannot start the deadline's thread: the server ends after its last job");
    }
}

/// Ends the process. Waits for no lock and no thread, except briefly for the log.
fn exit(code: i32, log: &LineWriter) {
    log.wait_until_written(LAST_LINES);
    signal_hook::low_level::exit(code);
}
