//! The store on SQLite.
//!
//! `store.rs` opens the database and shares it between threads, `schema.rs` holds the tables. The other modules hold the
//! statements, one topic each, and take the transaction that they run in.

mod accounts;
mod acl;
mod after_commit;
mod append;
mod changes;
mod client_account_store;
mod client_accounts;
mod errors;
mod files;
mod group_commit;
mod json_record;
mod keywords;
mod logins;
mod mailbox_row;
mod mailboxes;
mod messages;
mod metadata;
mod new_message;
mod own_uploads;
#[cfg(test)]
mod query_plans;
mod quota;
mod remote;
mod remote_state;
mod removals;
mod schema;
mod sharing;
mod store;
mod sync;
mod text_index;
mod unfetched;
mod unfinished_copies;
mod writer;

pub use store::SqliteStore;
