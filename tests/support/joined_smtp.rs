//! SMTP and LMTP, both sides joined: the client's result for a recipient must match what the server's application
//! did.

use std::collections::BTreeMap;

use bytes::Bytes;
use proto_mail::{Error, Limits, RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, Event, NotSent, Outcome, Progress, Transaction};
use proto_smtp::server::{Event as Asked, Reply, Server};
use proto_smtp::types::{Address, Code, Extension, Mail, Rcpt, Response, Verb};
use proto_smtp::{Config, Dialect, Pipelining};

use crate::joined::{Fault, Wire};
use crate::play::{Choices, channel};

/// More steps than both sides ever need.
const STEPS: usize = 20_000;

/// The messages that clients send.
const MESSAGES: [&[u8]; 5] =
    [b"x\r\n", b".\r\n..\r\n.x\r\n", b"", b"x\r\n.\r\nQUIT\r\nRSET\r\n", b"\r\n.x\r\n\r\n"];

/// Plays the conversation to its end.
///
/// # Panics
/// If the client reports a result for a recipient that did not happen.
pub fn run(mut client: Choices, server: Choices, mut wire: Wire) {
    let dialect = if client.pick(2) == 0 { Dialect::Smtp } else { Dialect::Lmtp };
    let pipelining =
        [Pipelining::WithData, Pipelining::Envelope, Pipelining::Off][usize::from(client.pick(3))];
    let mut limits = Limits::default();
    limits.errors = u32::MAX;
    let config =
        Config::default().dialect(dialect).optional_authentication().pipelining(pipelining).limits(limits);
    let extensions = config.extensions.with(Extension::Prdr);
    let config = config.extensions(extensions);
    let (mut to_client, mut to_server) = (RecvBuffer::new(), RecvBuffer::new());
    let (mut from_client, mut from_server) = (SendBuffer::new(), SendBuffer::new());
    let mut serving =
        TestServer::new(Server::<Secure>::new(config.clone(), channel(), &mut from_server), dialect, server);
    let mut asking = TestClient::new(Client::<Secure>::new(config, channel()), client);
    for step in 0.. {
        assert!(step < STEPS, "neither side finishes");
        let mut moved = serving.step(&mut to_server, &mut from_server);
        moved |= asking.step(&mut to_client, &mut from_client);
        moved |= wire.carry(&mut from_client, &mut to_server);
        moved |= wire.carry(&mut from_server, &mut to_client);
        let over = serving.over || asking.over;
        if !moved && (wire.is_cut() || over || wire.fault() != Fault::None) {
            break;
        }
        assert!(moved, "both wait: {asking:?}");
    }
    asking.lost(&from_client);
    if matches!(wire.fault(), Fault::None | Fault::Cut) {
        asking.judge(&serving, wire.fault());
    }
}

#[derive(Debug)]
struct TestClient {
    client: Client<Secure>,
    choices: Choices,
    letters: Vec<Transaction>,
    messages: Vec<&'static [u8]>,
    over: bool,
}

impl TestClient {
    fn new(client: Client<Secure>, choices: Choices) -> Self {
        Self { client, choices, letters: Vec::new(), messages: Vec::new(), over: false }
    }

    fn step(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> bool {
        if self.over {
            return false;
        }
        let progress = match self.client.next_event(rx, tx) {
            Ok(Some(Event::Greeting(_))) => return true,
            Ok(Some(Event::Capabilities(_))) => self.next(tx),
            Ok(Some(event)) => {
                let ended = matches!(event, Event::Closed(_));
                let Some(letter) = self.letters.last_mut() else {
                    self.over |= ended;
                    return true;
                };
                let progress = letter.event(&event, &mut self.client, tx);
                self.over |= ended || self.client.is_closed();
                if letter.is_done() && !self.over && self.client.is_idle() { self.next(tx) } else { progress }
            }
            Ok(None) => return false,
            Err(_) => {
                self.over = true;
                return true;
            }
        };
        self.write(progress, tx);
        true
    }

    fn write(&mut self, progress: Result<Progress, Error>, tx: &mut SendBuffer) {
        match progress {
            Ok(Progress::SendData) => {
                let message = self.messages.last().copied().unwrap_or_default();
                let written = self.client.data_writer().and_then(|mut writer| {
                    writer.write_payload(&Bytes::from_static(message), tx)?;
                    writer.finish(tx)
                });
                self.over |= written.is_err();
            }
            Ok(_) => {}
            Err(_) => self.over = true,
        }
    }

    /// Starts the next message, or ends the session.
    fn next(&mut self, tx: &mut SendBuffer) -> Result<Progress, Error> {
        loop {
            let number = self.letters.len();
            if number == 4 || self.choices.pick(4) == 3 {
                self.client.quit(tx)?;
                return Ok(Progress::Continue);
            }
            let Some((mut letter, message)) = self.letter(number) else { return Ok(Progress::Done) };
            let progress = letter.start(&mut self.client, tx);
            self.letters.push(letter);
            self.messages.push(message);
            if progress != Ok(Progress::Done) {
                return progress;
            }
        }
    }

    fn letter(&mut self, number: usize) -> Option<(Transaction, &'static [u8])> {
        let message = MESSAGES[usize::from(self.choices.pick(MESSAGES.len() as u8))];
        let (way, recipients) = (self.choices.pick(4), self.choices.pick(3) + 1);
        let mail = Mail::new(address(0, number)?);
        let mail = if way & 1 == 1 { mail.with_prdr() } else { mail };
        let letter = (1..=recipients)
            .filter_map(|recipient| address(recipient, number))
            .fold(Transaction::new(mail), |letter, to| letter.recipient(Rcpt::new(to)));
        let whole = way & 2 == 2;
        Some((if whole { letter.in_one_chunk(message.len() as u64) } else { letter }, message))
    }

    /// The connection is lost.
    fn lost(&mut self, tx: &SendBuffer) {
        for letter in &mut self.letters {
            let _ = letter.lost(&self.client, tx);
        }
    }

    fn judge(&self, serving: &TestServer, fault: Fault) {
        let mut delivered = serving.delivered.clone();
        for (letter, message) in self.letters.iter().zip(&self.messages) {
            for recipient in letter.recipients() {
                let to = recipient.rcpt().to.to_string();
                let content = delivered.remove(&to);
                match recipient.outcome() {
                    Outcome::Delivered(_) => {
                        assert_eq!(content.as_deref(), Some(*message), "{to} was delivered: {self:?}");
                    }
                    Outcome::Refused(..) | Outcome::NotSent(_) => {
                        assert_eq!(content, None, "{to}: {:?}, {self:?}", recipient.outcome());
                    }
                    Outcome::Uncertain => {
                        // Either is possible: the answer to another recipient ended the session, or no answer came.
                        assert!(fault == Fault::Cut || serving.left, "{to} is uncertain: {self:?}");
                    }
                    other => assert!(matches!(other, Outcome::Uncertain), "{to} has no outcome: {other:?}"),
                }
                let known = !matches!(recipient.outcome(), Outcome::NotSent(NotSent::Lost));
                assert!(
                    fault == Fault::Cut || serving.left || known,
                    "{to} is lost on a good wire: {self:?}"
                );
            }
        }
        assert!(delivered.is_empty(), "not sent: {delivered:?}");
    }
}

fn address(recipient: u8, number: usize) -> Option<Address<'static>> {
    format!("r{recipient}@t{number}.example").parse().ok()
}

