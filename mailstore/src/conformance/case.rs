//! A case and what it needs.

use super::fixture::Fixture;

/// What a store has beyond the defaults of [`Store`](crate::Store) and [`Accounts`](crate::Accounts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// Accounts and passwords can be created and changed.
    Accounts,
    /// Subscriptions can be changed.
    Subscriptions,
    /// Messages are `\Recent` for one session.
    Recent,
    /// Mailboxes list their keywords, number them and limit them.
    Keywords,
    /// Accounts have quotas.
    Quotas,
    /// Copies share their content and their EMAILID.
    SharedContent,
    /// Copies in several parts can be undone.
    UnfinishedCopies,
    /// Messages record when they were saved in their mailbox.
    SavedDates,
    /// Mailboxes and the server have metadata, and subscribers receive the changes of an account.
    Metadata,
    /// Mailboxes have access control lists.
    Acl,
}

impl Feature {
    /// All features.
    pub const ALL: [Self; 10] = [
        Self::Accounts,
        Self::Subscriptions,
        Self::Recent,
        Self::Keywords,
        Self::Quotas,
        Self::SharedContent,
        Self::UnfinishedCopies,
        Self::SavedDates,
        Self::Metadata,
        Self::Acl,
    ];
}

/// A case: its name, what it needs, and how it is run.
pub(super) struct Case<S: ?Sized> {
    pub(super) name: &'static str,
    pub(super) needs: &'static [Feature],
    pub(super) run: fn(&Fixture<S>),
}
