//! What TLS made of a connection: what was negotiated, or why not and what to try.
//!
//! This file translates. It takes no decision: who is trusted is decided in `verify`.

use std::{fmt, sync::Arc};

use proto_mail::{ChannelBinding, Secret};
use rustls::{AlertDescription, CertificateError, Connection, PeerIncompatible};

use super::certificate::{Certificate, Fingerprint, end_point_hash};

/// What was negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its RFC name.
    pub cipher: String,
    /// The name that the client asked for (SNI), as a server sees it.
    pub server_name: Option<String>,
    /// The server's certificate, as a client sees it.
    pub certificate: Option<Arc<Certificate>>,
}

impl TlsInfo {
    pub(crate) fn of(connection: &Connection) -> Self {
        let (server_name, certificate) = match connection {
            Connection::Server(server) => (server.server_name().map(Into::into), None),
            Connection::Client(client) => (
                None,
                client
                    .peer_certificates()
                    .and_then(|chain| chain.first())
                    .map(Certificate::read)
                    .map(Arc::new),
            ),
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
            certificate,
        }
    }
}

/// What ties an authentication to this very connection: the exporter under TLS 1.3 (RFC 9266), else the server's
/// certificate (RFC 5929 §4).
pub(crate) fn binding(
    connection: &Connection,
    own_chain: Option<&rustls::pki_types::CertificateDer<'_>>,
) -> ChannelBinding {
    if connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
        let label = b"EXPORTER-Channel-Binding";
        return connection
            .export_keying_material([0u8; 32], label, Some(b""))
            .map_or(ChannelBinding::None, ChannelBinding::TlsExporter);
    }
    let leaf = match connection {
        Connection::Client(client) => client.peer_certificates().and_then(|chain| chain.first()),
        Connection::Server(_) => own_chain,
    };
    leaf.and_then(end_point_hash).map_or(ChannelBinding::None, ChannelBinding::TlsServerEndPoint)
}

/// Randomness of one session: what its nonces are made of.
pub(crate) fn seed() -> Option<Secret<[u8; 32]>> {
    let octets: [u8; 32] = ring::rand::generate(&ring::rand::SystemRandom::new()).ok()?.expose();
    Some(Secret::new(octets))
}

/// Why TLS was not established, or broke.
#[derive(Debug, Clone)]
pub struct TlsError {
    /// Why.
    pub kind: TlsErrorKind,
    /// What the server's certificate says, if it came.
    pub certificate: Option<Arc<Certificate>>,
}

/// Why TLS was not established, or broke.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// Nobody who is trusted vouches for the certificate.
    UnknownIssuer,
    /// The certificate vouches for itself.
    SelfSigned,
    /// The server uses an authority's certificate (CA:TRUE) as its own.
    CaUsedAsEndEntity,
    /// The certificate was valid until this day.
    Expired(String),
    /// The certificate is valid from this day on.
    NotYetValid(String),
    /// The certificate is for other names.
    WrongName {
        /// The name that was asked for.
        expected: String,
        /// The names that it is for.
        found: Vec<String>,
    },
    /// The certificate was revoked.
    Revoked,
    /// The certificate is not the pinned one.
    PinMismatch {
        /// The fingerprint of the one that came.
        found: Fingerprint,
    },
    /// The certificate cannot be used for another reason.
    BadCertificate(String),
    /// No TLS version in common.
    NoCommonVersion,
    /// No cipher suite or key exchange in common.
    NoCommonCipherSuite,
    /// The peer ended the handshake with this alert (RFC 8446 §6).
    Alert(String),
    /// The peer closed the connection before TLS was in place.
    Closed,
    /// The peer speaks something else, or breaks the rules of TLS.
    InvalidTls(String),
}

impl TlsError {
    pub(crate) fn new(error: &rustls::Error, certificate: Option<Arc<Certificate>>) -> Self {
        let seen = certificate.as_deref();
        let kind = match error {
            rustls::Error::InvalidCertificate(error) => certificate_cause(error, seen),
            rustls::Error::AlertReceived(alert) => alert_cause(*alert),
            rustls::Error::PeerIncompatible(why) => incompatible_cause(why),
            error => TlsErrorKind::InvalidTls(error.to_string()),
        };
        Self { kind, certificate }
    }

