//! The SMTP server of a joined conversation. Its application either offers TLS or not, accepts every login or none,
//! and accepts every message.

use std::time::Duration;

use proto_mail::{AuthVerdict, Channel, Cleartext, Error, Secure, SendBuffer, StartTlsRequest, WaitFor};
use proto_smtp::server::{self, Server};
use proto_smtp::types::{Code, Response, Verb};
use proto_smtp::{Config, Dialect};

use mailwire_tests::invariants::Side;
use mailwire_tests::play::{Entry, Record, channel};

use crate::automaton::{Belief, End, Stage, View};
use crate::end::{Common, next};
use crate::explore::{capped, described};
use crate::smtp_server_model::Conversation;

/// What an attacker sends to a server.
pub(crate) const TO_SERVER: &[&str] = &[
    "EHLO mark\r\n",
    "STARTTLS\r\n",
    "AUTH PLAIN AG1hcmsAbWFyaw==\r\n",
    "MAIL FROM:<mark@x.example>\r\n",
    "RCPT TO:<mark@x.example>\r\n",
    "DATA\r\n",
    ".\r\n",
    "RSET\r\n",
    "QUIT\r\n",
    "\u{16}\u{3}\u{1}",
];

/// The only message.
pub(crate) const MESSAGE: &[u8] = b"x\r\n.x\r\n";

/// The maximum size of a message in bytes.
const LIMIT: u64 = 8;

/// The server, its application and everything that was sent.
pub(crate) struct Receiving {
    session: TestServer,
    common: Common,
    conversation: Conversation,
    terms: Terms,
    message: Vec<u8>,
}

enum TestServer {
    Cleartext(Server<Cleartext>),
    Gate(server::Upgrade),
    Secure(Server<Secure>),
    Gone,
}

/// The server's behaviour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Whether it offers TLS.
    pub(crate) has_tls: bool,
    /// Whether it accepts every login, or none.
    pub(crate) believes: bool,
    /// Whether it requires a login before MAIL.
    pub(crate) needs_proof: bool,
}

impl Receiving {
    pub(crate) fn new(terms: Terms) -> Self {
        let mut common = Common::new();
        let mut limits = proto_mail::Limits::default();
        (limits.errors, limits.auth_attempts, limits.message, limits.recipients) = (2, 2, LIMIT, 1);
        limits.commands_before_auth = u32::MAX;
        let mut config = Config::default().limits(limits);
        config.waits.delay = Duration::ZERO;
        let config = if terms.needs_proof { config.require_authentication() } else { config };
        let session = TestServer::Cleartext(Server::<Cleartext>::new(config, &mut common.tx));
        let conversation = Conversation::greeted(Dialect::Smtp);
        let mut receiving = Self { session, common, conversation, terms, message: Vec::new() };
        receiving.send();
        receiving
    }

    fn send(&mut self) {
        for chunk in self.common.tx.chunks() {
            self.conversation.say(chunk.bytes);
        }
        self.common.send();
    }

