//! Parses mailbox names.

use crate::grammar::string::parse::astring;
use crate::grammar::{Context, Parsed, expected};
use crate::mailbox_name::MailboxName;

/// `mailbox = "INBOX" / astring`
#[inline]
pub(crate) fn mailbox<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MailboxName<'i>> {
    match astring(i, cx) {
        Ok((rest, name)) => Ok((rest, MailboxName::from(name))),
        Err(nom::Err::Error(error)) if error.rest.len() == i.len() => expected(i, "a mailbox name"),
        Err(error) => Err(error),
    }
}
