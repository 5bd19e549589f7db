//! What a dispatcher takes and returns.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{message::Message, report::DeliveryReport};
use io_common::Error;

/// A message to deliver, with its route and the caller's identifier.
#[derive(Debug)]
pub struct DeliveryRequest<T, S, R> {
    /// The caller's identifier, returned with the result.
    pub id: T,
    /// The message.
    pub message: Message<S>,
    /// The route to the server.
    pub route: R,
}

/// The result of a [`DeliveryRequest`].
#[derive(Debug)]
pub struct DeliveryResult<T, S, E = Error> {
    /// The caller's identifier.
    pub id: T,
    /// The message of the request.
    pub message: Message<S>,
    /// The result for each recipient.
    pub report: DeliveryReport,
    /// The error of the last attempt as a whole, if there was one.
    pub error: Option<E>,
    /// Whether the route failed finally (see [`DeliveryEngine`](super::engine::DeliveryEngine)), and the message with it.
    /// The first message that was held for the route has the error, if there was one. A caller that has no other route
    /// may want to stop.
    pub route_failed: bool,
}

/// Ends a run early, from any thread. No further attempt begins. Attempts in progress are completed, because aborting
/// one may leave a message [`Uncertain`](super::DeliveryStatus::Uncertain).
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Ends the run.
    pub fn trigger(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Returns whether it was triggered.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
