//! MT-PRIORITY (RFC 6710): the priority of a message, and the name of the policy by which a server assigns priorities.

use alloc::borrow::Cow;
use core::fmt;

use crate::ascii;
use crate::syntax::{SyntaxError, SyntaxFault};

/// The value of `MT-PRIORITY=`: -9 to 9, by default 0 (RFC 6710 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Priority(i8);

/// The name of a priority assignment policy: `priority-profile` (RFC 6710 §7), such as `MIXER`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PriorityProfile<'i>(Cow<'i, str>);

impl Priority {
    /// A priority. Higher is more urgent.
    ///
    /// # Errors
    /// The number is below -9 or above 9.
    pub const fn new(priority: i8) -> Result<Self, SyntaxError> {
        if priority >= -9 && priority <= 9 { Ok(Self(priority)) } else { Err(no_number()) }
    }

    /// Parses `priority-value = (["-"] NZDIGIT) / "0"`.
    ///
    /// # Errors
    /// The text is not a priority.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        match text.as_bytes() {
            [digit @ b'0'..=b'9'] => Ok(Self((digit - b'0') as i8)),
            [b'-', digit @ b'1'..=b'9'] => Ok(Self(-((digit - b'0') as i8))),
            _ => Err(no_number()),
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn value(self) -> i8 {
        self.0
    }
}

impl<'i> PriorityProfile<'i> {
    /// Parses `1*20(ALPHA / DIGIT / "-" / "_" / ".")`.
    ///
    /// # Errors
    /// The text is not a profile name.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        let good = text.bytes().all(|byte| ascii::is(byte, ascii::ALNUM) || b"-_.".contains(&byte));
        if good && (1..=20).contains(&text.len()) {
            Ok(Self(Cow::Borrowed(text)))
        } else {
            Err(SyntaxError::in_text(text, 0, SyntaxFault::Value))
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> PriorityProfile<'static> {
        PriorityProfile(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PriorityProfile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const fn no_number() -> SyntaxError {
    SyntaxError::new(0, SyntaxFault::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn accepts_priorities_from_minus_9_to_9() {
        for value in -9..=9 {
            let priority = Priority::new(value).unwrap();
            assert_eq!(Priority::parse(&priority.to_string()), Ok(priority));
        }
        for bad in ["", "10", "-10", "+1", "-0", "01", "1 ", "--1"] {
            assert!(Priority::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Priority::new(10).is_err() && Priority::new(i8::MIN).is_err());
    }
}
