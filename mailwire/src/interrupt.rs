//! Ctrl-C and SIGTERM: the first one asks the command to stop cleanly, the second one ends it at once.
//!
//! A command that has something to finish holds a [`Graceful`] guard while it works and looks at
//! [`Interrupt::check`] between two steps. Without a guard the first signal ends the process, since there is nothing
//! to save. The exit code is 130 after SIGINT and 143 after SIGTERM, as a shell reports it.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::{Failure, Kind};

/// How long a wait for the network may take before the flag is looked at again.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

/// How many whole messages were sent whose answer has not come.
static UNANSWERED: AtomicUsize = AtomicUsize::new(0);

/// A whole message that was sent and has no answer yet, until the value is dropped. A signal that ends the process
/// meanwhile says that the message may have arrived.
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

/// The process's only watch over the two signals. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Default)]
struct State {
    /// The signal that came; 0 for none.
    signal: AtomicI32,
    /// Whether the first signal only sets the flag.
    graceful: AtomicBool,
    /// Held while the flag is set, so that a sleeper never misses it.
    changed: Mutex<()>,
    woken: Condvar,
}

/// While it lives, the first signal asks for a clean stop instead of ending the process.
pub(crate) struct Graceful(Interrupt);

impl Drop for Graceful {
    fn drop(&mut self) {
        self.0.0.graceful.store(false, Ordering::SeqCst);
    }
}

impl Interrupt {
    /// Starts to watch SIGINT and SIGTERM; later calls return the same watch.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub(crate) fn install() -> Result<Self, Failure> {
        static INSTALLED: OnceLock<Interrupt> = OnceLock::new();
        if let Some(installed) = INSTALLED.get() {
            return Ok(installed.clone());
        }
        let failed = |error: std::io::Error| {
            Failure::new(Kind::Unavailable, format!("signals cannot be watched: {error}"))
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

    /// A watch that no signal reaches, for tests.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(Arc::new(State::default()))
    }

    /// From now on, until the guard is dropped, the first signal only sets the flag.
    #[must_use = "without the guard the first signal ends the process"]
    pub(crate) fn graceful(&self) -> Graceful {
        self.0.graceful.store(true, Ordering::SeqCst);
        Graceful(self.clone())
    }

    /// Whether a clean stop was asked for.
    pub(crate) fn is_requested(&self) -> bool {
        self.0.signal.load(Ordering::SeqCst) != 0
    }

    /// Fails once a clean stop was asked for.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] or [`Kind::Terminated`], without advice: the command adds how to go on.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.0.signal.load(Ordering::SeqCst) {
            0 => Ok(()),
            SIGTERM => Err(Failure::new(Kind::Terminated, "stopped by SIGTERM")),
            _ => Err(Failure::new(Kind::Interrupted, "interrupted")),
        }
    }

    /// Waits so long, or until a clean stop is asked for. Returns whether the whole time has passed.
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
            say(&last_words(text, UNANSWERED.load(Ordering::SeqCst)));
            signal_hook::low_level::exit(128 + signal);
        }
        {
            let _guard = self.0.changed.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.signal.store(signal, Ordering::SeqCst);
        }
        self.0.woken.notify_all();
        say("stopping cleanly; once more stops at once");
    }
}

/// What is said when a signal ends the process while so many messages have no answer.
fn last_words(text: &str, unanswered: usize) -> String {
    match unanswered {
        0 => text.to_owned(),
        1 => format!(
            "{text}: the whole message was sent, and whether the server has it is not known; look there before you \
             send it again"
        ),
        count => format!(
            "{text}: {count} whole messages were sent, and whether the server has them is not known; look there \
             before you send them again"
        ),
    }
}

/// Writes a line to standard error. A closed or full one is ignored.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "mailwire: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_sets_the_flag_and_wakes_a_sleeper() {
        let interrupt = Interrupt::none();
        let _graceful = interrupt.graceful();
        assert!(interrupt.check().is_ok());
        let other = interrupt.clone();
        let sleeper = std::thread::spawn(move || other.sleep(Duration::from_secs(60)));
        interrupt.received(SIGTERM);
        assert!(!sleeper.join().unwrap());
        assert_eq!(interrupt.check().unwrap_err().kind, Kind::Terminated);
        assert_eq!(Kind::Terminated.code(), 143);
        assert_eq!(Kind::Interrupted.code(), 130);
    }

    #[test]
    fn a_message_without_an_answer_is_named_when_the_process_ends() {
        assert_eq!(last_words("stopped at once", 0), "stopped at once");
        assert!(last_words("stopped at once", 1).contains("the whole message was sent"));
        assert!(last_words("interrupted", 7).contains("7 whole messages were sent"));
        let _unanswered = Unanswered::new();
        assert!(UNANSWERED.load(Ordering::SeqCst) > 0);
    }

    #[test]
    fn a_sleep_without_a_signal_lasts_its_time() {
        assert!(Interrupt::none().sleep(Duration::from_millis(5)));
    }
}
