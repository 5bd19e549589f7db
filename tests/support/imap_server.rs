//! An IMAP server whose application answers yes or no, now or later, as its choices select.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use proto_imap::Config;
use proto_imap::server::{Event, LiteralOffer, Reply, Server};
use proto_imap::types::{Command, Condition, FetchItem, Section, StatusResponse, Text, Untagged};
use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Error, Misuse, RecvBuffer, Secure, SendBuffer,
    StartTlsRequest, Upgrade, WaitFor,
};

use crate::play::{Choices, Entry, FirstChannel, Player, Record, channel};
use crate::test_user::{accepted, rejected};

/// The server under test, on either channel.
pub struct TestServer {
    session: Session,
    /// What the machine put out before it was played: its greeting.
    greeting: SendBuffer,
    application: Application,
    /// The choices of the application after TLS.
    choices_after_tls: Choices,
    /// A STARTTLS that will be accepted later.
    late: Option<StartTlsRequest>,
}

#[derive(Debug)]
enum Session {
    Cleartext(Server<Cleartext>),
    Secure(Server<Secure>),
    /// It failed during the upgrade to TLS.
    Gone(Error),
}

impl TestServer {
    /// Starts before the client's first command.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        first: FirstChannel,
        choices: Choices,
        choices_after_tls: Choices,
    ) -> Self {
        let mut greeting = SendBuffer::new();
        let session = if first == FirstChannel::Secure {
            Session::Secure(Server::<Secure>::new(config, channel(), &mut greeting))
        } else {
            Session::Cleartext(Server::<Cleartext>::new(config, &mut greeting))
        };
        Self { session, greeting, application: Application::new(choices), choices_after_tls, late: None }
    }

    fn starttls(
        &mut self,
        request: StartTlsRequest,
        yes: bool,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) -> Result<(), Error> {
        let mut server = match mem::replace(&mut self.session, Session::Gone(Misuse::Closed.into())) {
            Session::Cleartext(server) => server,
            other => {
                self.session = other;
                return Ok(());
            }
        };
        if !yes {
            record.tried("refuse", server.refuse(request, tx));
            self.session = Session::Cleartext(server);
            return Ok(());
        }
        let upgraded = server.accept(request, tx);
        let upgraded = upgraded.and_then(|upgrade| upgrade.complete(channel(), rx));
        match upgraded {
            Ok(server) => {
                // The last output in cleartext.
                record.send(tx);
                record.secured(rx);
                self.session = Session::Secure(server);
                self.application = Application::new(self.choices_after_tls.clone());
                Ok(())
            }
            Err(error) => {
                self.session = Session::Gone(error);
                Err(error)
            }
        }
    }
}

impl Player for TestServer {
    fn step(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer, record: &mut Record) -> Result<bool, Error> {
        record.send(&mut self.greeting);
        let request = match &mut self.session {
            Session::Gone(error) => return Err(*error),
            Session::Secure(server) => match server.next_event(rx, tx)? {
                None => return Ok(false),
                Some(Event::Auth(request)) => {
                    record.event(&request);
                    self.application.asked_who(request, server, tx, record);
                    return Ok(true);
                }
                Some(event) => {
                    self.application.event(event, server, tx, record);
                    return Ok(true);
                }
            },
            Session::Cleartext(server) => match server.next_event(rx, tx)? {
                None => return Ok(false),
                Some(Event::StartTls(request)) => request,
                Some(event) => {
                    self.application.event(event, server, tx, record);
                    return Ok(true);
                }
            },
        };
        record.event(&request);
        match self.application.choices.pick(3) {
            0 => self.starttls(request, true, rx, tx, record)?,
            1 => self.starttls(request, false, rx, tx, record)?,
            _ => self.late = Some(request),
        }
        Ok(true)
    }

    fn rest(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer, record: &mut Record) -> Result<bool, Error> {
        if let Some(request) = self.late.take() {
            self.starttls(request, true, rx, tx, record)?;
            return Ok(true);
        }
        match &mut self.session {
            Session::Gone(_) => Ok(false),
            Session::Cleartext(server) => rest(server, tx, record, &mut self.application, |_, _, _, _, _| ()),
            Session::Secure(server) => {
                rest(server, tx, record, &mut self.application, |server, request, verdict, tx, record| {
                    verdict_given(server, request, verdict, tx, record);
                })
            }
        }
    }

    fn time_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match &mut self.session {
            Session::Gone(error) => Err(*error),
            Session::Cleartext(server) => server.timed_out(tx),
            Session::Secure(server) => server.timed_out(tx),
        }
    }

    fn go_down(&mut self, tx: &mut SendBuffer) {
        match &mut self.session {
            Session::Gone(_) => {}
            Session::Cleartext(server) => server.shutdown("going down", tx),
            Session::Secure(server) => server.shutdown("going down", tx),
        }
    }

    fn is_closed(&self) -> bool {
        match &self.session {
            Session::Gone(_) => true,
            Session::Cleartext(server) => server.is_closed(),
            Session::Secure(server) => server.is_closed(),
        }
    }

    fn wants_read(&self, tx: &SendBuffer) -> bool {
        match &self.session {
            Session::Gone(_) => false,
            Session::Cleartext(server) => server.wants_read(tx),
            Session::Secure(server) => server.wants_read(tx),
        }
    }

    fn show(&self) -> String {
        format!("{:?}", self.session)
    }
}

