//! Parameters of MAIL and RCPT (RFC 5321 §4.1.2 `Mail-parameters`), typed where they are known.

use nom::Parser;
use nom::bytes::complete::{take_while, take_while1};

use super::{Fault, Parsed, SyntaxError, Why};
use crate::ascii;
use crate::types::{
    BodyType, DateTime, DeliverBy, EnvelopeId, Extra, Hold, Interval, Mail, Notify, OriginalRecipient,
    Priority, Rcpt, Return, Solicitation, Submitter, ValidSince,
};

/// `esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")`
pub(crate) fn is_keyword(text: &[u8]) -> bool {
    matches!(text.split_first(), Some((first, rest))
        if ascii::is(*first, ascii::ALNUM) && rest.iter().all(|&octet| is_keyword_octet(octet)))
}

fn is_keyword_octet(octet: u8) -> bool {
    ascii::is(octet, ascii::ALNUM) || octet == b'-'
}

/// `esmtp-value = 1*(%d33-60 / %d62-126)`, and UTF-8 (RFC 6531 §3.3).
pub(crate) fn is_value(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|&octet| ascii::is(octet, ascii::VALUE))
        && ascii::printable(text).is_some()
}

/// `xtext = *( xchar / hexchar )`, not empty, and without control characters in what it means.
pub(crate) fn is_xtext(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((&octet, behind)) = rest.split_first() {
        rest = behind;
        if ascii::is(octet, ascii::XCHAR) {
            continue;
        }
        match (octet, rest) {
            (b'+', [high, low, behind @ ..]) => {
                let (Some(high), Some(low)) = (hexadecimal(*high), hexadecimal(*low)) else { return false };
                let meant = high << 4 | low;
                if meant < b' ' || meant == 0x7f {
                    return false;
                }
                rest = behind;
            }
            _ => return false,
        }
    }
    !text.is_empty()
}

/// What xtext means, octet by octet. The text was looked at already.
pub(crate) fn xtext_octets(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text.iter().copied();
    core::iter::from_fn(move || match rest.next()? {
        b'+' => Some(hexadecimal(rest.next()?)? << 4 | hexadecimal(rest.next()?)?),
        octet => Some(octet),
    })
}

/// `hexchar = "+" 2(%x30-39 / %x41-46)`: upper case only.
const fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A keyword, and its value if there is one.
type KeywordValue<'i> = (&'i [u8], Option<&'i [u8]>);

/// `esmtp-param = esmtp-keyword ["=" esmtp-value]`, and the spaces before it. `None` at the end of the line.
fn esmtp_param(input: &[u8]) -> Parsed<'_, Option<KeywordValue<'_>>> {
    let (rest, spaces) = take_while(|octet| octet == b' ').parse(input)?;
    if rest.is_empty() {
        // Trailing spaces are to be tolerated (RFC 5321 §4.1.1).
        return Ok((rest, None));
    }
    if spaces.is_empty() {
        return Fault::at(rest, Why::SurplusArgument);
    }
    let (behind, keyword) = take_while1(is_keyword_octet).parse(rest)?;
    if keyword.first() == Some(&b'-') {
        return Fault::at(rest, Why::Parameter);
    }
    let Some(value) = behind.strip_prefix(b"=") else {
        return Ok((behind, Some((keyword, None))));
    };
    let (behind, value) = take_while1(|octet| ascii::is(octet, ascii::VALUE))
        .parse(value)
        .map_err(|error: nom::Err<Fault<'_>>| error.map(|fault| Fault { why: Why::Value, ..fault }))?;
    Ok((behind, Some((keyword, Some(value)))))
}

/// The parameters of MAIL.
pub(super) fn mail_parameters<'i>(input: &'i [u8], mail: &mut Mail<'i>) -> Parsed<'i, ()> {
    let mut rest = input;
    let mut unknown = false;
    loop {
        let (behind, parameter) = esmtp_param(rest)?;
        let Some((keyword, value)) = parameter else { break };
        match mail_parameter(mail, keyword, value) {
            Ok(Known::Yes) => {}
            Ok(Known::No) => unknown = true,
            Err(why) => return Fault::at(rest, why),
        }
        rest = behind;
    }
    if unknown {
        mail.extra = extra(input, crate::types::MAIL_PARAMETERS)?;
    }
    Ok((b"", ()))
}

/// The parameters of RCPT.
pub(super) fn rcpt_parameters<'i>(input: &'i [u8], rcpt: &mut Rcpt<'i>) -> Parsed<'i, ()> {
    let mut rest = input;
    let mut unknown = false;
    loop {
        let (behind, parameter) = esmtp_param(rest)?;
        let Some((keyword, value)) = parameter else { break };
        match rcpt_parameter(rcpt, keyword, value) {
            Ok(Known::Yes) => {}
            Ok(Known::No) => unknown = true,
            Err(why) => return Fault::at(rest, why),
        }
        rest = behind;
    }
    if unknown {
        rcpt.extra = extra(input, crate::types::RCPT_PARAMETERS)?;
    }
    Ok((b"", ()))
}

fn extra<'i>(input: &'i [u8], known: &'static [&'static str]) -> Result<Extra<'i>, nom::Err<Fault<'i>>> {
    match ascii::printable(input) {
        Some(text) => Ok(Extra::checked(text, known)),
        None => Err(nom::Err::Error(Fault { rest: input, why: Why::Encoding })),
    }
}

/// Whether a parameter has a field of its own.
enum Known {
    Yes,
    No,
}

