//! Reverse-path and forward-path (RFC 5321 §4.1.2).
//!
//! This file knows who a message can come from and go to. Source routes are read by the grammar and dropped, as
//! RFC 5321 Appendix C asks.

use core::fmt;

use super::Address;

/// `Reverse-path = Path / "<>"`: where reports about a message go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath<'i> {
    /// `<>`: nowhere. Reports about reports end here (RFC 5321 §4.5.5).
    Null,
    /// An address.
    Address(Address<'i>),
}

/// `Forward-path = Path / "<Postmaster>"`: where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath<'i> {
    /// `<Postmaster>` without a domain, in any case: whoever runs the server (RFC 5321 §4.5.1).
    Postmaster,
    /// An address.
    Address(Address<'i>),
}

impl ReversePath<'_> {
    /// The address, unless it is the null path.
    #[must_use]
    pub const fn address(&self) -> Option<&Address<'_>> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }

    /// What stands between the angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.address().map_or("", Address::as_str)
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> ReversePath<'static> {
        match self {
            Self::Null => ReversePath::Null,
            Self::Address(address) => ReversePath::Address(address.into_owned()),
        }
    }
}

impl ForwardPath<'_> {
    /// The address, unless it is the postmaster.
    #[must_use]
    pub const fn address(&self) -> Option<&Address<'_>> {
        match self {
            Self::Postmaster => None,
            Self::Address(address) => Some(address),
        }
    }

    /// What stands between the angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.address().map_or("Postmaster", Address::as_str)
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> ForwardPath<'static> {
        match self {
            Self::Postmaster => ForwardPath::Postmaster,
            Self::Address(address) => ForwardPath::Address(address.into_owned()),
        }
    }
}

impl<'i> From<Address<'i>> for ReversePath<'i> {
    fn from(address: Address<'i>) -> Self {
        Self::Address(address)
    }
}

impl<'i> From<Address<'i>> for ForwardPath<'i> {
    fn from(address: Address<'i>) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for ReversePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

impl fmt::Display for ForwardPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}
