//! A message, or a part of one, that does not follow the grammar.

use crate::grammar::Expected;
use crate::grammar::owned::{Keeper, Shower, View, into_owned};
use core::fmt;

/// A message, or an item of one, that the grammar does not cover: what came, where it went wrong, and what was due
/// there. Only this one message is lost; the next one is read normally.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unparsed<'i> {
    /// The bytes of it.
    pub raw: &'i [u8],
    /// How many of them stand before the place where it went wrong.
    pub at: usize,
    /// The element of the grammar that was due there.
    pub why: &'static str,
}

impl<'i> Unparsed<'i> {
    pub(crate) fn new(raw: &'i [u8], error: nom::Err<Expected<'_>>) -> Self {
        let expected = super::why(error);
        Self { raw, at: expected.offset_in(raw), why: expected.what }
    }
}

impl fmt::Display for Unparsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {} of {}", self.why, self.at, self.raw.len())
    }
}

impl fmt::Debug for Unparsed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unparsed")
            .field("raw", &alloc::string::String::from_utf8_lossy(self.raw))
            .field("at", &self.at)
            .field("why", &self.why)
            .finish()
    }
}

impl<'i> View<'i> for Unparsed<'i> {
    type Static = Unparsed<'static>;

    fn keep(self, keeper: &mut Keeper) -> Self::Static {
        Unparsed { raw: keeper.bytes(self.raw), at: self.at, why: self.why }
    }

    fn show(kept: Self::Static, shower: &mut Shower<'i>) -> Self {
        Self { raw: shower.bytes(), ..kept }
    }
}

into_owned!(Unparsed);
