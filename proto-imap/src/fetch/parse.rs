//! Parses FETCH responses item by item (RFC 9051 §9 `msg-att`).
//!
//! A FETCH response is not parsed at once, because the contents of a section can have any size. [`start`] parses its
//! beginning and [`next_item`] one item after the other. If the contents of a section arrive as a literal, the item
//! ends with the literal's announcement ([`FetchItem::SectionLiteral`]), provided that it ends the frame. The
//! literal's bytes are streamed, and the bytes after them are parsed as the next frame.
//!
//! ```
//! use proto_imap::parse::{Context, fetch::{self, ItemPosition, ParsedItem}};
//! use proto_imap::types::FetchItem;
//!
//! let cx = Context::tolerant();
//! let frame = b"* 12 FETCH (UID 7 BODY[] {342}\r\n";
//! let (sequence, mut at) = fetch::start(frame, &cx).unwrap();
//! assert_eq!(sequence, 12);
//! let (used, step) = fetch::next_item(&frame[at..], ItemPosition::First, &cx).unwrap();
//! assert_eq!(step, ParsedItem::Item(FetchItem::Uid(7)));
//! at += used;
//! let (used, step) = fetch::next_item(&frame[at..], ItemPosition::Later, &cx).unwrap();
//! assert!(matches!(step, ParsedItem::Item(FetchItem::SectionLiteral { size: 342, .. })));
//! assert_eq!(at + used, frame.len());
//! // 342 bytes go to the application; then:
//! assert_eq!(fetch::next_item(b")\r\n", ItemPosition::Later, &cx), Ok((3, ParsedItem::End)));
//! ```

use crate::annotation::entries;
use crate::body_structure::parse::body;
use crate::date_time::parse::{date_time, lenient_date_time};
use crate::envelope::parse::envelope;
use crate::fetch::FetchItem;
use crate::flags::parse::flag_list;
use crate::grammar::characters::is_atom_char;
use crate::grammar::lazy_list::{Element, LazyValue, list_of};
use crate::grammar::number::{number64, nz_number};
use crate::grammar::primitive::{byte, close, crlf, nil, open, sp, spaces, taken, word};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::{literal_size, literal8, nstring, string};
use crate::grammar::unparsed::Unparsed;
use crate::grammar::value::{object_id, value};
use crate::grammar::{Attempt, Context, Parsed, expected};
use crate::section::{Section, SectionItem, section, section_origin};

/// The position of an item in its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemPosition {
    /// After the opening parenthesis.
    First,
    /// After another item, or after a literal.
    Later,
}

/// The result of [`next_item`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParsedItem<'i> {
    /// An item.
    Item(FetchItem<'i>),
    /// The closing parenthesis and the line end: the response is complete.
    End,
    /// A line end before the closing parenthesis. If the next line starts with `)`, it belongs to this response;
    /// otherwise the response is complete without it. From the tolerant parser only.
    LineEnd,
}

/// Parses the beginning of a FETCH response: `"*" SP nz-number SP "FETCH" SP "("`.
///
/// Returns the message's sequence number and the number of bytes parsed; the first item starts there. *Tolerant*:
/// sequence number 0, which no message has.
///
/// # Errors
/// [`Unparsed`] if `frame` is not a FETCH response.
pub fn start<'i>(frame: &'i [u8], cx: &Context) -> Result<(u32, usize), Unparsed<'i>> {
    match message_start(frame, cx) {
        Ok((rest, sequence)) => Ok((sequence, frame.len() - rest.len())),
        Err(error) => Err(Unparsed::new(frame, error)),
    }
}

