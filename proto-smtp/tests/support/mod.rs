//! Shared by the tests: an application for each role, and the check that the split of the input changes nothing.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proto_mail::token::{AuthQuestion, AuthVerdict};
use proto_mail::{Cleartext, Credentials, Error, RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, Event as ClientEvent};
use proto_smtp::server::{Event, Reply, Server};
use proto_smtp::types::Response;
use proto_smtp::{Config, Waits};

/// The record of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The events as text; adjacent parts of a message are joined.
    pub events: Vec<String>,
    /// The output.
    pub output: String,
    /// The error, if there was one.
    pub error: Option<Error>,
}

impl Record {
    /// Whether an event begins with this text.
    pub fn has(&self, event: &str) -> bool {
        self.events.iter().any(|seen| seen.starts_with(event))
    }

    /// The codes of all replies; a multi-line reply counts once.
    pub fn codes(&self) -> Vec<u16> {
        self.output
            .split_terminator("\r\n")
            .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
            .map(|line| line.get(..3).unwrap().parse().unwrap())
            .collect()
    }

    fn note(&mut self, event: String) {
        match (self.events.last_mut(), event.strip_prefix("chunk ")) {
            (Some(last), Some(more)) if last.starts_with("chunk ") => last.push_str(more),
            _ => self.events.push(event),
        }
    }
}

/// The settings of most tests: nothing is delayed.
pub fn config() -> Config {
    let mut waits = Waits::default();
    waits.delay = std::time::Duration::ZERO;
    Config::default().waits(waits).optional_authentication()
}

/// An application that accepts everything except recipients that begin with "no" and passwords other than "secret".
pub trait Answer: Sized {
    fn answer(&mut self, event: Event<'_, Self::Channel>, tx: &mut SendBuffer) -> String;
    type Channel: proto_mail::Channel;
}

fn plain<C: proto_mail::Channel>(server: &mut Server<C>, event: Event<'_, C>, tx: &mut SendBuffer) -> String {
    let yes = Response::ok();
    let mut say = |reply: Reply, response: &Response<'_>| server.reply(reply, response, tx).unwrap();
    match event {
        Event::Hello(verb, name) => format!("{verb:?} {name}"),
        Event::Mail(mail, reply) => {
            say(reply, &yes);
            format!("mail {} {:?} {:?}", mail.from, mail.size, mail.body)
        }
        Event::Rcpt(rcpt, reply) => {
            let good = !rcpt.to.as_str().starts_with("no");
            say(reply, &if good { yes } else { Response::no_such_mailbox() });
            format!("rcpt {}", rcpt.to)
        }
        Event::Data(reply) => {
            say(reply, &Response::start_data());
            "data".into()
        }
        Event::DataChunk(bytes) => {
            assert!(!bytes.is_empty(), "a piece has bytes");
            format!("chunk {}", bytes.escape_ascii())
        }
        Event::DataEnd(reply) => {
            say(reply, &yes);
            "end".into()
        }
        Event::Vrfy(text, reply) | Event::Expn(text, reply) | Event::Help(text, reply) => {
            say(reply, &yes);
            format!("vrfy {text}")
        }
        Event::Etrn(node, reply) => {
            say(reply, &yes);
            format!("etrn {node}")
        }
        Event::Burl(url, end, reply) => {
            let good = !url.expose().contains("no");
            say(reply, &if good { yes } else { "554 5.6.6 not there".parse().unwrap() });
            format!("burl {} {end:?}", url.expose())
        }
        Event::XClient(said, reply) | Event::XForward(said, reply) => {
            say(reply, &yes);
            format!("{said:?}")
        }
        Event::Refused(verb, response) => format!("refused {verb:?} {response}"),
        Event::Reset => "reset".into(),
        Event::Closed => "closed".into(),
        Event::Auth(_) | Event::StartTls(_) => panic!("answered elsewhere"),
    }
}

impl Answer for Server<Cleartext> {
    type Channel = Cleartext;

    fn answer(&mut self, event: Event<'_, Cleartext>, tx: &mut SendBuffer) -> String {
        match event {
            Event::StartTls(request) => {
                self.refuse_starttls(request, tx).unwrap();
                "starttls".into()
            }
            event => plain(self, event, tx),
        }
    }
}

impl Answer for Server<Secure> {
    type Channel = Secure;

