//! What a certificate says, for people: it is reported whether it is accepted or not.
//!
//! This file reads certificates. It trusts none and refuses none.

use std::{fmt, str::FromStr};

use rustls::pki_types::CertificateDer;
use x509_parser::{
    prelude::{FromDer, GeneralName, X509Certificate},
    time::ASN1Time,
};

/// The SHA-256 hash of a certificate in DER: what `--pin` takes and `check` shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut octets = [0; 32];
        octets.copy_from_slice(digest.as_ref());
        Self(octets)
    }

    /// The 32 octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads 64 hexadecimal digits, with or without `sha256:` before and colons between them.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits = match text.get(..7) {
            Some(prefix) if prefix.eq_ignore_ascii_case("sha256:") => &text[7..],
            _ => text,
        };
        let mut octets = [0u8; 32];
        let mut count = 0;
        for digit in digits.chars().filter(|&c| c != ':') {
            let value = digit.to_digit(16).ok_or(FingerprintError)? as u8;
            let octet = octets.get_mut(count / 2).ok_or(FingerprintError)?;
            *octet = *octet << 4 | value;
            count += 1;
        }
        if count == 64 { Ok(Self(octets)) } else { Err(FingerprintError) }
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FingerprintError;

impl fmt::Display for FingerprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint is sha256: and 64 hexadecimal digits")
    }
}

impl std::error::Error for FingerprintError {}

/// What a server's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The host names and addresses that it is for (subjectAltName, RFC 5280 §4.2.1.6).
    pub names: Vec<String>,
    /// The first second of its validity, as Unix time.
    pub not_before: i64,
    /// The last second of its validity, as Unix time.
    pub not_after: i64,
    /// Whether subject and issuer are the same.
    pub self_signed: bool,
    /// Whether it says that it is a certification authority (CA:TRUE).
    pub authority: bool,
    /// Its hash.
    pub fingerprint: Fingerprint,
}

impl Certificate {
    /// Reads a certificate; what cannot be read is left empty, and the fingerprint is always there.
    #[must_use]
    pub fn read(der: &CertificateDer<'_>) -> Self {
        let fingerprint = Fingerprint::of(der);
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Self {
                subject: String::new(),
                issuer: String::new(),
                names: Vec::new(),
                not_before: 0,
                not_after: 0,
                self_signed: false,
                authority: false,
                fingerprint,
            };
        };
        Self {
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            names: names(&certificate),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            self_signed: certificate.subject() == certificate.issuer(),
            authority: certificate.is_ca(),
            fingerprint,
        }
    }

    /// The day on which its validity begins, as `YYYY-MM-DD`, UTC.
    #[must_use]
    pub fn not_before_day(&self) -> String {
        day(self.not_before)
    }

    /// The day on which its validity ends, as `YYYY-MM-DD`, UTC.
    #[must_use]
    pub fn not_after_day(&self) -> String {
        day(self.not_after)
    }
}

/// The hash that `tls-server-end-point` binds to: that of the certificate's own signature, but never weaker than
/// SHA-256 (RFC 5929 §4.1). `None` where the signature has no hash of its own.
pub(crate) fn end_point_hash(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let algorithm = end_point_algorithm(&certificate.signature_algorithm.algorithm.to_id_string())?;
    Some(ring::digest::digest(algorithm, der).as_ref().to_vec())
}

/// The hash of a signature with this algorithm.
fn end_point_algorithm(signature: &str) -> Option<&'static ring::digest::Algorithm> {
    Some(match signature {
        // With SHA-384: ecdsa, RSA.
        "1.2.840.10045.4.3.3" | "1.2.840.113549.1.1.12" => &ring::digest::SHA384,
        // With SHA-512.
        "1.2.840.10045.4.3.4" | "1.2.840.113549.1.1.13" => &ring::digest::SHA512,
        // With SHA-256, SHA-1 and MD5.
        "1.2.840.10045.4.3.2"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.4" => &ring::digest::SHA256,
        _ => return None,
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(octets) => match *octets {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            octets => {
                <[u8; 16]>::try_from(octets).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string())
            }
        },
        _ => None,
    });
    names.take(100).collect()
}

