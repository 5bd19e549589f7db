//! Keeps access tokens valid: refreshes them in time, one refresh at a time for each account.
//!
//! The thread that finds a token about to expire refreshes it; others that need the same account's token wait for its
//! result. The new tokens are stored before any session uses them, because a provider that rotates refresh tokens does not
//! accept the old one again. If the process ends between the answer and the store, the old refresh token is still stored:
//! most providers accept it once more; one that does not answers `invalid_grant`, and the user must consent again.
//!
//! After `invalid_grant` the account is in [`TokenState::AuthenticationError`]: the provider is not asked again until the
//! account has new tokens. Other failures are retried, with growing waits.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proto_mail::Secret;
use subtle::ConstantTimeEq;

use super::backoff;
use super::error::{OAuthError, OAuthErrorCode};
use super::http::HttpClient;
use super::provider::Provider;
use super::token_endpoint::refresh;
use super::token_set::{AccessToken, TokenSet};
use super::token_store::{StoredTokens, TokenState, TokenStore};

/// How long a thread waits for the refresh of another thread.
const WAIT: Duration = Duration::from_secs(60);
/// The most threads that wait for one account.
const MAX_WAITING: usize = 64;
/// The most accounts whose state is kept. Beyond it, those that are idle are forgotten.
const MAX_ACCOUNTS: usize = 10_000;

/// What happened to an account's tokens, for an event log. It names the account only.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshEvent<'e> {
    /// The account has a new access token.
    Refreshed {
        /// The account.
        account: &'e str,
    },
    /// The provider refused the refresh token: the user must consent again. This is reported once for each consent.
    ConsentNeeded {
        /// The account.
        account: &'e str,
    },
    /// A refresh failed, and a later one may succeed.
    Failed {
        /// The account.
        account: &'e str,
        /// Why.
        error: &'e OAuthError,
    },
}

