//! Stopping a run that Ctrl-C or SIGTERM interrupts, without leaving a message whose outcome is unknown.
//!
//! No further message is begun. The messages under way get [`FINISH`] to be finished. Then the run ends, unless the last
//! bytes of one of them have left: its answer is awaited for [`ANSWER`], since without it the message is uncertain.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use io_mio::delivery::StopSignal;

use crate::interrupt::{self, Interrupt, LOOK};

/// How long messages under way may take when the run is to stop.
const FINISH: Duration = Duration::from_secs(3);
/// How long the answer to a whole message is awaited then.
const ANSWER: Duration = Duration::from_secs(30);

/// Whether messages may still be sent to their end, and how many were and have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    unanswered: usize,
    is_closed: bool,
    is_over: bool,
}

/// Whether a message waits for the answer to its end.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<Option<interrupt::Unanswered>>);

impl Unanswered {
    /// Notes that the message waits, or that it does not. Returns whether it did before.
    fn replace(&self, waits: bool) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.is_some();
        *held = waits.then(interrupt::Unanswered::new);
        before
    }
}

impl Gate {
    /// The last bytes of a message may leave, unless the gate is closed.
    pub(super) fn pass(&self, message: &Unanswered) -> io::Result<()> {
        self.with(|state| {
            if state.is_closed {
                return Err(io::Error::other("the run was stopped"));
            }
            state.unanswered += usize::from(!message.replace(true));
            Ok(())
        })
    }

    /// What became of the message is known.
    pub(super) fn answered(&self, message: &Unanswered) {
        if message.replace(false) {
            self.with(|state| state.unanswered = state.unanswered.saturating_sub(1));
        }
    }

    /// The run has ended by itself.
    pub(super) fn end(&self) {
        self.with(|state| state.is_over = true);
    }

    /// Waits until the run has ended by itself. When a stop is asked for first, stops it, and returns how many messages
    /// have no answer if it does not end in time: nothing more is sent then.
    pub(super) fn watch(&self, interrupt: &Interrupt, stop: &StopSignal) -> Option<usize> {
        while !interrupt.is_requested() {
            if self.is_over_within(LOOK) {
                return None;
            }
        }
        stop.trigger();
        if self.is_over_within(FINISH) {
            return None;
        }
        let until = Instant::now() + ANSWER;
        loop {
            let unanswered = self.with(|state| {
                state.is_closed |= state.unanswered == 0 || until <= Instant::now();
                (state.is_closed && !state.is_over).then_some(state.unanswered)
            });
            if unanswered.is_some() || self.is_over_within(LOOK) {
                return unanswered;
            }
        }
    }

    fn is_over_within(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, time, |state| !state.is_over);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        if state.is_over {
            self.changed.notify_all();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_unanswered_message_once_and_lets_none_pass_when_closed() {
        let (gate, one, two) = (Gate::default(), Unanswered::default(), Unanswered::default());
        for message in [&one, &one, &two] {
            gate.pass(message).unwrap();
        }
        assert_eq!(gate.with(|state| state.unanswered), 2);
        gate.answered(&one);
        gate.answered(&one);
        assert_eq!(gate.with(|state| state.unanswered), 1);
        gate.with(|state| state.is_closed = true);
        assert!(gate.pass(&one).is_err());
        gate.end();
        assert_eq!(gate.watch(&Interrupt::none(), &StopSignal::default()), None);
    }
}
