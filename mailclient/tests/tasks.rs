//! The tasks of a session over the client machines, without I/O: conversations as text.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Debug;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use io_common::{ConnectStage, TlsClientConfig};
use mailclient::diagnosis::{
    Diagnosis, GreetingState, ImapSteps, SessionOutcome, SessionStage, SmtpSteps, Stage,
};
use mailclient::login::Renewal;
use mailclient::{Endpoint, Error, ErrorKind, Task, TaskStep, imap, smtp};
use proto_mail::{ChannelBinding, Credentials, Machine, Mechanism, RecvBuffer, Secure, SendBuffer};

fn endpoint(url: &str) -> Endpoint {
    let tls = TlsClientConfig::danger_accept_any_certificate().unwrap();
    Endpoint::new(url.parse().unwrap(), tls).mechanisms([Mechanism::Plain])
}

fn credentials() -> Credentials {
    Credentials::password("ann", &b"hunter2"[..])
}

fn secure() -> Secure {
    Secure::tls(ChannelBinding::TlsExporter([1; 32])).with_seed([1; 32])
}

/// Plays a server's lines to a task. A line that starts with `C: ` must end what the client sends; all others are the
/// server's, and `TAG` in them is that of the client's last command. Returns the task's result.
fn play<M: Machine, T: Task<M>>(
    client: &mut M,
    tx: &mut SendBuffer,
    task: &mut T,
    lines: &[&str],
) -> Result<Option<T::Output>, Error>
where
    T::Output: Debug,
{
    let (mut rx, mut tag) = (RecvBuffer::new(), String::new());
    for line in lines {
        if let TaskStep::Done(done) = task.ready(client, tx)? {
            return Ok(Some(done));
        }
        if let Some(expected) = line.strip_prefix("C: ") {
            let sent = String::from_utf8(tx.take()).unwrap();
            assert!(sent.ends_with(&format!("{expected}\r\n")), "expected {expected:?}, not {sent:?}");
            tag = sent.split(' ').next().unwrap_or_default().to_owned();
            continue;
        }
        rx.extend(line.replace("TAG", &tag).as_bytes());
        rx.extend(b"\r\n");
        while let Some(event) = client.next_event(&mut rx, tx)? {
            if let TaskStep::Done(done) = task.event(event, client, tx)? {
                return Ok(Some(done));
            }
        }
    }
    match task.ready(client, tx)? {
        TaskStep::Done(done) => Ok(Some(done)),
        _ => Ok(None),
    }
}

/// Diagnoses a conversation. Returns the results, as stage and detail, and how the session ended.
fn diagnose_imap(
    login: Option<imap::LogIn>,
    last: Stage,
    lines: &[&str],
) -> (Result<Option<SessionOutcome>, Error>, Diagnosis) {
    let mut diagnosis = Diagnosis::new(&endpoint("imaps://ann@h"), last);
    let (mut client, mut tx) = (
        proto_imap::client::Client::<Secure>::new(proto_imap::config::Config::default(), secure()),
        SendBuffer::new(),
    );
    let result = {
        let observer = |stage: SessionStage<'_>| diagnosis.passed(stage, Duration::from_millis(2));
        let mut steps = ImapSteps::new(GreetingState::Awaited, login, observer);
        play(&mut client, &mut tx, &mut steps, lines)
    };
    (result, diagnosis)
}

fn details(diagnosis: &Diagnosis) -> Vec<(Stage, &str)> {
    diagnosis.results().iter().map(|result| (result.stage, result.detail.as_str())).collect()
}

