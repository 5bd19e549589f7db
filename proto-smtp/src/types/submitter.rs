//! Who handed a message in first: `AUTH=` of MAIL (RFC 4954 §5).
//!
//! This file knows how that is said. Whether the one who says so may be believed, the program knows.

use alloc::string::String;
use core::fmt;

use super::{Address, Xtext};
use crate::parse::{SyntaxError, Why, parameter};

/// The value of `AUTH=`: an address in xtext, or `<>`.
///
/// A server may believe it of a client that has authenticated and that it trusts, and must take it for
/// [`Unknown`](Self::Unknown) from anybody else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Submitter<'i> {
    /// `<>`: nobody knows, or nobody says.
    Unknown,
    /// Whoever has this address.
    Address(Address<'i>),
}

impl<'i> Submitter<'i> {
    /// Reads the value.
    ///
    /// # Errors
    /// It is no xtext, or what it means is neither `<>` nor an address.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        if text == "<>" {
            return Ok(Self::Unknown);
        }
        if !parameter::is_xtext(text.as_bytes()) {
            return Err(SyntaxError { at: 0, why: Why::Value });
        }
        if !text.contains('+') {
            return Address::parse(text).map(Self::Address);
        }
        let meant = String::from_utf8(parameter::xtext_octets(text.as_bytes()).collect())
            .map_err(|_| SyntaxError { at: 0, why: Why::Encoding })?;
        match meant.as_str() {
            "<>" => Ok(Self::Unknown),
            address => Ok(Self::Address(address.parse()?)),
        }
    }

    /// The address, if it is known.
    #[must_use]
    pub const fn address(&self) -> Option<&Address<'i>> {
        match self {
            Self::Unknown => None,
            Self::Address(address) => Some(address),
        }
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Submitter<'static> {
        match self {
            Self::Unknown => Submitter::Unknown,
            Self::Address(address) => Submitter::Address(address.into_owned()),
        }
    }
}

impl fmt::Display for Submitter<'_> {
    /// The value as it stands on the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("<>"),
            Self::Address(address) => Xtext::write(address.as_str(), f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_address_is_read_through_its_xtext() {
        for (wire, meant) in [
            ("e+3Dmc2@example.com", Some("e=mc2@example.com")),
            ("a@example.com", Some("a@example.com")),
            ("\"a+20b\"@example.com", Some("\"a b\"@example.com")),
            ("j+C3+BCrgen@example.com", Some("jürgen@example.com")),
            ("<>", None),
        ] {
            let submitter = Submitter::parse(wire).unwrap();
            assert_eq!(submitter.address().map(Address::as_str), meant);
            assert_eq!(submitter.to_string(), wire);
            assert_eq!(submitter.clone().into_owned(), submitter);
        }
        assert_eq!(Submitter::parse("+3C+3E"), Ok(Submitter::Unknown));
        for bad in ["", "alice", "a@b@c", "a@b+0D+0ARSET", "+FF@b", "a@b+", "<a@b>", "a b@c", "jürgen@b"] {
            assert!(Submitter::parse(bad).is_err(), "{bad:?}");
        }
    }
}
