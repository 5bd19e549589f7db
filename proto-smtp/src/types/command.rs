//! The commands (RFC 5321 §4.1.1 and its extensions).
//!
//! This file knows what a command holds. How one is read stands in `parse/command.rs`, how it is written in
//! `encode.rs`.

use alloc::borrow::Cow;
use core::fmt;

use super::{Attributes, Domain, DomainKind, Mail, Rcpt};
use crate::ascii;
use crate::parse::{SyntaxError, Why};

/// A command, with its arguments.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'i> {
    /// `EHLO name`: the client says who it is and asks what the server can do.
    Ehlo(ClientName<'i>),
    /// `HELO name`: as before there were extensions.
    Helo(ClientName<'i>),
    /// `LHLO name`: EHLO in LMTP (RFC 2033 §4.1).
    Lhlo(ClientName<'i>),
    /// `STARTTLS` (RFC 3207).
    StartTls,
    /// `AUTH mechanism [initial-response]` (RFC 4954 §4). The response is base64, or `=` for an empty one, and is
    /// secret: `Debug` shows its length only.
    Auth {
        /// The mechanism's name, in any case.
        mechanism: &'i str,
        /// The initial response as it was written.
        initial: Option<&'i [u8]>,
    },
    /// `MAIL FROM:`.
    Mail(Mail<'i>),
    /// `RCPT TO:`.
    Rcpt(Rcpt<'i>),
    /// `DATA`.
    Data,
    /// `BDAT size [LAST]` (RFC 3030 §2).
    Bdat {
        /// How many octets follow the line.
        size: u64,
        /// Whether the message ends with them.
        end: ChunkEnd,
    },
    /// `BURL url [LAST]` (RFC 4468 §3): a part of the message stands there. The URL holds what proves the right to
    /// read it, and so is secret: `Debug` does not show it.
    Burl {
        /// An absolute URL.
        url: &'i str,
        /// Whether the message ends with it.
        end: ChunkEnd,
    },
    /// `RSET`.
    Rset,
    /// `NOOP [text]`.
    Noop,
    /// `VRFY text`.
    Vrfy(&'i str),
    /// `EXPN text`.
    Expn(&'i str),
    /// `HELP [text]`; the text is empty where there is none.
    Help(&'i str),
    /// `ETRN [@ or #]node` (RFC 1985): send what waits for it.
    Etrn(Node<'i>),
    /// `XCLIENT attributes`: the session is another client's.
    XClient(Attributes<'i>),
    /// `XFORWARD attributes`: where the next message came from.
    XForward(Attributes<'i>),
    /// `QUIT`.
    Quit,
    /// A command that is not known here, with everything behind its verb.
    Other {
        /// The verb, in any case.
        verb: &'i str,
        /// What follows it.
        argument: &'i str,
    },
}

/// Whether a chunk of BDAT is the last of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChunkEnd {
    /// More chunks follow.
    More,
    /// `LAST`.
    Last,
}

/// Whose mail ETRN asks for (RFC 1985 §5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node<'i> {
    /// `node`: a host.
    Host(Domain<'i>),
    /// `@node`: a host and every host below it.
    Subdomains(Domain<'i>),
    /// `#name`: a queue of the server, whatever it calls so.
    Queue(Cow<'i, str>),
}

/// The first word of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Verb {
    Ehlo,
    Helo,
    Lhlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Burl,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Etrn,
    XClient,
    XForward,
    Quit,
    /// Any other word, or no word at all.
    Other,
}

/// What a client calls itself in EHLO.
///
/// By rule it is a [`Domain`]; clients in use send many other things, and nothing depends on it, so that any
/// printable word of at most 255 octets is read. What is written must be a domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientName<'i>(Cow<'i, str>);

impl<'i> ClientName<'i> {
    /// Takes any printable word.
    ///
    /// # Errors
    /// It is empty, longer than 255 octets, or holds a space or a control character.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        if text.is_empty() {
            return Err(SyntaxError { at: 0, why: Why::MissingArgument });
        }
        if text.len() > 255 {
            return Err(SyntaxError { at: 255, why: Why::DomainTooLong });
        }
        match text.find(' ') {
            None if ascii::printable(text.as_bytes()).is_some() => Ok(Self(Cow::Borrowed(text))),
            at => Err(SyntaxError { at: at.unwrap_or(0), why: Why::Domain }),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain that it should be; `None` if it is none.
    #[must_use]
    pub fn domain(&self) -> Option<Domain<'_>> {
        Domain::parse(&self.0).ok()
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> ClientName<'static> {
        ClientName(Cow::Owned(self.0.into_owned()))
    }
}

impl<'i> From<Domain<'i>> for ClientName<'i> {
    fn from(domain: Domain<'i>) -> Self {
        // Some servers refuse the underscore, which is allowed in no host's name.
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

impl<'i> Node<'i> {
    /// Reads what stands behind ETRN.
    ///
    /// # Errors
    /// It is no domain name, or what is behind `#` is empty or not printable US-ASCII without spaces.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        let domain = |at: usize| match text.get(at..).map(Domain::parse) {
            Some(Ok(domain)) if matches!(domain.kind(), DomainKind::Name(_)) => Ok(domain),
            _ => Err(SyntaxError { at, why: Why::Domain }),
        };
        match text.strip_prefix('#') {
            _ if text.is_empty() => Err(SyntaxError { at: 0, why: Why::MissingArgument }),
            Some(name) if !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic()) => {
                Ok(Self::Queue(Cow::Borrowed(name)))
            }
            Some(_) => Err(SyntaxError { at: 1, why: Why::Value }),
            None if text.starts_with('@') => domain(1).map(Self::Subdomains),
            None => domain(0).map(Self::Host),
        }
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Node<'static> {
        match self {
            Self::Host(domain) => Node::Host(domain.into_owned()),
            Self::Subdomains(domain) => Node::Subdomains(domain.into_owned()),
            Self::Queue(name) => Node::Queue(Cow::Owned(name.into_owned())),
        }
    }
}

impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(domain) => f.write_str(domain.as_str()),
            Self::Subdomains(domain) => write!(f, "@{}", domain.as_str()),
            Self::Queue(name) => write!(f, "#{name}"),
        }
    }
}

impl Command<'_> {
    /// The first word.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Ehlo(_) => Verb::Ehlo,
            Self::Helo(_) => Verb::Helo,
            Self::Lhlo(_) => Verb::Lhlo,
            Self::StartTls => Verb::StartTls,
            Self::Auth { .. } => Verb::Auth,
            Self::Mail(_) => Verb::Mail,
            Self::Rcpt(_) => Verb::Rcpt,
            Self::Data => Verb::Data,
            Self::Bdat { .. } => Verb::Bdat,
            Self::Burl { .. } => Verb::Burl,
            Self::Rset => Verb::Rset,
            Self::Noop => Verb::Noop,
            Self::Vrfy(_) => Verb::Vrfy,
            Self::Expn(_) => Verb::Expn,
            Self::Help(_) => Verb::Help,
            Self::Etrn(_) => Verb::Etrn,
            Self::XClient(_) => Verb::XClient,
            Self::XForward(_) => Verb::XForward,
            Self::Quit => Verb::Quit,
            Self::Other { .. } => Verb::Other,
        }
    }
}

impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ehlo(name) => f.debug_tuple("Ehlo").field(name).finish(),
            Self::Helo(name) => f.debug_tuple("Helo").field(name).finish(),
            Self::Lhlo(name) => f.debug_tuple("Lhlo").field(name).finish(),
            Self::Auth { mechanism, initial } => f
                .debug_struct("Auth")
                .field("mechanism", mechanism)
                .field("initial", &initial.map(|_| "[redacted]"))
                .finish(),
            Self::Mail(mail) => mail.fmt(f),
            Self::Rcpt(rcpt) => rcpt.fmt(f),
            Self::Bdat { size, end } => f.debug_struct("Bdat").field("size", size).field("end", end).finish(),
            Self::Burl { end, .. } => {
                f.debug_struct("Burl").field("url", &"[redacted]").field("end", end).finish()
            }
            Self::Vrfy(text) => f.debug_tuple("Vrfy").field(text).finish(),
            Self::Expn(text) => f.debug_tuple("Expn").field(text).finish(),
            Self::Help(text) => f.debug_tuple("Help").field(text).finish(),
            Self::Etrn(node) => f.debug_tuple("Etrn").field(node).finish(),
            Self::XClient(attributes) => f.debug_tuple("XClient").field(attributes).finish(),
            Self::XForward(attributes) => f.debug_tuple("XForward").field(attributes).finish(),
            // What is not understood may be a password that went astray: its length says enough.
            Self::Other { verb, argument } => {
                f.debug_struct("Other").field("verb", verb).field("argument_len", &argument.len()).finish()
            }
            Self::StartTls | Self::Data | Self::Rset | Self::Noop | Self::Quit => self.verb().fmt(f),
        }
    }
}
