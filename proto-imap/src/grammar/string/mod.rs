//! Strings as received: a view that stores its form and unescapes only on demand.
//!
//! ```text
//! astring = 1*ASTRING-CHAR / string        string = quoted / literal        nstring = string / nil
//! ```
//!
//! (RFC 9051 §9). An `nstring` is an `Option<IString>`: `NIL` and the empty string are different.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::owned::{owned_struct, plain};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The form in which a string was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringForm {
    /// An atom, without quotes.
    Atom,
    /// In double quotes.
    Quoted,
    /// With its length: `{5}` CRLF and five bytes. Also the form of a string that [`IString::new`] has created.
    Literal,
}

#[derive(Clone, Copy)]
enum Stored {
    Atom,
    Quoted,
    /// Quoted, with at least one backslash.
    Escaped,
    Literal,
}

/// A string of bytes and the form in which it was sent.
///
/// Two strings are equal if their bytes are equal, regardless of the form.
#[derive(Clone, Copy)]
pub struct IString<'i> {
    raw: &'i [u8],
    stored: Stored,
}

impl<'i> IString<'i> {
    /// The empty string.
    pub const EMPTY: IString<'static> = IString { raw: b"", stored: Stored::Literal };

    /// Creates a string of these bytes. The encoder chooses its form: atom, quoted or literal.
    #[must_use]
    pub const fn new(bytes: &'i [u8]) -> Self {
        Self { raw: bytes, stored: Stored::Literal }
    }

    pub(crate) const fn atom(raw: &'i [u8]) -> Self {
        Self { raw, stored: Stored::Atom }
    }

    /// Creates a quoted string; `raw` is the text between the quotes.
    pub(crate) const fn quoted(raw: &'i [u8], escaped: Escapes) -> Self {
        let stored = match escaped {
            Escapes::None => Stored::Quoted,
            Escapes::Some => Stored::Escaped,
        };
        Self { raw, stored }
    }

    /// Returns the form in which the string was sent.
    #[must_use]
    pub const fn form(&self) -> StringForm {
        match self.stored {
            Stored::Atom => StringForm::Atom,
            Stored::Quoted | Stored::Escaped => StringForm::Quoted,
            Stored::Literal => StringForm::Literal,
        }
    }

    /// Returns the bytes of the string. They are borrowed unless a backslash must be removed.
    #[must_use]
    pub fn as_bytes(&self) -> Cow<'i, [u8]> {
        match self.stored {
            Stored::Escaped => Cow::Owned(self.iter().collect()),
            Stored::Atom | Stored::Quoted | Stored::Literal => Cow::Borrowed(self.raw),
        }
    }

    /// Returns the string as text; bytes that are not UTF-8 are replaced by U+FFFD.
    #[must_use]
    pub fn to_str_lossy(&self) -> Cow<'i, str> {
        match self.as_bytes() {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Cow::Owned(text),
                Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
            },
        }
    }

    /// Returns the bytes exactly as in the message, backslashes included.
    #[must_use]
    pub const fn raw(&self) -> &'i [u8] {
        self.raw
    }

    /// Returns an iterator over the bytes, without the escaping backslashes. Never allocates.
    pub fn iter(&self) -> impl Iterator<Item = u8> + Clone + use<'i> {
        Unescaped { rest: self.raw, escaped: matches!(self.stored, Stored::Escaped) }
    }

    /// Returns whether the string is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Returns whether the string equals `other` without regard to ASCII case. Never allocates.
    #[must_use]
    pub fn eq_ignore_ascii_case(&self, other: &[u8]) -> bool {
        match self.stored {
            Stored::Escaped => {
                self.iter().map(|byte| byte.to_ascii_lowercase()).eq(other.iter().map(u8::to_ascii_lowercase))
            }
            Stored::Atom | Stored::Quoted | Stored::Literal => self.raw.eq_ignore_ascii_case(other),
        }
    }

    /// Returns a copy of the bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_bytes().into_owned()
    }

    /// Returns the string with its raw bytes trimmed.
    pub(crate) fn trimmed(&self, trim: impl Fn(&'i [u8]) -> &'i [u8]) -> Self {
        Self { raw: trim(self.raw), stored: self.stored }
    }
}

/// Whether a quoted string contains backslashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escapes {
    None,
    Some,
}

#[derive(Clone)]
struct Unescaped<'i> {
    rest: &'i [u8],
    escaped: bool,
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        // A backslash that escapes nothing is an ordinary character.
        if self.escaped
            && first == b'\\'
            && let Some((&next @ (b'"' | b'\\'), rest)) = rest.split_first()
        {
            self.rest = rest;
            return Some(next);
        }
        Some(first)
    }
}

impl Default for IString<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'i> From<&'i [u8]> for IString<'i> {
    fn from(bytes: &'i [u8]) -> Self {
        Self::new(bytes)
    }
}

impl<'i> From<&'i str> for IString<'i> {
    fn from(text: &'i str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl PartialEq for IString<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for IString<'_> {}

impl PartialEq<[u8]> for IString<'_> {
    fn eq(&self, other: &[u8]) -> bool {
        self.iter().eq(other.iter().copied())
    }
}

impl PartialEq<&[u8]> for IString<'_> {
    fn eq(&self, other: &&[u8]) -> bool {
        *self == **other
    }
}

impl PartialEq<str> for IString<'_> {
    fn eq(&self, other: &str) -> bool {
        *self == *other.as_bytes()
    }
}

impl PartialEq<&str> for IString<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == *other.as_bytes()
    }
}

impl core::fmt::Debug for IString<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(&self.to_str_lossy(), f)
    }
}

/// Prints the text with control characters replaced by U+FFFD, which is safe to show.
/// [`to_str_lossy`](IString::to_str_lossy) keeps them.
impl core::fmt::Display for IString<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        show(&self.to_str_lossy(), f)
    }
}

/// Prints a peer's text without control characters: a terminal would execute them, and a line end would forge a line
/// in a log.
pub(crate) fn show(text: &str, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    if !text.contains(char::is_control) {
        return core::fmt::Display::fmt(text, f);
    }
    let safe = text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character });
    core::fmt::Display::fmt(safe.collect::<alloc::string::String>().as_str(), f)
}

plain!(Stored);

owned_struct!(IString { raw, stored });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_control_characters_when_shown() {
        let text = IString::from("\u{1b}]0;x\u{7}\r\n\u{9b}2J");
        assert_eq!(alloc::format!("{text}"), "\u{fffd}]0;x\u{fffd}\u{fffd}\u{fffd}\u{fffd}2J");
        assert_eq!(text.to_str_lossy(), "\u{1b}]0;x\u{7}\r\n\u{9b}2J");
    }

    #[test]
    fn unescapes_only_what_is_escaped() {
        let plain = IString::quoted(br"a b", Escapes::None);
        assert!(matches!(plain.as_bytes(), Cow::Borrowed(b"a b")));
        let escaped = IString::quoted(br#"\"a\\b\c"#, Escapes::Some);
        assert_eq!(escaped.as_bytes().as_ref(), br#""a\b\c"#);
        assert_eq!(escaped, r#""a\b\c"#);
        assert!(escaped.eq_ignore_ascii_case(br#""A\B\C"#));
        assert_eq!(escaped.form(), StringForm::Quoted);
    }

    #[test]
    fn keeps_backslashes_in_literals() {
        assert_eq!(IString::new(br"a\\b").as_bytes().as_ref(), br"a\\b");
        assert_eq!(IString::new(b"\xff").to_str_lossy(), "\u{fffd}");
    }
}
