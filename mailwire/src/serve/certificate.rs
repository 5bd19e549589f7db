//! The server's certificate: the one of `--cert`, or a generated one that is signed by a local certificate authority.
//!
//! The generated authority and leaf are kept with their keys, so that a client that trusts the authority still does
//! after the leaf was renewed. Name constraints (RFC 5280 §4.2.1.10) limit the authority to loopback names and the
//! names of `--name`, so that trusting it risks nothing else. The authority is replaced only when it may not sign for
//! a configured name, or expires.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use io_mio::{Certificate, TlsServerConfig};
use mailserver::HostName;
use mailserver::certificate::{Authority, CertificateError, certificate_names};
use proto_mail::Secret;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::certificate_files;
use crate::command_error::{CommandError, ExitCode};
use crate::private_files;

/// How long before its end a generated certificate is renewed, in days.
const RENEW_DAYS: i64 = 30;

/// How long before the certificate of `--cert` expires the log warns about it, in days.
const WARN_DAYS: i64 = 30;

const DAY: i64 = 86_400;

/// The certificate that the server presents.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) tls: TlsServerConfig,
    pub(super) certificate: Certificate,
    /// The authority that clients should trust; `None` if the certificate was not generated.
    pub(super) authority: Option<PathBuf>,
    not_before: i64,
    not_after: i64,
}

/// The origin of the certificate.
#[derive(Debug, Clone)]
pub(super) enum CertificateSource {
    /// The files of `--cert` and `--key`.
    Configured { chain: PathBuf, key: PathBuf },
    /// A directory in which the certificate is generated when needed, for these names and those of loopback.
    Generated { directory: PathBuf, names: Vec<HostName> },
}

impl CertificateSource {
    /// Reads the certificate. Generates or renews it first if that is due.
    ///
    /// # Errors
    /// A file cannot be read or written, or the configured certificate is not valid now.
    pub(super) fn load(&self) -> Result<Identity, CommandError> {
        self.load_at(now())
    }

    fn load_at(&self, now: i64) -> Result<Identity, CommandError> {
        match self {
            Self::Configured { chain, key } => {
                let identity = Identity::of(certificate_files::load(chain, key)?, None)?;
                identity.check_validity(chain, now)?;
                Ok(identity)
            }
            Self::Generated { directory, names } => load_or_generate(directory, names, now),
        }
    }

    /// Returns whether the certificate must be loaded again: it expires soon, has expired, or was generated with a
    /// wrong clock. Always false for a configured one, which the user replaces.
    pub(super) fn needs_reload(&self, identity: &Identity) -> bool {
        matches!(self, Self::Generated { .. }) && !is_current(identity.not_before, identity.not_after, now())
    }

    /// Returns the warning to log about a configured certificate that expires soon or is invalid.
    pub(super) fn warning(&self, identity: &Identity) -> Option<String> {
        let Self::Configured { chain, .. } = self else { return None };
        identity.warning_at(chain, now())
    }
}

impl Identity {
    fn of(tls: TlsServerConfig, authority: Option<PathBuf>) -> Result<Self, CommandError> {
        let certificate =
            tls.certificate().ok_or_else(|| CommandError::new(ExitCode::Configuration, "no certificate"))?;
        let (not_before, not_after) = (certificate.not_before, certificate.not_after);
        Ok(Self { tls, certificate, authority, not_before, not_after })
    }

    /// Returns when the certificate expires, in seconds since 1970.
    pub(super) const fn expiry(&self) -> i64 {
        self.not_after
    }

    /// Rejects a configured certificate that no client would accept.
    fn check_validity(&self, chain: &Path, now: i64) -> Result<(), CommandError> {
        let certificate = &self.certificate;
        let chain = chain.display();
        if now < self.not_before {
            let what =
                format!("{chain}: the certificate is not valid before {}", certificate.not_before_day());
            return Err(CommandError::new(ExitCode::Configuration, what)
                .advise("check this machine's clock and date"));
        }
        if now > self.not_after {
            let what = format!("{chain}: the certificate expired on {}", certificate.not_after_day());
            return Err(CommandError::new(ExitCode::Configuration, what)
                .advise("a renewed certificate, or leave --cert and --key out for a generated one"));
        }
        Ok(())
    }

    fn warning_at(&self, chain: &Path, now: i64) -> Option<String> {
        let (chain, day) = (chain.display(), self.certificate.not_after_day());
        let days = days_between(now, self.not_after);
        if now > self.not_after {
            return Some(format!(
                "{chain}: the certificate expired on {day}, and clients reject it: replace the file and send SIGHUP"
            ));
        }
        (days < WARN_DAYS).then(|| {
            format!("{chain}: the certificate expires on {day}, in {days} days: renew it, and send SIGHUP")
        })
    }
}

/// Returns the whole days from now until `expiry`; negative after it.
pub(super) fn days_until(expiry: i64) -> i64 {
    days_between(now(), expiry)
}

const fn days_between(now: i64, expiry: i64) -> i64 {
    expiry.saturating_sub(now).div_euclid(DAY)
}

/// Returns whether a generated certificate can still be used for a while.
const fn is_current(not_before: i64, not_after: i64, now: i64) -> bool {
    not_before <= now && not_after - now > RENEW_DAYS * DAY
}

