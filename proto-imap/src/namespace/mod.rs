//! `NAMESPACE`: the prefixes of a user's mailboxes (RFC 2342, RFC 9051 §7.3.5).

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::owned_struct;
use crate::grammar::string::IString;

/// The namespaces of a user (RFC 2342).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces<'i> {
    /// The user's own namespaces.
    pub personal: LazyList<'i, Namespace<'i>>,
    /// The namespaces of other users.
    pub other_users: LazyList<'i, Namespace<'i>>,
    /// The namespaces shared by all users.
    pub shared: LazyList<'i, Namespace<'i>>,
}

/// One namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace<'i> {
    /// The prefix of the names of its mailboxes.
    pub prefix: IString<'i>,
    /// The delimiter of the levels of its names; `None` if there are no levels.
    pub delimiter: Option<char>,
    /// Extension data, as received.
    pub extensions: IString<'i>,
}

impl Sealed for Namespace<'_> {}

owned_struct!(Namespaces { personal, other_users, shared });

owned_struct!(Namespace { prefix, delimiter, extensions });
