//! A reply's content: code, enhanced code and text (RFC 5321 §4.2).
//!
//! This file knows what a reply says, on both sides: a client reads it from the wire, a server makes one. What a
//! server owes is another thing, the token [`Reply`](crate::server::Reply).

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::{Code, EnhancedCode, Severity};
use crate::parse::{self, SyntaxError};

/// What a server says: a code, perhaps an enhanced code, and text of one or more lines.
///
/// Whatever text it was made with, it is written so that it stays inside its reply: line ends become further lines
/// of the same reply, other control characters and octets outside US-ASCII become `?`, and long lines are broken.
#[derive(Clone, PartialEq, Eq)]
pub struct Response<'i> {
    code: Code,
    enhanced: Option<EnhancedCode>,
    text: Text<'i>,
}

#[derive(Clone, PartialEq, Eq)]
enum Text<'i> {
    /// Lines as they stand on the wire, codes and CRLF included.
    Wire(Cow<'i, [u8]>),
    /// Lines separated by LF.
    Plain(Cow<'i, str>),
}

impl<'i> Response<'i> {
    /// A code and a text, which may have several lines.
    #[must_use]
    pub fn new(code: Code, text: impl Into<Cow<'i, str>>) -> Self {
        Self { code, enhanced: None, text: Text::Plain(text.into()) }
    }

    /// The same with an enhanced code. A code whose class contradicts the reply code is left out.
    #[must_use]
    pub const fn with_enhanced(mut self, enhanced: EnhancedCode) -> Self {
        if enhanced.class() as u16 == self.code.get() / 100 {
            self.enhanced = Some(enhanced);
        }
        self
    }

    /// For this crate's own tables.
    pub(crate) const fn fixed(code: Code, enhanced: (u16, u16), text: &'static str) -> Self {
        let class = (code.get() / 100) as u8;
        let enhanced = match class {
            2 | 4 | 5 => Some(EnhancedCode::fixed(class, enhanced.0, enhanced.1)),
            _ => None,
        };
        Self { code, enhanced, text: Text::Plain(Cow::Borrowed(text)) }
    }

    /// `250 2.0.0`: done.
    #[must_use]
    pub const fn ok() -> Self {
        Self::fixed(Code::OK, (0, 0), "OK")
    }

    /// `354`: send the message.
    #[must_use]
    pub const fn start_data() -> Self {
        Self::fixed(Code::START_DATA, (0, 0), "End data with <CR><LF>.<CR><LF>")
    }

    /// `214 2.0.0`: where to read about SMTP.
    #[must_use]
    pub const fn help() -> Self {
        Self::fixed(Code::HELP, (0, 0), "See RFC 5321")
    }

    /// `502 5.5.1`: there is no such command here.
    #[must_use]
    pub const fn not_implemented() -> Self {
        Self::fixed(Code::NOT_IMPLEMENTED, (5, 1), "Command not implemented")
    }

    /// `550 5.1.1`: there is no such mailbox here.
    #[must_use]
    pub const fn no_such_mailbox() -> Self {
        Self::fixed(Code::MAILBOX_UNAVAILABLE, (1, 1), "There is no such mailbox here")
    }

    /// `451 4.3.0`: something failed here; try again later.
    #[must_use]
    pub const fn try_again() -> Self {
        Self::fixed(Code::LOCAL_ERROR, (3, 0), "Something failed here; try again later")
    }

    /// For the grammar: a complete reply whose lines were looked at already.
    pub(crate) const fn wire(code: Code, enhanced: Option<EnhancedCode>, lines: &'i [u8]) -> Self {
        Self { code, enhanced, text: Text::Wire(Cow::Borrowed(lines)) }
    }

    /// The lines as they stand on the wire, if that is where they came from.
    pub(crate) fn wire_lines(&self) -> Option<&[u8]> {
        match &self.text {
            Text::Wire(lines) => Some(lines),
            Text::Plain(_) => None,
        }
    }

    /// The reply code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The enhanced status code, if it has one that agrees with the reply code.
    #[must_use]
    pub const fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// Whether it says yes (2yz) or go on (3yz).
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        matches!(self.code.severity(), Severity::Completed | Severity::Intermediate)
    }

    /// Whether the same may well succeed later (4yz).
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.code.severity(), Severity::Transient)
    }

    /// The lines of the text, without codes: octets, US-ASCII by rule.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let (octets, prefix) = match &self.text {
            Text::Wire(octets) => (&**octets, 4),
            Text::Plain(text) => (text.as_bytes(), 0),
        };
        let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
        octets.split(|&octet| octet == b'\n').map(move |line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = line.get(prefix..).unwrap_or_default();
            if prefix == 0 { line } else { self.without_enhanced(line) }
        })
    }

    /// The whole text, lines joined by LF. Octets that are not UTF-8 and control characters are replaced: it is safe
    /// to show, and still the words of a stranger.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (n, line) in self.lines().enumerate() {
            if n > 0 {
                text.push('\n');
            }
            text.extend(
                String::from_utf8_lossy(line)
                    .chars()
                    .map(|character| if character.is_control() { '\u{fffd}' } else { character }),
            );
        }
        text
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Response<'static> {
        let text = match self.text {
            Text::Wire(lines) => Text::Wire(Cow::Owned(lines.into_owned())),
            Text::Plain(text) => Text::Plain(Cow::Owned(text.into_owned())),
        };
        Response { code: self.code, enhanced: self.enhanced, text }
    }

    fn without_enhanced<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        match (self.enhanced, EnhancedCode::read(line)) {
            (Some(enhanced), Some((same, len))) if enhanced == same => {
                let rest = line.get(len..).unwrap_or_default();
                rest.strip_prefix(b" ").unwrap_or(rest)
            }
            _ => line,
        }
    }
}

impl FromStr for Response<'static> {
    type Err = SyntaxError;

    /// Reads `550 5.1.1 There is no such mailbox`, one line.
    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let mut line = Vec::with_capacity(text.len() + 2);
        line.extend_from_slice(text.as_bytes());
        line.extend_from_slice(b"\r\n");
        parse::reply(&line).map(Response::into_owned)
    }
}

impl fmt::Display for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        write!(f, " {}", self.text())
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Response").field(&self.to_string()).finish()
    }
}