    fn answer(&mut self, event: Event<'_, Secure>, tx: &mut SendBuffer) -> String {
        match event {
            Event::Auth(request) => {
                let AuthQuestion::Verify(credentials) = request.question() else { panic!("not asked here") };
                let (good, who) = match credentials {
                    Credentials::Password { username, password, .. } => {
                        (password.expose() == b"secret", username)
                    }
                    Credentials::Bearer { username, token } => (token.expose() == "token", username),
                    _ => panic!("not asked here"),
                };
                let text = format!("auth {} {who} {good}", request.mechanism());
                let verdict = if good { AuthVerdict::Accept } else { AuthVerdict::Reject };
                self.answer_auth(request, verdict, tx).unwrap();
                text
            }
            event => plain(self, event, tx),
        }
    }
}

/// Processes all events of a server. Its output is sent at once.
pub fn pump<C: proto_mail::Channel>(
    server: &mut Server<C>,
    rx: &mut RecvBuffer,
    tx: &mut SendBuffer,
    record: &mut Record,
) where
    Server<C>: Answer<Channel = C>,
{
    loop {
        let event = server.next_event(rx, tx);
        match event {
            Ok(Some(event)) => {
                let text = server.answer(event, tx);
                record.note(text);
            }
            Ok(None) => {
                let sent = tx.take();
                record.output.push_str(std::str::from_utf8(&sent).unwrap());
                if sent.is_empty() {
                    return;
                }
            }
            Err(error) => {
                let sent = tx.take();
                record.output.push_str(std::str::from_utf8(&sent).unwrap());
                assert_eq!(server.next_event(rx, tx).unwrap_err(), error, "the error stays");
                record.error = Some(error);
                return;
            }
        }
    }
}

/// A session on cleartext that receives these pieces.
pub fn serve_cleartext(config: &Config, pieces: &[&[u8]]) -> Record {
    let mut tx = SendBuffer::new();
    serve(Server::<Cleartext>::new(config.clone(), &mut tx), tx, pieces)
}

/// A session under TLS that receives these pieces.
pub fn serve_secure(config: &Config, pieces: &[&[u8]]) -> Record {
    let mut tx = SendBuffer::new();
    serve(Server::<Secure>::new(config.clone(), Secure::trusted_local(), &mut tx), tx, pieces)
}

/// A session under TLS that receives these pieces.
pub fn serve_trusting(config: &Config, pieces: &[&[u8]]) -> Record {
    let mut tx = SendBuffer::new();
    let mut server = Server::<Secure>::new(config.clone(), Secure::trusted_local(), &mut tx);
    server.offer(config.extensions);
    serve(server, tx, pieces)
}

fn serve<C: proto_mail::Channel>(mut server: Server<C>, mut tx: SendBuffer, pieces: &[&[u8]]) -> Record
where
    Server<C>: Answer<Channel = C>,
{
    let (mut rx, mut record) = (RecvBuffer::new(), Record::default());
    pump(&mut server, &mut rx, &mut tx, &mut record);
    for piece in pieces {
        rx.extend(piece);
        pump(&mut server, &mut rx, &mut tx, &mut record);
    }
    rx.close();
    pump(&mut server, &mut rx, &mut tx, &mut record);
    record
}

/// Checks the invariant: whole, in two at every place, byte by byte, and at random, the result is the same.
pub fn every_split<T: PartialEq + std::fmt::Debug>(input: &[u8], run: impl Fn(&[&[u8]]) -> T) -> T {
    let whole = run(&[input]);
    for split in 1..input.len() {
        let (head, tail) = input.split_at(split);
        assert_eq!(run(&[head, tail]), whole, "in two at {split}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(run(&bytes), whole, "byte by byte");
    let mut seed = 7u64;
    for _ in 0..20 {
        let mut pieces = Vec::new();
        let mut rest = input;
        while !rest.is_empty() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (piece, behind) = rest.split_at((seed >> 33) as usize % rest.len().min(17) + 1);
            pieces.push(piece);
            rest = behind;
        }
        assert_eq!(run(&pieces), whole, "at random");
    }
    whole
}

/// Describes an event of a client.
pub fn describe(event: &ClientEvent<'_>) -> String {
    match event {
        ClientEvent::Greeting(response) => format!("greeting {response}"),
        ClientEvent::Capabilities(extensions) => format!("extensions {:?}", extensions.extensions()),
        ClientEvent::Accepted(step, response) => format!("accepted {step:?} {response}"),
        ClientEvent::Rejected(step, response) => format!("rejected {step:?} {response}"),
        ClientEvent::SendData(response) => format!("send {response}"),
        ClientEvent::Delivered(recipient, response) => format!("delivered {recipient:?} {response}"),
        ClientEvent::Auth(outcome) => format!("{outcome:?}"),
        ClientEvent::Closed(response) => format!("closed {response:?}"),
        _ => panic!("unknown event"),
    }
}

/// Runs a client against a script of the server: each line is received when the client has nothing more to do. `act`
/// is called with each event.
pub fn run_client<C: proto_mail::Channel>(
    mut client: Client<C>,
    script: &[&[u8]],
    mut act: impl FnMut(&ClientEvent<'_>, &mut Client<C>, &mut SendBuffer),
) -> Record {
    let (mut rx, mut tx, mut record) = (RecvBuffer::new(), SendBuffer::new(), Record::default());
    let mut script = script.iter();
    loop {
        match client.next_event(&mut rx, &mut tx) {
            Ok(Some(event)) => {
                record.events.push(describe(&event));
                act(&event, &mut client, &mut tx);
            }
            Ok(None) => {
                record.output.push_str(std::str::from_utf8(&tx.take()).unwrap());
                match script.next() {
                    Some(line) => rx.extend(line),
                    None if rx.is_closed() => return record,
                    None => rx.close(),
                }
            }
            Err(error) => {
                record.output.push_str(std::str::from_utf8(&tx.take()).unwrap());
                assert_eq!(client.next_event(&mut rx, &mut tx).unwrap_err(), error, "the error stays");
                record.error = Some(error);
                return record;
            }
        }
    }
}
