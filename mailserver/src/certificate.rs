//! Certificates of a local certificate authority, for servers without a public name.
//!
//! Name constraints (RFC 5280 §4.2.1.10) limit an authority to loopback names and the names that it was generated for, so
//! that trusting it risks nothing else.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use io_common::{TlsServerConfig, TlsVersions};
use proto_mail::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use time::{Duration, OffsetDateTime};

use crate::host_name::HostName;

/// The names of every certificate.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How long an authority and its certificates are valid.
const AUTHORITY_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;

/// A certificate authority with its key.
pub struct Authority {
    certificate: String,
    key: Secret<String>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for a server, with its key.
pub struct IssuedCertificate {
    chain: String,
    key: Secret<String>,
}

/// Why a certificate could not be generated.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateError {
    /// The time is not one that a certificate can have.
    InvalidTime,
    /// The library that generates certificates failed: no randomness, a damaged key, a name that no certificate can have.
    Generation(String),
}

impl Authority {
    /// Generates an authority for loopback names and these, valid for ten years from `now`, in seconds since 1970.
    ///
    /// # Errors
    /// There is no randomness, or the time is out of range.
    pub fn generate(names: &[HostName], now: i64) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        // The number distinguishes two authorities in a list of trusted ones.
        params.distinguished_name.push(DnType::CommonName, format!("Mailwire local authority {now:x}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let mut permitted_subtrees = vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(Ipv6Addr::LOCALHOST.octets(), 128)),
        ];
        permitted_subtrees.extend(names.iter().map(subtree));
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        set_validity(&mut params, now, AUTHORITY_DAYS)?;
        let certificate = params.self_signed(&key)?;
        let (certificate, pem) = (certificate.pem(), Secret::new(key.serialize_pem()));
        Ok(Self { certificate, key: pem, issuer: Issuer::new(params, key) })
    }

    /// An authority that was generated before.
    ///
    /// # Errors
    /// The certificate or the key is damaged.
    #[cfg(feature = "certificates-from-pem")]
    pub fn from_pem(certificate: String, key: Secret<String>) -> Result<Self, CertificateError> {
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(key.expose())?)?;
        Ok(Self { certificate, key, issuer })
    }

    /// Returns its certificate in PEM, which clients have to trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// Returns its key in PEM.
    #[must_use]
    pub const fn key_pem(&self) -> &Secret<String> {
        &self.key
    }

    /// Issues a certificate for the loopback names and these, valid for a year from `now`, in seconds since 1970.
    ///
    /// # Errors
    /// There is no randomness, or the time is out of range.
    pub fn issue(&self, names: &[HostName], now: i64) -> Result<IssuedCertificate, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(certificate_names(names))?;
        let common = names.iter().find_map(HostName::host).unwrap_or("localhost");
        params.distinguished_name.push(DnType::CommonName, common);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, LEAF_DAYS)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        // Some clients need the whole chain, so it includes the authority.
        let chain = certificate.pem() + &self.certificate;
        Ok(IssuedCertificate { chain, key: Secret::new(key.serialize_pem()) })
    }
}

impl IssuedCertificate {
    /// Returns the certificate and the authority's, in PEM.
    #[must_use]
    pub fn chain_pem(&self) -> &str {
        &self.chain
    }

    /// Returns the certificate's key, in PEM.
    #[must_use]
    pub const fn key_pem(&self) -> &Secret<String> {
        &self.key
    }

    /// Returns a TLS configuration with this certificate.
    ///
    /// # Errors
    /// None is expected for a certificate that this module has issued.
    pub fn tls(&self) -> Result<TlsServerConfig, CertificateError> {
        let (chain, key) = (self.chain.as_bytes(), self.key.expose().as_bytes());
        TlsServerConfig::from_pem(chain, key, TlsVersions::Both)
            .map_err(|error| CertificateError::Generation(error.to_string()))
    }
}

/// Returns the names of a certificate for these host names: theirs, and the loopback names.
#[must_use]
pub fn certificate_names(names: &[HostName]) -> Vec<String> {
    let mut all: Vec<String> = LOOPBACK.map(str::to_owned).into();
    for name in names.iter().map(HostName::to_string) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn subtree(name: &HostName) -> GeneralSubtree {
    match name {
        HostName::Host(name) | HostName::Wildcard(name) => GeneralSubtree::DnsName(name.clone()),
        HostName::Address(IpAddr::V4(address)) => {
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(address.octets(), 32))
        }
        HostName::Address(IpAddr::V6(address)) => {
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(address.octets(), 128))
        }
    }
}

/// Sets the validity from an hour ago, because clocks differ, until `days` from now.
fn set_validity(params: &mut CertificateParams, now: i64, days: i64) -> Result<(), CertificateError> {
    let now = OffsetDateTime::from_unix_timestamp(now).map_err(|_| CertificateError::InvalidTime)?;
    let limits = now.checked_sub(Duration::hours(1)).zip(now.checked_add(Duration::days(days)));
    (params.not_before, params.not_after) = limits.ok_or(CertificateError::InvalidTime)?;
    Ok(())
}

impl From<rcgen::Error> for CertificateError {
    fn from(error: rcgen::Error) -> Self {
        Self::Generation(error.to_string())
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidTime => {
                f.write_str("no certificate can be valid at this time: check this machine's clock")
            }
            Self::Generation(error) => write!(f, "cannot generate a certificate: {error}"),
        }
    }
}

impl std::error::Error for CertificateError {}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "certificates-from-pem")]
    #[test]
    fn issues_certificates_for_its_names_and_loopback() {
        let names = ["mail.example".parse().unwrap(), "192.0.2.7".parse().unwrap()];
        let authority = Authority::generate(&names, 1_800_000_000).unwrap();
        let pem = authority.certificate_pem().to_owned();
        let key = Secret::new(authority.key_pem().expose().clone());
        let again = Authority::from_pem(pem, key).unwrap();
        for authority in [authority, again] {
            let issued = authority.issue(&names, 1_800_000_000).unwrap();
            let certificate = issued.tls().unwrap().certificate().unwrap();
            assert_eq!(certificate.names, ["localhost", "127.0.0.1", "::1", "mail.example", "192.0.2.7"]);
            assert_eq!(certificate.not_after, 1_800_000_000 + LEAF_DAYS * 86_400);
        }
    }

    #[test]
    fn times_out_of_range_are_errors() {
        for now in [i64::MAX, i64::MIN, 253_402_300_799] {
            assert!(matches!(Authority::generate(&[], now), Err(CertificateError::InvalidTime)), "{now}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let authority = Authority::generate(&[], 0).unwrap();
        assert!(!format!("{authority:?}").contains("PRIVATE"));
        assert!(!format!("{:?}", authority.issue(&[], 0).unwrap()).contains("PRIVATE"));
    }
}
