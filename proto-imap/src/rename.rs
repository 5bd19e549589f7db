//! `RENAME` (RFC 9051 §6.3.6).

use crate::grammar::owned::owned_struct;
use crate::grammar::primitive::sp;
use crate::grammar::{Context, Parsed};
use crate::mailbox_name::MailboxName;
use crate::mailbox_name::parse::mailbox;

/// `RENAME` (RFC 9051 §6.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenameCommand<'i> {
    /// The current name.
    pub from: MailboxName<'i>,
    /// The new name.
    pub to: MailboxName<'i>,
}

/// `rename = "RENAME" SP mailbox SP mailbox`
pub(crate) fn rename<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, RenameCommand<'i>> {
    let (rest, from) = mailbox(i, cx)?;
    let (rest, to) = mailbox(sp(rest, cx)?.0, cx)?;
    Ok((rest, RenameCommand { from, to }))
}

owned_struct!(RenameCommand { from, to });
