//! TLS errors: what failed, what the certificate says, and what to try.

use std::{fmt, sync::Arc};

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

use super::certificate::{Certificate, Fingerprint};

/// A TLS configuration that cannot be used: a file, a key or a setting is wrong. `Debug` writes the message, because a
/// `main` that returns an error shows that.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsConfigError(String);

impl TlsConfigError {
    pub(crate) fn new(text: impl ToString) -> Self {
        Self(text.to_string())
    }
}

impl fmt::Debug for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsConfigError {}

/// A TLS handshake that failed, or a TLS connection that broke.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TlsError {
    /// What failed.
    pub kind: TlsErrorKind,
    /// What the server's certificate says, if the client received one.
    pub certificate: Option<Arc<Certificate>>,
}

/// What failed in TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// The certificate is not signed by a trusted authority.
    UnknownIssuer,
    /// The certificate is self-signed.
    SelfSigned,
    /// The server uses an authority's certificate (CA:TRUE) as its own.
    CaUsedAsEndEntity,
    /// The certificate was valid until this day (`YYYY-MM-DD`).
    Expired(String),
    /// The certificate is valid from this day on (`YYYY-MM-DD`).
    NotYetValid(String),
    /// The certificate is for other names.
    WrongName {
        /// The name that the client expects.
        expected: String,
        /// The names in the certificate.
        found: Vec<String>,
    },
    /// The certificate was revoked.
    Revoked,
    /// The certificate is not a pinned one.
    PinMismatch {
        /// The fingerprint of the certificate that the server presented.
        found: Fingerprint,
    },
    /// The certificate cannot be used for another reason.
    BadCertificate(String),
    /// Client and server have no TLS version in common.
    NoCommonVersion,
    /// Client and server have no cipher suite or key exchange in common.
    NoCommonCipherSuite,
    /// The peer ended TLS with this alert (RFC 8446 §6).
    Alert(String),
    /// The peer closed the connection before the handshake was done.
    Closed,
    /// The peer sent something else than TLS, or broke the rules of TLS.
    InvalidTls(String),
}

impl TlsError {
    pub(crate) const fn closed(certificate: Option<Arc<Certificate>>) -> Self {
        Self { kind: TlsErrorKind::Closed, certificate }
    }

    pub(crate) fn new(error: &rustls::Error, certificate: Option<Arc<Certificate>>) -> Self {
        let observed = certificate.as_deref();
        let kind = match error {
            rustls::Error::InvalidCertificate(error) => certificate_error(error, observed),
            rustls::Error::AlertReceived(alert) => alert_error(*alert),
            rustls::Error::PeerIncompatible(why) => incompatible_error(why),
            error => TlsErrorKind::InvalidTls(error.to_string()),
        };
        Self { kind, certificate }
    }

