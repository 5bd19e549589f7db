//! What IMAP says about a message's form: ENVELOPE, BODYSTRUCTURE and sections (RFC 9051 §7.5.2, §6.4.5).
//!
//! Knows RFC 5322 headers and RFC 2045/2046 MIME. Does not know IMAP's wire syntax, flags, or where messages are
//! kept. Values are the *raw* text of the header: encoded words stay encoded, folding is undone, and CR, LF and NUL
//! never appear. Text that is not UTF-8 is read as ISO 8859-1, so that every value is a valid string.
//!
//! One streaming [`Scanner`] finds every part, whatever the size of the message: nothing is loaded whole, and a part
//! is a [`ByteRange`] into the message. Everything derived is bounded by the constants of this module. Beyond a limit a
//! value is cut at an element (an address, a parameter, a part) and `truncated` is set; ranges stay exact. Parts nested
//! deeper than [`DEPTH_LIMIT`] are opaque `application/octet-stream`; parts beyond the first [`PART_LIMIT`] are left out.
//! Decoding text for searching ([`decode`]) is `mail-parser`'s.

pub mod decode;
mod envelope;
mod envelope_size;
mod field;
mod filter;
mod header;
mod limits;
pub(crate) mod record;
mod scan;
mod section;
mod structure;
mod text;
mod transfer;

pub use filter::HeaderFilter;
pub use header::{Field, Fields, Subset, header_fields, unfold};
pub use limits::{
    ADDRESS_FIELD_LIMIT, ADDRESS_LIMIT, DEPTH_LIMIT, DERIVED_LIMIT, ENVELOPE_ADDRESS_LIMIT, ENVELOPE_LIMIT,
    FIELD_LIMIT, LANGUAGE_LIMIT, PARAMETER_LIMIT, PART_LIMIT, TEXT_LIMIT, WORD_LIMIT,
};
pub use scan::Scanner;
pub(crate) use scan::Summary;
pub use section::{SectionLocation, SectionText, extract_section, locate_section};
pub use structure::{Address, ByteRange, Disposition, Envelope, Part, Structure};
pub use text::TextDecoder;
pub use transfer::{BrokenEncoding, TransferDecoder};
