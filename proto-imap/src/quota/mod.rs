//! `QUOTA` and `QUOTAROOT` responses (RFC 9208).

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::owned_struct;
use crate::grammar::string::IString;

/// The usage and the limits of a quota root (RFC 9208 `QUOTA`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota<'i> {
    /// The quota root's name.
    pub root: IString<'i>,
    /// Its resources.
    pub resources: LazyList<'i, QuotaResource<'i>>,
}

/// One resource of a quota root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaResource<'i> {
    /// `STORAGE` (in units of 1024 bytes), `MESSAGE`, `MAILBOX`, or another.
    pub name: IString<'i>,
    /// The current usage.
    pub usage: u64,
    /// The maximum usage.
    pub limit: u64,
}

/// The quota roots of a mailbox (RFC 9208 `QUOTAROOT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaRoot<'i> {
    /// The mailbox's name, as received.
    pub mailbox: IString<'i>,
    /// The quota roots.
    pub roots: LazyList<'i, IString<'i>>,
}

impl Sealed for QuotaResource<'_> {}

owned_struct!(Quota { root, resources });

owned_struct!(QuotaResource { name, usage, limit });

owned_struct!(QuotaRoot { mailbox, roots });
