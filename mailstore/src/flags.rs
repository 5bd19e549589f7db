//! The flags of a message: system flags and keywords (RFC 9051 §2.3.2).
//!
//! `\Recent` is not among them: it belongs to a session, not to a message.

use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// The most keywords of one message.
pub const KEYWORD_COUNT_LIMIT: usize = 100;

/// The longest keyword, in bytes.
pub const KEYWORD_LENGTH_LIMIT: usize = 255;

/// The most keywords ever used by the messages of one mailbox.
pub const MAILBOX_KEYWORD_LIMIT: usize = 1_000;

/// The most bytes of all keywords of one mailbox together. FLAGS and PERMANENTFLAGS list all of them in one response.
pub const MAILBOX_KEYWORD_BYTES_LIMIT: usize = 64 * 1024;

/// A set of flags. Keywords are compared without regard to ASCII case, and keep their first spelling.
///
/// Cloning is cheap, because clones share the keywords.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    system: u8,
    keywords: Arc<[Arc<str>]>,
    newest: u32,
}

impl PartialEq for Flags {
    fn eq(&self, other: &Self) -> bool {
        self.system == other.system && self.keywords == other.keywords
    }
}

impl Eq for Flags {}

impl Flags {
    /// `\Seen`
    pub const SEEN: u8 = 1;
    /// `\Answered`
    pub const ANSWERED: u8 = 2;
    /// `\Flagged`
    pub const FLAGGED: u8 = 4;
    /// `\Deleted`
    pub const DELETED: u8 = 8;
    /// `\Draft`
    pub const DRAFT: u8 = 16;

    const NAMES: [(u8, &'static str); 5] = [
        (Self::ANSWERED, "\\Answered"),
        (Self::FLAGGED, "\\Flagged"),
        (Self::DELETED, "\\Deleted"),
        (Self::SEEN, "\\Seen"),
        (Self::DRAFT, "\\Draft"),
    ];

    /// Creates an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a set of system flags from their bits ([`Flags::SEEN`], …). Other bits are ignored.
    pub fn system(bits: u8) -> Self {
        Self { system: bits & 31, ..Self::default() }
    }

    /// Parses flag names, as IMAP writes them. `\Recent` and unknown system flags are ignored.
    ///
    /// # Errors
    /// `InvalidName` for a keyword that is not an atom, `Limit` for more than [`KEYWORD_COUNT_LIMIT`] keywords or one
    /// longer than [`KEYWORD_LENGTH_LIMIT`].
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut flags = Self::default();
        for name in names {
            flags.insert(name)?;
        }
        Ok(flags)
    }

    /// Parses and adds one flag.
    ///
    /// # Errors
    /// As [`Flags::parse`].
    pub fn insert(&mut self, name: &str) -> Result<()> {
        if name.starts_with('\\') {
            let known = Self::NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
            self.system |= known.map_or(0, |(bit, _)| *bit);
            return Ok(());
        }
        if name.len() > KEYWORD_LENGTH_LIMIT {
            return Err(Error::Limit("the length of a keyword"));
        }
        if name.is_empty() || !name.bytes().all(is_atom_char) {
            return Err(Error::InvalidName("a keyword is an atom"));
        }
        if !self.contains_keyword(name) {
            if self.keywords.len() >= KEYWORD_COUNT_LIMIT {
                return Err(Error::Limit("the number of keywords of a message"));
            }
            self.keywords = self.keywords.iter().cloned().chain([Arc::from(name)]).collect();
        }
        Ok(())
    }

    /// Returns the bits of the system flags.
    pub fn system_bits(&self) -> u8 {
        self.system
    }

    /// Returns the keywords.
    pub fn keywords(&self) -> &[Arc<str>] {
        &self.keywords
    }

    /// Returns the highest number that one of the keywords has in its mailbox. A mailbox numbers its keywords from 1
    /// in the order of their first use. Returns 0 without keywords, and for flags that were not read from a store.
    pub fn newest_keyword(&self) -> u32 {
        self.newest
    }

    /// Returns whether the set has all system flags of `bits`.
    pub fn contains(&self, bits: u8) -> bool {
        self.system & bits == bits
    }

    /// Returns whether the set has this keyword.
    pub fn contains_keyword(&self, keyword: &str) -> bool {
        self.keywords.iter().any(|known| known.eq_ignore_ascii_case(keyword))
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_empty()
    }

    /// Returns the names of all flags, as IMAP writes them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let system = Self::NAMES.iter().filter(|(bit, _)| self.system & bit != 0).map(|(_, name)| *name);
        system.chain(self.keywords.iter().map(AsRef::as_ref))
    }

    /// Adds all flags of `other`.
    ///
    /// # Errors
    /// `Limit` if the set would have more than [`KEYWORD_COUNT_LIMIT`] keywords.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        self.system |= other.system;
        other.keywords.iter().try_for_each(|keyword| self.insert(keyword))
    }

    /// Removes all flags of `other`.
    pub fn remove(&mut self, other: &Self) {
        self.system &= !other.system;
        self.keywords =
            self.keywords.iter().filter(|keyword| !other.contains_keyword(keyword)).cloned().collect();
    }

    /// Creates a set of flags read from a store; `newest` is the highest number among the keywords.
    pub(crate) fn stored(system: u8, keywords: Arc<[Arc<str>]>, newest: u32) -> Self {
        Self { system, keywords, newest }
    }

    /// Returns the shared list of keywords.
    pub(crate) fn shared_keywords(&self) -> &Arc<[Arc<str>]> {
        &self.keywords
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// ATOM-CHAR of RFC 9051 §9.
fn is_atom_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_flags_and_enforces_limits() {
        let mut flags = Flags::parse(["\\seen", "$Forwarded", "\\Recent", "$forwarded", "Junk"]).unwrap();
        assert_eq!(flags.to_string(), "\\Seen $Forwarded Junk");
        flags.remove(&Flags::parse(["JUNK"]).unwrap());
        assert_eq!(flags, Flags::stored(Flags::SEEN, Arc::from(["$Forwarded".into()]), 7));
        for bad in ["", "a b", "a\r\nb", "x)", "é", "nul\0"] {
            assert!(matches!(Flags::parse([bad]), Err(Error::InvalidName(_))), "{bad:?}");
        }
        let many: Vec<String> = (0..=KEYWORD_COUNT_LIMIT).map(|n| format!("k{n}")).collect();
        assert!(matches!(Flags::parse(many.iter().map(String::as_str)), Err(Error::Limit(_))));
    }
}
