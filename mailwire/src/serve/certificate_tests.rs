//! Tests of generating, keeping, renewing and rejecting certificates.

use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, KeyPair};
use time::OffsetDateTime;

use super::*;

fn fingerprint(identity: &Identity) -> String {
    identity.certificate.fingerprint.to_string()
}

fn authority(identity: &Identity) -> Vec<u8> {
    std::fs::read(identity.authority.as_ref().unwrap()).unwrap()
}

fn made(directory: &Path) -> Identity {
    load_or_generate(directory, &[], now()).unwrap()
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn generates_a_private_certificate_once() {
    let directory = directory();
    let tls = directory.path().join("tls");
    let first = made(&tls);
    let first_authority = authority(&first);
    let second = made(&tls);
    assert_eq!(fingerprint(&first), fingerprint(&second));
    assert_eq!(first_authority, authority(&second));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&tls), 0o700);
    assert_eq!(mode(&tls.join("ca.key")), 0o600);
    assert_eq!(mode(&tls.join("server.key")), 0o600);
    assert_eq!(std::fs::read_dir(&tls).unwrap().count(), 4);
}

#[test]
fn renews_an_expiring_leaf_with_the_same_authority() {
    let directory = directory();
    let first = made(directory.path());
    let first_authority = authority(&first);
    let soon = now() + (365 - RENEW_DAYS + 1) * DAY;
    let later = load_or_generate(directory.path(), &[], soon).unwrap();
    assert_ne!(fingerprint(&first), fingerprint(&later));
    assert_eq!(first_authority, authority(&later));
}

#[test]
fn replaces_certificates_generated_with_a_wrong_clock() {
    for wrong in [now() + 4000 * DAY, now() - 4000 * DAY] {
        let directory = directory();
        let source =
            CertificateSource::Generated { directory: directory.path().to_owned(), names: Vec::new() };
        let first = source.load_at(wrong).unwrap();
        let first_authority = authority(&first);
        assert!(source.needs_reload(&first));
        let second = source.load().unwrap();
        assert_ne!(first_authority, authority(&second));
        assert!(!source.needs_reload(&second) && is_current(second.not_before, second.not_after, now()));
    }
}

#[test]
fn the_leaf_is_valid_for_loopback_and_names_its_authority() {
    let directory = directory();
    made(directory.path());
    let pem = std::fs::read(directory.path().join("server.pem")).unwrap();
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap();
    let [leaf, authority] = &certificates[..] else { panic!("{}", certificates.len()) };
    let (leaf, authority) = (Certificate::read(leaf), Certificate::read(authority));
    assert_eq!(leaf.names, ["localhost", "127.0.0.1", "::1"]);
    assert_eq!(leaf.issuer, authority.subject);
    assert!(authority.is_ca && !leaf.is_ca);
}

#[test]
fn keeps_the_authority_while_it_may_sign_for_the_names() {
    let directory = directory();
    let with = |names: &[&str]| {
        let names: Vec<HostName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let identity = load_or_generate(directory.path(), &names, now()).unwrap();
        (fingerprint(&identity), authority(&identity), identity.certificate.names)
    };
    let loopback = with(&[]);
    let all = ["mail.test", "*.dev.test", "192.0.2.7", "2001:db8::7"];
    let named = with(&all);
    assert_ne!(loopback.1, named.1, "the first authority may sign for loopback only");
    assert_eq!(named.2[3..], all);
    let fewer = with(&["imap.mail.test", "192.0.2.7"]);
    assert_eq!(named.1, fewer.1);
    assert_ne!(named.0, fewer.0);
    assert_eq!(fewer.0, with(&["imap.mail.test", "192.0.2.7"]).0);
    assert_ne!(fewer.1, with(&["badmail.test"]).1);
}

#[test]
fn names_a_damaged_file() {
    let directory = directory();
    std::fs::write(directory.path().join("ca.pem"), "no certificate").unwrap();
    let failure = load_or_generate(directory.path(), &[], now()).unwrap_err();
    assert!(failure.to_string().contains("ca.pem"), "{failure}");
}

/// A certificate and its key in their own files.
struct Pair {
    directory: tempfile::TempDir,
}

impl Pair {
    fn new(not_before: i64, not_after: i64) -> Self {
        let this = Self { directory: directory() };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["mail.test".to_owned()]).unwrap();
        params.not_before = OffsetDateTime::from_unix_timestamp(not_before).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(not_after).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        this.write("cert.pem", certificate.pem().as_bytes());
        this.write("cert.der", certificate.der());
        this.write("key.pem", key.serialize_pem().as_bytes());
        this
    }

    fn write(&self, name: &str, contents: &[u8]) {
        write(&self.path(name), contents, 0o600).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn source(&self, chain: &str, key: &str) -> CertificateSource {
        CertificateSource::Configured { chain: self.path(chain), key: self.path(key) }
    }
}

