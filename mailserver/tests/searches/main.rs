//! SEARCH, SORT, THREAD and ESEARCH over every store: exact responses, and results compared with a plain model.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "the modules of the test use these")]

mod comparators;
mod contexts;
mod filters;
mod fuzzy;
mod mailbox;
mod many_mailboxes;
#[path = "../pipe/mod.rs"]
mod pipe;
mod random_changes;
mod results;
mod sort;
mod text_index;
mod thread;
