//! Ctrl-C and SIGTERM: the first signal requests a clean stop, the second one ends the process at once.
//!
//! A command with work to finish holds a [`Graceful`] guard and calls [`Interrupt::check`] between two steps. Without a
//! guard, the first signal ends the process. The exit code is 130 after SIGINT and 143 after SIGTERM, as in a shell.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::command_error::{CommandError, ExitCode};

/// The longest time between two checks for a signal while waiting for the network.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How many messages were sent completely and have no reply.
static UNANSWERED: AtomicUsize = AtomicUsize::new(0);

/// A message that was sent completely and has no reply, until the value is dropped. If a signal ends the process before
/// that, the last line says that the message may have arrived.
#[derive(Debug)]
pub(crate) struct Unanswered(());

impl Unanswered {
    pub(crate) fn new() -> Self {
        UNANSWERED.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        UNANSWERED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The handler of the two signals. There is one per process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Default)]
struct State {
    /// The signal received; 0 for none.
    signal: AtomicI32,
    /// Whether the first signal only sets the flag.
    graceful: AtomicBool,
    /// Held while the signal is stored, so that a sleeping thread never misses it.
    changed: Mutex<()>,
    woken: Condvar,
}

/// A guard: until it is dropped, the first signal requests a clean stop instead of ending the process.
pub(crate) struct Graceful(Interrupt);

impl Drop for Graceful {
    fn drop(&mut self) {
        self.0.0.graceful.store(false, Ordering::SeqCst);
    }
}

impl Interrupt {
    /// Installs the handler for SIGINT and SIGTERM. Later calls return the same handler.
    ///
    /// # Errors
    /// The handler cannot be installed.
    pub(crate) fn install() -> Result<Self, CommandError> {
        static INSTALLED: OnceLock<Interrupt> = OnceLock::new();
        if let Some(installed) = INSTALLED.get() {
            return Ok(installed.clone());
        }
        let failed = |error: std::io::Error| {
            CommandError::new(
                ExitCode::Unavailable,
                format!("the signal handler cannot be installed: {error}"),
            )
        };
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let interrupt = Self(Arc::new(State::default()));
        let watch = interrupt.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(|signal| watch.received(signal)))
            .map_err(failed)?;
        Ok(INSTALLED.get_or_init(|| interrupt).clone())
    }

    /// Returns a handler that receives no signals, for tests.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(Arc::new(State::default()))
    }

    /// Makes the first signal request a clean stop until the guard is dropped.
    #[must_use = "without the guard the first signal ends the process"]
    pub(crate) fn graceful(&self) -> Graceful {
        self.0.graceful.store(true, Ordering::SeqCst);
        Graceful(self.clone())
    }

    /// Returns whether a signal requested a clean stop.
    pub(crate) fn is_requested(&self) -> bool {
        self.0.signal.load(Ordering::SeqCst) != 0
    }

    /// Checks for a signal.
    ///
    /// # Errors
    /// [`ExitCode::Interrupted`] or [`ExitCode::Terminated`] after a signal. The caller adds advice how to continue.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        match self.0.signal.load(Ordering::SeqCst) {
            0 => Ok(()),
            SIGTERM => Err(CommandError::new(ExitCode::Terminated, "stopped by SIGTERM")),
            _ => Err(CommandError::new(ExitCode::Interrupted, "interrupted")),
        }
    }

    /// Sleeps for a time or until a signal. Returns whether the whole time has passed.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut guard = self.0.changed.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_requested() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            guard = self.0.woken.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    fn received(&self, signal: i32) {
        let first = !self.is_requested();
        if !first || !self.0.graceful.load(Ordering::SeqCst) {
            let text = if first { "interrupted" } else { "stopped at once" };
            write_line(&exit_message(text, UNANSWERED.load(Ordering::SeqCst)));
            signal_hook::low_level::exit(128 + signal);
        }
        {
            let _guard = self.0.changed.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.signal.store(signal, Ordering::SeqCst);
        }
        self.0.woken.notify_all();
        write_line("stopping cleanly; press Ctrl-C again to stop at once");
    }
}

/// Returns the last line of a process that a signal ends while messages have no reply.
fn exit_message(text: &str, unanswered: usize) -> String {
    match unanswered {
        0 => text.to_owned(),
        1 => format!(
            "{text}: the whole message was sent, and it is unknown whether the server accepted it; check before you send it \
             again"
        ),
        count => format!(
            "{text}: {count} whole messages were sent, and it is unknown whether the server accepted them; check before \
             you send them again"
        ),
    }
}

/// Writes a line to standard error, and ignores failures.
fn write_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "mailwire: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_requests_a_stop_and_wakes_a_sleeping_thread() {
        let interrupt = Interrupt::none();
        let _graceful = interrupt.graceful();
        assert!(interrupt.check().is_ok());
        let other = interrupt.clone();
        let sleeper = std::thread::spawn(move || other.sleep(Duration::from_secs(60)));
        interrupt.received(SIGTERM);
        assert!(!sleeper.join().unwrap());
        assert_eq!(interrupt.check().unwrap_err().exit_code, ExitCode::Terminated);
        assert_eq!(ExitCode::Terminated.number(), 143);
        assert_eq!(ExitCode::Interrupted.number(), 130);
    }

    #[test]
    fn the_last_line_mentions_messages_without_a_reply() {
        assert_eq!(exit_message("stopped at once", 0), "stopped at once");
        assert!(exit_message("stopped at once", 1).contains("the whole message was sent"));
        assert!(exit_message("interrupted", 7).contains("7 whole messages were sent"));
        let _unanswered = Unanswered::new();
        assert!(UNANSWERED.load(Ordering::SeqCst) > 0);
    }

    #[test]
    fn sleeps_for_the_whole_time_without_a_signal() {
        assert!(Interrupt::none().sleep(Duration::from_millis(5)));
    }
}
