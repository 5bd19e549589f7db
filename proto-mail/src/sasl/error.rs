//! Why an exchange fails.

use core::fmt;

/// Why an exchange cannot continue. The session can: a client cancels the exchange with `*`, a server rejects the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslError {
    /// A message does not match the grammar of the mechanism.
    Malformed,
    /// A message came after the last one of the mechanism.
    AlreadyFinished,
    /// The mechanism cannot transmit the credentials, for example because of a NUL or of what SASLprep forbids.
    UnencodableCredentials,
    /// The server's nonce does not extend the client's nonce: an old exchange may be replayed.
    NonceMismatch,
    /// The iteration count is below [`MIN_ITERATIONS`](super::MIN_ITERATIONS) or above [`MAX_ITERATIONS`](super::MAX_ITERATIONS).
    IterationCount,
    /// The server did not prove that it knows the password: it may be an impostor.
    ServerNotVerified,
    /// The peer requires an unsupported SCRAM extension (`m=`).
    UnsupportedExtension,
    /// A message is longer than the limit, or there are too many messages.
    TooLong,
}

impl fmt::Display for SaslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a SASL message does not match the grammar of its mechanism",
            Self::AlreadyFinished => "a SASL message came after the mechanism's last one",
            Self::UnencodableCredentials => "the mechanism cannot transmit this user name or password",
            Self::NonceMismatch => {
                "the server's nonce does not extend the client's: an old exchange may be replayed"
            }
            Self::IterationCount => {
                "the iteration count is below 4096 or above 1000000: try another mechanism"
            }
            Self::ServerNotVerified => {
                "the server did not prove that it knows the password: it may be an impostor"
            }
            Self::UnsupportedExtension => "the peer requires an unsupported extension of the mechanism",
            Self::TooLong => "a SASL message is longer than the limit, or there are too many messages",
        })
    }
}

impl core::error::Error for SaslError {}
