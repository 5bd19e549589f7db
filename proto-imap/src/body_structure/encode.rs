//! Writes `BODY` and `BODYSTRUCTURE`.

use crate::body_structure::{
    BodyExtension, BodyPart, BodyStructure, Disposition, Multipart, Parameters, PartContent,
};
use crate::envelope::encode::envelope;
use crate::grammar::MAX_DEPTH;
use crate::grammar::sink::{Sink, number, parenthesised, separated};
use crate::grammar::string::IString;
use crate::grammar::string::encode::{nstring, string};
use crate::grammar::value::are_values;

/// The form that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// `BODY`: without extension data.
    Body,
    /// `BODYSTRUCTURE`: with extension data.
    BodyStructure,
}

/// `body`
pub(crate) fn body(structure: &BodyStructure<'_>, detail: Detail, out: &mut (impl Sink + ?Sized)) {
    nested(structure, detail, MAX_DEPTH, out);
}

/// Written in place of a missing part.
const EMPTY_TEXT: &[u8] = b"(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0)";

fn nested(structure: &BodyStructure<'_>, detail: Detail, depth: u8, out: &mut (impl Sink + ?Sized)) {
    let Some(depth) = depth.checked_sub(1) else {
        out.put(EMPTY_TEXT);
        return;
    };
    out.put(b"(");
    match structure {
        BodyStructure::Multipart(multipart) => body_type_mpart(multipart, detail, depth, out),
        BodyStructure::Part(part) => body_type_1part(part, detail, depth, out),
    }
    out.put(b")");
}

fn body_type_mpart(multipart: &Multipart<'_>, detail: Detail, depth: u8, out: &mut (impl Sink + ?Sized)) {
    let mut parts = multipart.parts.iter().peekable();
    if parts.peek().is_none() {
        out.put(EMPTY_TEXT);
    }
    for part in parts {
        nested(&part, detail, depth, out);
    }
    out.put(b" ");
    string(if multipart.subtype.is_empty() { IString::new(b"mixed") } else { multipart.subtype }, out);
    if detail == Detail::BodyStructure {
        out.put(b" ");
        body_fld_param(multipart.parameters, out);
        extension(&multipart.extension, out);
    }
}

fn body_type_1part(part: &BodyPart<'_>, detail: Detail, depth: u8, out: &mut (impl Sink + ?Sized)) {
    let is = |media_type: &[u8]| part.media_type.eq_ignore_ascii_case(media_type);
    let is_message = is(b"message")
        && (part.subtype.eq_ignore_ascii_case(b"rfc822") || part.subtype.eq_ignore_ascii_case(b"global"));
    let message = match part.content {
        PartContent::Message { envelope, body, lines } if is_message => {
            envelope.view().zip(body.view()).map(|(envelope, body)| (envelope, body, lines))
        }
        _ => None,
    };
    if is_message && message.is_none() || part.media_type.is_empty() {
        out.put(b"\"application\" \"octet-stream\"");
    } else {
        separated([part.media_type, part.subtype], out, |name, out| string(name, out));
    }
    out.put(b" ");
    body_fld_param(part.parameters, out);
    out.put(b" ");
    separated([part.id, part.description], out, |field, out| nstring(field, out));
    out.put(b" ");
    string(if part.encoding.is_empty() { IString::new(b"7bit") } else { part.encoding }, out);
    out.put(b" ");
    number(part.size, out);
    if let Some((inner_envelope, inner_body, lines)) = message {
        out.put(b" ");
        envelope(&inner_envelope, out);
        out.put(b" ");
        nested(&inner_body, detail, depth, out);
        out.put(b" ");
        number(lines, out);
    } else if is(b"text") {
        out.put(b" ");
        number(if let PartContent::Text { lines } = part.content { lines } else { 0 }, out);
    }
    if detail == Detail::BodyStructure {
        out.put(b" ");
        nstring(part.md5, out);
        extension(&part.extension, out);
    }
}

/// `body-fld-param`
fn body_fld_param(parameters: Parameters<'_>, out: &mut (impl Sink + ?Sized)) {
    if parameters.is_empty() {
        out.put(b"NIL");
        return;
    }
    parenthesised(parameters, out, |parameter, out| {
        separated([parameter.name, parameter.value], out, |text, out| string(text, out));
    });
}

/// `SP body-fld-dsp SP body-fld-lang SP body-fld-loc *(SP body-extension)`
fn extension(extension: &BodyExtension<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b" ");
    body_fld_dsp(extension.disposition, out);
    out.put(b" ");
    if extension.language.is_empty() {
        out.put(b"NIL");
    } else {
        parenthesised(extension.language, out, |language, out| string(language, out));
    }
    out.put(b" ");
    nstring(extension.location, out);
    if !extension.further.is_empty() && are_values(extension.further.raw()) {
        out.put(b" ");
        out.put(extension.further.raw());
    }
}

/// `body-fld-dsp`
fn body_fld_dsp(disposition: Option<Disposition<'_>>, out: &mut (impl Sink + ?Sized)) {
    let Some(disposition) = disposition else {
        out.put(b"NIL");
        return;
    };
    out.put(b"(");
    string(disposition.kind, out);
    out.put(b" ");
    body_fld_param(disposition.parameters, out);
    out.put(b")");
}