type Observer = dyn Fn(&RefreshEvent<'_>) + Send + Sync;
type TimeOfDay = dyn Fn() -> Timestamp + Send + Sync;

/// The state of one account.
#[derive(Default)]
struct Account {
    state: Mutex<AccountState>,
    changed: Condvar,
}

#[derive(Default)]
struct AccountState {
    is_refreshing: bool,
    waiting: usize,
    /// Counts the refreshes that ended, so that a thread sees that one ended while it waited.
    ended: u64,
    /// How the last refresh ended.
    outcome: Option<Result<AccessToken, OAuthError>>,
    failures: u32,
    /// No refresh is tried before this time.
    not_before: Option<Instant>,
    /// Tokens that the provider issued and that could not be stored yet.
    unsaved: Option<TokenSet>,
}

/// Supplies valid access tokens for many accounts, from any thread.
pub struct AccessTokens {
    store: Arc<dyn TokenStore>,
    http: Arc<dyn HttpClient>,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
    observer: Box<Observer>,
    now: Box<TimeOfDay>,
    /// Makes the jitter: for each account another one, which stays the same.
    hasher: RandomState,
}

impl AccessTokens {
    /// Supplies tokens from a store, and refreshes them with an HTTP client.
    #[must_use]
    pub fn new(store: Arc<dyn TokenStore>, http: Arc<dyn HttpClient>) -> Self {
        Self {
            store,
            http,
            accounts: Mutex::default(),
            observer: Box::new(|_| ()),
            now: Box::new(Timestamp::now),
            hasher: RandomState::new(),
        }
    }

    /// Reports each refresh. The call is made by the thread that refreshed, and must not block.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(&RefreshEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Replaces the time of day, for tests.
    #[must_use]
    pub fn time_of_day(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.now = Box::new(now);
        self
    }

    /// Returns a valid access token of an account, and refreshes it before if it is about to expire. Blocks while it asks the
    /// provider, or while another thread does.
    ///
    /// # Errors
    /// [`OAuthErrorCode::TokenMissing`] or [`OAuthErrorCode::RefreshFailed`]: the user must consent (again).
    /// [`OAuthErrorCode::Unavailable`]: the provider cannot be asked, or its last failure is too recent; an access token that
    /// is still valid is returned instead. [`OAuthErrorCode::StoreFailed`]: the tokens cannot be read or stored.
    pub fn access_token(&self, account: &str, provider: &Provider) -> Result<AccessToken, OAuthError> {
        self.supply(account, provider, None)
    }

    /// Returns another access token after a server refused this one. Does not ask the provider if the account has another
    /// token by now.
    ///
    /// # Errors
    /// As [`access_token`](Self::access_token).
    pub fn renewed(
        &self,
        account: &str,
        provider: &Provider,
        refused: &AccessToken,
    ) -> Result<AccessToken, OAuthError> {
        self.supply(account, provider, Some(refused))
    }

    fn supply(
        &self,
        name: &str,
        provider: &Provider,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken, OAuthError> {
        let account = self.account(name);
        match wait_for_turn(&account)? {
            // Another thread has just asked the provider.
            Some(Ok(token)) if refused != Some(&token) => Ok(token),
            Some(Err(error)) if !error.is_retryable() => Err(error),
            // After a failure that may pass, the provider is not asked again at once.
            _ => self.supply_alone(name, provider, refused, &account),
        }
    }

    /// Supplies the token while other threads of this process wait.
    fn supply_alone(
        &self,
        name: &str,
        provider: &Provider,
        refused: Option<&AccessToken>,
        account: &Account,
    ) -> Result<AccessToken, OAuthError> {
        let mut turn = TurnGuard::take(account)?;
        let outcome = self.current(name, provider, refused, account);
        turn.outcome = Some(outcome.clone());
        drop(turn);
        outcome
    }

    fn current(
        &self,
        name: &str,
        provider: &Provider,
        refused: Option<&AccessToken>,
        account: &Account,
    ) -> Result<AccessToken, OAuthError> {
        self.save_unsaved(name, account)?;
        let stored = self.load(name)?;
        if let Some(token) = self.usable(name, &stored, refused)? {
            return Ok(token);
        }
        let deferred = self.too_early(account);
        let outcome = match deferred {
            Some(error) => Err(error),
            None => self.refresh(name, provider, refused, account),
        };
        match outcome {
            // An early refresh may fail: the token lives a little longer.
            Err(error)
                if may_pass(&error) && refused.is_none() && !stored.tokens.has_expired((self.now)()) =>
            {
                Ok(stored.tokens.access)
            }
            outcome => outcome,
        }
    }

    fn load(&self, name: &str) -> Result<StoredTokens, OAuthError> {
        let stored = self.store.load(name)?.ok_or_else(token_missing)?;
        match stored.state {
            TokenState::Valid => Ok(stored),
            TokenState::AuthenticationError => Err(consent_needed()),
        }
    }

    /// Returns the stored access token, unless it was refused or is about to expire.
    fn usable(
        &self,
        name: &str,
        stored: &StoredTokens,
        refused: Option<&AccessToken>,
    ) -> Result<Option<AccessToken>, OAuthError> {
        let access = &stored.tokens.access;
        if refused != Some(access) && !stored.tokens.needs_refresh((self.now)(), self.hasher.hash_one(name)) {
            return Ok(Some(access.clone()));
        }
        match &stored.tokens.refresh {
            Some(_) => Ok(None),
            None => Err(token_missing()),
        }
    }

    /// Refreshes while other processes wait.
    fn refresh(
        &self,
        name: &str,
        provider: &Provider,
        refused: Option<&AccessToken>,
        account: &Account,
    ) -> Result<AccessToken, OAuthError> {
        let _lock = self.store.lock(name)?;
        // Another process may have refreshed meanwhile.
        let stored = self.load(name)?;
        if let Some(token) = self.usable(name, &stored, refused)? {
            return Ok(token);
        }
        let used = stored.tokens.refresh.ok_or_else(token_missing)?;
        match refresh(provider, &*self.http, &used, (self.now)()) {
            Ok(tokens) => {
                let access = tokens.access.clone();
                lock(account).unsaved = Some(tokens);
                self.save_unsaved(name, account)?;
                let mut state = lock(account);
                (state.failures, state.not_before) = (0, None);
                drop(state);
                (self.observer)(&RefreshEvent::Refreshed { account: name });
                Ok(access)
            }
            Err(error) if error.code() == OAuthErrorCode::RefreshFailed => {
                if self.has_other_refresh_token(name, &used)? {
                    return Err(busy());
                }
                self.store.set_authentication_error(name)?;
                (self.observer)(&RefreshEvent::ConsentNeeded { account: name });
                Err(error)
            }
            Err(error) => {
                let mut state = lock(account);
                state.failures = state.failures.saturating_add(1);
                let random = RandomState::new().hash_one(state.failures);
                let wait = backoff::wait(state.failures, random, error.retry_after());
                state.not_before = Instant::now().checked_add(wait);
                drop(state);
                (self.observer)(&RefreshEvent::Failed { account: name, error: &error });
                Err(error.after(Some(wait)))
            }
        }
    }

    /// Returns whether another process has replaced the refresh token, in spite of the lock.
    fn has_other_refresh_token(&self, name: &str, used: &Secret<String>) -> Result<bool, OAuthError> {
        let stored = self.store.load(name)?.and_then(|stored| stored.tokens.refresh);
        Ok(stored
            .is_some_and(|stored| !bool::from(stored.expose().as_bytes().ct_eq(used.expose().as_bytes()))))
    }

    /// Stores tokens that the provider has issued. They stay in memory until that succeeds: the provider may accept no
    /// others any more.
    fn save_unsaved(&self, name: &str, account: &Account) -> Result<(), OAuthError> {
        let Some(tokens) = lock(account).unsaved.take() else { return Ok(()) };
        let saved = self.store.save(name, &tokens);
        if saved.is_err() {
            lock(account).unsaved = Some(tokens);
        }
        Ok(saved?)
    }

    /// Returns an error if the last failure is so recent that the provider must not be asked again.
    fn too_early(&self, account: &Account) -> Option<OAuthError> {
        let left = lock(account).not_before?.checked_duration_since(Instant::now())?;
        let what = "the last refresh failed, and the next one is not due yet";
        Some(OAuthError::new(OAuthErrorCode::Unavailable, what).after(Some(left)))
    }

    /// Stores the tokens of a new consent, and forgets what failed before it.
    ///
    /// # Errors
    /// They cannot be stored.
    pub fn connected(&self, account: &str, tokens: &TokenSet) -> Result<(), OAuthError> {
        let kept = self.account(account);
        let _turn = TurnGuard::take(&kept)?;
        let _lock = self.store.lock(account)?;
        self.store.save(account, tokens)?;
        let mut state = lock(&kept);
        (state.failures, state.not_before, state.unsaved) = (0, None, None);
        Ok(())
    }

    fn account(&self, name: &str) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(name) {
            return Arc::clone(account);
        }
        if accounts.len() >= MAX_ACCOUNTS {
            accounts.retain(|_, account| Arc::strong_count(account) > 1 || lock(account).is_needed());
        }
        let new = Arc::<Account>::default();
        accounts.insert(name.to_owned(), Arc::clone(&new));
        new
    }
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens").finish_non_exhaustive()
    }
}

