//! Stored encodings: an envelope or a body structure in its strict encoding, which a server can send unchanged.

use core::fmt;
use proto_mail::error::ErrorDetails;

use crate::grammar::{Context, Expected, Parsed, into_expected};

/// The error for bytes that are not a valid encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidWire {
    /// The element of the grammar that was expected.
    pub expected: &'static str,
    /// The offset in bytes at which it was expected.
    pub at: usize,
}

impl fmt::Display for InvalidWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}: encode it again", self.expected, self.at)
    }
}

impl core::error::Error for InvalidWire {}

impl ErrorDetails for InvalidWire {}

/// Checks that `parse` accepts all of `wire` strictly.
pub(crate) fn check(
    wire: &[u8],
    parse: impl for<'i> Fn(&'i [u8], &Context) -> Parsed<'i, ()>,
) -> Result<(), InvalidWire> {
    let error = match parse(wire, &Context::strict()) {
        Ok((b"", ())) => return Ok(()),
        Ok((rest, ())) => Expected { rest, what: "the end" },
        Err(error) => into_expected(error),
    };
    Err(InvalidWire { expected: error.what, at: error.offset_in(wire) })
}
