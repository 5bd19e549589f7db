//! Quotas (RFC 9208): `SETQUOTA`, and the responses `QUOTA` and `QUOTAROOT`.
//!
//! `GETQUOTA` has the name of a quota root, and `GETQUOTAROOT` that of a mailbox.

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
    /// `STORAGE` (in units of 1024 bytes), `MESSAGE`, `MAILBOX`, `ANNOTATION-STORAGE` (in units of 1024 bytes), or
    /// another.
    pub name: IString<'i>,
    /// The current usage.
    pub usage: u64,
    /// The maximum usage.
    pub limit: u64,
}

/// `SETQUOTA`: sets the limits of a quota root (RFC 9208 §4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetQuotaCommand<'i> {
    /// The quota root's name.
    pub root: IString<'i>,
    /// The limits. A resource that is not listed has no limit afterwards.
    pub limits: LazyList<'i, QuotaLimit<'i>>,
}

/// The limit of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLimit<'i> {
    /// `STORAGE` (in units of 1024 bytes), `MESSAGE`, `MAILBOX`, `ANNOTATION-STORAGE`, or another.
    pub name: IString<'i>,
    /// The maximum usage; less than 2⁶³.
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

impl Sealed for QuotaLimit<'_> {}

owned_struct!(Quota { root, resources });

owned_struct!(QuotaResource { name, usage, limit });

owned_struct!(SetQuotaCommand { root, limits });

owned_struct!(QuotaLimit { name, limit });

owned_struct!(QuotaRoot { mailbox, roots });
