//! The IMAP client: [`ImapClient`], and the results of its commands.

mod append;
mod client;
mod commands;
mod fetch;
mod idle;
#[cfg(feature = "resync")]
mod resync;

pub use append::AppendWriter;
pub use client::ImapClient;
pub use fetch::{Body, Fetch, FetchPart};
pub use idle::Idle;
pub use io_common::client::{Answer, AppendedUid, ListedMailbox, SelectedMailbox, Updates};
