//! Parses the extension data of a body structure: parameters, disposition, language, location (RFC 9051 §9
//! `body-ext-1part`, `body-ext-mpart`).

use crate::body_structure::{BodyExtension, Disposition, Parameter, Parameters};
use crate::grammar::lazy_list::{Element, LazyList, more, pairs};
use crate::grammar::primitive::{close, nil, open, sp, spaces, spaces_before_close, taken};
use crate::grammar::repair::Repair;
use crate::grammar::string::parse::{nstring, plain_quoted, string};
use crate::grammar::string::{Escapes, IString};
use crate::grammar::value::{value, values};
use crate::grammar::{Context, Expected, Parsed, expected};

/// `body-fld-param = "(" string SP string *(SP string SP string) ")" / nil`
///
/// *Tolerant*: `()`; `NIL` for a value; a missing last value; a pair in its own parentheses; other lists among the
/// parameters are skipped.
pub(crate) fn body_fld_param<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Parameters<'i>> {
    if i.starts_with(b"()") && !cx.repair(Repair::NilForValue) {
        return expected(i, "a parameter");
    }
    pairs(i, cx, parameter)
}

/// `string SP string`
fn parameter<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<Parameter<'i>>> {
    match plain_parameter(i) {
        Some((rest, parameter)) => Ok((rest, Some(parameter))),
        None => odd_parameter(i, cx),
    }
}

/// Parses two plain quoted strings with one space between them; `None` for any other form.
#[inline]
fn plain_parameter(i: &[u8]) -> Option<(&[u8], Parameter<'_>)> {
    let (rest, name) = plain_quoted(i)?;
    let (rest, value) = plain_quoted(rest.strip_prefix(b" ")?)?;
    let plain = |raw| IString::quoted(raw, Escapes::None);
    Some((rest, Parameter { name: plain(name), value: plain(value) }))
}

/// Parses a parameter in any form.
fn odd_parameter<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<Parameter<'i>>> {
    if i.first() == Some(&b'(') && cx.repair(Repair::BodyShape) {
        return parenthesised_parameter(i, cx);
    }
    let (rest, name) = string(i, cx)?;
    if cx.is_tolerant() && spaces_before_close(rest, cx).first() == Some(&b')') {
        cx.repairs.note(Repair::BodyShape);
        return Ok((rest, Some(Parameter { name, value: IString::EMPTY })));
    }
    let (rest, ()) = sp(rest, cx)?;
    if rest.starts_with(b"(") && !rest.starts_with(b"()") && cx.repair(Repair::BodyShape) {
        let (rest, _) = value(rest, cx)?;
        return Ok((rest, Some(Parameter { name, value: IString::EMPTY })));
    }
    let (rest, value) = string(rest, cx)?;
    Ok((rest, Some(Parameter { name, value })))
}

/// Parses a parameter in its own parentheses; any other list is skipped. *Tolerant* only.
fn parenthesised_parameter<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<Parameter<'i>>> {
    let (inner, ()) = open(i, cx)?;
    if inner.first() != Some(&b'(')
        && let Ok((rest, parameter)) = parameter(inner, cx)
        && let Ok((rest, ())) = close(rest, cx)
    {
        return Ok((rest, parameter));
    }
    value(i, cx).map(|(rest, _)| (rest, None))
}

/// `[SP body-ext-1part]`, where `body-ext-1part = body-fld-md5 [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc
/// *(SP body-extension)]]]`
pub(crate) fn body_ext_1part<'i>(
    i: &'i [u8],
    cx: &Context,
) -> Parsed<'i, (Option<IString<'i>>, BodyExtension<'i>)> {
    let Some(rest) = more(i, cx)? else { return Ok((i, (None, BodyExtension::default()))) };
    let (rest, md5) = lenient_nstring(rest, cx)?;
    let (rest, extension) = extension(rest, cx)?;
    Ok((rest, (md5, extension)))
}

/// `[SP body-ext-mpart]`, where `body-ext-mpart = body-fld-param [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc
/// *(SP body-extension)]]]`
pub(crate) fn body_ext_mpart<'i>(
    i: &'i [u8],
    cx: &Context,
) -> Parsed<'i, (Parameters<'i>, BodyExtension<'i>)> {
    let Some(at) = more(i, cx)? else { return Ok((i, (Parameters::EMPTY, BodyExtension::default()))) };
    let (rest, parameters) = match body_fld_param(at, cx) {
        Err(_) if cx.repair(Repair::BodyShape) => (value(at, cx)?.0, Parameters::EMPTY),
        parameters => parameters?,
    };
    let (rest, extension) = extension(rest, cx)?;
    Ok((rest, (parameters, extension)))
}