#[test]
fn rejects_an_invalid_certificate_and_warns_about_an_expiring_one() {
    for (from, to, what) in
        [(-20, -10, "the certificate expired on "), (10, 20, "the certificate is not valid before ")]
    {
        let pair = Pair::new(now() + from * DAY, now() + to * DAY);
        let failure = pair.source("cert.pem", "key.pem").load().unwrap_err();
        assert!(failure.what.contains(what) && failure.advice.is_some(), "{failure}");
    }
    let pair = Pair::new(now() - DAY, now() + 40 * DAY);
    let source = pair.source("cert.pem", "key.pem");
    let identity = source.load().unwrap();
    assert_eq!(source.warning(&identity), None);
    let chain = pair.path("cert.pem");
    let soon = identity.warning_at(&chain, now() + 15 * DAY).unwrap();
    assert!(soon.contains("in 24 days") || soon.contains("in 25 days"), "{soon}");
    assert!(identity.warning_at(&chain, now() + 41 * DAY).unwrap().contains("expired on"));
    assert!(!source.needs_reload(&identity));
}

/// A certificate of X.509 version 1 and its key. It was made for this test and is used nowhere else.
const VERSION_1: (&str, &str) = (
    "-----BEGIN CERTIFICATE-----\n\
     MIIBJDCBywIUIpV2q58RdeGMxIQvWw5YG1aCguUwCgYIKoZIzj0EAwIwFDESMBAG\n\
     A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyOTIyNTI0N1oYDzIxMjYxMTA1MjI1MjQ3\n\
     WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n\
     AASBeBxy8Aigv7XQhn/MYEaCNb/H678d1O4/wl1tpyFx0i3FRkHMthePd2MOM/Od\n\
     P29Kv9YBdO4jkmycVvqcDDSqMAoGCCqGSM49BAMCA0gAMEUCIQCp51fDejDhvDUH\n\
     ErkM57nw9cuivcyZ/H76RvlMVNc3OAIgVzQ2gvvYAebskmk0I4dfUqs6R+OmKm/M\n\
     DdxZtifQZSw=\n\
     -----END CERTIFICATE-----\n",
    "-----BEGIN PRIVATE KEY-----\n\
     MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgG7HaT8Tl+VkW0H4s\n\
     q6bAKJsafgmvGmlccRcfLY28YUGhRANCAASBeBxy8Aigv7XQhn/MYEaCNb/H678d\n\
     1O4/wl1tpyFx0i3FRkHMthePd2MOM/OdP29Kv9YBdO4jkmycVvqcDDSq\n\
     -----END PRIVATE KEY-----\n",
);

#[test]
fn explains_problems_with_a_certificate_or_key() {
    let pair = Pair::new(now() - DAY, now() + 100 * DAY);
    let other = Pair::new(now() - DAY, now() + 100 * DAY);
    let read = |pair: &Pair, name: &str| std::fs::read(pair.path(name)).unwrap();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIF\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    pair.write("other.key", &read(&other, "key.pem"));
    pair.write("chain.pem", &[read(&other, "cert.pem"), read(&pair, "cert.pem")].concat());
    pair.write("encrypted.key", encrypted.as_bytes());
    pair.write("old.key", old.as_bytes());
    pair.write("version-1.pem", VERSION_1.0.as_bytes());
    pair.write("version-1.key", VERSION_1.1.as_bytes());
    pair.write("empty", b"");
    pair.write("text", b"hello\n");
    pair.write("broken.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (chain, key, what, advice) in [
        ("cert.pem", "other.key", "the key does not belong to the certificate", "the private key of"),
        ("chain.pem", "key.pem", "is not the first one in the file", "put it first"),
        ("cert.pem", "encrypted.key", "encrypted with a passphrase", "openssl pkey"),
        ("cert.pem", "old.key", "encrypted with a passphrase", "openssl pkey"),
        ("key.pem", "key.pem", "contains a private key and no certificate", "swapped"),
        ("cert.pem", "cert.pem", "contains a certificate and no private key", "swapped"),
        ("cert.der", "key.pem", "is not PEM but DER", "openssl x509"),
        ("version-1.pem", "version-1.key", "TLS cannot use this kind of certificate", "version 3"),
        ("empty", "key.pem", "the file is empty", "PEM"),
        ("cert.pem", "empty", "the file is empty", "PEM"),
        ("text", "key.pem", "is not a PEM file", "BEGIN CERTIFICATE"),
        ("cert.pem", "text", "is not a PEM file", "BEGIN PRIVATE KEY"),
        ("broken.pem", "key.pem", "the certificate is damaged", "a new copy"),
        ("missing", "key.pem", "No such file", "check the file name"),
        ("cert.pem", "missing", "No such file", "check the file name"),
    ] {
        let failure = pair.source(chain, key).load().unwrap_err();
        assert!(failure.what.contains(what), "{chain} {key}: {failure}");
        assert!(failure.advice.as_ref().unwrap().contains(advice), "{chain} {key}: {failure}");
        assert_eq!(failure.exit_code, ExitCode::Configuration, "{failure}");
    }
    assert!(pair.source("cert.pem", "key.pem").load().is_ok());
}