/// A certificate is the peer's text: nothing in it may move a cursor or break a line.
fn printable(text: &str) -> String {
    text.chars().take(1000).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn day(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds).map_or_else(
        |_| "?".into(),
        |time| {
            let date = time.to_datetime().date();
            format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_shown() {
        let print = Fingerprint::of(b"certificate");
        let shown = print.to_string();
        assert_eq!(shown.parse(), Ok(print));
        assert_eq!(shown.to_uppercase().parse(), Ok(print));
        let colons: Vec<&str> = (7..71).step_by(2).map(|at| &shown[at..at + 2]).collect();
        assert_eq!(colons.join(":").parse(), Ok(print));
        for bad in ["", "sha256:", "sha256:00", &shown[..70], &format!("{shown}0"), "sha256:é"] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(FingerprintError), "{bad}");
        }
        assert!(FingerprintError.to_string().contains("64 hexadecimal digits"));
    }

    #[test]
    fn the_end_point_is_hashed_as_the_certificate_was_signed() {
        let (sha256, sha384, sha512) = (&ring::digest::SHA256, &ring::digest::SHA384, &ring::digest::SHA512);
        for (signature, expected) in [
            ("1.2.840.113549.1.1.4", Some(sha256)),  // md5WithRSAEncryption
            ("1.2.840.113549.1.1.5", Some(sha256)),  // sha1WithRSAEncryption
            ("1.2.840.10045.4.1", Some(sha256)),     // ecdsa-with-SHA1
            ("1.2.840.113549.1.1.11", Some(sha256)), // sha256WithRSAEncryption
            ("1.2.840.10045.4.3.2", Some(sha256)),   // ecdsa-with-SHA256
            ("1.2.840.113549.1.1.12", Some(sha384)), // sha384WithRSAEncryption
            ("1.2.840.10045.4.3.3", Some(sha384)),   // ecdsa-with-SHA384
            ("1.2.840.113549.1.1.13", Some(sha512)), // sha512WithRSAEncryption
            ("1.2.840.10045.4.3.4", Some(sha512)),   // ecdsa-with-SHA512
            ("1.3.101.112", None),                   // Ed25519: no hash of its own (RFC 5929 §4.1)
            ("1.2.840.113549.1.1.10", None),         // RSASSA-PSS: one among its parameters, and maybe two
        ] {
            assert_eq!(end_point_algorithm(signature), expected, "{signature}");
        }
    }

    #[test]
    fn an_end_point_of_an_authority_with_sha_384() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key);
        let der = certificate.unwrap().der().clone();
        let expected = ring::digest::digest(&ring::digest::SHA384, &der).as_ref().to_vec();
        assert_eq!(end_point_hash(&der), Some(expected));
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key);
        assert_eq!(end_point_hash(certificate.unwrap().der()), None);
    }

    #[test]
    fn names_are_those_of_hosts_and_addresses() {
        let names = ["mx.example", "192.0.2.7", "2001:db8::1"].map(String::from);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(names.clone()).unwrap().self_signed(&key).unwrap();
        let read = Certificate::read(certificate.der());
        assert_eq!(read.names, names);
        assert!(read.self_signed && !read.authority);
    }

    #[test]
    fn a_certificate_that_is_none_still_has_a_fingerprint() {
        let der = CertificateDer::from(vec![1, 2, 3]);
        let read = Certificate::read(&der);
        assert_eq!(read.fingerprint, Fingerprint::of(&[1, 2, 3]));
        assert_eq!(end_point_hash(&der), None);
        assert_eq!(day(1_763_699_685), "2025-11-21");
    }
}
