//! The SMTP server of a joined conversation. Its application either offers TLS or not, accepts every login or none,
//! and accepts every message.

use std::time::Duration;

use proto_mail::{AuthVerdict, Channel, Cleartext, Error, Secure, SendBuffer, StartTlsRequest, WaitFor};
use proto_smtp::server::{self, Server};
use proto_smtp::types::{Code, Response, Verb};
use proto_smtp::{Config, Dialect};

use mailwire_tests::invariants::Side;
use mailwire_tests::play::{Entry, Record, channel};

use crate::automaton::{Belief, Endpoint, EndpointView, Stage};
use crate::endpoint::{EndpointCommon, next};
use crate::explore::{cap_numbers, describe};
use crate::smtp_server_model::ServerModel;

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
pub(crate) struct JoinedServer {
    session: Session,
    common: EndpointCommon,
    model: ServerModel,
    settings: Settings,
    message: Vec<u8>,
}

enum Session {
    Cleartext(Server<Cleartext>),
    HandshakePending(server::Upgrade),
    Secure(Server<Secure>),
    Gone,
}

/// The server's behaviour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Whether it offers TLS.
    pub(crate) offers_tls: bool,
    /// Whether it accepts every login, or none.
    pub(crate) accepts_logins: bool,
    /// Whether it requires a login before MAIL.
    pub(crate) requires_login: bool,
}

