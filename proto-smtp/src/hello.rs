//! EHLO, HELO and LHLO: the name of the client (RFC 5321 §4.1.1.1, RFC 2033 §4.1).

use alloc::borrow::Cow;
use core::fmt;

use crate::ascii;
use crate::domain::Domain;
use crate::syntax::{SyntaxError, SyntaxFault, trim_spaces};

/// The longest name in bytes.
const MAX_LEN: usize = 255;

/// The name that a client gives in EHLO, HELO or LHLO.
///
/// The RFC requires a [`Domain`]. Clients in use send many other names, and nothing depends on the name, so that any
/// printable word of at most 255 bytes is accepted. A client of this crate sends a domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientName<'i>(Cow<'i, str>);

impl<'i> ClientName<'i> {
    /// Parses a name: any printable word.
    ///
    /// # Errors
    /// The name is empty, longer than 255 bytes, or holds a space or a control character.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        if text.is_empty() {
            return Err(SyntaxError::in_text(text, 0, SyntaxFault::MissingArgument));
        }
        if text.len() > MAX_LEN {
            return Err(SyntaxError::in_text(text, MAX_LEN, SyntaxFault::DomainTooLong));
        }
        match text.find(' ') {
            None if ascii::printable(text.as_bytes()).is_some() => Ok(Self(Cow::Borrowed(text))),
            at => Err(SyntaxError::in_text(text, at.unwrap_or(0), SyntaxFault::Domain)),
        }
    }

    /// Returns the name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name as a domain; `None` if it is not one.
    #[must_use]
    pub fn domain(&self) -> Option<Domain<'_>> {
        Domain::parse(&self.0).ok()
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> ClientName<'static> {
        ClientName(Cow::Owned(self.0.into_owned()))
    }
}

impl<'i> From<Domain<'i>> for ClientName<'i> {
    fn from(domain: Domain<'i>) -> Self {
        // Some servers reject the underscore, which host names do not allow.
        Self(if domain.as_str().contains('_') {
            Cow::Owned(domain.as_str().replace('_', "-"))
        } else {
            Cow::Owned(domain.as_str().into())
        })
    }
}

impl fmt::Display for ClientName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parses the argument of EHLO, HELO and LHLO. Spaces around it are tolerated.
pub(crate) fn parse_client_name<'i>(line: &'i [u8], rest: &'i [u8]) -> Result<ClientName<'i>, SyntaxError> {
    let word = trim_spaces(rest);
    let text = core::str::from_utf8(word).map_err(|_| SyntaxError::at(line, word, SyntaxFault::Encoding))?;
    ClientName::parse(text).map_err(|error| error.inside(line, rest))
}
