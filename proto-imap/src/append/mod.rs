//! `APPEND` (RFC 9051 §6.3.12) and `REPLACE` (RFC 8508): everything but the messages, which the client and server
//! machines stream.
//!
//! One command can append several messages (MULTIAPPEND, RFC 3502). A message is a literal, a literal8 (BINARY, RFC
//! 3516), a literal8 in `UTF8 (...)` (RFC 6855), or a list of literals and URLs that the server joins (CATENATE, RFC
//! 4469).

pub(crate) mod elements;
pub(crate) mod encode;
pub(crate) mod parse;
pub(crate) mod reader;

use crate::date_time::DateTime;
use crate::flags::FlagList;
use crate::grammar::owned::{owned_enum, owned_struct};
use crate::grammar::string::IString;
use crate::mailbox_name::MailboxName;

/// The most messages and parts of messages in one APPEND command: 1000. The server rejects a command with more.
pub const MAX_APPEND_PARTS: u32 = 1000;

/// `APPEND` (RFC 9051 §6.3.12): the arguments before the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendCommand<'i> {
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// The message's flags.
    pub flags: FlagList<'i>,
    /// The message's internal date; `None` means now.
    pub date: Option<DateTime>,
}

impl<'i> AppendCommand<'i> {
    /// Creates an APPEND without flags, with the current time as internal date.
    #[must_use]
    pub const fn new(mailbox: MailboxName<'i>) -> Self {
        Self { mailbox, flags: FlagList::EMPTY, date: None }
    }
}

/// An APPEND to the mailbox of this name, without flags.
impl<'i> From<&'i str> for AppendCommand<'i> {
    fn from(mailbox: &'i str) -> Self {
        Self::new(mailbox.into())
    }
}

owned_struct!(AppendCommand { mailbox, flags, date });

/// A message that a client appends, without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendMessage<'i> {
    /// The message's flags.
    pub flags: FlagList<'i>,
    /// The message's internal date; `None` means now.
    pub date: Option<DateTime>,
    /// How the contents are sent.
    pub data: AppendData<'i>,
}

impl<'i> AppendMessage<'i> {
    /// Creates a message without flags, with the current time as internal date.
    #[must_use]
    pub const fn new(data: AppendData<'i>) -> Self {
        Self { flags: FlagList::EMPTY, date: None, data }
    }
}

/// How the contents of a message are sent. Sizes are in bytes and below 2^63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendData<'i> {
    /// `{n}`: a literal of this size, without NUL.
    Literal(u64),
    /// `~{n}`: a literal of this size that may contain NUL (BINARY, RFC 3516).
    Literal8(u64),
    /// `UTF8 (~{n})`: a message of this size with UTF-8 in its header (RFC 6855 §4). RFC 9755 has removed this form:
    /// servers take such a message as a literal too.
    Utf8(u64),
    /// `CATENATE (...)`: the server joins these parts (RFC 4469). At least one is required.
    Catenate(&'i [CatenatePart<'i>]),
}

/// A part of a message that the server joins from parts (CATENATE, RFC 4469).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatenatePart<'i> {
    /// `TEXT {n}`: a literal of this size in bytes.
    Text(u64),
    /// `UTF8 (~{n})`: a literal of this size in bytes, with UTF-8 in its header (RFC 6855 §4).
    Utf8(u64),
    /// `URL`: a message or a part of one on the server, as a URL that is relative to the server or to the selected
    /// mailbox. See [`ImapUrl`](crate::types::ImapUrl).
    Url(IString<'i>),
}

owned_enum!(CatenatePart { Text(a), Utf8(a), Url(a) });

/// The form of a message that a client appends, as a server receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendForm {
    /// `{n}`: a literal. The grammar forbids NUL in it; the application checks that.
    Literal,
    /// `~{n}`: a literal that may contain NUL (BINARY, RFC 3516).
    Literal8,
    /// `UTF8 (~{n})`: a message with UTF-8 in its header (RFC 6855 §4).
    Utf8,
    /// `CATENATE (...)`: the parts follow (RFC 4469).
    Catenate,
}

/// The message that `REPLACE` removes from the selected mailbox (RFC 8508).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplacedMessage {
    /// `REPLACE`: the message with this sequence number.
    Sequence(u32),
    /// `UID REPLACE`: the message with this UID.
    Uid(u32),
}

/// `REPLACE` and `UID REPLACE` (RFC 8508): appends a message to a mailbox, and removes one from the selected mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplaceCommand<'i> {
    /// The message that is removed.
    pub replaced: ReplacedMessage,
    /// The mailbox of the new message.
    pub mailbox: MailboxName<'i>,
    /// The new message.
    pub message: AppendMessage<'i>,
}
