//! Reading certificates and keys from PEM.

use std::{fmt, path::Path};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::error::TlsConfigError;

/// Reads every certificate of a file.
///
/// # Errors
/// The file cannot be read or holds no certificate.
pub(super) fn certificates_from_file(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| unusable(file, &error))?.collect();
    let read = read.map_err(|error| unusable(file, &error))?;
    if read.is_empty() {
        return Err(TlsConfigError::new(format!("{}: contains no certificate", file.display())));
    }
    Ok(read)
}

/// Reads every certificate of a text; there may be none.
pub(super) fn certificates_from_slice(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsConfigError::new(format!("the certificate: {error}")))
}

pub(super) fn key_from_file(file: &Path) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| unusable(file, &error))
}

pub(super) fn key_from_slice(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| TlsConfigError::new(format!("the key: {error}")))
}

pub(super) fn unusable(file: &Path, error: &dyn fmt::Display) -> TlsConfigError {
    TlsConfigError::new(format!("{}: {error}", file.display()))
}
