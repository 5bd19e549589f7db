//! Counts failed logins per account, address and network, across all sessions of both protocols.
//!
//! The more failures there were, the later a failed login is answered. A correct password is never delayed, so that
//! guessing does not lock out the owner of an account. Failures are forgotten one by one.
//!
//! Names and addresses are stored as keyed hashes. The tables are bounded. A full table drops the entry with the
//! fewest failures, so that a flood of new addresses cannot displace the most active ones.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The maximum number of entries in each table.
const MAX_ENTRIES: usize = 4096;

/// The time after which one failure is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(30);

/// The additional delay of each failure beyond the free ones.
const DELAY_STEP: Duration = Duration::from_millis(500);

/// The free failures of a network, as a multiple of those of an address.
const NETWORK_FACTOR: f64 = 4.0;

/// How failed logins are delayed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedLoginLimits {
    /// The number of failures of an account or an address without a delay. Default: 10.
    pub free: u32,
    /// The maximum delay, in addition to that of the state machine. Default: 20 s.
    pub longest_delay: Duration,
}

impl Default for FailedLoginLimits {
    fn default() -> Self {
        Self { free: 10, longest_delay: Duration::from_secs(20) }
    }
}

/// An attempt to log in, identified by account and address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoginAttempt {
    /// The client's address, for the log.
    pub(super) peer: IpAddr,
    account: u64,
    pub(super) address: u64,
    pub(super) network: u64,
    /// The account and the address together.
    pair: u64,
    /// Whether it was counted as a failure before its outcome was known.
    counted: bool,
}

impl LoginAttempt {
    /// Returns whether both have the same account and address.
    pub(super) const fn is_same(&self, other: &Self) -> bool {
        self.pair == other.pair
    }
}

/// The history of an attempt's account and address.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptHistory {
    /// Whether this account has logged in from this address before.
    pub(super) is_known: bool,
    /// The number of recent failures of the address.
    pub(super) failures: u32,
}

/// The failed logins of all sessions.
#[derive(Debug)]
pub(super) struct FailedLogins {
    hasher: RandomState,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    limits: FailedLoginLimits,
    accounts: HashMap<u64, FailureCount>,
    addresses: HashMap<u64, FailureCount>,
    networks: HashMap<u64, FailureCount>,
    /// The pairs of account and address that have logged in, with the last time.
    known: HashMap<u64, Instant>,
}

#[derive(Debug, Clone, Copy)]
struct FailureCount {
    count: f64,
    at: Instant,
}

impl FailureCount {
    /// Returns the failures that are not forgotten yet.
    fn now(self, now: Instant) -> f64 {
        let forgotten = now.saturating_duration_since(self.at).as_secs_f64() / FORGET_AFTER.as_secs_f64();
        (self.count - forgotten).max(0.0)
    }
}

impl FailedLogins {
    pub(super) fn new(limits: FailedLoginLimits) -> Self {
        let tables = Tables {
            limits,
            accounts: HashMap::new(),
            addresses: HashMap::new(),
            networks: HashMap::new(),
            known: HashMap::new(),
        };
        Self { hasher: RandomState::new(), tables: Mutex::new(tables) }
    }

    pub(super) fn set_limits(&self, limits: FailedLoginLimits) {
        self.lock().limits = limits;
    }

    /// Returns an attempt to log in as `account` from `address`.
    pub(super) fn attempt(&self, account: &str, address: IpAddr) -> LoginAttempt {
        let address = address.to_canonical();
        let account = account.to_ascii_lowercase();
        LoginAttempt {
            peer: address,
            account: self.hash(&account),
            address: self.hash(&address),
            network: self.hash(&network(address)),
            pair: self.hash(&(account.as_str(), address)),
            counted: false,
        }
    }

    fn hash(&self, value: &impl Hash) -> u64 {
        self.hasher.hash_one(value)
    }

    /// Returns the history of an attempt's account and address.
    pub(super) fn history(&self, attempt: &LoginAttempt, now: Instant) -> AttemptHistory {
        let tables = self.lock();
        let failures = tables.addresses.get(&attempt.address).map_or(0.0, |found| found.now(now));
        AttemptHistory { is_known: tables.known.contains_key(&attempt.pair), failures: round_up(failures) }
    }

    /// Counts a failure and returns its delay. If the state machine decides the outcome, the attempt is counted in
    /// advance, and [`succeeded`](Self::succeeded) reverts that.
    pub(super) fn failed(&self, attempt: &mut LoginAttempt, now: Instant) -> Duration {
        let tables = &mut *self.lock();
        let free = f64::from(tables.limits.free);
        let (mut account, address, network) = if attempt.counted {
            let current =
                |table: &HashMap<u64, FailureCount>, key| table.get(key).map_or(0.0, |found| found.now(now));
            (
                current(&tables.accounts, &attempt.account),
                current(&tables.addresses, &attempt.address),
                current(&tables.networks, &attempt.network),
            )
        } else {
            (
                add(&mut tables.accounts, attempt.account, now),
                add(&mut tables.addresses, attempt.address, now),
                add(&mut tables.networks, attempt.network, now),
            )
        };
        attempt.counted = true;
        // The owner's own mistakes count; the guesses of others do not.
        if tables.known.contains_key(&attempt.pair) {
            account = 0.0;
        }
        let excess = (account - free).max(address - free).max(network / NETWORK_FACTOR - free).max(0.0);
        DELAY_STEP.mul_f64(excess.min(1e6)).min(tables.limits.longest_delay)
    }