/// Gives the deferred answer, or ends a delay.
fn rest<C: Channel>(
    server: &mut Server<C>,
    tx: &mut SendBuffer,
    record: &mut Record,
    application: &mut Application,
    verdict: impl FnOnce(&mut Server<C>, AuthRequest, AuthVerdict, &mut SendBuffer, &mut Record),
) -> Result<bool, Error> {
    match application.late.take() {
        Some(Late::Reply(reply, yes)) => {
            record.tried("reply", server.reply(reply, &status(yes), tx));
        }
        Some(Late::Offer(offer, yes)) => answer_offer(server, offer, yes, tx, record),
        Some(Late::Verdict(request, given)) => verdict(server, request, given, tx, record),
        None if server.wait().awaited == WaitFor::Delay => server.timed_out(tx)?,
        None => return Ok(false),
    }
    Ok(true)
}

/// An answer that is still owed.
enum Late {
    Reply(Reply, bool),
    Offer(LiteralOffer, bool),
    Verdict(AuthRequest, AuthVerdict),
}

struct Application {
    choices: Choices,
    late: Option<Late>,
    /// The answer to IDLE, due when the client sends DONE.
    idle: Option<Reply>,
}

impl Application {
    const fn new(choices: Choices) -> Self {
        Self { choices, late: None, idle: None }
    }

    fn asked_who(
        &mut self,
        request: AuthRequest,
        server: &mut Server<Secure>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        match self.choices.pick(5) {
            choice @ (0 | 1) => {
                let verdict = if choice == 0 { accepted(&request) } else { rejected(&request) };
                verdict_given(server, request, verdict, tx, record);
            }
            choice @ (2 | 3) => {
                let verdict = if choice == 2 { accepted(&request) } else { rejected(&request) };
                self.late = Some(Late::Verdict(request, verdict));
            }
            _ => verdict_given(server, request, AuthVerdict::Unavailable, tx, record),
        }
    }

    fn event<C: Channel>(
        &mut self,
        event: Event<'_, C>,
        server: &mut Server<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        if let Event::AppendChunk(chunk) = event {
            record.piece(chunk);
            return;
        }
        record.event(&event);
        match event {
            Event::Command(command, reply) => {
                if !matches!(command, Command::Noop | Command::Capability | Command::Logout | Command::Id(_))
                {
                    record.entries.push(Entry::RequiresAuth("a command"));
                }
                self.data(&command, server, tx, record);
                self.reply(reply, server, tx, record);
            }
            Event::AppendEnd(reply) => self.reply(reply, server, tx, record),
            Event::Append { offer, .. } => {
                record.entries.push(Entry::RequiresAuth("APPEND"));
                match self.choices.pick(4) {
                    0 => answer_offer(server, offer, true, tx, record),
                    1 => answer_offer(server, offer, false, tx, record),
                    2 => self.late = Some(Late::Offer(offer, true)),
                    _ => self.late = Some(Late::Offer(offer, false)),
                }
            }
            Event::Idle(reply) => {
                record.entries.push(Entry::RequiresAuth("IDLE"));
                self.idle = Some(reply);
                record.tried("data", server.data(&Untagged::Exists(3), tx));
            }
            Event::Done => {
                if let Some(reply) = self.idle.take() {
                    self.reply(reply, server, tx, record);
                }
            }
            _ => {}
        }
    }

    /// Sends the untagged responses of a command.
    fn data<C: Channel>(
        &mut self,
        command: &Command<'_>,
        server: &mut Server<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let outcome = match (command, self.choices.pick(3)) {
            (Command::Fetch(_) | Command::UidFetch(_), 0) => server.fetch(1, tx).and_then(|mut writer| {
                writer.item(&FetchItem::Uid(7)).body(Section::FULL, None, Bytes::from_static(b"hello"));
                writer.finish()
            }),
            (Command::Fetch(_) | Command::UidFetch(_), 1) => stream(server, tx),
            (_, 1) => server.data(&Untagged::Exists(1), tx),
            (_, 2) => server.data(&Untagged::Expunge(1), tx),
            _ => Ok(()),
        };
        record.tried("data", outcome);
    }

    fn reply<C: Channel>(
        &mut self,
        reply: Reply,
        server: &mut Server<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        match self.choices.pick(4) {
            0 => drop(record.tried("reply", server.reply(reply, &status(true), tx))),
            1 => drop(record.tried("reply", server.reply(reply, &status(false), tx))),
            2 => self.late = Some(Late::Reply(reply, true)),
            _ => self.late = Some(Late::Reply(reply, false)),
        }
    }
}

/// A FETCH response whose body is written in two parts.
fn stream<C: Channel>(server: &mut Server<C>, tx: &mut SendBuffer) -> Result<(), Error> {
    server.fetch(1, tx)?.stream_body(Section::TEXT, Some(3), 5);
    server.write_body(Bytes::from_static(b"he"), tx)?;
    server.write_body(Bytes::from_static(b"llo"), tx)?;
    server.resume_fetch(tx)?.finish()
}

fn verdict_given(
    server: &mut Server<Secure>,
    request: AuthRequest,
    verdict: AuthVerdict,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    let said = match verdict {
        _ if request.is_rejected_by(&verdict) => Some(Entry::AuthRejected),
        AuthVerdict::Accept => Some(Entry::Authenticated),
        _ => None,
    };
    let given = record.tried("verdict", server.answer_auth(request, verdict, tx));
    record.entries.extend(said.filter(|_| given.is_some()));
}

fn answer_offer<C: Channel>(
    server: &mut Server<C>,
    offer: LiteralOffer,
    yes: bool,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    let outcome =
        if yes { server.accept_literal(offer, tx) } else { server.reject_literal(offer, &status(false), tx) };
    record.tried("answer an offer", outcome);
}

fn status(yes: bool) -> StatusResponse<'static> {
    let condition = if yes { Condition::Ok } else { Condition::No };
    StatusResponse::new(condition, Text::first_line("said"))
}
