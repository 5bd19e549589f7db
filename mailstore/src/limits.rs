//! Limits of mailbox names and of the work that one transaction does.

/// The longest mailbox name, in bytes.
pub const NAME_LIMIT: usize = 1_000;

/// The most levels of a mailbox name.
pub const LEVEL_LIMIT: usize = 32;

/// The most messages that a caller should change in one transaction, so that other writers get their turn. Pass it as
/// `limit` and continue at the returned `next`.
pub const WRITE_SLICE: usize = 500;

/// The bytes of memory at which a page of messages ends: keywords, envelopes, structures and bodies together. The last
/// message may exceed it.
pub(crate) const PAGE_LIMIT: usize = 512 * 1024;

/// The most ranges of a set that one page looks up.
pub(crate) const RANGE_LIMIT: usize = 4_000;

/// The most messages that one call examines for `\Deleted`, and the most UIDs for removals that are forgotten.
pub(crate) const SCAN_LIMIT: usize = 20_000;

/// The most unfetched messages of one remote mailbox that are recorded.
pub(crate) const UNFETCHED_LIMIT: usize = 10_000;

/// The most rows that one statement may return.
#[cfg(feature = "sqlite")]
pub(crate) const ROWS_LIMIT: usize = 1 << 30;
