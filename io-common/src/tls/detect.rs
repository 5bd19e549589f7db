//! Detecting a peer's protocol from its first bytes.

use std::fmt;

/// The protocol of a peer, detected from the first bytes that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DetectedProtocol {
    /// A TLS record (RFC 8446 §5.1).
    Tls,
    /// An SMTP greeting: `220 ` (RFC 5321 §4.2).
    Smtp,
    /// An IMAP greeting: `* OK` (RFC 9051 §7.1).
    Imap,
    /// A POP3 greeting: `+OK` (RFC 1939 §4).
    Pop3,
    /// HTTP.
    Http,
    /// SSH.
    Ssh,
    /// Something else that is not TLS.
    Other,
}

impl DetectedProtocol {
    /// Detects the protocol; `None` if `bytes` is empty.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            [] => return None,
            // Alert or handshake, and SSL 3's or any TLS's major version.
            [0x15 | 0x16] | [0x15 | 0x16, 3, ..] => Self::Tls,
            [b'*', ..] => Self::Imap,
            [b'2' | b'4' | b'5', rest @ ..] if rest.iter().take(2).all(u8::is_ascii_digit) => Self::Smtp,
            [b'+' | b'-', ..] => Self::Pop3,
            _ if bytes.starts_with(b"HTTP") => Self::Http,
            _ if bytes.starts_with(b"SSH-") => Self::Ssh,
            _ => Self::Other,
        })
    }

    /// Returns what to try when the driver expected another protocol.
    #[must_use]
    pub(crate) fn hint(self, name: &str, implicit: u16, starttls: u16) -> String {
        match self {
            Self::Tls => format!(
                "use implicit TLS ({name}s://, usually port {implicit}), or the STARTTLS port (usually {starttls})"
            ),
            Self::Imap | Self::Smtp => format!(
                "use STARTTLS ({name}://, usually port {starttls}), or the implicit-TLS port (usually {implicit})"
            ),
            Self::Pop3 | Self::Http | Self::Ssh | Self::Other => {
                format!("check host and port: this is not an {name} service")
            }
        }
    }
}

impl fmt::Display for DetectedProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "the port speaks TLS from the first byte, and cleartext was expected",
            Self::Smtp => "the port speaks SMTP in cleartext, and TLS was expected",
            Self::Imap => "the port speaks IMAP in cleartext, and TLS was expected",
            Self::Pop3 => "the port speaks POP3 in cleartext, and TLS was expected",
            Self::Http => "the port speaks HTTP",
            Self::Ssh => "the port speaks SSH",
            Self::Other => "the port does not speak TLS, and TLS was expected",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_protocols_by_their_first_bytes() {
        let rows: [(&[u8], DetectedProtocol); 15] = [
            (b"\x16\x03\x01\x02\x00", DetectedProtocol::Tls),
            (b"\x15\x03\x03\x00\x02", DetectedProtocol::Tls),
            (b"220 mx.example ESMTP\r\n", DetectedProtocol::Smtp),
            (b"554-no\r\n", DetectedProtocol::Smtp),
            (b"* OK ready", DetectedProtocol::Imap),
            (b"+OK pop", DetectedProtocol::Pop3),
            (b"HTTP/1.1 400", DetectedProtocol::Http),
            (b"SSH-2.0-x", DetectedProtocol::Ssh),
            (b"\x16\x99", DetectedProtocol::Other),
            (b"\x16", DetectedProtocol::Tls),
            (b"\x17\x03\x03", DetectedProtocol::Other),
            (b"4", DetectedProtocol::Smtp),
            (b"2x0 mx", DetectedProtocol::Other),
            (b"320 mx", DetectedProtocol::Other),
            (b"HTT", DetectedProtocol::Other),
        ];
        for (bytes, found) in rows {
            assert_eq!(DetectedProtocol::of(bytes), Some(found), "{bytes:?}");
        }
        assert_eq!(DetectedProtocol::of(b""), None);
        assert!(DetectedProtocol::Imap.hint("imap", 993, 143).contains("143"));
        assert!(DetectedProtocol::Tls.hint("smtp", 465, 587).contains("smtps://"));
    }
}
