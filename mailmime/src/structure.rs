//! The structure of a message: byte ranges, the envelope, and the tree of parts (RFC 9051 §7.5.2).

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A half-open range of bytes of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct ByteRange {
    /// The offset of the first byte.
    pub start: u64,
    /// The offset after the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Returns the number of bytes.
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Returns whether the range is empty.
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

/// The ENVELOPE of a message (RFC 9051 §7.5.2). A missing field is `None` or empty.
///
/// `sender` and `reply_to` repeat `from` if the header lacks them, as the RFC requires. A long `from` is repeated up
/// to [`ENVELOPE_LIMIT`](crate::ENVELOPE_LIMIT).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The text of Date.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The text of Subject, with encoded words as sent.
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
    /// Whether something was left out or shortened because of a limit.
    #[serde(rename = "z", default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

/// One address of an address list, or the start or end of a group (RFC 9051 §7.5.2).
///
/// A group starts with an address without `host`, whose `mailbox` is the group's name, and ends with an address
/// without both. An address without a domain has an empty `host`, and one without a local part an empty `mailbox`;
/// [`Address::envelope_host`] and [`Address::envelope_mailbox`] return what ENVELOPE shows for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// addr-name: the display name, without quoting, with encoded words as sent.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// addr-adl: the source route.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub adl: Option<String>,
    /// addr-mailbox: the local part, without quoting.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<String>,
    /// addr-host: the domain.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl Address {
    /// Returns the mailbox as ENVELOPE shows it: `.MISSING-MAILBOX.` for an address without a local part, never an
    /// empty text.
    pub fn envelope_mailbox(&self) -> Option<&str> {
        match self.mailbox.as_deref() {
            Some("") if self.host.is_some() => Some(".MISSING-MAILBOX."),
            mailbox => mailbox,
        }
    }

    /// Returns the host as ENVELOPE shows it: `.MISSING-HOST-NAME.` for an address without a domain. `None` only for
    /// the start or end of a group, which is what NIL means there.
    pub fn envelope_host(&self) -> Option<&str> {
        match self.host.as_deref() {
            Some("") => Some(".MISSING-HOST-NAME."),
            host => host,
        }
    }
}

/// One part of a message: its fields in BODYSTRUCTURE (RFC 9051 §7.5.2) and its place in the message.
///
/// `media_type`, `media_subtype`, `encoding` and parameter names are in lower case; values are as sent. A multipart
/// always has at least one child, because IMAP can't express an empty one: if the message has none, an empty text part
/// is added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The type: `text`, `multipart`, ….
    #[serde(rename = "t")]
    pub media_type: String,
    /// The subtype: `plain`, `mixed`, ….
    #[serde(rename = "s")]
    pub media_subtype: String,
    /// The parameters of Content-Type, names and values in order.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<(String, String)>,
    /// Content-ID.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Content-Description.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Content-Transfer-Encoding; `7bit` if the header does not state it.
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
    /// The number of lines of the encoded body. A last line without a line end counts.
    #[serde(rename = "n")]
    pub lines: u64,
    /// The range of the part's header, including the empty line after it.
    #[serde(rename = "h")]
    pub header: ByteRange,
    /// The range of the part's encoded body. Its length is body-fld-octets in BODYSTRUCTURE.
    #[serde(rename = "b")]
    pub body: ByteRange,
    /// The parts of a multipart.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Self>,
    /// The message inside a `message/rfc822` or `message/global`.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<Structure>>,
    /// Whether something was left out or shortened because of a limit.
    #[serde(rename = "z", default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

impl Part {
    /// Returns the length of the encoded body in bytes: body-fld-octets of BODYSTRUCTURE.
    pub fn body_size(&self) -> u64 {
        self.body.len()
    }

    /// Returns the value of a Content-Type parameter; `name` is in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Returns whether the part is a multipart.
    pub fn is_multipart(&self) -> bool {
        self.media_type == "multipart" && !self.children.is_empty()
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The least memory that a text takes, in bytes.
const TEXT_OVERHEAD: usize = 40;

fn text_memory_size(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, |text| text.len() + TEXT_OVERHEAD)
}

impl Envelope {
    /// Returns about how many bytes the envelope takes in memory.
    pub fn memory_size(&self) -> usize {
        let texts = [&self.date, &self.subject, &self.in_reply_to, &self.message_id];
        let lists = [&self.from, &self.sender, &self.reply_to, &self.to, &self.cc, &self.bcc];
        let address = |one: &Address| {
            size_of::<Address>()
                + text_memory_size(&one.name)
                + text_memory_size(&one.adl)
                + text_memory_size(&one.mailbox)
                + text_memory_size(&one.host)
        };
        size_of::<Self>()
            + texts.into_iter().map(text_memory_size).sum::<usize>()
            + lists.into_iter().flatten().map(address).sum::<usize>()
    }
}

impl Part {
    /// Returns about how many bytes the part and everything inside it take in memory.
    pub fn memory_size(&self) -> usize {
        let parameters = |list: &[(String, String)]| {
            list.iter().map(|(name, value)| name.len() + value.len() + 2 * TEXT_OVERHEAD).sum::<usize>()
        };
        let texts = [&self.id, &self.description, &self.md5, &self.location];
        size_of::<Self>()
            + texts.into_iter().map(text_memory_size).sum::<usize>()
            + parameters(&self.parameters)
            + self
                .disposition
                .as_ref()
                .map_or(0, |disposition| parameters(&disposition.parameters) + TEXT_OVERHEAD)
            + self.languages.iter().map(|tag| tag.len() + TEXT_OVERHEAD).sum::<usize>()
            + self.children.iter().map(Self::memory_size).sum::<usize>()
            + self
                .message
                .as_ref()
                .map_or(0, |message| message.envelope.memory_size() + message.root.memory_size())
    }
}

/// Content-Disposition (RFC 2183).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disposition {
    /// The kind: `attachment`, `inline`, …, in lower case.
    #[serde(rename = "k")]
    pub kind: String,
    /// The parameters, names and values in order.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<(String, String)>,
}

/// The structure of a whole message: its envelope and the tree of its parts. The root part's header is the header of
/// the message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// The ENVELOPE.
    #[serde(rename = "e")]
    pub envelope: Envelope,
    /// The tree of parts.
    #[serde(rename = "r")]
    pub root: Part,
}
