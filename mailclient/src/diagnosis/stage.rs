//! The stages of a diagnosis.

use serde::{Serialize, Serializer};

/// A stage, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The host name is resolved.
    Name,
    /// The TCP connection is established.
    Tcp,
    /// The server has sent its greeting. With implicit TLS, this follows the TLS handshake.
    Greeting,
    /// The TLS handshake is complete.
    Tls,
    /// The server's certificate is verified.
    Certificate,
    /// The server's capabilities are known.
    Capabilities,
    /// The user is logged in.
    Login,
    /// The folders are listed (IMAP only).
    Folders,
}

impl Stage {
    /// Returns the stage's name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Tcp => "tcp",
            Self::Greeting => "greeting",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::Capabilities => "capabilities",
            Self::Login => "login",
            Self::Folders => "folders",
        }
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
