//! Reading certificates, for reports. Verification is elsewhere.

use std::{fmt, str::FromStr};

use rustls::pki_types::CertificateDer;
#[cfg(feature = "certificate-details")]
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The SHA-256 hash of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Returns the fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Parses 64 hexadecimal digits, with or without the prefix `sha256:` and with or without colons.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits = match text.get(..7) {
            Some(prefix) if prefix.eq_ignore_ascii_case("sha256:") => &text[7..],
            _ => text,
        };
        let mut bytes = [0u8; 32];
        let mut count = 0;
        for digit in digits.chars().filter(|&c| c != ':') {
            let value = digit.to_digit(16).ok_or(FingerprintError)? as u8;
            let byte = bytes.get_mut(count / 2).ok_or(FingerprintError)?;
            *byte = *byte << 4 | value;
            count += 1;
        }
        if count == 64 { Ok(Self(bytes)) } else { Err(FingerprintError) }
    }
}

/// A text that is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FingerprintError;

impl fmt::Display for FingerprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint is sha256: and 64 hexadecimal digits")
    }
}

impl std::error::Error for FingerprintError {}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The host names and IP addresses that it is for, at most 100 (subjectAltName, RFC 5280 §4.2.1.6).
    pub names: Vec<String>,
    /// The first second of its validity, as Unix time.
    pub not_before: i64,
    /// The last second of its validity, as Unix time.
    pub not_after: i64,
    /// Whether subject and issuer are the same.
    pub is_self_signed: bool,
    /// Whether it belongs to a certification authority (CA:TRUE).
    pub is_ca: bool,
    /// Its SHA-256 hash.
    pub fingerprint: Fingerprint,
}

impl Certificate {
    /// Parses a certificate. If it cannot be parsed, or without the feature `certificate-details`, every field except the
    /// fingerprint is empty.
    #[must_use]
    pub fn read(der: &CertificateDer<'_>) -> Self {
        let empty = Self {
            subject: String::new(),
            issuer: String::new(),
            names: Vec::new(),
            not_before: 0,
            not_after: 0,
            is_self_signed: false,
            is_ca: false,
            fingerprint: Fingerprint::of(der),
        };
        #[cfg(feature = "certificate-details")]
        if let Ok((_, certificate)) = X509Certificate::from_der(der) {
            return Self {
                subject: printable(&certificate.subject().to_string()),
                issuer: printable(&certificate.issuer().to_string()),
                names: names(&certificate),
                not_before: certificate.validity().not_before.timestamp(),
                not_after: certificate.validity().not_after.timestamp(),
                is_self_signed: certificate.subject() == certificate.issuer(),
                is_ca: certificate.is_ca(),
                ..empty
            };
        }
        empty
    }

    /// Returns the first day of its validity, as `YYYY-MM-DD`, UTC.
    #[must_use]
    pub fn not_before_day(&self) -> String {
        day(self.not_before)
    }

    /// Returns the last day of its validity, as `YYYY-MM-DD`, UTC.
    #[must_use]
    pub fn not_after_day(&self) -> String {
        day(self.not_after)
    }
}

/// Returns the hash for `tls-server-end-point`: that of the certificate's own signature, but never weaker than SHA-256
/// (RFC 5929 §4.1). `None` if the signature has no hash of its own.
pub(crate) fn end_point_hash(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let algorithm = end_point_algorithm(signature_algorithm(der)?)?;
    Some(ring::digest::digest(algorithm, der).as_ref().to_vec())
}

/// Returns the object identifier of a certificate's signature algorithm (RFC 5280 §4.1.1.2), in DER.
fn signature_algorithm(der: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const OBJECT_IDENTIFIER: u8 = 0x06;
    let (certificate, _) = der_element(der, SEQUENCE)?;
    let (_, behind_tbs) = der_element(certificate, SEQUENCE)?;
    let (algorithm, _) = der_element(behind_tbs, SEQUENCE)?;
    der_element(algorithm, OBJECT_IDENTIFIER).map(|(identifier, _)| identifier)
}

