//! The authorization code flow with a browser and a loopback redirect.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mailclient::oauth::{
    Callback, LoopbackHost, LoopbackReceiver, OAuthErrorCode, PendingAuthorizations, RedirectBase, Subject,
    exchange_code,
};
use mailtest::{AuthorizationServer, Misbehaviour};

use crate::setup::{ACCOUNT, consent, grant, http, provider};

#[test]
fn a_user_consents_in_a_browser() {
    let server = AuthorizationServer::start().unwrap();
    let provider = provider(&server);
    let tokens = consent(&server, &provider).unwrap();
    assert!(server.accepts(tokens.access.expose()));
    assert!(tokens.refresh.is_some());
    let lifetime = tokens.expires.unwrap().duration_since(tokens.issued);
    assert_eq!(lifetime.as_secs(), 3600);
    assert_eq!(server.counts().exchanged, 1);
}

#[test]
fn localhost_is_received_too() {
    let server = AuthorizationServer::start().unwrap();
    let receiver = LoopbackReceiver::bind(LoopbackHost::Localhost).unwrap();
    let provider = provider(&server);
    let (pending, subject) = (PendingAuthorizations::default(), Subject::account(ACCOUNT));
    let uri = receiver.redirect_uri().to_owned();
    assert!(uri.starts_with("http://localhost:"), "{uri}");
    let url = pending.begin(&provider, &subject, &uri, None, Instant::now()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| server.browse(&url).unwrap());
        let check = |callback: &Callback| pending.take(&provider, callback, &subject, Instant::now());
        let granted = receiver.receive(Duration::from_secs(10), || false, check).unwrap();
        assert!(exchange_code(&provider, &*http(), &granted, Timestamp::now()).is_ok());
    });
}

#[test]
fn a_wrong_state_and_an_error_connect_nothing() {
    let server = AuthorizationServer::start().unwrap();
    let provider = provider(&server);
    for (misbehaviour, code) in [
        (Misbehaviour::WrongState, OAuthErrorCode::StateMismatch),
        (Misbehaviour::ErrorRedirect("access_denied"), OAuthErrorCode::AccessDenied),
        (Misbehaviour::ErrorRedirect("temporarily_unavailable"), OAuthErrorCode::Unavailable),
        (Misbehaviour::ErrorRedirect("invalid_scope"), OAuthErrorCode::RequestRefused),
        (Misbehaviour::ErrorRedirect("<script>"), OAuthErrorCode::RequestRefused),
    ] {
        server.misbehave(misbehaviour.clone());
        let error = grant(&server, &provider).unwrap_err();
        assert_eq!(error.code(), code, "{misbehaviour:?}");
        assert!(!error.to_string().contains("script"), "{error}");
    }
    assert_eq!(server.counts().token_requests, 0);
}

#[test]
fn a_replayed_code_is_refused() {
    let server = AuthorizationServer::start().unwrap();
    let provider = provider(&server);
    let granted = grant(&server, &provider).unwrap();
    let http = http();
    let tokens = exchange_code(&provider, &*http, &granted, Timestamp::now()).unwrap();
    let error = exchange_code(&provider, &*http, &granted, Timestamp::now()).unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::Expired);
    assert!(!server.accepts(tokens.access.expose()));
}

#[test]
fn a_service_receives_the_callback_by_its_own_address() {
    let base = RedirectBase::new("https://mail.example.com/app").unwrap();
    let server = AuthorizationServer::builder().redirect_uri(base.redirect_uri()).start().unwrap();
    let provider = provider(&server);
    let pending = PendingAuthorizations::default();
    let own = Subject::account(ACCOUNT).in_session(b"cookie of the user");
    let begin = || pending.begin(&provider, &own, &base.redirect_uri(), None, Instant::now()).unwrap();
    let callback = |url: &str| {
        let page = server.open(url).unwrap();
        let location = page.location.unwrap();
        let (uri, query) = location.split_once('?').unwrap();
        assert_eq!(uri, base.redirect_uri());
        Callback::from_query(query).unwrap()
    };
    // An attacker who makes the user's browser send the attacker's callback connects nothing.
    let attackers = Subject::account(ACCOUNT).in_session(b"cookie of the attacker");
    let error = pending.take(&provider, &callback(&begin()), &attackers, Instant::now()).unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::StateMismatch);
    let granted = pending.take(&provider, &callback(&begin()), &own, Instant::now()).unwrap();
    assert_eq!(granted.account(), ACCOUNT);
    assert!(exchange_code(&provider, &*http(), &granted, Timestamp::now()).is_ok());
}

/// Sends bytes to the receiver, and returns its answer.
fn send(port: &str, bytes: &str) -> String {
    let mut stream = TcpStream::connect(port).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn the_receiver_ignores_what_is_no_callback() {
    let receiver = LoopbackReceiver::bind(LoopbackHost::Address).unwrap();
    let port = receiver.redirect_uri().trim_start_matches("http://").trim_end_matches('/').to_owned();
    std::thread::scope(|scope| {
        let browser = scope.spawn(|| {
            // Connections that say nothing, as browsers open them, more than are kept.
            let _silent: Vec<_> = (0..10).map(|_| TcpStream::connect(&port).unwrap()).collect();
            let request = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert!(send(&port, &request("/favicon.ico", &port)).starts_with("HTTP/1.1 404 "));
            let rebound = send(&port, &request("/?state=s&code=c", "evil.example"));
            assert!(rebound.starts_with("HTTP/1.1 400 "), "{rebound}");
            send(&port, &request("/?state=%3Cscript%3E&code=hunter2", &port))
        });
        let received = receiver.receive(Duration::from_secs(10), || false, |_| Ok(()));
        let answer = browser.join().unwrap();
        assert_eq!(received, Ok(()));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        for part in ["no-store", "no-referrer", "default-src 'none'"] {
            assert!(answer.contains(part), "{part}");
        }
        assert!(!answer.contains("script>") && !answer.contains("hunter2"), "{answer}");
    });
    // The port is closed.
    assert!(TcpStream::connect(&port).is_err());
}

#[test]
fn the_receiver_ends_in_time_or_when_it_is_stopped() {
    for (timeout, is_stopped, code) in [
        (Duration::from_millis(50), false, OAuthErrorCode::Expired),
        (Duration::from_secs(60), true, OAuthErrorCode::Stopped),
    ] {
        let begun = Instant::now();
        let receiver = LoopbackReceiver::bind(LoopbackHost::Address).unwrap();
        let error = receiver.receive(timeout, || is_stopped, |_| Ok(())).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
