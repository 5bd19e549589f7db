//! SMTP and LMTP sessions that carry secrets: AUTH in every form, and every way in which it fails.

use std::sync::Arc;
use std::time::Duration;

use proto_mail::{Channel, Cleartext, Credentials, Mechanism, Mechanisms, Secure, SendBuffer};
use proto_smtp::client::{AuthOutcome, Client, Event};
use proto_smtp::server::{self, Server};
use proto_smtp::types::{Command, Response};
use proto_smtp::{Config, Dialect, InitialResponse, Waits};

use io_mio::trace::Role;

use crate::session::{Application, Cut, Shown, Side, face, talk};
use crate::{
    Answer, How, PASSWORDS, SIZES, TOKEN, USER, careless_mechanism, channel, how, mechanisms, search, sizes,
};

/// Authenticates once, as soon as it may.
struct TestClient {
    mechanism: Mechanism,
    how: Option<How>,
    /// Whether it was accepted, once the answer has come.
    ended: Option<bool>,
}

impl Application<Client<Secure>> for TestClient {
    const PROTOCOL: &'static str = "smtp";

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<Secure>,
        tx: &mut SendBuffer,
        shown: &mut Shown,
    ) {
        match event {
            Event::Capabilities(_) => match self.how.take() {
                Some(How::Known(credentials)) => {
                    shown.debug(&credentials);
                    client.authenticate(self.mechanism, credentials, tx).unwrap();
                }
                Some(How::Custom) => {
                    client.authenticate_with(Box::new(careless_mechanism::Client::new()), tx).unwrap()
                }
                None => {}
            },
            Event::Auth(outcome) => {
                self.ended = Some(matches!(outcome, AuthOutcome::Accepted(_)));
                shown.debug(&client.authentication_failure());
                client.noop(tx).unwrap();
            }
            Event::Accepted(proto_smtp::client::Step::Noop, _) => client.quit(tx).unwrap(),
            _ => {}
        }
    }
}

/// Gives every client the same answer.
struct TestServer(Answer);

impl TestServer {
    fn answer<C: Channel>(event: server::Event<'_, C>, server: &mut Server<C>, tx: &mut SendBuffer) {
        use server::Event;
        match event {
            Event::Mail(_, reply)
            | Event::Rcpt(_, reply)
            | Event::DataEnd(reply)
            | Event::Vrfy(_, reply)
            | Event::Help(_, reply) => {
                server.reply(reply, &Response::ok(), tx).unwrap();
            }
            Event::Data(reply) => server.reply(reply, &Response::start_data(), tx).unwrap(),
            _ => {}
        }
    }
}

impl Application<Server<Secure>> for TestServer {
    const PROTOCOL: &'static str = "smtp";

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
            event => {
                if let server::Event::Refused(_, response) = &event {
                    shown.display(response);
                }
                Self::answer(event, server, tx);
            }
        }
    }
}

impl Application<Server<Cleartext>> for TestServer {
    const PROTOCOL: &'static str = "smtp";

    fn event(
        &mut self,
        event: server::Event<'_, Cleartext>,
        server: &mut Server<Cleartext>,
        tx: &mut SendBuffer,
        _: &mut Shown,
    ) {
        match event {
            server::Event::StartTls(request) => server.refuse_starttls(request, tx).unwrap(),
            event => Self::answer(event, server, tx),
        }
    }
}

fn config(dialect: Dialect) -> Config {
    let mut waits = Waits::default();
    waits.delay = Duration::ZERO;
    Config::default()
        .optional_authentication()
        .waits(waits)
        .dialect(dialect)
        .offered_mechanisms(Mechanisms::all())
        .with_mechanism(Arc::new(careless_mechanism::Careless))
}

