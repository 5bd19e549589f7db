//! How often log-ins failed, per account, address and network, across all sessions of both protocols.
//!
//! A failed log-in is answered later the more of them there were before. A right password is never held back: guessing
//! does not lock an account's owner out. Failures are forgotten one by one.
//!
//! Names and addresses are kept as keyed hashes. The tables are bounded; a full one forgets those with the fewest
//! failures first, so that a flood of new addresses cannot push out those that guess the most.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most entries of each table.
const ENTRIES: usize = 4096;

/// After so long, one failure is forgotten.
const FORGET: Duration = Duration::from_secs(30);

/// How much later each failure beyond the free ones is answered than the one before.
const STEP: Duration = Duration::from_millis(500);

/// A network has so many times the free failures of an address.
const NETWORK_SHARE: f64 = 4.0;

/// How failures are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GuessLimits {
    /// So many failures of an account or an address cost nothing.
    pub(super) free: u32,
    /// The longest that a failure is held back, beyond what the machine does by itself.
    pub(super) longest_delay: Duration,
}

impl Default for GuessLimits {
    fn default() -> Self {
        Self { free: 10, longest_delay: Duration::from_secs(20) }
    }
}

/// Who tries to log in, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    account: u64,
    pub(super) address: u64,
    pub(super) network: u64,
    /// The account and the address together.
    pair: u64,
    /// Whether it was counted as a failure before its outcome is known.
    counted: bool,
}

impl Attempt {
    /// Whether both are of one account and one address.
    pub(super) const fn is_same(&self, other: &Self) -> bool {
        self.pair == other.pair
    }
}

/// What is known of those that make an attempt, before its outcome.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// Whether this account has logged in from this address before.
    pub(super) is_known: bool,
    /// How many attempts of the address failed and are not forgotten yet.
    pub(super) failures: u32,
}

/// The failures of all sessions.
#[derive(Debug)]
pub(super) struct Guesses {
    hasher: RandomState,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    limits: GuessLimits,
    accounts: HashMap<u64, Failures>,
    addresses: HashMap<u64, Failures>,
    networks: HashMap<u64, Failures>,
    /// The pairs that have logged in, and when they last did.
    known: HashMap<u64, Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: f64,
    at: Instant,
}

impl Failures {
    /// What is not forgotten yet.
    fn now(self, now: Instant) -> f64 {
        let forgotten = now.saturating_duration_since(self.at).as_secs_f64() / FORGET.as_secs_f64();
        (self.count - forgotten).max(0.0)
    }
}

impl Guesses {
    pub(super) fn new(limits: GuessLimits) -> Self {
        let tables = Tables {
            limits,
            accounts: HashMap::new(),
            addresses: HashMap::new(),
            networks: HashMap::new(),
            known: HashMap::new(),
        };
        Self { hasher: RandomState::new(), tables: Mutex::new(tables) }
    }

    pub(super) fn set_limits(&self, limits: GuessLimits) {
        self.lock().limits = limits;
    }

    /// An attempt to log in as `account` from `address`.
    pub(super) fn attempt(&self, account: &str, address: IpAddr) -> Attempt {
        let address = address.to_canonical();
        let account = account.to_ascii_lowercase();
        Attempt {
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

    /// What is known of the account and the address of an attempt.
    pub(super) fn standing(&self, attempt: &Attempt, now: Instant) -> Standing {
        let tables = self.lock();
        let failures = tables.addresses.get(&attempt.address).map_or(0.0, |found| found.now(now));
        Standing { is_known: tables.known.contains_key(&attempt.pair), failures: whole(failures) }
    }

    /// Counts a failure, and returns how much later it is answered. An attempt whose outcome the machine decides is
    /// counted before: [`succeeded`](Self::succeeded) takes that back.
    pub(super) fn failed(&self, attempt: &mut Attempt, now: Instant) -> Duration {
        let tables = &mut *self.lock();
        let free = f64::from(tables.limits.free);
        let (mut account, address, network) = if attempt.counted {
            let current =
                |table: &HashMap<u64, Failures>, key| table.get(key).map_or(0.0, |found| found.now(now));
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
        // The owner's own mistakes count, and the guesses of others do not.
        if tables.known.contains_key(&attempt.pair) {
            account = 0.0;
        }
        let excess = (account - free).max(address - free).max(network / NETWORK_SHARE - free).max(0.0);
        STEP.mul_f64(excess.min(1e6)).min(tables.limits.longest_delay)
    }

    /// Notes that an attempt succeeded: this account and this address belong together.
    pub(super) fn succeeded(&self, attempt: &Attempt, now: Instant) {
        let tables = &mut *self.lock();
        if attempt.counted {
            subtract(&mut tables.accounts, attempt.account);
            subtract(&mut tables.addresses, attempt.address);
            subtract(&mut tables.networks, attempt.network);
        }
        if tables.known.len() >= ENTRIES && !tables.known.contains_key(&attempt.pair) {
            let oldest = tables.known.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key);
            oldest.and_then(|oldest| tables.known.remove(&oldest));
        }
        tables.known.insert(attempt.pair, now);
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more failure, and returns how many there are now.
fn add(table: &mut HashMap<u64, Failures>, key: u64, now: Instant) -> f64 {
    if table.len() >= ENTRIES && !table.contains_key(&key) {
        table.retain(|_, failures| failures.now(now) > 0.0);
        if table.len() >= ENTRIES {
            let fewest =
                table.iter().min_by(|a, b| a.1.now(now).total_cmp(&b.1.now(now))).map(|(key, _)| *key);
            fewest.and_then(|fewest| table.remove(&fewest));
        }
    }
    let failures = table.entry(key).or_insert(Failures { count: 0.0, at: now });
    *failures = Failures { count: failures.now(now) + 1.0, at: now };
    failures.count
}

fn subtract(table: &mut HashMap<u64, Failures>, key: u64) {
    if let Some(failures) = table.get_mut(&key) {
        failures.count = (failures.count - 1.0).max(0.0);
    }
}

/// A number of failures, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count beyond the range is its end"
)]
fn whole(failures: f64) -> u32 {
    failures.ceil() as u32
}

/// The network of an address: /24 in IPv4, /64 in IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from(u32::from(address) >> 8 << 8)),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesses() -> Guesses {
        Guesses::new(GuessLimits { free: 3, longest_delay: Duration::from_secs(5) })
    }