    /// Whether the same may well succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, TlsErrorKind::Closed)
    }

    /// What to try.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match &self.kind {
            TlsErrorKind::UnknownIssuer => {
                "if the server's authority is your own, give its certificate as a CA file; else do not go on".into()
            }
            TlsErrorKind::SelfSigned | TlsErrorKind::CaUsedAsEndEntity => match &self.certificate {
                Some(seen) => format!(
                    "if this is your own server, compare the fingerprint there and pin it: {}",
                    seen.fingerprint
                ),
                None => "if this is your own server, pin its fingerprint".into(),
            },
            TlsErrorKind::Expired(_) => "the server's operator must renew it; check this machine's clock".into(),
            TlsErrorKind::NotYetValid(_) => "check this machine's clock".into(),
            TlsErrorKind::WrongName { found, .. } => match found.first() {
                Some(name) => format!("use the server's own name, perhaps {name}"),
                None => "use the server's own name".into(),
            },
            TlsErrorKind::PinMismatch { found } => format!(
                "if the server's operator announced a new certificate, compare and pin {found}; else somebody is in \
                 between: do not go on"
            ),
            TlsErrorKind::NoCommonVersion => "the server must offer TLS 1.2 or 1.3 (RFC 8996)".into(),
            TlsErrorKind::NoCommonCipherSuite => {
                "the server must offer forward secrecy (ECDHE) with AES-GCM or ChaCha20: it may offer RSA key \
                 exchange or CBC only"
                    .into()
            }
            TlsErrorKind::Revoked => "do not go on; tell the server's operator".into(),
            TlsErrorKind::Closed => {
                "try again; a server that does so every time may want STARTTLS, or offer only TLS < 1.2".into()
            }
            TlsErrorKind::BadCertificate(_) | TlsErrorKind::Alert(_) | TlsErrorKind::InvalidTls(_) => return None,
        })
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            TlsErrorKind::UnknownIssuer => {
                f.write_str("nobody who is trusted vouches for the server's certificate")?
            }
            TlsErrorKind::SelfSigned => f.write_str("the server's certificate is self-signed")?,
            TlsErrorKind::CaUsedAsEndEntity => {
                f.write_str("the server uses an authority's certificate (CA:TRUE) as its own")?;
            }
            TlsErrorKind::Expired(day) => write!(f, "the server's certificate expired on {day}")?,
            TlsErrorKind::NotYetValid(day) => {
                write!(f, "the server's certificate is not valid before {day}")?
            }
            TlsErrorKind::WrongName { expected, found } => {
                write!(f, "the server's certificate is not for {expected}, but for {}", list(found))?;
            }
            TlsErrorKind::Revoked => f.write_str("the server's certificate was revoked")?,
            TlsErrorKind::PinMismatch { found } => {
                write!(f, "the server's certificate is not the pinned one, but {found}")?;
            }
            TlsErrorKind::BadCertificate(why) => write!(f, "the server's certificate cannot be used: {why}")?,
            TlsErrorKind::NoCommonVersion => {
                f.write_str("no TLS version in common: the server offers only TLS < 1.2")?
            }
            TlsErrorKind::NoCommonCipherSuite => f.write_str("no TLS cipher suite in common")?,
            TlsErrorKind::Alert(alert) => write!(f, "the peer ended TLS with the alert {alert}")?,
            TlsErrorKind::Closed => f.write_str("the peer closed the connection during the TLS handshake")?,
            TlsErrorKind::InvalidTls(why) => write!(f, "what came is not proper TLS: {why}")?,
        }
        match (&self.kind, &self.certificate) {
            (TlsErrorKind::UnknownIssuer, Some(seen)) if !seen.issuer.is_empty() => {
                write!(f, " (issued by {})", seen.issuer)
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for TlsError {}

fn certificate_cause(error: &CertificateError, seen: Option<&Certificate>) -> TlsErrorKind {
    use CertificateError as E;
    let self_signed = seen.is_some_and(|seen| seen.self_signed);
    match error {
        E::UnknownIssuer if self_signed => TlsErrorKind::SelfSigned,
        E::UnknownIssuer => TlsErrorKind::UnknownIssuer,
        E::Expired | E::ExpiredContext { .. } => {
            TlsErrorKind::Expired(seen.map(Certificate::not_after_day).unwrap_or_default())
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            TlsErrorKind::NotYetValid(seen.map(Certificate::not_before_day).unwrap_or_default())
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => TlsErrorKind::WrongName {
            expected: match error {
                E::NotValidForNameContext { expected, .. } => expected.to_str().into_owned(),
                _ => "the name asked for".into(),
            },
            found: seen.map(|seen| seen.names.clone()).unwrap_or_default(),
        },
        E::Revoked => TlsErrorKind::Revoked,
        E::ApplicationVerificationFailure => match seen {
            // Only the pinning verifier says this.
            Some(seen) => TlsErrorKind::PinMismatch { found: seen.fingerprint },
            None => TlsErrorKind::BadCertificate(error.to_string()),
        },
        error if format!("{error:?}").contains("CaUsedAsEndEntity") => TlsErrorKind::CaUsedAsEndEntity,
        error => TlsErrorKind::BadCertificate(error.to_string()),
    }
}

fn alert_cause(alert: AlertDescription) -> TlsErrorKind {
    match alert {
        AlertDescription::ProtocolVersion => TlsErrorKind::NoCommonVersion,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            TlsErrorKind::NoCommonCipherSuite
        }
        alert => TlsErrorKind::Alert(format!("{alert:?}")),
    }
}

fn incompatible_cause(why: &PeerIncompatible) -> TlsErrorKind {
    use PeerIncompatible as P;
    match why {
        P::ServerTlsVersionIsDisabledByOurConfig
        | P::ServerDoesNotSupportTls12Or13
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::Tls13RequiredForQuic
        | P::SupportedVersionsExtensionRequired => TlsErrorKind::NoCommonVersion,
        P::NoCipherSuitesInCommon | P::NoKxGroupsInCommon | P::NoEcPointFormatsInCommon => {
            TlsErrorKind::NoCommonCipherSuite
        }
        why => TlsErrorKind::InvalidTls(format!("{why:?}")),
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no name at all".into(),
        names if names.len() > 8 => format!("{} and {} more", names[..8].join(", "), names.len() - 8),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nonces are made of it: were it the same twice, an exchange that was overheard could be played again.
    #[test]
    fn each_session_has_randomness_of_its_own() {
        let seeds: std::collections::BTreeSet<[u8; 32]> = (0..8).map(|_| *seed().unwrap().expose()).collect();
        assert_eq!(seeds.len(), 8);
    }

    #[test]
    fn names_are_listed_so_far() {
        let names = |count: usize| list(&(0..count).map(|at| format!("n{at}")).collect::<Vec<_>>());
        assert_eq!(names(0), "no name at all");
        assert_eq!(names(2), "n0, n1");
        assert_eq!(names(8), "n0, n1, n2, n3, n4, n5, n6, n7");
        assert_eq!(names(10), "n0, n1, n2, n3, n4, n5, n6, n7 and 2 more");
    }

    #[test]
    fn what_a_verifier_says_is_told_as_it_is() {
        let kind = |error| certificate_cause(&error, None);
        assert!(matches!(kind(CertificateError::BadEncoding), TlsErrorKind::BadCertificate(_)));
        assert_eq!(kind(CertificateError::UnknownIssuer), TlsErrorKind::UnknownIssuer);
        assert_eq!(kind(CertificateError::Revoked), TlsErrorKind::Revoked);
        // What no certificate came with has no issuer to be named.
        let certificate = Some(Arc::new(Certificate::read(&vec![1, 2, 3].into())));
        let shown = TlsError { kind: TlsErrorKind::UnknownIssuer, certificate }.to_string();
        assert_eq!(shown, "nobody who is trusted vouches for the server's certificate");
    }
}
