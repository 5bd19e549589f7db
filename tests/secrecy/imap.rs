//! IMAP sessions that carry secrets: AUTHENTICATE and LOGIN in every form, and every way in which they fail.

use std::sync::Arc;
use std::time::Duration;

use proto_imap::client::{AuthOutcome, Client, Event, LoginMethod};
use proto_imap::parse::{self, Context};
use proto_imap::server::{self, Server};
use proto_imap::types::{Command, Condition, StatusResponse, Text};
use proto_imap::{Config, SaslIr, Waits};
use proto_mail::{Channel, Cleartext, Credentials, Limits, Mechanisms, Secure, SendBuffer};

use io_mio::trace::Role;

use crate::session::{Application, Cut, Shown, Side, face, talk};
use crate::{
    Answer, How, PASSWORDS, SIZES, TOKEN, USER, careless_mechanism, channel, how, mechanisms, search, sizes,
};

/// Authenticates once, as soon as it may.
struct TestClient {
    how: Option<How>,
    /// Whether it was accepted, once the answer has come.
    ended: Option<bool>,
}

impl Application<Client<Secure>> for TestClient {
    const PROTOCOL: &'static str = "imap";

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<Secure>,
        tx: &mut SendBuffer,
        shown: &mut Shown,
    ) {
        match event {
            Event::Capabilities => {
                let id = match self.how.take() {
                    Some(How::Known(credentials)) => {
                        shown.debug(&credentials);
                        client.authenticate(LoginMethod::Strongest, &credentials, tx).unwrap()
                    }
                    Some(How::Custom) => {
                        client.authenticate_with(Box::new(careless_mechanism::Client::new()), tx).unwrap()
                    }
                    None => return,
                };
                shown.debug(&id);
            }
            Event::Auth(outcome) => {
                self.ended = Some(matches!(outcome, AuthOutcome::Accepted { .. }));
                client.send(&Command::Noop, tx).unwrap();
                client.logout(tx).unwrap();
            }
            _ => {}
        }
    }
}

/// Gives every client the same answer.
struct TestServer(Answer);

impl TestServer {
    fn answer<C: Channel>(
        event: server::Event<'_, C>,
        server: &mut Server<C>,
        tx: &mut SendBuffer,
        shown: &mut Shown,
    ) {
        match event {
            server::Event::Command(_, reply) => {
                server
                    .reply(reply, &StatusResponse::new(Condition::Ok, Text::first_line("done")), tx)
                    .unwrap();
            }
            server::Event::Unparsed(unparsed) => shown.display(&unparsed),
            _ => {}
        }
    }
}

impl Application<Server<Secure>> for TestServer {
    const PROTOCOL: &'static str = "imap";

    fn event(
        &mut self,
        event: server::Event<'_, Secure>,
        server: &mut Server<Secure>,
        tx: &mut SendBuffer,
        shown: &mut Shown,
    ) {
        match event {
            server::Event::Auth(request) => {
                shown.debug(&(&request, request.question()));
                let verdict = self.0.verdict(&request);
                let _ = server.answer_auth(request, verdict, tx);
            }
            event => Self::answer(event, server, tx, shown),
        }
    }
}

impl Application<Server<Cleartext>> for TestServer {
    const PROTOCOL: &'static str = "imap";

    fn event(
        &mut self,
        event: server::Event<'_, Cleartext>,
        server: &mut Server<Cleartext>,
        tx: &mut SendBuffer,
        shown: &mut Shown,
    ) {
        match event {
            server::Event::StartTls(request) => server.refuse_starttls(request, tx).unwrap(),
            event => Self::answer(event, server, tx, shown),
        }
    }
}

fn config() -> Config {
    let mut waits = Waits::default();
    waits.delay = Duration::ZERO;
    // So short that a line beyond it takes little time, byte by byte.
    let mut limits = Limits::default();
    limits.line = 4096;
    Config::default()
        .waits(waits)
        .limits(limits)
        .offered_mechanisms(Mechanisms::all())
        .with_mechanism(Arc::new(careless_mechanism::Careless))
}

fn session(name: String, client: Config, server: Config, who: How, answer: Answer, size: usize) {
    let mut shown = Shown::new(format!("{name}, {answer:?}, pieces of {size}"));
    shown.debug(&(&client, &server));
    let client = Client::<Secure>::new(Arc::new(client), channel());
    let mut tx = SendBuffer::new();
    let server = Server::<Secure>::new(server, channel(), &mut tx);
    let asking = TestClient { how: Some(who), ended: None };
    let mut client = Side::new(client, SendBuffer::new(), Role::Client, asking);
    let mut server = Side::new(server, tx, Role::Server, TestServer(answer));
    talk(&mut client, &mut server, size, &mut shown);
    assert_eq!(client.application.ended, Some(answer == Answer::Accept), "{name}, {answer:?}");
    assert!(client.machine.is_closed(), "{name}: {:?}", client.machine);
    shown.end(search());
}

