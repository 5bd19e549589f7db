//! How much a session writes before it waits for the client, or yields to other sessions.

/// Once this many bytes of output are pending, nothing more is written until the client reads.
pub(super) const HIGH_WATER: usize = 128 * 1024;

/// The number of bytes that a session writes before it yields to the others.
const BYTES_PER_TURN: usize = 32 * 1024;

/// Returns whether enough was written for now, given the pending output before and now.
pub(super) fn should_yield(before: usize, now: usize) -> bool {
    now >= HIGH_WATER || now.saturating_sub(before) >= BYTES_PER_TURN
}
