//! What a server says about mailboxes: LIST, STATUS, NAMESPACE, QUOTA (RFC 9051 §9 `mailbox-list`, `status-att-list`,
//! `namespace-response`; RFC 9208).

use core::num::NonZeroU32;

use memchr::memchr2;

use super::envelope::spaces_before_close;
use super::primitive::{astring, atom, close, flag, is_astring_char, lenient_atom, nil, number, number64};
use super::primitive::{nz_number, octet, open, quoted, sp, spaces, string};
use super::status::object_id;
use super::value::{extended_item, taken, value, values};
use super::{Context, Parsed, expected};
use crate::types::view::Element;
use crate::types::{
    Flag, IString, LazyList, ListResponse, MailboxAttribute, MailboxStatus, Namespace, Namespaces, Quota,
};
use crate::types::{QuotaResource, QuotaRoot, Repair, StatusItem};

/// `"(" [item *(SP item)] ")"`. *Tolerant*: spaces at either end.
pub(crate) fn list_of<'i, T: Element<'i> + 'i, U>(
    i: &'i [u8],
    cx: &Context,
    item: impl Fn(&'i [u8], &Context) -> Parsed<'i, U>,
) -> Parsed<'i, LazyList<'i, T>> {
    let (inner, ()) = open(i, cx)?;
    let mut rest = inner;
    if rest.first() != Some(&b')') {
        loop {
            (rest, _) = item(rest, cx)?;
            rest = spaces_before_close(rest, cx);
            if rest.first() == Some(&b')') {
                break;
            }
            (rest, ()) = sp(rest, cx)?;
        }
    }
    let list = LazyList::wire(taken(inner, rest), cx.attempt());
    let (rest, ()) = octet(rest, b')', "a closing parenthesis")?;
    Ok((rest, list))
}

/// `mailbox-list = "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox [SP mbox-list-extended]`
///
/// *Tolerant*: attributes without a backslash; see [`delimiter`]; a name with special characters that is neither
/// quoted nor counted goes on to the end of the line.
pub fn mailbox_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ListResponse<'i>> {
    let (rest, attributes) = list_of(i, cx, flag)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, delimiter) = delimiter(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, mailbox) = bare_mailbox(rest, cx)?;
    let mut listed = ListResponse { attributes, delimiter, mailbox, extended: LazyList::EMPTY };
    if let [b' ', b'(', ..] = rest {
        let (rest, extended) = list_of(rest.get(1..).unwrap_or_default(), cx, extended_item)?;
        listed.extended = extended;
        return Ok((rest, listed));
    }
    Ok((rest, listed))
}

/// `DQUOTE QUOTED-CHAR DQUOTE / nil`. *Tolerant*: an empty string for `NIL`; a bare character, or a backslash that is
/// not escaped; of a longer string its first character.
pub fn delimiter<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<char>> {
    if let [b'"', b'\\', b'"', rest @ ..] = i
        && rest.first() != Some(&b'"')
        && cx.repair(Repair::LoneBackslash)
    {
        return Ok((rest, Some('\\')));
    }
    if let Ok((rest, ())) = nil(i) {
        return Ok((rest, None));
    }
    let (rest, text) = match quoted(i, cx) {
        Err(_) if cx.is_tolerant() => string(i, cx)?,
        text => text?,
    };
    let lossy = text.to_str_lossy();
    let mut characters = lossy.chars();
    let first = characters.next();
    if (first.is_none() || characters.next().is_some()) && !cx.repair(Repair::Delimiter) {
        return expected(i, "one character");
    }
    Ok((rest, first))
}

/// `mailbox = "INBOX" / astring`
///
/// *Tolerant*: a name with special characters that is neither quoted nor counted goes on to the end of the line, or
/// to the extended data.
fn bare_mailbox<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    if !cx.is_tolerant() || matches!(i.first(), Some(b'"' | b'{')) {
        return astring(i, cx);
    }
    let plain = i.iter().position(|octet| !is_astring_char(*octet)).unwrap_or(i.len());
    let behind = i.get(plain..).unwrap_or_default();
    if plain > 0 && matches!(behind.trim_ascii_start(), [] | [b'(', ..]) && behind.first() != Some(&b'\t') {
        return astring(i, cx);
    }
    let line = i.get(..memchr2(b'\r', b'\n', i).unwrap_or(i.len())).unwrap_or_default();
    let mut name = line;
    while let [head @ .., b' '] = name {
        name = head;
    }
    if name.is_empty() {
        return expected(i, "a mailbox name");
    }
    cx.repairs.note(Repair::BareMailbox);
    Ok((i.get(name.len()..).unwrap_or_default(), IString::atom(name)))
}

