//! Checks of a [`Quota`], before something is added.

use crate::error::{Error, Result};
use crate::types::{Quota, Usage};

/// Checks whether an account with this usage may store more messages.
pub(crate) fn check_messages(quota: &Quota, usage: &Usage, messages: u64, bytes: u64) -> Result<()> {
    if bytes > quota.bytes || messages > quota.messages {
        return Err(Error::OverQuota { what: "the size of the account's messages", permanent: true });
    }
    check(usage.messages, messages, quota.messages, "the number of the account's messages")?;
    check(usage.bytes, bytes, quota.bytes, "the size of the account's messages")
}

/// Checks whether `more` may be added to what an account has.
pub(crate) fn check(has: u64, more: u64, limit: u64, what: &'static str) -> Result<()> {
    match has.checked_add(more) {
        Some(sum) if sum <= limit => Ok(()),
        _ => Err(Error::OverQuota { what, permanent: false }),
    }
}
