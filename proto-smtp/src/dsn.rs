//! Delivery status notifications (DSN, RFC 3461): the values of `RET=`, `ENVID=`, `NOTIFY=` and `ORCPT=`, with the
//! addresses of RFC 6533 §3.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use crate::address::Address;
use crate::ascii;
use crate::parameter::is_keyword;
use crate::syntax::{SyntaxError, SyntaxFault};
use crate::xtext::{self, Xtext, is_xtext};

/// The longest `ENVID=` (RFC 3461 §5.4).
const LONGEST_ENVELOPE_ID: usize = 100;
/// The longest `ORCPT=` (RFC 3461 §5.4).
const LONGEST_RECIPIENT: usize = 500;

/// The value of `RET=`: how much of the message a failure report includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Return {
    /// The whole message.
    Full,
    /// The header only.
    Headers,
}

/// The value of `ENVID=`: an identifier that reports repeat. At most 100 bytes of xtext.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EnvelopeId<'i>(Xtext<'i>);

/// The value of `NOTIFY=`: `NEVER`, or a set of the conditions in which a report is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notify(u8);

/// The value of `ORCPT=`: `addr-type ";" xtext`, at most 500 bytes. An address of the type `utf-8` is written as
/// `utf-8-addr-xtext` (RFC 6533 §3), which needs no SMTPUTF8.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginalRecipient<'i> {
    kind: Cow<'i, str>,
    /// The encoded address: graphic characters without `=`.
    address: Cow<'i, str>,
}

impl Return {
    /// Returns the value as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }

    /// `ret-value = "FULL" / "HDRS"` (RFC 3461 §4.3)
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        [Self::Full, Self::Headers]
            .into_iter()
            .find(|ret| ret.as_str().as_bytes().eq_ignore_ascii_case(value))
    }
}

impl<'i> EnvelopeId<'i> {
    /// Parses the value as sent on the wire.
    ///
    /// # Errors
    /// The value is not xtext, encodes a control character, or is longer than 100 bytes.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        Xtext::parse(text).and_then(Self::with_valid_length)
    }

    /// Encodes an identifier.
    ///
    /// # Errors
    /// The identifier is empty, holds a control character, or is longer than 100 bytes when encoded.
    pub fn encode(plain: &str) -> Result<EnvelopeId<'static>, SyntaxError> {
        Xtext::encode(plain).and_then(EnvelopeId::with_valid_length)
    }

    fn with_valid_length(text: Xtext<'i>) -> Result<Self, SyntaxError> {
        if text.as_str().len() <= LONGEST_ENVELOPE_ID { Ok(Self(text)) } else { Err(no_value()) }
    }

    /// Returns the encoded value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the decoded bytes, UTF-8 by convention.
    #[must_use]
    pub fn decode(&self) -> Vec<u8> {
        self.0.decode()
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> EnvelopeId<'static> {
        EnvelopeId(self.0.into_owned())
    }
}

impl Notify {
    /// No report is wanted.
    pub const NEVER: Self = Self(0);
    /// A report is wanted on delivery.
    pub const SUCCESS: Self = Self(1);
    /// A report is wanted on failure.
    pub const FAILURE: Self = Self(2);
    /// A report is wanted on delay.
    pub const DELAY: Self = Self(4);

    /// The conditions and their keywords, in the order in which they are written.
    const CONDITIONS: [(Self, &str); 3] =
        [(Self::SUCCESS, "SUCCESS"), (Self::FAILURE, "FAILURE"), (Self::DELAY, "DELAY")];

    /// Returns the set with one more condition.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a report is wanted in this condition. For [`NEVER`](Self::NEVER): whether no report is wanted.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        if other.0 == 0 { self.0 == 0 } else { self.0 & other.0 == other.0 }
    }

    /// Parses `"NEVER" / 1#notify-list-element` (RFC 3461 §4.1).
    ///
    /// # Errors
    /// A keyword is not known, or `NEVER` is combined with another.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Self::parse_bytes(text.as_bytes()).ok_or(no_value())
    }

    /// The same as [`parse`](Self::parse), for bytes.
    pub(crate) fn parse_bytes(bytes: &[u8]) -> Option<Self> {
        const NEVER: u64 = ascii::word(b"NEVER");
        const SUCCESS: u64 = ascii::word(b"SUCCESS");
        const FAILURE: u64 = ascii::word(b"FAILURE");
        const DELAY: u64 = ascii::word(b"DELAY");
        if bytes.len() == 5 && ascii::word(bytes) == NEVER {
            return Some(Self::NEVER);
        }
        bytes.split(|&byte| byte == b',').try_fold(Self::NEVER, |all, word| {
            // `word` does not tell a leading space from nothing.
            let word =
                word.first().filter(|byte| byte.is_ascii_alphabetic()).map_or(0, |_| ascii::word(word));
            Some(all.with(match word {
                SUCCESS => Self::SUCCESS,
                FAILURE => Self::FAILURE,
                DELAY => Self::DELAY,
                _ => return None,
            }))
        })
    }
}

