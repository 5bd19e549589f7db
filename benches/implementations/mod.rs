//! The measured implementations. Each is a function in the file of its program.

pub(crate) mod gates;
pub(crate) mod imap_peers;
pub(crate) mod ours;
pub(crate) mod smtp_peers;
