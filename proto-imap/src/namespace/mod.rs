//! `NAMESPACE`: where a user's mailboxes are (RFC 2342, RFC 9051 §7.3.5).

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::owned_struct;
use crate::grammar::string::IString;

/// `NAMESPACE` (RFC 2342): where mailboxes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces<'i> {
    /// The user's own.
    pub personal: LazyList<'i, Namespace<'i>>,
    /// Those of other users.
    pub other_users: LazyList<'i, Namespace<'i>>,
    /// Shared by all users.
    pub shared: LazyList<'i, Namespace<'i>>,
}

/// One namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace<'i> {
    /// How the names of its mailboxes begin.
    pub prefix: IString<'i>,
    /// What separates the levels of names in it; `None`: there are no levels.
    pub delimiter: Option<char>,
    /// Further data, as they came.
    pub extensions: IString<'i>,
}

impl Sealed for Namespace<'_> {}

owned_struct!(Namespaces { personal, other_users, shared });

owned_struct!(Namespace { prefix, delimiter, extensions });
