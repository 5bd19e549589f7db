//! The certificate authority of this process, and the certificate of its servers.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use mailserver::certificate::{Authority, CertificateError, IssuedCertificate};

/// An authority and a certificate for `localhost`, `127.0.0.1` and `::1`.
pub(crate) struct Certificates {
    pub(crate) authority: Authority,
    pub(crate) server: IssuedCertificate,
}

/// Returns the certificates of this process, and generates them at the first call.
///
/// # Errors
/// There is no randomness.
pub(crate) fn certificates() -> Result<&'static Certificates, CertificateError> {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    if let Some(certificates) = CERTIFICATES.get() {
        return Ok(certificates);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let authority = Authority::generate(&[], now)?;
    let server = authority.issue(&[], now)?;
    Ok(CERTIFICATES.get_or_init(|| Certificates { authority, server }))
}
