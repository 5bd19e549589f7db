//! Limits of what is derived from a message. A value over a limit is cut at an element and marked as truncated. The
//! message itself is never refused or changed, and its byte ranges stay exact.

/// The limits of the data derived from one message. All sizes are in bytes.
///
/// The defaults suit a server that stores mail from the Internet. A value so low that nothing could be derived counts
/// as the lowest useful one, and [`depth`](Self::depth) as at most [`MAX_DEPTH`](Self::MAX_DEPTH).
///
/// ```
/// use mailmime::{Limits, Scanner};
///
/// let mut limits = Limits::default();
/// limits.parts = 100;
/// let scanner = Scanner::new(limits);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most parts. Default: 1,000. Later parts are left out.
    pub parts: usize,
    /// The most levels of nested multiparts and enclosed messages. Default: 32. Deeper parts are opaque
    /// `application/octet-stream`.
    pub depth: usize,
    /// The most texts of a structure: types, parameters, languages, addresses of enclosed messages. Default: 8,000.
    pub texts: usize,
    /// The most parameters of one Content-Type or Content-Disposition. Default: 64.
    pub parameters: usize,
    /// The most tags of one Content-Language. Default: 32.
    pub languages: usize,
    /// The most entries of all address fields of one name (`To`, for example), group markers included. Default: 1,000.
    pub addresses: usize,
    /// The most entries of all address fields of one envelope. Default: 3,000.
    pub envelope_addresses: usize,
    /// The most bytes read of the value of one address field. Default: 48 KiB. It is cut between two addresses.
    pub address_field: usize,
    /// The most bytes read of the value of any other field. Default: 8 KiB. It is cut at a word, an identifier or a
    /// parameter.
    pub field: usize,
    /// The most bytes of one display name, local part, domain, route, type, Message-ID or Content-ID. Default: 1,000. A
    /// name is shortened; an address or identifier is left out.
    pub word: usize,
    /// The most bytes of one envelope, both in a record and as IMAP writes it. Default: 64 KiB.
    pub envelope: usize,
    /// The bytes of a record that a message of any size may use. Each ten bytes of the message add one. Default:
    /// 48 KiB.
    pub record_base: usize,
    /// The most bytes of a record: envelope and structure together, enclosed messages included. Default: 112 KiB.
    pub record: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The lowest limit of the texts and bytes of a record: enough for a part and to close all open parts.
const LEAST_TEXTS: usize = 64;
const LEAST_RECORD: usize = CLOSING_RESERVE + 4 * PART_RESERVE;

/// The highest value of any limit, so that sums of limits never overflow.
const MOST: usize = 1 << 28;

impl Limits {
    /// The default limits.
    pub const DEFAULT: Self = Self {
        parts: 1_000,
        depth: 32,
        texts: 8_000,
        parameters: 64,
        languages: 32,
        addresses: 1_000,
        envelope_addresses: 3_000,
        address_field: 48 * 1024,
        field: 8 * 1024,
        word: 1_000,
        envelope: 64 * 1024,
        record_base: 48 * 1024,
        record: 112 * 1024,
    };

    /// The most levels of parts that can be allowed, since trees of parts are read recursively.
    pub const MAX_DEPTH: usize = 64;

    /// Returns the limits with every value in its range.
    pub(crate) fn in_range(self) -> Self {
        Self {
            parts: self.parts.clamp(1, MOST),
            depth: self.depth.clamp(1, Self::MAX_DEPTH),
            texts: self.texts.clamp(LEAST_TEXTS, MOST),
            parameters: self.parameters.min(MOST),
            languages: self.languages.min(MOST),
            addresses: self.addresses.min(MOST),
            envelope_addresses: self.envelope_addresses.min(MOST),
            address_field: self.address_field.min(MOST),
            field: self.field.min(MOST),
            word: self.word.min(MOST),
            envelope: self.envelope.clamp(LEAST_RECORD, MOST),
            record_base: self.record_base.clamp(LEAST_RECORD, MOST),
            record: self.record.clamp(LEAST_RECORD, MOST),
        }
    }
}

/// The longest text of a Date field, in bytes.
pub(crate) const DATE_LIMIT: usize = 256;

/// The longest name of a media type, encoding, disposition, or parameter, in bytes.
pub(crate) const TOKEN_LIMIT: usize = 64;

/// The longest boundary line, trailing blanks included, in bytes. RFC 2046 allows 70 bytes and two hyphens.
pub(crate) const BOUNDARY_LINE_LIMIT: usize = 256;

/// The bytes of a record that are reserved to close all open parts.
pub(crate) const CLOSING_RESERVE: usize = 4 * 1024;

/// The bytes that the smallest description of a part needs.
pub(crate) const PART_RESERVE: usize = 512;
