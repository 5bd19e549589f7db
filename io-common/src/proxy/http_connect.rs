//! The HTTP CONNECT handshake (RFC 9110 §9.3.6), with Basic authentication (RFC 7617).

use base64::{Engine, engine::general_purpose::STANDARD};
use memchr::memmem;
use proto_mail::Secret;

use super::handshake::{ProxyCredentials, ProxyError, ProxyHandshake};

/// An HTTP CONNECT handshake.
pub(super) struct HttpConnect {
    request: Option<Secret<Vec<u8>>>,
    has_credentials: bool,
}

impl HttpConnect {
    /// A handshake that asks for a connection to this host. `Err`: what is wrong with the credentials.
    pub(super) fn new(
        host: &str,
        port: u16,
        credentials: Option<&ProxyCredentials>,
    ) -> Result<Self, &'static str> {
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
        if let Some(ProxyCredentials { user, password }) = credentials {
            let password = password.expose();
            if user.contains(':') || user.chars().chain(password.chars()).any(char::is_control) {
                return Err(
                    "the user name for an HTTP proxy must not contain a colon, nor may user name and password contain control characters",
                );
            }
            let pair = Secret::new(format!("{user}:{password}"));
            let encoded = Secret::new(STANDARD.encode(pair.expose()));
            request.extend(b"Proxy-Authorization: Basic ");
            request.extend(encoded.expose().as_bytes());
            request.extend(b"\r\n");
        }
        request.extend(b"\r\n");
        Ok(Self { request: Some(Secret::new(request)), has_credentials: credentials.is_some() })
    }
}

impl ProxyHandshake for HttpConnect {
    fn request(&mut self) -> Option<Secret<Vec<u8>>> {
        self.request.take()
    }

    fn reply(&mut self, received: &[u8]) -> Result<Option<usize>, ProxyError> {
        const PREFIX: &[u8] = b"HTTP/1.";
        let common = received.len().min(PREFIX.len());
        if received.get(..common) != PREFIX.get(..common) {
            return Err(ProxyError::InvalidReply("it is not HTTP/1.1"));
        }
        let Some(end) = memmem::find(received, b"\r\n\r\n") else { return Ok(None) };
        let head = received.get(..end).unwrap_or_default();
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.splitn(3, ' ').skip(1);
        let code = words.next().filter(|code| code.len() == 3 && code.bytes().all(|c| c.is_ascii_digit()));
        let Some(code) = code.and_then(|code| code.parse::<u16>().ok()) else {
            return Err(ProxyError::InvalidReply("no status code"));
        };
        match code {
            // A successful reply has no body, whatever its fields say: the tunnel begins behind the empty line.
            200..=299 => Ok(Some(end + 4)),
            407 if self.has_credentials => Err(ProxyError::AuthenticationFailed),
            407 => Err(ProxyError::AuthenticationRequired),
            _ => Err(ProxyError::refused(code, words.next().unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn handshake(host: &str, credentials: Option<&ProxyCredentials>) -> (HttpConnect, String) {
        let mut handshake = HttpConnect::new(host, 993, credentials).unwrap();
        let request = String::from_utf8(handshake.request().unwrap().expose().clone()).unwrap();
        (handshake, request)
    }

    #[test]
    fn asks_for_host_and_port() {
        let (_, request) = handshake("mail.example", None);
        assert_eq!(request, "CONNECT mail.example:993 HTTP/1.1\r\nHost: mail.example:993\r\n\r\n");
        assert!(handshake("2001:db8::1", None).1.starts_with("CONNECT [2001:db8::1]:993 "));
        let credentials = ProxyCredentials {
            user: "Aladdin".into(),
            password: Arc::new(Secret::new("open sesame".into())),
        };
        let (_, request) = handshake("h", Some(&credentials));
        assert!(request.contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"));
        let bad = ProxyCredentials { user: "a:b".into(), ..credentials };
        assert!(HttpConnect::new("h", 1, Some(&bad)).is_err());
    }

    #[test]
    fn the_tunnel_begins_after_the_empty_line() {
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n* OK ready\r\n";
        let head = reply.len() - b"* OK ready\r\n".len();
        for end in 0..head {
            assert_eq!(handshake("h", None).0.reply(&reply[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(handshake("h", None).0.reply(reply).unwrap(), Some(head));
    }

    #[test]
    fn reports_refusals() {
        let error = |reply: &[u8]| handshake("h", None).0.reply(reply).unwrap_err();
        let refused = error(b"HTTP/1.1 403 not \x1b[2J here\r\n\r\n");
        assert_eq!(refused.to_string(), "the proxy refused the connection: 403 not \u{fffd}[2J here");
        assert!(!refused.is_retryable() && error(b"HTTP/1.0 502 Bad Gateway\r\n\r\n").is_retryable());
        assert_eq!(error(b"HTTP/1.1 407 log in\r\n\r\n"), ProxyError::AuthenticationRequired);
        for invalid in
            [&b"SSH-2.0"[..], b"HTTP/2 200", b"HTTP/1.1 2000\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"\x16\x03"]
        {
            assert!(matches!(error(invalid), ProxyError::InvalidReply(_)), "{invalid:?}");
        }
    }
}
