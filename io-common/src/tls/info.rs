//! What a TLS handshake negotiated, and what a session derives from it.

use std::sync::Arc;

use proto_mail::{ChannelBinding, Secret};
use rustls::{ClientConnection, Connection, ConnectionCommon, ServerConnection, pki_types::CertificateDer};

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

/// Returns what ties an authentication to this connection, as [`client_channel_binding`] and [`server_channel_binding`].
pub(crate) fn binding(connection: &Connection, presented: Option<&CertificateDer<'_>>) -> ChannelBinding {
    match connection {
        Connection::Client(client) => client_channel_binding(client),
        Connection::Server(server) => server_channel_binding(server, presented),
    }
}

/// Returns what ties a login to this TLS connection of a client: the exporter under TLS 1.3 (RFC 9266), the hash of the
/// server's certificate under TLS 1.2 (RFC 5929 §4). A driver that does not use [`Transport`](crate::transport::Transport)
/// passes it to [`Secure::tls`](proto_mail::Secure::tls) when the handshake has finished.
///
/// [`ChannelBinding::None`] if the handshake has not finished, or if the certificate's signature algorithm has no hash
/// (Ed25519).
#[must_use]
pub fn client_channel_binding(connection: &ClientConnection) -> ChannelBinding {
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    channel_binding(connection, leaf)
}

/// As [`client_channel_binding`], for a server. `presented` is the certificate that it has presented; it is used under
/// TLS 1.2 only.
#[must_use]
pub fn server_channel_binding(
    connection: &ServerConnection,
    presented: Option<&CertificateDer<'_>>,
) -> ChannelBinding {
    channel_binding(connection, presented)
}

fn channel_binding<D>(
    connection: &ConnectionCommon<D>,
    server_certificate: Option<&CertificateDer<'_>>,
) -> ChannelBinding {
    if connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
        let label = b"EXPORTER-Channel-Binding";
        return connection
            .export_keying_material([0u8; 32], label, Some(b""))
            .map_or(ChannelBinding::None, ChannelBinding::TlsExporter);
    }
    server_certificate
        .and_then(end_point_hash)
        .map_or(ChannelBinding::None, ChannelBinding::TlsServerEndPoint)
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

    /// Makes a handshake in memory.
    fn connect(version: &'static rustls::SupportedProtocolVersion) -> (ClientConnection, ServerConnection) {
        use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let mut client = ClientConnection::new(client.into(), "localhost".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(server.into()).unwrap();
        assert_eq!(client_channel_binding(&client), ChannelBinding::None, "the handshake has not finished");
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut &bytes[..]).unwrap();
            server.process_new_packets().unwrap();
            bytes.clear();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut &bytes[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        (client, server)
    }

    #[test]
    fn both_sides_have_the_same_channel_binding() {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let (client, server) = connect(version);
            let binding = client_channel_binding(&client);
            let presented = client.peer_certificates().and_then(|chain| chain.first());
            assert_eq!(binding, server_channel_binding(&server, presented));
            match binding {
                ChannelBinding::TlsExporter(_) => {
                    assert_eq!(version.version, rustls::ProtocolVersion::TLSv1_3)
                }
                ChannelBinding::TlsServerEndPoint(_) => {
                    assert_eq!(version.version, rustls::ProtocolVersion::TLSv1_2);
                    assert_eq!(server_channel_binding(&server, None), ChannelBinding::None);
                }
                other => panic!("{other:?}"),
            }
            let (other, _) = connect(version);
            assert_ne!(client_channel_binding(&client), client_channel_binding(&other));
        }
    }
}