#[test]
fn no_mechanism_shows_a_secret() {
    for mechanism in mechanisms() {
        let only = Mechanisms::NONE.with(mechanism);
        for sasl_ir in [SaslIr::Auto, SaslIr::Never] {
            for (answer, &size) in Answer::ALL
                .into_iter()
                .flat_map(|answer| sizes(mechanism).iter().map(move |size| (answer, size)))
            {
                let who = how(mechanism, PASSWORDS[2]);
                let client = config().mechanisms(only).sasl_ir(sasl_ir);
                session(format!("{mechanism} {sasl_ir:?}"), client, config(), who, answer, size);
            }
        }
    }
}

#[test]
fn login_command_shows_no_secret() {
    for password in PASSWORDS {
        for (answer, size) in Answer::ALL.into_iter().flat_map(|answer| SIZES.map(|size| (answer, size))) {
            let none = || config().mechanisms(Mechanisms::NONE);
            let who = How::Known(Credentials::password(USER, password.as_bytes()));
            session("LOGIN".into(), none(), none(), who, answer, size);
        }
    }
}

/// A server that receives these lines: under TLS it gives this answer; without an answer it is in cleartext.
pub(crate) fn facing(lines: &[&[u8]], answer: Option<Answer>, cut: Cut, shown: &mut Shown) {
    let (config, mut tx) = (config(), SendBuffer::new());
    match answer {
        Some(answer) => {
            let server = Server::<Secure>::new(config, channel(), &mut tx);
            face(&mut Side::new(server, tx, Role::Server, TestServer(answer)), lines, cut, shown);
        }
        None => {
            let server = Server::<Cleartext>::new(config, &mut tx);
            face(&mut Side::new(server, tx, Role::Server, TestServer(Answer::Accept)), lines, cut, shown);
        }
    }
}

/// A server that receives these lines, under TLS and in cleartext, in pieces of every size.
fn serve(lines: &[&[u8]]) {
    for size in SIZES {
        for answer in Answer::ALL.map(Some).into_iter().chain([None]) {
            let mut shown = Shown::new(format!("{}, {answer:?}, pieces of {size}", lines[0].escape_ascii()));
            facing(lines, answer, Cut::Every(size), &mut shown);
            shown.end(search());
        }
    }
}

/// How clients use credentials, correctly or not: their output, one string per turn.
pub(crate) fn scripts() -> Vec<Vec<String>> {
    let plain = base64(&format!("\0{USER}\0{}", PASSWORDS[0]));
    let (user, password) = (base64(USER), base64(PASSWORDS[0]));
    let token = base64(&format!("user={USER}\x01auth=Bearer {TOKEN}\x01\x01"));
    vec![
        // LOGIN as atoms, quoted, and as literals of both kinds.
        vec![format!("a LOGIN {USER} {}\r\n", PASSWORDS[0])],
        vec![format!("a login \"{USER}\" \"{}\"\r\n", PASSWORDS[0])],
        vec![format!("a LOGIN {USER} {{14+}}\r\n{}\r\n", PASSWORDS[0])],
        vec![format!("a LOGIN {{16}}\r\n"), format!("{USER} {{14}}\r\n"), format!("{}\r\n", PASSWORDS[0])],
        // Malformed LOGIN.
        vec![format!("a LOGIN {USER}\r\n")],
        vec![format!("a LOGIN {USER} {} more\r\n", PASSWORDS[0])],
        vec![format!("a LOGIN {USER} \"{}\r\n", PASSWORDS[0])],
        vec![format!("a LOGIN {USER} {}\r\n", PASSWORDS[1])],
        vec![format!("a LOGIN {USER} {}\r\n", PASSWORDS[2])],
        vec![format!("a LOGIN {USER} {{999999999999}}\r\n{}\r\n", PASSWORDS[0])],
        vec![format!("a LOGIN {USER} {{4+}}\r\n{}\r\n", PASSWORDS[0])],
        vec![format!("a  LOGIN {USER} {}\r\n", PASSWORDS[0])],
        vec![format!("LOGIN {USER} {}\r\n", PASSWORDS[0])],
        vec![format!("a LOGIN {USER} {}\n", PASSWORDS[0])],
        vec![format!("a LOGIN {USER} {}", PASSWORDS[0])],
        vec![format!("a LOGIN {USER} {}{}\r\n", PASSWORDS[0], "x".repeat(5_000))],
        vec![format!("a LOGIN {USER} {}\r\nb LOGIN {USER} {0}\r\n", PASSWORDS[0])],
        // AUTHENTICATE with and without an initial response, and cancelled.
        vec![format!("a AUTHENTICATE PLAIN {plain}\r\n")],
        vec!["a AUTHENTICATE PLAIN\r\n".into(), format!("{plain}\r\n")],
        vec!["a AUTHENTICATE LOGIN\r\n".into(), format!("{user}\r\n"), format!("{password}\r\n")],
        vec!["a AUTHENTICATE LOGIN\r\n".into(), format!("{user}\r\n"), "*\r\n".into()],
        vec![format!("a AUTHENTICATE LOGIN {user}\r\n"), format!("{password}\r\n")],
        vec![format!("a AUTHENTICATE XOAUTH2 {token}\r\n"), "\r\n".into()],
        // Malformed AUTHENTICATE.
        vec![format!("a AUTHENTICATE SCRAM-SHA-256 {plain}\r\n")],
        vec![format!("a AUTHENTICATE PLAIN {plain} {plain}\r\n")],
        vec![format!("a AUTHENTICATE PLAIN !{plain}\r\n")],
        vec![format!("a AUTHENTICATE {plain}\r\n")],
        vec!["a AUTHENTICATE PLAIN\r\n".into(), format!("!{plain}\r\n")],
        vec!["a AUTHENTICATE PLAIN\r\n".into(), format!("{plain}\n")],
        vec!["a AUTHENTICATE PLAIN\r\n".into(), plain.clone()],
        vec!["a AUTHENTICATE XOAUTH2\r\n".into(), format!("{plain}\r\n")],
        vec!["a AUTHENTICATE NOSUCH\r\n".into(), format!("{plain}\r\n")],
        // A secret in place of a command, or of a part of one.
        vec!["a AUTHENTICATE NOSUCH\r\n".into(), format!("{USER} {}\r\n", PASSWORDS[0])],
        vec!["a LOGIN {5}\r\n".into(), format!("{} NOOP\r\n", PASSWORDS[0])],
        vec!["a LOGIN {5}\r\n".into(), format!("b SELECT ({}\r\n", PASSWORDS[0])],
        vec!["a LOGIN {5}\r\n".into(), format!("{} SELECT\r\n", PASSWORDS[0])],
    ]
}

