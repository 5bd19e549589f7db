//! Annotations of mailboxes and of the server (RFC 5464): `GETMETADATA` and `SETMETADATA`, and the response `METADATA`.
//!
//! A mailbox name that is empty stands for the server. The name of an entry begins with `/private/` or `/shared/`. It is
//! ASCII, its case is ignored, and it contains neither `*` nor `%`.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::string::IString;
use crate::mailbox_name::MailboxName;

/// `GETMETADATA`: asks for the values of entries (RFC 5464 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetMetadataCommand<'i> {
    /// The mailbox; empty for the server's own entries.
    pub mailbox: MailboxName<'i>,
    /// The names of the entries; at least one is required.
    pub entries: LazyList<'i, IString<'i>>,
    /// `MAXSIZE`: the maximum size of a value in bytes. The server leaves longer values out.
    pub max_size: Option<u32>,
    /// `DEPTH`: which entries below the named ones are returned.
    pub depth: MetadataDepth,
}

impl<'i> GetMetadataCommand<'i> {
    /// Creates a command for these entries, without options.
    #[must_use]
    pub const fn new(mailbox: MailboxName<'i>, entries: &'i [IString<'i>]) -> Self {
        Self { mailbox, entries: LazyList::new(entries), max_size: None, depth: MetadataDepth::Zero }
    }
}

/// Which entries below a named one are returned (RFC 5464 §4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetadataDepth {
    /// `0`: none.
    #[default]
    Zero,
    /// `1`: the entries one level below.
    One,
    /// `infinity`: all entries below.
    Infinity,
}

/// `SETMETADATA`: sets or removes entries (RFC 5464 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetMetadataCommand<'i> {
    /// The mailbox; empty for the server's own entries.
    pub mailbox: MailboxName<'i>,
    /// The entries, at least one. An entry without a value is removed.
    pub entries: LazyList<'i, MetadataEntry<'i>>,
}

/// An entry with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataEntry<'i> {
    /// The name of the entry: `/private/comment`.
    pub name: IString<'i>,
    /// Its value, which may contain any bytes; `None` is `NIL`: the entry does not exist, or is removed.
    pub value: Option<IString<'i>>,
}

/// `METADATA`: entries of a mailbox or of the server (RFC 5464 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataResponse<'i> {
    /// The mailbox's name, as received; empty for the server.
    pub mailbox: IString<'i>,
    /// The entries.
    pub entries: MetadataEntries<'i>,
}

/// The entries of a `METADATA` response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataEntries<'i> {
    /// Entries and their values: the answer to a command.
    Values(LazyList<'i, MetadataEntry<'i>>),
    /// The names of entries that have changed. A server sends them at any time.
    Changed(LazyList<'i, IString<'i>>),
}

/// Returns whether this can be the name of an entry (RFC 5464 §3.2).
pub(crate) fn is_entry_name(name: IString<'_>) -> bool {
    let mut before = 0;
    let is_valid = name.iter().all(|byte| {
        let is_valid =
            matches!(byte, b' '..=b'~') && !matches!(byte, b'*' | b'%') && (before, byte) != (b'/', b'/');
        before = byte;
        is_valid
    });
    is_valid && name.iter().next() == Some(b'/') && before != b'/'
}

impl Sealed for MetadataEntry<'_> {}

plain!(MetadataDepth);

owned_struct!(GetMetadataCommand { mailbox, entries, max_size, depth });

owned_struct!(SetMetadataCommand { mailbox, entries });

owned_struct!(MetadataEntry { name, value });

owned_struct!(MetadataResponse { mailbox, entries });

owned_enum!(MetadataEntries { Values(a), Changed(a) });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_entries_follow_the_rfc() {
        for good in ["/shared/comment", "/private/vendor/x y/\"z\"", "/a"] {
            assert!(is_entry_name(IString::from(good)), "{good}");
        }
        for bad in ["", "/", "comment", "/a/", "/a//b", "/a*", "/%", "/é", "/a\n"] {
            assert!(!is_entry_name(IString::from(bad)), "{bad}");
        }
    }
}
