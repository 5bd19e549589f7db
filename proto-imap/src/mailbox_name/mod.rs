//! Mailbox names (RFC 9051 §5.1; RFC 3501 §5.1.3; RFC 6855).
//!
//! ```text
//! mailbox = "INBOX" / astring
//! ```
//!
//! A name from the peer is kept as bytes, so that it is sent back exactly as received, even if it is not valid. The
//! encoding of the bytes depends on the session: see [`NameEncoding`].

pub(crate) mod encode;
pub(crate) mod modified_utf7;
pub(crate) mod parse;

use crate::grammar::command_writer::NameEncoding;
use crate::grammar::owned::{owned_struct, view_enum};
use crate::grammar::string::IString;
use crate::mailbox_name::modified_utf7::Encoder;
use alloc::borrow::Cow;
use core::fmt;
use proto_mail::error::ErrorDetails;

/// The name of a mailbox.
///
/// Names are equal if IMAP4rev1 encodes them with the same bytes. `INBOX` is compared without regard to case.
#[derive(Clone, Copy)]
pub struct MailboxName<'i>(Name<'i>);

#[derive(Clone, Copy)]
enum Name<'i> {
    /// The bytes as received.
    Wire(IString<'i>),
    Text(&'i str),
}

/// The error for bytes that are not a valid mailbox name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidMailboxName;

impl fmt::Display for InvalidMailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the mailbox name is not written in the session's encoding (modified UTF-7, or UTF-8 if enabled), or has \
             control characters",
        )
    }
}

impl core::error::Error for InvalidMailboxName {}

impl ErrorDetails for InvalidMailboxName {}

impl<'i> MailboxName<'i> {
    /// The inbox, which every user has.
    pub const INBOX: MailboxName<'static> = MailboxName(Name::Text("INBOX"));

    /// Creates a mailbox name from text. It is written in the session's encoding; the encoder rejects control
    /// characters.
    #[must_use]
    pub const fn new(name: &'i str) -> Self {
        Self(Name::Text(name))
    }

    /// Creates a mailbox name from encoded bytes, which are sent unchanged.
    #[must_use]
    pub const fn from_bytes(bytes: &'i [u8]) -> Self {
        Self(Name::Wire(IString::new(bytes)))
    }

    /// Returns the application's text; `None` if the name came from the peer.
    pub(crate) const fn given(&self) -> Option<&'i str> {
        match self.0 {
            Name::Text(text) => Some(text),
            Name::Wire(_) => None,
        }
    }

    /// Returns whether the mailbox is the INBOX.
    #[must_use]
    pub fn is_inbox(&self) -> bool {
        match self.0 {
            Name::Wire(bytes) => bytes.eq_ignore_ascii_case(b"INBOX"),
            Name::Text(text) => text.eq_ignore_ascii_case("INBOX"),
        }
    }

    /// Returns the name as text; `INBOX` in upper case.
    ///
    /// # Errors
    /// [`InvalidMailboxName`] if its bytes are not the one valid encoding of a name in `encoding`.
    pub fn decode(&self, encoding: NameEncoding) -> Result<Cow<'i, str>, InvalidMailboxName> {
        if self.is_inbox() {
            return Ok(Cow::Borrowed("INBOX"));
        }
        let bytes = match self.0 {
            Name::Text(text) => return Ok(Cow::Borrowed(text)),
            Name::Wire(bytes) => bytes.as_bytes(),
        };
        let text = match encoding {
            NameEncoding::ModifiedUtf7 => both(bytes, modified_utf7::decode),
            NameEncoding::Utf8 => both(bytes, |bytes| core::str::from_utf8(bytes).ok().map(Cow::Borrowed)),
        };
        let text = text.filter(|text| !text.chars().any(char::is_control));
        text.ok_or(InvalidMailboxName)
    }

    /// Returns the name as text for display. Parts that are not valid in `encoding` are kept unchanged.
    #[must_use]
    pub fn to_str_lossy(&self, encoding: NameEncoding) -> Cow<'i, str> {
        if self.is_inbox() {
            return Cow::Borrowed("INBOX");
        }
        let bytes = match self.0 {
            Name::Text(text) => return Cow::Borrowed(text),
            Name::Wire(bytes) => bytes.as_bytes(),
        };
        let text = match encoding {
            NameEncoding::ModifiedUtf7 => both(bytes, |bytes| Some(modified_utf7::decode_lossy(bytes))),
            NameEncoding::Utf8 => both(bytes, |bytes| Some(alloc::string::String::from_utf8_lossy(bytes))),
        };
        text.unwrap_or_default()
    }

    /// Returns the bytes of the name in `encoding`. If the name came from the peer, these are the bytes received.
    #[must_use]
    pub fn to_bytes(&self, encoding: NameEncoding) -> Cow<'i, [u8]> {
        match (self.0, encoding) {
            (Name::Wire(bytes), _) => bytes.as_bytes(),
            (Name::Text(text), NameEncoding::ModifiedUtf7) if needs_encoding(text) => {
                Cow::Owned(Encoder::new(text).collect())
            }
            (Name::Text(text), _) => Cow::Borrowed(text.as_bytes()),
        }
    }
}

