//! Parses the commands and the response of METADATA.

use crate::grammar::lazy_list::{Element, LazyList, one_or_more};
use crate::grammar::number::number;
use crate::grammar::primitive::{open, sp, spaces_before_close, taken, word};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::{astring, nstring8};
use crate::grammar::{Attempt, Context, Parsed, expected};
use crate::mailbox_name::parse::mailbox;
use crate::metadata::{
    GetMetadataCommand, MetadataDepth, MetadataEntries, MetadataEntry, MetadataResponse, SetMetadataCommand,
    is_entry_name,
};

/// `getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries`, after the word and the first space
///
/// The options may also follow the mailbox, as in the RFC's examples.
pub(crate) fn get_metadata<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, GetMetadataCommand<'i>> {
    let (mut rest, mut chosen) = (i, None);
    if i.first() == Some(&b'(') {
        let (behind, found) = options(i, cx)?;
        (rest, chosen) = (sp(behind, cx)?.0, Some(found));
    }
    let (behind, mailbox) = mailbox(rest, cx)?;
    (rest, _) = sp(behind, cx)?;
    if chosen.is_none()
        && rest.first() == Some(&b'(')
        && let Ok((behind @ [b' ', ..], found)) = options(rest, cx)
    {
        (rest, chosen) = (sp(behind, cx)?.0, Some(found));
    }
    let (rest, entries) = entries(rest, cx)?;
    let (max_size, depth) = chosen.unwrap_or_default();
    Ok((rest, GetMetadataCommand { mailbox, entries, max_size, depth }))
}

/// `"(" getmetadata-option *(SP getmetadata-option) ")"`
fn options<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, (Option<u32>, MetadataDepth)> {
    let (mut rest, ()) = open(i, cx)?;
    let (mut max_size, mut depth) = (None, MetadataDepth::Zero);
    loop {
        if let Ok((behind, ())) = word(rest, b"MAXSIZE", "") {
            let (behind, size) = number(sp(behind, cx)?.0, cx)?;
            (rest, max_size) = (behind, Some(size));
        } else {
            let (behind, ()) = word(rest, b"DEPTH", "MAXSIZE or DEPTH")?;
            (rest, depth) = scope(sp(behind, cx)?.0)?;
        }
        rest = spaces_before_close(rest, cx);
        match rest {
            [b')', behind @ ..] => return Ok((behind, (max_size, depth))),
            _ => (rest, ()) = sp(rest, cx)?,
        }
    }
}

/// `"0" / "1" / "infinity"`
fn scope(i: &[u8]) -> Parsed<'_, MetadataDepth> {
    let depths: [(&[u8], _); 3] =
        [(b"0", MetadataDepth::Zero), (b"1", MetadataDepth::One), (b"infinity", MetadataDepth::Infinity)];
    for (text, depth) in depths {
        if let Ok((rest, ())) = word(i, text, "") {
            return Ok((rest, depth));
        }
    }
    expected(i, "0, 1 or infinity")
}

/// `entries = entry / "(" entry *(SP entry) ")"`
fn entries<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, IString<'i>>> {
    if i.first() == Some(&b'(') {
        return entry_list(i, cx);
    }
    let (rest, _) = entry(i, cx)?;
    Ok((rest, LazyList::wire(taken(i, rest), Attempt::First)))
}

/// `"(" entry *(SP entry) ")"`
pub(crate) fn entry_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, IString<'i>>> {
    one_or_more(i, cx, entry)
}

/// `entry = astring`. *Tolerant*: any name.
fn entry<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IString<'i>> {
    let (rest, name) = astring(i, cx)?;
    if is_entry_name(name) || cx.repair(Repair::StringForm) {
        Ok((rest, name))
    } else {
        expected(i, "the name of an entry, which begins with a slash")
    }
}

/// `setmetadata = "SETMETADATA" SP mailbox SP entry-values`, after the word and the first space
pub(crate) fn set_metadata<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SetMetadataCommand<'i>> {
    let (rest, mailbox) = mailbox(i, cx)?;
    let (rest, entries) = one_or_more(sp(rest, cx)?.0, cx, entry_value)?;
    Ok((rest, SetMetadataCommand { mailbox, entries }))
}

/// `entry-value = entry SP (nstring / literal8)`
fn entry_value<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MetadataEntry<'i>> {
    let (rest, name) = entry(i, cx)?;
    let (rest, value) = nstring8(sp(rest, cx)?.0, cx)?;
    Ok((rest, MetadataEntry { name, value }))
}

/// `mailbox SP (entry-values / entry-list)` (`metadata-resp`)
pub(crate) fn metadata<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MetadataResponse<'i>> {
    let (rest, mailbox) = astring(i, cx)?;
    let (list, ()) = sp(rest, cx)?;
    if list.first() == Some(&b'(') {
        let (rest, values) = one_or_more(list, cx, entry_value)?;
        return Ok((rest, MetadataResponse { mailbox, entries: MetadataEntries::Values(values) }));
    }
    let (mut rest, _) = entry(list, cx)?;
    while let [b' ', behind @ ..] = rest
        && !matches!(behind, [b' ' | b'\r' | b'\n', ..] | [])
    {
        (rest, _) = entry(behind, cx)?;
    }
    let names = LazyList::wire(taken(list, rest), cx.attempt());
    Ok((rest, MetadataResponse { mailbox, entries: MetadataEntries::Changed(names) }))
}

impl<'i> Element<'i> for MetadataEntry<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        entry_value(i, cx).ok()
    }
}
