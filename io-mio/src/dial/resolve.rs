//! Looking up the addresses of a host, off the caller's thread.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::mpsc,
    time::Duration,
};

use io_common::{Error, TimeoutStage};

/// How many addresses of one host are tried.
const MAX_ADDRESSES: usize = 16;

/// Returns the addresses of a host, in the order in which they should be tried.
pub(crate) fn resolve(host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (found, answer) = mpsc::sync_channel(1);
    let name = host.to_owned();
    // The system's resolver cannot be interrupted. A thread that is too late ends by itself, and its result is dropped.
    std::thread::Builder::new()
        .name("lookup".into())
        .spawn(move || {
            let addresses = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
            let _ = found.send(addresses);
        })
        .map_err(Error::io("starting a lookup"))?;
    let failed = |source| Error::Lookup { host: host.to_owned(), source: classified(source) };
    match answer.recv_timeout(limit) {
        Ok(Ok(addresses)) => match interleave(addresses) {
            none if none.is_empty() => Err(failed(io::Error::other("the name has no address"))),
            addresses => Ok(addresses),
        },
        Ok(Err(source)) => Err(failed(source)),
        Err(_) => Err(Error::TimedOut { stage: TimeoutStage::Lookup, after: limit }),
    }
}

/// Turns a temporary error of the resolver into [`io::ErrorKind::WouldBlock`]. The standard library keeps only the text
/// of a `getaddrinfo` error, not its code.
fn classified(source: io::Error) -> io::Error {
    let text = source.to_string();
    let is_temporary =
        ["Temporary failure in name resolution", "Try again"].iter().any(|word| text.contains(word));
    if is_temporary { io::Error::new(io::ErrorKind::WouldBlock, text) } else { source }
}

/// Interleaves the address families (RFC 8305 §4), each in the resolver's order, and removes duplicates.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
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

    #[test]
    fn interleaves_address_families() {
        let of = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = of(&["[2001:db8::1]:25", "[2001:db8::2]:25", "192.0.2.1:25", "192.0.2.1:25"]);
        assert_eq!(interleave(given), of(&["[2001:db8::1]:25", "192.0.2.1:25", "[2001:db8::2]:25"]));
        assert!(interleave(Vec::new()).is_empty());
    }

    #[test]
    fn resolves_literals_without_a_lookup() {
        let found = resolve("[::1]", 143, Duration::ZERO).unwrap();
        assert_eq!(found, ["[::1]:143".parse().unwrap()]);
        assert_eq!(resolve("127.0.0.1", 25, Duration::ZERO).unwrap(), ["127.0.0.1:25".parse().unwrap()]);
    }
}
