//! Reverse-paths and forward-paths (RFC 5321 §4.1.2).

use core::fmt;

use crate::address::{Address, mailbox};
use crate::ascii;
use crate::domain::domain;
use crate::syntax::{ParseFailure, Parsed, SyntaxError, SyntaxFault, skip_spaces};

/// The address that reports about a message are sent to: `Reverse-path = Path / "<>"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath<'i> {
    /// `<>`: no reports are wanted. Reports themselves are sent with this path (RFC 5321 §4.5.5).
    Null,
    /// An address.
    Address(Address<'i>),
}

/// The address of a recipient: `Forward-path = Path / "<Postmaster>"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath<'i> {
    /// `<Postmaster>` without a domain, in any letter case: the operator of the server (RFC 5321 §4.5.1).
    Postmaster,
    /// An address.
    Address(Address<'i>),
}

impl ReversePath<'_> {
    /// Returns the address; `None` for the null path.
    #[must_use]
    pub const fn address(&self) -> Option<&Address<'_>> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }

    /// Returns the text between the angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.address().map_or("", Address::as_str)
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> ReversePath<'static> {
        match self {
            Self::Null => ReversePath::Null,
            Self::Address(address) => ReversePath::Address(address.into_owned()),
        }
    }
}

impl ForwardPath<'_> {
    /// Returns the address; `None` for the postmaster.
    #[must_use]
    pub const fn address(&self) -> Option<&Address<'_>> {
        match self {
            Self::Postmaster => None,
            Self::Address(address) => Some(address),
        }
    }

    /// Returns the text between the angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.address().map_or("Postmaster", Address::as_str)
    }

    /// Converts to an owned value.
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

/// `Reverse-path = Path / "<>"`
pub(crate) fn reverse_path(input: &[u8]) -> Parsed<'_, ReversePath<'_>> {
    if let Some(rest) = input.strip_prefix(b"<>") {
        return Ok((rest, ReversePath::Null));
    }
    let (rest, address) = path(input)?;
    Ok((rest, ReversePath::Address(address)))
}

/// `Forward-path = Path / "<Postmaster>"`
pub(crate) fn forward_path(input: &[u8]) -> Parsed<'_, ForwardPath<'_>> {
    const POSTMASTER: &[u8] = b"<Postmaster>";
    if let Some((head, rest)) = input.split_at_checked(POSTMASTER.len())
        && head.eq_ignore_ascii_case(POSTMASTER)
    {
        return Ok((rest, ForwardPath::Postmaster));
    }
    if input.starts_with(b"<>") {
        return ParseFailure::at(input, SyntaxFault::NullRecipient);
    }
    let (rest, address) = path(input)?;
    Ok((rest, ForwardPath::Address(address)))
}

/// `Path = "<" [ A-d-l ":" ] Mailbox ">"`: the source route is parsed and dropped (RFC 5321 Appendix C).
fn path(input: &[u8]) -> Parsed<'_, Address<'_>> {
    let Some(inside) = input.strip_prefix(b"<") else {
        return ParseFailure::at(input, SyntaxFault::Path);
    };
    let inside = if inside.first() == Some(&b'@') { source_route(inside)?.0 } else { inside };
    let (rest, at) = mailbox(inside)?;
    let Some(tail) = rest.strip_prefix(b">") else {
        return ParseFailure::at(rest, SyntaxFault::Path);
    };
    let bytes = inside.get(..inside.len() - rest.len()).unwrap_or_default();
    match ascii::classed(bytes) {
        Some(text) => Ok((tail, Address::checked(text, at))),
        None => ParseFailure::at(inside, SyntaxFault::Encoding),
    }
}

/// `A-d-l = At-domain *( "," At-domain )`, and the colon that follows.
fn source_route(mut input: &[u8]) -> Parsed<'_, ()> {
    loop {
        let Some(name) = input.strip_prefix(b"@") else {
            return ParseFailure::at(input, SyntaxFault::Path);
        };
        let (rest, ()) = domain(name)?;
        match rest.split_first() {
            Some((b':', rest)) => return Ok((rest, ())),
            Some((b',', rest)) => input = rest,
            _ => return ParseFailure::at(rest, SyntaxFault::Path),
        }
    }
}

/// Skips `FROM:` or `TO:` and the spaces around it, which many clients send.
pub(crate) fn after_colon<'i>(line: &[u8], rest: &'i [u8], word: &[u8]) -> Result<&'i [u8], SyntaxError> {
    let start = skip_spaces(rest);
    match start.split_at_checked(word.len()) {
        Some((head, tail)) if head.eq_ignore_ascii_case(word) => Ok(skip_spaces(tail)),
        _ => Err(SyntaxError::at(line, start, SyntaxFault::Colon)),
    }
}
