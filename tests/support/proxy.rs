//! PROXY protocol headers: arbitrary bytes are parsed at every length, and parsed headers are encoded and parsed
//! again.
//!
//! This module has its own encoder, since the library only parses.

use std::net::{IpAddr, SocketAddr};

use proto_mail::proxy::{Header, MAX_HEADER_LEN, parse};

/// Parses a header from arbitrary bytes, byte by byte.
///
/// # Panics
/// If more bytes change the result, or an encoded header does not parse as itself.
pub fn proxy(bytes: &[u8]) {
    let mut known = Ok(None);
    for end in 0..=bytes.len().min(MAX_HEADER_LEN + 16) {
        let now = parse(bytes.get(..end).unwrap_or_default());
        match known {
            Ok(None) => {}
            _ => assert_eq!(now, known, "the result changed with {} bytes", end),
        }
        if let Ok(Some((_, length))) = now {
            assert!(length <= end && length <= MAX_HEADER_LEN, "{length} of {end} bytes");
            if known == Ok(None) {
                assert_eq!(length, end, "complete with exactly the last byte of the header");
            }
        }
        assert!(end < MAX_HEADER_LEN || now != Ok(None), "no header is longer than the limit");
        known = now;
    }
    if let Ok(Some((header, _))) = known {
        for written in [line(&header), binary(&header)] {
            assert_eq!(parse(&written), Ok(Some((header, written.len()))), "{}", written.escape_ascii());
        }
    }
}

/// Encodes version 1.
fn line(header: &Header) -> Vec<u8> {
    let Header::Relayed { source, destination } = header else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

/// Encodes version 2.
fn binary(header: &Header) -> Vec<u8> {
    let (command, family, addresses) = match header {
        Header::Local => (0x20, 0, Vec::new()),
        Header::Relayed { source, destination } => {
            let family = if source.is_ipv4() { 0x11 } else { 0x21 };
            (0x21, family, [bytes(source), bytes(destination), ports(source, destination)].concat())
        }
    };
    let length = u16::try_from(addresses.len()).unwrap_or(u16::MAX).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, &addresses].concat()
}

fn bytes(address: &SocketAddr) -> Vec<u8> {
    match address.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn ports(source: &SocketAddr, destination: &SocketAddr) -> Vec<u8> {
    [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat()
}
