//! What the handshakes of both kinds of proxy have in common.

use std::{fmt, sync::Arc};

use proto_mail::Secret;

#[derive(Clone)]
pub(super) struct ProxyCredentials {
    pub(super) user: String,
    pub(super) password: Arc<Secret<String>>,
}

/// Why a proxy did not open a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy closed the connection.
    Closed,
    /// The proxy sent something that its protocol does not allow.
    InvalidReply(&'static str),
    /// The proxy requires credentials, or other ones than a user and a password.
    AuthenticationRequired,
    /// The proxy refused the credentials.
    AuthenticationFailed,
    /// The proxy refused to connect to the server.
    Refused {
        /// The reply code of SOCKS5 (RFC 1928 §6), or the status code of HTTP.
        code: u16,
        /// The meaning of the code, or the proxy's own words; at most 200 characters.
        text: String,
    },
}

impl ProxyError {
    /// Returns whether the same connection may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Closed => true,
            // SOCKS5: general failure, network or host unreachable, refused, expired. HTTP: 429 and 5yz.
            Self::Refused { code, .. } => matches!(code, 1 | 3..=6 | 429 | 500..=599),
            Self::InvalidReply(_) | Self::AuthenticationRequired | Self::AuthenticationFailed => false,
        }
    }

    /// A refusal with text of the proxy, made harmless for terminals.
    pub(super) fn refused(code: u16, text: &str) -> Self {
        let text = text.chars().take(200).map(proto_mail::printable_char).collect();
        Self::Refused { code, text }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the proxy closed the connection"),
            Self::InvalidReply(what) => write!(f, "the proxy sent an invalid reply: {what}"),
            Self::AuthenticationRequired => f.write_str("the proxy requires credentials"),
            Self::AuthenticationFailed => f.write_str("the proxy refused the credentials"),
            Self::Refused { code, text } => write!(f, "the proxy refused the connection: {code} {text}"),
        }
    }
}

impl std::error::Error for ProxyError {}

/// The client's side of a proxy handshake, without I/O: requests out, replies in, one after the other.
///
/// A driver must leave in the socket what follows the last reply: it belongs to the server.
pub trait ProxyHandshake: Send {
    /// Returns the next request. `None`: the tunnel is open.
    fn request(&mut self) -> Option<Secret<Vec<u8>>>;

    /// Parses the reply at the beginning of `received` and returns its length. `None`: it is incomplete.
    ///
    /// # Errors
    /// The proxy refused, or its reply is invalid.
    fn reply(&mut self, received: &[u8]) -> Result<Option<usize>, ProxyError>;
}

/// The longest reply that is accepted from a proxy, in bytes.
pub const MAX_REPLY_LEN: usize = 8 * 1024;