/// Parses the beginning of a FETCH response in the form that nearly every server writes. Returns what [`start`]
/// returns; `None` for any other form, and for any other response.
#[inline]
pub(crate) fn plain_start(frame: &[u8]) -> Option<(u32, usize)> {
    /// The number of digits that no `u32` overflows with.
    const DIGITS: usize = 9;
    let numbered = frame.strip_prefix(b"* ")?;
    let mut sequence = 0_u32;
    let mut digits = 0;
    while let Some(digit @ b'0'..=b'9') = numbered.get(digits) {
        sequence = sequence.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'));
        digits += 1;
    }
    let [b' ', b'F', b'E', b'T', b'C', b'H', b' ', b'(', ..] = numbered.get(digits..)? else { return None };
    let plain = (1..=DIGITS).contains(&digits) && numbered.first() != Some(&b'0');
    plain.then_some((sequence, digits + b"*  FETCH (".len()))
}

/// Parses the beginning of a UIDFETCH response (RFC 9586): `"*" SP uniqueid SP "UIDFETCH" SP "("`.
///
/// Returns the message's UID and the number of bytes parsed; the first item starts there. *Tolerant*: UID 0.
///
/// # Errors
/// [`Unparsed`] if `frame` is not a UIDFETCH response.
pub fn uid_start<'i>(frame: &'i [u8], cx: &Context) -> Result<(u32, usize), Unparsed<'i>> {
    match numbered_start(frame, b"UIDFETCH", "UIDFETCH", cx) {
        Ok((rest, uid)) => Ok((uid, frame.len() - rest.len())),
        Err(error) => Err(Unparsed::new(frame, error)),
    }
}

fn message_start<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, u32> {
    numbered_start(i, b"FETCH", "FETCH", cx)
}

fn numbered_start<'i>(i: &'i [u8], name: &[u8], what: &'static str, cx: &Context) -> Parsed<'i, u32> {
    let (rest, ()) = byte(i, b'*', "an asterisk")?;
    let (rest, ()) = sp(rest, cx)?;
    if !rest.first().is_some_and(u8::is_ascii_digit) {
        return expected(rest, "the number of a message");
    }
    let (rest, sequence) = nz_number(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, ()) = word(rest, name, what)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, ()) = byte(rest, b'(', "an opening parenthesis")?;
    Ok((rest, sequence))
}

/// Parses the next item, or the end, of a FETCH response. `i` starts where the last call (or [`start`]) has stopped,
/// or after the bytes of a literal, and extends to the end of the frame. Returns the number of bytes parsed.
///
/// *Tolerant*: any spaces; line ends before the closing parenthesis; items after the closing parenthesis. An item
/// that is unknown or invalid takes one value and is skipped. A further list or string after an item is skipped too.
///
/// # Errors
/// [`Unparsed`] if neither an item nor the end is there: only the rest of this response is lost.
pub fn next_item<'i>(
    i: &'i [u8],
    place: ItemPosition,
    cx: &Context,
) -> Result<(usize, ParsedItem<'i>), Unparsed<'i>> {
    // The item is written in place, so that it is not moved.
    let mut answer = Ok((0, ParsedItem::Item(FetchItem::Uid(0))));
    if let Ok((used, ParsedItem::Item(item))) = &mut answer {
        match step(i, place, item, cx) {
            Ok((rest, Found::Item)) => *used = i.len() - rest.len(),
            Ok((rest, Found::End)) => answer = Ok((i.len() - rest.len(), ParsedItem::End)),
            Ok((rest, Found::LineEnd)) => answer = Ok((i.len() - rest.len(), ParsedItem::LineEnd)),
            Err(error) => answer = Err(Unparsed::new(i, error)),
        }
    }
    answer
}

/// A [`ParsedItem`] without its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Item,
    End,
    LineEnd,
}

/// Does the work of [`next_item`], and writes the item to `item`.
#[inline]
pub(crate) fn step<'i>(
    i: &'i [u8],
    place: ItemPosition,
    item: &mut FetchItem<'i>,
    cx: &Context,
) -> Parsed<'i, Found> {
    let at_item = match (i, place) {
        ([b')', b'\r', b'\n'], ItemPosition::Later) => return Ok((b"", Found::End)),
        ([b' ', next, ..], ItemPosition::Later) if is_atom_char(*next) => i.get(1..).unwrap_or_default(),
        ([next, ..], ItemPosition::First) if is_atom_char(*next) => i,
        _ => match odd_separator(i, place, cx)? {
            (rest, None) => rest,
            (rest, Some(found)) => return Ok((rest, found)),
        },
    };
    let (rest, ()) = msg_att_item(at_item, item, cx)?;
    Ok((rest, Found::Item))
}

