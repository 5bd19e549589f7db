//! Injection around STARTTLS, as one matrix: both protocols (SMTP as LMTP, too), both roles, every payload at every
//! place of the conversation, and every split of the attacker's bytes.
//!
//! In every case the session fails with an error that names the cause; or TLS begins and the machine under it equals
//! that of a session without an attack; or TLS does not begin and nothing that requires it was sent.
//!
//! This file drives the machines and compares. `payloads` defines what is injected, and where; `wire` does the same
//! through the driver, with its sockets and its TLS.

mod payloads;
mod wire;

use std::fmt::Debug;
use std::sync::Arc;

use io_mio::{
    ClientProtocol, ImapClientProtocol, ImapServer, ServerProtocol, SmtpClientProtocol, SmtpServer,
    StartTlsReadiness,
};
use payloads::{Case, Expected};
use proto_imap::types::{Condition, StatusResponse, Text};
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{
    AuthVerdict, Channel, Cleartext, Credentials, Error, Machine, Mechanism, PeerError, RecvBuffer,
    RejectionKind, Secure, SendBuffer, StartTlsRequest, Upgrade,
};
use proto_smtp::types::Response;
use proto_smtp::{Dialect, client::Client as SmtpClientMachine, server::Server as SmtpServerMachine};

/// No byte of the cleartext part may belong to these: the password of the client under test, and its base64.
const SECRETS: [&str; 4] = ["correct horse", "Y29ycmVjdCBob3Jz", "b3JyZWN0IGhvcn", "AGFsaWNlAGNvcnJl"];

/// The result of a conversation.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    /// What the application received, and every byte that was sent, before TLS.
    before: Seen,
    outcome: Outcome,
}

/// What an application received and what was sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    events: Vec<String>,
    output: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The session is over.
    Fatal(Error),
    /// The server refused before TLS began: the driver's description.
    Refused(String),
    /// TLS began: the machine at that moment, and the result of the genuine conversation under TLS.
    Upgraded(String, Seen),
    /// TLS did not begin.
    Cleartext,
}

/// A role of a protocol that can be attacked.
trait Victim {
    /// Feeds what comes before TLS, turn by turn, and then the genuine conversation under TLS.
    fn converse(&self, turns: &[Vec<&[u8]>]) -> Record;
}

/// The server role.
struct TestServer<P: ServerProtocol>(P::Config);

/// The client role.
struct TestClient<P: ClientProtocol>(P::Config);

/// What the matrix must know of a server besides what a driver knows.
trait ServerUnderTest: ServerProtocol {
    /// What a genuine client sends under TLS.
    const GENUINE: &'static [&'static str];

    /// Answers an event, or returns the STARTTLS request in it.
    fn cleartext(
        event: <Self::Cleartext as Machine>::Event<'_>,
        machine: &mut Self::Cleartext,
        tx: &mut SendBuffer,
    ) -> Option<StartTlsRequest>;

    fn secure(event: <Self::Secure as Machine>::Event<'_>, machine: &mut Self::Secure, tx: &mut SendBuffer);
}

/// What the matrix must know of a client besides what a driver knows.
trait ClientUnderTest: ClientProtocol {
    /// What a genuine server sends under TLS.
    const GENUINE: &'static [&'static str];

    /// Authenticates as soon as the machine allows it.
    fn secure(event: &<Self::Secure as Machine>::Event<'_>, machine: &mut Self::Secure, tx: &mut SendBuffer);

    /// Tries to authenticate too early, by the only call that exists. Without the setting it must do nothing.
    fn cleartext(machine: &mut Self::Cleartext, tx: &mut SendBuffer);
}

