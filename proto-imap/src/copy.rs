//! `COPY`, `UID COPY`, `MOVE` and `UID MOVE` (RFC 9051 §6.4.7, §6.4.8).

use crate::grammar::owned::owned_struct;
use crate::grammar::primitive::sp;
use crate::grammar::{Context, Parsed};
use crate::mailbox_name::MailboxName;
use crate::mailbox_name::parse::mailbox;
use crate::sequence_set::{SequenceSet, sequence_set};

/// `COPY`, `UID COPY`, `MOVE` and `UID MOVE` (RFC 9051 §6.4.7, §6.4.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyCommand<'i> {
    /// The messages.
    pub messages: SequenceSet<'i>,
    /// The target mailbox.
    pub mailbox: MailboxName<'i>,
}

/// `copy = "COPY" SP sequence-set SP mailbox`; the same for MOVE
pub(crate) fn copy<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, CopyCommand<'i>> {
    let (rest, messages) = sequence_set(i)?;
    let (rest, mailbox) = mailbox(sp(rest, cx)?.0, cx)?;
    Ok((rest, CopyCommand { messages, mailbox }))
}

owned_struct!(CopyCommand { messages, mailbox });
