//! The defects of ENVELOPE and BODYSTRUCTURE.

use super::profile::{Defect, Profile};
use super::value::{Element, Value};

/// The positions of the address lists in an envelope: From, Sender, Reply-To, To, Cc, Bcc.
const ADDRESS_LISTS: std::ops::Range<usize> = 2..8;
const BCC: usize = 7;
const ENVELOPE_FIELDS: usize = 10;

/// The positions of a part's fields.
const PARAMETERS: usize = 2;
const ENCODING: usize = 5;
const AFTER_SIZE: usize = 7;

/// Changes an envelope.
pub(super) fn envelope(value: &mut Value, profile: &Profile) {
    let Some(fields) = value.elements_mut() else { return };
    if profile.has(Defect::UnescapedQuotesInMessageId)
        && let Some(Element { value: Value::Word(id), .. }) = fields.last_mut()
        && id.starts_with(b"\"")
    {
        unescape_quotes(id);
    }
    for field in fields.iter_mut().take(ADDRESS_LISTS.end).skip(ADDRESS_LISTS.start) {
        address_list(&mut field.value, profile);
    }
    let lacks_bcc = fields.get(BCC).is_some_and(|bcc| bcc.value.is_nil());
    if profile.has(Defect::OmittedBcc) && fields.len() == ENVELOPE_FIELDS && lacks_bcc {
        fields.remove(BCC);
    }
}

fn address_list(value: &mut Value, profile: &Profile) {
    if value.is_nil() && profile.has(Defect::EmptyAddressList) {
        *value = Value::List(Vec::new());
        return;
    }
    let Some(addresses) = value.elements_mut() else { return };
    for address in addresses.iter_mut() {
        if profile.has(Defect::SpaceAfterHost)
            && let Some(parts) = address.value.elements_mut()
        {
            parts.push(Element::spaced(Value::word(b"")));
        }
    }
    if profile.has(Defect::SpaceBetweenAddresses) {
        addresses.iter_mut().skip(1).for_each(|address| address.spaced = true);
    }
    if profile.has(Defect::NilInAddressList) {
        addresses.iter_mut().take(1).for_each(|address| address.spaced = true);
        addresses.insert(0, Element { spaced: false, value: Value::word(b"NIL") });
    }
}

fn unescape_quotes(text: &mut Vec<u8>) {
    let mut plain = Vec::with_capacity(text.len());
    for &byte in text.iter() {
        if byte == b'"' && plain.last() == Some(&b'\\') {
            plain.pop();
        }
        plain.push(byte);
    }
    *text = plain;
}

/// Changes a BODY or BODYSTRUCTURE. Its depth is bounded, because [`Value::read`] limits it.
pub(super) fn structure(value: &mut Value, profile: &Profile) {
    let Some(fields) = value.elements_mut() else { return };
    let children = fields.iter().take_while(|field| field.value.elements().is_some()).count();
    if children > 0 {
        multipart(fields, children, profile);
    } else {
        part(fields, profile);
    }
}

fn multipart(fields: &mut Vec<Element>, children: usize, profile: &Profile) {
    for (index, child) in fields.iter_mut().take(children).enumerate() {
        structure(&mut child.value, profile);
        child.spaced |= index > 0 && profile.has(Defect::SpaceBetweenParts);
    }
    if let Some(subtype) = fields.get_mut(children) {
        media_name(&mut subtype.value, profile);
    }
    if let Some(parameters) = fields.get_mut(children + 1) {
        parameters_of(&mut parameters.value, profile);
    }
    if let Some(disposition) = fields.get_mut(children + 2) {
        disposition_of(&mut disposition.value, profile);
    }
    if profile.has(Defect::SpaceAfterMultipart) {
        fields.push(Element::spaced(Value::word(b"")));
    }
}

fn part(fields: &mut [Element], profile: &Profile) {
    let is_text = fields.first().is_some_and(|field| field.value.is_word(b"\"text\""));
    let is_message = fields.get(AFTER_SIZE).is_some_and(|field| field.value.elements().is_some());
    for index in [0, 1, ENCODING] {
        if let Some(field) = fields.get_mut(index) {
            media_name(&mut field.value, profile);
        }
    }
    if let Some(field) = fields.get_mut(PARAMETERS) {
        parameters_of(&mut field.value, profile);
    }
    if is_message {
        if let Some(field) = fields.get_mut(AFTER_SIZE) {
            envelope(&mut field.value, profile);
        }
        if let Some(field) = fields.get_mut(AFTER_SIZE + 1) {
            structure(&mut field.value, profile);
        }
    }
    // MD5 precedes the disposition; lines, or an envelope, a body and lines precede MD5.
    let disposition = AFTER_SIZE + 1 + if is_message { 3 } else { usize::from(is_text) };
    if let Some(field) = fields.get_mut(disposition) {
        disposition_of(&mut field.value, profile);
    }
}

fn media_name(value: &mut Value, profile: &Profile) {
    if let Value::Word(name) = value
        && name.starts_with(b"\"")
        && profile.has(Defect::UpperCaseMediaTypes)
    {
        name.make_ascii_uppercase();
    }
}

fn parameters_of(value: &mut Value, profile: &Profile) {
    if value.is_nil() && profile.has(Defect::EmptyParameters) {
        *value = Value::List(Vec::new());
        return;
    }
    let Some(parameters) = value.elements_mut() else { return };
    for pair in parameters.chunks_mut(2) {
        let [name, Element { value: Value::Word(value), .. }] = pair else { continue };
        if name.value.is_word(b"\"boundary\"") && profile.has(Defect::NilBoundary) {
            *value = b"NIL".to_vec();
        }
        if name.value.is_word(b"\"charset\"")
            && profile.has(Defect::UnescapedQuotesInCharset)
            && let Some(charset) = value.strip_prefix(b"\"")
        {
            *value = [b"\"3D\"", charset, b"\""].concat();
        }
    }
}

fn disposition_of(value: &mut Value, profile: &Profile) {
    if profile.has(Defect::BareDisposition)
        && let Some([kind, parameters]) = value.elements()
        && parameters.value.is_nil()
    {
        *value = kind.value.clone();
    }
}
