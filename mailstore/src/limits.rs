//! Limits of mailbox names and of the work that one transaction does.

/// The longest mailbox name, in bytes.
pub const NAME_LIMIT: usize = 1_000;

/// The most levels of a mailbox name.
pub const LEVEL_LIMIT: usize = 32;

/// The most messages that a caller should change in one transaction, so that other writers get their turn. Pass it as
/// `limit` and continue at the returned `next`.
pub const WRITE_SLICE: usize = 500;
