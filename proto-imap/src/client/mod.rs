//! The IMAP client.
//!
//! Imports go one way: [`Client`] imports the machine in `core.rs`, the machine imports the session in `session.rs`,
//! and the session imports the types of its state. Each concern has a file with the session's methods for it.

mod append;
mod auth;
mod authentication;
mod capabilities;
mod collectors;
mod command;
mod command_id;
mod command_queue;
mod compress;
mod compression;
mod core;
mod event;
mod fetch;
mod idle;
mod long_search;
mod machine;
mod outgoing;
mod owned_event;
mod reader;
mod reply_matching;
mod respond;
mod session;
mod starttls;

pub use auth::LoginMethod;
pub use capabilities::Capabilities;
pub use collectors::{SearchCollector, ThreadCollector, TooManyResults};
pub use command_id::CommandId;
pub use event::{AuthOutcome, Event};
pub use machine::Client;
pub use owned_event::{OwnedAuthOutcome, OwnedEvent};
pub(crate) use session::Trust;
pub use starttls::{StartTls, Upgrade};
