//! The certificate that a server without one makes for itself: a small authority of its own, and a leaf that it signs.
//!
//! This file knows files, validity and names. Both certificates and both keys are kept, so that a client that was told
//! to trust the authority can go on doing so when the leaf is renewed. The authority can sign for this machine's
//! loopback names only (RFC 5280 §4.2.1.10): who trusts it gives nothing else away.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use io_mio::{Certificate, TlsServer};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::{Duration, OffsetDateTime};

use crate::failure::{Failure, Kind};
use crate::private;

/// The names that the leaf is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How long the authority and a leaf are valid, and how long before its end a leaf is renewed, in days.
const AUTHORITY_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;
const RENEW_DAYS: i64 = 30;

const DAY: i64 = 86_400;

/// What a server shows, and what a client should trust.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) tls: TlsServer,
    /// The authority to hand to clients; `None` where the certificate was not made here.
    pub(super) authority: Option<PathBuf>,
}

/// The certificate and key of these files.
pub(super) fn given(chain: &Path, key: &Path) -> Result<Identity, Failure> {
    private::open_key(key)?;
    Ok(Identity { tls: TlsServer::from_files(chain, key)?, authority: None })
}

/// The certificate kept in `directory`, made there where it is missing and renewed where it ends soon.
pub(super) fn self_made(directory: &Path) -> Result<Identity, Failure> {
    self_made_at(directory, now())
}

fn self_made_at(directory: &Path, now: i64) -> Result<Identity, Failure> {
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .recursive(true)
        .create(directory)
        .map_err(|error| Failure::file(directory, &error))?;
    let files = Files::of(directory);
    let made_authority = match ends(&files.authority)? {
        Some(end) if end - now > RENEW_DAYS * DAY && files.authority_key.exists() => false,
        _ => {
            make_authority(&files, now)?;
            true
        }
    };
    let keep_leaf = !made_authority
        && files.leaf_key.exists()
        && ends(&files.leaf)?.is_some_and(|end| end - now > RENEW_DAYS * DAY);
    if !keep_leaf {
        make_leaf(&files, now)?;
    }
    Ok(Identity {
        tls: TlsServer::from_files(&files.leaf, &files.leaf_key)?,
        authority: Some(files.authority),
    })
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

/// When the first certificate of a file ends, in seconds since 1970; `None` where there is no such file.
fn ends(file: &Path) -> Result<Option<i64>, Failure> {
    let pem = match std::fs::read(file) {
        Ok(pem) => pem,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file(file, &error)),
    };
    let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_| {
        Failure::new(Kind::Configuration, format!("{}: there is no certificate in it", file.display()))
            .advise("remove the file: a new one is made")
    })?;
    Ok(Some(Certificate::read(&certificate).not_after))
}

fn make_authority(files: &Files, now: i64) -> Result<(), Failure> {
    let key = KeyPair::generate().map_err(not_made)?;
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(not_made)?;
    // The number keeps two authorities apart in a list of trusted ones.
    params.distinguished_name.push(DnType::CommonName, format!("Mailwire local authority {now:x}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(
                std::net::Ipv6Addr::LOCALHOST.octets(),
                128,
            )),
        ],
        excluded_subtrees: Vec::new(),
    });
    valid(&mut params, now, AUTHORITY_DAYS)?;
    let certificate = params.self_signed(&key).map_err(not_made)?;
    write(&files.authority_key, key.serialize_pem().as_bytes(), 0o600)?;
    write(&files.authority, certificate.pem().as_bytes(), 0o644)
}

fn make_leaf(files: &Files, now: i64) -> Result<(), Failure> {
    let read = |file: &Path| std::fs::read_to_string(file).map_err(|error| Failure::file(file, &error));
    let authority = read(&files.authority)?;
    let authority_key = KeyPair::from_pem(&read(&files.authority_key)?).map_err(not_made)?;
    let issuer = Issuer::from_ca_cert_pem(&authority, authority_key).map_err(not_made)?;
    let key = KeyPair::generate().map_err(not_made)?;
    let mut params = CertificateParams::new(NAMES.map(str::to_owned)).map_err(not_made)?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now, LEAF_DAYS)?;
    let certificate = params.signed_by(&key, &issuer).map_err(not_made)?;
    write(&files.leaf_key, key.serialize_pem().as_bytes(), 0o600)?;
    // The authority goes along: some clients want the whole chain.
    write(&files.leaf, (certificate.pem() + &authority).as_bytes(), 0o644)
}

/// From an hour ago (clocks differ) until so many days from now.
fn valid(params: &mut CertificateParams, now: i64, days: i64) -> Result<(), Failure> {
    let now = OffsetDateTime::from_unix_timestamp(now)
        .map_err(|_| Failure::new(Kind::Unavailable, "this machine's clock is far off").advise("set it"))?;
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(days);
    Ok(())
}

/// Writes a file so that it is there whole or not at all.
fn write(file: &Path, contents: &[u8], mode: u32) -> Result<(), Failure> {
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
    written.map_err(|error| Failure::file(file, &error))
}

fn not_made(error: rcgen::Error) -> Failure {
    Failure::new(Kind::Unavailable, format!("the server's own certificate could not be made: {error}"))
        .advise("--cert FILE and --key FILE, or remove the directory \"tls\" in the data directory")
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fingerprint(identity: &Identity) -> String {
        identity.tls.fingerprint().to_string()
    }

    fn authority(identity: &Identity) -> Vec<u8> {
        std::fs::read(identity.authority.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn it_is_made_once_kept_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let tls = directory.path().join("tls");
        let first = self_made(&tls).unwrap();
        let second = self_made(&tls).unwrap();
        assert_eq!(fingerprint(&first), fingerprint(&second));
        assert_eq!(authority(&first), authority(&second));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&tls), 0o700);
        assert_eq!(mode(&tls.join("ca.key")), 0o600);
        assert_eq!(mode(&tls.join("server.key")), 0o600);
        assert_eq!(std::fs::read_dir(&tls).unwrap().count(), 4);
    }

    #[test]
    fn a_leaf_that_ends_soon_is_renewed_by_the_same_authority() {
        let directory = tempfile::tempdir().unwrap();
        let first = self_made(directory.path()).unwrap();
        let soon = now() + (LEAF_DAYS - RENEW_DAYS + 1) * DAY;
        let later = self_made_at(directory.path(), soon).unwrap();
        assert_ne!(fingerprint(&first), fingerprint(&later));
        assert_eq!(authority(&first), authority(&later));
    }

    #[test]
    fn the_leaf_is_for_loopback_and_names_its_authority() {
        let directory = tempfile::tempdir().unwrap();
        self_made(directory.path()).unwrap();
        let pem = std::fs::read(directory.path().join("server.pem")).unwrap();
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap();
        let [leaf, authority] = &certificates[..] else { panic!("{}", certificates.len()) };
        let (leaf, authority) = (Certificate::read(leaf), Certificate::read(authority));
        assert_eq!(leaf.names, NAMES);
        assert_eq!(leaf.issuer, authority.subject);
        assert!(authority.authority && !leaf.authority);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), "no certificate").unwrap();
        let failure = self_made(directory.path()).unwrap_err();
        assert!(failure.to_string().contains("ca.pem"), "{failure}");
    }
}
