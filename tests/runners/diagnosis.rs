//! Diagnosis and folder lists.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use io_common::{Proxy, TlsClientConfig};
use mailclient::blocking::connector;
use mailclient::diagnosis::{self, Diagnosis, DiagnosisEvent, Stage};
use mailclient::endpoint::{CredentialSource, Encryption};
use mailclient::imap::{self, ImapChannel};
use mailclient::{Endpoint, Error, ErrorKind, Folder};
use mailserver::certificate::Authority;
use mailtest::FakeServer;
use proto_mail::{Cleartext, Mechanism, Secure};

use crate::{PASSWORD, Runner, credentials, endpoint, on_tokio, server, shared};

/// What a diagnosis gave, without its times: each result as it was reported, and the error.
#[derive(Debug, PartialEq)]
struct Findings {
    reported: Vec<String>,
    results: Vec<String>,
    error: Option<Error>,
}

fn diagnose(runner: Runner, endpoint: &Endpoint, password: Option<&str>, last: Stage) -> Findings {
    let reported = Arc::new(Mutex::new(Vec::new()));
    let log = reported.clone();
    let observer = move |event: DiagnosisEvent<'_>| {
        log.lock().unwrap().push(match event {
            DiagnosisEvent::Stage(result, _) => format!("{:?} {}", result.stage, result.ok),
            DiagnosisEvent::LoggedIn(login) => format!("{login:?}"),
            DiagnosisEvent::NoCredentials => "no credentials".to_owned(),
            event => panic!("{event:?}"),
        });
    };
    let diagnosis: Diagnosis = match runner {
        Runner::Blocking => {
            let given = password.map(credentials);
            let source = given.as_ref().map(|given| given as &dyn CredentialSource);
            diagnosis::diagnose(endpoint, source, last, observer)
        }
        Runner::Tokio => {
            let source = password.map(shared);
            on_tokio(diagnosis::tokio::diagnose(endpoint, source.as_ref(), last, observer))
        }
    };
    let results = diagnosis.results().iter().map(|result| {
        let mut result = result.clone();
        result.ms = 0.0;
        format!("{result:?}")
    });
    let (results, error) = (results.collect(), diagnosis.error().cloned());
    let reported = std::mem::take(&mut *reported.lock().unwrap());
    Findings { reported, results, error }
}

/// Diagnoses with both runners, and returns what both found.
fn both(endpoint: &Endpoint, password: Option<&str>, last: Stage) -> Findings {
    let [blocking, tokio] = Runner::BOTH.map(|runner| diagnose(runner, endpoint, password, last));
    assert_eq!(blocking, tokio, "{}", endpoint.url());
    tokio
}

#[test]
fn a_diagnosis_finds_the_same_in_both_protocols_and_tls_modes() {
    let server = server();
    let (imap, imaps, smtp, smtps) = (server.imap(), server.imaps(), server.smtp(), server.smtps());
    for (scheme, address) in [("imap", imap), ("imaps", imaps), ("smtp", smtp), ("smtps", smtps)] {
        let endpoint = endpoint(scheme, address, server.tls().unwrap());
        let sound = both(&endpoint, Some(PASSWORD), Stage::Folders);
        assert_eq!(sound.error, None);
        assert!(sound.results.len() >= 6, "{:?}", sound.results);
        let refused = both(&endpoint, Some("wrong"), Stage::Folders);
        assert_eq!(refused.error.map(|error| error.kind()), Some(ErrorKind::Refused));
        let without = both(&endpoint, None, Stage::Folders);
        assert_eq!(without.reported.last().map(String::as_str), Some("no credentials"));
        for last in [Stage::Name, Stage::Tcp, Stage::Tls, Stage::Greeting, Stage::Capabilities] {
            let cut = both(&endpoint, Some(PASSWORD), last);
            assert!(cut.error.is_none() && cut.results.len() < sound.results.len(), "{last:?}: {cut:?}");
        }
    }
}

