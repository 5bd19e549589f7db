//! Parses envelopes and addresses (RFC 9051 §9 `envelope`, `address`).
//!
//! The tolerant parser accepts fields that servers leave out, add or swap. Each function lists them.

use crate::envelope::{Address, AddressList, Envelope};
use crate::grammar::lazy_list::Element;
use crate::grammar::primitive::{byte, close, nil, open, sp, spaces, spaces_before_close, taken};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::{nstring, plain_nstring};
use crate::grammar::value::values;
use crate::grammar::{Context, MAX_DEPTH, Parsed, expected};

/// `envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP env-bcc
/// SP env-in-reply-to SP env-message-id ")"`
///
/// *Tolerant*: fields missing at the end are `None`; if only one string follows the address lists, it is the
/// message-id; further values are skipped; `NIL` is an envelope without any field; further parentheses around the
/// envelope.
pub(crate) fn envelope<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Envelope<'i>> {
    if cx.is_tolerant()
        && let Ok((rest, ())) = nil(i)
    {
        cx.repairs.note(Repair::NilForValue);
        return Ok((rest, Envelope::default()));
    }
    let mut envelope = Envelope::default();
    let (mut rest, ()) = open(i, cx)?;
    let mut extra = 0;
    // The date is a string, so a list that is not empty is the envelope itself.
    while matches!(rest, [b'(', next, ..] if *next != b')')
        && extra < MAX_DEPTH
        && cx.repair(Repair::EnvelopeShape)
    {
        (rest, ()) = open(rest, cx)?;
        extra += 1;
    }
    if cx.is_tolerant() && rest.first() == Some(&b')') {
        cx.repairs.note(Repair::EnvelopeShape);
        return close_all(rest, extra, cx).map(|(rest, ())| (rest, envelope));
    }
    (rest, envelope.date) = nstring(rest, cx)?;
    if let Some(behind) = next_field(rest, cx)? {
        (rest, envelope.subject) = nstring(behind, cx)?;
    }
    let Envelope { from, sender, reply_to, to, cc, bcc, .. } = &mut envelope;
    for list in [from, sender, reply_to, to, cc, bcc] {
        let Some(behind) = next_field(rest, cx)? else { break };
        if cx.is_tolerant() && matches!(behind.first(), Some(b'"' | b'{')) {
            // A list is missing: the rest are the two strings.
            cx.repairs.note(Repair::EnvelopeShape);
            break;
        }
        (rest, *list) = address_list(behind, cx)?;
    }
    if let Some(behind) = next_field(rest, cx)? {
        (rest, envelope.in_reply_to) = nstring(behind, cx)?;
        match next_field(rest, cx)? {
            Some(behind) => (rest, envelope.message_id) = nstring(behind, cx)?,
            None => envelope.message_id = envelope.in_reply_to.take(),
        }
    }
    if rest.first() == Some(&b' ') && cx.is_tolerant() {
        let (behind, further) = values(rest, cx)?;
        if !further.is_empty() {
            cx.repairs.note(Repair::EnvelopeShape);
        }
        rest = behind;
    }
    let (rest, ()) = close_all(rest, extra, cx)?;
    Ok((rest, envelope))
}

/// Parses the closing parenthesis, and those of `extra` pairs around it.
fn close_all<'i>(i: &'i [u8], extra: u8, cx: &Context) -> Parsed<'i, ()> {
    let mut rest = i;
    for _ in 0..=extra {
        (rest, ()) = close(rest, cx)?;
    }
    Ok((rest, ()))
}

/// Returns the input after the space before the next field. *Tolerant*: `None` if the envelope ends here.
#[inline]
fn next_field<'i>(
    i: &'i [u8],
    cx: &Context,
) -> Result<Option<&'i [u8]>, nom::Err<crate::grammar::Expected<'i>>> {
    if cx.is_tolerant() {
        let behind = spaces_before_close(i, cx);
        if behind.first() == Some(&b')') {
            cx.repairs.note(Repair::EnvelopeShape);
            return Ok(None);
        }
    }
    sp(i, cx).map(|(rest, ())| Some(rest))
}

