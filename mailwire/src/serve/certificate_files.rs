//! Reads the files of `--cert` and `--key`, and explains what is wrong with them and how to fix it.

use std::io::Read;
use std::path::Path;

use io_mio::{Certificate, TlsServerConfig, TlsVersions};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::command_error::{CommandError, ExitCode};
use crate::private_files;

/// The maximum size of a file, in bytes.
const SIZE_LIMIT: u64 = 1 << 20;

/// Loads a certificate chain and its key.
///
/// # Errors
/// A file cannot be read or contains something else, or the key does not match the certificate.
pub(super) fn load(chain: &Path, key: &Path) -> Result<TlsServerConfig, CommandError> {
    let key_text = read(private_files::open_key(key)?, key)?;
    let chain_file = std::fs::File::open(chain).map_err(|error| CommandError::reading(chain, &error))?;
    let chain_text = read(chain_file, chain)?;
    let certificates = certificates(chain, &chain_text)?;
    let private_key = private_key(key, &key_text)?;
    check_pair(chain, key, &certificates, private_key)?;
    TlsServerConfig::from_pem(&chain_text, &key_text, TlsVersions::Both).map_err(|error| {
        let what = format!("{} with {}: {error}", chain.display(), key.display());
        configuration_error(what).advise("another certificate and its key with --cert FILE and --key FILE")
    })
}

fn configuration_error(what: String) -> CommandError {
    CommandError::new(ExitCode::Configuration, what)
}

fn read(file: std::fs::File, path: &Path) -> Result<Vec<u8>, CommandError> {
    let mut text = Vec::new();
    file.take(SIZE_LIMIT + 1).read_to_end(&mut text).map_err(|error| CommandError::reading(path, &error))?;
    if text.is_empty() {
        return Err(
            configuration_error(format!("{}: the file is empty", path.display())).advise("a PEM file")
        );
    }
    if text.len() as u64 > SIZE_LIMIT {
        return Err(configuration_error(format!("{}: the file is larger than 1 MiB", path.display()))
            .advise("a PEM file"));
    }
    Ok(text)
}

/// Returns the labels of the PEM sections in a file, in order.
fn labels(text: &[u8]) -> Vec<String> {
    let lines = text.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let begins = lines.filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    begins.map(str::to_owned).collect()
}

fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CommandError> {
    let shown = path.display();
    let labels = labels(text);
    if !labels.iter().any(|kind| kind == "CERTIFICATE") {
        let (what, advice) = match labels.first().map(String::as_str) {
            Some(kind) if kind.ends_with("PRIVATE KEY") => (
                "contains a private key and no certificate".to_owned(),
                "--cert CERTIFICATE --key KEY: the files may be swapped".to_owned(),
            ),
            Some(kind) if kind.ends_with("CERTIFICATE REQUEST") => (
                "contains a certificate request and no certificate".to_owned(),
                "the file that the authority sent back".to_owned(),
            ),
            Some(kind) => (
                format!("contains {kind} and no certificate"),
                "a PEM file with CERTIFICATE sections".to_owned(),
            ),
            None if text.first() == Some(&0x30) => (
                "is not PEM but DER".to_owned(),
                format!("openssl x509 -inform der -in {shown} -out cert.pem"),
            ),
            None => (
                "is not a PEM file".to_owned(),
                "a file that begins with -----BEGIN CERTIFICATE-----".to_owned(),
            ),
        };
        return Err(configuration_error(format!("{shown}: {what}")).advise(advice));
    }
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let damaged = || {
        configuration_error(format!("{shown}: the certificate is damaged")).advise("a new copy of the file")
    };
    let read = read.map_err(|_| damaged())?;
    match read.first() {
        // `Certificate::read` returns no validity for an unreadable certificate.
        Some(leaf) if Certificate::read(leaf).not_after != 0 => Ok(read),
        _ => Err(damaged()),
    }
}

