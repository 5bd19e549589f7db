//! What a sender wants to be told of a message's fate: the parameters of DSN (RFC 3461), with the addresses of
//! RFC 6533 §3.
//!
//! This file knows the values of `RET=`, `ENVID=`, `NOTIFY=` and `ORCPT=`. It writes no report.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use super::{Address, Xtext};
use crate::ascii;
use crate::parse::{SyntaxError, Why, parameter};

/// The longest `ENVID=` (RFC 3461 §5.4).
const LONGEST_ENVELOPE_ID: usize = 100;
/// The longest `ORCPT=` (RFC 3461 §5.4).
const LONGEST_RECIPIENT: usize = 500;

/// The values of `RET=`: how much of the message a report of failure holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Return {
    /// The whole message.
    Full,
    /// The header alone.
    Headers,
}

/// The value of `ENVID=`: a name for this sending that reports repeat. At most 100 octets of xtext.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EnvelopeId<'i>(Xtext<'i>);

/// The value of `NOTIFY=`: `NEVER`, or one or more of three reasons. `NEVER` and a reason exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notify(u8);

/// The value of `ORCPT=`: `addr-type ";" xtext`, at most 500 octets. An address of the type `utf-8` is written as
/// `utf-8-addr-xtext` (RFC 6533 §3), which needs no SMTPUTF8.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginalRecipient<'i> {
    kind: Cow<'i, str>,
    /// As it was written: graphic characters without `=`.
    address: Cow<'i, str>,
}

impl Return {
    /// The value as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

impl<'i> EnvelopeId<'i> {
    /// Reads the value as it stands on the wire.
    ///
    /// # Errors
    /// It is no xtext, means something with a control character in it, or is longer than 100 octets.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        Xtext::parse(text).and_then(Self::of_bounded)
    }

    /// Writes a name as xtext.
    ///
    /// # Errors
    /// It is empty, holds a control character, or is longer than 100 octets when it is written.
    pub fn encode(plain: &str) -> Result<EnvelopeId<'static>, SyntaxError> {
        Xtext::encode(plain).and_then(EnvelopeId::of_bounded)
    }

    fn of_bounded(text: Xtext<'i>) -> Result<Self, SyntaxError> {
        if text.as_str().len() <= LONGEST_ENVELOPE_ID { Ok(Self(text)) } else { Err(no_value()) }
    }

    /// As it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// What it means.
    #[must_use]
    pub fn decode(&self) -> Vec<u8> {
        self.0.decode()
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> EnvelopeId<'static> {
        EnvelopeId(self.0.into_owned())
    }
}

impl Notify {
    /// No report at all.
    pub const NEVER: Self = Self(0);
    /// When it was delivered.
    pub const SUCCESS: Self = Self(1);
    /// When it could not be delivered.
    pub const FAILURE: Self = Self(2);
    /// When it takes long.
    pub const DELAY: Self = Self(4);

    /// The reasons and their words, in the order in which they are written.
    const REASONS: [(Self, &str); 3] =
        [(Self::SUCCESS, "SUCCESS"), (Self::FAILURE, "FAILURE"), (Self::DELAY, "DELAY")];