#[test]
fn diagnoses_an_imap_session_stage_by_stage() {
    let login = imap::LogIn::new(&endpoint("imaps://ann@h"), credentials(), Renewal::Impossible);
    let (result, diagnosis) = diagnose_imap(
        Some(login),
        Stage::Folders,
        &[
            "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello",
            "C: AUTHENTICATE PLAIN AGFubgBodW50ZXIy",
            "TAG OK [CAPABILITY IMAP4rev1] in",
            "C: LIST \"\" \"*\"",
            "* LIST () \"/\" INBOX",
            "* LIST () \"/\" Sent",
            "TAG OK done",
        ],
    );
    assert_eq!(result.unwrap(), Some(SessionOutcome::Complete));
    assert_eq!(
        details(&diagnosis),
        [
            (Stage::Greeting, "IMAP"),
            (Stage::Capabilities, "IMAP4rev1 AUTH=PLAIN SASL-IR"),
            (Stage::Login, "PLAIN"),
            (Stage::Folders, "2 folders"),
        ]
    );
    let json = serde_json::to_string(&diagnosis.results()[3]).unwrap();
    assert_eq!(json, r#"{"stage":"folders","ok":true,"ms":2.0,"detail":"2 folders"}"#);
}

#[test]
fn ends_a_diagnosis_without_credentials_or_after_the_last_stage() {
    let lines = ["* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello"];
    let (result, diagnosis) = diagnose_imap(None, Stage::Folders, &lines);
    assert_eq!((result.unwrap(), diagnosis.results().len()), (Some(SessionOutcome::NoCredentials), 2));
    let (result, diagnosis) = diagnose_imap(None, Stage::Greeting, &lines);
    assert_eq!((result.unwrap(), diagnosis.results().len()), (Some(SessionOutcome::Complete), 1));
    assert!(diagnosis.has_passed_last());
}

#[test]
fn a_failed_stage_has_its_cause_hint_and_reply() {
    let login = imap::LogIn::new(&endpoint("imaps://ann@h"), credentials(), Renewal::Impossible);
    let (result, mut diagnosis) = diagnose_imap(
        Some(login),
        Stage::Folders,
        &[
            "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello",
            "C: AUTHENTICATE PLAIN AGFubgBodW50ZXIy",
            "TAG NO [AUTHENTICATIONFAILED] no",
        ],
    );
    let address: SocketAddr = "127.0.0.1:993".parse().unwrap();
    assert_eq!(diagnosis.observe(&ConnectStage::Resolved(vec![address]), Duration::ZERO), 1);
    diagnosis.observe(&ConnectStage::Connected(address.into()), Duration::ZERO);
    diagnosis.failed(result.unwrap_err(), Duration::from_millis(5));
    let error = diagnosis.error().unwrap();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Refused, false));
    assert_eq!(error.host_port(), Some(("h", 993)));
    let failed = diagnosis.results().last().unwrap();
    assert!(!failed.ok && failed.detail.starts_with("h:993: the server refused the login"), "{failed:?}");
    assert_eq!(failed.server.as_ref().unwrap().code.as_deref(), Some("AUTHENTICATIONFAILED"));
    assert!(failed.hint.as_ref().unwrap().contains("password"));
}

#[test]
fn diagnoses_an_smtp_session_stage_by_stage() {
    let endpoint = endpoint("smtps://ann@h");
    let mut diagnosis = Diagnosis::new(&endpoint, Stage::Folders);
    let config = endpoint.smtp_config();
    let (mut client, mut tx) =
        (proto_smtp::client::Client::<Secure>::new(config, secure()), SendBuffer::new());
    let login = smtp::LogIn::new(&endpoint, credentials(), Renewal::Impossible);
    let result = {
        let observer = |stage: SessionStage<'_>| -> ControlFlow<()> {
            diagnosis.passed(stage, Duration::from_millis(2))
        };
        let mut steps = SmtpSteps::new(Some(login), observer);
        play(
            &mut client,
            &mut tx,
            &mut steps,
            &[
                "220 h ready",
                "C: ",
                "250-h",
                "250-SIZE 1000",
                "250 AUTH PLAIN",
                "C: AUTH PLAIN AGFubgBodW50ZXIy",
                "235 2.7.0 in",
            ],
        )
    };
    assert_eq!(result.unwrap(), Some(SessionOutcome::Complete));
    let expected = [
        (Stage::Greeting, "220 h ready"),
        (Stage::Capabilities, "SIZE 1000, AUTH PLAIN"),
        (Stage::Login, "PLAIN"),
    ];
    assert_eq!(details(&diagnosis), expected);
}
