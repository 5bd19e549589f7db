//! Sync: fetches an account into a store, and follows its changes.
//!
//! Each message is fetched once. Later runs fetch new messages and follow changed flags and keywords, removed messages, and
//! created, renamed and deleted folders with their subscriptions and special uses. [`RemovalPolicy`] says what happens to
//! local messages that the server has removed. The server is only read.
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
//!
//! Changes are learned from QRESYNC (RFC 7162) where the server has it, else from CONDSTORE, and else by comparing all
//! UIDs and flags. A folder whose STATUS is as the last run left it is not opened.

mod account_listing;
mod action;
#[cfg(feature = "mio")]
mod blocking;
mod engine;
mod engine_account;
mod engine_task;
mod engine_watch;
mod event;
mod examine;
mod fetching;
mod flag_changes;
mod folder_fetch;
mod folder_list;
mod folder_plan;
mod folder_run;
mod gone_folders;
mod job;
mod limits;
mod local_mailboxes;
mod notified;
mod plan;
mod reconnect;
mod removal;
mod session_error;
mod status_run;
mod strategy;
#[cfg(feature = "tokio")]
pub mod tokio;
mod watching;

pub use action::{SyncAction, SyncEnd, SyncJob};
#[cfg(feature = "mio")]
pub use blocking::run;
pub use engine::SyncEngine;
pub use event::SyncEvent;
pub use job::{StoreJob, StoreOutcome};
pub use limits::SyncLimits;
pub use local_mailboxes::{
    REMOVED_MAILBOX, find_or_create_mailbox, local_account, local_account_name, local_names,
    remote_account_key,
};
pub use plan::sequence_set;
pub use removal::{REMOVED_KEYWORD, RemovalPolicy};
pub use strategy::{FetchMissing, FolderView, Selection, Strategy};
