//! Capabilities: the extensions that a server supports (RFC 9051 §7.2.2).
//!
//! Names are compared without regard to case. This module does not interpret capabilities.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::Context;
use crate::grammar::characters::is_lenient_flag_char;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{Element, LazyList};
use crate::grammar::owned::owned_struct;
use crate::grammar::string::show;
use core::fmt;

/// One capability: `IDLE`, `AUTH=PLAIN`, `APPENDLIMIT=35651584`.
#[derive(Clone, Copy)]
pub struct Capability<'i>(&'i [u8]);

/// A server's list of capabilities.
pub type CapabilityList<'i> = LazyList<'i, Capability<'i>>;

impl<'i> Capability<'i> {
    /// Creates the capability with this name. The name must be registered; a name that is not an atom is not written.
    #[must_use]
    pub const fn new(name: &'i str) -> Self {
        Self(name.as_bytes())
    }

    /// Returns the whole capability: `AUTH=PLAIN`.
    #[must_use]
    pub const fn as_bytes(&self) -> &'i [u8] {
        self.0
    }

    /// Returns whether the capability is `name`. Case is ignored.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Returns the value after the `=`, if `name` is before it: `value("AUTH")` of `AUTH=PLAIN` is `PLAIN`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'i [u8]> {
        let (key, rest) = self.0.split_at_checked(name.len())?;
        match rest.split_first() {
            Some((b'=', value)) if key.eq_ignore_ascii_case(name.as_bytes()) => Some(value),
            _ => None,
        }
    }
}

impl PartialEq for Capability<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for Capability<'_> {}

impl fmt::Display for Capability<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&alloc::string::String::from_utf8_lossy(self.0), f)
    }
}

impl fmt::Debug for Capability<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'i> LazyList<'i, Capability<'i>> {
    /// Returns whether the capability `name` is listed.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|capability| capability.is(name))
    }

    /// Returns the SASL mechanisms: the values of `AUTH=`.
    pub fn mechanisms(&self) -> impl Iterator<Item = &'i [u8]> + use<'i> {
        self.iter().filter_map(|capability| capability.value("AUTH"))
    }
}

impl Sealed for Capability<'_> {}

impl<'i> Element<'i> for Capability<'i> {
    fn walk(i: &'i [u8], _: &Context) -> Option<(&'i [u8], Self)> {
        let end = i.iter().position(|byte| !is_lenient_flag_char(*byte)).unwrap_or(i.len());
        let (name, rest) = i.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
        Some((rest, Self(name)))
    }
}

owned_struct!(Capability { 0 });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Attempt;

    #[test]
    fn names_and_values() {
        let list = CapabilityList::wire(b"IMAP4rev2 AUTH=PLAIN auth=SCRAM-SHA-256  IDLE ", Attempt::First);
        assert!(list.has("imap4REV2"));
        assert!(!list.has("AUTH"));
        assert_eq!(list.mechanisms().collect::<alloc::vec::Vec<_>>(), [&b"PLAIN"[..], b"SCRAM-SHA-256"]);
        assert_eq!(list.iter().count(), 4);
    }
}
