//! An envelope in encoded form, to store and to send unchanged.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::envelope::Envelope;
use crate::envelope::{encode, parse};
use crate::grammar::Context;
use crate::grammar::encoded::{InvalidWire, check};

/// The strict encoding of an [`Envelope`], in one allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedEnvelope(Box<[u8]>);

impl EncodedEnvelope {
    /// Encodes a value.
    #[must_use]
    pub fn new(value: &Envelope<'_>) -> Self {
        let mut wire = Vec::new();
        encode::envelope(value, &mut wire);
        Self(wire.into())
    }

    /// Restores a value from the bytes that [`wire`](Self::wire) returned.
    ///
    /// # Errors
    /// [`InvalidWire`] if they do not follow the grammar strictly.
    pub fn from_wire(wire: impl Into<Box<[u8]>>) -> Result<Self, InvalidWire> {
        let wire = wire.into();
        check(&wire, |wire, cx| parse::envelope(wire, cx).map(|(rest, _)| (rest, ())))?;
        Ok(Self(wire))
    }

    /// Returns the strict encoding.
    #[must_use]
    pub const fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Returns the value. Each call parses the encoding.
    #[must_use]
    pub fn view(&self) -> Envelope<'_> {
        parse::envelope(&self.0, &Context::strict()).map(|(_, view)| view).unwrap_or_default()
    }
}

impl From<&Envelope<'_>> for EncodedEnvelope {
    fn from(value: &Envelope<'_>) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for EncodedEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}
