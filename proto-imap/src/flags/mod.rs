//! Flags: the system flags, keywords, and lists of them (RFC 9051 §2.3.2).
//!
//! ```text
//! flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension
//! ```
//!
//! A [`Keyword`] never contains a space, a parenthesis or a line end. This module does not know which flags a mailbox
//! allows.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::Context;
use crate::grammar::characters::{is_atom_char, is_lenient_flag_char};
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{Element, LazyList};
use crate::grammar::owned::{Owned, Stored, owned_enum, owned_struct};
use crate::grammar::string::show;
use core::fmt;
use proto_mail::error::ErrorDetails;

/// A flag of a message or a mailbox.
///
/// Flags are compared without regard to case.
#[derive(Clone, Copy)]
pub enum Flag<'i> {
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Seen`
    Seen,
    /// `\Draft`
    Draft,
    /// `\Recent`: IMAP4rev1 only; only the server can set it.
    Recent,
    /// `\*`: in PERMANENTFLAGS only; clients can create new keywords.
    Any,
    /// A keyword, which has no backslash.
    Keyword(Keyword<'i>),
    /// Another flag with a backslash. The keyword does not include the backslash.
    Extension(Keyword<'i>),
}

/// The name of a flag without a backslash: an atom.
#[derive(Clone, Copy)]
pub struct Keyword<'i>(&'i [u8]);

/// The error for a name that is not a keyword: it is empty, or has a character that an atom cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidKeyword;

impl fmt::Display for InvalidKeyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a keyword is one or more ASCII characters other than space, control characters and ( ) { % * \" \\ ]")
    }
}

impl core::error::Error for InvalidKeyword {}

impl ErrorDetails for InvalidKeyword {}

impl<'i> Keyword<'i> {
    /// Creates a keyword with this name.
    ///
    /// # Errors
    /// [`InvalidKeyword`] if the name is not an atom.
    pub fn new(name: &'i str) -> Result<Self, InvalidKeyword> {
        if !name.is_empty() && name.bytes().all(is_atom_char) {
            Ok(Self(name.as_bytes()))
        } else {
            Err(InvalidKeyword)
        }
    }

    /// Creates a keyword from a name that the grammar has checked: it has no space, parenthesis or control character.
    pub(crate) const fn checked(name: &'i [u8]) -> Self {
        Self(name)
    }

    /// Returns the bytes of the name. They can be other than ASCII if the tolerant parser accepted them.
    #[must_use]
    pub const fn as_bytes(&self) -> &'i [u8] {
        self.0
    }

    /// Returns whether the name is an atom, as the grammar requires. Only the tolerant parser creates other keywords;
    /// they are never written.
    #[must_use]
    pub fn is_atom(&self) -> bool {
        !self.0.is_empty() && self.0.iter().copied().all(is_atom_char)
    }
}

impl PartialEq for Keyword<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for Keyword<'_> {}

impl fmt::Display for Keyword<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&alloc::string::String::from_utf8_lossy(self.0), f)
    }
}

impl fmt::Debug for Keyword<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'i> Flag<'i> {
    /// Returns the flag with this name, which includes the backslash unless the flag is a keyword.
    ///
    /// # Errors
    /// [`InvalidKeyword`] if no flag can have this name.
    pub fn new(name: &'i str) -> Result<Self, InvalidKeyword> {
        if name == "\\*" {
            return Ok(Self::Any);
        }
        Keyword::new(name.strip_prefix('\\').unwrap_or(name))?;
        Ok(Self::from_wire(name.as_bytes()))
    }

    /// Returns the flag with this name. The grammar has checked its characters.
    pub(crate) fn from_wire(name: &'i [u8]) -> Self {
        let Some((b'\\', rest)) = name.split_first().map(|(first, rest)| (*first, rest)) else {
            return Self::Keyword(Keyword(name));
        };
        let system = match rest.len() {
            1 if rest == b"*" => Some(Self::Any),
            4 if rest.eq_ignore_ascii_case(b"Seen") => Some(Self::Seen),
            5 if rest.eq_ignore_ascii_case(b"Draft") => Some(Self::Draft),
            6 if rest.eq_ignore_ascii_case(b"Recent") => Some(Self::Recent),
            7 if rest.eq_ignore_ascii_case(b"Flagged") => Some(Self::Flagged),
            7 if rest.eq_ignore_ascii_case(b"Deleted") => Some(Self::Deleted),
            8 if rest.eq_ignore_ascii_case(b"Answered") => Some(Self::Answered),
            _ => None,
        };
        system.unwrap_or(Self::Extension(Keyword(rest)))
    }

    /// Returns the name without the backslash.
    #[must_use]
    pub const fn name(&self) -> &'i [u8] {
        match self {
            Self::Answered => b"Answered",
            Self::Flagged => b"Flagged",
            Self::Deleted => b"Deleted",
            Self::Seen => b"Seen",
            Self::Draft => b"Draft",
            Self::Recent => b"Recent",
            Self::Any => b"*",
            Self::Keyword(name) | Self::Extension(name) => name.0,
        }
    }

    /// Returns whether the flag is written with a backslash.
    #[must_use]
    pub const fn has_backslash(&self) -> bool {
        !matches!(self, Self::Keyword(_))
    }
}

impl PartialEq for Flag<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.has_backslash() == other.has_backslash() && self.name().eq_ignore_ascii_case(other.name())
    }
}

impl Eq for Flag<'_> {}

impl fmt::Display for Flag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_backslash() {
            f.write_str("\\")?;
        }
        fmt::Display::fmt(&Keyword(self.name()), f)
    }
}

impl fmt::Debug for Flag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A list of flags, parsed when it is iterated.
pub type FlagList<'i> = LazyList<'i, Flag<'i>>;

impl Stored for FlagList<'static> {
    type At<'i> = FlagList<'i>;
}

impl<'i> LazyList<'i, Flag<'i>> {
    /// Returns an owned copy, which outlives the message.
    #[must_use]
    pub fn into_owned(self) -> Owned<FlagList<'static>> {
        Owned::keep(self)
    }

    /// Returns whether `flag` is in the list.
    #[must_use]
    pub fn contains(&self, flag: Flag<'_>) -> bool {
        self.iter().any(|one| one == flag)
    }
}

impl Sealed for Flag<'_> {}

impl<'i> Element<'i> for Flag<'i> {
    fn walk(i: &'i [u8], _: &Context) -> Option<(&'i [u8], Self)> {
        let end = i.iter().position(|byte| !is_lenient_flag_char(*byte)).unwrap_or(i.len());
        let (name, rest) = i.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
        Some((rest, Self::from_wire(name)))
    }
}

owned_enum!(Flag { Answered, Flagged, Deleted, Seen, Draft, Recent, Any, Keyword(a), Extension(a) });

owned_struct!(Keyword { 0 });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Attempt;

    #[test]
    fn rejects_names_with_special_characters() {
        for bad in ["", "a b", "a)", "(", "a\r\nb", "a\0", "\"", "{3}", "a]", "*", "\\", "\\\\a", "é", "%"] {
            assert!(Keyword::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "\\", "\\a b", "\\\r\n"] {
            assert!(Flag::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn parses_system_flags_in_any_case() {
        assert!(matches!(Flag::new("\\sEEN"), Ok(Flag::Seen)));
        assert!(matches!(Flag::new("\\*"), Ok(Flag::Any)));
        assert!(matches!(Flag::new("$Junk"), Ok(Flag::Keyword(_))));
        assert!(matches!(Flag::new("\\X-New"), Ok(Flag::Extension(_))));
        assert_ne!(Flag::new("Seen").unwrap(), Flag::Seen);
        assert_eq!(Flag::new("$JUNK").unwrap(), Flag::new("$junk").unwrap());
    }

    #[test]
    fn iterates_a_received_list() {
        let list = FlagList::wire(br"\Seen  $a ", Attempt::First);
        assert_eq!(alloc::format!("{list:?}"), r"[\Seen, $a]");
        assert!(list.contains(Flag::Seen));
        assert!(FlagList::wire(b"", Attempt::First).is_empty());
    }
}
