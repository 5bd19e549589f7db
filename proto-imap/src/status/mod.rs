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
    /// Which figures. At least one.
    pub attributes: LazyList<'i, StatusAttribute>,
}

/// A figure of a mailbox. Each is answered by the [`StatusItem`] of that name.
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

/// `STATUS`: some figures of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxStatus<'i> {
    /// The mailbox's name, as it came.
    pub mailbox: IString<'i>,
    /// The figures.
    pub items: LazyList<'i, StatusItem<'i>>,
}

/// One figure of a `STATUS` response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusItem<'i> {
    /// How many messages.
    Messages(u32),
    /// How many are recent (RFC 3501).
    Recent(u32),
    /// The least UID that the next message can have; `None` if the server said 0.
    UidNext(Option<NonZeroU32>),
    /// UIDVALIDITY. 0, which only the tolerant parser accepts, means unknown.
    UidValidity(u32),
    /// How many have no `\Seen`.
    Unseen(u32),
    /// How many have `\Deleted`.
    Deleted(u32),
    /// The size of all messages, in bytes.
    Size(u64),
    /// The greatest mod-sequence (RFC 7162); 0: there are none.
    HighestModSeq(u64),
    /// The greatest message that can be appended, in bytes; `None`: no limit (RFC 7889).
    AppendLimit(Option<u64>),
    /// The bytes that expunging would free (RFC 9208).
    DeletedStorage(u64),
    /// The mailbox's identity (RFC 8474).
    MailboxId(IString<'i>),
    /// Any other, its value as it came.
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