/// Applies `decode` to bytes that may be owned.
fn both<'i>(
    bytes: Cow<'i, [u8]>,
    decode: impl for<'o> Fn(&'o [u8]) -> Option<Cow<'o, str>>,
) -> Option<Cow<'i, str>> {
    match bytes {
        Cow::Borrowed(bytes) => decode(bytes),
        Cow::Owned(bytes) => decode(&bytes).map(|text| Cow::Owned(text.into_owned())),
    }
}

fn needs_encoding(text: &str) -> bool {
    !text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'&')
}

impl<'i> From<&'i str> for MailboxName<'i> {
    fn from(name: &'i str) -> Self {
        Self::new(name)
    }
}

/// Converts a name that the peer has sent.
impl<'i> From<IString<'i>> for MailboxName<'i> {
    fn from(name: IString<'i>) -> Self {
        Self(Name::Wire(name))
    }
}

impl PartialEq for MailboxName<'_> {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |mailbox: &Self| mailbox.to_bytes(NameEncoding::ModifiedUtf7).into_owned();
        (self.is_inbox() && other.is_inbox()) || bytes(self) == bytes(other)
    }
}

impl Eq for MailboxName<'_> {}

impl fmt::Debug for MailboxName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Name::Wire(bytes) => fmt::Debug::fmt(&bytes.to_str_lossy(), f),
            Name::Text(text) => fmt::Debug::fmt(text, f),
        }
    }
}

owned_struct!(MailboxName { 0 });

view_enum!(Name { Wire(a), Text(a) });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_received_names_unchanged() {
        let broken = MailboxName::from_bytes(b"Entw&APw");
        assert_eq!(broken.decode(NameEncoding::ModifiedUtf7), Err(InvalidMailboxName));
        assert_eq!(broken.to_str_lossy(NameEncoding::ModifiedUtf7), "Entw&APw");
        assert_eq!(&*broken.to_bytes(NameEncoding::Utf8), b"Entw&APw");
    }

    #[test]
    fn decodes_the_same_text_in_both_encodings() {
        let name = MailboxName::new("Entwürfe & mehr");
        for encoding in [NameEncoding::ModifiedUtf7, NameEncoding::Utf8] {
            let bytes = name.to_bytes(encoding);
            let back = MailboxName::from_bytes(&bytes);
            assert_eq!(back.decode(encoding).unwrap(), "Entwürfe & mehr");
        }
        assert_eq!(name, MailboxName::from_bytes(b"Entw&APw-rfe &- mehr"));
    }

    #[test]
    fn compares_only_inbox_without_case() {
        assert_eq!(MailboxName::from_bytes(b"iNbOx"), MailboxName::INBOX);
        assert_eq!(MailboxName::new("inbox").decode(NameEncoding::Utf8).unwrap(), "INBOX");
        assert_ne!(MailboxName::new("sent"), MailboxName::new("Sent"));
    }
}
