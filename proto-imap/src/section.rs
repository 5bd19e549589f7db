//! Sections of a message: `BODY[1.2.MIME]`, `BINARY[3]`, `RFC822.HEADER` (RFC 9051 §6.4.5.1, RFC 3516).

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::LazyList;
use crate::grammar::number::nz_number;
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::primitive::{byte, open, sp, spaces, taken};
use crate::grammar::repair::Repair;
use crate::grammar::sink::{Sink, number};
use crate::grammar::string::IString;
use crate::grammar::string::parse::astring;
use crate::grammar::{Context, Parsed, expected};
use core::fmt;
use proto_mail::error::ErrorDetails;

/// The item that the contents belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionItem {
    /// `BODY[…]`
    Body,
    /// `BINARY[…]` (RFC 3516) and `BINARY.SIZE[…]`: decoded.
    Binary,
    /// `RFC822`: the same as `BODY[]` (RFC 3501).
    Rfc822,
    /// `RFC822.HEADER` (RFC 3501)
    Rfc822Header,
    /// `RFC822.TEXT` (RFC 3501)
    Rfc822Text,
}

/// A section of a message, as named in the response (RFC 9051 §6.4.5.1).
///
/// Two sections are equal if they name the same section, regardless of the case and the form of header names.
#[derive(Clone, Copy)]
pub struct Section<'i> {
    item: SectionItem,
    /// The text between the brackets.
    spec: &'i [u8],
}