impl<'i> OriginalRecipient<'i> {
    /// Parses the value as sent on the wire.
    ///
    /// # Errors
    /// The type is not an atom, the address is not encoded as its type requires or encodes a control character, or the
    /// value is longer than 500 bytes.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        let end = memchr::memchr(b';', text.as_bytes()).ok_or(no_value())?;
        let (kind, address) = (text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default());
        let good = if is_utf8(kind) { is_utf8_address(address) } else { is_xtext(address.as_bytes()) };
        if good && is_keyword(kind.as_bytes()) && text.len() <= LONGEST_RECIPIENT {
            Ok(Self { kind: Cow::Borrowed(kind), address: Cow::Borrowed(address) })
        } else {
            Err(no_value())
        }
    }

    /// Encodes an address of any type.
    ///
    /// # Errors
    /// The type is not an atom, the address is empty or holds a control character, or the value is longer than 500
    /// bytes when encoded.
    pub fn encode(kind: &'i str, plain: &str) -> Result<Self, SyntaxError> {
        if plain.is_empty() || ascii::printable(plain.as_bytes()).is_none() || !is_keyword(kind.as_bytes()) {
            return Err(no_value());
        }
        let recipient = Self::encoded(Cow::Borrowed(kind), plain);
        if recipient.kind.len() + 1 + recipient.address.len() > LONGEST_RECIPIENT {
            return Err(no_value());
        }
        Ok(recipient)
    }

    /// Encodes a mailbox address: with the type `rfc822`, or `utf-8` if the address is not US-ASCII. `None` if the value
    /// is longer than 500 bytes when encoded, which is possible for the type `utf-8` only.
    #[must_use]
    pub fn of(address: &Address<'_>) -> Option<OriginalRecipient<'static>> {
        OriginalRecipient::encode(if address.is_ascii() { "rfc822" } else { "utf-8" }, address.as_str()).ok()
    }

    fn encoded(kind: Cow<'i, str>, plain: &str) -> Self {
        let mut address = String::with_capacity(plain.len());
        // Writing to a `String` cannot fail.
        let _ =
            if is_utf8(&kind) { write_utf8(plain, &mut address) } else { Xtext::write(plain, &mut address) };
        Self { kind, address: Cow::Owned(address) }
    }

    /// Returns the address type, in any letter case.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the decoded address, UTF-8 by convention.
    #[must_use]
    pub fn decode(&self) -> Vec<u8> {
        if !is_utf8(&self.kind) {
            return xtext::decoded(self.address.as_bytes()).collect();
        }
        let mut plain = String::with_capacity(self.address.len());
        let mut rest = &*self.address;
        while let Some((character, tail)) = utf8_character(rest) {
            plain.push(character);
            rest = tail;
        }
        plain.into_bytes()
    }

    /// Whether the encoded address is US-ASCII. It is always sent so, but can be received otherwise under SMTPUTF8.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.address.is_ascii()
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> OriginalRecipient<'static> {
        OriginalRecipient {
            kind: Cow::Owned(self.kind.into_owned()),
            address: Cow::Owned(self.address.into_owned()),
        }
    }
}

impl fmt::Display for EnvelopeId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("NEVER");
        }
        let wanted = Self::CONDITIONS.into_iter().filter(|(reason, _)| self.contains(*reason));
        for (place, (_, word)) in wanted.enumerate() {
            f.write_str(if place == 0 { "" } else { "," })?;
            f.write_str(word)?;
        }
        Ok(())
    }
}

impl fmt::Display for OriginalRecipient<'_> {
    /// Writes the value as it is sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};", self.kind)?;
        self.address.chars().try_for_each(|character| match character {
            ' '..='~' => f.write_char(character),
            _ => write_embedded(character, f),
        })
    }
}

fn is_utf8(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("utf-8")
}

/// `QCHAR`: a graphic character but `\`, `+` and `=`.
const fn is_qchar(character: char) -> bool {
    character.is_ascii_graphic() && !matches!(character, '\\' | '+' | '=')
}

/// `EmbeddedUnicodeChar = "\x{" HEXPOINT "}"`
fn write_embedded(character: char, out: &mut impl fmt::Write) -> fmt::Result {
    write!(out, "\\x{{{:02X}}}", u32::from(character))
}

fn write_utf8(plain: &str, out: &mut impl fmt::Write) -> fmt::Result {
    plain.chars().try_for_each(|character| {
        if is_qchar(character) { out.write_char(character) } else { write_embedded(character, out) }
    })
}

/// `utf-8-addr-xtext / utf-8-addr-unitext`, not empty, that encodes no control character.
fn is_utf8_address(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, tail)) = utf8_character(rest) {
        rest = tail;
    }
    rest.is_empty() && !text.is_empty()
}

