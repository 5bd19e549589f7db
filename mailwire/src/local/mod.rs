//! Reads a local store without a server: `list`, `show` and `search`.

pub(crate) mod list;
pub(crate) mod mailbox_reader;
pub(crate) mod message_line;
pub(crate) mod search;
pub(crate) mod show;
pub(crate) mod store_options;
