//! Domains and address literals (RFC 5321 §4.1.2, §4.1.3).
//!
//! This file knows what a domain is made of. It looks nothing up and compares nothing with the DNS.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::parse::{SyntaxError, path};

/// A domain name or an address literal.
///
/// `Domain = sub-domain *("." sub-domain)`; `address-literal = "[" ( IPv4 / "IPv6:" IPv6 / General ) "]"`. At most
/// 255 octets. Labels may be UTF-8 (RFC 6531 §3.3). The underscore, which the RFC forbids, is read because hosts in
/// use bear it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain<'i>(Cow<'i, str>);

/// What a [`Domain`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DomainKind<'d> {
    /// A name.
    Name(&'d str),
    /// An IPv4 or IPv6 address literal.
    Address(IpAddr),
    /// Another literal: its tag and content (RFC 5321 §4.1.3, `General-address-literal`).
    General(&'d str, &'d str),
}

impl<'i> Domain<'i> {
    /// Reads a domain or address literal.
    ///
    /// # Errors
    /// It is neither, or longer than 255 octets.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        path::whole(text.as_bytes(), path::domain).map(|()| Self(Cow::Borrowed(text)))
    }

    /// For the grammar: what was looked at already.
    pub(crate) const fn checked(text: &'i str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The domain as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a name or a literal, and which.
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

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Domain<'static> {
        Domain(Cow::Owned(self.0.into_owned()))
    }
}

impl From<IpAddr> for Domain<'static> {
    /// The address literal of an address.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_literals_are_told_apart() {
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
    fn what_is_no_domain_is_refused() {
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
    fn an_address_makes_its_literal() {
        for (address, literal) in [("192.0.2.7", "[192.0.2.7]"), ("::1", "[IPv6:::1]")] {
            let domain = Domain::from(IpAddr::from_str(address).unwrap());
            assert_eq!(domain.as_str(), literal);
            assert_eq!(Domain::parse(literal).unwrap(), domain);
        }
    }
}
