//! Paths, mailboxes and domains (RFC 5321 §4.1.2, §4.1.3, RFC 6531 §3.3).

use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use nom::Parser;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::map_res;

use super::{Fault, Parsed, SyntaxError, Why, finish};
use crate::ascii;
use crate::types::{Address, ForwardPath, ReversePath};

/// The greatest length of a domain (RFC 5321 §4.5.3.1.2).
const DOMAIN: usize = 255;
/// The greatest length of a local part (§4.5.3.1.1).
const LOCAL_PART: usize = 64;
/// The greatest length of an address: that of a path (§4.5.3.1.3), without the angle brackets.
const MAILBOX: usize = 254;

/// Runs a rule that must take the whole input.
pub(crate) fn whole<'i, T>(
    input: &'i [u8],
    rule: impl FnOnce(&'i [u8]) -> Parsed<'i, T>,
) -> Result<T, SyntaxError> {
    match finish(input, rule(input))? {
        ([], value) if ascii::classed(input).is_some() => Ok(value),
        ([], _) => Err(Fault { rest: input, why: Why::Encoding }.in_input(input)),
        (rest, _) => Err(Fault { rest, why: Why::SurplusArgument }.in_input(input)),
    }
}

/// `Reverse-path = Path / "<>"`
pub(super) fn reverse_path(input: &[u8]) -> Parsed<'_, ReversePath<'_>> {
    if let Some(rest) = input.strip_prefix(b"<>") {
        return Ok((rest, ReversePath::Null));
    }
    let (rest, address) = path(input)?;
    Ok((rest, ReversePath::Address(address)))
}

/// `Forward-path = Path / "<Postmaster>"`
pub(super) fn forward_path(input: &[u8]) -> Parsed<'_, ForwardPath<'_>> {
    const POSTMASTER: &[u8] = b"<Postmaster>";
    if let Some((head, rest)) = input.split_at_checked(POSTMASTER.len())
        && head.eq_ignore_ascii_case(POSTMASTER)
    {
        return Ok((rest, ForwardPath::Postmaster));
    }
    if input.starts_with(b"<>") {
        return Fault::at(input, Why::NullRecipient);
    }
    let (rest, address) = path(input)?;
    Ok((rest, ForwardPath::Address(address)))
}

/// `Path = "<" [ A-d-l ":" ] Mailbox ">"`: the source route is read and dropped.
fn path(input: &[u8]) -> Parsed<'_, Address<'_>> {
    let Some(inside) = input.strip_prefix(b"<") else {
        return Fault::at(input, Why::Path);
    };
    let inside = if inside.first() == Some(&b'@') { source_route(inside)?.0 } else { inside };
    let (rest, at) = mailbox(inside)?;
    let Some(behind) = rest.strip_prefix(b">") else {
        return Fault::at(rest, Why::Path);
    };
    let octets = inside.get(..inside.len() - rest.len()).unwrap_or_default();
    match ascii::classed(octets) {
        Some(text) => Ok((behind, Address::checked(text, at))),
        None => Fault::at(inside, Why::Encoding),
    }
}

/// `A-d-l = At-domain *( "," At-domain )`, and the colon behind it.
fn source_route(mut input: &[u8]) -> Parsed<'_, ()> {
    loop {
        let Some(name) = input.strip_prefix(b"@") else {
            return Fault::at(input, Why::Path);
        };
        let (rest, ()) = domain(name)?;
        match rest.split_first() {
            Some((b':', rest)) => return Ok((rest, ())),
            Some((b',', rest)) => input = rest,
            _ => return Fault::at(rest, Why::Path),
        }
    }
}

/// `Mailbox = Local-part "@" ( Domain / address-literal )`; gives the place of the `@`.
pub(crate) fn mailbox(input: &[u8]) -> Parsed<'_, usize> {
    let (rest, ()) = local_part(input)?;
    let at = input.len() - rest.len();
    if at > LOCAL_PART {
        return Fault::at(input, Why::LocalPartTooLong);
    }
    let Some(behind) = rest.strip_prefix(b"@") else {
        let why = if matches!(rest.first(), None | Some(b'>')) { Why::MissingDomain } else { Why::LocalPart };
        return Fault::at(rest, why);
    };
    let (rest, ()) = domain(behind)?;
    let len = input.len() - rest.len();
    if len > MAILBOX {
        return Fault::at(input, Why::PathTooLong);
    }
    Ok((rest, at))
}