/// Parses a separator between items that is not one space.
#[cold]
fn odd_separator<'i>(i: &'i [u8], place: ItemPosition, cx: &Context) -> Parsed<'i, Option<Found>> {
    let mut rest = i;
    loop {
        if place == ItemPosition::Later
            && let Some(behind) = further_value(rest, cx)
        {
            match behind {
                [b' ', next, ..] if is_atom_char(*next) => {
                    return Ok((behind.get(1..).unwrap_or_default(), None));
                }
                _ => rest = behind,
            }
            continue;
        }
        rest = spaces(rest, cx);
        match rest {
            [b')', behind @ ..] if place == ItemPosition::Later || cx.repair(Repair::NilForValue) => {
                return after_close(behind, cx);
            }
            [b'\r', b'\n'] | [b'\n'] if cx.repair(Repair::StrayLineEnd) => {
                return Ok((b"", Some(Found::LineEnd)));
            }
            [b'\r', b'\n', ..] | [b'\n', ..] if cx.is_tolerant() => (rest, ()) = crlf(rest, cx)?,
            [first, ..] if cx.is_tolerant() && is_atom_char(*first) => return Ok((rest, None)),
            _ if place == ItemPosition::First => return expected(rest, "a FETCH item"),
            _ => return expected(rest, "a space or a closing parenthesis"),
        }
    }
}

/// Skips a list or a string in the place of an item or the end. Some servers write a second value after an item.
/// *Tolerant* only.
fn further_value<'i>(i: &'i [u8], cx: &Context) -> Option<&'i [u8]> {
    let at = i.strip_prefix(b" ").unwrap_or(i);
    if !cx.is_tolerant() || !matches!(at.first(), Some(b'(' | b'"')) {
        return None;
    }
    let (rest, _) = cx.attempts(|| value(at, cx)).ok()?;
    cx.repairs.note(Repair::SkippedItem);
    Some(rest)
}

/// Parses the input after the closing parenthesis: the end or, from some servers, more items.
fn after_close<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<Found>> {
    match crlf(i, cx) {
        Ok((rest, ())) => return Ok((rest, Some(Found::End))),
        Err(error) if !cx.is_tolerant() => return Err(error),
        Err(_) => {}
    }
    let rest = i.trim_ascii_start();
    if rest.first().is_some_and(u8::is_ascii_alphabetic)
        && msg_att_item(rest, &mut FetchItem::Uid(0), &Context::strict()).is_ok()
    {
        spaces(i, cx);
        cx.repairs.note(Repair::EarlyClose);
        return Ok((rest, None));
    }
    cx.repairs.note(Repair::TrailingData);
    let end = memchr::memchr(b'\n', i).map_or(i.len(), |end| end + 1);
    Ok((i.get(end..).unwrap_or_default(), Some(Found::End)))
}

/// `msg-att-dynamic / msg-att-static`
#[inline]
fn msg_att_item<'i>(i: &'i [u8], item: &mut FetchItem<'i>, cx: &Context) -> Parsed<'i, ()> {
    let end =
        i.iter().position(|byte| !is_atom_char(*byte) || matches!(byte, b'[' | b'<')).unwrap_or(i.len());
    let (name, rest) = i.split_at(end);
    let (behind, other) = match known_item(name, rest, item, cx) {
        Ok(Some((rest, ()))) => return Ok((rest, ())),
        Ok(None) => other_item(i, cx)?,
        Err(error) if !cx.is_tolerant() => return Err(error),
        Err(error) => skipped_item(i, name, rest, error, cx)?,
    };
    *item = other;
    Ok((behind, ()))
}

