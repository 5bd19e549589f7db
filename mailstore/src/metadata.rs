//! Metadata of mailboxes and of the server: short values that a user keeps under names (RFC 5464).

use crate::error::{Error, Result};
use crate::types::MailboxId;

/// The longest value of an entry, in bytes.
pub const METADATA_VALUE_LIMIT: usize = 64 * 1024;

/// The longest name of an entry, in bytes.
pub const METADATA_NAME_LIMIT: usize = 1_000;

/// The most entries of one mailbox, and of the server for one account. A [`Quota`](crate::Quota) limits those of an account.
pub const METADATA_ENTRY_LIMIT: u64 = 1_000;

/// The bytes of names and values at which a page ends. The last entry may exceed it.
pub(crate) const METADATA_PAGE_LIMIT: usize = 128 * 1024;

/// The most entries of a page.
pub(crate) const METADATA_PAGE_ENTRIES: usize = 200;

/// What an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Annotated {
    /// The server. Each account has entries of its own.
    Server,
    /// A mailbox.
    Mailbox(MailboxId),
}

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetadataEntry {
    /// Its name in lower case, such as `/private/comment`.
    pub name: String,
    /// The length of its value in bytes.
    pub size: u64,
    /// Its value; `None` if it is longer than the caller wants.
    pub value: Option<Vec<u8>>,
}

impl MetadataEntry {
    /// Describes an entry whose value is read if it has at most `max_size` bytes.
    pub fn new(name: impl Into<String>, value: &[u8], max_size: u64) -> Self {
        let size = value.len() as u64;
        Self { name: name.into(), size, value: (size <= max_size).then(|| value.to_vec()) }
    }
}

/// Some entries, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetadataPage {
    /// The entries.
    pub entries: Vec<MetadataEntry>,
    /// The name at which the next page starts; `None` after the last one.
    pub next: Option<String>,
}

impl MetadataPage {
    /// Collects entries until the page is full. The entries are those of the range that the caller asked for, in order.
    pub(crate) fn collect(entries: impl Iterator<Item = Result<MetadataEntry>>) -> Result<Self> {
        let (mut page, mut bytes) = (Self::default(), 0);
        for entry in entries {
            let entry = entry?;
            if bytes >= METADATA_PAGE_LIMIT || page.entries.len() >= METADATA_PAGE_ENTRIES {
                page.next = Some(entry.name);
                break;
            }
            bytes += entry.name.len() + entry.value.as_ref().map_or(0, Vec::len);
            page.entries.push(entry);
        }
        Ok(page)
    }
}

/// A change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataChange {
    /// The name of the entry. Its case is ignored.
    pub name: String,
    /// Its new value; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// Returns the bytes that an entry counts for in the quota of its account.
pub(crate) const fn cost(name: &str, value: &[u8]) -> u64 {
    (name.len() + value.len()) as u64
}

/// Checks changes of entries, and returns their names as they are stored.
pub(crate) fn check(changes: &[MetadataChange]) -> Result<Vec<String>> {
    changes
        .iter()
        .map(|change| {
            if change.value.as_ref().is_some_and(|value| value.len() > METADATA_VALUE_LIMIT) {
                return Err(Error::Limit("the length of a metadata value"));
            }
            entry_name(&change.name)
        })
        .collect()
}

/// Returns the spelling under which an entry is stored (RFC 5464 §3.2).
pub(crate) fn entry_name(name: &str) -> Result<String> {
    if name.len() > METADATA_NAME_LIMIT {
        return Err(Error::Limit("the length of a metadata name"));
    }
    let name = name.to_ascii_lowercase();
    let levels = name.strip_prefix("/private/").or_else(|| name.strip_prefix("/shared/"));
    let Some(levels) = levels else {
        return Err(Error::InvalidName("metadata is below /private or /shared"));
    };
    if levels.split('/').any(str::is_empty) {
        return Err(Error::InvalidName("a level of a metadata name has at least one character"));
    }
    if levels.bytes().any(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'*' | b'%')) {
        return Err(Error::InvalidName("a metadata name is ASCII, without * and %"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries_are_checked_and_written_in_lower_case() {
        assert_eq!(entry_name("/Private/Comment").unwrap(), "/private/comment");
        assert_eq!(entry_name("/shared/vendor/x y").unwrap(), "/shared/vendor/x y");
        for bad in [
            "",
            "/",
            "/private",
            "/private/",
            "/other/x",
            "/shared/a//b",
            "/shared/a*",
            "/shared/é",
            "/shared/\n",
        ] {
            assert!(matches!(entry_name(bad), Err(Error::InvalidName(_))), "{bad:?}");
        }
        let long = format!("/private/{}", "x".repeat(METADATA_NAME_LIMIT));
        assert!(matches!(entry_name(&long), Err(Error::Limit(_))));
    }

    #[test]
    fn a_page_ends_at_its_limits() {
        let entries = |count: usize, size: usize| {
            (0..count)
                .map(move |n| Ok(MetadataEntry::new(format!("/private/{n:04}"), &vec![0; size], u64::MAX)))
        };
        let page = MetadataPage::collect(entries(300, 1)).unwrap();
        assert_eq!((page.entries.len(), page.next.as_deref()), (200, Some("/private/0200")));
        let page = MetadataPage::collect(entries(9, METADATA_VALUE_LIMIT)).unwrap();
        assert_eq!((page.entries.len(), page.next.as_deref()), (2, Some("/private/0002")));
        assert_eq!(MetadataPage::collect(entries(200, 1)).unwrap().next, None);
    }
}
