//! Sync: fetches every message of an account once into a store.
//!
//! [`SyncEngine`] is the state machine of a run. It says what it needs next ([`SyncAction`]): a connection, the events of
//! the session, a [`StoreJob`], or time. `run` does that on a blocking thread, `tokio::SyncRunner` on tokio.
//!
//! Each batch of messages is committed together with their remote UIDs, so that an interrupted run continues after the
//! last batch. Bodies are streamed to the store: a message may be larger than memory.
//!
//! A message that the server refuses, fails on or never sends does not stop the others; it is isolated. The store
//! remembers it, and the next run requests it alone, after all others.
//!
//! A [`Strategy`] decides which messages of a folder to request. [`FetchMissing`] compares UIDs.

#[cfg(feature = "mio")]
mod blocking;
mod engine;
mod event;
mod fetching;
mod folder_fetch;
mod folder_run;
mod job;
mod limits;
mod listing;
mod local_mailboxes;
mod plan;
mod session_error;
mod strategy;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(feature = "mio")]
pub use blocking::run;
pub use engine::{SyncAction, SyncEnd, SyncEngine, SyncJob};
pub use event::SyncEvent;
pub use job::{StoreJob, StoreOutcome};
pub use limits::SyncLimits;
pub use local_mailboxes::{find_or_create_mailbox, local_account, local_names, remote_account_key};
pub use plan::sequence_set;
pub use strategy::{FetchMissing, FolderView, Selection, Strategy};