/// Loads the certificate in `directory`. Generates it if it is missing, and renews it if that is due.
fn load_or_generate(directory: &Path, names: &[HostName], now: i64) -> Result<Identity, CommandError> {
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .recursive(true)
        .create(directory)
        .map_err(|error| CommandError::file(directory, &error))?;
    private_files::check_directory(directory)?;
    let files = Files::of(directory);
    let authority = read_certificate(&files.authority)?;
    let authority = authority.filter(|authority| {
        is_current(authority.not_before, authority.not_after, now)
            && files.authority_key.exists()
            && authority.may_sign_for(names)
    });
    let authority = match authority {
        Some(authority) => authority,
        None => {
            make_authority(&files, names, now)?;
            read_certificate(&files.authority)?.ok_or_else(|| damaged(&files.authority))?
        }
    };
    let keep = read_certificate(&files.leaf)?.is_some_and(|leaf| {
        is_current(leaf.not_before, leaf.not_after, now)
            && files.leaf_key.exists()
            && leaf.issuer == authority.subject
            && leaf.names == certificate_names(names)
    });
    if !keep {
        make_leaf(&files, names, now)?;
    }
    let tls = certificate_files::load(&files.leaf, &files.leaf_key)?;
    Identity::of(tls, Some(files.authority))
}

struct Files {
    authority: PathBuf,
    authority_key: PathBuf,
    leaf: PathBuf,
    leaf_key: PathBuf,
}

impl Files {
    fn of(directory: &Path) -> Self {
        Self {
            authority: directory.join("ca.pem"),
            authority_key: directory.join("ca.key"),
            leaf: directory.join("server.pem"),
            leaf_key: directory.join("server.key"),
        }
    }
}

/// The content of a certificate in the directory.
struct StoredCertificate {
    subject: String,
    issuer: String,
    not_before: i64,
    not_after: i64,
    names: Vec<String>,
    /// The domains and networks that the authority may sign for.
    domains: Vec<String>,
    networks: Vec<Vec<u8>>,
}

impl StoredCertificate {
    fn may_sign_for(&self, names: &[HostName]) -> bool {
        names.iter().all(|name| match name {
            HostName::Address(address) => {
                self.networks.contains(&network_of(*address)) || address.is_loopback()
            }
            HostName::Host(name) | HostName::Wildcard(name) => self.domains.iter().any(|domain| {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }),
        })
    }
}

/// Returns an address with a full mask, as in a name constraint.
fn network_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => [&address.octets()[..], &[0xff; 4]].concat(),
        IpAddr::V6(address) => [&address.octets()[..], &[0xff; 16]].concat(),
    }
}

/// Reads the first certificate of a file. Returns `None` if the file does not exist.
fn read_certificate(file: &Path) -> Result<Option<StoredCertificate>, CommandError> {
    let pem = match std::fs::read(file) {
        Ok(pem) => pem,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CommandError::reading(file, &error)),
    };
    let der = CertificateDer::from_pem_slice(&pem).map_err(|_| damaged(file))?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| damaged(file))?;
    let Certificate { subject, issuer, names, not_before, not_after, .. } = Certificate::read(&der);
    let (mut domains, mut networks) = (Vec::new(), Vec::new());
    let constraints = parsed.name_constraints().map_err(|_| damaged(file))?;
    let permitted = constraints.and_then(|extension| extension.value.permitted_subtrees.as_ref());
    for subtree in permitted.into_iter().flatten() {
        match &subtree.base {
            GeneralName::DNSName(name) => domains.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => networks.push(bytes.to_vec()),
            _ => {}
        }
    }
    Ok(Some(StoredCertificate { subject, issuer, not_before, not_after, names, domains, networks }))
}

fn damaged(file: &Path) -> CommandError {
    CommandError::new(ExitCode::Configuration, format!("{}: no certificate in this file", file.display()))
        .advise("remove the file: a new certificate is generated")
}

fn make_authority(files: &Files, names: &[HostName], now: i64) -> Result<(), CommandError> {
    let authority = Authority::generate(names, now).map_err(generation_error)?;
    write(&files.authority_key, authority.key_pem().expose().as_bytes(), 0o600)?;
    write(&files.authority, authority.certificate_pem().as_bytes(), 0o644)
}

fn make_leaf(files: &Files, names: &[HostName], now: i64) -> Result<(), CommandError> {
    let read =
        |file: &Path| std::fs::read_to_string(file).map_err(|error| CommandError::reading(file, &error));
    let certificate = read(&files.authority)?;
    private_files::open_key(&files.authority_key)?;
    let authority = Authority::from_pem(certificate, Secret::new(read(&files.authority_key)?))
        .map_err(generation_error)?;
    let leaf = authority.issue(names, now).map_err(generation_error)?;
    write(&files.leaf_key, leaf.key_pem().expose().as_bytes(), 0o600)?;
    write(&files.leaf, leaf.chain_pem().as_bytes(), 0o644)
}

/// Writes a file atomically.
fn write(file: &Path, contents: &[u8], mode: u32) -> Result<(), CommandError> {
    let new = file.with_extension("new");
    let written = (|| {
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut to = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        to.write_all(contents)?;
        to.sync_all()?;
        std::fs::rename(&new, file)
    })();
    written.map_err(|error| CommandError::file(file, &error))
}

fn generation_error(error: CertificateError) -> CommandError {
    let advice = match error {
        CertificateError::InvalidTime => "set the clock",
        _ => "--cert FILE and --key FILE, or remove the directory \"tls\" in the data directory",
    };
    CommandError::new(ExitCode::Unavailable, error.to_string()).advise(advice)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
