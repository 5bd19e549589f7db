//! What commands take (RFC 9051 §9 `select`, `list`, `status`, `fetch`, `store`, `copy`, …; RFC 4466, 5258, 6154, 7162).
//!
//! Each function reads what is behind the command's name and the space, up to the line end.

use core::num::NonZeroU32;

use super::fetch_attribute::{fetch_attributes, fetch_modifier};
use super::mailbox_data::list_of;
use super::primitive::{
    astring, close, flag, flag_list, is_list_char, number64, nz_number, octet, open, sp, word,
};
use super::search::partial_range;
use super::search_key::search_program;
use super::sequence::sequence_set;
use super::status::mod_sequence_value;
use super::value::taken;
use super::{Attempt, Context, Parsed, expected};
use crate::types::FetchModifier;
use crate::types::arguments::{
    CopyCommand, CreateCommand, FetchCommand, LsubCommand, QResync, RenameCommand, SearchCommand,
    SelectCommand, SelectParameter, StatusAttribute, StatusCommand, StoreAction, StoreCommand, StoreResponse,
};
use crate::types::arguments::{ListCommand as ListArguments, ListReturn, ListSelection};
use crate::types::view::Element;
use crate::types::{
    Flag, FlagList, IString, LazyList, ListPattern, MailboxAttribute, MailboxName, Repair,
    SearchReturnOption, SequenceNumber,
};

/// `mailbox = "INBOX" / astring`
#[inline]
pub(super) fn mailbox<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MailboxName<'i>> {
    match astring(i, cx) {
        Ok((rest, name)) => Ok((rest, MailboxName::from(name))),
        Err(nom::Err::Error(error)) if error.rest.len() == i.len() => expected(i, "a mailbox"),
        Err(error) => Err(error),
    }
}

/// `list-mailbox = 1*list-char / string`
pub(super) fn list_mailbox<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ListPattern<'i>> {
    let end = i.iter().position(|octet| !is_list_char(*octet)).unwrap_or(i.len());
    if end == 0 {
        return mailbox(i, cx).map(|(rest, name)| (rest, name.into()));
    }
    let (pattern, rest) = i.split_at(end);
    Ok((rest, MailboxName::from(IString::atom(pattern)).into()))
}

/// `select = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"]`
pub(super) fn select<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SelectCommand<'i>> {
    let (rest, mailbox) = mailbox(i, cx)?;
    if !rest.starts_with(b" (") {
        return Ok((rest, SelectCommand::new(mailbox)));
    }
    let (rest, parameters) = one_or_more(sp(rest, cx)?.0, cx, select_parameter)?;
    Ok((rest, SelectCommand { mailbox, parameters }))
}

/// `select-param = "CONDSTORE" / "QRESYNC" SP "(" … ")"`
fn select_parameter<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SelectParameter<'i>> {
    if let Ok((rest, ())) = word(i, b"CONDSTORE", "") {
        return Ok((rest, SelectParameter::CondStore));
    }
    let (rest, ()) = word(i, b"QRESYNC", "CONDSTORE or QRESYNC")?;
    let (rest, ()) = open(sp(rest, cx)?.0, cx)?;
    let (rest, uid_validity) = nz_number(rest, cx)?;
    let Some(uid_validity) = NonZeroU32::new(uid_validity) else { return expected(rest, "a UIDVALIDITY") };
    let (rest, mod_sequence) = mod_sequence_value(sp(rest, cx)?.0, cx)?;
    let mut known = QResync { uid_validity, mod_sequence, known_uids: None, known_pairs: None };
    let mut rest = rest;
    if matches!(rest, [b' ', octet, ..] if octet.is_ascii_digit()) {
        let (behind, uids) = known_uid_set(sp(rest, cx)?.0)?;
        (rest, known.known_uids) = (behind, Some(uids));
    }
    if rest.starts_with(b" (") {
        let (behind, ()) = open(sp(rest, cx)?.0, cx)?;
        let (behind, numbers) = known_uid_set(behind)?;
        let (behind, uids) = known_uid_set(sp(behind, cx)?.0)?;
        let (behind, ()) = close(behind, cx)?;
        (rest, known.known_pairs) = (behind, Some((numbers, uids)));
    }
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, SelectParameter::QResync(known)))
}

/// `known-uids = sequence-set`, without `*` and `$`.
fn known_uid_set(i: &[u8]) -> Parsed<'_, crate::types::SequenceSet<'_>> {
    let (rest, set) = sequence_set(i)?;
    let largest = |end| end == SequenceNumber::Largest;
    if set.is_saved() || set.ranges().any(|range| largest(range.first) || largest(range.last)) {
        return expected(i, "a set of numbers without *");
    }
    Ok((rest, set))
}

