//! Sync of a remote account into a store.

mod local_mailboxes;

pub use local_mailboxes::{find_or_create_mailbox, local_account, local_names, remote_account_key};
