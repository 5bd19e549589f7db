//! Body structures (RFC 9051 §9 `body`).
//!
//! The first field decides the kind of body: a parenthesis starts a multipart, a string starts a single part. The
//! tolerant parser looks further ahead, since servers leave out media types and children; see [`body`] for the
//! deviations that it accepts. [`extension`](super::extension) parses extension data. Nesting is limited by
//! [`MAX_DEPTH`].

use crate::body_structure::extension::{body_ext_1part, body_ext_mpart, body_fld_param};
use crate::body_structure::{BodyPart, BodyStructure, Multipart, PartContent};
use crate::envelope::parse::envelope;
use crate::grammar::lazy_list::{Element, LazyList, LazyValue};
use crate::grammar::number::number64;
use crate::grammar::primitive::{close, nil, open, sp, spaces, spaces_before_close, taken};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::{nstring, string};
use crate::grammar::value::skip_list;
use crate::grammar::{Context, Expected, MAX_DEPTH, Parsed, expected};

/// `body = "(" (body-type-1part / body-type-mpart) ")"`
///
/// *Tolerant*: spaces between parts; a multipart without children (nothing or `NIL` in their place); a single part
/// without media type, without subtype, or with `NIL` for either (read as `application/octet-stream` or
/// `text/plain`); a text without a line count; a `message/rfc822` without its envelope; `()` and `NIL`.
pub(crate) fn body<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, BodyStructure<'i>> {
    let mut structure = NOTHING;
    let (rest, ()) = nested_body(i, cx, MAX_DEPTH, &mut structure)?;
    Ok((rest, structure))
}

/// Parses a body into `out`. The value is not returned because it is large and most callers drop it.
fn nested_body<'i>(i: &'i [u8], cx: &Context, depth: u8, out: &mut BodyStructure<'i>) -> Parsed<'i, ()> {
    let Some(depth) = depth.checked_sub(1) else { return expected(i, "fewer nested body parts") };
    let Ok((inner, ())) = open(i, cx) else {
        return match nil(i) {
            Ok((rest, ())) if cx.repair(Repair::BodyShape) => {
                *out = NOTHING;
                Ok((rest, ()))
            }
            _ => expected(i, "a body structure"),
        };
    };
    match inner.first() {
        Some(b'(') => body_type_mpart(inner, cx, depth, out),
        Some(b')') if cx.repair(Repair::BodyShape) => {
            *out = NOTHING;
            Ok((inner.get(1..).unwrap_or_default(), ()))
        }
        _ if cx.is_tolerant() => single_or_childless(inner, cx, depth, out),
        _ => body_type_1part(inner, cx, depth, out),
    }
}

/// A body structure without contents.
pub(crate) const NOTHING: BodyStructure<'static> = BodyStructure::Multipart(Multipart {
    parts: LazyList::EMPTY,
    subtype: IString::EMPTY,
    parameters: LazyList::EMPTY,
    extension: crate::types::BodyExtension {
        disposition: None,
        language: LazyList::EMPTY,
        location: None,
        further: IString::EMPTY,
    },
});

/// `body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]`, and the closing parenthesis
fn body_type_mpart<'i>(i: &'i [u8], cx: &Context, depth: u8, out: &mut BodyStructure<'i>) -> Parsed<'i, ()> {
    let mut rest = i;
    let mut count = 0_usize;
    loop {
        let behind = spaces_before_part(rest, cx);
        if behind.first() == Some(&b'(') {
            rest = part(behind, cx, depth, out)?;
            count += 1;
        } else if let Some(behind) = missing_part(behind, cx) {
            rest = behind;
            count += 1;
        } else {
            break;
        }
    }
    let parts = LazyList::wire(taken(i, rest), cx.attempt());
    if cx.is_tolerant() && spaces_before_close(rest, cx).first() == Some(&b')') {
        cx.repairs.note(Repair::BodyShape);
        // One part and nothing else means doubled parentheses: `out` already is that part.
        if let (true, BodyStructure::Multipart(nothing)) = (count != 1, NOTHING) {
            *out = BodyStructure::Multipart(Multipart { parts, ..nothing });
        }
        return close(rest, cx);
    }
    let (rest, ()) = sp(rest, cx)?;
    multipart_tail(rest, parts, cx, out)
}