#[test]
fn a_diagnosis_fails_the_same_way_at_each_stage() {
    let server = server();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let trusted = || server.tls().unwrap();
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let stranger = Authority::generate(&[], now).unwrap();
    let untrusted = || TlsClientConfig::authorities_pem(stranger.certificate_pem().as_bytes()).unwrap();
    let short = Duration::from_millis(700);
    let proxied = endpoint("imaps", server.imaps(), trusted())
        .proxy(Proxy::socks5("127.0.0.1", closed.port()))
        .timeout(short);
    for (endpoint, kind) in [
        (endpoint("imaps", closed, trusted()), ErrorKind::Unavailable),
        (endpoint("imaps", server.imaps(), untrusted()), ErrorKind::Refused),
        (endpoint("imap", server.imap(), untrusted()), ErrorKind::Refused),
        // The wrong TLS mode, both ways. A silent server is asked on a second connection.
        (endpoint("imap", server.imaps(), trusted()), ErrorKind::Protocol),
        (endpoint("imaps", server.imap(), trusted()), ErrorKind::Protocol),
        (endpoint("smtp", server.smtps(), trusted()), ErrorKind::Protocol),
        (proxied, ErrorKind::Unavailable),
        (endpoint("imaps", server.imaps(), trusted()).mechanisms([Mechanism::XOAuth2]), ErrorKind::Refused),
    ] {
        let findings = both(&endpoint, Some(PASSWORD), Stage::Folders);
        let error = findings.error.unwrap();
        assert_eq!(error.kind(), kind, "{}: {error}", endpoint.url());
    }
}

#[test]
fn a_server_that_says_goodbye_or_nothing_is_explained_the_same_way() {
    for (script, kind) in [
        ("S: * BYE overloaded\nclose\n", None),
        ("S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello\nC: $tag AUTHENTICATE*\nclose\n", None),
        ("S: hello, I am no mail server\nclose\n", Some(ErrorKind::Protocol)),
        ("wait 5s\n", Some(ErrorKind::Temporary)),
    ] {
        let [blocking, tokio] = Runner::BOTH.map(|runner| {
            let server = FakeServer::start(script).unwrap();
            let tls = TlsClientConfig::danger_accept_any_certificate().unwrap();
            let endpoint = endpoint("imap", server.address(), tls)
                .encryption(Encryption::DangerCleartextLogin)
                .unwrap()
                .timeout(Duration::from_millis(400));
            let mut findings = diagnose(runner, &endpoint, Some(PASSWORD), Stage::Folders);
            // Each run has a server with a port of its own.
            let port = server.address().port().to_string();
            for text in &mut findings.results {
                *text = text.replace(&port, "PORT");
            }
            let error = findings.error.take().unwrap();
            (findings, error.kind(), error.message().replace(&port, "PORT"), error.hint().cloned())
        });
        assert_eq!(blocking, tokio, "{script}");
        assert!(kind.is_none_or(|kind| tokio.1 == kind), "{script}: {tokio:?}");
    }
}

fn list_blocking<C: ImapChannel>(endpoint: &Endpoint, password: &str) -> Result<Vec<Folder>, Error> {
    let mut session = C::open(endpoint, &connector(endpoint, |_| ()))?;
    session.log_in(endpoint, &credentials(password))?;
    let folders = session.folders()?;
    session.log_out();
    Ok(folders)
}

async fn list_tokio<C: imap::tokio::ImapChannel>(
    endpoint: &Endpoint,
    password: &str,
) -> Result<Vec<Folder>, Error> {
    let mut session = C::open(endpoint, &mailclient::tokio::connector(endpoint, |_| ())).await?;
    session.log_in(endpoint, &shared(password)).await?;
    let folders = session.folders().await?;
    session.log_out().await;
    Ok(folders)
}

#[test]
fn the_folders_of_an_account_are_the_same() {
    let server = server();
    for name in ["Archive", "Archive/2026", "Entw&APw-rfe", "a \"quoted\" name"] {
        server.append(name, b"Subject: x\r\n\r\n").unwrap();
    }
    for (scheme, address) in [("imaps", server.imaps()), ("imap", server.imap())] {
        let endpoint = endpoint(scheme, address, server.tls().unwrap());
        for (password, is_accepted) in [(PASSWORD, true), ("wrong", false)] {
            let blocking = list_blocking::<Secure>(&endpoint, password);
            let tokio = on_tokio(list_tokio::<Secure>(&endpoint, password));
            assert_eq!(format!("{blocking:?}"), format!("{tokio:?}"));
            assert_eq!(tokio.map(|folders| folders.len() >= 5).ok(), is_accepted.then_some(true));
        }
    }
    // Without TLS, and without permission to log in on cleartext, no password is sent.
    let endpoint = endpoint("imap", server.imap(), server.tls().unwrap());
    let endpoint = endpoint.encryption(Encryption::DangerCleartext).unwrap();
    let blocking = list_blocking::<Cleartext>(&endpoint, PASSWORD).unwrap_err();
    let tokio = on_tokio(list_tokio::<Cleartext>(&endpoint, PASSWORD)).unwrap_err();
    assert_eq!(blocking, tokio);
}
