//! A mailbox address (RFC 5321 §4.1.2 `Mailbox`).
//!
//! This file knows the two halves of an address. It does not know whether anybody lives there.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use super::Domain;
use crate::parse::{SyntaxError, path};

/// `Mailbox = Local-part "@" ( Domain / address-literal )`.
///
/// At most 254 octets, 64 of them in the local part and 255 in the domain (RFC 5321 §4.5.3.1). Characters outside
/// US-ASCII are allowed here and need SMTPUTF8 on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address<'i> {
    text: Cow<'i, str>,
    /// Where the `@` stands.
    at: usize,
}

impl<'i> Address<'i> {
    /// Reads an address: `local@domain`, without angle brackets.
    ///
    /// # Errors
    /// It is no address, or a part of it is too long.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        path::whole(text.as_bytes(), path::mailbox).map(|at| Self { text: Cow::Borrowed(text), at })
    }

    /// For the grammar: what was looked at already.
    pub(crate) const fn checked(text: &'i str, at: usize) -> Self {
        Self { text: Cow::Borrowed(text), at }
    }

    /// The whole address as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The local part as it was written, with its quotes if it has any. Only the domain's host may say what it
    /// means (RFC 5321 §2.3.11).
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// The local part as it is meant: without quotes and backslashes. Two addresses whose local parts are the same
    /// in this form are the same.
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

    /// The domain or address literal.
    #[must_use]
    pub fn domain(&self) -> Domain<'_> {
        Domain::checked(self.text.get(self.at + 1..).unwrap_or_default())
    }

    /// Whether it can travel without SMTPUTF8.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// The same, kept.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_are_found() {
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
    fn nothing_can_be_smuggled_in_an_address() {
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
    fn the_limits_are_those_of_the_rfc() {
        let local = "l".repeat(64);
        let domain = alloc::format!("{}.{}.{}", "d".repeat(63), "e".repeat(63), "f".repeat(61));
        assert_eq!(local.len() + 1 + domain.len(), 254);
        assert!(Address::parse(&alloc::format!("{local}@{domain}")).is_ok());
        assert!(Address::parse(&alloc::format!("{local}@{domain}f")).is_err());
        assert!(Address::parse(&alloc::format!("{local}l@example.com")).is_err());
    }
}
