//! Servers: listeners, and sessions that an async function or a [`Handler`](io_common::Handler) serves.

mod async_protocol;
mod handler_task;
mod incoming_mail;
mod listener;
mod replies;
mod service;
mod session;
mod session_signals;
mod session_table;

pub use async_protocol::{AsyncProtocol, AuthenticatingMachine, Incoming, ServedMachine};
pub use incoming_mail::IncomingMail;
pub use listener::{BoundPort, Server};
pub use service::Service;
pub use session::{CleartextSession, MessageBody, SecureSession, Session};
