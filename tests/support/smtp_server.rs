//! An SMTP server whose application answers yes or no, now or later, as its choices say.

use std::mem;
use std::sync::Arc;

use proto_core::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Error, Misuse, RecvBuffer, Secure, SendBuffer,
    StartTlsRequest, WaitFor,
};
use proto_smtp::server::{Event, Reply, Server};
use proto_smtp::types::{Code, Response, Verb};
use proto_smtp::{Config, Dialect};

use crate::play::{Choices, Entry, Player, Record, channel};
use crate::who::{accepted, rejected};

/// The server under test, whatever its channel.
pub struct Serving {
    session: Session,
    application: Application,
    /// What the application that begins under TLS will choose.
    afresh: Choices,
    /// A STARTTLS that will be accepted later.
    late: Option<StartTlsRequest>,
    /// What the machine put out before it was played: its greeting.
    greeting: SendBuffer,
}

enum Session {
    Cleartext(Server<Cleartext>),
    Secure(Server<Secure>),
    /// It failed on its way through the gate.
    Gone(Error),
}

impl Serving {
    /// Before the client's first command. `terms`: what the configuration says.
    #[must_use]
    pub fn new(config: Arc<Config>, secure: bool, terms: Terms, choices: Choices, afresh: Choices) -> Self {
        let mut greeting = SendBuffer::new();
        let session = if secure {
            Session::Secure(Server::<Secure>::new(config, channel(), &mut greeting))
        } else {
            Session::Cleartext(Server::<Cleartext>::new(config, &mut greeting))
        };
        Self { session, application: Application::new(choices, terms), afresh, late: None, greeting }
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
        match upgraded.and_then(|upgrade| upgrade.complete(channel(), rx)) {
            Ok(server) => {
                // What was put out is the last of the cleartext.
                record.send(tx);
                record.secured(rx);
                self.session = Session::Secure(server);
                self.application = Application::new(self.afresh.clone(), self.application.terms);
                Ok(())
            }
            Err(error) => {
                self.session = Session::Gone(error);
                Err(error)
            }
        }
    }
}

impl Player for Serving {
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
        match (&mut self.session, self.application.late.take()) {
            (Session::Gone(_), _) => Ok(false),
            (Session::Secure(server), Some(Late::Verdict(request, verdict))) => {
                verdict_given(server, request, verdict, tx, record);
                Ok(true)
            }
            (Session::Secure(server), late) => rest(server, late, tx, record),
            (Session::Cleartext(server), late) => rest(server, late, tx, record),
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
            Session::Cleartext(server) => server.farewell(tx),
            Session::Secure(server) => server.farewell(tx),
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
}

/// What the configuration says.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Whether mail needs an identity.
    pub proof: Proof,
    /// SMTP or LMTP.
    pub dialect: Dialect,
}

/// Whether mail needs an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Anybody may hand in.
    NotNeeded,
    /// Only who has authenticated.
    Needed,
}

/// The answer that was put off, given now; or else a delay that ends.
fn rest<C: Channel>(
    server: &mut Server<C>,
    late: Option<Late>,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Result<bool, Error> {
    match late {
        Some(Late::Reply(reply, response)) => {
            record.tried("reply", server.reply(reply, &response, tx));
        }
        None if server.wait().for_ == WaitFor::Delay => server.timed_out(tx)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// An answer that is owed.
enum Late {
    Reply(Reply, Response<'static>),
    Verdict(AuthRequest, AuthVerdict),
}

struct Application {
    choices: Choices,
    terms: Terms,
    late: Option<Late>,
    /// How many recipients were accepted since MAIL.
    recipients: usize,
}

impl Application {
    const fn new(choices: Choices, terms: Terms) -> Self {
        Self { choices, terms, late: None, recipients: 0 }
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
        if let Event::DataChunk(chunk) = event {
            record.piece(chunk);
            return;
        }
        record.event(&event);
        match event {
            Event::Mail(_, reply) => {
                self.recipients = 0;
                if self.terms.proof == Proof::Needed {
                    record.entries.push(Entry::NeedsProof("MAIL"));
                }
                self.reply(reply, Response::ok(), server, tx, record);
            }
            Event::Data(reply) => self.reply(reply, Response::start_data(), server, tx, record),
            Event::Rcpt(_, reply)
            | Event::DataEnd(reply)
            | Event::Vrfy(_, reply)
            | Event::Expn(_, reply)
            | Event::Help(_, reply)
            | Event::Etrn(_, reply)
            | Event::Burl(_, _, reply)
            | Event::XClient(_, reply)
            | Event::XForward(_, reply) => self.reply(reply, Response::ok(), server, tx, record),
            _ => {}
        }
    }

    fn reply<C: Channel>(
        &mut self,
        reply: Reply,
        yes: Response<'static>,
        server: &mut Server<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let response = match self.choices.pick(6) {
            0 | 2 => yes,
            1 | 3 => Response::try_again(),
            // An application that says 421 wants to end the session.
            4 => Response::new(Code::UNAVAILABLE, "going down"),
            _ => Response::new(Code::MAILBOX_UNAVAILABLE, "nobody\nhere"),
        };
        if reply.verb() == Verb::Rcpt && response.is_positive() {
            self.recipients += 1;
            if self.terms.dialect == Dialect::Lmtp {
                record.entries.push(Entry::Owes(1));
            }
        }
        let late = self.choices.pick(2) == 1;
        if late {
            self.late = Some(Late::Reply(reply, response));
        } else {
            record.tried("reply", server.reply(reply, &response, tx));
        }
    }
}

fn verdict_given(
    server: &mut Server<Secure>,
    request: AuthRequest,
    verdict: AuthVerdict,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    let accepts = matches!(verdict, AuthVerdict::Accept);
    let given = record.tried("verdict", server.verdict(request, verdict, tx));
    if given.is_some() && accepts {
        record.entries.push(Entry::Proved);
    }
}
