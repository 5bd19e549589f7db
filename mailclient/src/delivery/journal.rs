//! Reports the steps of deliveries, so that a program can keep a record and show progress.

use std::{io, time::Duration};

use super::{diagnostic::Diagnostic, report::DeliveryReport};

/// Receives each step of a dispatcher before the next one is taken. A journal that has written a
/// step to disk before it returns is therefore never behind the server. A program that is killed and runs again learns
/// from its journal which recipients may have the message:
///
/// * Without [`before_final_bytes`](Self::before_final_bytes) for a recipient, the server cannot have the message.
/// * With it but without a later [`attempt_finished`](Self::attempt_finished), the server may have the message: sending it
///   again may deliver it twice.
/// * After `attempt_finished` the report decides: recipients with [`DeliveryStatus::Retry`](super::DeliveryStatus::Retry)
///   do not have it.
///
/// The dispatcher's threads call the methods. The calls for one message are sequential. `T` is the caller's identifier
/// of a message ([`DeliveryRequest::id`](super::DeliveryRequest::id)). Each method does nothing by default. `()` is a
/// journal that records nothing.
pub trait Journal<T>: Sync {
    /// The last bytes of a message are about to be sent for these recipients (their numbers). Once this returns, the server
    /// may have the message.
    ///
    /// # Errors
    /// The last bytes are not sent and the session is closed, so that the server cannot have the message. This ends only
    /// this attempt. A journal that cannot be written any more also triggers the [`StopSignal`](super::StopSignal).
    fn before_final_bytes(&self, _id: &T, _recipients: &[usize]) -> io::Result<()> {
        Ok(())
    }

    /// An attempt has ended with this result. With a delay there is another one, for the waiting recipients. A message
    /// without further attempts is also reported as a [`DeliveryResult`](super::DeliveryResult).
    fn attempt_finished(&self, _id: &T, _report: &DeliveryReport, _delay: Option<Duration>) {}

    /// This many more bytes of a message were queued.
    fn bytes_queued(&self, _id: &T, _bytes: u64) {}

    /// A route failed: nothing is sent on it during this delay.
    fn route_paused(&self, _reason: &Diagnostic, _delay: Duration) {}

    /// A server accepts no more than this number of sessions. The dispatcher opens no more while the server has one.
    fn session_limit_reached(&self, _reason: &Diagnostic, _sessions: usize) {}
}

impl<T> Journal<T> for () {}
