//! Domain names and address literals (RFC 5321 §4.1.2, §4.1.3).

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use nom::Parser;
use nom::bytes::complete::{tag, take_while1};
use nom::combinator::map_res;

use crate::ascii;
use crate::syntax::{self, ParseFailure, Parsed, SyntaxError, SyntaxFault};

/// The greatest length of a domain in bytes (RFC 5321 §4.5.3.1.2).
const MAX_LEN: usize = 255;

/// A domain name or an address literal.
///
/// `Domain = sub-domain *("." sub-domain)`; `address-literal = "[" ( IPv4 / "IPv6:" IPv6 / General ) "]"`. At most
/// 255 bytes. Labels may be UTF-8 (RFC 6531 §3.3). The underscore is accepted although the RFC forbids it: names of
/// hosts in use have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain<'i>(Cow<'i, str>);

/// The kind of a [`Domain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DomainKind<'d> {
    /// A domain name.
    Name(&'d str),
    /// An IPv4 or IPv6 address literal.
    Address(IpAddr),
    /// Another literal: its tag and content (RFC 5321 §4.1.3, `General-address-literal`).
    General(&'d str, &'d str),
}

impl<'i> Domain<'i> {
    /// Parses a domain name or address literal.
    ///
    /// # Errors
    /// The text is neither, or is longer than 255 bytes.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        syntax::whole(text.as_bytes(), domain).map(|()| Self(Cow::Borrowed(text)))
    }

    /// Wraps text that the grammar has accepted.
    pub(crate) const fn checked(text: &'i str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Returns the domain as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the kind: a name, an IP address or another literal.
    #[must_use]
    pub fn kind(&self) -> DomainKind<'_> {
        let Some(literal) = self.0.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
            return DomainKind::Name(&self.0);
        };
        if let Ok(address) = Ipv4Addr::from_str(literal) {
            return DomainKind::Address(IpAddr::V4(address));
        }
        match literal.split_once(':') {
            Some((tag, content)) if tag.eq_ignore_ascii_case("IPv6") => match Ipv6Addr::from_str(content) {
                Ok(address) => DomainKind::Address(IpAddr::V6(address)),
                Err(_) => DomainKind::General(tag, content),
            },
            Some((tag, content)) => DomainKind::General(tag, content),
            None => DomainKind::General("", literal),
        }
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Domain<'static> {
        Domain(Cow::Owned(self.0.into_owned()))
    }
}

impl From<IpAddr> for Domain<'static> {
    /// Makes the address literal of an IP address.
    fn from(address: IpAddr) -> Self {
        Self(Cow::Owned(match address {
            IpAddr::V4(address) => alloc::format!("[{address}]"),
            IpAddr::V6(address) => alloc::format!("[IPv6:{address}]"),
        }))
    }
}

impl FromStr for Domain<'static> {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Domain::parse(text)?;
        Ok(Self(Cow::Owned(String::from(text))))
    }
}

impl fmt::Display for Domain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `Domain / address-literal`
pub(crate) fn domain(input: &[u8]) -> Parsed<'_, ()> {
    let (rest, ()) = if input.first() == Some(&b'[') { address_literal(input)? } else { domain_name(input)? };
    if input.len() - rest.len() > MAX_LEN {
        return ParseFailure::at(input, SyntaxFault::DomainTooLong);
    }
    Ok((rest, ()))
}

/// `Domain = sub-domain *("." sub-domain)`
fn domain_name(input: &[u8]) -> Parsed<'_, ()> {
    // No label is empty, and none begins or ends with a hyphen.
    let (mut previous, mut end) = (b'.', input.len());
    for (at, &byte) in input.iter().enumerate() {
        if byte == b'.' {
            if matches!(previous, b'.' | b'-') {
                return ParseFailure::at(input.get(at..).unwrap_or_default(), SyntaxFault::Domain);
            }
        } else if !ascii::is(byte, ascii::LDH) {
            end = at;
            break;
        } else if previous == b'.' && byte == b'-' {
            return ParseFailure::at(input.get(at..).unwrap_or_default(), SyntaxFault::Domain);
        }
        previous = byte;
    }
    let rest = input.get(end..).unwrap_or_default();
    if matches!(previous, b'.' | b'-') { ParseFailure::at(rest, SyntaxFault::Domain) } else { Ok((rest, ())) }
}

/// `address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"`
fn address_literal(input: &[u8]) -> Parsed<'_, ()> {
    let content = take_while1(|byte| ascii::is(byte, ascii::DCONTENT));
    let (rest, ()) = (tag(&b"["[..]), map_res(content, check_literal), tag(&b"]"[..]))
        .map(|_| ())
        .parse(input)
        .map_err(|error: nom::Err<ParseFailure<'_>>| {
            error.map(|failure| ParseFailure { fault: SyntaxFault::Domain, ..failure })
        })?;
    Ok((rest, ()))
}

/// Checks the text between the brackets: an IPv4 or IPv6 address must be valid.
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
                && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            good.then_some(()).ok_or(())
        }
    }
}

impl<'i> nom::error::FromExternalError<&'i [u8], ()> for ParseFailure<'i> {
    fn from_external_error(rest: &'i [u8], _: nom::error::ErrorKind, (): ()) -> Self {
        Self { rest, fault: SyntaxFault::Domain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_names_from_literals() {
        let kind = |text: &'static str| match Domain::parse(text).unwrap().kind() {
            DomainKind::Name(name) => alloc::format!("name {name}"),
            DomainKind::Address(address) => alloc::format!("address {address}"),
            DomainKind::General(tag, content) => alloc::format!("general {tag} {content}"),
        };
        assert_eq!(kind("example.com"), "name example.com");
        assert_eq!(kind("localhost"), "name localhost");
        assert_eq!(kind("пример.рф"), "name пример.рф");
        assert_eq!(kind("[192.0.2.1]"), "address 192.0.2.1");
        assert_eq!(kind("[IPv6:2001:db8::1]"), "address 2001:db8::1");
        assert_eq!(kind("[x400:c=de]"), "general x400 c=de");
    }

    #[test]
    fn rejects_malformed_domains() {
        let long = alloc::format!("{}.example", "a".repeat(250));
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "a b",
            "a\r\nb",
            "a\0",
            "a\n",
            "[",
            "[]",
            "[1.2.3]",
            "[1.2.3.4",
            "[IPv6:xyz]",
            "[IPv6:]",
            "[a b:c]",
            "a@b",
            "a>b",
            "a[b]",
            &long,
            "a\u{85}b",
        ] {
            assert!(Domain::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn converts_ip_addresses_to_literals() {
        for (address, literal) in [("192.0.2.7", "[192.0.2.7]"), ("::1", "[IPv6:::1]")] {
            let domain = Domain::from(IpAddr::from_str(address).unwrap());
            assert_eq!(domain.as_str(), literal);
            assert_eq!(Domain::parse(literal).unwrap(), domain);
        }
    }
}
