//! Tokens in the encrypted secrets of accounts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use mailclient::account::{
    AccountSettings, AccountState, AccountStore, AuthMode, EncryptionKey, OAuthProvider, SecretField,
};
use mailclient::oauth::{AccessTokens, AccountTokens, OAuthErrorCode, Provider};
use mailstore::{ClientAccountStore, MemoryStore, SqliteStore};
use mailtest::{AuthorizationServer, Misbehaviour};
use proto_mail::Secret;

use crate::setup::{ACCOUNT, consent, http};

/// An account whose provider is the test server.
fn settings(server: &AuthorizationServer) -> AccountSettings {
    AccountSettings {
        address: "ann@example.com".to_owned(),
        auth_mode: AuthMode::OauthCustom,
        imap: None,
        smtp: None,
        identities: Vec::new(),
        oauth: Some(OAuthProvider {
            authorization_endpoint: server.authorization_endpoint(),
            token_endpoint: server.token_endpoint(),
            device_authorization_endpoint: None,
            client_id: server.client_id().to_owned(),
            scopes: vec![server.scope().to_owned()],
        }),
    }
}

fn add(accounts: &AccountStore, server: &AuthorizationServer) -> Provider {
    let id = accounts.add(ACCOUNT, &settings(server)).unwrap();
    let secret = Secret::from(server.client_secret());
    accounts.put_secrets(id, &[(SecretField::ClientSecret, Some(&secret))]).unwrap();
    Provider::of_account(accounts, &accounts.get(ACCOUNT).unwrap()).unwrap()
}

/// Tokens of these accounts, by a clock that is ahead by some seconds.
fn tokens(store: AccountTokens, ahead: &Arc<AtomicUsize>) -> AccessTokens {
    let ahead = Arc::clone(ahead);
    let now = move || {
        Timestamp::now() + SignedDuration::from_secs(ahead.load(Ordering::SeqCst).try_into().unwrap())
    };
    AccessTokens::new(Arc::new(store), http()).time_of_day(now)
}

#[test]
fn tokens_are_encrypted_and_survive_a_restart() {
    let server = AuthorizationServer::start().unwrap();
    let store = Arc::new(MemoryStore::new().unwrap());
    let accounts = AccountStore::new(store.clone(), [EncryptionKey::generate().unwrap()]);
    let provider = add(&accounts, &server);
    let ahead = Arc::<AtomicUsize>::default();
    let start = || tokens(AccountTokens::new(accounts.clone()), &ahead);
    assert_eq!(start().access_token(ACCOUNT, &provider).unwrap_err().code(), OAuthErrorCode::TokenMissing);
    start().connected(ACCOUNT, &consent(&server, &provider).unwrap()).unwrap();
    let first = start().access_token(ACCOUNT, &provider).unwrap();
    for _ in 0..3 {
        ahead.fetch_add(3500, Ordering::SeqCst);
        let token = start().access_token(ACCOUNT, &provider).unwrap();
        assert!(token != first && server.accepts(token.expose()));
        assert_eq!(start().access_token(ACCOUNT, &provider).unwrap(), token);
    }
    assert_eq!(server.counts().refreshed, 3);
    let id = accounts.get(ACCOUNT).unwrap().id;
    let sealed = store.sealed_secrets(id).unwrap();
    assert_eq!(sealed.len(), 3);
    for secret in server.secrets() {
        let is_in = |sealed: &[u8]| sealed.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!sealed.iter().any(|sealed| is_in(&sealed.sealed)));
    }
}

#[test]
fn a_refused_consent_is_kept_in_the_state_of_the_account() {
    let server = AuthorizationServer::start().unwrap();
    let store = Arc::new(MemoryStore::new().unwrap());
    let accounts = AccountStore::new(store, [EncryptionKey::generate().unwrap()]);
    let provider = add(&accounts, &server);
    let ahead = Arc::<AtomicUsize>::default();
    let start = || tokens(AccountTokens::new(accounts.clone()), &ahead);
    start().connected(ACCOUNT, &consent(&server, &provider).unwrap()).unwrap();
    server.revoke_all();
    ahead.store(3500, Ordering::SeqCst);
    for _ in 0..2 {
        let error = start().access_token(ACCOUNT, &provider).unwrap_err();
        assert_eq!(error.code(), OAuthErrorCode::RefreshFailed);
    }
    assert_eq!(server.counts().token_requests, 2, "a restarted program does not ask the provider again");
    let account = accounts.get(ACCOUNT).unwrap();
    assert_eq!(account.state, AccountState::AuthenticationError);
    assert!(!accounts.secret_fields(account.id).unwrap().contains(&SecretField::RefreshToken));
    start().connected(ACCOUNT, &consent(&server, &provider).unwrap()).unwrap();
    assert_eq!(accounts.get(ACCOUNT).unwrap().state, AccountState::Unset);
    assert!(server.accepts(start().access_token(ACCOUNT, &provider).unwrap().expose()));
}

#[test]
fn without_a_key_nothing_is_asked_or_stored() {
    let server = AuthorizationServer::start().unwrap();
    let store = Arc::new(MemoryStore::new().unwrap());
    let with_key = AccountStore::new(store.clone(), [EncryptionKey::generate().unwrap()]);
    let provider = add(&with_key, &server);
    let set = consent(&server, &provider).unwrap();
    let ahead = Arc::<AtomicUsize>::default();
    let keyless = tokens(AccountTokens::new(AccountStore::new(store.clone(), [])), &ahead);
    let error = keyless.connected(ACCOUNT, &set).unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::StoreFailed);
    assert!(error.to_string().contains("email_encryption_key_missing"), "{error}");
    let id = with_key.get(ACCOUNT).unwrap().id;
    assert_eq!(with_key.secret_fields(id).unwrap(), [SecretField::ClientSecret]);
    tokens(AccountTokens::new(with_key.clone()), &ahead).connected(ACCOUNT, &set).unwrap();
    ahead.store(3500, Ordering::SeqCst);
    let error = keyless.access_token(ACCOUNT, &provider).unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::StoreFailed);
    assert_eq!(server.counts().refreshed, 0);
}

#[test]
fn two_processes_refresh_once() {
    let server = AuthorizationServer::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let key = EncryptionKey::generate().unwrap();
    let open = || {
        let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
        let key = EncryptionKey::from_base64(key.to_base64().expose()).unwrap();
        AccountStore::new(store, [key])
    };
    let accounts = open();
    let provider = add(&accounts, &server);
    let ahead = Arc::<AtomicUsize>::default();
    let process = |accounts| tokens(AccountTokens::new(accounts).lock_in(directory.path()), &ahead);
    let (one, other) = (process(accounts.clone()), process(accounts));
    one.connected(ACCOUNT, &consent(&server, &provider).unwrap()).unwrap();
    ahead.store(3500, Ordering::SeqCst);
    server.misbehave(Misbehaviour::Slow(std::time::Duration::from_millis(200)));
    let [one, other] = std::thread::scope(|scope| {
        [&one, &other]
            .map(|tokens| scope.spawn(|| tokens.access_token(ACCOUNT, &provider).unwrap()))
            .map(|thread| thread.join().unwrap())
    });
    assert!(one == other && server.accepts(one.expose()));
    assert_eq!(server.counts().refreshed, 1);
}
