//! Mailbox names with wildcards (RFC 9051 §9 `list-mailbox`).

use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::owned_struct;
use crate::mailbox_name::MailboxName;
use core::fmt;

impl Sealed for ListPattern<'_> {}

/// A mailbox name with wildcards: `*` matches any characters, `%` any characters except the hierarchy delimiter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ListPattern<'i>(MailboxName<'i>);

impl<'i> ListPattern<'i> {
    /// Every mailbox: `*`.
    pub const ALL: ListPattern<'static> = ListPattern(MailboxName::new("*"));

    /// Creates a pattern from this text.
    #[must_use]
    pub const fn new(pattern: &'i str) -> Self {
        Self(MailboxName::new(pattern))
    }

    /// Returns the pattern as a name, because both have the same encoding.
    #[must_use]
    pub const fn as_mailbox(&self) -> MailboxName<'i> {
        self.0
    }
}

impl<'i> From<&'i str> for ListPattern<'i> {
    fn from(pattern: &'i str) -> Self {
        Self::new(pattern)
    }
}

/// Converts a name or pattern that the peer has sent.
impl<'i> From<MailboxName<'i>> for ListPattern<'i> {
    fn from(pattern: MailboxName<'i>) -> Self {
        Self(pattern)
    }
}

impl fmt::Debug for ListPattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

owned_struct!(ListPattern { 0 });
