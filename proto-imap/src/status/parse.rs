//! Parses STATUS commands and responses.

use crate::grammar::lazy_list::{Element, known_word, list_of, one_or_more};
use crate::grammar::number::{number, number64, nz_number};
use crate::grammar::primitive::{atom, nil, sp};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::astring;
use crate::grammar::value::{object_id, value};
use crate::grammar::{Context, Parsed};
use crate::mailbox_name::parse::mailbox;
use crate::status::{MailboxStatus, StatusAttribute, StatusCommand, StatusItem};
use core::num::NonZeroU32;

/// `mailbox SP "(" [status-att-list] ")"`
///
/// *Tolerant*: an unquoted name with spaces, up to the list.
pub(crate) fn mailbox_status<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MailboxStatus<'i>> {
    let before = cx.repairs.clone();
    let status = astring(i, cx).and_then(|(rest, mailbox)| status_items(rest, mailbox, cx));
    if status.is_ok() || !cx.is_tolerant() || matches!(i.first(), Some(b'"' | b'{')) {
        return status;
    }
    // The name may contain parentheses too: it ends before the first one that starts a list of items.
    for end in memchr::memmem::find_iter(i, b" (").take(MOST_PARENTHESES) {
        cx.repairs.restore(&before);
        let name = i.get(..end).unwrap_or_default().trim_ascii_end();
        let found = status_items(i.get(end..).unwrap_or_default(), IString::atom(name), cx);
        if !name.is_empty() && found.is_ok() {
            cx.repairs.note(Repair::BareMailbox);
            return found;
        }
    }
    status
}

/// The maximum number of places where an unquoted name may end.
const MOST_PARENTHESES: usize = 8;

/// `SP "(" [status-att-list] ")"`
fn status_items<'i>(i: &'i [u8], mailbox: IString<'i>, cx: &Context) -> Parsed<'i, MailboxStatus<'i>> {
    let (rest, ()) = sp(i, cx)?;
    let (rest, items) = list_of(rest, cx, status_att_val)?;
    Ok((rest, MailboxStatus { mailbox, items }))
}

/// `status-att-val`. Unknown items take one value. *Tolerant*: see [`number`].
fn status_att_val<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, StatusItem<'i>> {
    let (rest, name) = atom(i)?;
    let (rest, ()) = sp(rest, cx)?;
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    let (rest, item) = if is(b"MESSAGES") {
        number(rest, cx).map(|(rest, number)| (rest, StatusItem::Messages(number)))?
    } else if is(b"RECENT") {
        number(rest, cx).map(|(rest, number)| (rest, StatusItem::Recent(number)))?
    } else if is(b"UIDNEXT") {
        nz_number(rest, cx).map(|(rest, number)| (rest, StatusItem::UidNext(NonZeroU32::new(number))))?
    } else if is(b"UIDVALIDITY") {
        nz_number(rest, cx).map(|(rest, number)| (rest, StatusItem::UidValidity(number)))?
    } else if is(b"UNSEEN") {
        number(rest, cx).map(|(rest, number)| (rest, StatusItem::Unseen(number)))?
    } else if is(b"DELETED") {
        number(rest, cx).map(|(rest, number)| (rest, StatusItem::Deleted(number)))?
    } else if is(b"SIZE") {
        number64(rest, cx).map(|(rest, number)| (rest, StatusItem::Size(number)))?
    } else if is(b"HIGHESTMODSEQ") {
        number64(rest, cx).map(|(rest, number)| (rest, StatusItem::HighestModSeq(number)))?
    } else if is(b"DELETED-STORAGE") {
        number64(rest, cx).map(|(rest, number)| (rest, StatusItem::DeletedStorage(number)))?
    } else if is(b"APPENDLIMIT") {
        match nil(rest) {
            Ok((rest, ())) => (rest, StatusItem::AppendLimit(None)),
            Err(_) => number64(rest, cx).map(|(rest, limit)| (rest, StatusItem::AppendLimit(Some(limit))))?,
        }
    } else if is(b"MAILBOXID") {
        object_id(rest, cx).map(|(rest, id)| (rest, StatusItem::MailboxId(id)))?
    } else {
        value(rest, cx).map(|(rest, value)| {
            (rest, StatusItem::Other { name: IString::new(name), value: IString::new(value) })
        })?
    };
    Ok((rest, item))
}

impl<'i> Element<'i> for StatusItem<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        status_att_val(i, cx).ok()
    }
}

/// `status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"`
pub(crate) fn status<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, StatusCommand<'i>> {
    let (rest, mailbox) = mailbox(i, cx)?;
    let (rest, attributes) = one_or_more(sp(rest, cx)?.0, cx, status_att)?;
    Ok((rest, StatusCommand { mailbox, attributes }))
}

/// `status-att = "MESSAGES" / "UIDNEXT" / …`
pub(crate) fn status_att<'i>(i: &'i [u8], _: &Context) -> Parsed<'i, StatusAttribute> {
    known_word(i, StatusAttribute::from_wire, "an attribute of STATUS")
}

impl<'i> Element<'i> for StatusAttribute {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        status_att(i, cx).ok()
    }
}