const SIZE: u64 = ascii::word(b"SIZE");
const BODY: u64 = ascii::word(b"BODY");
const SMTPUTF8: u64 = ascii::word(b"SMTPUTF8");
const AUTH: u64 = ascii::word(b"AUTH");
const ENVID: u64 = ascii::word(b"ENVID");
const RET: u64 = ascii::word(b"RET");
const BY: u64 = ascii::word(b"BY");
const HOLDFOR: u64 = ascii::word(b"HOLDFOR");
const SOLICIT: u64 = ascii::word(b"SOLICIT");
const CONPERM: u64 = ascii::word(b"CONPERM");
const PRDR: u64 = ascii::word(b"PRDR");
const NOTIFY: u64 = ascii::word(b"NOTIFY");
const ORCPT: u64 = ascii::word(b"ORCPT");
const RRVS: u64 = ascii::word(b"RRVS");
const CONNEG: u64 = ascii::word(b"CONNEG");

fn mail_parameter<'i>(mail: &mut Mail<'i>, keyword: &[u8], value: Option<&'i [u8]>) -> Result<Known, Why> {
    match ascii::word(keyword) {
        SIZE => once(&mut mail.size, ascii::number(value.ok_or(Why::Value)?).ok_or(Why::Number)?),
        BODY => once(&mut mail.body, body_value(value.ok_or(Why::Value)?)?),
        SMTPUTF8 => flag(&mut mail.utf8, value),
        AUTH => once(&mut mail.auth, read(value, Submitter::parse)?),
        ENVID => once(&mut mail.envid, read(value, EnvelopeId::parse)?),
        RET => once(&mut mail.ret, ret_value(value.ok_or(Why::Value)?)?),
        BY => once(&mut mail.by, read(value, DeliverBy::parse)?),
        HOLDFOR => hold(&mut mail.hold, Hold::For(read(value, Interval::parse)?)),
        SOLICIT => once(&mut mail.solicit, read(value, Solicitation::parse)?),
        CONPERM => flag(&mut mail.conperm, value),
        PRDR => flag(&mut mail.prdr, value),
        // Words of more than eight letters.
        _ if keyword.eq_ignore_ascii_case(b"MT-PRIORITY") => {
            once(&mut mail.priority, read(value, Priority::parse)?)
        }
        _ if keyword.eq_ignore_ascii_case(b"HOLDUNTIL") => {
            hold(&mut mail.hold, Hold::Until(read(value, DateTime::parse)?))
        }
        _ if keyword.eq_ignore_ascii_case(b"REQUIRETLS") => flag(&mut mail.require_tls, value),
        _ => Ok(Known::No),
    }
}

fn rcpt_parameter<'i>(rcpt: &mut Rcpt<'i>, keyword: &[u8], value: Option<&'i [u8]>) -> Result<Known, Why> {
    match ascii::word(keyword) {
        NOTIFY => once(&mut rcpt.notify, value.and_then(Notify::read).ok_or(Why::Value)?),
        ORCPT => once(&mut rcpt.original, read(value, OriginalRecipient::parse)?),
        RRVS => once(&mut rcpt.valid_since, read(value, ValidSince::parse)?),
        CONNEG => flag(&mut rcpt.conneg, value),
        _ => Ok(Known::No),
    }
}

fn once<T>(field: &mut Option<T>, value: T) -> Result<Known, Why> {
    match field.replace(value) {
        None => Ok(Known::Yes),
        Some(_) => Err(Why::ParameterTwice),
    }
}

/// A parameter without a value.
fn flag(field: &mut bool, value: Option<&[u8]>) -> Result<Known, Why> {
    match value {
        Some(_) => Err(Why::Value),
        None if *field => Err(Why::ParameterTwice),
        None => {
            *field = true;
            Ok(Known::Yes)
        }
    }
}

/// `HOLDFOR=` and `HOLDUNTIL=` exclude each other (RFC 4865 §4).
fn hold(field: &mut Option<Hold>, value: Hold) -> Result<Known, Why> {
    match field.replace(value) {
        None => Ok(Known::Yes),
        Some(other) if other.keyword() == value.keyword() => Err(Why::ParameterTwice),
        Some(_) => Err(Why::ParametersExclude),
    }
}

/// A value that its type reads.
fn read<'i, T>(
    value: Option<&'i [u8]>,
    parse: impl FnOnce(&'i str) -> Result<T, SyntaxError>,
) -> Result<T, Why> {
    let text = core::str::from_utf8(value.ok_or(Why::Value)?).map_err(|_| Why::Encoding)?;
    parse(text).map_err(|error| error.why)
}

/// `body-value = "7BIT" / "8BITMIME" / "BINARYMIME"` (RFC 6152 §2, RFC 3030 §3)
fn body_value(value: &[u8]) -> Result<BodyType, Why> {
    const SEVEN_BIT: u64 = ascii::word(b"7BIT");
    const EIGHT_BIT_MIME: u64 = ascii::word(b"8BITMIME");
    match ascii::word(value) {
        // Letters, digits and hyphens are told apart as numbers; other octets must not pass for them.
        SEVEN_BIT if is_keyword(value) => Ok(BodyType::SevenBit),
        EIGHT_BIT_MIME if is_keyword(value) => Ok(BodyType::EightBitMime),
        _ if value.eq_ignore_ascii_case(b"BINARYMIME") => Ok(BodyType::BinaryMime),
        _ => Err(Why::Value),
    }
}

/// `ret-value = "FULL" / "HDRS"` (RFC 3461 §4.3)
fn ret_value(value: &[u8]) -> Result<Return, Why> {
    [Return::Full, Return::Headers]
        .into_iter()
        .find(|ret| ret.as_str().as_bytes().eq_ignore_ascii_case(value))
        .ok_or(Why::Value)
}