type Known<'i> = Result<Option<(&'i [u8], ())>, nom::Err<crate::grammar::Expected<'i>>>;

#[inline]
fn known_item<'i>(name: &'i [u8], i: &'i [u8], item: &mut FetchItem<'i>, cx: &Context) -> Known<'i> {
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    let parsed = match name.len() {
        3 if is(b"UID") => argument(i, item, cx, nz_number, FetchItem::Uid),
        4 if is(b"BODY") => match i.first() {
            Some(b'[') => fill(item, body_section(i, SectionItem::Body, cx)),
            _ => argument(i, item, cx, |i, cx| lazy(i, cx, body), FetchItem::Body),
        },
        5 if is(b"FLAGS") => argument(i, item, cx, flag_list, FetchItem::Flags),
        6 if is(b"MODSEQ") => argument(i, item, cx, permsg_modsequence, FetchItem::ModSeq),
        6 if is(b"BINARY") && i.first() == Some(&b'[') => {
            fill(item, body_section(i, SectionItem::Binary, cx))
        }
        6 if is(b"RFC822") => fill(item, whole(i, SectionItem::Rfc822, cx)),
        7 if is(b"EMAILID") => argument(i, item, cx, object_id, FetchItem::EmailId),
        7 if is(b"PREVIEW") => argument(i, item, cx, preview, FetchItem::Preview),
        8 if is(b"ENVELOPE") => argument(i, item, cx, |i, cx| lazy(i, cx, envelope), FetchItem::Envelope),
        8 if is(b"THREADID") => argument(i, item, cx, thread_id, FetchItem::ThreadId),
        8 if is(b"SAVEDATE") => argument(i, item, cx, save_date, |item| item),
        10 if is(b"ANNOTATION") => argument(i, item, cx, entries, FetchItem::Annotation),
        10 if is(b"X-GM-MSGID") => argument(i, item, cx, number64, FetchItem::GmailMessageId),
        10 if is(b"X-GM-THRID") => argument(i, item, cx, number64, FetchItem::GmailThreadId),
        11 if is(b"RFC822.SIZE") => argument(i, item, cx, number64, FetchItem::Size),
        11 if is(b"RFC822.TEXT") => fill(item, whole(i, SectionItem::Rfc822Text, cx)),
        11 if is(b"BINARY.SIZE") => fill(item, binary_size(i, cx)),
        11 if is(b"X-GM-LABELS") => {
            argument(i, item, cx, |i, cx| list_of(i, cx, label), FetchItem::GmailLabels)
        }
        12 if is(b"INTERNALDATE") => argument(i, item, cx, internal_date, |item| item),
        13 if is(b"RFC822.HEADER") => fill(item, whole(i, SectionItem::Rfc822Header, cx)),
        13 if is(b"BODYSTRUCTURE") => {
            argument(i, item, cx, |i, cx| lazy(i, cx, body), FetchItem::BodyStructure)
        }
        _ => return Ok(None),
    };
    parsed.map(Some)
}

/// Stores a parsed item.
fn fill<'i>(item: &mut FetchItem<'i>, parsed: Parsed<'i, FetchItem<'i>>) -> Parsed<'i, ()> {
    let (rest, value) = parsed?;
    *item = value;
    Ok((rest, ()))
}

/// Checks a value and returns its position, so that it is parsed again only if it is viewed.
fn lazy<'i, T: Element<'i> + 'i>(
    i: &'i [u8],
    cx: &Context,
    parse: impl Fn(&'i [u8], &Context) -> Parsed<'i, T>,
) -> Parsed<'i, LazyValue<'i, T>> {
    cx.attempts(|| {
        let (parsed, made) = cx.repairs.made_by(|| parse(i, cx));
        let (rest, _) = parsed?;
        let attempt = if made.is_empty() { Attempt::Flawless } else { cx.attempt() };
        Ok((rest, LazyValue::wire(taken(i, rest), attempt)))
    })
}

