//! Which certificates to trust.

use std::path::PathBuf;

use io_common::{Fingerprint, TlsClientConfig};

use crate::error::{Error, ErrorKind};

/// Which certificates to trust.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Trust {
    /// Those of the authorities that the operating system trusts.
    #[default]
    System,
    /// Those of the authorities in these PEM files only.
    Authorities(Vec<PathBuf>),
    /// The one with this fingerprint only, whatever authority signed it.
    Pinned(Fingerprint),
    /// Any. An attacker on the network can then read and change everything.
    DangerAny,
}

impl Trust {
    /// Makes the TLS configuration. Reads the files.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if a file cannot be read, or the system has no authorities.
    pub fn tls_config(&self) -> Result<TlsClientConfig, Error> {
        let tls = match self {
            Self::System => TlsClientConfig::platform(),
            Self::Authorities(files) => TlsClientConfig::authorities(files),
            Self::Pinned(fingerprint) => TlsClientConfig::pinned([*fingerprint]),
            Self::DangerAny => TlsClientConfig::danger_accept_any_certificate(),
        };
        tls.map_err(|error| Error::new(ErrorKind::Configuration, error.to_string()))
    }
}
