//! When and how urgently a message is to be delivered: DELIVERBY (RFC 2852), FUTURERELEASE (RFC 4865), MT-PRIORITY
//! (RFC 6710).
//!
//! This file knows the values of `BY=`, `HOLDFOR=`, `HOLDUNTIL=` and `MT-PRIORITY=`. What becomes of a message is the
//! program's part: a machine delivers nothing and knows no clock.

use core::fmt;

use super::DateTime;
use crate::ascii;
use crate::parse::{SyntaxError, Why};

/// The most seconds that nine digits hold.
const MOST: u32 = 999_999_999;

/// The value of `BY=`: `by-time ";" by-mode [by-trace]` (RFC 2852 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    seconds: i32,
    mode: ByMode,
    trace: bool,
}

/// What is done with a message that was not delivered in time: the values of `by-mode` (RFC 2852 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByMode {
    /// `N`: the sender is notified, and the message is still tried.
    Notify,
    /// `R`: it is returned and tried no more.
    Return,
}

/// How long or until when a message is held: `HOLDFOR=` or `HOLDUNTIL=`, never both (RFC 4865 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// `HOLDFOR=`: so long after it was handed in.
    For(Interval),
    /// `HOLDUNTIL=`: until then.
    Until(DateTime),
}

/// `future-release-integer`: 1 to 999 999 999 seconds (RFC 4865 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(u32);

/// The value of `MT-PRIORITY=`: -9 to 9, 0 where nothing is said (RFC 6710 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(i8);

impl DeliverBy {
    /// To be delivered within so many seconds. With [`ByMode::Notify`] the time may be over, and then negative.
    ///
    /// # Errors
    /// The number has more than nine digits, or is not positive and the message is to be returned.
    pub const fn new(seconds: i32, mode: ByMode) -> Result<Self, SyntaxError> {
        let possible = seconds.unsigned_abs() <= MOST && (seconds > 0 || matches!(mode, ByMode::Notify));
        if possible { Ok(Self { seconds, mode, trace: false }) } else { Err(no_number()) }
    }

    /// The same with `T`: whoever relays it to a server without DELIVERBY sends a report that says so.
    #[must_use]
    pub const fn traced(mut self) -> Self {
        self.trace = true;
        self
    }

    /// Reads the value.
    ///
    /// # Errors
    /// It is none, or asks to return a message whose time is over.
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

    /// How many seconds are left, as the client counts.
    #[must_use]
    pub const fn seconds(&self) -> i32 {
        self.seconds
    }

    /// What is done when they are over.
    #[must_use]
    pub const fn mode(&self) -> ByMode {
        self.mode
    }

    /// Whether a report is wanted when it is relayed to a server without DELIVERBY.
    #[must_use]
    pub const fn is_traced(&self) -> bool {
        self.trace
    }
}

impl Hold {
    /// The keyword of the parameter.
    #[must_use]
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::For(_) => "HOLDFOR",
            Self::Until(_) => "HOLDUNTIL",
        }
    }
}

impl Interval {
    /// So many seconds.
    ///
    /// # Errors
    /// It is 0 or has more than nine digits.
    pub const fn new(seconds: u32) -> Result<Self, SyntaxError> {
        if seconds >= 1 && seconds <= MOST { Ok(Self(seconds)) } else { Err(no_number()) }
    }

    /// Reads a number: its first digit is not 0.
    ///
    /// # Errors
    /// It is none, or too large.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let digits = Some(text.as_bytes()).filter(|digits| digits.len() <= 9 && !digits.starts_with(b"0"));
        let seconds = digits.and_then(ascii::number).and_then(|seconds| u32::try_from(seconds).ok());
        Self::new(seconds.ok_or(no_number())?)
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl Priority {
    /// A priority; higher is more urgent.
    ///
    /// # Errors
    /// It is below -9 or above 9.
    pub const fn new(priority: i8) -> Result<Self, SyntaxError> {
        if priority >= -9 && priority <= 9 { Ok(Self(priority)) } else { Err(no_number()) }
    }

    /// Reads `priority-value = (["-"] NZDIGIT) / "0"`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        match text.as_bytes() {
            [digit @ b'0'..=b'9'] => Ok(Self((digit - b'0') as i8)),
            [b'-', digit @ b'1'..=b'9'] => Ok(Self(-((digit - b'0') as i8))),
            _ => Err(no_number()),
        }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> i8 {
        self.0
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

impl fmt::Display for Hold {
    /// The value, without the keyword.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(interval) => interval.fmt(f),
            Self::Until(time) => time.fmt(f),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const fn no_value() -> SyntaxError {
    SyntaxError { at: 0, why: Why::Value }
}

const fn no_number() -> SyntaxError {
    SyntaxError { at: 0, why: Why::Number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn what_is_returned_has_time_left() {
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

    #[test]
    fn numbers_stay_in_their_bounds() {
        for value in -9..=9 {
            let priority = Priority::new(value).unwrap();
            assert_eq!(Priority::parse(&priority.to_string()), Ok(priority));
        }
        for bad in ["", "10", "-10", "+1", "-0", "01", "1 ", "--1"] {
            assert!(Priority::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Priority::new(10).is_err() && Priority::new(i8::MIN).is_err());
        assert_eq!(Interval::parse("999999999").unwrap().seconds(), 999_999_999);
        for bad in ["", "0", "01", "-1", "1000000000", "5s"] {
            assert!(Interval::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Interval::new(0).is_err() && Interval::new(1_000_000_000).is_err());
    }
}