/// `SP value`
#[inline]
fn argument<'i, T>(
    i: &'i [u8],
    item: &mut FetchItem<'i>,
    cx: &Context,
    value: impl Fn(&'i [u8], &Context) -> Parsed<'i, T>,
    into_item: impl Fn(T) -> FetchItem<'i>,
) -> Parsed<'i, ()> {
    let (rest, ()) = sp(i, cx)?;
    let (rest, value) = value(rest, cx)?;
    *item = into_item(value);
    Ok((rest, ()))
}

/// `section ["<" number ">"] SP (nstring / literal8)`
fn body_section<'i>(i: &'i [u8], item: SectionItem, cx: &Context) -> Parsed<'i, FetchItem<'i>> {
    let (rest, section) = section(i, item, cx)?;
    let (rest, origin) = section_origin(rest, cx)?;
    contents(rest, section, origin, cx)
}

/// Parses the contents of `RFC822` and similar items: `SP nstring`
fn whole<'i>(i: &'i [u8], item: SectionItem, cx: &Context) -> Parsed<'i, FetchItem<'i>> {
    contents(i, Section::wire(item, b""), None, cx)
}

/// `SP (nstring / literal8)`. *Tolerant*: nothing instead of `NIL`.
fn contents<'i>(
    i: &'i [u8],
    section: Section<'i>,
    origin: Option<u64>,
    cx: &Context,
) -> Parsed<'i, FetchItem<'i>> {
    if cx.is_tolerant() && matches!(i.trim_ascii_start().first(), Some(b')') | None) {
        cx.repairs.note(Repair::NilForValue);
        return Ok((i, FetchItem::Section { section, origin, value: None }));
    }
    let (at, ()) = sp(i, cx)?;
    let announced = at.strip_prefix(b"~").unwrap_or(at);
    if announced.first() == Some(&b'{') {
        let (rest, size) = literal_size(announced, cx)?;
        if rest.is_empty() {
            return Ok((rest, FetchItem::SectionLiteral { section, origin, size }));
        }
    }
    let (rest, value) = if announced.len() < at.len() {
        literal8(at, cx).map(|(rest, value)| (rest, Some(value)))?
    } else {
        nstring(at, cx)?
    };
    Ok((rest, FetchItem::Section { section, origin, value }))
}

/// `"BINARY.SIZE" section-binary SP number`, without the word
fn binary_size<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FetchItem<'i>> {
    let (rest, section) = section(i, SectionItem::Binary, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, size) = number64(rest, cx)?;
    Ok((rest, FetchItem::BinarySize { section, size }))
}

/// `"(" permsg-modsequence ")"`, where 0 is allowed (RFC 7162). *Tolerant*: without the parentheses.
fn permsg_modsequence<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, u64> {
    if i.first() != Some(&b'(') && cx.repair(Repair::StringForm) {
        return number64(i, cx);
    }
    let (rest, ()) = open(i, cx)?;
    let (rest, value) = number64(rest, cx)?;
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, value))
}

/// `date-time`. *Tolerant*: any string; a one-digit day, no zone or `GMT`; the date is `None` if it does not exist.
fn internal_date<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FetchItem<'i>> {
    if let Ok((rest, date)) = date_time(i) {
        let raw = IString::quoted(
            taken(i, rest).get(1..27).unwrap_or_default(),
            crate::grammar::string::Escapes::None,
        );
        return Ok((rest, FetchItem::InternalDate { date: Some(date), raw }));
    }
    if !cx.repair(Repair::Date) {
        return expected(i, "a date and time");
    }
    let (rest, raw) = string(i, cx)?;
    Ok((rest, FetchItem::InternalDate { date: lenient_date_time(raw.raw()), raw }))
}

