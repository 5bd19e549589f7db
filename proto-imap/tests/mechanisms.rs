//! Custom mechanisms of applications, servers that reject initial responses, and what traces show of both.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::ok;
use common::talk::Talk;
use proto_imap::Config;
use proto_imap::client::{Client, LoginMethod};
use proto_imap::server::{Event, Server};
use proto_imap::types::Command;
use proto_mail::sasl::{CleartextRisk, ClientExchange, CustomMechanism, SaslError};
use proto_mail::trace::TraceSpan;
use proto_mail::{
    AuthVerdict, Cleartext, Credentials, Error, Mechanism, Misuse, RecvBuffer, Secret, Secure, SendBuffer,
};

/// A custom mechanism that sends an initial response and is complete at once.
#[derive(Debug)]
struct Toy(CleartextRisk);

impl ClientExchange for Toy {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(CustomMechanism::new("X-TOY", self.0).unwrap())
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok(Some(Secret::new(b"first".to_vec())))
    }

    fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        Err(SaslError::AlreadyFinished)
    }

    fn is_done(&self) -> bool {
        true
    }
}

const WRONG: Error = Error::Misuse(Misuse::WrongMechanism);

#[test]
fn uses_a_custom_mechanism_where_offered() {
    for (offered, expected) in
        [("AUTH=X-TOY", Ok(())), ("AUTH=X-TOYS", Err(WRONG)), ("AUTH=PLAIN", Err(WRONG))]
    {
        let mut talk = Talk::greeted("OK", offered);
        for exposure in
            [CleartextRisk::RevealsCredentials, CleartextRisk::AllowsGuessing, CleartextRisk::None]
        {
            let begun = talk.client.authenticate_with(Box::new(Toy(exposure)), &mut talk.tx).map(|_| ());
            assert_eq!(begun, expected, "{offered} {exposure:?}");
            if begun.is_ok() {
                assert!(talk.said().ends_with(" AUTHENTICATE X-TOY\r\n"));
                talk.hear("+ \r\n").unwrap();
                assert_eq!(talk.said(), "Zmlyc3Q=\r\n");
            } else {
                assert_eq!(talk.said(), "");
                continue;
            }
            talk = Talk::greeted("OK", offered);
        }
    }
}

/// In cleartext, only mechanisms that reveal nothing are allowed, and only if the configuration allows cleartext.
#[test]
fn custom_mechanisms_reveal_nothing_in_cleartext() {
    let begun = |config: Config, exposure| {
        let mut client = Client::<Cleartext>::new(Arc::new(config));
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        rx.extend(b"* OK [CAPABILITY IMAP4rev1 AUTH=X-TOY] ready\r\n");
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        client.danger_cleartext_authenticate_with(Box::new(Toy(exposure)), &mut tx).map(|_| tx.take())
    };
    let danger = || Config::default().danger_cleartext();
    assert_eq!(begun(danger(), CleartextRisk::None).unwrap(), b"M1 AUTHENTICATE X-TOY\r\n");
    assert_eq!(begun(danger(), CleartextRisk::AllowsGuessing), Err(WRONG));
    assert_eq!(begun(danger(), CleartextRisk::RevealsCredentials), Err(WRONG));
    assert_eq!(begun(Config::default(), CleartextRisk::None), Err(Misuse::WrongState.into()));
}

/// If a server offers SASL-IR and answers BAD to it, the next attempt has no initial response. NO, or BAD after the
/// server's own challenge, does not cause this.
#[test]
fn a_refused_initial_response_is_not_sent_again() {
    let password = || Credentials::password("u", &b"p"[..]);
    let begun = |offered: &str| {
        let mut talk = Talk::greeted("OK", offered);
        talk.authenticate(password(), LoginMethod::Strongest).unwrap();
        talk.said();
        talk
    };
    let again = |talk: &mut Talk| {
        talk.authenticate(password(), LoginMethod::Strongest).unwrap();
        talk.said()
    };
    let mut refused = begun("AUTH=PLAIN SASL-IR");
    refused.hear("M1 BAD no\r\n").unwrap();
    assert!(refused.client.has_refused_initial_response());
    assert_eq!(again(&mut refused), "M2 AUTHENTICATE PLAIN\r\n");
    for (offered, answers) in [
        ("AUTH=PLAIN SASL-IR", &["M1 NO no\r\n"][..]),
        ("AUTH=PLAIN SASL-IR", &["+ \r\n", "M1 BAD no\r\n"]),
        ("AUTH=PLAIN", &["M1 BAD no\r\n"]),
    ] {
        let mut other = begun(offered);
        for answer in answers {
            other.hear(answer).unwrap();
            other.said();
        }
        assert!(!other.client.has_refused_initial_response(), "{offered} {answers:?}");
        let said = again(&mut other);
        assert_eq!(said.contains("AHUAcA=="), offered.contains("SASL-IR"), "{said}");
    }
}

/// Formats a span of a trace with its kind.
fn piece(what: TraceSpan) -> String {
    match what {
        TraceSpan::Text(text) => String::from_utf8(text).unwrap(),
        other => format!("{other:?}"),
    }
}