    /// This and another reason.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a report is wanted for that reason; for [`NEVER`](Self::NEVER), whether none is wanted at all.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        if other.0 == 0 { self.0 == 0 } else { self.0 & other.0 == other.0 }
    }

    /// Reads `"NEVER" / 1#notify-list-element` (RFC 3461 §4.1).
    ///
    /// # Errors
    /// A word of it is none of these, or `NEVER` stands beside another.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Self::read(text.as_bytes()).ok_or(no_value())
    }

    /// The same, for octets.
    pub(crate) fn read(octets: &[u8]) -> Option<Self> {
        const NEVER: u64 = ascii::word(b"NEVER");
        const SUCCESS: u64 = ascii::word(b"SUCCESS");
        const FAILURE: u64 = ascii::word(b"FAILURE");
        const DELAY: u64 = ascii::word(b"DELAY");
        if octets.len() == 5 && ascii::word(octets) == NEVER {
            return Some(Self::NEVER);
        }
        octets.split(|&octet| octet == b',').try_fold(Self::NEVER, |all, word| {
            // A space in front would not count.
            let word =
                word.first().filter(|octet| octet.is_ascii_alphabetic()).map_or(0, |_| ascii::word(word));
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
    /// Reads the value as it stands on the wire.
    ///
    /// # Errors
    /// The type is no atom, the address is not written as its type asks or means something with a control character in
    /// it, or the whole is longer than 500 octets.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        let end = memchr::memchr(b';', text.as_bytes()).ok_or(no_value())?;
        let (kind, address) = (text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default());
        let good =
            if is_utf8(kind) { is_utf8_address(address) } else { parameter::is_xtext(address.as_bytes()) };
        if good && parameter::is_keyword(kind.as_bytes()) && text.len() <= LONGEST_RECIPIENT {
            Ok(Self { kind: Cow::Borrowed(kind), address: Cow::Borrowed(address) })
        } else {
            Err(no_value())
        }
    }

    /// An address of any type, as it is meant.
    ///
    /// # Errors
    /// The type is no atom, the address is empty or holds a control character, or the whole is longer than 500 octets
    /// when it is written.
    pub fn encode(kind: &'i str, plain: &str) -> Result<Self, SyntaxError> {
        if plain.is_empty()
            || ascii::printable(plain.as_bytes()).is_none()
            || !parameter::is_keyword(kind.as_bytes())
        {
            return Err(no_value());
        }
        let recipient = Self::written(Cow::Borrowed(kind), plain);
        if recipient.kind.len() + 1 + recipient.address.len() > LONGEST_RECIPIENT {
            return Err(no_value());
        }
        Ok(recipient)
    }

    /// An address of the Internet: of the type `rfc822`, or `utf-8` if it is outside US-ASCII. `None` if that is longer
    /// than 500 octets when it is written, which only some of the latter are.
    #[must_use]
    pub fn of(address: &Address<'_>) -> Option<OriginalRecipient<'static>> {
        OriginalRecipient::encode(if address.is_ascii() { "rfc822" } else { "utf-8" }, address.as_str()).ok()
    }

    fn written(kind: Cow<'i, str>, plain: &str) -> Self {
        let mut address = String::with_capacity(plain.len());
        // Nothing fails to be written into a string.
        let _ =
            if is_utf8(&kind) { write_utf8(plain, &mut address) } else { Xtext::write(plain, &mut address) };
        Self { kind, address: Cow::Owned(address) }
    }

    /// The address type, in any case.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What the address means: octets, UTF-8 by convention.
    #[must_use]
    pub fn decode(&self) -> Vec<u8> {
        if !is_utf8(&self.kind) {
            return parameter::xtext_octets(self.address.as_bytes()).collect();
        }
        let mut plain = String::with_capacity(self.address.len());
        let mut rest = &*self.address;
        while let Some((character, behind)) = utf8_character(rest) {
            plain.push(character);
            rest = behind;
        }
        plain.into_bytes()
    }

    /// Whether it was written without SMTPUTF8. It is always sent so.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.address.is_ascii()
    }

    /// The same, kept.
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
        let wanted = Self::REASONS.into_iter().filter(|(reason, _)| self.contains(*reason));
        for (place, (_, word)) in wanted.enumerate() {
            f.write_str(if place == 0 { "" } else { "," })?;
            f.write_str(word)?;
        }
        Ok(())
    }
}

impl fmt::Display for OriginalRecipient<'_> {
    /// The value as it is sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};", self.kind)?;
        self.address.chars().try_for_each(|character| match character {
            ' '..='~' => f.write_char(character),
            _ => embedded(character, f),
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
fn embedded(character: char, out: &mut impl fmt::Write) -> fmt::Result {
    write!(out, "\\x{{{:02X}}}", u32::from(character))
}

fn write_utf8(plain: &str, out: &mut impl fmt::Write) -> fmt::Result {
    plain.chars().try_for_each(|character| {
        if is_qchar(character) { out.write_char(character) } else { embedded(character, out) }
    })
}

/// `utf-8-addr-xtext / utf-8-addr-unitext`, not empty, and without control characters in what it means.
fn is_utf8_address(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, behind)) = utf8_character(rest) {
        rest = behind;
    }
    rest.is_empty() && !text.is_empty()
}

/// The next character that is meant, and what follows it; `None` at the end and where there is none.
fn utf8_character(text: &str) -> Option<(char, &str)> {
    let first = text.chars().next()?;
    if is_qchar(first) || (!first.is_ascii() && !first.is_control()) {
        return Some((first, text.get(first.len_utf8()..)?));
    }
    let (digits, behind) = text.strip_prefix("\\x{")?.split_once('}')?;
    if digits.len() > 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?;
    // As short as can be, and only what may not stand for itself: each address has one way to be written.
    let shortest = digits.len() == 2 || !digits.starts_with('0');
    (shortest && !is_qchar(character) && !character.is_control()).then_some((character, behind))
}

const fn no_value() -> SyntaxError {
    SyntaxError { at: 0, why: Why::Value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn never_stands_alone() {
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
    fn a_recipient_is_named_in_two_ways() {
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
        // What was written under SMTPUTF8 is sent so that it needs none.
        let under_utf8 = OriginalRecipient::parse("utf-8;почта@b").unwrap();
        assert!(!under_utf8.is_ascii());
        assert_eq!(under_utf8.to_string(), "utf-8;\\x{43F}\\x{43E}\\x{447}\\x{442}\\x{430}@b");
        let address = |text: &'static str| OriginalRecipient::of(&Address::parse(text).unwrap()).unwrap();
        assert_eq!(address("a+b@c").to_string(), "rfc822;a+2Bb@c");
        assert_eq!(address("п+b@c").to_string(), "utf-8;\\x{43F}\\x{2B}b@c");
    }

    #[test]
    fn nothing_hides_in_a_recipient() {
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
    fn a_name_of_a_sending_is_short() {
        assert_eq!(EnvelopeId::encode("QQ 1").unwrap().as_str(), "QQ+201");
        assert_eq!(EnvelopeId::parse("QQ+201").unwrap().decode(), b"QQ 1");
        assert!(EnvelopeId::encode(&"x".repeat(100)).is_ok());
        for bad in ["", "a\r\nRSET", &"x".repeat(101), &" ".repeat(34)] {
            assert!(EnvelopeId::encode(bad).is_err(), "{bad:?}");
        }
    }
}
