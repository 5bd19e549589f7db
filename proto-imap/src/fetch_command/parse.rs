//! Parses the arguments of FETCH.

use crate::annotation::requested;
use crate::fetch_command::{FetchAttribute, FetchCommand, FetchModifier, Partial, Peek};
use crate::grammar::lazy_list::{Element, LazyList, known_word, one_or_more};
use crate::grammar::number::{mod_sequence_value, number64};
use crate::grammar::primitive::{byte, sp, taken, word};
use crate::grammar::{Attempt, Context, Parsed, expected};
use crate::partial_range::partial_range;
use crate::section::{Section, SectionItem, requested_section};
use crate::sequence_set::sequence_set;

/// `"ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")"`
#[inline]
pub(crate) fn fetch_attributes<'i>(
    i: &'i [u8],
    cx: &Context,
) -> Parsed<'i, LazyList<'i, FetchAttribute<'i>>> {
    if i.first() == Some(&b'(') {
        return one_or_more(i, cx, fetch_att);
    }
    let macros = [
        (&b"ALL"[..], FetchAttribute::ALL),
        (b"FAST", FetchAttribute::FAST),
        (b"FULL", FetchAttribute::FULL),
    ];
    for (name, attributes) in macros {
        if let Ok((rest, ())) = word(i, name, "") {
            return Ok((rest, LazyList::new(attributes)));
        }
    }
    let (rest, _) = fetch_att(i, cx)?;
    Ok((rest, LazyList::wire(taken(i, rest), Attempt::First)))
}

/// The length of the longest known name, plus some bytes.
const LONGEST: usize = 16;

/// `fetch-att = "ENVELOPE" / "FLAGS" / … / "BODY" [".PEEK"] section [partial] / …`
#[inline]
pub(crate) fn fetch_att<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FetchAttribute<'i>> {
    const WHAT: &str = "an attribute of FETCH";
    let end = i.iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')));
    let (name, rest) = i.split_at(end.unwrap_or(i.len()));
    let mut upper = [0; LONGEST];
    let Some(upper) = upper.get_mut(..name.len()) else { return expected(i, WHAT) };
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let old =
        |item| FetchAttribute::Section { section: Section::wire(item, b""), partial: None, peek: Peek::No };
    let attribute = match &*upper {
        b"BODY" if rest.first() == Some(&b'[') => return contents(rest, SectionItem::Body, Peek::No, cx),
        b"BODY.PEEK" => return contents(rest, SectionItem::Body, Peek::Yes, cx),
        b"BINARY" => return contents(rest, SectionItem::Binary, Peek::No, cx),
        b"BINARY.PEEK" => return contents(rest, SectionItem::Binary, Peek::Yes, cx),
        b"BINARY.SIZE" => {
            let (rest, section) = requested_section(rest, SectionItem::Binary, cx)?;
            return Ok((rest, FetchAttribute::BinarySize(section)));
        }
        b"ANNOTATION" => {
            let (rest, (entries, attributes)) = requested(rest, cx)?;
            return Ok((rest, FetchAttribute::Annotation { entries, attributes }));
        }
        b"PREVIEW" => return Ok(preview(rest)),
        b"BODY" => FetchAttribute::Body,
        b"BODYSTRUCTURE" => FetchAttribute::BodyStructure,
        b"EMAILID" => FetchAttribute::EmailId,
        b"ENVELOPE" => FetchAttribute::Envelope,
        b"FLAGS" => FetchAttribute::Flags,
        b"INTERNALDATE" => FetchAttribute::InternalDate,
        b"MODSEQ" => FetchAttribute::ModSeq,
        b"RFC822" => old(SectionItem::Rfc822),
        b"RFC822.HEADER" => old(SectionItem::Rfc822Header),
        b"RFC822.SIZE" => FetchAttribute::Size,
        b"RFC822.TEXT" => old(SectionItem::Rfc822Text),
        b"SAVEDATE" => FetchAttribute::SaveDate,
        b"THREADID" => FetchAttribute::ThreadId,
        b"UID" => FetchAttribute::Uid,
        b"X-GM-LABELS" => FetchAttribute::GmailLabels,
        b"X-GM-MSGID" => FetchAttribute::GmailMessageId,
        b"X-GM-THRID" => FetchAttribute::GmailThreadId,
        _ => return expected(i, WHAT),
    };
    Ok((rest, attribute))
}

/// `section [partial]`, after `BODY` and similar names.
#[inline]
fn contents<'i>(i: &'i [u8], item: SectionItem, peek: Peek, cx: &Context) -> Parsed<'i, FetchAttribute<'i>> {
    let (rest, section) = requested_section(i, item, cx)?;
    let (rest, partial) = match rest.first() {
        Some(b'<') => partial(rest).map(|(rest, partial)| (rest, Some(partial)))?,
        _ => (rest, None),
    };
    Ok((rest, FetchAttribute::Section { section, partial, peek }))
}

/// `partial = "<" number64 "." nz-number64 ">"`. Always parsed strictly, because the dot is not a decimal point.
fn partial(i: &[u8]) -> Parsed<'_, Partial> {
    let cx = &Context::strict();
    let (rest, ()) = byte(i, b'<', "a partial range")?;
    let (rest, offset) = number64(rest, cx)?;
    let (rest, ()) = byte(rest, b'.', "a dot and the length of the piece")?;
    let (behind, length) = number64(rest, cx)?;
    if length == 0 {
        return expected(rest, "a length above 0");
    }
    let (rest, ()) = byte(behind, b'>', "a closing angle bracket")?;
    Ok((rest, Partial { offset, length }))
}

/// `preview = "PREVIEW" [SP "(" "LAZY" ")"]` (RFC 8970), after the word
fn preview(i: &[u8]) -> (&[u8], FetchAttribute<'_>) {
    match i.split_at_checked(7) {
        Some((modifier, rest)) if modifier.eq_ignore_ascii_case(b" (LAZY)") => {
            (rest, FetchAttribute::PreviewLazy)
        }
        _ => (i, FetchAttribute::Preview),
    }
}

/// `fetch-modifier = "CHANGEDSINCE" SP mod-sequence-value / "VANISHED" / "PARTIAL" SP partial-range`
pub(crate) fn fetch_modifier<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FetchModifier> {
    if let Ok((rest, ())) = word(i, b"CHANGEDSINCE", "") {
        let (rest, mod_sequence) = mod_sequence_value(sp(rest, cx)?.0, cx)?;
        return Ok((rest, FetchModifier::ChangedSince(mod_sequence)));
    }
    if let Ok((rest, ())) = word(i, b"PARTIAL", "") {
        let (rest, page) = partial_range(sp(rest, cx)?.0, cx)?;
        return Ok((rest, FetchModifier::Partial(page)));
    }
    let vanished = |word: &[u8]| word.eq_ignore_ascii_case(b"VANISHED").then_some(FetchModifier::Vanished);
    known_word(i, vanished, "a modifier of FETCH")
}

impl<'i> Element<'i> for FetchAttribute<'i> {
    #[inline]
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        fetch_att(i, cx).ok()
    }
}

impl<'i> Element<'i> for FetchModifier {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        fetch_modifier(i, cx).ok()
    }
}

/// Whether a FETCH may have the modifier VANISHED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vanished {
    /// It is a UID FETCH.
    Allowed,
    /// It is not.
    Refused,
}

/// `fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" … ")") [fetch-modifiers]`
#[inline]
pub(crate) fn fetch<'i>(i: &'i [u8], vanished: Vanished, cx: &Context) -> Parsed<'i, FetchCommand<'i>> {
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
