//! Servers: a [`Reactor`] accepts connections and calls a [`Handler`](crate::Handler) for each session.

mod incoming_mail;
pub(crate) mod listener;
pub(crate) mod reactor;
pub(crate) mod requests;

pub use incoming_mail::IncomingMail;
pub use listener::BoundPort;
pub use reactor::{Reactor, ReactorHandle};
