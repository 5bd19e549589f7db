//! What outlives the message it came in: envelopes and body structures to keep.
//!
//! An owned value is one piece of memory that holds the strict encoding; a [`view`](OwnedEnvelope::view) of it costs
//! nothing but the walk. That is also what a server wants to store: it is sent as it lies there.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::body::BodyStructure;
use super::envelope::Envelope;
use crate::encode;
use crate::parse::{self, Context};

/// Why octets are no encoding of what they are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidWire {
    /// The element of the grammar that was due.
    pub expected: &'static str,
    /// Where it was due, in octets from the beginning.
    pub at: usize,
}

impl fmt::Display for InvalidWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at octet {}: encode it anew", self.expected, self.at)
    }
}

impl core::error::Error for InvalidWire {}

macro_rules! owned {
    ($(#[$doc:meta])* $name:ident, $view:ident, $parse:path, |$value:ident, $out:ident| $encode:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Box<[u8]>);

        impl $name {
            /// Keeps a value.
            #[must_use]
            pub fn new($value: &$view<'_>) -> Self {
                let mut memory = Vec::new();
                let $out = &mut memory;
                $encode;
                Self(memory.into())
            }

            /// Takes back what [`wire`](Self::wire) has given.
            ///
            /// # Errors
            /// [`InvalidWire`] if it does not follow the grammar strictly.
            pub fn from_wire(wire: impl Into<Box<[u8]>>) -> Result<Self, InvalidWire> {
                let wire = wire.into();
                let error = match $parse(&wire, &Context::strict()) {
                    Ok((b"", _)) => None,
                    Ok((rest, _)) => Some(parse::Expected { rest, what: "the end" }),
                    Err(error) => Some(parse::why(error)),
                };
                match error {
                    Some(error) => Err(InvalidWire { expected: error.what, at: error.offset_in(&wire) }),
                    None => Ok(Self(wire)),
                }
            }

            /// The encoding, strictly as the grammar has it.
            #[must_use]
            pub const fn wire(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<&$view<'_>> for $name {
            fn from(value: &$view<'_>) -> Self {
                Self::new(value)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.view().fmt(f)
            }
        }
    };
}

owned! {
    /// An [`Envelope`] to keep.
    OwnedEnvelope, Envelope, parse::envelope::envelope, |value, out| encode::envelope::envelope(value, out)
}

owned! {
    /// A [`BodyStructure`] to keep.
    OwnedBodyStructure, BodyStructure, parse::body::body,
    |value, out| encode::body::body(value, encode::body::Detail::BodyStructure, out)
}

impl OwnedEnvelope {
    /// The envelope.
    #[must_use]
    pub fn view(&self) -> Envelope<'_> {
        parse::envelope::envelope(&self.0, &Context::strict()).map(|(_, view)| view).unwrap_or_default()
    }
}

impl OwnedBodyStructure {
    /// The body structure.
    #[must_use]
    pub fn view(&self) -> BodyStructure<'_> {
        match parse::body::body(&self.0, &Context::strict()) {
            Ok((_, view)) => view,
            Err(_) => parse::body::NOTHING,
        }
    }
}
