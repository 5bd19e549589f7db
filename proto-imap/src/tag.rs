//! Tags: they match a completion to its command (RFC 9051 §2.2.1). `tag = 1*<any ASTRING-CHAR except "+">`.

use crate::grammar::characters::{TAG, is_tag_char, span};
use crate::grammar::owned::owned_struct;
use crate::grammar::{Parsed, expected};
use core::fmt;
use proto_mail::error::ErrorDetails;

/// The tag of a command, chosen by the client. Tags are case-sensitive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag<'i>(&'i [u8]);

/// The error for bytes that are not a tag: they are empty, or include a character that a tag cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTag;

impl fmt::Display for InvalidTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag is one or more ASCII characters other than space, control characters and ( ) { % * \" \\ +")
    }
}

impl core::error::Error for InvalidTag {}

impl ErrorDetails for InvalidTag {}

impl<'i> Tag<'i> {
    /// Creates a tag from these bytes.
    ///
    /// # Errors
    /// [`InvalidTag`] if they are not a valid tag.
    pub fn new(bytes: &'i [u8]) -> Result<Self, InvalidTag> {
        if Self::is_valid(bytes) { Ok(Self(bytes)) } else { Err(InvalidTag) }
    }

    /// Returns whether these bytes are a tag.
    pub(crate) fn is_valid(bytes: &[u8]) -> bool {
        !bytes.is_empty() && bytes.iter().copied().all(is_tag_char)
    }

    pub(crate) const fn checked(bytes: &'i [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the tag: all ASCII.
    #[must_use]
    pub const fn as_bytes(&self) -> &'i [u8] {
        self.0
    }

    /// Returns the tag as text.
    #[must_use]
    pub fn as_str(&self) -> &'i str {
        core::str::from_utf8(self.0).unwrap_or_default()
    }
}

impl fmt::Display for Tag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Tag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// `tag = 1*<any ASTRING-CHAR except "+">`
#[inline]
pub(crate) fn tag(i: &[u8]) -> Parsed<'_, Tag<'_>> {
    match span(i, TAG) {
        ([], _) => expected(i, "a tag"),
        (tag, rest) => Ok((rest, Tag::checked(tag))),
    }
}

owned_struct!(Tag { 0 });
