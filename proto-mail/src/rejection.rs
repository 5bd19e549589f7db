//! The status with which a server ends a session: its code and text, in bounded form.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use crate::enhanced_code::EnhancedCode;
use crate::error_details::{ErrorCode, ErrorDetails};
use crate::printable::printable;

/// The status with which a server refused a connection or ended a session. A clone shares the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Rejection(Arc<Contents>);

#[derive(PartialEq, Eq)]
struct Contents {
    kind: RejectionKind,
    code: Option<Code>,
    enhanced_code: Option<EnhancedCode>,
    text: Box<str>,
}

/// A reply code (SMTP) or response code (IMAP).
#[derive(PartialEq, Eq)]
enum Code {
    Smtp(u16),
    Imap(Box<str>),
}

/// What the server rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The server refused the connection in its greeting.
    Connection,
    /// The server is closing the session (BYE, 421).
    Session,
}

impl Rejection {
    /// The most bytes of the server's text that are kept.
    pub const MAX_TEXT: usize = 512;

    /// The most bytes of an IMAP response code that are kept.
    pub const MAX_CODE: usize = 64;

    /// Creates a rejection. The text and an IMAP response code are cut at their limits.
    #[must_use]
    pub fn new(
        kind: RejectionKind,
        code: Option<ErrorCode<'_>>,
        enhanced_code: Option<EnhancedCode>,
        text: &str,
    ) -> Self {
        let code = code.map(|code| match code {
            ErrorCode::Smtp(code) => Code::Smtp(code),
            ErrorCode::Imap(code) => Code::Imap(cut(code, Self::MAX_CODE).into()),
        });
        let text = cut(text, Self::MAX_TEXT).into();
        Self(Arc::new(Contents { kind, code, enhanced_code, text }))
    }

    /// Returns what the server rejected.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        self.0.kind
    }

    /// Returns the server's code; `None` if it sent none, or sent it in cleartext and the client does not show it.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode<'_>> {
        self.0.code.as_ref().map(|code| match code {
            Code::Smtp(code) => ErrorCode::Smtp(*code),
            Code::Imap(code) => ErrorCode::Imap(code),
        })
    }

    /// Returns the enhanced status code (RFC 3463), which only SMTP has.
    #[must_use]
    pub fn enhanced_code(&self) -> Option<EnhancedCode> {
        self.0.enhanced_code
    }

    /// Returns the server's own words; `None` if there are none, or the server sent them in cleartext and the client
    /// does not show them. They may hold anything: do not show them without escaping control characters.
    #[must_use]
    pub fn server_text(&self) -> Option<&str> {
        Some(&*self.0.text).filter(|text| !text.is_empty())
    }

    /// Returns true if a new connection may succeed, without anything being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind == RejectionKind::Session
    }
}

/// Returns the beginning of the text, at most `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// Describes the rejection in one line, with its code. The server's text may hold private data and is left out:
/// see [`server_text`](Rejection::server_text).
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind {
            RejectionKind::Connection => "the server refuses the connection",
            RejectionKind::Session => "the server is closing the session",
        })?;
        match (self.code(), self.enhanced_code()) {
            (Some(code), Some(enhanced)) => write!(f, " ({code} {enhanced})")?,
            (Some(code), None) => write!(f, " ({})", printable(&alloc::format!("{code}")))?,
            (None, _) => {}
        }
        f.write_str(": try later")
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("kind", &self.kind())
            .field("code", &self.code())
            .field("enhanced_code", &self.enhanced_code())
            .field("server_text", &self.server_text())
            .finish()
    }
}

impl core::error::Error for Rejection {}

impl ErrorDetails for Rejection {
    fn code(&self) -> Option<ErrorCode<'_>> {
        self.code()
    }

    fn enhanced_code(&self) -> Option<EnhancedCode> {
        self.enhanced_code()
    }

    fn server_text(&self) -> Option<&str> {
        self.server_text()
    }

    fn is_retryable(&self) -> bool {
        self.is_retryable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn shows_the_code_but_not_the_text_of_the_server() {
        let code = Some(ErrorCode::Imap("UNAVAILABLE\x1b[31m"));
        let refused = Rejection::new(RejectionKind::Connection, code, None, "too many sessions of alice");
        assert_eq!(
            refused.to_string(),
            "the server refuses the connection (UNAVAILABLE\u{fffd}[31m): try later"
        );
        assert_eq!(refused.server_text(), Some("too many sessions of alice"));
        assert!(!refused.is_retryable());
        let code = Some(ErrorCode::Smtp(421));
        let closing = Rejection::new(RejectionKind::Session, code, EnhancedCode::new(4, 3, 2), "");
        assert_eq!(closing.to_string(), "the server is closing the session (421 4.3.2): try later");
        assert_eq!(closing.server_text(), None);
        assert!(closing.is_retryable());
    }

    #[test]
    fn keeps_a_bounded_part_of_what_the_server_said() {
        let text = "€".repeat(1000);
        let rejection = Rejection::new(RejectionKind::Session, Some(ErrorCode::Imap(&text)), None, &text);
        assert_eq!(rejection.server_text().map(str::len), Some(510));
        let Some(ErrorCode::Imap(code)) = rejection.code() else { panic!("no code") };
        assert_eq!(code.len(), 63);
    }
}
