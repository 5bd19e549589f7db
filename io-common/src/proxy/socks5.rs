//! The SOCKS5 handshake (RFC 1928), with user and password (RFC 1929).

use std::net::IpAddr;

use proto_mail::Secret;

use super::handshake::{ProxyCredentials, ProxyError, ProxyHandshake};

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;

/// A SOCKS5 handshake.
pub(super) struct Socks5 {
    state: State,
    credentials: Option<Secret<Vec<u8>>>,
    connect: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Methods,
    Login,
    Connect,
    Open,
}

impl Socks5 {
    /// A handshake that asks for a connection to this host. `Err`: what is wrong with the host or the credentials.
    pub(super) fn new(
        host: &str,
        port: u16,
        credentials: Option<&ProxyCredentials>,
    ) -> Result<Self, &'static str> {
        let mut connect = vec![VERSION, 1, 0];
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => {
                connect.push(1);
                connect.extend(address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                connect.push(4);
                connect.extend(address.octets());
            }
            Err(_) => {
                let length = u8::try_from(host.len()).map_err(|_| "the host name has more than 255 bytes")?;
                connect.extend([3, length]);
                connect.extend(host.as_bytes());
            }
        }
        connect.extend(port.to_be_bytes());
        let credentials = credentials.map(login_request).transpose()?;
        Ok(Self { state: State::Methods, credentials, connect })
    }
}

fn login_request(credentials: &ProxyCredentials) -> Result<Secret<Vec<u8>>, &'static str> {
    let mut request = vec![LOGIN_VERSION];
    for part in [credentials.user.as_str(), credentials.password.expose().as_str()] {
        match u8::try_from(part.len()) {
            Ok(length @ 1..) => request.push(length),
            _ => return Err("user name and password for a SOCKS5 proxy must have 1 to 255 bytes each"),
        }
        request.extend(part.as_bytes());
    }
    Ok(Secret::new(request))
}