/// `[SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc *(SP body-extension)]]]`
fn extension<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, BodyExtension<'i>> {
    let mut extension = BodyExtension::default();
    // Most parts have none of these fields.
    if let Some(rest) = i.strip_prefix(b" NIL NIL NIL")
        && rest.first() == Some(&b')')
    {
        return Ok((rest, extension));
    }
    let Some(rest) = more(i, cx)? else { return Ok((i, extension)) };
    let (i, disposition) = body_fld_dsp(rest, cx)?;
    extension.disposition = disposition;
    let Some(rest) = more(i, cx)? else { return Ok((i, extension)) };
    let i = body_fld_lang(rest, &mut extension, cx)?.0;
    let Some(rest) = more(i, cx)? else { return Ok((i, extension)) };
    let (i, location) = lenient_nstring(rest, cx)?;
    extension.location = location;
    let (rest, further) = values(i, cx)?;
    extension.further = IString::new(further.trim_ascii());
    Ok((rest, extension))
}

/// Parses an `nstring`. *Tolerant*: a list is skipped and read as `NIL`.
fn lenient_nstring<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<IString<'i>>> {
    match nstring(i, cx) {
        Err(_) if i.first() == Some(&b'(') && cx.repair(Repair::BodyShape) => {
            value(i, cx).map(|(rest, _)| (rest, None))
        }
        string => string,
    }
}

/// `body-fld-dsp = "(" string SP body-fld-param ")" / nil`
///
/// *Tolerant*: the bare kind; a kind without parameters; `(NIL NIL)`; any other string is skipped.
fn body_fld_dsp<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<Disposition<'i>>> {
    let Ok((inner, ())) = open(i, cx) else {
        return match nil(i) {
            Ok((rest, ())) => Ok((rest, None)),
            Err(_) if cx.is_tolerant() => bare_disposition(i, cx),
            Err(_) => expected(i, "a disposition"),
        };
    };
    if !cx.is_tolerant() {
        let (rest, kind) = string(inner, cx)?;
        let (rest, ()) = sp(rest, cx)?;
        let (rest, parameters) = body_fld_param(rest, cx)?;
        let (rest, ()) = close(rest, cx)?;
        return Ok((rest, Some(Disposition { kind, parameters })));
    }
    let strict = |inner| {
        let (rest, kind) = nstring(inner, cx)?;
        let mut parameters = Parameters::EMPTY;
        let mut rest = rest;
        if let Some(behind) = more(rest, cx)? {
            (rest, parameters) = body_fld_param(behind, cx)?;
        } else {
            cx.repairs.note(Repair::BodyShape);
        }
        let (rest, ()) = close(rest, cx)?;
        Ok((rest, kind.map(|kind| Disposition { kind, parameters })))
    };
    match strict(inner) {
        Ok((rest, None)) => {
            cx.repairs.note(Repair::BodyShape);
            Ok((rest, None))
        }
        Ok(disposition) => Ok(disposition),
        Err::<_, nom::Err<Expected<'i>>>(_) => {
            cx.repairs.note(Repair::BodyShape);
            value(i, cx).map(|(rest, _)| (rest, None))
        }
    }
}

/// Returns whether the string is parsed as a disposition even where none is expected.
fn is_known_disposition(kind: IString<'_>) -> bool {
    kind.eq_ignore_ascii_case(b"inline") || kind.eq_ignore_ascii_case(b"attachment")
}

fn bare_disposition<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Option<Disposition<'i>>> {
    cx.repairs.note(Repair::BodyShape);
    let (rest, kind) = nstring(i, cx)?;
    let kind = kind.filter(|kind| is_known_disposition(*kind));
    Ok((rest, kind.map(|kind| Disposition { kind, parameters: Parameters::EMPTY })))
}

/// `body-fld-lang = nstring / "(" string *(SP string) ")"`
///
/// *Tolerant*: `()`; `NIL` among the languages; a disposition, if none was in its own place.
fn body_fld_lang<'i>(i: &'i [u8], extension: &mut BodyExtension<'i>, cx: &Context) -> Parsed<'i, ()> {
    let Ok((inner, ())) = open(i, cx) else {
        let (rest, language) = nstring(i, cx)?;
        if language.is_some() {
            extension.language = LazyList::wire(taken(i, rest), cx.attempt());
        }
        return Ok((rest, ()));
    };
    if cx.is_tolerant()
        && extension.disposition.is_none()
        && string(inner, cx).is_ok_and(|(_, first)| is_known_disposition(first))
    {
        cx.repairs.note(Repair::BodyShape);
        let (rest, disposition) = body_fld_dsp(i, cx)?;
        extension.disposition = disposition;
        return Ok((rest, ()));
    }
    if inner.first() == Some(&b')') && cx.repair(Repair::NilForValue) {
        return Ok((inner.get(1..).unwrap_or_default(), ()));
    }
    let mut rest = inner;
    loop {
        if rest.first() == Some(&b'(') && cx.repair(Repair::BodyShape) {
            return value(i, cx).map(|(rest, _)| (rest, ()));
        }
        (rest, _) = string(rest, cx)?;
        let Some(behind) = more(rest, cx)? else { break };
        rest = behind;
    }
    extension.language = LazyList::wire(taken(inner, rest), cx.attempt());
    let (rest, ()) = close(spaces(rest, cx), cx)?;
    Ok((rest, ()))
}

impl<'i> Element<'i> for Parameter<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        let mut rest = i;
        loop {
            let one;
            (rest, one) = parameter(rest.trim_ascii_start(), cx).ok()?;
            if let Some(one) = one {
                return Some((rest, one));
            }
        }
    }
}
