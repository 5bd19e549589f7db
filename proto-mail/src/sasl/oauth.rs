//! XOAUTH2 and OAUTHBEARER (RFC 7628): an OAuth 2 access token in one message.
//!
//! On failure, both take an extra round: the server sends a challenge with the reason as JSON, the client answers with an
//! empty message (or a lone ^A), and only then the server rejects it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::text::{readable, text};
use super::{ClientExchange, Mechanism, SaslError, ServerExchange, ServerStep, saslname};
use crate::token::{AuthQuestion, AuthVerdict};
use crate::{Credentials, Secret};

pub(super) struct Client {
    mechanism: Mechanism,
    message: Option<Result<Secret<Vec<u8>>, SaslError>>,
    failure: Option<String>,
}

impl Client {
    pub(super) fn new(mechanism: Mechanism, username: String, token: Secret<String>) -> Self {
        Self { mechanism, message: Some(message(mechanism, &username, token.expose())), failure: None }
    }
}

fn message(mechanism: Mechanism, username: &str, token: &str) -> Result<Secret<Vec<u8>>, SaslError> {
    let printable = |text: &str| !text.chars().any(char::is_control);
    if !printable(username) || token.is_empty() || !token.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(SaslError::UnencodableCredentials);
    }
    let message = if mechanism == Mechanism::OAuthBearer {
        // The gs2-header holds the name as saslname (RFC 5801 §4): "=" and "," are escaped.
        let name = saslname::escape(username);
        let authzid = if name.is_empty() { String::new() } else { format!("a={name}") };
        format!("n,{authzid},\x01auth=Bearer {token}\x01\x01")
    } else {
        format!("user={username}\x01auth=Bearer {token}\x01\x01")
    };
    Ok(Secret::new(message.into_bytes()))
}

impl ClientExchange for Client {
    fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        self.message.take().transpose()
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        if let Some(message) = self.message.take() {
            return message;
        }
        if self.failure.is_some() {
            return Err(SaslError::AlreadyFinished);
        }
        self.failure = Some(readable(&String::from_utf8_lossy(challenge)));
        Ok(Secret::new(if self.mechanism == Mechanism::OAuthBearer { b"\x01".to_vec() } else { Vec::new() }))
    }

    fn is_done(&self) -> bool {
        self.message.is_none() && self.failure.is_none()
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth")
            .field("mechanism", &self.mechanism)
            .field("done", &self.is_done())
            .field("failure", &self.failure)
            .finish()
    }
}

#[derive(Debug)]
pub(super) struct Server {
    mechanism: Mechanism,
    rejected: bool,
}

impl Server {
    pub(super) const fn new(mechanism: Mechanism) -> Self {
        Self { mechanism, rejected: false }
    }
}

impl ServerExchange for Server {
    fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        if self.rejected {
            // The client was rejected, whatever it sends now.
            return Ok(ServerStep::Rejected);
        }
        let Some(message) = message else {
            return Ok(ServerStep::Challenge(Vec::new()));
        };
        let credentials = if self.mechanism == Mechanism::OAuthBearer {
            parse_oauthbearer(message)?
        } else {
            parse_xoauth2(message)?
        };
        Ok(ServerStep::Ask(AuthQuestion::Verify(credentials)))
    }

    fn answer(&mut self, verdict: AuthVerdict) -> ServerStep {
        match verdict {
            AuthVerdict::Accept => ServerStep::Accepted,
            AuthVerdict::Unavailable => ServerStep::Unavailable,
            AuthVerdict::Reject | AuthVerdict::Keys(_) | AuthVerdict::Stored(_) => {
                self.rejected = true;
                ServerStep::Challenge(if self.mechanism == Mechanism::OAuthBearer {
                    br#"{"status":"invalid_token"}"#.to_vec()
                } else {
                    br#"{"status":"401","schemes":"bearer"}"#.to_vec()
                })
            }
        }
    }
}

/// `user=NAME ^A auth=Bearer TOKEN ^A ^A`
fn parse_xoauth2(message: &[u8]) -> Result<Credentials, SaslError> {
    let body = message.strip_suffix(b"\x01\x01").ok_or(SaslError::Malformed)?;
    let mut fields = body.split(|&byte| byte == 1);
    let (Some(user), Some(auth), None) = (fields.next(), fields.next(), fields.next()) else {
        return Err(SaslError::Malformed);
    };
    let username = user.strip_prefix(b"user=").ok_or(SaslError::Malformed)?;
    Ok(Credentials::bearer(text(username)?, bearer(auth)?))
}

/// `gs2-header ^A *( key "=" value ^A ) ^A` (RFC 7628 §3.1)
fn parse_oauthbearer(message: &[u8]) -> Result<Credentials, SaslError> {
    let body = message.strip_suffix(b"\x01\x01").ok_or(SaslError::Malformed)?;
    let mut fields = body.split(|&byte| byte == 1);
    let username = authzid(fields.next().ok_or(SaslError::Malformed)?)?;
    let auth = fields
        .find(|field| field.get(..5).is_some_and(|key| key.eq_ignore_ascii_case(b"auth=")))
        .ok_or(SaslError::Malformed)?;
    Ok(Credentials::bearer(username, bearer(auth)?))
}

/// `("n" / "y") "," [ "a=" saslname ] ","`
fn authzid(header: &[u8]) -> Result<String, SaslError> {
    let rest =
        header.strip_prefix(b"n,").or_else(|| header.strip_prefix(b"y,")).ok_or(SaslError::Malformed)?;
    let name = rest.strip_suffix(b",").ok_or(SaslError::Malformed)?;
    if name.is_empty() {
        return Ok(String::new());
    }
    saslname::unescape(&text(name.strip_prefix(b"a=").ok_or(SaslError::Malformed)?)?)
}

/// `auth=Bearer TOKEN`
fn bearer(field: &[u8]) -> Result<Secret<String>, SaslError> {
    const SCHEME: &[u8] = b"auth=Bearer ";
    match field.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty() => {
            text(token).map(Secret::new)
        }
        _ => Err(SaslError::Malformed),
    }
}
