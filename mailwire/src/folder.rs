//! A folder of a remote account as LIST names it: its bytes for the server, its text for people.

use std::collections::BTreeMap;

use proto_imap::types::{ListResponse, MailboxAttribute, MailboxName, NameEncoding};
use serde::Serialize;

use crate::failure::{Failure, Kind};

/// The most folders of an account: a server that lists more has no end.
pub(crate) const FOLDERS: usize = 100_000;

/// The longest name of a folder that is used, in bytes as the server writes it.
pub(crate) const NAME_BYTES: usize = 1_000;

/// The most bytes of names of one account.
pub(crate) const ALL_NAMES_BYTES: usize = 16 << 20;

/// So much of a name that is too long is kept, to name it to the user.
const SHOWN_BYTES: usize = 60;

/// A folder of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Folder {
    /// Its name for people. Two folders may have the same one.
    pub(crate) name: String,
    pub(crate) delimiter: Option<char>,
    pub(crate) special_use: Option<String>,
    pub(crate) selectable: bool,
    /// Its name as LIST wrote it, which is given back as it came.
    #[serde(skip)]
    pub(crate) wire_name: Vec<u8>,
    /// The length of the whole name in bytes, where only a part of it is kept.
    #[serde(skip)]
    pub(crate) too_long: Option<usize>,
}

impl Folder {
    fn of(listed: &ListResponse<'_>) -> Self {
        let bytes = listed.mailbox.as_bytes();
        let too_long = (bytes.len() > NAME_BYTES).then_some(bytes.len());
        let kept = if too_long.is_some() { bytes.get(..SHOWN_BYTES).unwrap_or_default() } else { &bytes };
        let mut name = MailboxName::from_bytes(kept).to_str_lossy(NameEncoding::ModifiedUtf7).into_owned();
        if too_long.is_some() {
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
            too_long,
        }
    }

    /// Whether it is the INBOX, which every server takes in upper and lower case.
    pub(crate) fn is_inbox(&self) -> bool {
        self.wire_name.eq_ignore_ascii_case(b"INBOX")
    }

    /// Whether the user means this folder: by the text, or by the bytes of LIST.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name == name
            || self.wire_name == name.as_bytes()
            || (self.is_inbox() && name.eq_ignore_ascii_case("INBOX"))
    }

    /// The name as the server writes it.
    pub(crate) fn mailbox(&self) -> MailboxName<'_> {
        MailboxName::from_bytes(&self.wire_name)
    }

    /// What the store knows the folder by: no two names that a server tells apart have the same key.
    pub(crate) fn key(&self) -> String {
        if self.is_inbox() {
            return "INBOX".to_owned();
        }
        match std::str::from_utf8(&self.wire_name) {
            Ok(text) => text.to_owned(),
            // No name holds a NUL, so this is the key of no text.
            Err(_) => {
                let bytes = self.wire_name.iter().map(|byte| char::from(*byte));
                std::iter::once('\0').chain(bytes).collect()
            }
        }
    }

    /// Nothing is done with a folder whose name would be something else to those that read it.
    ///
    /// # Errors
    /// The name has control characters, is too long, or there is none at all.
    pub(crate) fn check_name(&self) -> Result<(), Failure> {
        let why = if let Some(length) = self.too_long {
            format!("its name has {length} bytes: {NAME_BYTES} are the limit")
        } else if self.wire_name.is_empty() {
            "it has no name".to_owned()
        } else if self.name.chars().any(char::is_control) || self.wire_name.iter().any(u8::is_ascii_control) {
            "its name has control characters".to_owned()
        } else {
            return Ok(());
        };
        Err(Failure::new(Kind::Unavailable, why))
    }
}

/// The folders that LIST has named so far.
#[derive(Default)]
pub(crate) struct Listing {
    /// By what the store knows them by, so that a folder that is listed twice is one.
    folders: BTreeMap<(String, Vec<u8>), Folder>,
    bytes: usize,
}

impl Listing {
    /// Adds a folder.
    ///
    /// # Errors
    /// There are more than any account has.
    pub(crate) fn add(&mut self, listed: &ListResponse<'_>) -> Result<(), Failure> {
        if self.folders.len() >= FOLDERS {
            return Err(endless(format!(
                "the server lists more than {FOLDERS} folders: no account has so many"
            )));
        }
        let folder = Folder::of(listed);
        self.bytes += folder.wire_name.len();
        if self.bytes > ALL_NAMES_BYTES {
            return Err(endless(format!(
                "the server lists more than {ALL_NAMES_BYTES} bytes of folder names"
            )));
        }
        // Two names that are too long may have the same beginning.
        let number = folder.too_long.map(|_| self.folders.len().to_string()).unwrap_or_default();
        let wire = if folder.is_inbox() { b"INBOX".to_vec() } else { folder.wire_name.clone() };
        self.folders.entry((format!("{}{number}", folder.name), wire)).or_insert(folder);
        Ok(())
    }

    /// Sorted by name.
    pub(crate) fn sorted(self) -> Vec<Folder> {
        self.folders.into_values().collect()
    }
}

fn endless(what: String) -> Failure {
    Failure::new(Kind::Protocol, what).remote()
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
            too_long: None,
        }
    }

    #[test]
    fn names_that_decode_alike_have_keys_of_their_own() {
        let (raw, encoded) = (named("Entwürfe".as_bytes()), named(b"Entw&APw-rfe"));
        assert_eq!((raw.name.as_str(), encoded.name.as_str()), ("Entwürfe", "Entwürfe"));
        assert_ne!(raw.key(), encoded.key());
        assert_ne!(named(b"a\xff").key(), named("a\u{ff}".as_bytes()).key());
        assert_ne!(named(b"a\xff").key(), named(b"a\xfe").key());
        assert_eq!(named(b"inbox").key(), named(b"INBOX").key());
        assert_eq!(named(b"R&D").name, "R&D");
    }

    #[test]
    fn a_folder_is_named_by_its_text_or_its_bytes() {
        let folder = named(b"Entw&APw-rfe");
        assert!(folder.is_named("Entwürfe") && folder.is_named("Entw&APw-rfe") && !folder.is_named("Entw"));
        assert!(named(b"Inbox").is_named("INBOX"));
    }

    #[test]
    fn a_name_that_would_mislead_is_refused() {
        for name in [&b""[..], b"a\rb", b"a\x1bb", "a\u{85}b".as_bytes()] {
            assert!(named(name).check_name().is_err(), "{name:?}");
        }
        assert!(named(b"a*b%c\"\\").check_name().is_ok());
    }
}
