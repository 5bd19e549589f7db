//! `STATUS`: the command and its response (RFC 9051 §6.3.11, §7.3.4; RFC 7162, 7889, 8474, 9208).

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::string::IString;
use crate::grammar::words::words;
use crate::mailbox_name::MailboxName;
use core::num::NonZeroU32;

/// `STATUS` (RFC 9051 §6.3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusCommand<'i> {
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// The attributes to return. At least one.
    pub attributes: LazyList<'i, StatusAttribute>,
}

/// An attribute of a mailbox. The [`StatusItem`] of the same name answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusAttribute {
    /// `MESSAGES`
    Messages,
    /// `RECENT` (RFC 3501)
    Recent,
    /// `UIDNEXT`
    UidNext,
    /// `UIDVALIDITY`
    UidValidity,
    /// `UNSEEN`
    Unseen,
    /// `DELETED`
    Deleted,
    /// `SIZE`
    Size,
    /// `HIGHESTMODSEQ` (RFC 7162)
    HighestModSeq,
    /// `APPENDLIMIT` (RFC 7889)
    AppendLimit,
    /// `DELETED-STORAGE` (RFC 9208)
    DeletedStorage,
    /// `MAILBOXID` (RFC 8474)
    MailboxId,
}

words! { StatusAttribute {
    Messages = "MESSAGES",
    Recent = "RECENT",
    UidNext = "UIDNEXT",
    UidValidity = "UIDVALIDITY",
    Unseen = "UNSEEN",
    Deleted = "DELETED",
    Size = "SIZE",
    HighestModSeq = "HIGHESTMODSEQ",
    AppendLimit = "APPENDLIMIT",
    DeletedStorage = "DELETED-STORAGE",
    MailboxId = "MAILBOXID",
} }

impl Sealed for StatusAttribute {}

/// `STATUS`: some attributes of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxStatus<'i> {
    /// The mailbox's name, as received.
    pub mailbox: IString<'i>,
    /// The attributes.
    pub items: LazyList<'i, StatusItem<'i>>,
}

/// An attribute in a `STATUS` response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusItem<'i> {
    /// The number of messages.
    Messages(u32),
    /// The number of recent messages (RFC 3501).
    Recent(u32),
    /// The lowest UID that the next message can have; `None` if the server sent 0.
    UidNext(Option<NonZeroU32>),
    /// UIDVALIDITY. 0, which only the tolerant parser accepts, means unknown.
    UidValidity(u32),
    /// The number of messages without `\Seen`.
    Unseen(u32),
    /// The number of messages with `\Deleted`.
    Deleted(u32),
    /// The size of all messages, in bytes.
    Size(u64),
    /// The highest mod-sequence (RFC 7162); 0 if the mailbox has none.
    HighestModSeq(u64),
    /// The size of the largest message that can be appended, in bytes; `None`: no limit (RFC 7889).
    AppendLimit(Option<u64>),
    /// The number of bytes that expunging would free (RFC 9208).
    DeletedStorage(u64),
    /// The mailbox's identifier (RFC 8474).
    MailboxId(IString<'i>),
    /// Any other attribute. Its value is kept as received.
    Other {
        /// The item's name.
        name: IString<'i>,
        /// Its value.
        value: IString<'i>,
    },
}

impl Sealed for StatusItem<'_> {}

plain!(StatusAttribute);

owned_struct!(StatusCommand { mailbox, attributes });

owned_struct!(MailboxStatus { mailbox, items });

owned_enum!(StatusItem { Messages(a), Recent(a), UidNext(a), UidValidity(a), Unseen(a), Deleted(a), Size(a), HighestModSeq(a), AppendLimit(a), DeletedStorage(a), MailboxId(a), Other { name, value } });
