//! Mailbox addresses (RFC 5321 §4.1.2 `Mailbox`).

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use nom::Parser;
use nom::bytes::complete::{tag, take_while, take_while1};

use crate::ascii;
use crate::domain::{Domain, domain};
use crate::syntax::{self, ParseFailure, Parsed, SyntaxError, SyntaxFault};

/// The greatest length of a local part in bytes (RFC 5321 §4.5.3.1.1).
const MAX_LOCAL_PART: usize = 64;
/// The greatest length of an address in bytes: that of a path (§4.5.3.1.3) without its angle brackets.
const MAX_LEN: usize = 254;

/// An address: `Mailbox = Local-part "@" ( Domain / address-literal )`.
///
/// At most 254 bytes, of which at most 64 are the local part (RFC 5321 §4.5.3.1). Characters outside US-ASCII are
/// allowed here and need SMTPUTF8 on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address<'i> {
    text: Cow<'i, str>,
    /// The offset of the `@`.
    at: u8,
}

impl<'i> Address<'i> {
    /// Parses an address: `local@domain`, without angle brackets.
    ///
    /// # Errors
    /// The text is no address, or a part of it is too long.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        syntax::whole(text.as_bytes(), mailbox).map(|at| Self::checked(text, at))
    }

    /// Wraps text that the grammar has accepted; `at` is the offset of the `@`.
    pub(crate) const fn checked(text: &'i str, at: usize) -> Self {
        Self { text: Cow::Borrowed(text), at: at as u8 }
    }

    /// Returns the whole address as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the local part as it was written, with its quotes if it has any. Only the host of the domain may
    /// interpret it (RFC 5321 §2.3.11).
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.text.get(..usize::from(self.at)).unwrap_or_default()
    }

    /// Returns the local part without quotes and backslashes. Two local parts that are equal in this form are
    /// equivalent.
    #[must_use]
    pub fn unquoted_local_part(&self) -> Cow<'_, str> {
        let written = self.local_part();
        let Some(quoted) = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            return Cow::Borrowed(written);
        };
        if !quoted.contains('\\') {
            return Cow::Borrowed(quoted);
        }
        let mut plain = String::with_capacity(quoted.len());
        let mut rest = quoted.chars();
        while let Some(character) = rest.next() {
            plain.extend(if character == '\\' { rest.next() } else { Some(character) });
        }
        Cow::Owned(plain)
    }

    /// Returns the domain or address literal.
    #[must_use]
    pub fn domain(&self) -> Domain<'_> {
        Domain::checked(self.text.get(usize::from(self.at) + 1..).unwrap_or_default())
    }

    /// Whether the address can be sent without SMTPUTF8.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Address<'static> {
        Address { text: Cow::Owned(self.text.into_owned()), at: self.at }
    }
}

impl FromStr for Address<'static> {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Address::parse(text).map(Address::into_owned)
    }
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `Mailbox = Local-part "@" ( Domain / address-literal )`. Returns the offset of the `@`.
pub(crate) fn mailbox(input: &[u8]) -> Parsed<'_, usize> {
    let (rest, ()) = local_part(input)?;
    let at = input.len() - rest.len();
    if at > MAX_LOCAL_PART {
        return ParseFailure::at(input, SyntaxFault::LocalPartTooLong);
    }
    let Some(tail) = rest.strip_prefix(b"@") else {
        let fault = if matches!(rest.first(), None | Some(b'>')) {
            SyntaxFault::MissingDomain
        } else {
            SyntaxFault::LocalPart
        };
        return ParseFailure::at(rest, fault);
    };
    let (rest, ()) = domain(tail)?;
    let len = input.len() - rest.len();
    if len > MAX_LEN {
        return ParseFailure::at(input, SyntaxFault::PathTooLong);
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
        let (rest, _) = take_while1(|byte| ascii::is(byte, ascii::ATEXT)).parse(input).map_err(
            |error: nom::Err<ParseFailure<'_>>| {
                error.map(|failure| ParseFailure { fault: SyntaxFault::LocalPart, ..failure })
            },
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
        (rest, _) = take_while(|byte| ascii::is(byte, ascii::QTEXT)).parse(rest)?;
        match rest {
            [b'"', tail @ ..] => return Ok((tail, ())),
            // quoted-pairSMTP: a backslash and one printable character of US-ASCII.
            [b'\\', b' '..=b'~', tail @ ..] => rest = tail,
            _ => return ParseFailure::at(rest, SyntaxFault::LocalPart),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_local_part_and_domain() {
        for (text, local, domain) in [
            ("a@b", "a", "b"),
            ("first.last+tag@mail.example.com", "first.last+tag", "mail.example.com"),
            ("\"a b\\\"@c\"@example.com", "a b\"@c", "example.com"),
            ("\"\"@example.com", "", "example.com"),
            ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~", "example.com"),
            ("x@[192.0.2.1]", "x", "[192.0.2.1]"),
            ("почта@пример.рф", "почта", "пример.рф"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.unquoted_local_part(), local);
            assert_eq!(address.domain().as_str(), domain);
            assert_eq!(address.clone().into_owned(), address);
        }
    }

    #[test]
    fn rejects_malformed_and_injected_addresses() {
        for bad in [
            "",
            "@",
            "a",
            "a@",
            "@b",
            "a@b@c",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a b@c",
            "a@b>",
            "<a@b",
            "a@b c",
            "a@b\r\nRSET",
            "a\r@b",
            "a\n@b",
            "a\0@b",
            "\"a\r\nb\"@c",
            "\"a\nb\"@c",
            "\"a\0\"@c",
            "\"a\\\r\"@c",
            "\"a@b",
            "\"a\"b@c",
            "a@b> SIZE=1 AUTH=<e@x",
            "b@example.test>\u{10d}\u{10a}RCPT TO:<e@x",
            "\u{80}a@b",
            "a,b@c",
            "a(c)@b",
            "a\\b@c",
            "\"\u{7f}\"@b",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn enforces_the_length_limits_of_the_rfc() {
        let local = "l".repeat(64);
        let domain = alloc::format!("{}.{}.{}", "d".repeat(63), "e".repeat(63), "f".repeat(61));
        assert_eq!(local.len() + 1 + domain.len(), 254);
        assert!(Address::parse(&alloc::format!("{local}@{domain}")).is_ok());
        assert!(Address::parse(&alloc::format!("{local}@{domain}f")).is_err());
        assert!(Address::parse(&alloc::format!("{local}l@example.com")).is_err());
    }
}
