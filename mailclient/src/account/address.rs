//! What addresses, hosts, users and names may be.

use std::net::IpAddr;

use proto_smtp::types::{Address, Domain};

/// The most bytes of an address (RFC 5321 §4.5.3.1.3, without the angle brackets).
const ADDRESS_LIMIT: usize = 254;

/// The most bytes of a host name.
const HOST_LIMIT: usize = 253;

/// The most bytes of a user name.
const USER_LIMIT: usize = 1_000;

/// Checks an address.
pub(super) fn check_address(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is missing".to_owned());
    }
    if text.len() > ADDRESS_LIMIT {
        return Err(format!("has {} bytes; {ADDRESS_LIMIT} are allowed", text.len()));
    }
    Address::parse(text).map(|_| ()).map_err(|_| "is not an address such as ann@example.org".to_owned())
}

/// Checks the host of a server: a name in ASCII, or an IP address.
pub(super) fn check_host(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is missing".to_owned());
    }
    if text.contains("://") {
        return Err("must be a host name, not a URL".to_owned());
    }
    if text.len() > HOST_LIMIT {
        return Err(format!("has {} bytes; {HOST_LIMIT} are allowed", text.len()));
    }
    if !text.is_ascii() {
        return Err("must be in ASCII: write xn--… for other characters".to_owned());
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    match Domain::parse(text) {
        Ok(_) if !text.starts_with('[') => Ok(()),
        _ => Err("is not a host name or an IP address".to_owned()),
    }
}

/// Checks a user name.
pub(super) fn check_user(text: &str) -> Result<(), String> {
    check_text(text, USER_LIMIT)
}

/// Checks a text: at most `limit` bytes, and no control characters.
pub(super) fn check_text(text: &str, limit: usize) -> Result<(), String> {
    if text.len() > limit {
        return Err(format!("has {} bytes; {limit} are allowed", text.len()));
    }
    match text.chars().any(char::is_control) {
        true => Err("has a control character".to_owned()),
        false => Ok(()),
    }
}

/// Checks the URL of an endpoint of OAuth 2.0: HTTPS, or HTTP to this machine.
pub(super) fn check_endpoint(text: &str) -> Result<(), String> {
    check_text(text, 2_000)?;
    let to_loopback = |rest: &str| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host,
            None => host.split(':').next().unwrap_or_default(),
        };
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let is_allowed = match text.split_once("://") {
        Some(("https", rest)) => !rest.is_empty(),
        Some(("http", rest)) => to_loopback(rest),
        _ => false,
    };
    if is_allowed && !text.contains(char::is_whitespace) && !text.contains('@') {
        return Ok(());
    }
    Err("must be an https:// URL".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_hosts() {
        for good in ["imap.example.org", "localhost", "127.0.0.1", "::1", "xn--bcher-kva.example"] {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        let long = "a.".repeat(130);
        for bad in
            ["", "imaps://h", "h/x", "a b", "h\r\nx", "bücher.example", "[::1]", "a..b", "h:993", &long]
        {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn checks_endpoints_of_oauth() {
        for good in ["https://a.example/t", "http://127.0.0.1:80/t", "http://[::1]:1/", "http://localhost"] {
            assert_eq!(check_endpoint(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "https://",
            "http://a.example",
            "ftp://a",
            "https://a b",
            "https://u@h",
            "http://127.0.0.1.a.example/",
        ] {
            assert!(check_endpoint(bad).is_err(), "{bad}");
        }
    }
}