/// `date-time / nil` (RFC 8514)
fn save_date<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FetchItem<'i>> {
    if let Ok((rest, ())) = nil(i) {
        return Ok((rest, FetchItem::SaveDate(None)));
    }
    let (rest, date) = internal_date(i, cx)?;
    let FetchItem::InternalDate { date, .. } = date else { return expected(i, "a date and time") };
    Ok((rest, FetchItem::SaveDate(date)))
}

/// `"(" objectid ")" / nil` (RFC 8474)
fn thread_id<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<IString<'i>>> {
    match nil(i) {
        Ok((rest, ())) => Ok((rest, None)),
        Err(_) => object_id(i, cx).map(|(rest, id)| (rest, Some(id))),
    }
}

/// `nstring` (RFC 8970). *Tolerant*: its draft's `"(" algorithm SP nstring ")"`.
fn preview<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<IString<'i>>> {
    if i.first() == Some(&b'(') && cx.repair(Repair::StringForm) {
        let (rest, ()) = open(i, cx)?;
        let (rest, _) = value(rest, cx)?;
        let (rest, ()) = sp(rest, cx)?;
        let (rest, text) = nstring(rest, cx)?;
        let (rest, ()) = close(rest, cx)?;
        return Ok((rest, text));
    }
    nstring(i, cx)
}

/// Parses a Gmail label: an `nstring`, an atom, or an atom with a backslash before it.
fn label<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ()> {
    let tolerant = Context::again(cx.attempt());
    nstring(i, &tolerant).map(|(rest, _)| (rest, ()))
}

/// Parses an unknown item: a name, perhaps with a section, and one value. *Tolerant* only.
fn other_item<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, FetchItem<'i>> {
    if !cx.repair(Repair::SkippedItem) {
        return expected(i, "a FETCH item");
    }
    let (rest, name) = item_name(i, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, value) = cx.attempts(|| value(rest, cx))?;
    Ok((rest, FetchItem::Other { name: IString::new(name), value: IString::new(value) }))
}

/// `atom [section] ["<" number ">"]`
fn item_name<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, &'i [u8]> {
    let end = i.iter().position(|byte| !is_atom_char(*byte) || *byte == b'[').unwrap_or(i.len());
    let mut rest = i.get(end..).unwrap_or_default();
    if end == 0 {
        return expected(i, "a FETCH item");
    }
    if rest.first() == Some(&b'[') {
        (rest, _) = section(rest, SectionItem::Body, cx)?;
        (rest, _) = section_origin(rest, cx)?;
    }
    Ok((rest, taken(i, rest)))
}

/// Skips an item that is known but invalid; `error` is what is wrong with it. It takes one value.
#[cold]
fn skipped_item<'i>(
    i: &'i [u8],
    name: &'i [u8],
    behind_name: &'i [u8],
    error: nom::Err<crate::grammar::Expected<'i>>,
    cx: &Context,
) -> Parsed<'i, FetchItem<'i>> {
    let value_at = if behind_name.first() == Some(&b'[') { item_name(i, cx)?.0 } else { behind_name };
    let Ok((at, ())) = sp(value_at, cx) else { return Err(error) };
    let Ok((rest, raw)) = cx.attempts(|| value(at, cx)) else { return Err(error) };
    cx.repairs.note(Repair::SkippedItem);
    let expected = crate::grammar::into_expected(error);
    let offset = at.len().saturating_sub(expected.rest.len()).min(raw.len());
    Ok((
        rest,
        FetchItem::Unparsed {
            name: IString::new(name),
            unparsed: Unparsed { raw, offset, expected: expected.what },
        },
    ))
}

impl<'i> Element<'i> for FetchItem<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        // A parenthesis or a quote follows a complete item, where the grammar allows it.
        let place = if matches!(i.first(), Some(b')' | b'(' | b'"')) {
            ItemPosition::Later
        } else {
            ItemPosition::First
        };
        let mut item = Self::Uid(0);
        match step(i, place, &mut item, cx) {
            Ok((rest, Found::Item)) => Some((rest, item)),
            _ => None,
        }
    }
}