/// `"(" 1*address ")" / nil`
///
/// *Tolerant*: spaces between addresses; `NIL` among them is left out; `()`; one address without the outer
/// parentheses.
pub(crate) fn address_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, AddressList<'i>> {
    let Ok((inner, ())) = open(i, cx) else {
        return match nil(i) {
            Ok((rest, ())) => Ok((rest, AddressList::EMPTY)),
            Err(_) => expected(i, "an address list"),
        };
    };
    let mut rest = inner;
    loop {
        match rest.first() {
            Some(b'(') => (rest, _) = address(rest, cx)?,
            Some(b')') if rest.len() != inner.len() || cx.repair(Repair::NilForValue) => break,
            Some(b' ') if cx.is_tolerant() => rest = spaces(rest, cx),
            _ if cx.is_tolerant() => match nil(rest) {
                Ok((behind, ())) if matches!(behind.trim_ascii_start().first(), Some(b'(' | b')')) => {
                    cx.repairs.note(Repair::NilForValue);
                    rest = behind;
                }
                _ if rest.len() == inner.len() => {
                    let (behind, _) = address(i, cx)?;
                    cx.repairs.note(Repair::AddressShape);
                    return Ok((behind, AddressList::wire(taken(i, behind), cx.attempt())));
                }
                _ => return expected(rest, "an address"),
            },
            _ => return expected(rest, "an address"),
        }
    }
    let list = AddressList::wire(taken(inner, rest), cx.attempt());
    let (rest, ()) = byte(rest, b')', "a closing parenthesis")?;
    Ok((rest, list))
}

/// `address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"`, each an `nstring`.
///
/// *Tolerant*: fields missing at the end, further fields, parentheses around the parentheses; angle brackets around
/// mailbox and host; the address in the name's place and the name in the mailbox's.
#[inline]
pub(crate) fn address<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Address<'i>> {
    match plain_address(i) {
        Some((rest, mut address)) => {
            if cx.is_tolerant() {
                straighten(&mut address, cx);
            }
            Ok((rest, address))
        }
        None => odd_address(i, cx),
    }
}

/// Parses an address of four plain strings with one space between them; `None` for any other form.
#[inline]
fn plain_address(i: &[u8]) -> Option<(&[u8], Address<'_>)> {
    let (rest, name) = plain_nstring(i.strip_prefix(b"(")?)?;
    let (rest, adl) = plain_nstring(rest.strip_prefix(b" ")?)?;
    let (rest, mailbox) = plain_nstring(rest.strip_prefix(b" ")?)?;
    let (rest, host) = plain_nstring(rest.strip_prefix(b" ")?)?;
    Some((rest.strip_prefix(b")")?, Address { name, adl, mailbox, host }))
}

/// Parses an address in any form.
#[inline(never)]
fn odd_address<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Address<'i>> {
    let (mut rest, ()) = open(i, cx)?;
    let mut extra = 0;
    while rest.first() == Some(&b'(') && extra < MAX_DEPTH && cx.repair(Repair::AddressShape) {
        (rest, ()) = open(rest, cx)?;
        extra += 1;
    }
    let mut address = Address::default();
    (rest, address.name) = nstring(rest, cx)?;
    let Address { adl, mailbox, host, .. } = &mut address;
    for field in [adl, mailbox, host] {
        if cx.is_tolerant() && spaces_before_close(rest, cx).first() == Some(&b')') {
            cx.repairs.note(Repair::AddressShape);
            break;
        }
        let (behind, ()) = sp(rest, cx)?;
        (rest, *field) = nstring(behind, cx)?;
    }
    if cx.is_tolerant() {
        let (behind, further) = values(rest, cx)?;
        if !further.is_empty() {
            cx.repairs.note(Repair::AddressShape);
        }
        rest = behind;
        straighten(&mut address, cx);
    }
    let (rest, ()) = close_all(rest, extra, cx)?;
    Ok((rest, address))
}

/// Moves the misplaced parts of an address to their fields.
fn straighten(address: &mut Address<'_>, cx: &Context) {
    if let (Some(name), Some(_), None) = (address.name, address.mailbox, address.host)
        && let [b'<', inner @ .., b'>'] = name.raw()
        && let Some(at) = inner.iter().rposition(|byte| *byte == b'@')
    {
        cx.repairs.note(Repair::AddressShape);
        address.name = address.mailbox;
        address.mailbox = Some(name.trimmed(|_| inner.get(..at).unwrap_or_default()));
        address.host = Some(name.trimmed(|_| inner.get(at + 1..).unwrap_or_default()));
        return;
    }
    let starts = |field: Option<IString<'_>>| field.is_some_and(|field| field.raw().first() == Some(&b'<'));
    let ends = |field: Option<IString<'_>>| field.is_some_and(|field| field.raw().last() == Some(&b'>'));
    if starts(address.mailbox) && ends(address.host) {
        cx.repairs.note(Repair::AddressShape);
        address.mailbox = address.mailbox.map(|field| field.trimmed(|raw| raw.get(1..).unwrap_or_default()));
        address.host = address
            .host
            .map(|field| field.trimmed(|raw| raw.get(..raw.len().saturating_sub(1)).unwrap_or_default()));
    }
}

