//! Parses LIST and LSUB commands and responses.

use crate::flags::Flag;
use crate::flags::parse::flag;
use crate::grammar::characters::is_astring_char;
use crate::grammar::characters::is_list_char;
use crate::grammar::delimiter::delimiter;
use crate::grammar::lazy_list::{Element, LazyList, known_word, list_of, one_or_more};
use crate::grammar::primitive::{sp, taken, word};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::astring;
use crate::grammar::value::extended_item;
use crate::grammar::{Attempt, Context, Parsed, expected};
use crate::list::pattern::ListPattern;
use crate::list::{
    ListCommand as ListArguments, ListResponse, ListReturn, ListSelection, LsubCommand, MailboxAttribute,
};
use crate::mailbox_name::MailboxName;
use crate::mailbox_name::parse::mailbox;
use crate::metadata::parse::entry_list;
use crate::status::parse::status_att;
use memchr::memchr2;

/// `mailbox-list = "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox [SP mbox-list-extended]`
///
/// *Tolerant*: attributes without a backslash; see [`delimiter`]; a name with special characters that is neither
/// quoted nor a literal extends to the end of the line.
pub(crate) fn mailbox_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ListResponse<'i>> {
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

/// `mailbox = "INBOX" / astring`
///
/// *Tolerant*: a name with special characters that is neither quoted nor a literal extends to the end of the line, or
/// to the extended data.
fn bare_mailbox<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    if !cx.is_tolerant() || matches!(i.first(), Some(b'"' | b'{')) {
        return astring(i, cx);
    }
    let plain = i.iter().position(|byte| !is_astring_char(*byte)).unwrap_or(i.len());
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

impl<'i> Element<'i> for MailboxAttribute<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        let (rest, _) = Flag::walk(i, cx)?;
        Some((rest, Self::from_wire(taken(i, rest))))
    }
}

/// `list-mailbox = 1*list-char / string`
pub(crate) fn list_mailbox<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ListPattern<'i>> {
    let end = i.iter().position(|byte| !is_list_char(*byte)).unwrap_or(i.len());
    if end == 0 {
        return mailbox(i, cx).map(|(rest, name)| (rest, name.into()));
    }
    let (pattern, rest) = i.split_at(end);
    Ok((rest, MailboxName::from(IString::atom(pattern)).into()))
}

/// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]`
pub(crate) fn list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ListArguments<'i>> {
    let (mut rest, mut selection) = (i, LazyList::EMPTY);
    if i.first() == Some(&b'(') {
        (rest, selection) = list_of(i, cx, list_select_opt)?;
        let has = |option| selection.iter().any(|one: ListSelection| one == option);
        let base = has(ListSelection::Subscribed) || has(ListSelection::SpecialUse);
        if has(ListSelection::RecursiveMatch) && !base {
            return expected(i, "RECURSIVEMATCH together with SUBSCRIBED or SPECIAL-USE");
        }
        (rest, ()) = sp(rest, cx)?;
    }
    let (rest, reference) = mailbox(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, patterns) = if rest.first() == Some(&b'(') {
        one_or_more(rest, cx, list_mailbox)?
    } else {
        let (behind, _) = list_mailbox(rest, cx)?;
        (behind, LazyList::wire(taken(rest, behind), Attempt::First))
    };
    let mut arguments = ListArguments { selection, reference, patterns, returns: LazyList::EMPTY };
    let Some(behind) = rest.strip_prefix(b" ").filter(|behind| !matches!(behind, [b' ' | b'\r' | b'\n', ..]))
    else {
        return Ok((rest, arguments));
    };
    let (rest, ()) = word(behind, b"RETURN", "RETURN or the end of the line")?;
    let (rest, returns) = list_of(sp(rest, cx)?.0, cx, return_option)?;
    arguments.returns = returns;
    Ok((rest, arguments))
}

/// `list-select-opt`
fn list_select_opt<'i>(i: &'i [u8], _: &Context) -> Parsed<'i, ListSelection> {
    known_word(i, ListSelection::from_wire, "a selection option of LIST")
}

/// `return-option = "SUBSCRIBED" / "CHILDREN" / status-option / …`
fn return_option<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ListReturn<'i>> {
    if let Ok((rest, ())) = word(i, b"STATUS", "") {
        let (rest, attributes) = one_or_more(sp(rest, cx)?.0, cx, status_att)?;
        return Ok((rest, ListReturn::Status(attributes)));
    }
    if let Ok((rest, ())) = word(i, b"METADATA", "") {
        let (rest, entries) = entry_list(sp(rest, cx)?.0, cx)?;
        return Ok((rest, ListReturn::Metadata(entries)));
    }
    let plain = |word: &[u8]| {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        match () {
            () if is(b"SUBSCRIBED") => Some(ListReturn::Subscribed),
            () if is(b"CHILDREN") => Some(ListReturn::Children),
            () if is(b"SPECIAL-USE") => Some(ListReturn::SpecialUse),
            () if is(b"MYRIGHTS") => Some(ListReturn::MyRights),
            () => None,
        }
    };
    known_word(i, plain, "a return option of LIST")
}

/// `lsub = "LSUB" SP mailbox SP list-mailbox`
pub(crate) fn lsub<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LsubCommand<'i>> {
    let (rest, reference) = mailbox(i, cx)?;
    let (rest, pattern) = list_mailbox(sp(rest, cx)?.0, cx)?;
    Ok((rest, LsubCommand { reference, pattern }))
}

impl<'i> Element<'i> for ListSelection {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        list_select_opt(i, cx).ok()
    }
}

impl<'i> Element<'i> for ListReturn<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        return_option(i, cx).ok()
    }
}

impl<'i> Element<'i> for ListPattern<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        list_mailbox(i, cx).ok()
    }
}