/// `create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]`
pub(super) fn create<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, CreateCommand<'i>> {
    let (rest, mailbox) = mailbox(i, cx)?;
    if !rest.starts_with(b" (") {
        return Ok((rest, CreateCommand::new(mailbox)));
    }
    let (rest, ()) = open(sp(rest, cx)?.0, cx)?;
    let (rest, ()) = word(rest, b"USE", "USE")?;
    let (rest, special_use) = list_of(sp(rest, cx)?.0, cx, use_attr)?;
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, CreateCommand { mailbox, special_use }))
}

/// `use-attr = "\" atom`
fn use_attr<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MailboxAttribute<'i>> {
    let (rest, flag) = flag(i, cx)?;
    if !flag.has_backslash() {
        return expected(i, "an attribute, which begins with a backslash");
    }
    Ok((rest, MailboxAttribute::from_wire(flag.name())))
}

/// `rename = "RENAME" SP mailbox SP mailbox`
pub(super) fn rename<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, RenameCommand<'i>> {
    let (rest, from) = mailbox(i, cx)?;
    let (rest, to) = mailbox(sp(rest, cx)?.0, cx)?;
    Ok((rest, RenameCommand { from, to }))
}

/// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]`
pub(super) fn list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ListArguments<'i>> {
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
pub(super) fn lsub<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LsubCommand<'i>> {
    let (rest, reference) = mailbox(i, cx)?;
    let (rest, pattern) = list_mailbox(sp(rest, cx)?.0, cx)?;
    Ok((rest, LsubCommand { reference, pattern }))
}

/// `status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"`
pub(super) fn status<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, StatusCommand<'i>> {
    let (rest, mailbox) = mailbox(i, cx)?;
    let (rest, attributes) = one_or_more(sp(rest, cx)?.0, cx, status_att)?;
    Ok((rest, StatusCommand { mailbox, attributes }))
}

/// `status-att = "MESSAGES" / "UIDNEXT" / …`
fn status_att<'i>(i: &'i [u8], _: &Context) -> Parsed<'i, StatusAttribute> {
    known_word(i, StatusAttribute::from_wire, "an attribute of STATUS")
}

/// Whether the modifier VANISHED can stand in a FETCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vanished {
    /// It is a UID FETCH.
    Allowed,
    /// It is not.
    Refused,
}

/// `fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" … ")") [fetch-modifiers]`
#[inline]
pub(super) fn fetch<'i>(i: &'i [u8], vanished: Vanished, cx: &Context) -> Parsed<'i, FetchCommand<'i>> {
    let (rest, messages) = sequence_set(i)?;
    let (rest, attributes) = fetch_attributes(sp(rest, cx)?.0, cx)?;
    if !rest.starts_with(b" (") {
        return Ok((rest, FetchCommand::new(messages, attributes)));
    }
    let (begin, ()) = sp(rest, cx)?;
    let (rest, modifiers) = one_or_more(begin, cx, fetch_modifier)?;
    let has = |what: fn(FetchModifier) -> bool| modifiers.iter().any(what);
    if has(|one| one == FetchModifier::Vanished)
        && (vanished == Vanished::Refused || !has(|one| matches!(one, FetchModifier::ChangedSince(_))))
    {
        return expected(begin, "VANISHED in a UID FETCH with CHANGEDSINCE only");
    }
    Ok((rest, FetchCommand { messages, attributes, modifiers }))
}

/// `store = "STORE" SP sequence-set SP [store-modifiers SP] store-att-flags`
pub(super) fn store<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, StoreCommand<'i>> {
    let (rest, messages) = sequence_set(i)?;
    let (mut rest, ()) = sp(rest, cx)?;
    let mut unchanged_since = None;
    if rest.first() == Some(&b'(') {
        let (behind, ()) = open(rest, cx)?;
        let (behind, ()) = word(behind, b"UNCHANGEDSINCE", "UNCHANGEDSINCE")?;
        let (behind, mod_sequence) = number64(sp(behind, cx)?.0, cx)?;
        (rest, ()) = sp(close(behind, cx)?.0, cx)?;
        unchanged_since = Some(mod_sequence);
    }
    let (rest, action) = match rest {
        [b'+', rest @ ..] => (rest, StoreAction::Add),
        [b'-', rest @ ..] => (rest, StoreAction::Remove),
        _ => (rest, StoreAction::Replace),
    };
    let (rest, answer) = if let Ok((rest, ())) = word(rest, b"FLAGS.SILENT", "") {
        (rest, StoreResponse::Silent)
    } else {
        (word(rest, b"FLAGS", "FLAGS, +FLAGS or -FLAGS")?.0, StoreResponse::Flags)
    };
    let (rest, ()) = sp(rest, cx)?;
    let (rest, flags) =
        if rest.first() == Some(&b'(') { settable_flags(rest, cx)? } else { bare_flags(rest, cx)? };
    Ok((rest, StoreCommand { messages, unchanged_since, action, answer, flags }))
}