impl<P: ServerUnderTest<Secure: Debug>> Victim for TestServer<P> {
    fn converse(&self, turns: &[Vec<&[u8]>]) -> Record {
        let (mut rx, mut tx, mut before) = (RecvBuffer::new(), SendBuffer::new(), Seen::default());
        let mut machine = P::open(&self.0, &mut tx);
        let mut pieces = turns.iter().flatten();
        let request = loop {
            let happened = step(&mut machine, &mut rx, &mut tx, |event, machine, tx| {
                before.events.push(format!("{event:?}"));
                P::cleartext(event, machine, tx)
            });
            match happened {
                Err(error) => return before.end(tx, Outcome::Fatal(error)),
                Ok(Some(Some(request))) => break request,
                Ok(Some(None)) => continue,
                Ok(None) => {}
            }
            before.output.extend(tx.take());
            let Some(piece) = pieces.next() else { return before.end(tx, Outcome::Cleartext) };
            rx.extend(piece);
        };
        assert!(rx.is_empty(), "STARTTLS was reported with bytes after it");
        let upgrade = P::accept(machine, request, &mut tx).unwrap();
        before.output.extend(tx.take());
        // A driver that reads ahead: the buffer holds all remaining cleartext.
        pieces.for_each(|piece| rx.extend(piece));
        let outcome = match upgrade.complete(Secure::trusted_local(), &mut rx) {
            Err(error) => Outcome::Fatal(error),
            Ok(machine) => go_on(machine, rx, tx, P::GENUINE, P::secure),
        };
        Record { before, outcome }
    }
}

impl<P: ClientUnderTest<Secure: Debug>> Victim for TestClient<P> {
    fn converse(&self, turns: &[Vec<&[u8]>]) -> Record {
        let (mut rx, mut tx, mut before) = (RecvBuffer::new(), SendBuffer::new(), Seen::default());
        let mut machine = P::open(&self.0, &mut tx);
        let mut pieces = turns.iter().flatten();
        loop {
            let happened = step(&mut machine, &mut rx, &mut tx, |event, machine, tx| {
                before.events.push(format!("{event:?}"));
                let approach = P::prepare_starttls(event, machine, tx);
                P::cleartext(machine, tx);
                approach
            });
            match happened {
                Err(error) | Ok(Some(Err(io_mio::Error::Protocol(error)))) => {
                    return before.end(tx, Outcome::Fatal(error));
                }
                Ok(Some(Err(refusal))) => return before.end(tx, Outcome::Refused(refusal.to_string())),
                Ok(Some(Ok(StartTlsReadiness::Ready))) => break,
                Ok(Some(Ok(StartTlsReadiness::Continue))) => continue,
                Ok(None) => {}
            }
            before.output.extend(tx.take());
            let Some(piece) = pieces.next() else { return before.end(tx, Outcome::Cleartext) };
            rx.extend(piece);
        }
        let mut negotiation = match P::starttls(machine, &mut tx) {
            Ok(negotiation) => negotiation,
            Err(error) => return before.end(tx, Outcome::Fatal(error)),
        };
        let upgrade = loop {
            negotiation = match negotiation.advance(&mut rx, &mut tx) {
                Err(error) => return before.end(tx, Outcome::Fatal(error)),
                Ok(Negotiation::Refused(_)) => return before.end(tx, Outcome::Cleartext),
                Ok(Negotiation::Ready(upgrade)) => break upgrade,
                Ok(Negotiation::Pending(more)) => more,
            };
            before.output.extend(tx.take());
            let Some(piece) = pieces.next() else { return before.end(tx, Outcome::Cleartext) };
            rx.extend(piece);
        };
        assert!(rx.is_empty(), "TLS was accepted with bytes after the reply");
        before.output.extend(tx.take());
        pieces.for_each(|piece| rx.extend(piece));
        let outcome = match upgrade.complete(Secure::trusted_local(), &mut rx) {
            Err(error) => Outcome::Fatal(error),
            Ok(machine) => go_on(machine, rx, tx, P::GENUINE, |event, machine, tx| {
                P::secure(&event, machine, tx);
            }),
        };
        Record { before, outcome }
    }
}

