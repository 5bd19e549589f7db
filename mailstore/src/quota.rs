//! Checks of a [`Quota`], before something is added.

use crate::error::{Error, Result};
use crate::metadata::METADATA_ENTRY_LIMIT;
use crate::types::{Quota, Usage};

impl Quota {
    /// Allows as many messages and bytes as an account has already.
    pub(crate) fn or_usage(self, usage: &Usage) -> Self {
        Self { messages: self.messages.max(usage.messages), bytes: self.bytes.max(usage.bytes), ..self }
    }
}

/// Checks whether an account with this usage may store more messages.
pub(crate) fn check_messages(quota: &Quota, usage: &Usage, messages: u64, bytes: u64) -> Result<()> {
    if bytes > quota.bytes || messages > quota.messages {
        return Err(Error::OverQuota { what: "the size of the account's messages", permanent: true });
    }
    check(usage.messages, messages, quota.messages, "the number of the account's messages")?;
    check(usage.bytes, bytes, quota.bytes, "the size of the account's messages")
}

/// Checks an account's entries of metadata after some were set: their number, and the bytes of the account.
pub(crate) fn check_metadata(quota: &Quota, usage: &Usage, entries_here: u64) -> Result<()> {
    if usage.metadata > quota.metadata || entries_here > METADATA_ENTRY_LIMIT {
        return Err(Error::TooManyMetadata);
    }
    check(usage.bytes, 0, quota.bytes, "the size of the account's messages and metadata")
}

/// Checks whether `more` may be added to what an account has.
pub(crate) fn check(has: u64, more: u64, limit: u64, what: &'static str) -> Result<()> {
    match has.checked_add(more) {
        Some(sum) if sum <= limit => Ok(()),
        _ => Err(Error::OverQuota { what, permanent: false }),
    }
}
