//! The structure of a message: byte ranges, the envelope, and the tree of parts (RFC 9051 §7.5.2).

use std::ops::Range;

/// A half-open range of bytes of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

    /// Returns the bytes of this range. Beyond the end of `message` there are none.
    pub fn slice<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(message.len());
        message.get(bound(self.start)..bound(self.end)).unwrap_or_default()
    }

    /// Returns whether the range is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<ByteRange> for Range<u64> {
    fn from(range: ByteRange) -> Self {
        range.start..range.end
    }
}

/// The ENVELOPE of a message (RFC 9051 §7.5.2). A missing field is `None` or an empty list, and a text that is present but
/// empty is an empty text.
///
/// `sender` and `reply_to` repeat `from` if the header lacks them, as the RFC requires. A long `from` is repeated up
/// to [`Limits::envelope`](crate::Limits::envelope).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The text of Date.
    pub date: Option<String>,
    /// The text of Subject, with encoded words as sent.
    pub subject: Option<String>,
    /// The addresses of From.
    pub from: Vec<Address>,
    /// The address of Sender, or From.
    pub sender: Vec<Address>,
    /// The addresses of Reply-To, or From.
    pub reply_to: Vec<Address>,
    /// The addresses of To.
    pub to: Vec<Address>,
    /// The addresses of Cc.
    pub cc: Vec<Address>,
    /// The addresses of Bcc.
    pub bcc: Vec<Address>,
    /// The text of In-Reply-To.
    pub in_reply_to: Option<String>,
    /// The text of Message-ID.
    pub message_id: Option<String>,
    /// Whether something was left out or shortened because of a limit.
    pub truncated: bool,
}

/// One address of an address list, or the start or end of a group (RFC 9051 §7.5.2).
///
/// A group starts with an address without `host`, whose `mailbox` is the group's name, and ends with an address
/// without both. An address without a domain has an empty `host`, and one without a local part an empty `mailbox`;
/// [`Address::envelope_host`] and [`Address::envelope_mailbox`] return what ENVELOPE shows for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// addr-name: the display name, without quoting, with encoded words as sent.
    pub name: Option<String>,
    /// addr-adl: the source route.
    pub adl: Option<String>,
    /// addr-mailbox: the local part, without quoting.
    pub mailbox: Option<String>,
    /// addr-host: the domain.
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// The type: `text`, `multipart`, ….
    pub media_type: String,
    /// The subtype: `plain`, `mixed`, ….
    pub media_subtype: String,
    /// The parameters of Content-Type, names and values in order.
    pub parameters: Vec<(String, String)>,
    /// Content-ID.
    pub id: Option<String>,
    /// Content-Description.
    pub description: Option<String>,
    /// Content-Transfer-Encoding; `7bit` if the header does not state it.
    pub encoding: String,
    /// Content-MD5.
    pub md5: Option<String>,
    /// Content-Disposition.
    pub disposition: Option<Disposition>,
    /// Content-Language.
    pub languages: Vec<String>,
    /// Content-Location.
    pub location: Option<String>,
    /// The number of lines of the encoded body. A last line without a line end counts.
    pub lines: u64,
    /// The range of the part's header, including the empty line after it.
    pub header: ByteRange,
    /// The range of the part's encoded body. Its length is body-fld-octets in BODYSTRUCTURE.
    pub body: ByteRange,
    /// The parts of a multipart.
    pub children: Vec<Self>,
    /// The message inside a `message/rfc822` or `message/global`.
    pub message: Option<Box<Structure>>,
    /// Whether something was left out or shortened because of a limit.
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

/// Content-Disposition (RFC 2183).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disposition {
    /// The kind: `attachment`, `inline`, …, in lower case.
    pub kind: String,
    /// The parameters, names and values in order.
    pub parameters: Vec<(String, String)>,
}

/// The structure of a whole message: its envelope and the tree of its parts. The root part's header is the header of
/// the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Structure {
    /// The ENVELOPE.
    pub envelope: Envelope,
    /// The tree of parts.
    pub root: Part,
}
