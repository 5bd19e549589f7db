//! What IMAP says about a message's form: ENVELOPE, BODYSTRUCTURE and sections (RFC 9051 §7.5.2, §6.4.5).
//!
//! Knows RFC 5322 headers and RFC 2045/2046 MIME. Does not know IMAP's wire syntax, flags, or where messages are
//! kept. Values are the *raw* text of the header: encoded words stay encoded, folding is undone, and CR, LF and NUL
//! never appear. Text that is not UTF-8 is read as ISO 8859-1, so that every value is a valid string.
//!
//! One streaming [`Scanner`] finds every part, whatever the size of the message: nothing is loaded whole, and a part
//! is a [`ByteRange`] into the message. Approximate are only these: header fields beyond [`HEADER_LIMIT`] octets of a
//! message are left out of the summary (their ranges stay exact); parts nested deeper than [`DEPTH_LIMIT`] or beyond
//! the first [`PART_LIMIT`] stand as one opaque `application/octet-stream`.
//! Decoding text for searching ([`decode`]) is `mail-parser`'s.

use serde::{Deserialize, Serialize};
use std::ops::Range;

pub mod decode;
mod envelope;
mod header;
mod scan;
mod section;

pub use header::{Field, Fields, Subset, header_fields, unfold};
pub use scan::{DEPTH_LIMIT, HEADER_LIMIT, PART_LIMIT, Scanner};
pub use section::{Located, SectionText, extract, section};

/// A half-open range of octets in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct ByteRange {
    /// The first octet.
    pub start: u64,
    /// The octet behind the last.
    pub end: u64,
}

impl ByteRange {
    /// The number of octets.
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether no octet is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<(u64, u64)> for ByteRange {
    fn from((start, end): (u64, u64)) -> Self {
        Self { start, end: end.max(start) }
    }
}

impl From<ByteRange> for (u64, u64) {
    fn from(range: ByteRange) -> Self {
        (range.start, range.end)
    }
}

impl From<ByteRange> for Range<u64> {
    fn from(range: ByteRange) -> Self {
        range.start..range.end
    }
}

/// The ENVELOPE of a message (RFC 9051 §7.5.2). An absent field is `None` or empty.
///
/// `sender` and `reply_to` repeat `from` where the header lacks them, as the RFC asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The text of Date.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The text of Subject, encoded words not decoded.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The addresses of From.
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Address>,
    /// The address of Sender, or From.
    #[serde(rename = "n", default, skip_serializing_if = "Vec::is_empty")]
    pub sender: Vec<Address>,
    /// The addresses of Reply-To, or From.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub reply_to: Vec<Address>,
    /// The addresses of To.
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Address>,
    /// The addresses of Cc.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<Address>,
    /// The addresses of Bcc.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<Address>,
    /// The text of In-Reply-To.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// The text of Message-ID.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// One address of an address list, or the start or end of a group (RFC 9051 §7.5.2).
///
/// A group starts with an address of no `host` whose `mailbox` is the group's name, and ends with one that has
/// neither. An address that lacks a domain has the empty `host`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// addr-name: the display name, quoting removed, encoded words not decoded.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// addr-adl: the source route.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub adl: Option<String>,
    /// addr-mailbox: the local part, quoting removed.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<String>,
    /// addr-host: the domain.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// One part of a message, with what BODYSTRUCTURE says of it (RFC 9051 §7.5.2) and where it stands.
///
/// `media_type`, `media_subtype`, `encoding` and the names of parameters are in lower case; values are as sent.
/// A multipart always has at least one child (an empty text part is made up where the message has none), because
/// IMAP can't express one without.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `text`, `multipart`, ….
    #[serde(rename = "t")]
    pub media_type: String,
    /// `plain`, `mixed`, ….
    #[serde(rename = "s")]
    pub media_subtype: String,
    /// The parameters of Content-Type, in order.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<(String, String)>,
    /// Content-ID.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Content-Description.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Content-Transfer-Encoding; `7bit` where the header does not say.
    #[serde(rename = "e")]
    pub encoding: String,
    /// Content-MD5.
    #[serde(rename = "5", default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// Content-Disposition.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub disposition: Option<Disposition>,
    /// Content-Language.
    #[serde(rename = "g", default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Content-Location.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The number of lines of the body, still encoded; the last counts without a line end too.
    #[serde(rename = "n")]
    pub lines: u64,
    /// Where the part's header stands, the empty line behind it included.
    #[serde(rename = "h")]
    pub header: ByteRange,
    /// Where the part's body stands, still encoded; its length is what BODYSTRUCTURE calls body-fld-octets.
    #[serde(rename = "b")]
    pub body: ByteRange,
    /// The parts of a multipart.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Self>,
    /// The message inside a `message/rfc822` or `message/global`.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<Structure>>,
}

impl Part {
    /// body-fld-octets: the length of the body, still encoded.
    pub fn octets(&self) -> u64 {
        self.body.len()
    }

    /// The value of a parameter of Content-Type, its name in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is a multipart.
    pub fn is_multipart(&self) -> bool {
        self.media_type == "multipart" && !self.children.is_empty()
    }
}

/// Content-Disposition (RFC 2183).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disposition {
    /// `attachment`, `inline`, …, in lower case.
    #[serde(rename = "k")]
    pub kind: String,
    /// Its parameters, in order.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<(String, String)>,
}

/// A whole message: its envelope and the tree of its parts. The root part's header is the message's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// The ENVELOPE.
    #[serde(rename = "e")]
    pub envelope: Envelope,
    /// The tree of parts.
    #[serde(rename = "r")]
    pub root: Part,
}

impl Structure {
    /// Reads a whole message that stands in memory. Never fails: a malformed message has a simpler structure.
    pub fn of(message: &[u8]) -> Self {
        let mut scanner = Scanner::new();
        scanner.push(message);
        scanner.finish()
    }
}
