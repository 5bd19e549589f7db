//! Refreshing: in time, one at a time, stored before use, and what follows a failure.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mailclient::endpoint::CredentialSource;
use mailclient::oauth::{
    AccessTokens, MemoryTokenStore, OAuthCredentials, OAuthErrorCode, Provider, RefreshEvent, StoredTokens,
    TokenSet, TokenStore, TokenStoreError,
};
use mailtest::{AuthorizationServer, Misbehaviour, Rotation};
use proto_mail::Credentials;

use crate::setup::{ACCOUNT, consent, http, provider};

/// Access tokens of a connected account, whose clock the test sets.
struct Connected {
    server: AuthorizationServer,
    provider: Provider,
    store: Arc<FailingStore>,
    tokens: AccessTokens,
    /// By how much the clock of the client is ahead, in seconds.
    ahead: Arc<AtomicUsize>,
    events: Arc<Mutex<Vec<String>>>,
}

/// A store whose `save` fails on request.
#[derive(Default)]
struct FailingStore {
    inner: MemoryTokenStore,
    fails: AtomicBool,
    saved: AtomicUsize,
}

impl TokenStore for FailingStore {
    fn load(&self, account: &str) -> Result<Option<StoredTokens>, TokenStoreError> {
        self.inner.load(account)
    }

    fn save(&self, account: &str, tokens: &TokenSet) -> Result<(), TokenStoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(TokenStoreError::temporary("the disk is full"));
        }
        self.saved.fetch_add(1, Ordering::SeqCst);
        self.inner.save(account, tokens)
    }

    fn set_authentication_error(&self, account: &str) -> Result<(), TokenStoreError> {
        self.inner.set_authentication_error(account)
    }
}

impl Connected {
    fn new(rotation: Rotation) -> Self {
        let server = AuthorizationServer::builder().rotation(rotation).start().unwrap();
        let provider = provider(&server);
        let store = Arc::<FailingStore>::default();
        let (ahead, events) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
        let tokens = tokens(&store, &ahead, &events);
        tokens.connected(ACCOUNT, &consent(&server, &provider).unwrap()).unwrap();
        Self { server, provider, store, tokens, ahead, events }
    }

    fn advance(&self, seconds: usize) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
    }

    fn token(&self) -> Result<String, OAuthErrorCode> {
        let token = self.tokens.access_token(ACCOUNT, &self.provider);
        token.map(|token| token.expose().to_owned()).map_err(|error| error.code())
    }

    fn refreshed(&self) -> usize {
        self.server.counts().refreshed
    }

    fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

fn tokens(
    store: &Arc<FailingStore>,
    ahead: &Arc<AtomicUsize>,
    events: &Arc<Mutex<Vec<String>>>,
) -> AccessTokens {
    let (ahead, events) = (Arc::clone(ahead), Arc::clone(events));
    let now = move || {
        let ahead = i64::try_from(ahead.load(Ordering::SeqCst)).unwrap();
        Timestamp::now() + SignedDuration::from_secs(ahead)
    };
    let observe = move |event: &RefreshEvent<'_>| {
        events.lock().unwrap().push(match event {
            RefreshEvent::Refreshed { account } => format!("refreshed {account}"),
            RefreshEvent::ConsentNeeded { account } => format!("consent {account}"),
            RefreshEvent::Failed { account, error } => format!("failed {account} {}", error.code()),
            _ => unreachable!(),
        });
    };
    AccessTokens::new(store.clone(), http()).time_of_day(now).observe(observe)
}

#[test]
fn a_token_is_refreshed_before_it_expires() {
    let connected = Connected::new(Rotation::Strict);
    let first = connected.token().unwrap();
    assert_eq!(connected.token().as_ref(), Ok(&first));
    connected.advance(3400);
    let second = connected.token().unwrap();
    assert_ne!(first, second);
    assert!(connected.server.accepts(&second));
    for count in 2..5 {
        connected.advance(3500);
        assert!(connected.token().is_ok());
        assert_eq!(connected.refreshed(), count);
    }
    assert_eq!(connected.events(), ["refreshed work"; 4]);
}

#[test]
fn one_refresh_at_a_time_serves_all_who_wait() {
    let connected = Connected::new(Rotation::Strict);
    connected.advance(3500);
    connected.server.misbehave(Misbehaviour::Slow(Duration::from_millis(200)));
    let all = Barrier::new(20);
    let mut got: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    all.wait();
                    connected.token().unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    got.dedup();
    assert_eq!(got.len(), 1);
    let counts = connected.server.counts();
    assert_eq!((counts.refreshed, counts.concurrent), (1, 1));
}

#[test]
fn different_accounts_are_refreshed_at_the_same_time() {
    let connected = Connected::new(Rotation::Strict);
    let accounts = ["a", "b", "c", "d"];
    for account in accounts {
        let tokens = consent(&connected.server, &connected.provider).unwrap();
        connected.tokens.connected(account, &tokens).unwrap();
        connected.server.misbehave(Misbehaviour::Slow(Duration::from_millis(300)));
    }
    connected.advance(3500);
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for account in accounts {
            let connected = &connected;
            scope.spawn(move || connected.tokens.access_token(account, &connected.provider).unwrap());
        }
    });
    assert!(begun.elapsed() < Duration::from_millis(1200), "{:?}", begun.elapsed());
    assert_eq!(connected.refreshed(), 4);
}

