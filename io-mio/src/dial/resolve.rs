//! Looking up the addresses of a host, off the caller's thread.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::mpsc,
    time::Duration,
};

use io_common::{
    Error, TimeoutStage,
    lookup::{candidates, literal},
};

/// Returns the addresses of a host, in the order in which they should be tried.
pub(crate) fn resolve(host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
    if let Some(address) = literal(host, port) {
        return Ok(vec![address]);
    }
    let (found, answer) = mpsc::sync_channel(1);
    let name = host.to_owned();
    // The system's resolver cannot be interrupted. A thread that is too late ends by itself, and its result is dropped.
    std::thread::Builder::new()
        .name("lookup".into())
        .spawn(move || {
            let addresses = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            let _ = found.send(addresses);
        })
        .map_err(Error::io("starting a lookup"))?;
    match answer.recv_timeout(limit) {
        Ok(found) => candidates(host, found),
        Err(_) => Err(Error::TimedOut { stage: TimeoutStage::Lookup, after: limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_literals_without_a_lookup() {
        let found = resolve("[::1]", 143, Duration::ZERO).unwrap();
        assert_eq!(found, ["[::1]:143".parse().unwrap()]);
        assert_eq!(resolve("127.0.0.1", 25, Duration::ZERO).unwrap(), ["127.0.0.1:25".parse().unwrap()]);
    }
}
