//! SRV records of mail services (RFC 6186, RFC 8314 §5.1).

use super::suggestion::{Source, Suggestion};
use crate::account::address::check_host;
use crate::account::settings::ServerSettings;
use crate::endpoint::{Protocol, TlsMode};

/// A SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvRecord {
    /// The priority: a lower one is better.
    pub priority: u16,
    /// The weight among records of the same priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host, with or without a dot at the end. A single dot says that the service does not exist.
    pub target: String,
}

/// A mail service with SRV records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SrvService {
    /// IMAP with TLS from the first byte.
    Imaps,
    /// IMAP with STARTTLS.
    Imap,
    /// Submission with TLS from the first byte.
    Submissions,
    /// Submission with STARTTLS.
    Submission,
}

impl SrvService {
    /// All services, the preferred one of each protocol first (RFC 8314 §5.1).
    pub const ALL: [Self; 4] = [Self::Imaps, Self::Imap, Self::Submissions, Self::Submission];

    /// Returns the name of the service's records in a domain.
    #[must_use]
    pub fn name(self, domain: &str) -> String {
        let label = match self {
            Self::Imaps => "_imaps",
            Self::Imap => "_imap",
            Self::Submissions => "_submissions",
            Self::Submission => "_submission",
        };
        format!("{label}._tcp.{domain}")
    }

    const fn protocol(self) -> (Protocol, TlsMode) {
        match self {
            Self::Imaps => (Protocol::Imap, TlsMode::Implicit),
            Self::Imap => (Protocol::Imap, TlsMode::StartTls),
            Self::Submissions => (Protocol::Smtp, TlsMode::Implicit),
            Self::Submission => (Protocol::Smtp, TlsMode::StartTls),
        }
    }
}

/// The most records of a name that are considered.
const RECORD_LIMIT: usize = 5;

/// Returns the servers of SRV records, by priority and weight. Ignores records without a usable host and port.
///
/// Records are not authenticated: a server outside the domain needs the user's confirmation (RFC 6186 §6).
#[must_use]
pub fn suggest(
    service: SrvService,
    domain: &str,
    address: &str,
    mut records: Vec<SrvRecord>,
) -> Vec<Suggestion> {
    let (protocol, tls) = service.protocol();
    records.sort_by_key(|record| (record.priority, std::cmp::Reverse(record.weight)));
    let suggestion = |record: SrvRecord| {
        let host = record.target.strip_suffix('.').unwrap_or(&record.target).to_ascii_lowercase();
        if record.port == 0 || check_host(&host).is_err() {
            return None;
        }
        let is_within = host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        Some(Suggestion {
            protocol,
            server: ServerSettings { host, port: record.port, tls, user: address.to_owned() },
            auth_modes: Vec::new(),
            source: Source::Srv(service.name(domain)),
            is_authenticated: is_within,
        })
    };
    records.into_iter().filter_map(suggestion).take(RECORD_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(priority: u16, weight: u16, port: u16, target: &str) -> SrvRecord {
        SrvRecord { priority, weight, port, target: target.to_owned() }
    }

    #[test]
    fn orders_records_and_ignores_unusable_ones() {
        let records = vec![
            record(20, 0, 993, "backup.x.example."),
            record(10, 1, 993, "two.x.example"),
            record(10, 9, 1993, "ONE.x.example."),
            record(0, 0, 0, "zero.x.example"),
            record(0, 0, 993, "."),
            record(0, 0, 993, ""),
            record(0, 0, 993, "a b\r\n"),
            record(30, 0, 993, "evilx.example"),
        ];
        let found = suggest(SrvService::Imaps, "x.example", "ann@x.example", records);
        let hosts: Vec<_> = found
            .iter()
            .map(|one| (one.server.host.as_str(), one.server.port, one.is_authenticated))
            .collect();
        let expected = [
            ("one.x.example", 1993, true),
            ("two.x.example", 993, true),
            ("backup.x.example", 993, true),
            ("evilx.example", 993, false),
        ];
        assert_eq!(hosts, expected);
        let many = (0..100).map(|n| record(n, 0, 1, "h.example")).collect();
        assert_eq!(suggest(SrvService::Submission, "x.example", "a@x.example", many).len(), RECORD_LIMIT);
    }

    #[test]
    fn a_server_outside_the_domain_is_not_authenticated() {
        let of = |target: &str| {
            let found =
                suggest(SrvService::Imap, "x.example", "a@x.example", vec![record(0, 0, 143, target)]);
            (found[0].is_authenticated, found[0].server.tls)
        };
        assert_eq!(of("x.example."), (true, TlsMode::StartTls));
        assert!(of("a.b.x.example").0);
        assert!(!of("notx.example").0);
        assert!(!of("x.example.evil.example").0);
    }
}
