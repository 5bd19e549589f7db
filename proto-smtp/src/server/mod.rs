//! The server: commands in, replies out.

mod auth;
mod core;
mod counters;
mod event;
mod fixed_replies;
mod forwarded;
mod hello;
mod incoming_message;
mod machine;
mod question;
mod receive;
mod redaction;
mod reply;
mod session;
mod starttls;
mod transaction;
mod xclient;

pub use event::{Event, OwnedEvent};
pub use machine::Server;
pub use question::Reply;
pub use starttls::Upgrade;