    /// Returns whether the same connection may succeed later: only if the peer closed the connection.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, TlsErrorKind::Closed)
    }

    /// Returns what to try, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match &self.kind {
            TlsErrorKind::UnknownIssuer => {
                "if the server's authority is your own, give its certificate as a CA file; otherwise do not connect"
                    .into()
            }
            TlsErrorKind::SelfSigned | TlsErrorKind::CaUsedAsEndEntity => match &self.certificate {
                Some(observed) => format!(
                    "if this is your own server, compare the fingerprint there and pin it: {}",
                    observed.fingerprint
                ),
                None => "if this is your own server, pin its fingerprint".into(),
            },
            TlsErrorKind::Expired(_) => {
                "the server's operator must renew it; check this machine's clock".into()
            }
            TlsErrorKind::NotYetValid(_) => "check this machine's clock".into(),
            TlsErrorKind::WrongName { found, .. } => match found.first() {
                Some(name) => format!("use the server's own name, perhaps {name}"),
                None => "use the server's own name".into(),
            },
            TlsErrorKind::PinMismatch { found } => format!(
                "if the server's operator announced a new certificate, compare and pin {found}; otherwise an attacker \
                 may be between client and server: do not connect"
            ),
            TlsErrorKind::NoCommonVersion => "the server must offer TLS 1.2 or 1.3 (RFC 8996)".into(),
            TlsErrorKind::NoCommonCipherSuite => {
                "the server must offer forward secrecy (ECDHE) with AES-GCM or ChaCha20: it may offer only RSA key \
                 exchange or CBC"
                    .into()
            }
            TlsErrorKind::Revoked => "do not connect; tell the server's operator".into(),
            TlsErrorKind::Closed => {
                "try again; a server that does so every time may want STARTTLS, or offer only TLS < 1.2".into()
            }
            TlsErrorKind::BadCertificate(_) | TlsErrorKind::Alert(_) | TlsErrorKind::InvalidTls(_) => return None,
        })
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use TlsErrorKind as K;
        match &self.kind {
            K::UnknownIssuer => {
                f.write_str("the server's certificate is not signed by a trusted authority")?
            }
            K::SelfSigned => f.write_str("the server's certificate is self-signed")?,
            K::CaUsedAsEndEntity => {
                f.write_str("the server uses an authority's certificate (CA:TRUE) as its own")?;
            }
            K::Expired(day) => write!(f, "the server's certificate expired on {day}")?,
            K::NotYetValid(day) => write!(f, "the server's certificate is not valid before {day}")?,
            K::WrongName { expected, found } => {
                write!(f, "the server's certificate is not for {expected}, but for {}", list(found))?;
            }
            K::Revoked => f.write_str("the server's certificate was revoked")?,
            K::PinMismatch { found } => {
                write!(f, "the server's certificate is not the pinned one, but {found}")?;
            }
            K::BadCertificate(why) => write!(f, "the server's certificate cannot be used: {why}")?,
            K::NoCommonVersion => {
                f.write_str("no TLS version in common: the server offers only TLS < 1.2")?;
            }
            K::NoCommonCipherSuite => f.write_str("no TLS cipher suite in common")?,
            K::Alert(alert) => write!(f, "the peer ended TLS with the alert {alert}")?,
            K::Closed => f.write_str("the peer closed the connection during the TLS handshake")?,
            K::InvalidTls(why) => write!(f, "the peer sent invalid TLS: {why}")?,
        }
        match (&self.kind, &self.certificate) {
            (K::UnknownIssuer, Some(observed)) if !observed.issuer.is_empty() => {
                write!(f, " (issued by {})", observed.issuer)
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for TlsError {}

fn certificate_error(error: &CertificateError, observed: Option<&Certificate>) -> TlsErrorKind {
    use CertificateError as E;
    let self_signed = observed.is_some_and(|observed| observed.is_self_signed);
    match error {
        E::UnknownIssuer if self_signed => TlsErrorKind::SelfSigned,
        E::UnknownIssuer => TlsErrorKind::UnknownIssuer,
        E::Expired | E::ExpiredContext { .. } => {
            TlsErrorKind::Expired(observed.map(Certificate::not_after_day).unwrap_or_default())
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            TlsErrorKind::NotYetValid(observed.map(Certificate::not_before_day).unwrap_or_default())
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => TlsErrorKind::WrongName {
            expected: match error {
                E::NotValidForNameContext { expected, .. } => expected.to_str().into_owned(),
                _ => "the name asked for".into(),
            },
            found: observed.map(|observed| observed.names.clone()).unwrap_or_default(),
        },
        E::Revoked => TlsErrorKind::Revoked,
        // The fingerprint verifier returns this.
        E::ApplicationVerificationFailure => match observed {
            Some(observed) => TlsErrorKind::PinMismatch { found: observed.fingerprint },
            None => TlsErrorKind::BadCertificate(error.to_string()),
        },
        error if format!("{error:?}").contains("CaUsedAsEndEntity") => TlsErrorKind::CaUsedAsEndEntity,
        error => TlsErrorKind::BadCertificate(error.to_string()),
    }
}

fn alert_error(alert: AlertDescription) -> TlsErrorKind {
    match alert {
        AlertDescription::ProtocolVersion => TlsErrorKind::NoCommonVersion,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            TlsErrorKind::NoCommonCipherSuite
        }
        alert => TlsErrorKind::Alert(format!("{alert:?}")),
    }
}

fn incompatible_error(why: &PeerIncompatible) -> TlsErrorKind {
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

    #[test]
    fn lists_at_most_eight_names() {
        let names = |count: usize| list(&(0..count).map(|at| format!("n{at}")).collect::<Vec<_>>());
        assert_eq!(names(0), "no name at all");
        assert_eq!(names(2), "n0, n1");
        assert_eq!(names(8), "n0, n1, n2, n3, n4, n5, n6, n7");
        assert_eq!(names(10), "n0, n1, n2, n3, n4, n5, n6, n7 and 2 more");
    }

    #[test]
    fn maps_verifier_errors() {
        let kind = |error| certificate_error(&error, None);
        assert!(matches!(kind(CertificateError::BadEncoding), TlsErrorKind::BadCertificate(_)));
        assert_eq!(kind(CertificateError::UnknownIssuer), TlsErrorKind::UnknownIssuer);
        assert_eq!(kind(CertificateError::Revoked), TlsErrorKind::Revoked);
        // A certificate that cannot be read has no issuer to name.
        let certificate = Some(Arc::new(Certificate::read(&vec![1, 2, 3].into())));
        let shown = TlsError { kind: TlsErrorKind::UnknownIssuer, certificate }.to_string();
        assert_eq!(shown, "the server's certificate is not signed by a trusted authority");
    }
}