    /// Records a successful attempt, so that this account is known at this address.
    pub(super) fn succeeded(&self, attempt: &LoginAttempt, now: Instant) {
        let tables = &mut *self.lock();
        if attempt.counted {
            subtract(&mut tables.accounts, attempt.account);
            subtract(&mut tables.addresses, attempt.address);
            subtract(&mut tables.networks, attempt.network);
        }
        if tables.known.len() >= MAX_ENTRIES && !tables.known.contains_key(&attempt.pair) {
            let oldest = tables.known.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key);
            oldest.and_then(|oldest| tables.known.remove(&oldest));
        }
        tables.known.insert(attempt.pair, now);
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more failure and returns the current number.
fn add(table: &mut HashMap<u64, FailureCount>, key: u64, now: Instant) -> f64 {
    if table.len() >= MAX_ENTRIES && !table.contains_key(&key) {
        table.retain(|_, failures| failures.now(now) > 0.0);
        if table.len() >= MAX_ENTRIES {
            let fewest =
                table.iter().min_by(|a, b| a.1.now(now).total_cmp(&b.1.now(now))).map(|(key, _)| *key);
            fewest.and_then(|fewest| table.remove(&fewest));
        }
    }
    let failures = table.entry(key).or_insert(FailureCount { count: 0.0, at: now });
    *failures = FailureCount { count: failures.now(now) + 1.0, at: now };
    failures.count
}

fn subtract(table: &mut HashMap<u64, FailureCount>, key: u64) {
    if let Some(failures) = table.get_mut(&key) {
        failures.count = (failures.count - 1.0).max(0.0);
    }
}

/// Rounds a number of failures up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn round_up(failures: f64) -> u32 {
    failures.ceil() as u32
}

/// Returns the network of an address: /24 in IPv4, /64 in IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from(u32::from(address) >> 8 << 8)),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_logins() -> FailedLogins {
        FailedLogins::new(FailedLoginLimits { free: 3, longest_delay: Duration::from_secs(5) })
    }

    fn fail(failed_logins: &FailedLogins, account: &str, address: &str, now: Instant) -> Duration {
        failed_logins.failed(&mut failed_logins.attempt(account, address.parse().unwrap()), now)
    }

    #[test]
    fn delays_failures_increasingly_and_forgets_them() {
        let (failed_logins, now) = (failed_logins(), Instant::now());
        let delays: Vec<_> = (0..20).map(|_| fail(&failed_logins, "ann", "192.0.2.1", now)).collect();
        assert_eq!(delays[..5], [0, 0, 0, 500, 1000].map(Duration::from_millis));
        assert_eq!(delays[19], Duration::from_secs(5), "the delay is limited");
        assert_eq!(
            fail(&failed_logins, "Ann", "198.51.100.1", now),
            Duration::from_secs(5),
            "failures of the account count"
        );
        assert_eq!(
            fail(&failed_logins, "bob", "192.0.2.1", now),
            Duration::from_secs(5),
            "failures of the address count"
        );
        assert_eq!(
            fail(&failed_logins, "bob", "198.51.100.2", now),
            Duration::ZERO,
            "other accounts and addresses are not delayed"
        );
        let later = now + 30 * FORGET_AFTER;
        assert_eq!(fail(&failed_logins, "ann", "192.0.2.1", later), Duration::ZERO);
    }

    #[test]
    fn delays_failures_of_a_whole_network() {
        let (failed_logins, now) = (failed_logins(), Instant::now());
        for address in 1..40 {
            fail(&failed_logins, &format!("user-{address}"), &format!("192.0.2.{address}"), now);
            fail(&failed_logins, &format!("user-{address}"), &format!("2001:db8::{address}"), now);
        }
        for (address, held) in [
            ("192.0.2.99", true),
            ("192.0.3.1", false),
            ("2001:db8::ffff:1", true),
            ("2001:db8:0:1::1", false),
        ] {
            assert_eq!(!fail(&failed_logins, address, address, now).is_zero(), held, "{address}");
        }
    }

    #[test]
    fn does_not_delay_the_owner_for_the_guesses_of_others() {
        let (failed_logins, now) = (failed_logins(), Instant::now());
        let owner = failed_logins.attempt("ann", "203.0.113.1".parse().unwrap());
        failed_logins.succeeded(&owner, now);
        for address in 1..100 {
            fail(&failed_logins, "ann", &format!("192.0.2.{address}"), now);
        }
        let history = failed_logins.history(&owner, now);
        assert!(history.is_known && history.failures == 0);
        let guesser = failed_logins.attempt("ann", "192.0.2.1".parse().unwrap());
        assert_eq!(failed_logins.history(&guesser, now).failures, 1);
        assert_eq!(fail(&failed_logins, "ann", "203.0.113.1", now), Duration::ZERO);
    }

    #[test]
    fn success_reverts_a_failure_that_was_counted_in_advance() {
        let (failed_logins, now) = (failed_logins(), Instant::now());
        for _ in 0..20 {
            let mut attempt = failed_logins.attempt("ann", "192.0.2.1".parse().unwrap());
            assert_eq!(failed_logins.failed(&mut attempt, now), Duration::ZERO);
            failed_logins.succeeded(&attempt, now);
        }
    }

    #[test]
    fn a_full_table_keeps_the_most_active_addresses() {
        let (failed_logins, now) = (failed_logins(), Instant::now());
        for _ in 0..10 {
            fail(&failed_logins, "ann", "192.0.2.1", now);
        }
        for number in 0..2 * MAX_ENTRIES as u128 {
            let address = Ipv6Addr::from((0x2001_0db8_u128 << 96) + (number << 64));
            fail(&failed_logins, &format!("user-{number}"), &address.to_string(), now);
        }
        assert!(
            failed_logins.lock().addresses.len() <= MAX_ENTRIES
                && failed_logins.lock().accounts.len() <= MAX_ENTRIES
        );
        assert!(fail(&failed_logins, "ann", "192.0.2.1", now) > Duration::from_secs(3));
    }
}