/// The next event, and the result of `answer`.
fn step<M: Machine, T>(
    machine: &mut M,
    rx: &mut RecvBuffer,
    tx: &mut SendBuffer,
    answer: impl FnOnce(M::Event<'_>, &mut M, &mut SendBuffer) -> T,
) -> Result<Option<T>, Error> {
    Ok(machine.next_event(rx, tx)?.map(|event| answer(event, machine, tx)))
}

impl Seen {
    fn end(mut self, mut tx: SendBuffer, outcome: Outcome) -> Record {
        self.output.extend(tx.take());
        Record { before: self, outcome }
    }
}

/// The genuine conversation under TLS, in the same buffers that held cleartext.
fn go_on<M: Machine + Debug>(
    mut machine: M,
    mut rx: RecvBuffer,
    mut tx: SendBuffer,
    turns: &[&str],
    mut answer: impl FnMut(M::Event<'_>, &mut M, &mut SendBuffer),
) -> Outcome {
    let mut seen = Seen::default();
    let start = format!("{machine:?}");
    let mut turns = turns.iter();
    loop {
        while let Some(event) = machine.next_event(&mut rx, &mut tx).unwrap() {
            seen.events.push(format!("{event:?}"));
            answer(event, &mut machine, &mut tx);
        }
        seen.output.extend(tx.take());
        match turns.next() {
            Some(turn) => rx.extend(turn.as_bytes()),
            None => return Outcome::Upgraded(start, seen),
        }
    }
}

impl ServerUnderTest for ImapServer {
    const GENUINE: &'static [&'static str] = &[
        "g1 CAPABILITY\r\n",
        "g2 SELECT INBOX\r\n",
        "g3 LOGIN alice \"correct horse\"\r\ng4 ENABLE IMAP4rev2\r\ng5 SELECT INBOX\r\n",
        "g6 LOGOUT\r\n",
    ];

    fn cleartext(
        event: proto_imap::server::Event<'_, Cleartext>,
        machine: &mut Self::Cleartext,
        tx: &mut SendBuffer,
    ) -> Option<StartTlsRequest> {
        match event {
            proto_imap::server::Event::StartTls(request) => return Some(request),
            event => imap_answer(event, machine, tx),
        }
        None
    }

    fn secure(event: proto_imap::server::Event<'_, Secure>, machine: &mut Self::Secure, tx: &mut SendBuffer) {
        match event {
            proto_imap::server::Event::Auth(request) => {
                machine.answer_auth(request, AuthVerdict::Accept, tx).unwrap();
            }
            event => imap_answer(event, machine, tx),
        }
    }
}

fn imap_answer<C: Channel>(
    event: proto_imap::server::Event<'_, C>,
    machine: &mut proto_imap::server::Server<C>,
    tx: &mut SendBuffer,
) {
    if let proto_imap::server::Event::Command(_, reply) = event {
        machine.reply(reply, &StatusResponse::new(Condition::Ok, Text::first_line("done")), tx).unwrap();
    }
}

impl ServerUnderTest for SmtpServer {
    const GENUINE: &'static [&'static str] = &[
        "MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n",
        "EHLO genuine.example\r\nLHLO genuine.example\r\n",
        "RCPT TO:<bob@example.test>\r\nDATA\r\n",
        "AUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=\r\n",
        "MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n",
        "DATA\r\nhello\r\n.\r\nQUIT\r\n",
    ];

    fn cleartext(
        event: proto_smtp::server::Event<'_, Cleartext>,
        machine: &mut Self::Cleartext,
        tx: &mut SendBuffer,
    ) -> Option<StartTlsRequest> {
        match event {
            proto_smtp::server::Event::StartTls(request) => return Some(request),
            event => smtp_answer(event, machine, tx),
        }
        None
    }

    fn secure(event: proto_smtp::server::Event<'_, Secure>, machine: &mut Self::Secure, tx: &mut SendBuffer) {
        match event {
            proto_smtp::server::Event::Auth(request) => {
                machine.answer_auth(request, AuthVerdict::Accept, tx).unwrap();
            }
            event => smtp_answer(event, machine, tx),
        }
    }
}

fn smtp_answer<C: Channel>(
    event: proto_smtp::server::Event<'_, C>,
    machine: &mut SmtpServerMachine<C>,
    tx: &mut SendBuffer,
) {
    use proto_smtp::server::Event;
    match event {
        Event::Mail(_, reply) | Event::Rcpt(_, reply) | Event::DataEnd(reply) => {
            machine.reply(reply, &Response::ok(), tx).unwrap();
        }
        Event::Data(reply) => machine.reply(reply, &Response::start_data(), tx).unwrap(),
        _ => {}
    }
}

