//! The identity of a command, and the tag derived from it.

use core::fmt;

/// Identifies a command of a session, to match its completion. Ids increase by one with each command.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub(super) u32);

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandId({self})")
    }
}

/// The command's tag.
impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "M{}", self.0)
    }
}

impl CommandId {
    /// Returns the id that belongs to this tag; `None` if no id does.
    pub(super) fn from_tag(tag: &[u8]) -> Option<Self> {
        let digits = tag.strip_prefix(b"M")?;
        if digits.first() == Some(&b'0') || digits.is_empty() || digits.len() > 10 {
            return None;
        }
        let number = digits.iter().try_fold(0u32, |sum, digit| {
            let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        })?;
        Some(Self(number))
    }
}