#[test]
fn a_refused_refresh_token_needs_a_new_consent_and_is_reported_once() {
    let connected = Connected::new(Rotation::Strict);
    connected.server.revoke_all();
    connected.advance(3500);
    for _ in 0..3 {
        assert_eq!(connected.token(), Err(OAuthErrorCode::RefreshFailed));
    }
    assert_eq!(connected.events(), ["consent work"]);
    assert_eq!(connected.server.counts().token_requests, 2, "the provider is not asked again");
    let tokens = consent(&connected.server, &connected.provider).unwrap();
    connected.tokens.connected(ACCOUNT, &tokens).unwrap();
    assert!(connected.server.accepts(&connected.token().unwrap()));
}

#[test]
fn an_account_without_tokens_needs_consent() {
    let connected = Connected::new(Rotation::Strict);
    let error = connected.tokens.access_token("other", &connected.provider).unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::TokenMissing);
    assert!(error.needs_consent());
}

#[test]
fn a_failure_that_may_pass_is_retried_with_growing_waits() {
    let connected = Connected::new(Rotation::Strict);
    let first = connected.token().unwrap();
    connected.advance(3400);
    connected.server.misbehave(Misbehaviour::Status(500));
    // The old token is valid for some minutes.
    assert_eq!(connected.token().as_ref(), Ok(&first));
    assert_eq!(connected.events(), ["failed work oauth_unavailable"]);
    // The provider is not asked again at once.
    assert_eq!(connected.token().as_ref(), Ok(&first));
    connected.advance(300);
    assert_eq!(connected.token(), Err(OAuthErrorCode::Unavailable));
    assert_eq!(connected.server.counts().token_requests, 2);
    std::thread::sleep(Duration::from_millis(2100));
    assert!(connected.server.accepts(&connected.token().unwrap()));
    assert_eq!(connected.events(), ["refreshed work"]);
}

#[test]
fn a_refresh_without_a_new_refresh_token_keeps_the_old_one() {
    let connected = Connected::new(Rotation::None);
    for _ in 0..3 {
        connected.server.misbehave(Misbehaviour::NoRefreshToken);
        connected.advance(3500);
        assert!(connected.server.accepts(&connected.token().unwrap()));
    }
}

#[test]
fn tokens_that_could_not_be_stored_are_stored_later() {
    let connected = Connected::new(Rotation::Strict);
    connected.advance(3500);
    connected.store.fails.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(connected.token(), Err(OAuthErrorCode::StoreFailed));
    }
    assert_eq!(connected.refreshed(), 1, "the rotated refresh token is not asked for again");
    connected.store.fails.store(false, Ordering::SeqCst);
    assert!(connected.server.accepts(&connected.token().unwrap()));
    assert_eq!((connected.refreshed(), connected.store.saved.load(Ordering::SeqCst)), (1, 2));
}

/// The process ends after the provider has rotated the refresh token, and before the new one is stored.
#[test]
fn a_crash_before_the_store_costs_at_most_a_consent() {
    for (rotation, survives) in [(Rotation::Lenient, true), (Rotation::Strict, false)] {
        let connected = Connected::new(rotation);
        connected.advance(3700);
        connected.server.misbehave(Misbehaviour::LostAnswer);
        assert_eq!(connected.token(), Err(OAuthErrorCode::Unavailable));
        assert_eq!(connected.refreshed(), 1);
        let restarted = tokens(&connected.store, &connected.ahead, &connected.events);
        let after = restarted.access_token(ACCOUNT, &connected.provider);
        match after {
            Ok(token) => assert!(survives && connected.server.accepts(token.expose())),
            Err(error) => {
                assert!(!survives, "{error}");
                assert_eq!(error.code(), OAuthErrorCode::RefreshFailed);
                assert!(mailclient::Error::from(error).to_string().contains("connect the account again"));
            }
        }
    }
}

#[test]
fn sessions_get_another_token_when_one_is_refused() {
    let Connected { server, provider, tokens, .. } = Connected::new(Rotation::Strict);
    let (tokens, provider) = (Arc::new(tokens), Arc::new(provider));
    let source = || OAuthCredentials::new(Arc::clone(&tokens), Arc::clone(&provider), ACCOUNT, "ann");
    let token = |credentials: Credentials| match credentials {
        Credentials::Bearer { username, token } => {
            assert_eq!(username, "ann");
            token.expose().clone()
        }
        other => panic!("{other:?}"),
    };
    let (one, other) = (source(), source());
    let refused = token(one.credentials().unwrap());
    assert_eq!(refused, token(other.credentials().unwrap()));
    server.expire_access_tokens();
    let renewed = token(one.renewed_token().unwrap().unwrap());
    assert!(server.accepts(&renewed) && renewed != refused);
    // The other session was refused the same token, and takes the one that is there.
    assert_eq!(token(other.renewed_token().unwrap().unwrap()), renewed);
    assert_eq!(server.counts().refreshed, 1);
    assert!(!format!("{one:?} {tokens:?}").contains(&renewed));
}
