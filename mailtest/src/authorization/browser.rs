//! A browser that opens pages of loopback.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::error::Error;

const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest page, in bytes.
const MAX_PAGE: u64 = 1 << 20;

/// A page that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// The text.
    pub body: String,
    /// Where a redirect leads that was not followed.
    pub location: Option<String>,
}

pub(super) fn browse(url: &str, redirects: usize) -> Result<Page, Error> {
    let mut page = get(url)?;
    for _ in 0..redirects {
        let Some(location) = page.location.take() else { break };
        page = get(&location)?;
    }
    Ok(page)
}

fn get(url: &str) -> Result<Page, Error> {
    let invalid = |what: &str| Error::Io(io::Error::new(io::ErrorKind::InvalidInput, what.to_owned()));
    let rest = url.strip_prefix("http://").ok_or_else(|| invalid("the URL is not one of loopback"))?;
    let (authority, target) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let mut addresses =
        authority.to_socket_addrs()?.filter(|address: &SocketAddr| address.ip().is_loopback());
    // A port may be open for only one of the addresses of `localhost`.
    let mut stream = addresses
        .find_map(|address| TcpStream::connect_timeout(&address, TIMEOUT).ok())
        .ok_or_else(|| invalid("the URL is not one of loopback, or its port is closed"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let slash = if target.starts_with('/') { "" } else { "/" };
    let request = format!("GET {slash}{target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_PAGE).read_to_string(&mut answer)?;
    parse(&answer).ok_or_else(|| invalid("the answer is not HTTP"))
}

fn parse(answer: &str) -> Option<Page> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let location = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
    });
    Some(Page { status, body: body.to_owned(), location })
}
