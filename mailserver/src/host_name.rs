//! The server's host names: `--name HOST`, used in its certificate and its greeting.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The maximum length of a host name in bytes (RFC 1035 §2.3.4).
const LENGTH_LIMIT: usize = 253;

/// A name that a certificate can be issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// A single host.
    Host(String),
    /// Every host directly in a domain: `*.example.org`. Holds the domain.
    Wildcard(String),
    /// An address.
    Address(IpAddr),
}

impl HostName {
    /// Returns the name, if a server can use it in its greeting.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Host(name) => Some(name),
            Self::Wildcard(_) | Self::Address(_) => None,
        }
    }

    /// Returns the host or domain, without the wildcard.
    pub fn domain(&self) -> Option<&str> {
        match self {
            Self::Host(name) | Self::Wildcard(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if !name.is_ascii() {
            return Err("write an internationalized name in its A-label form: xn--…".to_owned());
        }
        match name.strip_prefix("*.") {
            Some(domain) if is_host(domain) && domain.contains('.') => Ok(Self::Wildcard(domain.to_owned())),
            None if is_host(&name) => Ok(Self::Host(name)),
            _ => Err("expected a host name, *.DOMAIN or an IP address, without a port".to_owned()),
        }
    }
}

fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A numeric last label means an invalid address.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= LENGTH_LIMIT
        && name.split('.').all(is_label)
        && !name.rsplit('.').next().is_some_and(is_number)
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Wildcard(domain) => write!(f, "*.{domain}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_hosts_wildcards_and_addresses() {
        for (text, shown) in [
            ("mail.example.org", "mail.example.org"),
            ("Mail.Example.", "mail.example"),
            ("*.dev.example", "*.dev.example"),
            ("192.0.2.7", "192.0.2.7"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(text.parse::<HostName>().unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "*",
            "*.org",
            "a..b",
            "-a.b",
            "a.b:25",
            "https://a.b",
            "bücher.example",
            "1.2.3",
            "a b",
            "a.*.b",
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }
}
