//! `AUTH=` of MAIL: who submitted the message first (RFC 4954 §5).

use alloc::string::String;
use core::fmt;

use crate::address::Address;
use crate::syntax::{SyntaxError, SyntaxFault};
use crate::xtext::{self, Xtext, is_xtext};

/// The value of `AUTH=`: an address in xtext, or `<>`.
///
/// A server may trust it only from a client that has authenticated and that it trusts. From any other client it counts
/// as [`Unknown`](Self::Unknown) (RFC 4954 §5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Submitter<'i> {
    /// `<>`: the submitter is not known.
    Unknown,
    /// The address of the submitter.
    Address(Address<'i>),
}

impl<'i> Submitter<'i> {
    /// Parses the value.
    ///
    /// # Errors
    /// The value is not xtext, or encodes neither `<>` nor an address.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        if text == "<>" {
            return Ok(Self::Unknown);
        }
        if !is_xtext(text.as_bytes()) {
            return Err(SyntaxError::in_text(text, 0, SyntaxFault::Value));
        }
        if !text.contains('+') {
            return Address::parse(text).map(Self::Address);
        }
        let decoded = String::from_utf8(xtext::decoded(text.as_bytes()).collect())
            .map_err(|_| SyntaxError::in_text(text, 0, SyntaxFault::Encoding))?;
        match decoded.as_str() {
            "<>" => Ok(Self::Unknown),
            address => Ok(Self::Address(address.parse()?)),
        }
    }

    /// Returns the address, if it is known.
    #[must_use]
    pub const fn address(&self) -> Option<&Address<'i>> {
        match self {
            Self::Unknown => None,
            Self::Address(address) => Some(address),
        }
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Submitter<'static> {
        match self {
            Self::Unknown => Submitter::Unknown,
            Self::Address(address) => Submitter::Address(address.into_owned()),
        }
    }
}

impl fmt::Display for Submitter<'_> {
    /// Writes the value as it is sent.
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
    fn parses_addresses_in_xtext() {
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