fn session(client: Config, server: Config, mechanism: Mechanism, answer: Answer, size: usize) {
    let mut shown =
        Shown::new(format!("{mechanism}, {answer:?}, pieces of {size}, {:?}", client.initial_response));
    shown.debug(&(&client, &server));
    let mut tx = SendBuffer::new();
    let server = Server::<Secure>::new(server, channel(), &mut tx);
    let mut server = Side::new(server, tx, Role::Server, TestServer(answer));
    let client = Client::<Secure>::new(client, channel());
    let asking = TestClient { mechanism, how: Some(how(mechanism, PASSWORDS[2])), ended: None };
    let mut client = Side::new(client, SendBuffer::new(), Role::Client, asking);
    talk(&mut client, &mut server, size, &mut shown);
    assert_eq!(client.application.ended, Some(answer == Answer::Accept), "{mechanism}, {answer:?}");
    assert!(client.machine.is_closed(), "{:?}", client.machine);
    shown.end(search());
}

#[test]
fn no_mechanism_shows_a_secret() {
    for (mechanism, initial) in mechanisms()
        .flat_map(|one| [InitialResponse::Short, InitialResponse::Never].map(|initial| (one, initial)))
    {
        for (answer, &size) in
            Answer::ALL.into_iter().flat_map(|answer| sizes(mechanism).iter().map(move |size| (answer, size)))
        {
            let client = config(Dialect::Smtp).initial_response(initial);
            session(client, config(Dialect::Smtp), mechanism, answer, size);
        }
        let lmtp = config(Dialect::Lmtp).initial_response(initial);
        session(lmtp, config(Dialect::Lmtp), mechanism, Answer::Accept, 1);
    }
}

/// A server that receives these lines: under TLS it gives this answer; without an answer it is in cleartext.
pub(crate) fn facing(lines: &[&[u8]], answer: Option<Answer>, cut: Cut, shown: &mut Shown) {
    let mut tx = SendBuffer::new();
    match answer {
        Some(answer) => {
            let server = Server::<Secure>::new(config(Dialect::Smtp), channel(), &mut tx);
            face(&mut Side::new(server, tx, Role::Server, TestServer(answer)), lines, cut, shown);
        }
        None => {
            let server = Server::<Cleartext>::new(config(Dialect::Smtp), &mut tx);
            face(&mut Side::new(server, tx, Role::Server, TestServer(Answer::Accept)), lines, cut, shown);
        }
    }
}