/// Decodes the first character and returns it with the rest. `None` at the end and where the encoding is not valid.
fn utf8_character(text: &str) -> Option<(char, &str)> {
    let first = text.chars().next()?;
    if is_qchar(first) || (!first.is_ascii() && !first.is_control()) {
        return Some((first, text.get(first.len_utf8()..)?));
    }
    let (digits, tail) = text.strip_prefix("\\x{")?.split_once('}')?;
    if digits.len() > 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?;
    // The shortest form, and only for characters that cannot stand for themselves: each address has one encoding.
    let shortest = digits.len() == 2 || !digits.starts_with('0');
    (shortest && !is_qchar(character) && !character.is_control()).then_some((character, tail))
}

const fn no_value() -> SyntaxError {
    SyntaxError::new(0, SyntaxFault::Value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn rejects_never_combined_with_a_condition() {
        for (text, written) in [
            ("never", "NEVER"),
            ("delay,SUCCESS", "SUCCESS,DELAY"),
            ("FAILURE,failure", "FAILURE"),
            ("SUCCESS,FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"),
        ] {
            assert_eq!(Notify::parse(text).unwrap().to_string(), written);
        }
        for bad in ["", ",", "NEVER,SUCCESS", "SUCCESS,NEVER", "SUCCESS,", "SUCCESS, DELAY", "OFTEN"] {
            assert!(Notify::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Notify::NEVER.with(Notify::DELAY), Notify::DELAY);
        assert!(Notify::NEVER.contains(Notify::NEVER) && !Notify::DELAY.contains(Notify::NEVER));
    }

    #[test]
    fn encodes_and_decodes_original_recipients() {
        for (wire, meant) in [
            ("rfc822;Bob+20B@Example.COM", "Bob B@Example.COM"),
            ("X400;c=de".replace('=', "+3D").as_str(), "c=de"),
            ("utf-8;\\x{43F}@b", "п@b"),
            ("UTF-8;a\\x{20}\\x{2B}\\x{3D}\\x{5C}\\x{1F600}@b", "a +=\\😀@b"),
            ("utf-8;a{x}\\x{A9}", "a{x}©"),
        ] {
            let recipient = OriginalRecipient::parse(wire).unwrap();
            assert_eq!(recipient.decode(), meant.as_bytes());
            assert_eq!(recipient.to_string(), wire);
            assert_eq!(OriginalRecipient::encode(recipient.kind(), meant).unwrap(), recipient);
            assert!(recipient.is_ascii());
        }
        // A value received under SMTPUTF8 is sent in a form that needs no SMTPUTF8.
        let under_utf8 = OriginalRecipient::parse("utf-8;почта@b").unwrap();
        assert!(!under_utf8.is_ascii());
        assert_eq!(under_utf8.to_string(), "utf-8;\\x{43F}\\x{43E}\\x{447}\\x{442}\\x{430}@b");
        let address = |text: &'static str| OriginalRecipient::of(&Address::parse(text).unwrap()).unwrap();
        assert_eq!(address("a+b@c").to_string(), "rfc822;a+2Bb@c");
        assert_eq!(address("п+b@c").to_string(), "utf-8;\\x{43F}\\x{2B}b@c");
    }

    #[test]
    fn rejects_malformed_original_recipients() {
        let long = alloc::format!("rfc822;{}", "a".repeat(494));
        for bad in [
            "",
            "a@b",
            ";a@b",
            "rfc822;",
            "rfc822;a b",
            "rfc822;a+0D+0A",
            "rf c;a",
            "rfc822;é",
            "utf-8;",
            "utf-8;a+20b",
            "utf-8;a=b",
            "utf-8;\\x{0D}",
            "utf-8;\\x{0A}",
            "utf-8;\\x{00}",
            "utf-8;\\x{7F}",
            "utf-8;\\x{85}",
            "utf-8;\\x{41}",
            "utf-8;\\x{043F}",
            "utf-8;\\x{D800}",
            "utf-8;\\x{110000}",
            "utf-8;\\x{}",
            "utf-8;\\x{43F",
            "utf-8;\\y{43F}",
            "utf-8;\\",
            "utf-8;\u{85}",
            "utf-8;a b",
            "utf-8;\\x{+3F}",
            &long,
        ] {
            assert!(OriginalRecipient::parse(bad).is_err(), "{bad:?}");
        }
        for (kind, plain) in [
            ("rfc822", ""),
            ("rfc822", "a\r\n"),
            ("utf-8", "\u{85}"),
            ("", "a"),
            ("a;b", "c"),
            ("rfc822", long.as_str()),
        ] {
            assert!(OriginalRecipient::encode(kind, plain).is_err(), "{kind:?} {plain:?}");
        }
    }

    #[test]
    fn limits_the_length_of_envelope_ids() {
        assert_eq!(EnvelopeId::encode("QQ 1").unwrap().as_str(), "QQ+201");
        assert_eq!(EnvelopeId::parse("QQ+201").unwrap().decode(), b"QQ 1");
        assert!(EnvelopeId::encode(&"x".repeat(100)).is_ok());
        for bad in ["", "a\r\nRSET", &"x".repeat(101), &" ".repeat(34)] {
            assert!(EnvelopeId::encode(bad).is_err(), "{bad:?}");
        }
    }
}