/// The text of a part that a section selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionText<'i> {
    /// All of it: a message with its header, or the contents of a part.
    Full,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS`: these fields of the header.
    HeaderFields(LazyList<'i, IString<'i>>),
    /// `HEADER.FIELDS.NOT`: all fields of the header except these.
    HeaderFieldsNot(LazyList<'i, IString<'i>>),
    /// `TEXT`: the message after its header.
    Text,
    /// `MIME`: the header of a part.
    Mime,
    /// An unknown section.
    Other(IString<'i>),
}

impl<'i> Section<'i> {
    pub(crate) const fn wire(item: SectionItem, spec: &'i [u8]) -> Self {
        Self { item, spec }
    }

    /// Returns the item that the section belongs to.
    #[must_use]
    pub const fn item(&self) -> SectionItem {
        self.item
    }

    /// Returns the text between the brackets, as received.
    #[must_use]
    pub const fn spec(&self) -> &'i [u8] {
        self.spec
    }

    /// Returns the numbers of the part: `1`, `2` in `BODY[1.2.MIME]`. The message itself has none.
    pub fn part(&self) -> impl Iterator<Item = u32> + use<'i> {
        self.spec.split(|byte| *byte == b'.').map_while(|piece| {
            let digits = core::str::from_utf8(piece).ok().filter(|text| !text.starts_with('+'))?;
            digits.parse().ok()
        })
    }

    /// Returns the text of the part that the section selects.
    #[must_use]
    pub fn text(&self) -> SectionText<'i> {
        match self.item {
            SectionItem::Rfc822Header => SectionText::Header,
            SectionItem::Rfc822Text => SectionText::Text,
            SectionItem::Rfc822 => SectionText::Full,
            SectionItem::Body | SectionItem::Binary => section_text(self.spec),
        }
    }
}

impl PartialEq for Section<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.item == other.item && self.part().eq(other.part()) && self.text() == other.text()
    }
}

impl Eq for Section<'_> {}

impl fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = alloc::string::String::from_utf8_lossy(self.spec);
        match self.item {
            SectionItem::Body => write!(f, "BODY[{spec}]"),
            SectionItem::Binary => write!(f, "BINARY[{spec}]"),
            SectionItem::Rfc822 => f.write_str("RFC822"),
            SectionItem::Rfc822Header => f.write_str("RFC822.HEADER"),
            SectionItem::Rfc822Text => f.write_str("RFC822.TEXT"),
        }
    }
}

/// The error for a text that is not a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSection;

impl fmt::Display for InvalidSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section is like 1.2, HEADER, 3.TEXT, 1.MIME or HEADER.FIELDS (FROM \"TO\"), or empty")
    }
}

impl core::error::Error for InvalidSection {}

impl ErrorDetails for InvalidSection {}

impl<'i> Section<'i> {
    /// The whole message.
    pub const FULL: Section<'static> = Section::wire(SectionItem::Body, b"");
    /// The message's header.
    pub const HEADER: Section<'static> = Section::wire(SectionItem::Body, b"HEADER");
    /// The message without its header.
    pub const TEXT: Section<'static> = Section::wire(SectionItem::Body, b"TEXT");
    /// `RFC822`: the whole message, as RFC 3501 calls it.
    pub const RFC822: Section<'static> = Section::wire(SectionItem::Rfc822, b"");
    /// `RFC822.HEADER`
    pub const RFC822_HEADER: Section<'static> = Section::wire(SectionItem::Rfc822Header, b"");
    /// `RFC822.TEXT`
    pub const RFC822_TEXT: Section<'static> = Section::wire(SectionItem::Rfc822Text, b"");

    /// Parses the text between the brackets of `BODY[…]`: `1.2.HEADER.FIELDS (FROM TO)`.
    ///
    /// # Errors
    /// [`InvalidSection`] if the text is not a section.
    pub fn body(spec: &'i str) -> Result<Self, InvalidSection> {
        Self::of(SectionItem::Body, spec)
    }

    /// Parses the text between the brackets of `BINARY[…]`: `1.2`.
    ///
    /// # Errors
    /// [`InvalidSection`] if it has anything except numbers.
    pub fn binary(spec: &'i str) -> Result<Self, InvalidSection> {
        Self::of(SectionItem::Binary, spec)
    }

    fn of(item: SectionItem, spec: &'i str) -> Result<Self, InvalidSection> {
        requestable_section(spec.as_bytes(), item).ok_or(InvalidSection)
    }
}

/// `section = "[" [section-spec] "]"`
///
/// *Tolerant*: anything up to the closing bracket, with quoted strings and parentheses kept together.
pub(crate) fn section<'i>(i: &'i [u8], item: SectionItem, cx: &Context) -> Parsed<'i, Section<'i>> {
    let (inner, ()) = byte(i, b'[', "a section")?;
    let strict = section_spec(inner, item, cx).and_then(|(rest, spec)| {
        let (rest, ()) = byte(rest, b']', "a closing bracket")?;
        Ok((rest, Section::wire(item, spec)))
    });
    if strict.is_ok() || !cx.is_tolerant() {
        return strict;
    }
    let Some((spec, rest)) = to_closing_bracket(inner) else { return strict };
    cx.repairs.note(Repair::SkippedItem);
    Ok((rest, Section::wire(item, spec)))
}

/// `["<" number ">"]`: the offset of the contents in the section
pub(crate) fn section_origin<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<u64>> {
    let Some((b'<', behind)) = i.split_first() else { return Ok((i, None)) };
    let (rest, origin) = crate::grammar::number::number64(behind, cx)?;
    let (rest, ()) = byte(rest, b'>', "a closing angle bracket")?;
    Ok((rest, Some(origin)))
}

/// `section-spec = section-msgtext / (section-part ["." section-text])`
fn section_spec<'i>(i: &'i [u8], item: SectionItem, cx: &Context) -> Parsed<'i, &'i [u8]> {
    let rest = behind_numbers(i);
    let rest = match rest {
        [b']', ..] | [] => rest,
        _ if item == SectionItem::Binary => return expected(rest, "a closing bracket"),
        _ => section_words(rest, cx)?.0,
    };
    Ok((rest, taken(i, rest)))
}

/// Skips `nz-number *("." nz-number) ["."]`.
fn behind_numbers(i: &[u8]) -> &[u8] {
    let mut rest = i;
    loop {
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 || rest.first() == Some(&b'0') {
            return rest;
        }
        rest = rest.get(digits..).unwrap_or_default();
        match rest {
            [b'.', behind @ ..] => rest = behind,
            _ => return rest,
        }
    }
}

/// `section-text = section-msgtext / "MIME"`
fn section_words<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, SectionText<'i>> {
    let end = i.iter().position(|byte| !matches!(byte, b'.' | b'a'..=b'z' | b'A'..=b'Z')).unwrap_or(i.len());
    let (word, rest) = i.split_at(end);
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    if is(b"HEADER") {
        Ok((rest, SectionText::Header))
    } else if is(b"TEXT") {
        Ok((rest, SectionText::Text))
    } else if is(b"MIME") {
        Ok((rest, SectionText::Mime))
    } else if is(b"HEADER.FIELDS") {
        let (rest, fields) = header_list(sp(rest, cx)?.0, cx)?;
        Ok((rest, SectionText::HeaderFields(fields)))
    } else if is(b"HEADER.FIELDS.NOT") {
        let (rest, fields) = header_list(sp(rest, cx)?.0, cx)?;
        Ok((rest, SectionText::HeaderFieldsNot(fields)))
    } else {
        expected(i, "HEADER, TEXT, MIME or a part number")
    }
}

/// `header-list = "(" header-fld-name *(SP header-fld-name) ")"`. *Tolerant*: `()`.
fn header_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, IString<'i>>> {
    let (inner, ()) = open(i, cx)?;
    let mut rest = inner;
    while rest.first() != Some(&b')') || (rest.len() == inner.len() && !cx.is_tolerant()) {
        (rest, _) = astring(rest, cx)?;
        rest = crate::grammar::primitive::spaces_before_close(rest, cx);
        if rest.first() != Some(&b')') {
            (rest, ()) = sp(rest, cx)?;
        }
    }
    let fields = LazyList::wire(taken(inner, rest), cx.attempt());
    let (rest, ()) = byte(rest, b')', "a closing parenthesis")?;
    Ok((spaces(rest, cx), fields))
}

/// Returns whether a section, which may have been parsed tolerantly, follows the grammar strictly.
pub(crate) fn is_strict(section: &Section<'_>) -> bool {
    let spec = section.spec();
    spec.is_empty()
        || (!spec.ends_with(b".")
            && section_spec(spec, section.item(), &Context::strict()).is_ok_and(|(rest, _)| rest.is_empty()))
}

/// Returns the text that a section selects. The section was already parsed.
pub(crate) fn section_text(spec: &[u8]) -> SectionText<'_> {
    let rest = behind_numbers(spec);
    if rest.is_empty() || rest.eq_ignore_ascii_case(b"NIL") {
        return SectionText::Full;
    }
    match section_words(rest, &Context::tolerant()) {
        Ok((b"", text)) => text,
        _ => SectionText::Other(IString::new(rest)),
    }
}

/// Splits at the closing bracket. Brackets in quoted strings are ignored.
fn to_closing_bracket(i: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut quoted = false;
    let end = i.iter().position(|byte| {
        quoted ^= *byte == b'"';
        *byte == b'\n' || (*byte == b']' && !quoted)
    })?;
    let (spec, rest) = i.split_at_checked(end)?;
    Some((spec, rest.strip_prefix(b"]")?))
}

/// `section = "[" [section-spec] "]"` in a command. Commands allow fewer sections than the parser accepts in
/// responses.
pub(crate) fn requested_section<'i>(i: &'i [u8], item: SectionItem, cx: &Context) -> Parsed<'i, Section<'i>> {
    let (rest, section) = section(i, item, cx)?;
    if !is_requestable(section.spec()) {
        return expected(i.get(1..).unwrap_or_default(), "a section");
    }
    Ok((rest, section))
}

/// Returns whether the section can be requested: its numbers are part numbers, and a valid text follows where one is
/// needed.
pub(crate) fn is_requestable(spec: &[u8]) -> bool {
    let (mut rest, mut numbered) = (spec, false);
    let cx = &Context::strict();
    while matches!(rest.first(), Some(b'0'..=b'9')) {
        match nz_number(rest, cx) {
            Ok((b"", _)) => return true,
            Ok(([b'.', behind @ ..], _)) if !behind.is_empty() => rest = behind,
            _ => return false,
        }
        numbered = true;
    }
    // `MIME` is the header of a part, not of the message. Some servers answer `NIL` as a section, which cannot be
    // requested.
    !rest.eq_ignore_ascii_case(b"NIL") && (numbered || !rest.eq_ignore_ascii_case(b"MIME"))
}

/// Parses the text between the brackets, if it is a section as a whole and on one line.
pub(crate) fn requestable_section(spec: &[u8], item: SectionItem) -> Option<Section<'_>> {
    if memchr::memchr3(0, b'\r', b'\n', spec).is_some() {
        return None;
    }
    let bracketed = [b"[", spec, b"]"].concat();
    match requested_section(&bracketed, item, &Context::strict()) {
        Ok((b"", section)) if section.spec().len() == spec.len() => Some(Section::wire(item, spec)),
        _ => None,
    }
}

/// Writes the item's name with its section and origin, and a space.
pub(crate) fn section_name(section: &Section<'_>, origin: Option<u64>, out: &mut (impl Sink + ?Sized)) {
    let name: &[u8] = match section.item() {
        SectionItem::Body => b"BODY[",
        SectionItem::Binary => b"BINARY[",
        SectionItem::Rfc822 => b"RFC822 ",
        SectionItem::Rfc822Header => b"RFC822.HEADER ",
        SectionItem::Rfc822Text => b"RFC822.TEXT ",
    };
    out.put(name);
    if !matches!(section.item(), SectionItem::Body | SectionItem::Binary) {
        return;
    }
    spec(section, out);
    out.put(b"]");
    if let Some(origin) = origin {
        out.put(b"<");
        number(origin, out);
        out.put(b">");
    }
    out.put(b" ");
}

/// Writes the text between the brackets. Writes nothing if the section does not follow the grammar.
pub(crate) fn spec(section: &Section<'_>, out: &mut (impl Sink + ?Sized)) {
    if is_strict(section) {
        out.put(section.spec());
    }
}

impl<S: CommandSink> Writer<'_, S> {
    /// `section = "[" [section-spec] "]"`, rebuilt from its parts.
    pub(crate) fn section(&mut self, section: Section<'_>) -> Written {
        if !is_requestable(section.spec()) {
            return fault("section", ArgumentFault::Contradiction);
        }
        self.put(b"[");
        let mut numbered = false;
        for number in section.part() {
            if numbered {
                self.put(b".");
            }
            self.number(u64::from(number));
            numbered = true;
        }
        let text = section.text();
        if numbered && text != SectionText::Full {
            self.put(b".");
        }
        match text {
            SectionText::Full => {}
            _ if section.item() == SectionItem::Binary => {
                return fault("section", ArgumentFault::Contradiction);
            }
            SectionText::Header => self.put(b"HEADER"),
            SectionText::Text => self.put(b"TEXT"),
            SectionText::Mime => self.put(b"MIME"),
            SectionText::HeaderFields(fields) => {
                self.put(b"HEADER.FIELDS ");
                self.one_or_more("list of header fields", fields, Self::header_name)?;
            }
            SectionText::HeaderFieldsNot(fields) => {
                self.put(b"HEADER.FIELDS.NOT ");
                self.one_or_more("list of header fields", fields, Self::header_name)?;
            }
            SectionText::Other(_) => return fault("section", ArgumentFault::Contradiction),
        }
        self.put(b"]");
        Ok(())
    }
}

plain!(SectionItem);

owned_struct!(Section { item, spec });

owned_enum!(SectionText { Full, Header, HeaderFields(a), HeaderFieldsNot(a), Text, Mime, Other(a) });

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn read(input: &[u8], cx: &Context) -> Option<alloc::string::String> {
        let (rest, section) = section(input, SectionItem::Body, cx).ok()?;
        assert!(rest.is_empty());
        Some(format!("{:?} {:?}", section.part().collect::<alloc::vec::Vec<_>>(), section.text()))
    }

    #[test]
    fn sections() {
        let cases: &[(&[u8], Option<&str>, &str)] = &[
            (b"[]", Some("[] Full"), "[] Full"),
            (b"[1.2]", Some("[1, 2] Full"), "[1, 2] Full"),
            (b"[1.2.mime]", Some("[1, 2] Mime"), "[1, 2] Mime"),
            (b"[HEADER]", Some("[] Header"), "[] Header"),
            (
                b"[3.HEADER.FIELDS (a \"b\")]",
                Some("[3] HeaderFields([\"a\", \"b\"])"),
                "[3] HeaderFields([\"a\", \"b\"])",
            ),
            (b"[HEADER.FIELDS.NOT (x)]", Some("[] HeaderFieldsNot([\"x\"])"), "[] HeaderFieldsNot([\"x\"])"),
            (b"[HEADER.FIELDS ( a b ) ]", None, "[] HeaderFields([\"a\", \"b\"])"),
            (b"[NIL]", None, "[] Full"),
            (b"[0]", None, "[0] Other(\"0\")"),
        ];
        for (input, strict, tolerant) in cases {
            assert_eq!(read(input, &Context::strict()).as_deref(), *strict);
            assert_eq!(read(input, &Context::tolerant()).as_deref(), Some(*tolerant));
        }
    }

    #[test]
    fn rejects_what_is_not_a_section() {
        for good in
            ["", "1", "1.2.3", "HEADER", "1.header", "TEXT", "3.TEXT", "1.MIME", "HEADER.FIELDS (a \"b c\")"]
        {
            assert!(Section::body(good).is_ok(), "{good}");
        }
        for bad in [
            "0",
            "1.",
            ".1",
            "1..2",
            "1.0",
            "01",
            "MIME",
            "1HEADER",
            "HEADER.FIELDS",
            "HEADER.FIELDS ()",
            "TEXT]",
            "] (",
            "1 2",
            "HEADER.FIELDS ({1}\r\na)",
            "HEADER.FIELDS (a)\r\n",
            "4294967296",
            "FOO",
            "1.2.",
            "HEADER.FIELDS (a) b",
            " 1",
            "1 ",
        ] {
            assert_eq!(Section::body(bad), Err(InvalidSection), "{bad}");
        }
        assert!(Section::binary("1.2").is_ok());
        assert!(Section::binary("1.TEXT").is_err());
    }
}
