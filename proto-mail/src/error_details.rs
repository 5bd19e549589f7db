//! What every error type of both protocols tells a program.

use core::fmt;

use crate::enhanced_code::{EnhancedCode, InvalidEnhancedCode};

/// What the errors of both protocols tell a program about the server's reply, and what the program can do.
///
/// Every error type implements this. The methods return `None` where no reply of a server caused the error.
pub trait ErrorDetails: core::error::Error {
    /// Returns the code with which the server refused.
    fn code(&self) -> Option<ErrorCode<'_>> {
        None
    }

    /// Returns the enhanced status code (RFC 3463) with which the server refused, for example 5.7.8.
    fn enhanced_code(&self) -> Option<EnhancedCode> {
        None
    }

    /// Returns the server's own words. They may hold anything: do not show them without escaping control characters.
    fn server_text(&self) -> Option<&str> {
        None
    }

    /// Returns true if the same attempt may succeed later, without anything being changed. By default false.
    fn is_retryable(&self) -> bool {
        false
    }
}

/// The code of a server's refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode<'a> {
    /// An SMTP reply code, for example 535 (RFC 5321 §4.2).
    Smtp(u16),
    /// An IMAP response code without its brackets, for example `AUTHENTICATIONFAILED` (RFC 9051 §7.1).
    Imap(&'a str),
}

impl fmt::Display for ErrorCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp(code) => write!(f, "{code}"),
            Self::Imap(code) => f.write_str(code),
        }
    }
}

impl ErrorDetails for InvalidEnhancedCode {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn codes_are_written_as_on_the_wire() {
        assert_eq!(ErrorCode::Smtp(535).to_string(), "535");
        assert_eq!(ErrorCode::Imap("AUTHENTICATIONFAILED").to_string(), "AUTHENTICATIONFAILED");
    }
}
