//! `QUOTA` and `QUOTAROOT` responses (RFC 9208).

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::owned_struct;
use crate::grammar::string::IString;

/// `QUOTA` (RFC 9208): what a quota root holds and may hold.
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
    /// What is used.
    pub usage: u64,
    /// What may be used.
    pub limit: u64,
}

/// `QUOTAROOT` (RFC 9208): the quota roots that a mailbox counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaRoot<'i> {
    /// The mailbox's name, as it came.
    pub mailbox: IString<'i>,
    /// The quota roots.
    pub roots: LazyList<'i, IString<'i>>,
}

impl Sealed for QuotaResource<'_> {}

owned_struct!(Quota { root, resources });

owned_struct!(QuotaResource { name, usage, limit });

owned_struct!(QuotaRoot { mailbox, roots });
