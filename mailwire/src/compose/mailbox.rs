//! Mailboxes: an address with an optional name, on the command line and in a header.
//!
//! A non-ASCII domain is converted to A-labels (RFC 5890, UTS 46 without transitional processing), which every server
//! accepts. A non-ASCII local part stays unchanged and needs SMTPUTF8.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::structured::{split_at, without_comments};

/// An address with an optional name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mailbox {
    pub(crate) name: Option<String>,
    /// The valid address `local@domain`, with the domain in ASCII.
    pub(crate) address: String,
}

impl Mailbox {
    /// Parses `local@domain` or `Name <local@domain>`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_matches(' ');
        let (name, address) = match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
            Some((name, address)) => {
                (Some(name.trim_matches(' ').trim_matches('"')).filter(|name| !name.is_empty()), address)
            }
            None => (None, text),
        };
        if name.is_some_and(|name| name.chars().any(char::is_control)) {
            return Err("the name contains a control character".to_owned());
        }
        Ok(Self { name: name.map(str::to_owned), address: ascii_address(address)? })
    }

    /// Formats the mailbox for a header field.
    pub(super) fn header(&self) -> String {
        match &self.name {
            Some(name) => {
                let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
                format!("\"{quoted}\" <{}>", self.address)
            }
            None => format!("<{}>", self.address),
        }
    }

    /// Formats the address as the name of an empty group: readable, but not an address.
    pub(super) fn as_empty_group(&self) -> String {
        format!("\"{}\":;", self.address.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Checks an address and converts its domain to ASCII: `Mailbox` of RFC 5321 §4.1.2, with a non-ASCII local part allowed
/// (RFC 6531 §3.3).
pub(super) fn ascii_address(address: &str) -> Result<String, String> {
    let checked = |text: &str| match proto_smtp::types::Address::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    };
    match address.rsplit_once('@') {
        Some((local, domain)) if !domain.is_ascii() => checked(&format!("{local}@{}", ascii_domain(domain)?)),
        _ => checked(address),
    }
}

/// Converts a domain name to A-labels.
fn ascii_domain(domain: &str) -> Result<String, String> {
    let (deny, hyphens) = (AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    match Uts46::new().to_ascii(domain.as_bytes(), deny, hyphens, DnsLength::Verify) {
        Ok(ascii) => Ok(ascii.into_owned()),
        Err(_) => Err(format!("{domain:?} is not a domain name (IDNA)")),
    }
}

/// Returns the addresses in the value of To, Cc or Bcc, including those in groups, as written and without names and
/// comments. Does not check whether they are valid.
pub(crate) fn addresses_in(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (part, end) in split_at(value, b",;:") {
        // The name of a group.
        if end == Some(b':') {
            continue;
        }
        let part = without_comments(part);
        let address = match part.rsplit_once('<') {
            Some((_, rest)) => rest.split_once('>').map_or(rest, |(address, _)| address),
            None => &part,
        };
        // A source route is ignored (RFC 5321 appendix C).
        let address = if address.trim_start().starts_with('@') {
            address.rsplit_once(':').map_or(address, |(_, address)| address)
        } else {
            address
        };
        if !address.trim().is_empty() {
            found.push(address.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_non_ascii_domains_to_a_labels() {
        for (text, expected) in [
            ("joe@bücher.example", "joe@xn--bcher-kva.example"),
            ("Joe <joe@BÜCHER.example>", "joe@xn--bcher-kva.example"),
            ("joe@straße.example", "joe@xn--strae-oqa.example"),
            ("почта@пример.рф", "почта@xn--e1afmkfd.xn--p1ai"),
            ("joe@例え。テスト", "joe@xn--r8jz45g.xn--zckzah"),
            ("joe@Example.ORG", "joe@Example.ORG"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ] {
            assert_eq!(Mailbox::parse(text).unwrap().address, expected);
        }
        let long = format!("joe@{}.example", "ü".repeat(63));
        for bad in [
            "joe@\u{200d}ü.example",
            "joe@-ü.example",
            "joe@ü_b.example",
            "joe@ü..example",
            "joe@ü b.example",
            &long,
        ] {
            assert!(Mailbox::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn finds_every_address_of_a_field() {
        let value = "\"Doe, J; x: y\" <j@x.example>, (to: all, of us) b@y.example (B), Team: c@z.example, \
                     D <d@z.example>; e@z.example,, <@relay.example:f@z.example>, Empty:;, root";
        let expected = [
            "j@x.example",
            "b@y.example",
            "c@z.example",
            "d@z.example",
            "e@z.example",
            "f@z.example",
            "root",
        ];
        assert_eq!(addresses_in(value), expected);
        assert_eq!(addresses_in("undisclosed-recipients:;"), [""; 0]);
    }
}