impl ClientUnderTest for ImapClientProtocol {
    const GENUINE: &'static [&'static str] = &[
        "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nM1 OK done\r\n",
        "+ \r\n",
        "M2 OK [CAPABILITY IMAP4rev1 IDLE] welcome\r\n",
        "* 3 EXISTS\r\n",
    ];

    fn secure(event: &proto_imap::client::Event<'_>, machine: &mut Self::Secure, tx: &mut SendBuffer) {
        use proto_imap::client::{Event, LoginMethod};
        if matches!(event, Event::Capabilities)
            && machine.state() == Some(proto_imap::State::NotAuthenticated)
        {
            machine.authenticate(LoginMethod::Strongest, &password(), tx).unwrap();
        }
    }

    fn cleartext(machine: &mut Self::Cleartext, tx: &mut SendBuffer) {
        let choice = proto_imap::client::LoginMethod::Strongest;
        machine.danger_cleartext_authenticate(choice, &password(), tx).unwrap_err();
    }
}

impl ClientUnderTest for SmtpClientProtocol {
    const GENUINE: &'static [&'static str] =
        &["250-mx.example\r\n250 AUTH PLAIN\r\n", "235 2.7.0 welcome\r\n", "421 4.3.2 good-bye\r\n"];

    fn secure(
        event: &proto_smtp::client::Event<'_>,
        machine: &mut SmtpClientMachine<Secure>,
        tx: &mut SendBuffer,
    ) {
        if matches!(event, proto_smtp::client::Event::Capabilities(_)) {
            machine.authenticate(Mechanism::Plain, password(), tx).unwrap();
        }
    }

    fn cleartext(machine: &mut Self::Cleartext, tx: &mut SendBuffer) {
        machine.danger_cleartext_authenticate(Mechanism::Plain, password(), tx).unwrap_err();
    }
}

fn password() -> Credentials {
    Credentials::password("alice", &b"correct horse"[..])
}

/// Every way to split the turns: whole, byte by byte, and in two at every offset. No piece spans two turns.
fn splits(turns: &[Vec<u8>]) -> Vec<Vec<Vec<&[u8]>>> {
    let whole: Vec<Vec<&[u8]>> = turns.iter().map(|turn| vec![turn.as_slice()]).collect();
    let bytes = turns.iter().map(|turn| turn.chunks(1).collect()).collect();
    let mut found = vec![whole.clone(), bytes];
    for (index, turn) in turns.iter().enumerate() {
        for at in 1..turn.len() {
            let mut cut = whole.clone();
            cut[index] = vec![&turn[..at], &turn[at..]];
            found.push(cut);
        }
    }
    found
}

/// Runs every case with every split. Returns the number of conversations.
fn attack(victim: &impl Victim, peaceful: &[&str], cases: &[Case]) -> usize {
    let peaceful: Vec<Vec<&[u8]>> = peaceful.iter().map(|turn| vec![turn.as_bytes()]).collect();
    let control = victim.converse(&peaceful).outcome;
    let Outcome::Upgraded(_, seen) = &control else {
        panic!("the session without an attack ended: {control:?}")
    };
    assert!(seen.events.len() > 2 && !seen.output.is_empty(), "{control:?}");
    let mut conversations = 0;
    for case in cases {
        for pieces in splits(&case.turns) {
            conversations += 1;
            let record = victim.converse(&pieces);
            let cuts: Vec<Vec<usize>> =
                pieces.iter().map(|turn| turn.iter().take(3).map(|piece| piece.len()).collect()).collect();
            check(&record, &control, case.expected).unwrap_or_else(|why| {
                panic!(
                    "{}: {why}\ncut into {cuts:?}\nexpected {:?}, found {record:#?}",
                    case.name, case.expected
                )
            });
        }
    }
    conversations
}