/// Returns the input after a part of a multipart. The part goes to `scratch`, unless it can be skipped.
fn part<'i>(
    i: &'i [u8],
    cx: &Context,
    depth: u8,
    scratch: &mut BodyStructure<'i>,
) -> Result<&'i [u8], nom::Err<Expected<'i>>> {
    if cx.is_flawless()
        && let Some(rest) = skip_list(i, cx)
    {
        return Ok(rest);
    }
    nested_body(i, cx, depth, scratch).map(|(rest, ())| rest)
}

/// `media-subtype [SP body-ext-mpart]`, and the closing parenthesis
fn multipart_tail<'i>(
    i: &'i [u8],
    parts: LazyList<'i, BodyStructure<'i>>,
    cx: &Context,
    out: &mut BodyStructure<'i>,
) -> Parsed<'i, ()> {
    let (rest, subtype) = string(i, cx)?;
    let (rest, (parameters, extension)) = body_ext_mpart(rest, cx)?;
    *out = BodyStructure::Multipart(Multipart { parts, subtype, parameters, extension });
    close(rest, cx)
}

/// Skips spaces if another part follows them.
#[inline]
fn spaces_before_part<'i>(i: &'i [u8], cx: &Context) -> &'i [u8] {
    if i.first() == Some(&b' ') && i.trim_ascii_start().first() == Some(&b'(') { spaces(i, cx) } else { i }
}

/// Skips `NIL` in the place of a part. Another part or the subtype must follow.
fn missing_part<'i>(i: &'i [u8], cx: &Context) -> Option<&'i [u8]> {
    if i.first() != Some(&b' ') || !cx.is_tolerant() {
        return None;
    }
    let (rest, ()) = nil(i.trim_ascii_start()).ok()?;
    matches!(rest.trim_ascii_start().first(), Some(b'"' | b'{')).then(|| {
        cx.repairs.note(Repair::BodyShape);
        rest
    })
}

/// `body-type-1part = (body-type-basic / body-type-msg / body-type-text) [SP body-ext-1part]`, and the closing
/// parenthesis
fn body_type_1part<'i>(i: &'i [u8], cx: &Context, depth: u8, out: &mut BodyStructure<'i>) -> Parsed<'i, ()> {
    let (rest, media_type) = string(i, cx)?;
    subtype_and_fields(rest, media_type, cx, depth, out)
}

/// `SP media-subtype SP body-fields` and what follows them
fn subtype_and_fields<'i>(
    i: &'i [u8],
    media_type: IString<'i>,
    cx: &Context,
    depth: u8,
    out: &mut BodyStructure<'i>,
) -> Parsed<'i, ()> {
    let (rest, ()) = sp(i, cx)?;
    let (rest, subtype) = string(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    one_part(rest, media_type, subtype, cx, depth, out)
}

/// `body-fields = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-bytes`, what follows
/// it for texts and messages, the extension data, and the closing parenthesis
fn one_part<'i>(
    i: &'i [u8],
    media_type: IString<'i>,
    subtype: IString<'i>,
    cx: &Context,
    depth: u8,
    out: &mut BodyStructure<'i>,
) -> Parsed<'i, ()> {
    let (rest, parameters) = body_fld_param(i, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, id) = nstring(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, description) = nstring(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, encoding) = string(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, size) = number64(rest, cx)?;
    let (media_type, subtype) = media(media_type, subtype, cx);
    let (rest, content) = if media_type.eq_ignore_ascii_case(b"text") {
        text_lines(rest, cx)?
    } else if media_type.eq_ignore_ascii_case(b"message")
        && (subtype.eq_ignore_ascii_case(b"rfc822") || subtype.eq_ignore_ascii_case(b"global"))
    {
        body_type_msg(rest, cx, depth, out)?
    } else {
        (rest, PartContent::Basic)
    };
    let (rest, (md5, extension)) = body_ext_1part(rest, cx)?;
    *out = BodyStructure::Part(BodyPart {
        media_type,
        subtype,
        parameters,
        id,
        description,
        encoding,
        size,
        content,
        md5,
        extension,
    });
    close(rest, cx)
}

