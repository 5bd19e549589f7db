//! Reaching a server: name lookup, the race of its addresses, and Unix sockets.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use io_common::{
    TimeoutStage,
    lookup::{candidates, literal},
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{sleep, timeout},
};

use crate::{error::Error, socket::Socket};

/// How long an address may take before the next one is tried as well (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Waits for `work`, for this time at most.
pub(crate) async fn within<T>(
    after: Duration,
    stage: TimeoutStage,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(after, work).await.unwrap_or_else(|_| Err(io_common::Error::TimedOut { stage, after }.into()))
}

/// Returns the addresses of a host, in the order in which they should be tried.
pub(crate) async fn resolve(host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
    if let Some(address) = literal(host, port) {
        return Ok(vec![address]);
    }
    let lookup = async { Ok(candidates(host, lookup_host((host, port)).await)?) };
    within(limit, TimeoutStage::Lookup, lookup).await
}

/// Connects to the address that answers first.
pub(crate) async fn race(host: &str, addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, Error> {
    let connected = async {
        let failed = |attempts| io_common::Error::Connect { host: host.to_owned(), attempts };
        Ok(first_to_accept(addresses).await.map_err(failed)?)
    };
    within(limit, TimeoutStage::Connect, connected).await
}

type Attempt<'a> = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send + 'a>>;

/// Connects to the first address that accepts. Each gets a head start before the next one is tried as well.
async fn first_to_accept(addresses: &[SocketAddr]) -> Result<TcpStream, Vec<(SocketAddr, io::Error)>> {
    let mut waiting = addresses.iter();
    let mut running: Vec<Attempt<'_>> = Vec::new();
    let mut failed = Vec::new();
    loop {
        if let Some(&address) = waiting.next() {
            running.push(Box::pin(async move { (address, TcpStream::connect(address).await) }));
        }
        if running.is_empty() {
            return Err(failed);
        }
        let mut head_start = pin!(sleep(ATTEMPT_DELAY));
        let has_more = !waiting.as_slice().is_empty();
        let finished = poll_fn(|cx| {
            for index in 0..running.len() {
                if let Poll::Ready(result) = running[index].as_mut().poll(cx) {
                    drop(running.swap_remove(index));
                    return Poll::Ready(Some(result));
                }
            }
            if has_more { head_start.as_mut().poll(cx).map(|()| None) } else { Poll::Pending }
        });
        match finished.await {
            Some((_, Ok(stream))) => return Ok(stream),
            Some((address, Err(error))) => failed.push((address, error)),
            None => {}
        }
    }
}

#[cfg(unix)]
pub(crate) async fn connect_unix(path: &std::path::Path) -> Result<Socket, Error> {
    let failed = io_common::Error::io("connecting to a Unix socket");
    let stream = tokio::net::UnixStream::connect(path).await;
    Ok(stream.and_then(Socket::try_from).map_err(failed)?)
}

#[cfg(not(unix))]
pub(crate) async fn connect_unix(_: &std::path::Path) -> Result<Socket, Error> {
    Err(io_common::Error::Config("Unix sockets are not available on this platform".into()).into())
}
