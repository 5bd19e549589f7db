//! What a TLS handshake negotiated, and what a session derives from it.

use std::sync::Arc;

use proto_mail::{ChannelBinding, Secret};
use rustls::Connection;
use rustls::pki_types::CertificateDer;

use super::certificate::{Certificate, end_point_hash};

/// What a TLS handshake negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its RFC name.
    pub cipher: String,
    /// The name that the client sent (SNI), as seen by the server.
    pub server_name: Option<String>,
    /// The peer's certificate. On a server this is the client's, if it was asked for one and sent one.
    pub certificate: Option<Arc<Certificate>>,
}

impl TlsInfo {
    pub(crate) fn of(connection: &Connection) -> Self {
        let (server_name, chain) = match connection {
            Connection::Server(server) => (server.server_name().map(Into::into), server.peer_certificates()),
            Connection::Client(client) => (None, client.peer_certificates()),
        };
        Self {
            version: match connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: connection
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_"))
                .unwrap_or_default(),
            server_name,
            certificate: chain.and_then(|chain| chain.first()).map(Certificate::read).map(Arc::new),
        }
    }
}

/// Returns what ties an authentication to this connection: the exporter under TLS 1.3 (RFC 9266), the hash of the
/// server's certificate under TLS 1.2 (RFC 5929 §4). `presented` is a server's own certificate.
pub(crate) fn binding(connection: &Connection, presented: Option<&CertificateDer<'_>>) -> ChannelBinding {
    if connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
        let label = b"EXPORTER-Channel-Binding";
        return connection
            .export_keying_material([0u8; 32], label, Some(b""))
            .map_or(ChannelBinding::None, ChannelBinding::TlsExporter);
    }
    let leaf = match connection {
        Connection::Client(client) => client.peer_certificates().and_then(|chain| chain.first()),
        Connection::Server(_) => presented,
    };
    leaf.and_then(end_point_hash).map_or(ChannelBinding::None, ChannelBinding::TlsServerEndPoint)
}

/// Returns the randomness of one session, from which its nonces are made; `None` if the system has none.
pub fn seed() -> Option<Secret<[u8; 32]>> {
    let bytes: [u8; 32] = ring::rand::generate(&ring::rand::SystemRandom::new()).ok()?.expose();
    Some(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nonces are made of the seed: two equal seeds would allow a replay of a recorded exchange.
    #[test]
    fn gives_each_session_its_own_randomness() {
        let seeds: std::collections::BTreeSet<[u8; 32]> = (0..8).map(|_| *seed().unwrap().expose()).collect();
        assert_eq!(seeds.len(), 8);
    }
}