/// Splits an element with this tag off: its content, and what follows.
fn der_element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(length)).flatten()
}

/// Returns the hash of a signature algorithm.
fn end_point_algorithm(signature: &[u8]) -> Option<&'static ring::digest::Algorithm> {
    Some(match signature {
        // ecdsa-with-SHA384, sha384WithRSAEncryption
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12] => {
            &ring::digest::SHA384
        }
        // ecdsa-with-SHA512, sha512WithRSAEncryption
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13] => {
            &ring::digest::SHA512
        }
        // ecdsa-with-SHA256, ecdsa-with-SHA1, and RSA with SHA-256, SHA-1 and MD5
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1]
        | [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11 | 5 | 4] => &ring::digest::SHA256,
        _ => return None,
    })
}

#[cfg(feature = "certificate-details")]
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            bytes => {
                <[u8; 16]>::try_from(bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())
            }
        },
        _ => None,
    });
    names.take(100).collect()
}

/// Returns the beginning of a name, safe to show.
#[cfg(feature = "certificate-details")]
fn printable(text: &str) -> String {
    text.chars().take(1000).map(proto_mail::printable_char).collect()
}

/// Formats the day of a Unix time as `YYYY-MM-DD`, UTC.
fn day(seconds: i64) -> String {
    // Days since 0000-03-01 in the proleptic Gregorian calendar, in eras of 400 years.
    let days = seconds.div_euclid(86_400).saturating_add(719_468);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year_of_era, month + 3) } else { (year_of_era + 1, month - 9) };
    format!("{:04}-{month:02}-{day:02}", year + 400 * era)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_fingerprint_as_displayed() {
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
    fn hashes_the_end_point_with_the_signature_hash() {
        let (sha256, sha384, sha512) = (&ring::digest::SHA256, &ring::digest::SHA384, &ring::digest::SHA512);
        let rows: [(&[u8], _); 11] = [
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], Some(sha256)), // md5WithRSAEncryption
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], Some(sha256)), // sha1WithRSAEncryption
            (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], Some(sha256)),          // ecdsa-with-SHA1
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], Some(sha256)), // sha256WithRSAEncryption
            (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], Some(sha256)),       // ecdsa-with-SHA256
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12], Some(sha384)), // sha384WithRSAEncryption
            (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], Some(sha384)),       // ecdsa-with-SHA384
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13], Some(sha512)), // sha512WithRSAEncryption
            (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], Some(sha512)),       // ecdsa-with-SHA512
            (&[0x2b, 0x65, 0x70], None), // Ed25519: no hash of its own (RFC 5929 §4.1)
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10], None), // RSASSA-PSS: one among its parameters, and maybe two
        ];
        for (signature, expected) in rows {
            assert_eq!(end_point_algorithm(signature), expected, "{signature:?}");
        }
    }

    #[test]
    fn hashes_the_end_point_with_sha_384() {
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
    fn formats_days() {
        let days = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (253_402_300_799, "9999-12-31"),
        ];
        for (seconds, expected) in days {
            assert_eq!(day(seconds), expected);
        }
    }

    #[cfg(feature = "certificate-details")]
    #[test]
    fn lists_host_names_and_addresses() {
        let names = ["mx.example", "192.0.2.7", "2001:db8::1"].map(String::from);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(names.clone()).unwrap().self_signed(&key).unwrap();
        let read = Certificate::read(certificate.der());
        assert_eq!(read.names, names);
        assert!(read.is_self_signed && !read.is_ca);
    }

    #[test]
    fn fingerprints_an_invalid_certificate() {
        let der = CertificateDer::from(vec![1, 2, 3]);
        let read = Certificate::read(&der);
        assert_eq!(read.fingerprint, Fingerprint::of(&[1, 2, 3]));
        assert_eq!(end_point_hash(&der), None);
        assert_eq!(day(1_763_699_685), "2025-11-21");
    }
}
