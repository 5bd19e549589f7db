//! The IMAP server of a joined conversation. Its application either offers TLS or not, accepts every login or none,
//! and accepts every command and message.

use std::time::Duration;

use proto_imap::Config;
use proto_imap::server::{self, Event, Server};
use proto_imap::types::{Command, Condition, StatusResponse, Text};
use proto_mail::{AuthVerdict, Channel, Cleartext, Error, Secure, SendBuffer, StartTlsRequest, Upgrade};

use mailwire_tests::invariants::Side;
use mailwire_tests::play::{Entry, Record, channel};

use crate::automaton::{Belief, Endpoint, EndpointView, Stage};
use crate::endpoint::{EndpointCommon, next};
use crate::explore::describe;

/// What an attacker sends to a server.
pub(crate) const TO_SERVER: &[&str] = &[
    "M1 STARTTLS\r\n",
    "M2 STARTTLS\r\n",
    "m LOGIN mark mark\r\n",
    "m SELECT INBOX\r\n",
    "m APPEND INBOX {3}\r\n",
    "m LOGOUT\r\n",
    "\u{16}\u{3}\u{1}",
];

/// The only message.
pub(crate) const MESSAGE: &[u8] = b"x\r\n.x\r\n";

/// The server, its application and everything that was sent.
pub(crate) struct JoinedServer {
    session: Session,
    common: EndpointCommon,
    settings: Settings,
    message: Vec<u8>,
}

/// The server's behaviour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Whether it offers TLS.
    pub(crate) offers_tls: bool,
    /// Whether it accepts every login, or none.
    pub(crate) accepts_logins: bool,
}

enum Session {
    Cleartext(Server<Cleartext>),
    HandshakePending(server::Upgrade),
    Secure(Server<Secure>),
    Gone,
}

impl JoinedServer {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut limits = proto_mail::Limits::default();
        (limits.errors, limits.auth_attempts, limits.literal, limits.message) = (3, 2, 8, 8);
        limits.commands_before_auth = u32::MAX;
        let mut config = Config::default().limits(limits);
        config.waits.delay = Duration::ZERO;
        let mut common = EndpointCommon::new();
        let session = Session::Cleartext(Server::<Cleartext>::new(config, &mut common.tx));
        let mut server = Self { session, common, settings, message: Vec::new() };
        server.pump();
        server
    }

    fn pump(&mut self) {
        loop {
            let EndpointCommon { rx, tx, record, .. } = &mut self.common;
            let seen = match &mut self.session {
                Session::HandshakePending(_) | Session::Gone => return,
                Session::Cleartext(server) => match server.next_event(rx, tx) {
                    Ok(Some(Event::StartTls(request))) => {
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
                Ok(false) => return self.common.send(),
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Takes one event. Returns false if there was none.
    fn under_tls(&mut self) -> Result<bool, Error> {
        let Session::Secure(server) = &mut self.session else { return Ok(false) };
        let EndpointCommon { rx, tx, record, beliefs, .. } = &mut self.common;
        match server.next_event(rx, tx)? {
            None => return Ok(false),
            Some(Event::Auth(request)) => {
                record.event(&request);
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
        match std::mem::replace(&mut self.session, Session::Gone) {
            Session::Cleartext(mut server) if !self.settings.offers_tls => {
                self.common
                    .record
                    .tried("refuse", &mut self.common.tx, |tx| server.refuse_starttls(request, tx));
                self.session = Session::Cleartext(server);
            }
            Session::Cleartext(server) => match server.accept_starttls(request, &mut self.common.tx) {
                Ok(upgrade) => {
                    self.common.send();
                    self.session = Session::HandshakePending(upgrade);
                }
                Err(error) => self.fail(error),
            },
            other => self.session = other,
        }
    }

    /// Handles an error: calls the server again, also with more input. The outcome goes to the record.
    fn fail(&mut self, error: Error) {
        self.common.fail(&error, "a CAPABILITY\r\nb LOGIN x x\r\n", |rx, tx| match &mut self.session {
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
    event: Event<'_, C>,
    server: &mut Server<C>,
    tx: &mut SendBuffer,
    record: &mut Record,
    message: &mut Vec<u8>,
) -> Received {
    if let Event::AppendChunk(bytes) = event {
        message.extend_from_slice(bytes);
        record.piece(bytes);
        return Received::Nothing;
    }
    record.event(&event);
    let ok = |text| StatusResponse::new(Condition::Ok, Text::first_line(text));
    match event {
        Event::Command(command, reply) => {
            if !matches!(command, Command::Noop | Command::Capability | Command::Logout) {
                record.entries.push(Entry::RequiresAuth("a command"));
            }
            let text = if matches!(command, Command::Select(_)) { "SELECT" } else { "done" };
            record.tried("reply", tx, |tx| server.reply(reply, &ok(text), tx));
        }
        Event::Append { offer, .. } => {
            record.entries.push(Entry::RequiresAuth("APPEND"));
            message.clear();
            record.tried("accept", tx, |tx| server.accept_literal(offer, tx));
        }
        Event::AppendEnd(reply) => {
            record.tried("reply", tx, |tx| server.reply(reply, &ok("APPEND"), tx));
            return Received::Message;
        }
        _ => {}
    }
    Received::Nothing
}

impl Endpoint for JoinedServer {
    fn receive(&mut self, bytes: &[u8]) {
        self.common.receive(bytes);
        if matches!(self.session, Session::HandshakePending(_)) {
            self.common.cleartext_after_agreement = true;
            return;
        }
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
        let Session::HandshakePending(upgrade) = std::mem::replace(&mut self.session, Session::Gone) else {
            return;
        };
        match upgrade.complete(channel(), &mut self.common.rx) {
            Ok(server) => {
                self.common.secured();
                self.message.clear();
                self.session = Session::Secure(server);
                self.pump();
            }
            Err(error) => self.fail(error),
        }
    }

    fn take_output(&mut self) -> Vec<Vec<u8>> {
        let clear = !matches!(self.session, Session::Secure(_));
        self.common.take_output(clear, |_| true)
    }

    fn view(&self) -> EndpointView {
        const LEFT_OUT: [&str; 4] = ["token", "serial", "generation", "commands_before_login"];
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
        self.common.view(stage, machine)
    }

    fn check_invariants(&self) -> Result<usize, String> {
        let invariants = self.common.check_invariants(Side::ImapServer)?;
        let authenticated = match &self.session {
            Session::Secure(server) => server.state().is_authenticated(),
            Session::Cleartext(server) => server.state().is_authenticated(),
            _ => false,
        };
        if authenticated && self.common.beliefs.identity != Belief::Yes {
            return Err("authenticated without a verdict on this channel".to_owned());
        }
        Ok(invariants + 1)
    }
}
