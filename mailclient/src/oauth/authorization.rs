//! The authorization code flow: starts it with `state` and PKCE, and checks its callback.
//!
//! `state` is a random number of 256 bits. It is compared in constant time, is valid once and for ten minutes, and belongs
//! to one account, one provider and, in a service, one browser session. So a callback that an attacker makes a browser send
//! connects no account.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use oauth2::{CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use proto_mail::Secret;
use subtle::{Choice, ConstantTimeEq};

use super::callback::{Answer, Callback};
use super::error::{OAuthError, OAuthErrorCode};
use super::provider::Provider;

/// The bytes of randomness in `state`.
const STATE_BYTES: u32 = 32;

/// The limits of [`PendingAuthorizations`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorizationLimits {
    /// How long an authorization may take. Default: 10 minutes.
    pub lifetime: Duration,
    /// The most authorizations that are pending. Default: 1000.
    pub pending: usize,
    /// The most that are pending for one account; a further one replaces the oldest. Default: 5.
    pub pending_per_account: usize,
}

impl Default for AuthorizationLimits {
    fn default() -> Self {
        Self { lifetime: Duration::from_secs(10 * 60), pending: 1000, pending_per_account: 5 }
    }
}

/// Whose authorization it is. `Debug` does not show the browser session.
pub struct Subject {
    account: String,
    session: Option<Secret<Vec<u8>>>,
}

impl Subject {
    /// An account, for a program whose redirect only its own user can reach.
    #[must_use]
    pub fn account(account: impl Into<String>) -> Self {
        Self { account: account.into(), session: None }
    }

    /// Binds the authorization to a browser session, for a service. `session` is what only this browser has, such as the
    /// value of the session cookie.
    #[must_use]
    pub fn in_session(mut self, session: impl Into<Secret<Vec<u8>>>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Compares in constant time.
    fn is_same(&self, other: &Self) -> bool {
        let session = match (&self.session, &other.session) {
            (None, None) => Choice::from(1),
            (Some(one), Some(other)) => one.expose().as_slice().ct_eq(other.expose().as_slice()),
            _ => Choice::from(0),
        };
        (session & self.account.as_bytes().ct_eq(other.account.as_bytes())).into()
    }

    fn duplicate(&self) -> Self {
        let session = self.session.as_ref().map(|session| Secret::new(session.expose().clone()));
        Self { account: self.account.clone(), session }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("account", &self.account).finish_non_exhaustive()
    }
}

/// An authorization whose callback is awaited.
struct Pending {
    state: Secret<String>,
    verifier: Secret<String>,
    redirect_uri: String,
    provider: String,
    subject: Subject,
    started: Instant,
}

/// A checked callback: a code that can be exchanged once. `Debug` shows the account only.
pub struct Granted {
    pub(super) code: Secret<String>,
    pub(super) verifier: Secret<String>,
    pub(super) redirect_uri: String,
    account: String,
}

impl Granted {
    /// Returns the account whose user has consented.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("account", &self.account).finish_non_exhaustive()
    }
}

/// The authorizations that have begun and whose callbacks are awaited. They are kept in memory.
#[derive(Default)]
pub struct PendingAuthorizations {
    limits: AuthorizationLimits,
    /// The oldest first.
    pending: Mutex<VecDeque<Pending>>,
}

impl PendingAuthorizations {
    /// Creates an empty list with these limits.
    #[must_use]
    pub fn new(limits: AuthorizationLimits) -> Self {
        Self { limits, pending: Mutex::default() }
    }