fn check(record: &Record, control: &Outcome, expected: Expected) -> Result<(), String> {
    let output = String::from_utf8_lossy(&record.before.output);
    if let Some(secret) = SECRETS.iter().find(|secret| output.contains(**secret)) {
        return Err(format!("{secret:?} was sent in cleartext"));
    }
    if record.before.events.iter().any(|event| event.starts_with("Auth")) {
        return Err("credentials were taken in cleartext".into());
    }
    match (&record.outcome, expected) {
        (Outcome::Fatal(Error::Peer(error)), Expected::Dies(errors)) if errors.contains(error) => {
            // An injection must not be reported as an accident.
            let says = Error::Peer(*error).to_string();
            let named = *error != PeerError::PlaintextAfterStartTls || says.contains("injecting");
            if named { Ok(()) } else { Err(format!("the error does not name the injection: {says}")) }
        }
        (upgraded @ Outcome::Upgraded(..), Expected::Forgotten) if upgraded == control => Ok(()),
        (Outcome::Upgraded(..), Expected::Forgotten) => {
            Err(format!("cleartext state survived; the session without an attack: {control:#?}"))
        }
        (Outcome::Cleartext, Expected::NoTls) => Ok(()),
        (Outcome::Fatal(Error::Rejected(reply)), Expected::Closed)
            if reply.kind() == RejectionKind::Session =>
        {
            Ok(())
        }
        _ => Err("that is not what may come of it".into()),
    }
}

fn imap() -> Arc<proto_imap::Config> {
    Arc::new(proto_imap::Config::default())
}

fn smtp(dialect: Dialect) -> Arc<proto_smtp::Config> {
    Arc::new(proto_smtp::Config::default().dialect(dialect).optional_authentication())
}

#[test]
fn imap_server_discards_injected_bytes() {
    let count = attack(&TestServer::<ImapServer>(imap()), &payloads::IMAP_COMMANDS, &payloads::imap_server());
    assert!(count > 1000, "{count}");
}

#[test]
fn imap_client_discards_injected_bytes() {
    let count = attack(
        &TestClient::<ImapClientProtocol>(imap()),
        &payloads::IMAP_RESPONSES,
        &payloads::imap_client(),
    );
    assert!(count > 1000, "{count}");
}

#[test]
fn smtp_server_discards_injected_bytes() {
    for (dialect, hello) in [(Dialect::Smtp, "EHLO"), (Dialect::Lmtp, "LHLO")] {
        let peaceful = [format!("{hello} client.example\r\n"), "STARTTLS\r\n".into()];
        let peaceful: Vec<&str> = peaceful.iter().map(String::as_str).collect();
        let victim = TestServer::<SmtpServer>(smtp(dialect));
        let count = attack(&victim, &peaceful, &payloads::smtp_server(hello));
        assert!(count > 1000, "{count}");
    }
}

#[test]
fn smtp_client_discards_injected_bytes() {
    for dialect in [Dialect::Smtp, Dialect::Lmtp] {
        let victim = TestClient::<SmtpClientProtocol>(smtp(dialect));
        let count = attack(&victim, &payloads::SMTP_REPLIES, &payloads::smtp_client());
        assert!(count > 1000, "{count}");
    }
}

/// The matrix can fail: it detects cleartext state that survives.
#[test]
fn matrix_detects_surviving_state() {
    let seen = |output: &[u8]| Seen { events: vec!["Capabilities".into()], output: output.to_vec() };
    let control = Outcome::Upgraded("Client".into(), seen(b"M1 CAPABILITY\r\n"));
    let record = |outcome| Record { before: seen(b"M1 STARTTLS\r\n"), outcome };
    let skipped = record(Outcome::Upgraded("Client".into(), seen(b"M1 LOGIN\r\n")));
    assert!(check(&skipped, &control, Expected::Forgotten).is_err());
    let remembered = record(Outcome::Upgraded("Client { PIPELINING }".into(), seen(b"M1 CAPABILITY\r\n")));
    assert!(check(&remembered, &control, Expected::Forgotten).is_err());
    let same = record(Outcome::Upgraded("Client".into(), seen(b"M1 CAPABILITY\r\n")));
    assert_eq!(check(&same, &control, Expected::Forgotten), Ok(()));
    assert!(check(&same, &control, payloads::INJECTION).is_err());
    let accident = record(Outcome::Fatal(PeerError::UnexpectedEnd.into()));
    assert!(check(&accident, &control, payloads::INJECTION).is_err());
    let leaked =
        Record { before: seen(b"M1 LOGIN alice \"correct horse\"\r\n"), outcome: Outcome::Cleartext };
    assert!(check(&leaked, &control, Expected::NoTls).is_err());
}
