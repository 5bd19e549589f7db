//! ETRN: the client asks the server to deliver waiting mail (RFC 1985).

use alloc::borrow::Cow;
use core::fmt;

use crate::domain::{Domain, DomainKind};
use crate::syntax::{SyntaxError, SyntaxFault, trim_spaces};

/// The argument of ETRN: the node whose mail is to be delivered (RFC 1985 §5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EtrnNode<'i> {
    /// `node`: a host.
    Host(Domain<'i>),
    /// `@node`: a host and its subdomains.
    Subdomains(Domain<'i>),
    /// `#name`: a queue, named by the server.
    Queue(Cow<'i, str>),
}

impl<'i> EtrnNode<'i> {
    /// Parses the argument.
    ///
    /// # Errors
    /// The node is not a domain name, or the queue name is empty or holds anything but graphic US-ASCII.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        let domain = |at: usize| match text.get(at..).map(Domain::parse) {
            Some(Ok(domain)) if matches!(domain.kind(), DomainKind::Name(_)) => Ok(domain),
            _ => Err(SyntaxError::in_text(text, at, SyntaxFault::Domain)),
        };
        match text.strip_prefix('#') {
            _ if text.is_empty() => Err(SyntaxError::in_text(text, 0, SyntaxFault::MissingArgument)),
            Some(name) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self::Queue(Cow::Borrowed(name)))
            }
            Some(_) => Err(SyntaxError::in_text(text, 1, SyntaxFault::Value)),
            None if text.starts_with('@') => domain(1).map(Self::Subdomains),
            None => domain(0).map(Self::Host),
        }
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> EtrnNode<'static> {
        match self {
            Self::Host(domain) => EtrnNode::Host(domain.into_owned()),
            Self::Subdomains(domain) => EtrnNode::Subdomains(domain.into_owned()),
            Self::Queue(name) => EtrnNode::Queue(Cow::Owned(name.into_owned())),
        }
    }
}

impl fmt::Display for EtrnNode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(domain) => f.write_str(domain.as_str()),
            Self::Subdomains(domain) => write!(f, "@{}", domain.as_str()),
            Self::Queue(name) => write!(f, "#{name}"),
        }
    }
}

/// Parses the argument of ETRN: `SP [option character] node-name` (RFC 1985 §5).
pub(crate) fn parse_etrn<'i>(line: &'i [u8], rest: &'i [u8]) -> Result<EtrnNode<'i>, SyntaxError> {
    let word = trim_spaces(rest);
    let text = core::str::from_utf8(word).map_err(|_| SyntaxError::at(line, word, SyntaxFault::Encoding))?;
    EtrnNode::parse(text).map_err(|error| SyntaxError::at(line, word, error.fault()))
}