/// Returns the media type and subtype. If the type is empty, RFC 2045 §5.2 defines the default.
fn media<'i>(media_type: IString<'i>, subtype: IString<'i>, cx: &Context) -> (IString<'i>, IString<'i>) {
    if !cx.is_tolerant() || !(media_type.is_empty() || subtype.is_empty()) {
        return (media_type, subtype);
    }
    cx.repairs.note(Repair::BodyShape);
    let media_type = if media_type.is_empty() { IString::new(b"application") } else { media_type };
    if !subtype.is_empty() {
        (media_type, subtype)
    } else if media_type.eq_ignore_ascii_case(b"text") {
        (media_type, IString::new(b"plain"))
    } else if KNOWN_TYPES.iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        (media_type, IString::new(b"octet-stream"))
    } else {
        // The only token is the subtype.
        (IString::new(b"application"), media_type)
    }
}

const KNOWN_TYPES: [&[u8]; 8] =
    [b"application", b"audio", b"image", b"message", b"model", b"video", b"font", b"multipart"];

/// `SP body-fld-lines`
fn text_lines<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, PartContent<'i>> {
    if cx.is_tolerant() && matches!(i.trim_ascii_start().first(), Some(b')' | b'(' | b'"' | b'{')) {
        cx.repairs.note(Repair::BodyShape);
        return Ok((i, PartContent::Text { lines: 0 }));
    }
    let (rest, ()) = sp(i, cx)?;
    let (rest, lines) = number64(rest, cx)?;
    Ok((rest, PartContent::Text { lines }))
}

/// `SP envelope SP body SP body-fld-lines`
///
/// The body goes to `scratch` and is dropped.
fn body_type_msg<'i>(
    i: &'i [u8],
    cx: &Context,
    depth: u8,
    scratch: &mut BodyStructure<'i>,
) -> Parsed<'i, PartContent<'i>> {
    if !cx.is_tolerant() {
        return message(i, cx, depth, scratch);
    }
    if i.trim_ascii_start().first() == Some(&b'(') {
        let before = cx.repairs.clone();
        match message(i, cx, depth, scratch) {
            Ok(message) => return Ok(message),
            Err(_) => cx.repairs.restore(&before),
        }
    }
    cx.repairs.note(Repair::BodyShape);
    Ok((i, PartContent::Basic))
}

fn message<'i>(
    i: &'i [u8],
    cx: &Context,
    depth: u8,
    scratch: &mut BodyStructure<'i>,
) -> Parsed<'i, PartContent<'i>> {
    let (at_envelope, ()) = sp(i, cx)?;
    let (rest, _) = envelope(at_envelope, cx)?;
    let (at_body, ()) = sp(rest, cx)?;
    let (behind, ()) = nested_body(at_body, cx, depth, scratch)?;
    let (rest, lines) = match text_lines(behind, cx)? {
        (rest, PartContent::Text { lines }) => (rest, lines),
        (rest, _) => (rest, 0),
    };
    let content = PartContent::Message {
        envelope: LazyValue::wire(taken(at_envelope, rest), cx.attempt()),
        body: LazyValue::wire(taken(at_body, behind), cx.attempt()),
        lines,
    };
    Ok((rest, content))
}

/// Parses a single part, or a multipart without its children: the first two fields decide. *Tolerant* only.
fn single_or_childless<'i>(
    i: &'i [u8],
    cx: &Context,
    depth: u8,
    out: &mut BodyStructure<'i>,
) -> Parsed<'i, ()> {
    if let [b'"' | b'{', ..] = i {
        let (behind, media_type) = string(i, cx)?;
        if let [b' ', b'"' | b'{', ..] = behind {
            return subtype_and_fields(behind, media_type, cx, depth, out);
        }
    }
    odd_single_or_childless(i, cx, depth, out)
}

#[cold]
fn odd_single_or_childless<'i>(
    i: &'i [u8],
    cx: &Context,
    depth: u8,
    out: &mut BodyStructure<'i>,
) -> Parsed<'i, ()> {
    let first_is_nil = nil(i).is_ok();
    let before = cx.repairs.clone();
    let (behind, first) = nstring(i, cx)?;
    cx.repairs.restore(&before);
    let second = behind.trim_ascii_start();
    let plain = if first_is_nil {
        nil(second).is_ok()
    } else {
        second.first() != Some(&b'(') && nil(second).is_err()
    };
    let full = body_type_1part(i, cx, depth, out);
    if plain || full.is_ok() {
        return full;
    }
    cx.repairs.restore(&before);
    if let (false, Ok((rest, ()))) = (first_is_nil, sp(behind, cx)) {
        // The subtype is missing.
        let short = one_part(rest, first.unwrap_or(IString::EMPTY), IString::EMPTY, cx, depth, out);
        if short.is_ok() {
            return short;
        }
        cx.repairs.restore(&before);
    }
    let rest = if first_is_nil { second } else { i };
    cx.repairs.note(Repair::BodyShape);
    multipart_tail(rest, LazyList::EMPTY, cx, out).or(full)
}