/// A server that receives these lines, under TLS and in cleartext, in pieces of every size.
fn serve(lines: &[&[u8]]) {
    for size in SIZES {
        for answer in Answer::ALL.map(Some).into_iter().chain([None]) {
            let mut shown = Shown::new(format!("{}, {answer:?}, pieces of {size}", lines[1].escape_ascii()));
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
        vec![format!("AUTH PLAIN {plain}\r\n")],
        vec!["AUTH PLAIN\r\n".into(), format!("{plain}\r\n")],
        vec!["AUTH LOGIN\r\n".into(), format!("{user}\r\n"), format!("{password}\r\n")],
        vec!["AUTH LOGIN\r\n".into(), format!("{user}\r\n"), "*\r\n".into()],
        vec![format!("auth login {user}\r\n"), format!("{password}\r\n")],
        vec![format!("AUTH XOAUTH2 {token}\r\n"), "\r\n".into()],
        vec![format!("AUTH PLAIN {plain}\r\nAUTH PLAIN {plain}\r\n")],
        // Malformed AUTH.
        vec![format!("AUTH SCRAM-SHA-256 {plain}\r\n")],
        vec![format!("AUTH PLAIN {plain} {plain}\r\n")],
        vec![format!("AUTH PLAIN !{plain}\r\n")],
        vec![format!("AUTH PLAIN={plain}\r\n")],
        vec![format!("AUTH {plain}\r\n")],
        vec![format!("AUTH  PLAIN {plain}\r\n")],
        vec![format!("AUTH PLAIN {plain}\n")],
        vec![format!("AUTH PLAIN {plain}\0\r\n")],
        vec![format!("AUTH PLAIN {plain}")],
        vec![format!("AUTH PLAIN {plain}{}\r\n", "A".repeat(13_000))],
        vec!["AUTH PLAIN\r\n".into(), format!("!{plain}\r\n")],
        vec!["AUTH PLAIN\r\n".into(), format!("{plain}\n\r\n")],
        vec!["AUTH PLAIN\r\n".into(), plain.clone()],
        vec!["AUTH XOAUTH2\r\n".into(), format!("{plain}\r\n")],
        vec!["AUTH NOSUCH\r\n".into(), format!("{plain}\r\n")],
        vec![format!("{plain}\r\n")],
        vec![format!("{} {}\r\n", USER, PASSWORDS[0])],
    ]
}

#[test]
fn server_shows_no_part_of_clients_credentials() {
    for script in scripts() {
        let lines: Vec<&[u8]> =
            [&b"EHLO c.example\r\n"[..]].into_iter().chain(script.iter().map(String::as_bytes)).collect();
        serve(&lines);
    }
}

#[test]
fn parse_results_show_no_credentials() {
    for line in scripts().iter().flatten().filter(|line| line.to_uppercase().starts_with("AUTH ")) {
        if search().find(line.as_bytes()).is_none() {
            continue;
        }
        let mut shown = Shown::new(line.as_str());
        shown.passed(line.as_bytes());
        match Command::parse(line.trim_end().as_bytes()) {
            Ok(command) => shown.debug(&command),
            Err(error) => {
                shown.debug(&error);
                shown.display(&error);
            }
        }
        shown.end(search());
    }
}

/// How servers answer a client that sent AUTH, correctly or not.
pub(crate) const ANSWERS: [&[&[u8]]; 9] = [
    &[b"235 2.7.0 welcome\r\n"],
    &[b"535 5.7.8 no\r\n"],
    &[b"334 YWdhaW4=\r\n", b"501 cancelled\r\n"],
    &[b"334 !!\r\n", b"235 in\r\n"],
    &[b"334-YWdhaW4=\r\n334 YWdhaW4=\r\n", b"501 cancelled\r\n"],
    &[b"250 in\r\n"],
    &[b"421 too many\r\n"],
    &[b"hello\r\n"],
    &[],
];

/// A client that receives these lines after its AUTH.
pub(crate) fn asking(lines: &[&[u8]], initial: InitialResponse, cut: Cut, shown: &mut Shown) {
    let config = config(Dialect::Smtp).initial_response(initial);
    let client = Client::<Secure>::new(config, channel());
    let who = How::Known(Credentials::password(USER, PASSWORDS[1].as_bytes()));
    let asking = TestClient { mechanism: Mechanism::Plain, how: Some(who), ended: None };
    let mut client = Side::new(client, SendBuffer::new(), Role::Client, asking);
    let greeting: &[&[u8]] = &[b"220 mx.example\r\n", b"250-mx.example\r\n250 AUTH PLAIN LOGIN\r\n"];
    let prompt: &[&[u8]] = match initial {
        InitialResponse::Short => &[],
        _ => &[b"334 \r\n"],
    };
    face(&mut client, &[greeting, prompt, lines].concat(), cut, shown);
}

#[test]
fn client_shows_no_secret_whatever_the_server_answers() {
    for lines in ANSWERS {
        for (size, initial) in SIZES
            .into_iter()
            .flat_map(|size| [InitialResponse::Short, InitialResponse::Never].map(|initial| (size, initial)))
        {
            let mut shown = Shown::new(format!("{lines:?}, pieces of {size}, {initial:?}"));
            asking(lines, initial, Cut::Every(size), &mut shown);
            shown.end(search());
        }
    }
}

fn base64(text: &str) -> String {
    String::from_utf8(proto_mail::sasl::encode_base64(text.as_bytes()).expose().clone()).unwrap()
}