    fn pump(&mut self) {
        loop {
            let Common { rx, tx, record, .. } = &mut self.common;
            let seen = match &mut self.session {
                TestServer::Gate(_) | TestServer::Gone => return,
                TestServer::Cleartext(server) => match server.next_event(rx, tx) {
                    Ok(Some(server::Event::StartTls(request))) => {
                        record.event(&request);
                        self.starttls(request);
                        continue;
                    }
                    Ok(Some(event)) => {
                        answer(event, server, tx, record, &mut self.message);
                        Ok(true)
                    }
                    Ok(None) => Ok(false),
                    Err(error) => Err(error),
                },
                TestServer::Secure(_) => self.under_tls(),
            };
            match seen {
                Ok(true) => {}
                Ok(false) => return self.send(),
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Takes one event. Returns false if there was none.
    fn under_tls(&mut self) -> Result<bool, Error> {
        let TestServer::Secure(server) = &mut self.session else { return Ok(false) };
        let Common { rx, tx, record, beliefs, progress, .. } = &mut self.common;
        match server.next_event(rx, tx)? {
            None => return Ok(false),
            Some(server::Event::Auth(request)) => {
                record.event(&request);
                let text = format!("{:?}", request.question());
                progress.push(text);
                if self.terms.believes {
                    record.entries.push(Entry::Authenticated);
                    beliefs.identity = Belief::Yes;
                    server.answer_auth(request, AuthVerdict::Accept, tx)?;
                } else {
                    server.answer_auth(request, AuthVerdict::Reject, tx)?;
                }
            }
            Some(event) => {
                if answer(event, server, tx, record, &mut self.message) == Took::Message {
                    // An incomplete message does not count.
                    beliefs.message = if self.message == MESSAGE { Belief::Yes } else { Belief::No };
                }
            }
        }
        Ok(true)
    }

    fn starttls(&mut self, request: StartTlsRequest) {
        let over = TestServer::Gone;
        match std::mem::replace(&mut self.session, over) {
            TestServer::Cleartext(mut server) if !self.terms.has_tls => {
                self.common.record.tried("refuse", &mut self.common.tx, |tx| server.refuse(request, tx));
                self.session = TestServer::Cleartext(server);
            }
            TestServer::Cleartext(server) => match server.accept(request, &mut self.common.tx) {
                Ok(upgrade) => {
                    self.send();
                    self.session = TestServer::Gate(upgrade);
                }
                Err(error) => self.fail(error),
            },
            other => self.session = other,
        }
    }

    /// Handles an error: calls the server again, also with more input. The outcome goes to the record.
    fn fail(&mut self, error: Error) {
        self.send();
        self.common.fail(error, "EHLO x\r\nMAIL FROM:<x@x.example>\r\n", |rx, tx| match &mut self.session {
            TestServer::Cleartext(server) => next(server, rx, tx),
            TestServer::Secure(server) => next(server, rx, tx),
            _ => Err(error),
        });
        self.session = TestServer::Gone;
    }
}

#[derive(PartialEq, Eq)]
enum Took {
    Nothing,
    Message,
}

/// Accepts everything.
fn answer<C: Channel>(
    event: server::Event<'_, C>,
    server: &mut Server<C>,
    tx: &mut SendBuffer,
    record: &mut Record,
    message: &mut Vec<u8>,
) -> Took {
    if let server::Event::DataChunk(bytes) = event {
        message.extend_from_slice(&bytes);
        record.piece(&bytes);
        return Took::Nothing;
    }
    record.event(&event);
    let (reply, took) = match event {
        server::Event::Mail(_, reply) => {
            message.clear();
            (reply, Took::Nothing)
        }
        server::Event::DataEnd(reply) => (reply, Took::Message),
        server::Event::Rcpt(_, reply) | server::Event::Data(reply) => (reply, Took::Nothing),
        _ => return Took::Nothing,
    };
    let said = match reply.verb() {
        Verb::Mail => Response::new(Code::OK, "MAIL"),
        Verb::Rcpt => Response::new(Code::OK, "RCPT"),
        _ if took == Took::Message => Response::new(Code::OK, "message"),
        _ => Response::start_data(),
    };
    record.tried("reply", tx, |tx| server.reply(reply, &said, tx));
    took
}

impl End for Receiving {
    fn hear(&mut self, bytes: &[u8]) {
        self.common.hear(bytes);
        if matches!(self.session, TestServer::Gate(_)) {
            self.common.crossed = true;
            return;
        }
        self.conversation.hear(bytes);
        let unread = self.common.rx.bytes().to_vec();
        self.pump();
        if matches!(self.session, TestServer::Gate(_)) {
            self.common.crossed = !unread.ends_with(b"STARTTLS\r\n");
        }
    }

    fn cut(&mut self) {
        self.common.record.heard(0);
        self.common.rx.close();
        match self.session {
            TestServer::Gate(_) => self.session = TestServer::Gone,
            _ => self.pump(),
        }
    }

    fn shake_hands(&mut self) {
        let over = TestServer::Gone;
        let TestServer::Gate(upgrade) = std::mem::replace(&mut self.session, over) else { return };
        match upgrade.complete(channel(), &mut self.common.rx) {
            Ok(server) => {
                self.common.secured();
                self.conversation = Conversation::under_tls(Dialect::Smtp);
                self.message.clear();
                self.session = TestServer::Secure(server);
                self.pump();
            }
            Err(error) => self.fail(error),
        }
    }

    fn said(&mut self) -> Vec<Vec<u8>> {
        let clear = !matches!(self.session, TestServer::Secure(_));
        self.common.said(clear, ends_reply)
    }

    fn view(&self) -> View {
        const LEFT_OUT: [&str; 5] =
            ["serial", "generation", "greeting_end", "idle_commands", "commands_before_login"];
        let (stage, machine) = match &self.session {
            TestServer::Gone => (Stage::Over, String::new()),
            TestServer::Gate(upgrade) => (Stage::Gate, described(upgrade, &LEFT_OUT)),
            TestServer::Cleartext(server) if server.is_closed() => (Stage::Over, String::new()),
            TestServer::Secure(server) if server.is_closed() => (Stage::Over, String::new()),
            TestServer::Cleartext(server) => (Stage::Cleartext, described(server, &LEFT_OUT)),
            TestServer::Secure(server) => {
                let message = self.message.escape_ascii();
                (Stage::Secure, format!("{} {message}", described(server, &LEFT_OUT)))
            }
        };
        // By how much a message is too large does not matter. The number of MAIL commands matters only up to its limit.
        self.common.view(stage, capped(capped(machine, "size", LIMIT + 1), "mails", 1))
    }

    fn judge(&self) -> Result<usize, String> {
        let invariants = self.common.judge(Side::SmtpServer)?;
        let (rests, authenticated) = match &self.session {
            TestServer::Secure(server) => {
                (server.wait().awaited == WaitFor::Command, server.is_authenticated())
            }
            TestServer::Cleartext(server) => {
                (server.wait().awaited == WaitFor::Command, server.is_authenticated())
            }
            _ => (false, false),
        };
        if authenticated && self.common.beliefs.identity != Belief::Yes {
            return Err("authenticated without a verdict on this channel".to_owned());
        }
        Ok(invariants + 1 + self.conversation.check(rests && self.common.rx.is_empty())?)
    }
}

/// Returns whether a line is the last one of a reply.
pub(crate) fn ends_reply(line: &[u8]) -> bool {
    line.get(3) == Some(&b' ')
}