fn shown(rx: &mut RecvBuffer) -> String {
    rx.take_trace().into_iter().map(piece).collect()
}

/// Returns the trace of this text from the server.
fn told(talk: &mut Talk, text: &str) -> String {
    let _ = talk.hear(text);
    shown(&mut talk.rx)
}

fn traced(capabilities: &str) -> Talk {
    let mut talk = Talk::greeted("OK", capabilities);
    talk.rx.trace(100);
    talk
}

/// Challenges are secret. Invalid data during an exchange may be secret too.
#[test]
fn traces_hide_challenges() {
    let mut talk = traced("AUTH=PLAIN IDLE");
    assert_eq!(told(&mut talk, "* OK hello\r\n"), "* OK hello\r\n");
    assert_eq!(told(&mut talk, "Y2hh bGxl\r\n"), "Y2hh bGxl\r\n");
    talk.authenticate(Credentials::password("u", &b"p"[..]), LoginMethod::Strongest).unwrap();
    talk.said();
    assert_eq!(told(&mut talk, "* OK still\r\n"), "* OK still\r\n");
    // Also accepted: an echo of the client's message, or text before a challenge.
    for odd in ["AHUAcA==\r\n", "Y2hh bGxl\r\n", "[ALERT] AHUAcA==\r\n", "334 Y2hhbGxlbmdl\r\n"] {
        let hidden = format!("Unknown({})\r\n", odd.len() - 2);
        assert_eq!(told(&mut talk, odd), hidden, "{odd}");
    }
    assert_eq!(told(&mut talk, "+ Y2hhbGxlbmdl\r\n"), "+ Secret(12)\r\n");
    talk.said();
    assert_eq!(told(&mut talk, "M1 OK in\r\n"), "M1 OK in\r\n");
    let mut talk = traced("AUTH=PLAIN");
    talk.authenticate(Credentials::password("u", &b"p"[..]), LoginMethod::Strongest).unwrap();
    talk.said();
    assert_eq!(told(&mut talk, "\0+ Y2hhbGxlbmdl\r\n"), "Unknown(15)\r\n");
}

/// An unexpected continuation may be a late challenge. A continuation for IDLE or a literal is shown.
#[test]
fn traces_show_continuations_outside_authentication() {
    let mut talk = traced("AUTH=PLAIN IDLE");
    assert_eq!(told(&mut talk, "+ Y2hhbGxlbmdl\r\n"), "+ Secret(12)\r\n");
    let mut talk = Talk::greeted("PREAUTH", "IDLE");
    talk.rx.trace(100);
    talk.send(&Command::Idle);
    talk.said();
    assert_eq!(told(&mut talk, "+ idling\r\n"), "+ idling\r\n");
}

/// Bytes over a limit are never understood: during authentication they are only counted.
#[test]
fn traces_show_overlong_lines_unless_secret() {
    let long = format!("* OK {}\r\n", "x".repeat(70_000));
    let mut talk = traced("AUTH=PLAIN");
    assert!(told(&mut talk, &long).starts_with("* OK xxx"));
    let mut talk = traced("AUTH=PLAIN");
    talk.authenticate(Credentials::password("u", &b"p"[..]), LoginMethod::Strongest).unwrap();
    talk.said();
    assert_eq!(told(&mut talk, &long), format!("Unknown({})", long.len()));
}

/// Credentials of a client are secret; the cancellation of an exchange is not.
#[test]
fn server_traces_hide_credentials() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.trace(100);
    tx.trace(100);
    let mut server = Server::<Secure>::new(Config::default(), Secure::trusted_local(), &mut tx);
    let mut told = |text: &str| {
        rx.extend(text.as_bytes());
        while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
            match event {
                Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, &mut tx).unwrap(),
                Event::Command(_, reply) => server.reply(reply, &ok("done"), &mut tx).unwrap(),
                _ => {}
            }
        }
        let _ = tx.take();
        let said: Vec<_> = tx.take_trace().into_iter().map(piece).collect();
        (shown(&mut rx), said.concat().lines().last().unwrap_or_default().to_owned())
    };
    assert_eq!(told("a NOOP\r\n").1, "a OK done");
    assert_eq!(told("a CAPABILITY\r\n").0, "a CAPABILITY\r\n");
    assert_eq!(told("b AUTHENTICATE PLAIN\r\n").0, "b AUTHENTICATE PLAIN\r\n");
    assert_eq!(told("*\r\n").0, "*\r\n");
    assert_eq!(told("c NOOP\r\n").1, "Unknown(1) OK done");
    assert_eq!(
        told("c AUTHENTICATE PLAIN\r\n").0,
        "Unknown(1) AUTHENTICATE PLAIN\r\n",
        "its tag may be a secret"
    );
    assert_eq!(told("AHUAcA==\r\n").0, "Secret(8)\r\n");
    assert_eq!(told("d CAPABILITY\r\n").0, "d CAPABILITY\r\n");
}
