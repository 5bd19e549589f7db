//! Answers of the token endpoint that are wrong, slow or too long.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mailclient::oauth::{
    ClientRegistration, HttpsClient, OAuthError, OAuthErrorCode, Provider, exchange_code, refresh,
};
use mailtest::{AuthorizationServer, Misbehaviour};

use crate::setup::{consent, grant, http, provider, settings};

#[test]
fn wrong_answers_have_their_codes() {
    let server = AuthorizationServer::start().unwrap();
    let provider = provider(&server);
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let other_url = format!("http://{}/token", elsewhere.local_addr().unwrap());
    for (misbehaviour, code, is_retryable) in [
        (Misbehaviour::Html, OAuthErrorCode::InvalidResponse, false),
        (Misbehaviour::HugeBody(10 << 20), OAuthErrorCode::InvalidResponse, false),
        (Misbehaviour::RedirectTo(other_url), OAuthErrorCode::InvalidResponse, false),
        (Misbehaviour::NoRefreshToken, OAuthErrorCode::TokenMissing, false),
        (Misbehaviour::TokenType("mac"), OAuthErrorCode::InvalidResponse, false),
        (Misbehaviour::TokenType("DPoP"), OAuthErrorCode::InvalidResponse, false),
        (Misbehaviour::Scope("profile"), OAuthErrorCode::ScopeMissing, false),
        (Misbehaviour::Status(500), OAuthErrorCode::Unavailable, true),
        (Misbehaviour::Status(429), OAuthErrorCode::Unavailable, true),
        (Misbehaviour::Status(404), OAuthErrorCode::InvalidResponse, false),
        (Misbehaviour::Error("invalid_grant"), OAuthErrorCode::Expired, false),
        (Misbehaviour::Error("invalid_client"), OAuthErrorCode::ClientNotConfigured, false),
        (Misbehaviour::Error("temporarily_unavailable"), OAuthErrorCode::Unavailable, true),
        (Misbehaviour::Error("a made-up one"), OAuthErrorCode::RequestRefused, false),
        (Misbehaviour::LostAnswer, OAuthErrorCode::Unavailable, true),
    ] {
        let granted = grant(&server, &provider).unwrap();
        server.misbehave(misbehaviour.clone());
        let error = exchange_code(&provider, &*http(), &granted, Timestamp::now()).unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), (code, is_retryable), "{misbehaviour:?}: {error}");
        assert!(!error.to_string().contains("made-up"), "{error}");
        assert_has_no_secret(&server, &error);
    }
    assert!(elsewhere.accept().is_err(), "the redirect was followed");
}

fn assert_has_no_secret(server: &AuthorizationServer, error: &OAuthError) {
    let text = format!("{error} {error:?}");
    assert!(server.secrets().iter().all(|secret| !text.contains(secret)), "{text}");
}

#[test]
fn a_slow_answer_ends_in_time() {
    let server = AuthorizationServer::start().unwrap();
    let provider = provider(&server);
    let granted = grant(&server, &provider).unwrap();
    server.misbehave(Misbehaviour::Slow(Duration::from_secs(20)));
    let http = HttpsClient::builder().timeout(Duration::from_millis(300)).build().unwrap();
    let begun = Instant::now();
    let error = exchange_code(&provider, &http, &granted, Timestamp::now()).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((error.code(), error.is_retryable()), (OAuthErrorCode::Unavailable, true), "{error}");
}

#[test]
fn a_wrong_client_is_not_configured() {
    let server = AuthorizationServer::start().unwrap();
    let secret = Some("another secret".to_owned().into());
    let client = ClientRegistration { id: server.client_id().to_owned(), secret };
    let provider = Provider::new(settings(&server), client).unwrap();
    let error = consent(&server, &provider).unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::ClientNotConfigured);
    assert!(!error.to_string().contains("another secret"));
}

#[test]
fn a_closed_port_is_unavailable() {
    let server = AuthorizationServer::start().unwrap();
    let provider = provider(&server);
    let tokens = consent(&server, &provider).unwrap();
    drop(server);
    let error = refresh(&provider, &*http(), &tokens.refresh.unwrap(), Timestamp::now()).unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (OAuthErrorCode::Unavailable, true));
}

#[test]
fn nothing_shows_tokens() {
    let server = AuthorizationServer::start().unwrap();
    let provider = provider(&server);
    let granted = grant(&server, &provider).unwrap();
    let shown = format!("{granted:?}");
    let tokens = exchange_code(&provider, &*http(), &granted, Timestamp::now()).unwrap();
    let shown = format!("{shown} {tokens:?} {provider:?} {:?}", tokens.access.credentials("ann"));
    let secrets = server.secrets();
    // A code, a verifier and two tokens.
    assert_eq!(secrets.len(), 4);
    for secret in secrets.iter().map(String::as_str).chain([server.client_secret()]) {
        assert!(!shown.contains(secret), "{shown}");
    }
}