fn private_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, CommandError> {
    let shown = path.display();
    let labels = labels(text);
    const OLD_MARK: &[u8] = b"Proc-Type: 4,ENCRYPTED";
    let is_encrypted = labels.iter().any(|kind| kind == "ENCRYPTED PRIVATE KEY")
        || text.windows(OLD_MARK.len()).any(|piece| piece == OLD_MARK);
    if is_encrypted {
        let advice = format!("openssl pkey -in {shown} -out key.pem && chmod 600 key.pem, and --key key.pem");
        return Err(
            configuration_error(format!("{shown}: the key is encrypted with a passphrase")).advise(advice)
        );
    }
    if let Ok(key) = PrivateKeyDer::from_pem_slice(text) {
        return Ok(key);
    }
    let (what, advice) = match labels.iter().find(|kind| *kind != "EC PARAMETERS").map(String::as_str) {
        Some("CERTIFICATE") => (
            "contains a certificate and no private key".to_owned(),
            "--cert CERTIFICATE --key KEY: the files may be swapped".to_owned(),
        ),
        Some("OPENSSH PRIVATE KEY") => {
            ("contains an SSH key".to_owned(), "the private key of the certificate".to_owned())
        }
        Some("RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY") => {
            ("the key is damaged".to_owned(), "a new copy of the file".to_owned())
        }
        Some(kind) => (
            format!("contains {kind} and no private key"),
            "a PEM file with a PRIVATE KEY section".to_owned(),
        ),
        None if text.first() == Some(&0x30) => {
            ("is not PEM but DER".to_owned(), format!("openssl pkey -inform der -in {shown} -out key.pem"))
        }
        None => {
            ("is not a PEM file".to_owned(), "a file that begins with -----BEGIN PRIVATE KEY-----".to_owned())
        }
    };
    Err(configuration_error(format!("{shown}: {what}")).advise(advice))
}

/// Checks that TLS can use the key, and that it belongs to the first certificate.
fn check_pair(
    chain: &Path,
    key: &Path,
    certificates: &[CertificateDer<'static>],
    private_key: PrivateKeyDer<'static>,
) -> Result<(), CommandError> {
    let signing = rustls::crypto::ring::sign::any_supported_type(&private_key).map_err(|_| {
        configuration_error(format!("{}: TLS cannot use this kind of key", key.display()))
            .advise("an RSA key of 2048 bits or more, or an ECDSA key (P-256, P-384) or Ed25519 key")
    })?;
    let belongs = |to: &CertificateDer<'static>| {
        let mismatch = rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch);
        CertifiedKey::new(vec![to.clone()], signing.clone()).keys_match() != Err(mismatch)
    };
    let (Some(leaf), others) = (certificates.first(), certificates.get(1..).unwrap_or_default()) else {
        return Ok(());
    };
    if let Err(rustls::Error::InvalidCertificate(_)) =
        CertifiedKey::new(vec![leaf.clone()], signing.clone()).keys_match()
    {
        return Err(configuration_error(format!(
            "{}: TLS cannot use this kind of certificate",
            chain.display()
        ))
        .advise("an X.509 certificate of version 3, with the server's names as subjectAltName"));
    }
    if !belongs(leaf) {
        let pair = format!("{} with {}", chain.display(), key.display());
        return Err(if others.iter().any(belongs) {
            configuration_error(format!(
                "{pair}: the server's own certificate is not the first one in the file"
            ))
            .advise("put it first, then its authorities' certificates, each after the one that it signed")
        } else {
            configuration_error(format!("{pair}: the key does not belong to the certificate"))
                .advise("the private key of the certificate")
        });
    }
    warn_of_chain(chain, leaf, others);
    Ok(())
}

/// Logs a warning about an incomplete chain, which some clients accept and others reject.
fn warn_of_chain(chain: &Path, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) {
    let leaf = Certificate::read(leaf);
    let chain = chain.display();
    match others.first().map(Certificate::read) {
        None if !leaf.is_self_signed => tracing::warn!(
            "{chain} contains only the server's own certificate: clients that do not know {} reject it; add the \
             certificates of the intermediate authorities, if there are any",
            leaf.issuer
        ),
        Some(next) if next.subject != leaf.issuer => tracing::warn!(
            "{chain}: the second certificate ({}) did not sign the first: put {} there",
            next.subject,
            leaf.issuer
        ),
        _ => {}
    }
}
