//! `ID`: the name and version of the peer's software (RFC 2971).

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::owned_struct;
use crate::grammar::string::IString;

/// The identification of a client's or server's software (RFC 2971).
pub type IdFields<'i> = LazyList<'i, IdField<'i>>;

/// One field of an `ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdField<'i> {
    /// `name`, `version`, …
    pub name: IString<'i>,
    /// The value.
    pub value: Option<IString<'i>>,
}

impl<'i> LazyList<'i, IdField<'i>> {
    /// Returns the value of the field with this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<IString<'i>> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))?.value
    }
}

impl Sealed for IdField<'_> {}

owned_struct!(IdField { name, value });
