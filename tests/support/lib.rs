//! What the tests share: feeding a machine in every way that a network may, and reading a transcript.
//!
//! Fuzz targets call the same functions, so that what they find is replayed by an ordinary test.

pub mod chunk;
pub mod harness;
