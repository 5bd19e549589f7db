//! TLS settings, certificates and TLS errors.
//!
//! [`TlsClientConfig`] and [`TlsServerConfig`] cover the usual cases with TLS 1.2 and 1.3, without early data and without
//! any fallback. Both also take a caller's own rustls configuration.

pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod detect;
pub(crate) mod error;
pub(crate) mod info;
pub(crate) mod pem;
pub(crate) mod server;
pub(crate) mod verify;
pub(crate) mod versions;

pub use certificate::{Certificate, Fingerprint, FingerprintError};
pub use client::{HandshakeNames, TlsClientConfig};
pub use detect::DetectedProtocol;
pub use error::{TlsConfigError, TlsError, TlsErrorKind};
pub use info::{TlsInfo, client_channel_binding, seed, server_channel_binding};
pub use server::{ClientCertificates, TlsServerConfig};
pub use versions::TlsVersions;
