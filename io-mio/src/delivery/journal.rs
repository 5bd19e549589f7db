//! What is told of deliveries while they go on, so that a program can keep a record of its own, and show progress.
//!
//! It knows the moments that matter. What is written down, and where, the program knows.

use std::{fmt, io, time::Duration};

use super::{DeliveryReport, Diagnostic};
use crate::Error;

/// Told of each step of a [`Dispatcher`](super::Dispatcher) before the next one is taken. What is on disk when a method
/// returns is therefore never behind what a server may have, and a program that is killed and runs again knows from its
/// journal who may be sent the message:
///
/// * Of whom [`before_final_bytes`](Self::before_final_bytes) was not told, the server cannot have it.
/// * Of whom `ending` was told and [`attempt_finished`](Self::attempt_finished) behind it was not, the server may have it: sending it again
///   may deliver it twice.
/// * Behind `tried` the report says it: who has [`DeliveryStatus::Retry`](super::Status::Retry) there does not have it.
///
/// The calls come from the dispatcher's threads, those of one message one after the other. `T` is what the caller calls
/// a message ([`DeliveryRequest::id`](super::Order::id)). Each method does nothing unless it is written; `()` is the journal of
/// a program that keeps none.
pub trait Journal<T>: Sync {
    /// The last octets of a message are about to be sent, for these recipients: their numbers, in the order of the
    /// message. As soon as this returns the server may have it.
    ///
    /// # Errors
    /// The octets are kept back and the session is given up: the server cannot have the message. That ends this try
    /// and no other, so a journal that is broken for good also says [`StopSignal`](super::Stop).
    fn before_final_bytes(&self, _id: &T, _recipients: &[usize]) -> io::Result<()> {
        Ok(())
    }

    /// A try is over, and this is what is known of everybody. With a pause there is another one behind it, for those
    /// that wait; a message of which all tries are over, or that was stopped in a pause, is also told as
    /// [`DeliveryResult`](super::Done).
    fn attempt_finished(&self, _id: &T, _report: &DeliveryReport, _pause: Option<Duration>) {}

    /// So many octets more of a message were queued in this try.
    fn bytes_queued(&self, _id: &T, _octets: u64) {}

    /// A route came to nothing: nothing is sent on it for so long.
    fn route_paused(&self, _why: &Diagnostic, _pause: Duration) {}

    /// A server takes no more sessions than these, and is asked for no more as long as it has one.
    fn session_limit_reached(&self, _why: &Diagnostic, _sessions: usize) {}
}

impl<T> Journal<T> for () {}

/// The journal, for one message.
pub(super) trait Watch {
    fn before_final_bytes(&self, recipients: &[usize]) -> Result<(), Error>;
    fn bytes_queued(&self, octets: u64);
}

/// What is told of this message.
pub(super) struct Entry<'a, T, J: ?Sized> {
    pub(super) journal: &'a J,
    pub(super) id: &'a T,
}

impl<T, J: Journal<T> + ?Sized> Watch for Entry<'_, T, J> {
    fn before_final_bytes(&self, recipients: &[usize]) -> Result<(), Error> {
        let written = self.journal.before_final_bytes(self.id, recipients);
        written.map_err(|source| Error::Io { doing: "writing the journal", source })
    }

    fn bytes_queued(&self, octets: u64) {
        self.journal.bytes_queued(self.id, octets);
    }
}

/// Nobody is told.
impl Watch for () {
    fn before_final_bytes(&self, _: &[usize]) -> Result<(), Error> {
        Ok(())
    }

    fn bytes_queued(&self, _: u64) {}
}

impl<T, J: ?Sized> fmt::Debug for Entry<'_, T, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}
