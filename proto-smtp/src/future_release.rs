//! FUTURERELEASE (RFC 4865): how long a server holds a message before it delivers it, the values of `HOLDFOR=` and
//! `HOLDUNTIL=`.

use core::fmt;

use crate::ascii;
use crate::date_time::DateTime;
use crate::deliver_by::MAX_SECONDS;
use crate::syntax::{SyntaxError, SyntaxFault};

/// How long the server holds a message: `HOLDFOR=` or `HOLDUNTIL=` (RFC 4865 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// `HOLDFOR=`: for this time after submission.
    For(Interval),
    /// `HOLDUNTIL=`: until this time.
    Until(DateTime),
}

/// `future-release-integer`: 1 to 999 999 999 seconds (RFC 4865 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(u32);

/// The longest time for which a server holds messages: the EHLO parameters of FUTURERELEASE (RFC 4865 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FutureRelease {
    /// The longest interval.
    pub interval: Interval,
    /// The latest time.
    pub until: DateTime,
}

impl Hold {
    /// Returns the keyword of the parameter.
    #[must_use]
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::For(_) => "HOLDFOR",
            Self::Until(_) => "HOLDUNTIL",
        }
    }
}

impl Interval {
    /// An interval in seconds.
    ///
    /// # Errors
    /// The number is 0 or has more than nine digits.
    pub const fn new(seconds: u32) -> Result<Self, SyntaxError> {
        if seconds >= 1 && seconds <= MAX_SECONDS { Ok(Self(seconds)) } else { Err(no_number()) }
    }

    /// Parses a number that does not begin with 0.
    ///
    /// # Errors
    /// The text is not a number, or is too large.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let digits = Some(text.as_bytes()).filter(|digits| digits.len() <= 9 && !digits.starts_with(b"0"));
        let seconds = digits.and_then(ascii::number).and_then(|seconds| u32::try_from(seconds).ok());
        Self::new(seconds.ok_or(no_number())?)
    }

    /// Returns the interval in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl FutureRelease {
    /// Whether the server holds a message that long. An interval is compared with the longest interval and a time with
    /// the latest time, because the machine has no clock.
    #[must_use]
    pub fn allows(&self, hold: Hold) -> bool {
        match hold {
            Hold::For(interval) => interval <= self.interval,
            Hold::Until(time) => time.unix_seconds() <= self.until.unix_seconds(),
        }
    }
}

impl fmt::Display for Hold {
    /// Writes the value, without the keyword.
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

impl fmt::Display for FutureRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.interval, self.until)
    }
}

const fn no_number() -> SyntaxError {
    SyntaxError::new(0, SyntaxFault::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_intervals_out_of_range() {
        assert_eq!(Interval::parse("999999999").unwrap().seconds(), 999_999_999);
        for bad in ["", "0", "01", "-1", "1000000000", "5s"] {
            assert!(Interval::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Interval::new(0).is_err() && Interval::new(1_000_000_000).is_err());
    }

    #[test]
    fn compares_holds_with_the_limits_of_the_server() {
        let date = |text| DateTime::parse(text).unwrap();
        let most =
            FutureRelease { interval: Interval::new(60).unwrap(), until: date("2030-01-01T00:00:00Z") };
        for (hold, admitted) in [
            (Hold::For(Interval::new(60).unwrap()), true),
            (Hold::For(Interval::new(61).unwrap()), false),
            (Hold::Until(date("2030-01-01T01:00:00+01:00")), true),
            (Hold::Until(date("2030-01-01T00:00:01Z")), false),
        ] {
            assert_eq!(most.allows(hold), admitted, "{hold}");
        }
    }
}