    /// Starts an authorization, and returns the URL to open in the user's browser. The URL holds `state`: show it to the
    /// user only.
    ///
    /// `login_hint` is the user's address; the provider then need not ask for it.
    ///
    /// # Errors
    /// [`OAuthErrorCode::Busy`]: too many authorizations are pending. [`OAuthErrorCode::ProviderInvalid`]: the redirect is
    /// not a URL.
    pub fn begin(
        &self,
        provider: &Provider,
        subject: &Subject,
        redirect_uri: &str,
        login_hint: Option<&str>,
        now: Instant,
    ) -> Result<String, OAuthError> {
        let redirect = RedirectUrl::new(redirect_uri.to_owned()).map_err(|_| {
            OAuthError::new(OAuthErrorCode::ProviderInvalid, "the redirect address is not a URL")
        })?;
        let state = CsrfToken::new_random_len(STATE_BYTES);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let settings = provider.settings();
        let mut request = provider
            .client()
            .authorize_url(|| state.clone())
            .add_scopes(settings.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .set_redirect_uri(std::borrow::Cow::Owned(redirect));
        for (name, value) in &settings.authorization_parameters {
            request = request.add_extra_param(name, value);
        }
        if let Some(address) = login_hint {
            request = request.add_extra_param("login_hint", address);
        }
        let (url, _) = request.url();
        self.add(Pending {
            state: Secret::new(state.into_secret()),
            verifier: Secret::new(verifier.into_secret()),
            redirect_uri: redirect_uri.to_owned(),
            provider: settings.name.clone(),
            subject: subject.duplicate(),
            started: now,
        })?;
        Ok(url.into())
    }

    fn add(&self, new: Pending) -> Result<(), OAuthError> {
        let mut pending = self.lock();
        self.remove_expired(&mut pending, new.started);
        let is_own = |old: &Pending| old.subject.account == new.subject.account;
        let own = pending.iter().filter(|old| is_own(old)).count();
        if own >= self.limits.pending_per_account.max(1)
            && let Some(oldest) = pending.iter().position(is_own)
        {
            pending.remove(oldest);
        }
        if pending.len() >= self.limits.pending {
            return Err(OAuthError::new(OAuthErrorCode::Busy, "too many authorizations are pending"));
        }
        pending.push_back(new);
        Ok(())
    }

    /// Checks a callback, and forgets its authorization: a second callback with the same `state` is refused, also if the
    /// first one reported an error or came from another browser session.
    ///
    /// # Errors
    /// [`OAuthErrorCode::StateMismatch`]: no authorization of this subject with the provider has this `state`.
    /// [`OAuthErrorCode::Expired`], [`OAuthErrorCode::AccessDenied`] or another code if the provider reports an error.
    pub fn take(
        &self,
        provider: &Provider,
        callback: &Callback,
        subject: &Subject,
        now: Instant,
    ) -> Result<Granted, OAuthError> {
        let settings = provider.settings();
        let found = self.remove(&callback.state);
        let is_own = |found: &Pending| found.subject.is_same(subject) && found.provider == settings.name;
        let Some(found) = found.filter(is_own) else {
            let what = "the answer of the browser belongs to no consent that was asked for";
            return Err(OAuthError::new(OAuthErrorCode::StateMismatch, what));
        };
        if now.saturating_duration_since(found.started) > self.limits.lifetime {
            return Err(OAuthError::new(OAuthErrorCode::Expired, "the consent took too long"));
        }
        if let (Some(expected), Some(issuer)) = (&settings.issuer, &callback.issuer)
            && expected != issuer
        {
            let what = "the answer of the browser comes from another provider";
            return Err(OAuthError::new(OAuthErrorCode::StateMismatch, what));
        }
        match &callback.answer {
            Answer::Code(code) => Ok(Granted {
                code: Secret::new(code.expose().clone()),
                verifier: found.verifier,
                redirect_uri: found.redirect_uri,
                account: found.subject.account,
            }),
            Answer::Denied => Err(OAuthError::new(OAuthErrorCode::AccessDenied, "the user did not consent")),
            Answer::Error { name, is_retryable: true } => {
                Err(OAuthError::new(OAuthErrorCode::Unavailable, format!("the provider reports {name}")))
            }
            Answer::Error { name, is_retryable: false } => {
                Err(OAuthError::new(OAuthErrorCode::RequestRefused, format!("the provider reports {name}")))
            }
        }
    }

    /// Removes the authorization with this `state`. Compares all of them, each in constant time.
    fn remove(&self, state: &Secret<String>) -> Option<Pending> {
        let mut pending = self.lock();
        let mut found = None;
        for (index, candidate) in pending.iter().enumerate() {
            if candidate.state.expose().as_bytes().ct_eq(state.expose().as_bytes()).into() {
                found = Some(index);
            }
        }
        found.and_then(|index| pending.remove(index))
    }

    /// Returns how many authorizations are pending.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns whether no authorization is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remove_expired(&self, pending: &mut VecDeque<Pending>, now: Instant) {
        let lifetime = self.limits.lifetime;
        pending.retain(|old| now.saturating_duration_since(old.started) <= lifetime);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PendingAuthorizations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAuthorizations").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::provider::{ClientRegistration, ProviderSettings};
    use super::*;

    const REDIRECT: &str = "http://127.0.0.1:4000/";

    fn provider() -> Provider {
        let client = ClientRegistration { id: "client".into(), secret: Some("hunter2".to_owned().into()) };
        Provider::new(ProviderSettings::google(), client).unwrap()
    }

    fn parameters(url: &str) -> HashMap<String, String> {
        let url: oauth2::url::Url = url.parse().unwrap();
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    fn callback(url: &str) -> Callback {
        Callback::from_query(&format!("state={}&code=c", parameters(url)["state"])).unwrap()
    }

    #[test]
    fn the_url_has_every_parameter_and_no_secret() {
        let pending = PendingAuthorizations::default();
        let subject = Subject::account("work").in_session(b"cookie");
        let url =
            pending.begin(&provider(), &subject, REDIRECT, Some("ann@example.com"), Instant::now()).unwrap();
        let parameters = parameters(&url);
        for (name, value) in [
            ("client_id", "client"),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT),
            ("scope", "https://mail.google.com/"),
            ("code_challenge_method", "S256"),
            ("access_type", "offline"),
            ("login_hint", "ann@example.com"),
        ] {
            assert_eq!(parameters.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(parameters["code_challenge"].len(), 43);
        assert_eq!(parameters["state"].len(), 43);
        let verifier = pending.lock()[0].verifier.expose().clone();
        assert!(!url.contains("hunter2") && !url.contains("cookie") && !url.contains(&verifier));
        assert!(!format!("{pending:?} {subject:?}").contains("cookie"));
    }

    #[test]
    fn a_state_is_valid_once() {
        let (pending, provider, now) = (PendingAuthorizations::default(), provider(), Instant::now());
        let subject = Subject::account("work");
        let url = pending.begin(&provider, &subject, REDIRECT, None, now).unwrap();
        let granted = pending.take(&provider, &callback(&url), &subject, now).unwrap();
        assert_eq!((granted.account(), granted.redirect_uri.as_str()), ("work", REDIRECT));
        let replayed = pending.take(&provider, &callback(&url), &subject, now).unwrap_err();
        assert_eq!(replayed.code(), OAuthErrorCode::StateMismatch);
    }

    #[test]
    fn a_state_belongs_to_an_account_a_session_and_a_provider() {
        let (provider, now) = (provider(), Instant::now());
        let microsoft = ProviderSettings::microsoft("common").unwrap();
        let other_provider =
            Provider::new(microsoft, ClientRegistration { id: "client".into(), secret: None }).unwrap();
        let own = || Subject::account("work").in_session(b"one");
        for (subject, answering) in [
            (Subject::account("other").in_session(b"one"), &provider),
            (Subject::account("work").in_session(b"two"), &provider),
            (Subject::account("work"), &provider),
            (own(), &other_provider),
        ] {
            let pending = PendingAuthorizations::default();
            let url = pending.begin(&provider, &own(), REDIRECT, None, now).unwrap();
            let refused = pending.take(answering, &callback(&url), &subject, now).unwrap_err();
            assert_eq!(refused.code(), OAuthErrorCode::StateMismatch, "{subject:?}");
            // The attempt has used it up.
            assert!(pending.take(&provider, &callback(&url), &own(), now).is_err());
        }
    }

    #[test]
    fn a_wrong_state_uses_nothing_up() {
        let (pending, provider, now) = (PendingAuthorizations::default(), provider(), Instant::now());
        let subject = Subject::account("work");
        let url = pending.begin(&provider, &subject, REDIRECT, None, now).unwrap();
        for state in ["", "x", &"x".repeat(43)] {
            let wrong = Callback::from_query(&format!("state={state}&code=c")).unwrap();
            let refused = pending.take(&provider, &wrong, &subject, now).unwrap_err();
            assert_eq!(refused.code(), OAuthErrorCode::StateMismatch);
        }
        assert!(pending.take(&provider, &callback(&url), &subject, now).is_ok());
    }

    #[test]
    fn an_authorization_expires() {
        let (pending, provider, now) = (PendingAuthorizations::default(), provider(), Instant::now());
        let subject = Subject::account("work");
        let lifetime = AuthorizationLimits::default().lifetime;
        for (after, is_valid) in [(lifetime, true), (lifetime + Duration::from_secs(1), false)] {
            let url = pending.begin(&provider, &subject, REDIRECT, None, now).unwrap();
            let taken = pending.take(&provider, &callback(&url), &subject, now + after);
            assert_eq!(taken.is_ok(), is_valid);
        }
    }

    #[test]
    fn another_issuer_is_refused() {
        let (pending, provider, now) = (PendingAuthorizations::default(), provider(), Instant::now());
        let subject = Subject::account("work");
        for (issuer, is_valid) in [("https://accounts.google.com", true), ("https://evil.example", false)] {
            let url = pending.begin(&provider, &subject, REDIRECT, None, now).unwrap();
            let query = format!("state={}&code=c&iss={issuer}", parameters(&url)["state"]);
            let callback = Callback::from_query(&query).unwrap();
            assert_eq!(pending.take(&provider, &callback, &subject, now).is_ok(), is_valid);
        }
    }

    #[test]
    fn the_number_of_pending_authorizations_is_limited() {
        let limits = AuthorizationLimits { pending: 6, pending_per_account: 2, ..Default::default() };
        let (pending, provider, now) = (PendingAuthorizations::new(limits), provider(), Instant::now());
        let begin =
            |account: &str, at| pending.begin(&provider, &Subject::account(account), REDIRECT, None, at);
        let urls: Vec<_> = (0..4).map(|_| begin("busy", now).unwrap()).collect();
        assert_eq!(pending.len(), 2);
        let busy = Subject::account("busy");
        assert!(pending.take(&provider, &callback(&urls[1]), &busy, now).is_err());
        assert!(pending.take(&provider, &callback(&urls[3]), &busy, now).is_ok());
        for account in 0..5 {
            begin(&account.to_string(), now).unwrap();
        }
        assert_eq!(begin("late", now).unwrap_err().code(), OAuthErrorCode::Busy);
        // Those that have expired make room.
        assert!(begin("late", now + limits.lifetime * 2).is_ok());
        assert_eq!(pending.len(), 1);
    }
}
