//! The structure of a message as IMAP shows it: ENVELOPE, BODYSTRUCTURE and sections (RFC 9051 §7.5.2, §6.4.5).
//!
//! Parses RFC 5322 headers and RFC 2045/2046 MIME. Values are the *raw* text of the header: encoded words stay
//! encoded, folding is undone, and CR, LF and NUL never appear. Text that is not UTF-8 is read as ISO 8859-1, so every
//! value is a valid string.
//!
//! A streaming [`Scanner`] finds every part of a message of any size. It never loads the whole message: a part is a
//! [`ByteRange`] of it. All derived data is bounded by the constants of this module. A value over a limit is cut at an
//! element (an address, a parameter, a part) and `truncated` is set; byte ranges stay exact. Parts nested deeper than
//! [`DEPTH_LIMIT`] are opaque `application/octet-stream`; parts after the first [`PART_LIMIT`] are left out.
//! [`decode`] decodes text for searching, with `mail-parser` and `encoding_rs`.

#![forbid(unsafe_code)]

pub mod decode;
mod envelope;
mod envelope_size;
mod field;
mod filter;
mod header;
mod limits;
pub mod record;
mod scan;
mod section;
mod structure;
mod text;
mod transfer;

pub use filter::HeaderFilter;
pub use header::{Field, Fields, HeaderSubset, header_fields, unfold};
pub use limits::{
    ADDRESS_FIELD_LIMIT, ADDRESS_LIMIT, DEPTH_LIMIT, DERIVED_LIMIT, ENVELOPE_ADDRESS_LIMIT, ENVELOPE_LIMIT,
    FIELD_LIMIT, LANGUAGE_LIMIT, PARAMETER_LIMIT, PART_LIMIT, TEXT_LIMIT, WORD_LIMIT,
};
pub use scan::{Scanner, Summary};
pub use section::{SectionLocation, SectionText, extract_section, locate_section};
pub use structure::{Address, ByteRange, Disposition, Envelope, Part, Structure};
pub use text::TextDecoder;
pub use transfer::{BrokenEncoding, TransferDecoder};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