impl JoinedServer {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut common = EndpointCommon::new();
        let mut limits = proto_mail::Limits::default();
        (limits.errors, limits.auth_attempts, limits.message, limits.recipients) = (2, 2, LIMIT, 1);
        limits.commands_before_auth = u32::MAX;
        let mut config = Config::default().limits(limits);
        config.waits.delay = Duration::ZERO;
        let config = if settings.requires_login { config } else { config.optional_authentication() };
        let session = Session::Cleartext(Server::<Cleartext>::new(config, &mut common.tx));
        let model = ServerModel::greeted(Dialect::Smtp);
        let mut server = Self { session, common, model, settings, message: Vec::new() };
        server.send();
        server
    }

    fn send(&mut self) {
        for chunk in self.common.tx.chunks() {
            self.model.server_sent(chunk.bytes);
        }
        self.common.send();
    }

    fn pump(&mut self) {
        loop {
            let EndpointCommon { rx, tx, record, .. } = &mut self.common;
            let seen = match &mut self.session {
                Session::HandshakePending(_) | Session::Gone => return,
                Session::Cleartext(server) => match server.next_event(rx, tx) {
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
                Session::Secure(_) => self.under_tls(),
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
        let Session::Secure(server) = &mut self.session else { return Ok(false) };
        let EndpointCommon { rx, tx, record, beliefs, progress, .. } = &mut self.common;
        match server.next_event(rx, tx)? {
            None => return Ok(false),
            Some(server::Event::Auth(request)) => {
                record.event(&request);
                let text = format!("{:?}", request.question());
                progress.push(text);
                if self.settings.accepts_logins {
                    record.entries.push(Entry::Authenticated);
                    beliefs.identity = Belief::Yes;
                    server.answer_auth(request, AuthVerdict::Accept, tx)?;
                } else {
                    server.answer_auth(request, AuthVerdict::Reject, tx)?;
                }
            }
            Some(event) => {
                if answer(event, server, tx, record, &mut self.message) == Received::Message {
                    // An incomplete message does not count.
                    beliefs.message = if self.message == MESSAGE { Belief::Yes } else { Belief::No };
                }
            }
        }
        Ok(true)
    }

    fn starttls(&mut self, request: StartTlsRequest) {
        let over = Session::Gone;
        match std::mem::replace(&mut self.session, over) {
            Session::Cleartext(mut server) if !self.settings.offers_tls => {
                self.common
                    .record
                    .tried("refuse", &mut self.common.tx, |tx| server.refuse_starttls(request, tx));
                self.session = Session::Cleartext(server);
            }
            Session::Cleartext(server) => match server.accept_starttls(request, &mut self.common.tx) {
                Ok(upgrade) => {
                    self.send();
                    self.session = Session::HandshakePending(upgrade);
                }
                Err(error) => self.fail(error),
            },
            other => self.session = other,
        }
    }

    /// Handles an error: calls the server again, also with more input. The outcome goes to the record.
    fn fail(&mut self, error: Error) {
        self.send();
        self.common.fail(&error, "EHLO x\r\nMAIL FROM:<x@x.example>\r\n", |rx, tx| match &mut self.session {
            Session::Cleartext(server) => next(server, rx, tx),
            Session::Secure(server) => next(server, rx, tx),
            _ => Err(error.clone()),
        });
        self.session = Session::Gone;
    }
}

#[derive(PartialEq, Eq)]
enum Received {
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
) -> Received {
    if let server::Event::DataChunk(bytes) = event {
        message.extend_from_slice(&bytes);
        record.piece(&bytes);
        return Received::Nothing;
    }
    record.event(&event);
    let (reply, took) = match event {
        server::Event::Mail(_, reply) => {
            message.clear();
            (reply, Received::Nothing)
        }
        server::Event::DataEnd(reply) => (reply, Received::Message),
        server::Event::Rcpt(_, reply) | server::Event::Data(reply) => (reply, Received::Nothing),
        _ => return Received::Nothing,
    };
    let response = match reply.verb() {
        Verb::Mail => Response::new(Code::OK, "MAIL"),
        Verb::Rcpt => Response::new(Code::OK, "RCPT"),
        _ if took == Received::Message => Response::new(Code::OK, "message"),
        _ => Response::start_data(),
    };
    record.tried("reply", tx, |tx| server.reply(reply, &response, tx));
    took
}

impl Endpoint for JoinedServer {
    fn receive(&mut self, bytes: &[u8]) {
        self.common.receive(bytes);
        if matches!(self.session, Session::HandshakePending(_)) {
            self.common.cleartext_after_agreement = true;
            return;
        }
        self.model.client_sent(bytes);
        let unread = self.common.rx.bytes().to_vec();
        self.pump();
        if matches!(self.session, Session::HandshakePending(_)) {
            self.common.cleartext_after_agreement = !unread.ends_with(b"STARTTLS\r\n");
        }
    }

    fn close_peer(&mut self) {
        self.common.record.heard(0);
        self.common.rx.close();
        match self.session {
            Session::HandshakePending(_) => self.session = Session::Gone,
            _ => self.pump(),
        }
    }

    fn complete_handshake(&mut self) {
        let over = Session::Gone;
        let Session::HandshakePending(upgrade) = std::mem::replace(&mut self.session, over) else { return };
        match upgrade.complete(channel(), &mut self.common.rx) {
            Ok(server) => {
                self.common.secured();
                self.model = ServerModel::under_tls(Dialect::Smtp);
                self.message.clear();
                self.session = Session::Secure(server);
                self.pump();
            }
            Err(error) => self.fail(error),
        }
    }

    fn take_output(&mut self) -> Vec<Vec<u8>> {
        let clear = !matches!(self.session, Session::Secure(_));
        self.common.take_output(clear, ends_reply)
    }

    fn view(&self) -> EndpointView {
        const LEFT_OUT: [&str; 5] =
            ["serial", "generation", "greeting_end", "idle_commands", "commands_before_login"];
        let (stage, machine) = match &self.session {
            Session::Gone => (Stage::Ended, String::new()),
            Session::HandshakePending(upgrade) => (Stage::HandshakePending, describe(upgrade, &LEFT_OUT)),
            Session::Cleartext(server) if server.is_closed() => (Stage::Ended, String::new()),
            Session::Secure(server) if server.is_closed() => (Stage::Ended, String::new()),
            Session::Cleartext(server) => (Stage::Cleartext, describe(server, &LEFT_OUT)),
            Session::Secure(server) => {
                let message = self.message.escape_ascii();
                (Stage::Secure, format!("{} {message}", describe(server, &LEFT_OUT)))
            }
        };
        // By how much a message is too large does not matter. The number of MAIL commands matters only up to its limit.
        self.common.view(stage, cap_numbers(cap_numbers(machine, "size", LIMIT + 1), "mails", 1))
    }

    fn check_invariants(&self) -> Result<usize, String> {
        let invariants = self.common.check_invariants(Side::SmtpServer)?;
        let (rests, authenticated) = match &self.session {
            Session::Secure(server) => (server.wait().awaited == WaitFor::Command, server.is_authenticated()),
            Session::Cleartext(server) => {
                (server.wait().awaited == WaitFor::Command, server.is_authenticated())
            }
            _ => (false, false),
        };
        if authenticated && self.common.beliefs.identity != Belief::Yes {
            return Err("authenticated without a verdict on this channel".to_owned());
        }
        Ok(invariants + 1 + self.model.check(rests && self.common.rx.is_empty())?)
    }
}

/// Returns whether a line is the last one of a reply.
pub(crate) fn ends_reply(line: &[u8]) -> bool {
    line.get(3) == Some(&b' ')
}