struct TestServer {
    server: Server<Secure>,
    dialect: Dialect,
    choices: Choices,
    accepted: Vec<String>,
    asked: String,
    prdr: bool,
    message: Vec<u8>,
    delivered: BTreeMap<String, Vec<u8>>,
    /// The application has answered 421.
    left: bool,
    over: bool,
}

impl TestServer {
    fn new(server: Server<Secure>, dialect: Dialect, choices: Choices) -> Self {
        Self {
            server,
            dialect,
            choices,
            accepted: Vec::new(),
            asked: String::new(),
            prdr: false,
            message: Vec::new(),
            delivered: BTreeMap::new(),
            left: false,
            over: false,
        }
    }

    fn step(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> bool {
        let event = match self.server.next_event(rx, tx) {
            Ok(Some(event)) => event,
            Ok(None) => return false,
            Err(_) => {
                let ended = !self.over;
                self.over = true;
                return ended;
            }
        };
        let reply = match event {
            Asked::Mail(mail, reply) => {
                self.accepted.clear();
                self.message.clear();
                self.prdr = mail.prdr;
                reply
            }
            Asked::Rcpt(rcpt, reply) => {
                self.asked = rcpt.to.to_string();
                reply
            }
            Asked::DataChunk(bytes) => {
                self.message.extend_from_slice(&bytes);
                return true;
            }
            Asked::DataEnd(reply) => {
                self.end(reply, tx);
                return true;
            }
            Asked::Data(reply) => {
                let response = self.verdict();
                let response = if response.is_positive() { Response::start_data() } else { response };
                self.answer(reply, &response, tx);
                return true;
            }
            Asked::Closed => {
                self.over = true;
                return true;
            }
            Asked::Vrfy(_, reply) | Asked::Expn(_, reply) | Asked::Help(_, reply) => reply,
            _ => return true,
        };
        let (verb, response) = (reply.verb(), self.verdict());
        if verb == Verb::Rcpt && response.is_positive() {
            let to = std::mem::take(&mut self.asked);
            self.accepted.push(to);
        }
        self.answer(reply, &response, tx);
        true
    }

    fn verdict(&mut self) -> Response<'static> {
        let response = verdict(&mut self.choices);
        self.left |= response.code() == Code::UNAVAILABLE;
        response
    }

    fn answer(&mut self, reply: Reply, response: &Response<'_>, tx: &mut SendBuffer) {
        let _ = self.server.reply(reply, response, tx);
    }

    /// The message is complete: gives one answer, or one for each recipient.
    fn end(&mut self, reply: Reply, tx: &mut SendBuffer) {
        let each = (self.prdr || self.dialect == Dialect::Lmtp) && self.choices.pick(2) == 1;
        let one = if each { Response::ok() } else { self.verdict() };
        let responses: Vec<_> = self
            .accepted
            .iter()
            .map(|_| if each { verdict(&mut self.choices) } else { one.clone() })
            .collect();
        for (to, _) in self.accepted.iter().zip(&responses).filter(|(_, response)| response.is_positive()) {
            self.delivered.insert(to.clone(), self.message.clone());
        }
        let _ = if each {
            self.server.reply_each(reply, &responses, tx)
        } else {
            self.server.reply(reply, &one, tx)
        };
    }
}

/// The application's answer.
fn verdict(choices: &mut Choices) -> Response<'static> {
    match choices.pick(12) {
        1 | 5 => Response::new(Code::MAILBOX_UNAVAILABLE, "no"),
        2 | 6 => Response::try_again(),
        3 => Response::new(Code::UNAVAILABLE, "bye"),
        _ => Response::ok(),
    }
}
