//! Limits of the data derived from a message. A value over a limit is cut at an element and marked as truncated. The
//! message itself is never changed, and its byte ranges stay exact.

/// The most entries of all address fields of one name (`To`, for example), group markers included.
pub const ADDRESS_LIMIT: usize = 1_000;

/// The most entries of all address fields of one envelope.
pub const ENVELOPE_ADDRESS_LIMIT: usize = 3_000;

/// The most bytes of an envelope, both as stored and as IMAP writes it.
pub const ENVELOPE_LIMIT: usize = 64 * 1024;

/// The most bytes of an envelope and a structure together, as stored, nested envelopes included.
pub const DERIVED_LIMIT: usize = 112 * 1024;

/// The part of [`DERIVED_LIMIT`] that a message of any size may use. Each ten bytes of the message add one.
pub(crate) const DERIVED_BASE: usize = 48 * 1024;

/// The most levels of nested multiparts and enclosed messages. Deeper parts are opaque `application/octet-stream`.
pub const DEPTH_LIMIT: usize = 32;

/// The most parts of one message.
pub const PART_LIMIT: usize = 1_000;

/// The most texts of a structure: types, parameters, languages, addresses of nested messages.
pub const TEXT_LIMIT: usize = 8_000;

/// The most parameters of one Content-Type or Content-Disposition.
pub const PARAMETER_LIMIT: usize = 64;

/// The most tags of one Content-Language.
pub const LANGUAGE_LIMIT: usize = 32;

/// The most bytes read of the value of one address field.
pub const ADDRESS_FIELD_LIMIT: usize = 48 * 1024;

/// The most bytes read of the value of any other field.
pub const FIELD_LIMIT: usize = 8 * 1024;

/// The most bytes of one name, local part, domain, route, type, Message-ID, or Content-ID.
pub const WORD_LIMIT: usize = 1_000;

/// The longest text of a Date field, in bytes.
pub(crate) const DATE_LIMIT: usize = 256;

/// The longest name of a media type, encoding, disposition, or parameter, in bytes.
pub(crate) const TOKEN_LIMIT: usize = 64;

/// The longest boundary line, trailing blanks included, in bytes. RFC 2046 allows 70 bytes and two hyphens.
pub(crate) const BOUNDARY_LINE_LIMIT: usize = 256;

/// The bytes of [`DERIVED_LIMIT`] that are reserved to close all open parts.
pub(crate) const CLOSING_RESERVE: usize = 4 * 1024;

/// The bytes that the smallest description of a part needs.
pub(crate) const PART_RESERVE: usize = 512;
