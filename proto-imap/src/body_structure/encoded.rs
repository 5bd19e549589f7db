//! A body structure in encoded form, to store and to send unchanged.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::body_structure::BodyStructure;
use crate::body_structure::{encode, parse};
use crate::grammar::Context;
use crate::grammar::encoded::{InvalidWire, check};

/// The strict encoding of a [`BodyStructure`], in one allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedBodyStructure(Box<[u8]>);

impl EncodedBodyStructure {
    /// Encodes a value.
    #[must_use]
    pub fn new(value: &BodyStructure<'_>) -> Self {
        let mut wire = Vec::new();
        encode::body(value, encode::Detail::BodyStructure, &mut wire);
        Self(wire.into())
    }

    /// Restores a value from the bytes that [`wire`](Self::wire) returned.
    ///
    /// # Errors
    /// [`InvalidWire`] if they do not follow the grammar strictly.
    pub fn from_wire(wire: impl Into<Box<[u8]>>) -> Result<Self, InvalidWire> {
        let wire = wire.into();
        check(&wire, |wire, cx| parse::body(wire, cx).map(|(rest, _)| (rest, ())))?;
        Ok(Self(wire))
    }

    /// Returns the strict encoding.
    #[must_use]
    pub const fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Returns the value. Each call parses the encoding.
    #[must_use]
    pub fn view(&self) -> BodyStructure<'_> {
        parse::body(&self.0, &Context::strict()).map_or(parse::NOTHING, |(_, view)| view)
    }
}

impl From<&BodyStructure<'_>> for EncodedBodyStructure {
    fn from(value: &BodyStructure<'_>) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for EncodedBodyStructure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}