/// `flag-list`, without `\Recent`: only a server can set that.
pub(super) fn settable_flags<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FlagList<'i>> {
    let (rest, flags) = flag_list(i, cx)?;
    if flags.contains(Flag::Recent) {
        expected(i, "flags without \\Recent, which only a server sets")
    } else {
        Ok((rest, flags))
    }
}

/// `flag *(SP flag)`, without `\Recent`.
fn bare_flags<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FlagList<'i>> {
    let mut rest = i;
    loop {
        let flag_begins = rest;
        let read;
        (rest, read) = flag(rest, cx)?;
        if read == Flag::Recent {
            return expected(flag_begins, "a flag other than \\Recent, which only a server sets");
        }
        if rest.first() != Some(&b' ') {
            return Ok((rest, FlagList::wire(taken(i, rest), Attempt::First)));
        }
        let (behind, ()) = sp(rest, cx)?;
        if matches!(behind.first(), Some(b'\r' | b'\n')) && cx.repair(Repair::ExtraSpace) {
            return Ok((behind, FlagList::wire(taken(i, rest), Attempt::First)));
        }
        rest = behind;
    }
}

/// `copy = "COPY" SP sequence-set SP mailbox`, and the same for MOVE.
pub(super) fn copy<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, CopyCommand<'i>> {
    let (rest, messages) = sequence_set(i)?;
    let (rest, mailbox) = mailbox(sp(rest, cx)?.0, cx)?;
    Ok((rest, CopyCommand { messages, mailbox }))
}

/// `search = "SEARCH" [search-return-opts] SP search-program`
pub(super) fn search<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SearchCommand<'i>> {
    let (mut rest, mut returns) = (i, None);
    if let Ok((behind, ())) = word(i, b"RETURN", "") {
        let (behind, options) = list_of(sp(behind, cx)?.0, cx, search_return_opt)?;
        returns = Some(options);
        (rest, ()) = sp(behind, cx)?;
    }
    let mut charset = None;
    if let Ok((behind, ())) = word(rest, b"CHARSET", "") {
        let (behind, name) = astring(sp(behind, cx)?.0, cx)?;
        charset = Some(name);
        (rest, ()) = sp(behind, cx)?;
    }
    let (rest, keys) = search_program(rest, cx)?;
    Ok((rest, SearchCommand { returns, charset, keys }))
}

/// `search-return-opt = "MIN" / "MAX" / "ALL" / "COUNT" / "SAVE" / …`
fn search_return_opt<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SearchReturnOption> {
    if let Ok((rest, ())) = word(i, b"PARTIAL", "") {
        let (rest, page) = partial_range(sp(rest, cx)?.0, cx)?;
        return Ok((rest, SearchReturnOption::Partial(page)));
    }
    known_word(i, SearchReturnOption::from_wire, "a return option of SEARCH")
}

/// A list in parentheses that has something in it.
pub(super) fn one_or_more<'i, T: Element<'i> + 'i>(
    i: &'i [u8],
    cx: &Context,
    item: impl Fn(&'i [u8], &Context) -> Parsed<'i, T>,
) -> Parsed<'i, LazyList<'i, T>> {
    let (inner, ()) = octet(i, b'(', "an opening parenthesis")?;
    if inner.first() == Some(&b')') {
        return expected(inner, "something in the parentheses");
    }
    list_of(i, cx, item)
}

/// One of the words that `find` knows.
pub(super) fn known_word<'i, T>(
    i: &'i [u8],
    find: impl Fn(&'i [u8]) -> Option<T>,
    what: &'static str,
) -> Parsed<'i, T> {
    let end =
        i.iter().position(|octet| !(octet.is_ascii_alphanumeric() || *octet == b'-')).unwrap_or(i.len());
    let (word, rest) = i.split_at(end);
    find(word).map_or_else(|| expected(i, what), |found| Ok((rest, found)))
}

macro_rules! elements {
    ($($type:ty: $read:expr,)*) => {
        $(impl<'i> Element<'i> for $type {
            fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
                $read(i, cx).ok()
            }
        })*
    };
}

elements! {
    SelectParameter<'i>: select_parameter,
    ListSelection: list_select_opt,
    ListReturn<'i>: return_option,
    ListPattern<'i>: list_mailbox,
    StatusAttribute: status_att,
    SearchReturnOption: search_return_opt,
}
