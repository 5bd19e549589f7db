//! Verifiers of server certificates.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::certificate::{Certificate, Fingerprint};

/// The certificate that a client received, accepted or not. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObservedCertificate {
    certificate: Arc<Mutex<Option<Arc<Certificate>>>>,
    /// Whether the client accepts any certificate.
    pub(crate) accepts_any: bool,
}

impl ObservedCertificate {
    /// Returns the place for the certificate of a client that accepts any certificate.
    pub(super) fn accepting_any() -> Self {
        Self { accepts_any: true, ..Self::default() }
    }

    /// Returns the certificate, if one was received.
    pub(crate) fn certificate(&self) -> Option<Arc<Certificate>> {
        self.certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns a verifier that uses the operating system's trust store.
#[cfg(feature = "platform-verifier")]
pub(super) fn platform(provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    Ok(Arc::new(rustls_platform_verifier::Verifier::new(provider.clone())?))
}

/// Returns a verifier that trusts only these authorities.
pub(super) fn authorities(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    Ok(verifier)
}

/// Accepts certificates by fingerprint, whatever names, dates and issuers they contain (CA:TRUE included). Without
/// fingerprints it accepts any. The server has to prove that it holds the key in either case.
#[derive(Debug)]
pub(super) struct FingerprintVerifier {
    pins: Option<Vec<Fingerprint>>,
    provider: Arc<CryptoProvider>,
}

impl FingerprintVerifier {
    pub(super) const fn new(pins: Option<Vec<Fingerprint>>, provider: Arc<CryptoProvider>) -> Self {
        Self { pins, provider }
    }
}

impl ServerCertVerifier for FingerprintVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.pins {
            Some(pins) if !pins.contains(&Fingerprint::of(end_entity)) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Records the certificate of one connection and asks another verifier.
#[derive(Debug)]
pub(super) struct RecordingVerifier {
    pub(super) inner: Arc<dyn ServerCertVerifier>,
    /// The name that the certificate must be for, if it is not the one that the client sent.
    pub(super) expected: Option<ServerName<'static>>,
    pub(super) observed: ObservedCertificate,
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = Arc::new(Certificate::read(end_entity));
        *self.observed.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
        let server_name = self.expected.as_ref().unwrap_or(server_name);
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}
