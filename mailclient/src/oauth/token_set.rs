//! Tokens and their expiry.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proto_mail::{Credentials, Secret};
use subtle::ConstantTimeEq;

/// How long before its expiry a token is renewed: clocks differ, and a session must be able to log in with it.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// The longest lifetime that is believed.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// An access token, shared by the sessions of an account. `Debug` does not show it.
#[derive(Clone)]
pub struct AccessToken(Arc<Secret<String>>);

impl AccessToken {
    /// Wraps a token.
    #[must_use]
    pub fn new(token: Secret<String>) -> Self {
        Self(Arc::new(token))
    }

    /// Returns the token. Search for this name to find every use of one.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Returns the credentials for a login of this user.
    #[must_use]
    pub fn credentials(&self, user: &str) -> Credentials {
        Credentials::bearer(user, self.expose())
    }
}

/// Compares in constant time.
impl PartialEq for AccessToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for AccessToken {}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The tokens of an account. `Debug` shows the times only.
pub struct TokenSet {
    /// The token for logins.
    pub access: AccessToken,
    /// The token to get another access token with. The answer to a refresh has none if the old one stays valid.
    pub refresh: Option<Secret<String>>,
    /// When the provider issued the access token.
    pub issued: Timestamp,
    /// When the access token expires, if the provider says so.
    pub expires: Option<Timestamp>,
}

impl TokenSet {
    /// Sets the expiry from a lifetime that the provider states.
    #[must_use]
    pub(super) fn expiring_in(mut self, lifetime: Option<Duration>) -> Self {
        self.expires = lifetime.map(|lifetime| later(self.issued, lifetime.min(MAX_LIFETIME)));
        self
    }

    /// Returns whether the access token should be renewed before the next login: five minutes before its expiry, or a
    /// quarter of its lifetime if that is shorter. `jitter` is a random number; it moves the time forward by up to half as
    /// much, so that accounts that were connected together are not renewed together.
    ///
    /// A clock that was set back does not make the token live longer: one that seems to come from the future is renewed.
    #[must_use]
    pub fn needs_refresh(&self, now: Timestamp, jitter: u64) -> bool {
        let Some(expires) = self.expires else { return false };
        if now < self.issued && between(now, self.issued) > MARGIN {
            return true;
        }
        let margin = MARGIN.min(between(self.issued, expires) / 4);
        let jitter = (margin / 2).mul_f64(jitter as f64 / u64::MAX as f64);
        later(now, margin + jitter) >= expires
    }

    /// Returns whether the access token has expired.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// Copies the tokens, for a store that keeps its own.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let refresh = self.refresh.as_ref().map(|refresh| Secret::new(refresh.expose().clone()));
        Self { access: self.access.clone(), refresh, issued: self.issued, expires: self.expires }
    }
}

impl fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSet")
            .field("issued", &self.issued)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(by).ok().and_then(|by| time.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// Returns the time from one moment to a later one; zero if it is earlier.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(lifetime: Option<u64>) -> TokenSet {
        let access = AccessToken::new("hunter2".to_owned().into());
        let issued = Timestamp::UNIX_EPOCH;
        TokenSet { access, refresh: None, issued, expires: None }
            .expiring_in(lifetime.map(Duration::from_secs))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_token_is_renewed_before_its_expiry() {
        for (lifetime, now, jitter, due) in [
            (Some(3600), 0, u64::MAX, false),
            (Some(3600), 3299, 0, false),
            (Some(3600), 3300, 0, true),
            // The jitter is at most half of the margin.
            (Some(3600), 3149, u64::MAX, false),
            (Some(3600), 3151, u64::MAX, true),
            // A short lifetime has a short margin.
            (Some(60), 40, 0, false),
            (Some(60), 45, 0, true),
            (Some(0), 0, 0, true),
            (None, i64::from(u32::MAX), u64::MAX, false),
            (Some(u64::MAX), 0, u64::MAX, false),
            // The clock was set back by an hour.
            (Some(3600), -3600, 0, true),
            (Some(3600), -10, 0, false),
        ] {
            let due_now = tokens(lifetime).needs_refresh(at(now), jitter);
            assert_eq!(due_now, due, "{lifetime:?} at {now} with {jitter}");
        }
        assert!(!tokens(Some(10)).has_expired(at(9)) && tokens(Some(10)).has_expired(at(10)));
    }

    #[test]
    fn tokens_are_compared_and_not_shown() {
        let one = tokens(None);
        assert!(!format!("{one:?} {:?}", one.access).contains("hunter2"));
        assert_eq!(one.access, one.duplicate().access);
        assert_ne!(one.access, AccessToken::new("hunter3".to_owned().into()));
    }
}