impl AccountState {
    /// Returns whether something would be lost if this were forgotten.
    const fn is_needed(&self) -> bool {
        self.unsaved.is_some() || self.not_before.is_some()
    }
}

fn lock(account: &Account) -> MutexGuard<'_, AccountState> {
    account.state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether the provider may answer a later refresh.
fn may_pass(error: &OAuthError) -> bool {
    error.is_retryable() && matches!(error.code(), OAuthErrorCode::Unavailable | OAuthErrorCode::Busy)
}

fn token_missing() -> OAuthError {
    OAuthError::new(OAuthErrorCode::TokenMissing, "the account has no valid tokens")
}

fn consent_needed() -> OAuthError {
    OAuthError::new(
        OAuthErrorCode::RefreshFailed,
        "the provider no longer accepts the consent to this account",
    )
}

fn busy() -> OAuthError {
    OAuthError::new(OAuthErrorCode::Busy, "another refresh of this account is not over yet")
}

/// Waits while `is_busy`, at most a minute, and with a limited number of other threads.
fn wait_while<'a>(
    account: &'a Account,
    mut state: MutexGuard<'a, AccountState>,
    mut is_busy: impl FnMut(&AccountState) -> bool,
) -> Result<MutexGuard<'a, AccountState>, OAuthError> {
    if !is_busy(&state) {
        return Ok(state);
    }
    if state.waiting >= MAX_WAITING {
        return Err(busy());
    }
    state.waiting += 1;
    let waited = account.changed.wait_timeout_while(state, WAIT, |state| is_busy(state));
    let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
    state.waiting -= 1;
    if waited.timed_out() { Err(busy()) } else { Ok(state) }
}

/// Waits for the refresh of another thread, and returns its outcome. `None` if there is no other.
fn wait_for_turn(account: &Account) -> Result<Option<Result<AccessToken, OAuthError>>, OAuthError> {
    let state = lock(account);
    if !state.is_refreshing {
        return Ok(None);
    }
    let ended = state.ended;
    let state = wait_while(account, state, |state| state.ended == ended)?;
    Ok(state.outcome.clone())
}

/// The right to refresh. Dropping it, also by a panic, wakes the threads that wait.
struct TurnGuard<'t> {
    account: &'t Account,
    outcome: Option<Result<AccessToken, OAuthError>>,
}

impl<'t> TurnGuard<'t> {
    fn take(account: &'t Account) -> Result<Self, OAuthError> {
        let mut state = wait_while(account, lock(account), |state| state.is_refreshing)?;
        state.is_refreshing = true;
        drop(state);
        Ok(Self { account, outcome: None })
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        let mut state = lock(self.account);
        state.is_refreshing = false;
        state.ended = state.ended.wrapping_add(1);
        state.outcome = self.outcome.take().filter(|_| state.waiting > 0);
        drop(state);
        self.account.changed.notify_all();
    }
}
