//! A folder of a remote account: its name as the server sends it, and as text for people.

use std::collections::BTreeMap;

use proto_imap::types::{ListResponse, MailboxAttribute, MailboxName, NameEncoding};
use serde::Serialize;

use crate::error::{Error, ErrorKind};

/// The most folders in one account. A server that lists more is broken or hostile.
const MAX_FOLDERS: usize = 100_000;

/// The longest folder name, in bytes as the server sends it.
const MAX_NAME_BYTES: usize = 1_000;

/// The most bytes of all folder names in one account.
const MAX_ALL_NAMES_BYTES: usize = 16 << 20;

/// How many bytes of a too long name are kept, to show it to the user.
const SHOWN_BYTES: usize = 60;

/// A folder of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Folder {
    /// The name as text. Two folders may have the same text.
    pub name: String,
    /// The separator of the levels of a name.
    pub delimiter: Option<char>,
    /// The folder's purpose, such as `\\Sent` (RFC 6154).
    pub special_use: Option<String>,
    /// Whether the folder can hold messages.
    pub selectable: bool,
    /// The name as LIST sent it. Commands send it back unchanged.
    #[serde(skip)]
    pub(crate) wire_name: Vec<u8>,
    /// The length of the whole name in bytes, if it was too long and cut.
    #[serde(skip)]
    pub(crate) full_length: Option<usize>,
}

impl Folder {
    /// Converts an entry of LIST. A name of more than 1,000 bytes is cut, and [`check_name`](Self::check_name) refuses it.
    #[must_use]
    pub fn new(listed: &ListResponse<'_>) -> Self {
        let bytes = listed.mailbox.as_bytes();
        let full_length = (bytes.len() > MAX_NAME_BYTES).then_some(bytes.len());
        let kept = if full_length.is_some() { bytes.get(..SHOWN_BYTES).unwrap_or_default() } else { &bytes };
        let mut name = MailboxName::from_bytes(kept).to_str_lossy(NameEncoding::ModifiedUtf7).into_owned();
        if full_length.is_some() {
            name.push('…');
        }
        Self {
            name,
            delimiter: listed.delimiter,
            special_use: listed
                .attributes
                .special_use()
                .map(|attribute| format!("\\{}", String::from_utf8_lossy(attribute.name()))),
            selectable: !listed.attributes.contains(MailboxAttribute::NoSelect)
                && !listed.attributes.contains(MailboxAttribute::NonExistent),
            wire_name: kept.to_vec(),
            full_length,
        }
    }

    /// Returns whether this is INBOX, whose name is case-insensitive.
    pub fn is_inbox(&self) -> bool {
        self.wire_name.eq_ignore_ascii_case(b"INBOX")
    }

    /// Returns whether the user named this folder, as text or as LIST sent it.
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name
            || self.wire_name == name.as_bytes()
            || (self.is_inbox() && name.eq_ignore_ascii_case("INBOX"))
    }

    /// Returns the name as the server sent it.
    pub fn mailbox(&self) -> MailboxName<'_> {
        MailboxName::from_bytes(&self.wire_name)
    }

    /// Returns the folder's key in the store. Names that differ for the server have different keys.
    pub fn key(&self) -> String {
        if self.is_inbox() {
            return "INBOX".to_owned();
        }
        match std::str::from_utf8(&self.wire_name) {
            Ok(text) => text.to_owned(),
            // No name contains NUL, so the key differs from that of every text.
            Err(_) => {
                let bytes = self.wire_name.iter().map(|byte| char::from(*byte));
                std::iter::once('\0').chain(bytes).collect()
            }
        }
    }

    /// Checks that the name is usable.
    ///
    /// # Errors
    /// The name is empty, too long, or contains control characters.
    pub fn check_name(&self) -> Result<(), Error> {
        let why = if let Some(length) = self.full_length {
            format!("its name has {length} bytes, and the limit is {MAX_NAME_BYTES}")
        } else if self.wire_name.is_empty() {
            "it has no name".to_owned()
        } else if self.name.chars().any(char::is_control) || self.wire_name.iter().any(u8::is_ascii_control) {
            "its name has control characters".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Unavailable, why))
    }
}

/// The folders that LIST has returned so far.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Keyed by name, so that a folder that is listed twice appears once.
    folders: BTreeMap<(String, Vec<u8>), Folder>,
    bytes: usize,
}

impl Listing {
    /// Adds a folder.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if there are too many folders, or too many bytes of names.
    pub(crate) fn add(&mut self, listed: &ListResponse<'_>) -> Result<(), Error> {
        if self.folders.len() >= MAX_FOLDERS {
            return Err(too_many(format!(
                "the server lists more than {MAX_FOLDERS} folders, which is the limit"
            )));
        }
        let folder = Folder::new(listed);
        self.bytes += folder.wire_name.len();
        if self.bytes > MAX_ALL_NAMES_BYTES {
            return Err(too_many(format!(
                "the server lists more than {MAX_ALL_NAMES_BYTES} bytes of folder names, which is the limit"
            )));
        }
        // Two cut names may be equal.
        let number = folder.full_length.map(|_| self.folders.len().to_string()).unwrap_or_default();
        let wire = if folder.is_inbox() { b"INBOX".to_vec() } else { folder.wire_name.clone() };
        self.folders.entry((format!("{}{number}", folder.name), wire)).or_insert(folder);
        Ok(())
    }

    /// Returns the folders, sorted by name.
    pub(crate) fn sorted(self) -> Vec<Folder> {
        self.folders.into_values().collect()
    }
}

fn too_many(what: String) -> Error {
    Error::new(ErrorKind::Protocol, what).remote()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(wire_name: &[u8]) -> Folder {
        Folder {
            name: MailboxName::from_bytes(wire_name).to_str_lossy(NameEncoding::ModifiedUtf7).into_owned(),
            delimiter: Some('/'),
            special_use: None,
            selectable: true,
            wire_name: wire_name.to_vec(),
            full_length: None,
        }
    }

    #[test]
    fn names_that_decode_to_the_same_text_have_different_keys() {
        let (raw, encoded) = (named("Entwürfe".as_bytes()), named(b"Entw&APw-rfe"));
        assert_eq!((raw.name.as_str(), encoded.name.as_str()), ("Entwürfe", "Entwürfe"));
        assert_ne!(raw.key(), encoded.key());
        assert_ne!(named(b"a\xff").key(), named("a\u{ff}".as_bytes()).key());
        assert_ne!(named(b"a\xff").key(), named(b"a\xfe").key());
        assert_eq!(named(b"inbox").key(), named(b"INBOX").key());
        assert_eq!(named(b"R&D").name, "R&D");
    }

    #[test]
    fn matches_a_folder_by_text_or_wire_name() {
        let folder = named(b"Entw&APw-rfe");
        assert!(folder.is_named("Entwürfe") && folder.is_named("Entw&APw-rfe") && !folder.is_named("Entw"));
        assert!(named(b"Inbox").is_named("INBOX"));
    }

    #[test]
    fn rejects_empty_names_and_control_characters() {
        for name in [&b""[..], b"a\rb", b"a\x1bb", "a\u{85}b".as_bytes()] {
            assert!(named(name).check_name().is_err(), "{name:?}");
        }
        assert!(named(b"a*b%c\"\\").check_name().is_ok());
    }
}