impl ProxyHandshake for Socks5 {
    fn request(&mut self) -> Option<Secret<Vec<u8>>> {
        match self.state {
            State::Methods => Some(Secret::new(match &self.credentials {
                Some(_) => vec![VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
                None => vec![VERSION, 1, NO_AUTHENTICATION],
            })),
            State::Login => self.credentials.take(),
            State::Connect => Some(Secret::new(std::mem::take(&mut self.connect))),
            State::Open => None,
        }
    }

    fn reply(&mut self, received: &[u8]) -> Result<Option<usize>, ProxyError> {
        let &[version, code, ref rest @ ..] = received else { return Ok(None) };
        match self.state {
            State::Methods => {
                if version != VERSION {
                    return Err(ProxyError::InvalidReply("it is not SOCKS5"));
                }
                self.state = match code {
                    NO_AUTHENTICATION => State::Connect,
                    USER_AND_PASSWORD if self.credentials.is_some() => State::Login,
                    NO_ACCEPTABLE_METHOD => return Err(ProxyError::AuthenticationRequired),
                    _ => return Err(ProxyError::InvalidReply("a method that was not offered")),
                };
                Ok(Some(2))
            }
            State::Login => {
                if version != LOGIN_VERSION {
                    return Err(ProxyError::InvalidReply("an unknown version of the login"));
                }
                if code != 0 {
                    return Err(ProxyError::AuthenticationFailed);
                }
                self.state = State::Connect;
                Ok(Some(2))
            }
            State::Connect => {
                if version != VERSION {
                    return Err(ProxyError::InvalidReply("it is not SOCKS5"));
                }
                if code != 0 {
                    return Err(ProxyError::refused(code.into(), meaning(code)));
                }
                let length = match rest {
                    [_, 1, ..] => 10,
                    [_, 4, ..] => 22,
                    [_, 3, length, ..] => 7 + usize::from(*length),
                    [] | [_] | [_, 3] => return Ok(None),
                    _ => return Err(ProxyError::InvalidReply("an unknown type of address")),
                };
                if received.len() < length {
                    return Ok(None);
                }
                self.state = State::Open;
                Ok(Some(length))
            }
            State::Open => Err(ProxyError::InvalidReply("a reply without a request")),
        }
    }
}

/// The meaning of a reply code (RFC 1928 §6).
const fn meaning(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "not allowed by the rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown reason",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn credentials() -> ProxyCredentials {
        ProxyCredentials { user: "me".into(), password: Arc::new(Secret::new("pw".to_owned())) }
    }

    fn request(handshake: &mut Socks5) -> Vec<u8> {
        handshake.request().unwrap().expose().clone()
    }

    #[test]
    fn asks_the_proxy_to_resolve_names() {
        let mut handshake = Socks5::new("mail.example", 993, None).unwrap();
        assert_eq!(request(&mut handshake), [5, 1, 0]);
        assert_eq!(handshake.reply(&[5]).unwrap(), None);
        assert_eq!(handshake.reply(&[5, 0]).unwrap(), Some(2));
        assert_eq!(request(&mut handshake), b"\x05\x01\x00\x03\x0cmail.example\x03\xe1");
        let reply = b"\x05\x00\x00\x03\x04host\x00\x01rest";
        for end in 0..11 {
            assert_eq!(handshake.reply(&reply[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(handshake.reply(reply).unwrap(), Some(11));
        assert!(handshake.request().is_none());
    }

    #[test]
    fn sends_addresses_as_addresses() {
        for (host, end, length) in [("192.0.2.1", 10, 10), ("2001:db8::1", 22, 22)] {
            let mut handshake = Socks5::new(host, 25, None).unwrap();
            request(&mut handshake);
            handshake.reply(&[5, 0]).unwrap();
            assert_eq!(request(&mut handshake).len(), length);
            let mut reply = vec![5, 0, 0, if end == 10 { 1 } else { 4 }];
            reply.resize(end, 0);
            assert_eq!(handshake.reply(&reply[..end - 1]).unwrap(), None);
            assert_eq!(handshake.reply(&reply).unwrap(), Some(end));
        }
    }

    #[test]
    fn logs_in_only_if_the_proxy_asks_for_it() {
        let credentials = credentials();
        let mut handshake = Socks5::new("h", 1, Some(&credentials)).unwrap();
        assert_eq!(request(&mut handshake), [5, 2, 0, 2]);
        handshake.reply(&[5, 2]).unwrap();
        assert_eq!(request(&mut handshake), b"\x01\x02me\x02pw");
        assert_eq!(handshake.reply(&[1, 9]), Err(ProxyError::AuthenticationFailed));
        let mut handshake = Socks5::new("h", 1, Some(&credentials)).unwrap();
        request(&mut handshake);
        handshake.reply(&[5, 0]).unwrap();
        assert_eq!(request(&mut handshake)[..4], [5, 1, 0, 3]);
    }

    #[test]
    fn rejects_invalid_replies() {
        let begun = || {
            let mut handshake = Socks5::new("h", 1, None).unwrap();
            request(&mut handshake);
            handshake
        };
        for reply in [*b"HT", [5, 2], [5, 7], [4, 0]] {
            assert!(matches!(begun().reply(&reply), Err(ProxyError::InvalidReply(_))), "{reply:?}");
        }
        assert_eq!(begun().reply(&[5, 0xff]), Err(ProxyError::AuthenticationRequired));
        let mut connecting = begun();
        connecting.reply(&[5, 0]).unwrap();
        request(&mut connecting);
        assert!(matches!(connecting.reply(&[5, 0, 0, 9]), Err(ProxyError::InvalidReply(_))));
        let refused = connecting.reply(&[5, 5]).unwrap_err();
        assert_eq!(
            (refused.to_string().contains("connection refused"), refused.is_retryable()),
            (true, true)
        );
        assert!(!connecting.reply(&[5, 2]).unwrap_err().is_retryable());
    }

    #[test]
    fn refuses_what_cannot_be_sent() {
        assert!(Socks5::new(&"x".repeat(256), 1, None).is_err());
        for user in ["", &"x".repeat(256)] {
            let credentials = ProxyCredentials { user: user.into(), ..credentials() };
            assert!(Socks5::new("h", 1, Some(&credentials)).is_err());
        }
    }
}
