//! A message, or a part of one, that does not follow the grammar.

use crate::grammar::Expected;
use crate::grammar::owned::{Keeper, Shower, View, into_owned};
use core::fmt;
use proto_mail::SyntaxLocation;

/// A message, or an item of one, that does not follow the grammar. Only this one is lost; the next one is parsed
/// normally.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unparsed<'i> {
    /// Its bytes.
    pub raw: &'i [u8],
    /// The offset of the error in `raw`, in bytes.
    pub offset: usize,
    /// The element of the grammar that was expected there.
    pub expected: &'static str,
}

impl<'i> Unparsed<'i> {
    pub(crate) fn new(raw: &'i [u8], error: nom::Err<Expected<'_>>) -> Self {
        let expected = super::into_expected(error);
        Self { raw, offset: expected.offset_in(raw), expected: expected.what }
    }

    /// Returns the place of the error: its offset, and up to 64 bytes from there.
    #[must_use]
    pub fn location(&self) -> SyntaxLocation {
        SyntaxLocation::new(self.raw, self.offset)
    }
}

impl fmt::Display for Unparsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} {}", self.expected, self.location())
    }
}

impl fmt::Debug for Unparsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unparsed")
            .field("raw", &alloc::string::String::from_utf8_lossy(self.raw))
            .field("offset", &self.offset)
            .field("expected", &self.expected)
            .finish()
    }
}

impl<'i> View<'i> for Unparsed<'i> {
    type Static = Unparsed<'static>;

    fn keep(self, keeper: &mut Keeper) -> Self::Static {
        Unparsed { raw: keeper.bytes(self.raw), offset: self.offset, expected: self.expected }
    }

    fn show(kept: Self::Static, shower: &mut Shower<'i>) -> Self {
        Self { raw: shower.bytes(), ..kept }
    }
}

into_owned!(Unparsed);
