//! The ports of a protocol, for hints.

use super::traits::Protocol;
use crate::{error::Error, tls::detect::DetectedProtocol};

/// A protocol's name and ports, for hints.
#[derive(Debug, Clone, Copy)]
pub struct ProtocolPorts {
    pub(crate) name: &'static str,
    implicit: u16,
    starttls: u16,
}

impl ProtocolPorts {
    /// The name and ports of a protocol.
    pub const fn of<P: Protocol>() -> Self {
        Self { name: P::NAME, implicit: P::IMPLICIT_TLS_PORT, starttls: P::STARTTLS_PORT }
    }

    /// Returns the error for a port that speaks something else than expected.
    pub fn wrong_mode(self, found: DetectedProtocol) -> Error {
        Error::WrongTlsMode { found, hint: found.hint(self.name, self.implicit, self.starttls) }
    }
}