#[test]
fn server_shows_no_part_of_clients_credentials() {
    for script in scripts() {
        let lines: Vec<&[u8]> = script.iter().map(String::as_bytes).collect();
        serve(&lines);
    }
}

#[test]
fn parse_results_show_no_credentials() {
    for script in scripts() {
        let frame = script.concat().into_bytes();
        for context in [Context::strict(), Context::tolerant()] {
            let mut shown = Shown::new(frame.escape_ascii().to_string());
            shown.passed(&frame);
            match parse::authentication(&frame, &context) {
                Ok(read) => shown.debug(&read),
                Err(unparsed) => {
                    shown.debug(&unparsed);
                    shown.display(&unparsed);
                }
            }
            shown.end(search());
        }
    }
}

const INITIAL: &[u8] = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n";
const WITHOUT: &[u8] = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n";
const LOGIN: &[u8] = b"* OK [CAPABILITY IMAP4rev1] hi\r\n";

/// How servers answer a client that logs in, correctly or not.
pub(crate) const ANSWERS: [&[&[u8]]; 12] = [
    &[INITIAL, b"M1 OK in\r\n"],
    &[INITIAL, b"M1 NO [AUTHENTICATIONFAILED] no\r\n"],
    &[INITIAL, b"M1 BAD what\r\n"],
    &[INITIAL, b"+ YWdhaW4=\r\n", b"M1 NO enough\r\n"],
    &[INITIAL, b"* BYE too many\r\n"],
    &[INITIAL, b"M9 OK in\r\n"],
    &[WITHOUT, b"+ \r\n", b"M1 OK [CAPABILITY IMAP4rev1] in\r\n"],
    &[WITHOUT, b"+ \r\n", b"+ \r\n", b"M1 BAD cancelled\r\n"],
    &[WITHOUT, b"+ \r\n"],
    &[LOGIN, b"+ go on\r\n", b"M1 NO no\r\n"],
    &[LOGIN, b"+ go on\r\n"],
    &[LOGIN, b"M1 OK in\r\n"],
];

/// A client with this password that receives these lines.
pub(crate) fn asking(lines: &[&[u8]], password: &str, cut: Cut, shown: &mut Shown) {
    let client = Client::<Secure>::new(Arc::new(config()), channel());
    let who = How::Known(Credentials::password(USER, password.as_bytes()));
    let asking = TestClient { how: Some(who), ended: None };
    let mut client = Side::new(client, SendBuffer::new(), Role::Client, asking);
    face(&mut client, lines, cut, shown);
    assert!(client.application.ended.is_some() || client.error().is_some(), "{lines:?}");
}

#[test]
fn client_shows_no_secret_whatever_the_server_answers() {
    for lines in ANSWERS {
        for (size, password) in SIZES.into_iter().flat_map(|size| PASSWORDS.map(|password| (size, password)))
        {
            let mut shown = Shown::new(format!("{}, pieces of {size}", lines[1].escape_ascii()));
            asking(lines, password, Cut::Every(size), &mut shown);
            shown.end(search());
        }
    }
}

fn base64(text: &str) -> String {
    String::from_utf8(proto_mail::sasl::encode_base64(text.as_bytes()).expose().clone()).unwrap()
}
