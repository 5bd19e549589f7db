//! Stops a run after Ctrl-C or SIGTERM without leaving messages uncertain.
//!
//! The run begins no further message. Messages in progress get [`FINISH_TIME`] to complete. Then the run ends, unless the
//! final bytes of a message were sent: without the server's reply that message would be uncertain, so the run waits for
//! it for up to [`REPLY_TIME`].

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mailclient::delivery::StopSignal;

use crate::interrupt::{self, CHECK_INTERVAL, Interrupt};

/// How long messages in progress may take after a stop.
const FINISH_TIME: Duration = Duration::from_secs(3);
/// How long to wait for the reply to a whole message after that.
const REPLY_TIME: Duration = Duration::from_secs(30);

/// Decides whether messages may still be completed, and counts those without a reply.
#[derive(Debug, Default)]
pub(super) struct StopControl {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many messages were sent completely and have no reply.
    unanswered: usize,
    /// Whether no further message may be completed.
    is_closed: bool,
    /// Whether the run has ended by itself.
    has_ended: bool,
}

/// Whether a message was sent completely and has no reply.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<Option<interrupt::Unanswered>>);

impl Unanswered {
    /// Sets whether the message waits for its reply. Returns the previous value.
    fn replace(&self, waits: bool) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.is_some();
        *held = waits.then(interrupt::Unanswered::new);
        before
    }
}

impl StopControl {
    /// Records that the final bytes of a message are about to be sent.
    ///
    /// # Errors
    /// The run was stopped: the message must not be completed.
    pub(super) fn before_final_bytes(&self, message: &Unanswered) -> io::Result<()> {
        self.with(|state| {
            if state.is_closed {
                return Err(io::Error::other("the run was stopped"));
            }
            state.unanswered += usize::from(!message.replace(true));
            Ok(())
        })
    }

    /// Records that the result of the message is known.
    pub(super) fn answered(&self, message: &Unanswered) {
        if message.replace(false) {
            self.with(|state| state.unanswered = state.unanswered.saturating_sub(1));
        }
    }

    /// Records that the run has ended by itself.
    pub(super) fn run_ended(&self) {
        self.with(|state| state.has_ended = true);
    }

    /// Waits until the run has ended, and stops it when the user interrupts it.
    ///
    /// Returns `None` if the run has ended by itself. Otherwise it did not end in time: returns how many messages have no
    /// reply. No message can be completed after that.
    pub(super) fn watch(&self, interrupt: &Interrupt, stop: &StopSignal) -> Option<usize> {
        while !interrupt.is_requested() {
            if self.ends_within(CHECK_INTERVAL) {
                return None;
            }
        }
        stop.trigger();
        if self.ends_within(FINISH_TIME) {
            return None;
        }
        let until = Instant::now() + REPLY_TIME;
        loop {
            let unanswered = self.with(|state| {
                state.is_closed |= state.unanswered == 0 || until <= Instant::now();
                (state.is_closed && !state.has_ended).then_some(state.unanswered)
            });
            if unanswered.is_some() || self.ends_within(CHECK_INTERVAL) {
                return unanswered;
            }
        }
    }

    fn ends_within(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, time, |state| !state.has_ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.has_ended
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        if state.has_ended {
            self.changed.notify_all();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_unanswered_message_once_and_completes_none_after_a_stop() {
        let (control, one, two) = (StopControl::default(), Unanswered::default(), Unanswered::default());
        for message in [&one, &one, &two] {
            control.before_final_bytes(message).unwrap();
        }
        assert_eq!(control.with(|state| state.unanswered), 2);
        control.answered(&one);
        control.answered(&one);
        assert_eq!(control.with(|state| state.unanswered), 1);
        control.with(|state| state.is_closed = true);
        assert!(control.before_final_bytes(&one).is_err());
        control.run_ended();
        assert_eq!(control.watch(&Interrupt::none(), &StopSignal::default()), None);
    }
}
