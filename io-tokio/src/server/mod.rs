//! Servers.

mod listener;
mod machines;
mod replies;
mod serve;
mod session;
mod signals;
mod table;
mod task;

pub use listener::{BoundPort, Server};
pub use machines::{AsyncProtocol, AuthenticatingMachine, Incoming, ServedMachine};
pub use serve::Service;
pub use session::{CleartextSession, MessageBody, SecureSession, Session};
