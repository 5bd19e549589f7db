//! Sections: which piece of a message (RFC 9051 §9 `section`, RFC 3516 `section-binary`).

use super::primitive::{astring, octet, open, sp, spaces};
use super::value::taken;
use super::{Context, Parsed, expected};
use crate::types::{IString, LazyList, Repair, Section, SectionItem, SectionText};

/// `section = "[" [section-spec] "]"`
///
/// *Tolerant*: anything up to the closing bracket, quoted strings and parentheses being kept together.
pub fn section<'i>(i: &'i [u8], item: SectionItem, cx: &Context) -> Parsed<'i, Section<'i>> {
    let (inner, ()) = octet(i, b'[', "a section")?;
    let strict = section_spec(inner, item, cx).and_then(|(rest, spec)| {
        let (rest, ()) = octet(rest, b']', "a closing bracket")?;
        Ok((rest, Section::wire(item, spec)))
    });
    if strict.is_ok() || !cx.is_tolerant() {
        return strict;
    }
    let Some((spec, rest)) = to_closing_bracket(inner) else { return strict };
    cx.repairs.note(Repair::SkippedItem);
    Ok((rest, Section::wire(item, spec)))
}

/// `["<" number ">"]`: where the contents begin in the section.
pub fn section_origin<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<u64>> {
    let Some((b'<', behind)) = i.split_first() else { return Ok((i, None)) };
    let (rest, origin) = super::primitive::number64(behind, cx)?;
    let (rest, ()) = octet(rest, b'>', "a closing angle bracket")?;
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
        let digits = rest.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(rest.len());
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
    let end =
        i.iter().position(|octet| !matches!(octet, b'.' | b'a'..=b'z' | b'A'..=b'Z')).unwrap_or(i.len());
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
        rest = super::envelope::spaces_before_close(rest, cx);
        if rest.first() != Some(&b')') {
            (rest, ()) = sp(rest, cx)?;
        }
    }
    let fields = LazyList::wire(taken(inner, rest), cx.attempt());
    let (rest, ()) = octet(rest, b')', "a closing parenthesis")?;
    Ok((spaces(rest, cx), fields))
}

/// Whether a section that was read, perhaps tolerantly, follows the grammar strictly.
pub(crate) fn is_strict(section: &Section<'_>) -> bool {
    let spec = section.spec();
    spec.is_empty()
        || (!spec.ends_with(b".")
            && section_spec(spec, section.item(), &Context::strict()).is_ok_and(|(rest, _)| rest.is_empty()))
}

/// What the text of a section means that was read before.
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

/// Splits at the closing bracket; brackets in quoted strings don't count.
fn to_closing_bracket(i: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut quoted = false;
    let end = i.iter().position(|octet| {
        quoted ^= *octet == b'"';
        *octet == b'\n' || (*octet == b']' && !quoted)
    })?;
    let (spec, rest) = i.split_at_checked(end)?;
    Some((spec, rest.strip_prefix(b"]")?))
}

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
}
