//! The IMAP client: [`ImapClient`], and the results of its commands.

mod append;
mod client;
mod commands;
mod fetch;
mod idle;
mod updates;

pub use append::{AppendWriter, AppendedUid};
pub use client::{Answer, ImapClient};
pub use commands::{ListedMailbox, SelectedMailbox};
pub use fetch::{Body, Fetch, Fetched};
pub use idle::Idle;
pub use updates::Updates;
