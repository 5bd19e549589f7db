//! The PROXY protocol, versions 1 and 2: the header in which a proxy names the client of a connection.
//!
//! The header precedes TLS and the mail protocol. The driver must decide by the connection's address, before it reads
//! anything, whether the peer may send a header: a peer that may can claim to be any client.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// The longest header of version 1, its CRLF included.
const LINE: usize = 107;
/// The most bytes after the fixed part of version 2: addresses, and extensions, which are ignored.
const EXTENSIONS: usize = 2048;
/// The length of the fixed part of version 2, in bytes.
const FIXED: usize = 16;
/// The longest header, in bytes. With this many bytes, [`parse`] never asks for more.
pub const MAX_HEADER_LEN: usize = FIXED + EXTENSIONS;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const PREFIX: &[u8; 6] = b"PROXY ";

/// A PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The connection is the proxy's own (a health check), or the client is unknown: use the connection's addresses.
    Local,
    /// The proxy relays a client's connection.
    Relayed {
        /// The client's address.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
}

/// The bytes are not a header of version 1 or 2, or the header is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidHeader;

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection does not begin with a valid PROXY protocol header")
    }
}

impl core::error::Error for InvalidHeader {}

/// Parses a header at the beginning of `bytes`. Returns the header and its length in bytes, or `None` if more bytes are
/// needed. The bytes after the header belong to the session.
///
/// # Errors
/// The bytes do not begin with a header, whatever follows them.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, InvalidHeader> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => line(bytes),
        Some(_) => binary(bytes),
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.2 40000 25` CRLF
fn line(bytes: &[u8]) -> Result<Option<(Header, usize)>, InvalidHeader> {
    let known = bytes.len().min(PREFIX.len());
    if bytes.get(..known) != PREFIX.get(..known) {
        return Err(InvalidHeader);
    }
    let window = bytes.get(..bytes.len().min(LINE)).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() < LINE { Ok(None) } else { Err(InvalidHeader) };
    };
    let text =
        window.get(PREFIX.len()..end).and_then(|text| text.strip_suffix(b"\r")).ok_or(InvalidHeader)?;
    let text = core::str::from_utf8(text).map_err(|_| InvalidHeader)?;
    let mut words = text.split(' ');
    let header = match words.next() {
        // The rest of the line is ignored, as the specification requires.
        Some("UNKNOWN") => Header::Local,
        Some("TCP4") => addresses::<Ipv4Addr>(&mut words)?,
        Some("TCP6") => addresses::<Ipv6Addr>(&mut words)?,
        _ => return Err(InvalidHeader),
    };
    Ok(Some((header, end + 1)))
}

fn addresses<'w, A: FromStr + Into<IpAddr>>(
    words: &mut impl Iterator<Item = &'w str>,
) -> Result<Header, InvalidHeader> {
    let mut address =
        || words.next().and_then(|word| word.parse::<A>().ok()).map(Into::into).ok_or(InvalidHeader);
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port).ok_or(InvalidHeader);
    let (source, destination) = (SocketAddr::new(source, port()?), SocketAddr::new(destination, port()?));
    match words.next() {
        None => Ok(Header::Relayed { source, destination }),
        Some(_) => Err(InvalidHeader),
    }
}

/// A port: digits without a sign or a leading zero.
fn port(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| digits)
}

/// The signature, version and command, family and transport, length, addresses, extensions.
fn binary(bytes: &[u8]) -> Result<Option<(Header, usize)>, InvalidHeader> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes.get(..known) != SIGNATURE.get(..known) {
        return Err(InvalidHeader);
    }
    let relayed = match bytes.get(12) {
        None => return Ok(None),
        Some(0x20) => false,
        Some(0x21) => true,
        Some(_) => return Err(InvalidHeader),
    };
    let Some(&[family, high, low]) = bytes.get(13..FIXED).and_then(|fixed| fixed.first_chunk()) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > EXTENSIONS {
        return Err(InvalidHeader);
    }
    let Some(rest) = bytes.get(FIXED..FIXED + length) else { return Ok(None) };
    let header = match family {
        _ if !relayed => Header::Local,
        0x11 => pair::<4, 12>(rest, |bytes| Ipv4Addr::from(bytes).into())?,
        0x21 => pair::<16, 36>(rest, |bytes| Ipv6Addr::from(bytes).into())?,
        // Unspecified, or not TCP: the client is unknown.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Header::Local,
        _ => return Err(InvalidHeader),
    };
    Ok(Some((header, FIXED + length)))
}

/// Parses two addresses of `A` bytes each and two ports: `ALL` bytes.
fn pair<const A: usize, const ALL: usize>(
    bytes: &[u8],
    address: fn([u8; A]) -> IpAddr,
) -> Result<Header, InvalidHeader> {
    let bytes: &[u8; ALL] = bytes.first_chunk().ok_or(InvalidHeader)?;
    let (source, rest) = bytes.split_first_chunk::<A>().ok_or(InvalidHeader)?;
    let (destination, ports) = rest.split_first_chunk::<A>().ok_or(InvalidHeader)?;
    let &[a, b, c, d] = ports.first_chunk().ok_or(InvalidHeader)?;
    Ok(Header::Relayed {
        source: SocketAddr::new(address(*source), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(address(*destination), u16::from_be_bytes([c, d])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn relayed(source: &str, destination: &str) -> Header {
        Header::Relayed { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    fn good() -> Vec<(Vec<u8>, Header)> {
        let four = [192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 0, 25];
        let mut six = [0; 36];
        (six[15], six[31], six[33], six[35]) = (1, 2, 7, 25);
        let with_extensions = [&four[..], &[4, 0, 1, 0]].concat();
        let relayed4 = relayed("192.0.2.1:40000", "198.51.100.2:25");
        alloc::vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 25\r\n".to_vec(), relayed4),
            (b"PROXY TCP6 ::1 2001:db8::2 1 65535\r\n".to_vec(), relayed("[::1]:1", "[2001:db8::2]:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Header::Local),
            (b"PROXY UNKNOWN ffff::1 whatever 1 2 3\r\n".to_vec(), Header::Local),
            (v2(0x21, 0x11, &four), relayed4),
            (v2(0x21, 0x11, &with_extensions), relayed4),
            (v2(0x21, 0x21, &six), relayed("[::1]:7", "[::2]:25")),
            (v2(0x20, 0x00, &[]), Header::Local),
            (v2(0x20, 0x11, &four), Header::Local),
            (v2(0x21, 0x00, b"abc"), Header::Local),
            (v2(0x21, 0x31, &[0; 216]), Header::Local),
            (v2(0x20, 0x00, &[0; EXTENSIONS]), Header::Local),
        ]
    }

    #[test]
    fn parses_headers_at_every_split_and_leaves_what_follows() {
        for (bytes, header) in good() {
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{}", bytes[..cut].escape_ascii());
            }
            for rest in [&b""[..], b"EHLO x\r\n", &bytes] {
                assert_eq!(parse(&[&bytes, rest].concat()), Ok(Some((header, bytes.len()))));
            }
        }
    }

    #[test]
    fn rejects_what_cannot_become_a_header() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat();
        for bad in [
            &b"EHLO x\r\n"[..],
            b"PROXX",
            b"\r\n\r\n\0\r\nQUIX",
            b"proxy TCP4",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 25\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 25 1\r\n",
            b"PROXY TCP4 192.0.2.1  198.51.100.2 40000 25\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 +25\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 040 25\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n",
            b"PROXY TCP4 192.0.2.01 198.51.100.2 1 25\r\n",
            b"PROXY TCP4 ::1 ::2 1 25\r\n",
            b"PROXY TCP6 192.0.2.1 ::2 1 25\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.2 1 25\r\n",
            b"PROXY TCP4 \xff 198.51.100.2 1 25\r\n",
            &long,
            &v2(0x11, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x21, &[0; 35]),
            &v2(0x21, 0x99, &[0; 12]),
            &v2(0x20, 0x00, &[0; EXTENSIONS + 1]),
        ] {
            assert_eq!(parse(bad), Err(InvalidHeader), "{}", bad.escape_ascii());
        }
        assert_eq!(good().iter().map(|(bytes, _)| bytes.len()).max(), Some(MAX_HEADER_LEN));
        assert!(alloc::format!("{InvalidHeader}").contains("PROXY"));
    }

    /// Changes each byte of valid headers to every value.
    #[test]
    fn never_returns_a_length_beyond_the_input() {
        for (bytes, _) in good() {
            for at in 0..bytes.len() {
                for byte in 0..=255 {
                    let mut changed = bytes.clone();
                    changed[at] = byte;
                    if let Ok(Some((_, length))) = parse(&changed) {
                        assert!(length <= changed.len());
                    }
                }
            }
        }
    }
}
