//! The structure of mail messages: envelope, body structure, sections, header fields and decoded text.
//!
//! A streaming [`Scanner`] finds every part of a message of any size, in constant memory and linear time. It never
//! holds the message: a part is a [`ByteRange`] of it. The result has the fields of IMAP's ENVELOPE and BODYSTRUCTURE
//! (RFC 9051 §7.5.2) and the ranges of its sections (§6.4.5.1). It parses RFC 5322 headers and MIME (RFC 2045, 2046,
//! 2183, 2231). No message is refused: a malformed one has a simpler structure.
//!
//! ```
//! use mailmime::{Limits, Scanner};
//!
//! let message = b"From: Ann <ann@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello\r\n";
//! let mut scanner = Scanner::new(Limits::default());
//! for chunk in message.chunks(7) {
//!     scanner.push(chunk); // for example while the message is written to disk
//! }
//! let structure = scanner.finish();
//!
//! assert_eq!(structure.envelope.from[0].mailbox.as_deref(), Some("ann"));
//! assert_eq!(structure.envelope.decoded_subject().as_deref(), Some("Grüße"));
//! assert_eq!(structure.section(message, &"TEXT".parse()?).as_deref(), Some(&b"Hello\r\n"[..]));
//! # Ok::<(), mailmime::InvalidSection>(())
//! ```
//!
//! # Values
//!
//! Values are the *raw* text of the header: encoded words stay encoded, as in ENVELOPE. Folding is undone, and CR, LF
//! and NUL never appear. Text that is not UTF-8 is read as ISO 8859-1, so every value is a valid string.
//!
//! [`decode`] decodes header text (RFC 2047), parameters (RFC 2231), charsets, transfer encodings and dates. A
//! [`TextDecoder`] decodes a text part piece by piece, and a [`TransferDecoder`] any part. A [`HeaderFilter`] selects the
//! fields of a header of any size.
//!
//! # Limits
//!
//! All derived data is bounded by [`Limits`]. A value over a limit is cut at an element (an address, a parameter, a
//! part), and `truncated` of the part or envelope is set; byte ranges stay exact.
//!
//! # Storing a structure
//!
//! [`Scanner::finish_record`] returns the structure as a compact text ([`StructureRecord`]), from which
//! [`Envelope::from_record`] and [`Part::from_record`] read it. A later version reads what an earlier one wrote.
#![forbid(unsafe_code)]

mod address_list;
mod charset;
pub mod decode;
mod decoded;
mod envelope_size;
mod envelope_writer;
mod field_buffer;
mod header;
mod header_filter;
mod html_text;
mod limits;
mod markup;
mod memory;
mod mime_fields;
mod numbered_parts;
mod preview;
mod record;
mod scanner;
mod section;
mod structure;
mod text_decoder;
mod transfer_decoder;
mod unfold;

pub use header::{HeaderField, HeaderFields, HeaderSubset, header_fields};
pub use header_filter::HeaderFilter;
pub use html_text::HtmlText;
pub use limits::Limits;
pub use numbered_parts::NumberedParts;
pub use preview::PreviewBuilder;
pub use record::{InvalidRecord, StructureRecord};
pub use scanner::Scanner;
pub use section::{InvalidSection, Section, SectionLocation, SectionText};
pub use structure::{Address, ByteRange, Disposition, Envelope, Part, Structure};
pub use text_decoder::TextDecoder;
pub use transfer_decoder::{EncodingError, TransferDecoder};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