impl<'i> Element<'i> for BodyStructure<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        let mut rest = i;
        while let Some(behind) = missing_part(rest, cx).or_else(|| nil(rest).ok().map(|(behind, ())| behind))
        {
            rest = behind.trim_ascii_start();
        }
        body(rest, cx).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use crate::fetch::FetchItem;
    use crate::fetch::parse::{ItemPosition, ParsedItem, next_item};
    use crate::grammar::Attempt;
    use alloc::string::String;

    /// Parses an item and returns its view as text, and the same bytes viewed without skipping any part.
    fn views(item: &str, reading: &Context) -> (String, String) {
        match next_item(item.as_bytes(), ItemPosition::First, reading) {
            Ok((_, ParsedItem::Item(FetchItem::Envelope(envelope)))) => {
                let again = LazyValue::<Envelope<'_>>::wire(value_of(item), Attempt::First);
                (alloc::format!("{envelope:?}"), alloc::format!("{again:?}"))
            }
            Ok((_, ParsedItem::Item(FetchItem::BodyStructure(structure)))) => {
                let again = LazyValue::<BodyStructure<'_>>::wire(value_of(item), Attempt::First);
                (alloc::format!("{structure:?}"), alloc::format!("{again:?}"))
            }
            other => panic!("{item}: {other:?}"),
        }
    }

    fn value_of(item: &str) -> &[u8] {
        item.split_once(' ').map_or(&b""[..], |(_, value)| value.as_bytes())
    }

    #[test]
    fn a_view_that_skips_parts_equals_one_that_does_not() {
        let text =
            r#"("text" "plain" ("a" "b)") NIL NIL "7bit" 1 1 NIL ("inline" ("x" "\")")) ("en" "de") NIL)"#;
        let literal = "{3}\r\n))(";
        let envelope = alloc::format!(
            r#"("d)" "\")" (("a\"))" NIL "b" "c")) NIL ((NIL NIL {literal} "h")) NIL NIL NIL NIL "<i>")"#
        );
        let message = alloc::format!(
            r#"("message" "rfc822" NIL NIL NIL "7bit" 9 {envelope} ({text}{text} "mixed") 4)"#
        );
        let nested = alloc::format!(r#"(({message}{text} "mixed" NIL NIL NIL "l" ("e" 5)){text} "mixed")"#);
        let deep = alloc::format!("{}{text}{}", "(".repeat(31), " \"mixed\")".repeat(31));
        for structure in [text, &message, &nested, &deep] {
            for reading in [Context::strict(), Context::tolerant()] {
                let (view, again) = views(&alloc::format!("BODYSTRUCTURE {structure}"), &reading);
                assert_eq!(reading.repairs.total(), 0, "{structure}");
                assert_eq!(view, again);
            }
        }
        let (view, again) = views(&alloc::format!("ENVELOPE {envelope}"), &Context::tolerant());
        assert_eq!(view, again);
        assert!(view.contains(r#""<i>""#), "{view}");
    }

    #[test]
    fn a_view_of_a_repaired_value_skips_no_part() {
        for item in [
            r#"BODYSTRUCTURE (("text" "plain" NIL NIL "a"b)" "7bit" 1 1) "mixed")"#,
            r#"BODYSTRUCTURE (("text" "plain" NIL NIL NIL "7bit" 1 1) NIL "mixed")"#,
            r#"ENVELOPE (NIL "a" (NIL (NIL NIL "x" "y")) NIL NIL NIL NIL NIL NIL "<i>")"#,
        ] {
            let reading = Context::tolerant();
            let (view, again) = views(item, &reading);
            assert!(reading.repairs.total() > 0, "{item}");
            assert_eq!(view, again);
        }
    }
}
