//! DELIVERBY (RFC 2852): the time within which a message is to be delivered, the value of `BY=`.

use core::fmt;

use crate::ascii;
use crate::syntax::{SyntaxError, SyntaxFault};

/// The greatest number of seconds that nine digits hold.
pub(crate) const MAX_SECONDS: u32 = 999_999_999;

/// The value of `BY=`: `by-time ";" by-mode [by-trace]` (RFC 2852 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    seconds: i32,
    mode: ByMode,
    trace: bool,
}

/// What the server does with a message that it could not deliver in time: `by-mode` (RFC 2852 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByMode {
    /// `N`: the server notifies the sender and continues to try.
    Notify,
    /// `R`: the server returns the message to the sender.
    Return,
}

impl DeliverBy {
    /// A time in seconds. With [`ByMode::Notify`] it may be negative: the time is over already.
    ///
    /// # Errors
    /// The number has more than nine digits, or is not positive with [`ByMode::Return`].
    pub const fn new(seconds: i32, mode: ByMode) -> Result<Self, SyntaxError> {
        let possible =
            seconds.unsigned_abs() <= MAX_SECONDS && (seconds > 0 || matches!(mode, ByMode::Notify));
        if possible { Ok(Self { seconds, mode, trace: false }) } else { Err(no_number()) }
    }

    /// Requests a report from the relay that passes the message to a server without DELIVERBY (`T`).
    #[must_use]
    pub const fn traced(mut self) -> Self {
        self.trace = true;
        self
    }

    /// Parses the value.
    ///
    /// # Errors
    /// The value is malformed, or requests the return of a message whose time is over.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let (time, mode) = text.split_once(';').ok_or(no_value())?;
        let (mode, trace) = match mode.as_bytes() {
            [mode] => (mode, false),
            [mode, b'T' | b't'] => (mode, true),
            _ => return Err(no_value()),
        };
        let mode = match mode {
            b'N' | b'n' => ByMode::Notify,
            b'R' | b'r' => ByMode::Return,
            _ => return Err(no_value()),
        };
        let (sign, digits) = match time.as_bytes() {
            [b'-', digits @ ..] => (-1, digits),
            [b'+', digits @ ..] | digits => (1, digits),
        };
        if digits.len() > 9 {
            return Err(no_number());
        }
        let seconds =
            ascii::number(digits).and_then(|seconds| i32::try_from(seconds).ok()).ok_or(no_number())?;
        Self::new(sign * seconds, mode).map(|by| Self { trace, ..by })
    }

    /// Returns the remaining time in seconds.
    #[must_use]
    pub const fn seconds(&self) -> i32 {
        self.seconds
    }

    /// Returns what the server does when the time is over.
    #[must_use]
    pub const fn mode(&self) -> ByMode {
        self.mode
    }

    /// Whether a report was requested for relaying to a server without DELIVERBY.
    #[must_use]
    pub const fn is_traced(&self) -> bool {
        self.trace
    }
}

impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            ByMode::Notify => "N",
            ByMode::Return => "R",
        };
        write!(f, "{};{mode}{}", self.seconds, if self.trace { "T" } else { "" })
    }
}

const fn no_value() -> SyntaxError {
    SyntaxError::new(0, SyntaxFault::Value)
}

const fn no_number() -> SyntaxError {
    SyntaxError::new(0, SyntaxFault::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn parses_times_and_rejects_overdue_returns() {
        for (text, seconds, mode, trace) in [
            ("120;R", 120, ByMode::Return, false),
            ("-999999999;N", -999_999_999, ByMode::Notify, false),
            ("0;NT", 0, ByMode::Notify, true),
            ("999999999;RT", 999_999_999, ByMode::Return, true),
        ] {
            let by = DeliverBy::parse(text).unwrap();
            assert_eq!((by.seconds(), by.mode(), by.is_traced()), (seconds, mode, trace));
            assert_eq!(by.to_string(), text);
        }
        assert_eq!(DeliverBy::parse("+5;rt").unwrap().to_string(), "5;RT");
        for bad in [
            "",
            "5",
            "5;",
            ";R",
            "0;R",
            "-1;R",
            "5;X",
            "5;RX",
            "5;TR",
            "1000000000;N",
            "5 ;R",
            "--5;N",
            "-;N",
            "5;R\r\n",
            "5;N;T",
        ] {
            assert!(DeliverBy::parse(bad).is_err(), "{bad:?}");
        }
        assert!(DeliverBy::new(i32::MIN, ByMode::Notify).is_err());
        assert!(DeliverBy::new(i32::MAX, ByMode::Return).is_err());
    }
}
