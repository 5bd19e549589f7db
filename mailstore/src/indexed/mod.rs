//! A store over any place where messages are kept: the index is in memory.
//!
//! `storage.rs` is the interface of that place, `directory.rs` shares the accounts between threads, and `state.rs` is the
//! index of one account. The other modules hold the operations, one topic each; `transaction.rs` makes their changes together
//! or not at all.

mod access;
mod accounts;
mod acl;
mod changes;
pub(crate) mod client_accounts;
mod content;
mod directory;
mod fair_lock;
mod load;
mod mailboxes;
mod messages;
mod metadata;
pub(crate) mod remote;
pub(crate) mod remote_records;
mod state;
mod storage;
mod store;
mod transaction;

pub use storage::{Storage, StorageChange, StoredAccount, StoredMailbox, StoredMessage, StoredMetadata};
pub use store::IndexedStore;
