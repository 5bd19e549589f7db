//! What drivers share of a name lookup: literals, the order of the addresses, and the errors.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use crate::error::Error;

/// How many addresses of one host are tried.
const MAX_ADDRESSES: usize = 16;

/// Returns the address of a host that is an IP address, with brackets around it or without. `None`: it is a name.
#[must_use]
pub fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    literal.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port))
}

/// Returns the addresses that the resolver found in the order in which to try them: the families alternate (RFC 8305 §4),
/// each in the resolver's order. Duplicates, and all beyond the first 16, are left out.
///
/// # Errors
/// [`Error::Lookup`]: the resolver failed, or found no address.
pub fn candidates(
    host: &str,
    found: io::Result<impl IntoIterator<Item = SocketAddr>>,
) -> Result<Vec<SocketAddr>, Error> {
    let failed = |source| Error::Lookup { host: host.to_owned(), source };
    let addresses = interleave(found.map_err(|source| failed(classified(source)))?);
    if addresses.is_empty() {
        return Err(failed(io::Error::other("the name has no address")));
    }
    Ok(addresses)
}

/// Turns a temporary error of the resolver into [`io::ErrorKind::WouldBlock`]. The standard library keeps only the text
/// of a `getaddrinfo` error, not its code.
fn classified(source: io::Error) -> io::Error {
    let text = source.to_string();
    let is_temporary =
        ["Temporary failure in name resolution", "Try again"].iter().any(|word| text.contains(word));
    if is_temporary { io::Error::new(io::ErrorKind::WouldBlock, text) } else { source }
}

fn interleave(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.into_iter().peekable();
    let first_is_v6 = addresses.peek().is_some_and(SocketAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) = addresses.partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut order = Vec::new();
    loop {
        let pair = [first.next(), other.next()];
        if pair == [None, None] {
            return order;
        }
        for address in pair.into_iter().flatten() {
            if order.len() < MAX_ADDRESSES && !order.contains(&address) {
                order.push(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn interleaves_address_families() {
        let given = of(&["[2001:db8::1]:25", "[2001:db8::2]:25", "192.0.2.1:25", "192.0.2.1:25"]);
        let order = candidates("h", Ok(given)).unwrap();
        assert_eq!(order, of(&["[2001:db8::1]:25", "192.0.2.1:25", "[2001:db8::2]:25"]));
        let many = (0..100).map(|port| SocketAddr::new(IpAddr::from([192, 0, 2, 1]), port));
        assert_eq!(candidates("h", Ok(many)).unwrap().len(), MAX_ADDRESSES);
    }

    #[test]
    fn tells_a_temporary_failure_from_a_name_that_does_not_exist() {
        let none: io::Result<Vec<SocketAddr>> = Ok(Vec::new());
        assert!(!candidates("h", none).unwrap_err().is_retryable());
        for (text, may_pass) in
            [("Temporary failure in name resolution", true), ("Name does not exist", false)]
        {
            let failed: io::Result<Vec<SocketAddr>> = Err(io::Error::other(format!("failed: {text}")));
            assert_eq!(candidates("h", failed).unwrap_err().is_retryable(), may_pass, "{text}");
        }
    }

    #[test]
    fn literals_need_no_lookup() {
        assert_eq!(literal("[::1]", 143), Some("[::1]:143".parse().unwrap()));
        assert_eq!(literal("127.0.0.1", 25), Some("127.0.0.1:25".parse().unwrap()));
        assert_eq!(literal("localhost", 25), None);
    }
}
