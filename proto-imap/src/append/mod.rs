//! `APPEND` (RFC 9051 §6.3.12): the command up to its message. The message itself is streamed by the client and
//! server machines.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::date_time::DateTime;
use crate::flags::FlagList;
use crate::grammar::owned::owned_struct;
use crate::mailbox_name::MailboxName;

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
