//! The structure of a message: byte ranges, the envelope, and the tree of parts (RFC 9051 §7.5.2).

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A half-open range of bytes in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct ByteRange {
    /// The first octet.
    pub start: u64,
    /// The octet behind the last.
    pub end: u64,
}

impl ByteRange {
    /// The number of bytes.
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
/// `sender` and `reply_to` repeat `from` where the header lacks them, as the RFC asks; a long `from` as far as there is
/// room.
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
    /// Something of it was left out or shortened, because it is beyond a limit.
    #[serde(rename = "z", default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

/// One address of an address list, or the start or end of a group (RFC 9051 §7.5.2).
///
/// A group starts with an address of no `host` whose `mailbox` is the group's name, and ends with one that has
/// neither. An address that lacks a domain has the empty `host`, and one that lacks a local part the empty `mailbox`;
/// see [`Address::envelope_host`] for what ENVELOPE says then.
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

impl Address {
    /// The mailbox as ENVELOPE shows it: never empty, `.MISSING-MAILBOX.` where the address has no local part.
    pub fn envelope_mailbox(&self) -> Option<&str> {
        match self.mailbox.as_deref() {
            Some("") if self.host.is_some() => Some(".MISSING-MAILBOX."),
            mailbox => mailbox,
        }
    }

    /// The host as ENVELOPE shows it: `.MISSING-HOST-NAME.` where the address has no domain. It is absent for a group
    /// only, because NIL starts or ends one.
    pub fn envelope_host(&self) -> Option<&str> {
        match self.host.as_deref() {
            Some("") => Some(".MISSING-HOST-NAME."),
            host => host,
        }
    }
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
    /// Something of it was left out or shortened, because it is beyond a limit.
    #[serde(rename = "z", default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

impl Part {
    /// body-fld-octets: the length of the body, still encoded.
    pub fn body_size(&self) -> u64 {
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

fn is_false(value: &bool) -> bool {
    !value
}

/// The least that a text takes in memory, in bytes.
const TEXT_OVERHEAD: usize = 40;

fn text_memory_size(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, |text| text.len() + TEXT_OVERHEAD)
}

impl Envelope {
    /// About how many bytes it takes in memory.
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
    /// About how many bytes it takes in memory, with all that is inside it.
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