/// `mailbox SP "(" [status-att-list] ")"`
///
/// *Tolerant*: a bare name with spaces, up to the list.
pub fn mailbox_status<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MailboxStatus<'i>> {
    let before = cx.repairs.clone();
    let status = astring(i, cx).and_then(|(rest, mailbox)| status_items(rest, mailbox, cx));
    if status.is_ok() || !cx.is_tolerant() || matches!(i.first(), Some(b'"' | b'{')) {
        return status;
    }
    // The name may have parentheses too: it ends before the first one that begins a list of items.
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

/// In how many places a name that is not quoted may end.
const MOST_PARENTHESES: usize = 8;

/// `SP "(" [status-att-list] ")"`
fn status_items<'i>(i: &'i [u8], mailbox: IString<'i>, cx: &Context) -> Parsed<'i, MailboxStatus<'i>> {
    let (rest, ()) = sp(i, cx)?;
    let (rest, items) = list_of(rest, cx, status_att_val)?;
    Ok((rest, MailboxStatus { mailbox, items }))
}

/// `status-att-val`. Items that this library does not know take one value. *Tolerant*: see [`number`].
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

/// `namespace-response = "NAMESPACE" SP namespace SP namespace SP namespace`, without the word
///
/// *Tolerant*: namespaces missing at the end; `()` for `NIL`.
pub fn namespaces<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Namespaces<'i>> {
    let mut lists = [LazyList::EMPTY; 3];
    let mut rest = i;
    for list in &mut lists {
        if matches!(rest.trim_ascii_start(), []) && rest.len() != i.len() && cx.repair(Repair::NilForValue) {
            break;
        }
        (rest, ()) = sp(rest, cx)?;
        if let Ok((behind, ())) = nil(rest) {
            rest = behind;
            continue;
        }
        (rest, *list) = namespace(rest, cx)?;
    }
    let [personal, other_users, shared] = lists;
    Ok((rest, Namespaces { personal, other_users, shared }))
}

/// `namespace = nil / "(" 1*namespace-descr ")"`. *Tolerant*: spaces between; `()`.
fn namespace<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, Namespace<'i>>> {
    let (inner, ()) = open(i, cx)?;
    let mut rest = inner;
    while rest.first() == Some(&b'(') {
        (rest, _) = namespace_descr(rest, cx)?;
        rest = spaces(rest, cx);
    }
    if rest.len() == inner.len() && !cx.repair(Repair::NilForValue) {
        return expected(rest, "a namespace");
    }
    let list = LazyList::wire(taken(inner, rest), cx.attempt());
    let (rest, ()) = octet(rest, b')', "a closing parenthesis")?;
    Ok((rest, list))
}

/// `namespace-descr = "(" string SP (DQUOTE QUOTED-CHAR DQUOTE / nil) [namespace-response-extensions] ")"`
fn namespace_descr<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Namespace<'i>> {
    let (rest, ()) = open(i, cx)?;
    let (rest, prefix) = string(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, delimiter) = delimiter(rest, cx)?;
    let (rest, extensions) = values(rest, cx)?;
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, Namespace { prefix, delimiter, extensions: IString::new(extensions.trim_ascii()) }))
}

/// `astring SP "(" [quota-resource *(SP quota-resource)] ")"` (RFC 9208 `quota-response`)
pub fn quota<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Quota<'i>> {
    let (rest, root) = astring(i, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, resources) = list_of(rest, cx, quota_resource)?;
    Ok((rest, Quota { root, resources }))
}

/// `quota-resource = resource-name SP resource-usage SP resource-limit`
fn quota_resource<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, QuotaResource<'i>> {
    let (rest, name) = match atom(i) {
        Err(_) => lenient_atom(i, cx, Repair::StringForm)?,
        name => name?,
    };
    let (rest, ()) = sp(rest, cx)?;
    let (rest, usage) = number64(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, limit) = number64(rest, cx)?;
    Ok((rest, QuotaResource { name: IString::atom(name), usage, limit }))
}

/// `astring *(SP astring)` (RFC 9208 `quotaroot-response`)
pub fn quota_root<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, QuotaRoot<'i>> {
    let (roots, mailbox) = astring(i, cx)?;
    let mut rest = roots;
    while rest.first() == Some(&b' ') && !matches!(rest.trim_ascii_start(), []) {
        let (behind, ()) = sp(rest, cx)?;
        (rest, _) = astring(behind, cx)?;
    }
    Ok((rest, QuotaRoot { mailbox, roots: LazyList::wire(taken(roots, rest), cx.attempt()) }))
}

impl<'i> Element<'i> for MailboxAttribute<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        let (rest, _) = Flag::walk(i, cx)?;
        Some((rest, Self::from_wire(taken(i, rest))))
    }
}

impl<'i> Element<'i> for StatusItem<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        status_att_val(i, cx).ok()
    }
}

impl<'i> Element<'i> for Namespace<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        namespace_descr(i, cx).ok()
    }
}

impl<'i> Element<'i> for QuotaResource<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        quota_resource(i, cx).ok()
    }
}