impl<'i> Element<'i> for Address<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        let mut rest = i;
        while let Ok((behind, ())) = nil(rest) {
            rest = behind.trim_ascii_start();
        }
        address(rest, cx).ok()
    }
}

impl<'i> Element<'i> for Envelope<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        envelope(i, cx).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const VALID: &[u8] = br#"("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" (("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL "<B27397-0100000@cac.washington.ed>")"#;

    #[test]
    fn the_example_of_the_rfc() {
        for cx in [Context::strict(), Context::tolerant()] {
            let (rest, envelope) = envelope(VALID, &cx).unwrap();
            assert!(rest.is_empty());
            assert_eq!(envelope.subject.unwrap(), "IMAP4rev2 WG mtg summary and minutes");
            assert_eq!(envelope.cc.iter().count(), 2);
            assert_eq!(envelope.cc.iter().nth(1).unwrap().host.unwrap(), "MIT.EDU");
            assert_eq!(envelope.from, envelope.sender);
            assert!(envelope.bcc.is_empty());
            assert_eq!(envelope.in_reply_to, None);
            assert_eq!(envelope.message_id.unwrap(), "<B27397-0100000@cac.washington.ed>");
            assert_eq!(cx.repairs.total(), 0);
        }
    }

    #[test]
    fn strict_refuses_what_tolerant_repairs() {
        let cases: &[(&[u8], &str)] = &[
            (br#"(NIL NIL NIL NIL NIL NIL NIL NIL NIL)"#, "None"),
            (br#"(NIL NIL NIL NIL NIL NIL NIL NIL "<a>")"#, "Some(\"<a>\")"),
            (br#"(NIL NIL NIL NIL NIL NIL NIL NIL NIL "<a>" "extra" (1 2))"#, "Some(\"<a>\")"),
            (br#"(NIL NIL)"#, "None"),
            (b"()", "None"),
            (b"NIL", "None"),
            (br#"(NIL NIL () () () () () () NIL <a>)"#, "Some(\"<a>\")"),
        ];
        for (input, id) in cases {
            assert!(envelope(input, &Context::strict()).is_err());
            let cx = Context::tolerant();
            let (rest, envelope) = envelope(input, &cx).unwrap();
            assert!(rest.is_empty());
            assert_eq!(format!("{:?}", envelope.message_id), *id);
            assert!(cx.repairs.total() > 0);
        }
    }

    #[test]
    fn addresses_in_odd_shapes() {
        let cases: &[&[u8]] = &[
            br#"(("n" NIL "m" "h"))"#,
            br#"("n" NIL "m" "h")"#,
            br#"((("n" NIL "m" "h")))"#,
            br#"( ( "n" NIL "m" "h" ) )"#,
            br#"(("n" NIL "<m" "h>"))"#,
            br#"(NIL (n NIL m h) NIL)"#,
            br#"(("<m@h>" NIL "n" NIL))"#,
            br#"(("n" NIL "m" "h" "more"))"#,
        ];
        for input in cases {
            let cx = Context::tolerant();
            let (rest, list) = address_list(input, &cx).unwrap();
            assert!(rest.is_empty());
            let shown = format!("{list:?}");
            let list: alloc::vec::Vec<_> = list.iter().collect();
            let [one] = list[..] else { panic!("{shown}") };
            assert_eq!(one.name.unwrap(), "n", "{shown}");
            assert_eq!(one.mailbox.unwrap(), "m", "{shown}");
            assert_eq!(one.host.unwrap(), "h", "{shown}");
        }
    }

    #[test]
    fn groups() {
        let input = br#"((NIL NIL "friends" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL))"#;
        let (_, list) = address_list(input, &Context::strict()).unwrap();
        let list: alloc::vec::Vec<_> = list.iter().collect();
        assert_eq!(list[0].group_start().unwrap(), "friends");
        assert!(list[2].is_group_end());
        assert!(!list[1].is_group_end());
    }
}
