//! The IMAP server.
//!
//! Imports go one way: [`Server`] imports the machine in `core.rs`, the machine imports the session in `session.rs`,
//! and the session imports the types of its state. Each concern has a file with the session's methods for it.

mod append;
mod append_progress;
mod auth;
mod capability;
mod commands;
mod compress;
mod compression;
mod core;
mod counters;
mod data;
mod event;
mod expunges;
mod fetch;
mod long_line;
mod machine;
mod notify;
mod owned_event;
mod refusal;
mod reply;
mod search;
mod session;
mod starttls;
mod tag;
mod unfinished;
mod url_data;
mod url_metadata;

pub use counters::Refusals;
pub use event::{CompressRequest, Event, LiteralOffer, Reply};
pub use expunges::Expunges;
pub use fetch::FetchWriter;
pub use machine::Server;
pub use owned_event::OwnedEvent;
pub use search::SearchForm;
pub use starttls::Upgrade;