    fn fail(guesses: &Guesses, account: &str, address: &str, now: Instant) -> Duration {
        guesses.failed(&mut guesses.attempt(account, address.parse().unwrap()), now)
    }

    #[test]
    fn failures_are_answered_later_and_later_and_forgotten() {
        let (guesses, now) = (guesses(), Instant::now());
        let delays: Vec<_> = (0..20).map(|_| fail(&guesses, "ann", "192.0.2.1", now)).collect();
        assert_eq!(delays[..5], [0, 0, 0, 500, 1000].map(Duration::from_millis));
        assert_eq!(delays[19], Duration::from_secs(5), "there is a longest delay");
        assert_eq!(
            fail(&guesses, "Ann", "198.51.100.1", now),
            Duration::from_secs(5),
            "the account is guessed at"
        );
        assert_eq!(fail(&guesses, "bob", "192.0.2.1", now), Duration::from_secs(5), "the address guesses");
        assert_eq!(
            fail(&guesses, "bob", "198.51.100.2", now),
            Duration::ZERO,
            "other accounts and addresses are not delayed"
        );
        let later = now + 30 * FORGET;
        assert_eq!(fail(&guesses, "ann", "192.0.2.1", later), Duration::ZERO);
    }

    #[test]
    fn a_network_is_throttled_as_a_whole() {
        let (guesses, now) = (guesses(), Instant::now());
        for address in 1..40 {
            fail(&guesses, &format!("user-{address}"), &format!("192.0.2.{address}"), now);
            fail(&guesses, &format!("user-{address}"), &format!("2001:db8::{address}"), now);
        }
        for (address, held) in [
            ("192.0.2.99", true),
            ("192.0.3.1", false),
            ("2001:db8::ffff:1", true),
            ("2001:db8:0:1::1", false),
        ] {
            assert_eq!(!fail(&guesses, address, address, now).is_zero(), held, "{address}");
        }
    }

    #[test]
    fn the_owner_does_not_pay_for_the_guesses_of_others() {
        let (guesses, now) = (guesses(), Instant::now());
        let owner = guesses.attempt("ann", "203.0.113.1".parse().unwrap());
        guesses.succeeded(&owner, now);
        for address in 1..100 {
            fail(&guesses, "ann", &format!("192.0.2.{address}"), now);
        }
        let standing = guesses.standing(&owner, now);
        assert!(standing.is_known && standing.failures == 0);
        let guesser = guesses.attempt("ann", "192.0.2.1".parse().unwrap());
        assert_eq!(guesses.standing(&guesser, now).failures, 1);
        assert_eq!(fail(&guesses, "ann", "203.0.113.1", now), Duration::ZERO);
    }

    #[test]
    fn an_attempt_that_was_counted_before_its_outcome_is_taken_back() {
        let (guesses, now) = (guesses(), Instant::now());
        for _ in 0..20 {
            let mut attempt = guesses.attempt("ann", "192.0.2.1".parse().unwrap());
            assert_eq!(guesses.failed(&mut attempt, now), Duration::ZERO);
            guesses.succeeded(&attempt, now);
        }
    }

    #[test]
    fn a_full_table_keeps_those_that_guess_the_most() {
        let (guesses, now) = (guesses(), Instant::now());
        for _ in 0..10 {
            fail(&guesses, "ann", "192.0.2.1", now);
        }
        for number in 0..2 * ENTRIES as u128 {
            let address = Ipv6Addr::from((0x2001_0db8_u128 << 96) + (number << 64));
            fail(&guesses, &format!("user-{number}"), &address.to_string(), now);
        }
        assert!(guesses.lock().addresses.len() <= ENTRIES && guesses.lock().accounts.len() <= ENTRIES);
        assert!(fail(&guesses, "ann", "192.0.2.1", now) > Duration::from_secs(3));
    }
}