/// `Local-part = Dot-string / Quoted-string`
fn local_part(input: &[u8]) -> Parsed<'_, ()> {
    if input.first() == Some(&b'"') { quoted_string(input) } else { dot_string(input) }
}

/// `Dot-string = Atom *("." Atom)`
fn dot_string(mut input: &[u8]) -> Parsed<'_, ()> {
    loop {
        let (rest, _) = take_while1(|octet| ascii::is(octet, ascii::ATEXT)).parse(input).map_err(
            |error: nom::Err<Fault<'_>>| error.map(|fault| Fault { why: Why::LocalPart, ..fault }),
        )?;
        match rest.strip_prefix(b".") {
            Some(rest) => input = rest,
            None => return Ok((rest, ())),
        }
    }
}

/// `Quoted-string = DQUOTE *QcontentSMTP DQUOTE`
fn quoted_string(input: &[u8]) -> Parsed<'_, ()> {
    let (mut rest, _) = tag(&b"\""[..]).parse(input)?;
    loop {
        (rest, _) = take_while(|octet| ascii::is(octet, ascii::QTEXT)).parse(rest)?;
        match rest {
            [b'"', behind @ ..] => return Ok((behind, ())),
            // quoted-pairSMTP: a backslash and one printable character of US-ASCII.
            [b'\\', b' '..=b'~', behind @ ..] => rest = behind,
            _ => return Fault::at(rest, Why::LocalPart),
        }
    }
}

/// `Domain / address-literal`
pub(crate) fn domain(input: &[u8]) -> Parsed<'_, ()> {
    let (rest, ()) = if input.first() == Some(&b'[') { address_literal(input)? } else { domain_name(input)? };
    if input.len() - rest.len() > DOMAIN {
        return Fault::at(input, Why::DomainTooLong);
    }
    Ok((rest, ()))
}

/// `Domain = sub-domain *("." sub-domain)`
fn domain_name(input: &[u8]) -> Parsed<'_, ()> {
    // Neither side of a dot, nor either end, may be empty or a hyphen.
    let (mut before, mut end) = (b'.', input.len());
    for (at, &octet) in input.iter().enumerate() {
        if octet == b'.' {
            if matches!(before, b'.' | b'-') {
                return Fault::at(input.get(at..).unwrap_or_default(), Why::Domain);
            }
        } else if !ascii::is(octet, ascii::LDH) {
            end = at;
            break;
        } else if before == b'.' && octet == b'-' {
            return Fault::at(input.get(at..).unwrap_or_default(), Why::Domain);
        }
        before = octet;
    }
    let rest = input.get(end..).unwrap_or_default();
    if matches!(before, b'.' | b'-') { Fault::at(rest, Why::Domain) } else { Ok((rest, ())) }
}

/// `address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"`
fn address_literal(input: &[u8]) -> Parsed<'_, ()> {
    let content = take_while1(|octet| ascii::is(octet, ascii::DCONTENT));
    let (rest, ()) = (tag(&b"["[..]), map_res(content, check_literal), tag(&b"]"[..]))
        .map(|_| ())
        .parse(input)
        .map_err(|error: nom::Err<Fault<'_>>| error.map(|fault| Fault { why: Why::Domain, ..fault }))?;
    Ok((rest, ()))
}

/// What stands between the brackets: an address of a known kind must be one.
fn check_literal(content: &[u8]) -> Result<(), ()> {
    let text = core::str::from_utf8(content).map_err(drop)?;
    match text.split_once(':') {
        None => Ipv4Addr::from_str(text).map(drop).map_err(drop),
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => {
            Ipv6Addr::from_str(address).map(drop).map_err(drop)
        }
        // Standardized-tag: letters, digits, hyphens. A bare IPv6 address has none.
        Some((tag, address)) => {
            let good = !address.is_empty()
                && tag.starts_with(|first: char| first.is_ascii_alphabetic())
                && tag.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
            good.then_some(()).ok_or(())
        }
    }
}

impl<'i> nom::error::FromExternalError<&'i [u8], ()> for Fault<'i> {
    fn from_external_error(rest: &'i [u8], _: nom::error::ErrorKind, (): ()) -> Self {
        Self { rest, why: Why::Domain }
    }
}
