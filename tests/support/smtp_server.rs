//! An SMTP server whose application answers yes or no, now or later, as its choices select.

use std::mem;
use std::sync::Arc;

use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Error, Misuse, RecvBuffer, Secure, SendBuffer,
    StartTlsRequest, WaitFor,
};
use proto_smtp::server::{Event, Reply, Server};
use proto_smtp::types::{Code, Extension, Response, Verb};
use proto_smtp::{Config, Dialect};

use crate::harness::Variant;
use crate::play::{Choices, Delivery, Ending, Entry, FirstChannel, Player, Record, channel};
use crate::test_user::{accepted, rejected};
use crate::unattended::{self, DrivenBy};

/// The server under test, on either channel.
pub struct TestServer {
    session: Session,
    application: Application,
    /// The choices of the application after TLS.
    choices_after_tls: Choices,
    /// A STARTTLS that will be accepted later.
    late: Option<StartTlsRequest>,
    opening: Opening,
    /// The greeting, which the machine outputs before it is played.
    greeting: SendBuffer,
    delivery: Delivery,
}

/// What precedes a delayed greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// Nothing.
    Usual,
    /// The client's first command, if it does not wait.
    Held,
    /// The server refuses the client.
    TurnsAway,
}

#[derive(Debug)]
enum Session {
    Cleartext(Server<Cleartext>),
    Secure(Server<Secure>),
    /// It failed during the upgrade to TLS.
    Gone(Error),
}

impl TestServer {
    /// Starts before the client's first command. `terms` come from the configuration.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        first: FirstChannel,
        terms: Terms,
        choices: Choices,
        choices_after_tls: Choices,
    ) -> Self {
        let (mut greeting, mut choices) = (SendBuffer::new(), choices);
        // Some clients are refused at once.
        let way = if terms.variant == Variant::Other { choices.pick(5) } else { 0 };
        let refusal = match way {
            1 => Some(Response::new(Code::FAILED, "no such user")),
            2 => Some(Response::new(Code::UNAVAILABLE, "not now")),
            _ => None,
        };
        let session = match (&refusal, first) {
            (None, FirstChannel::Secure) => {
                let mut server = Server::<Secure>::new(config, channel(), &mut greeting);
                trust(&mut server, terms);
                Session::Secure(server)
            }
            (None, FirstChannel::Cleartext) => {
                let mut server = Server::<Cleartext>::new(config, &mut greeting);
                trust(&mut server, terms);
                Session::Cleartext(server)
            }
            (Some(no), FirstChannel::Secure) => {
                Session::Secure(Server::<Secure>::refusing(config, channel(), no, &mut greeting))
            }
            (Some(no), FirstChannel::Cleartext) => {
                Session::Cleartext(Server::<Cleartext>::refusing(config, no, &mut greeting))
            }
        };
        let opening = match (terms.variant, way) {
            (Variant::Strict, _) | (_, 3) => Opening::Held,
            (_, 4) => Opening::TurnsAway,
            _ => Opening::Usual,
        };
        Self {
            session,
            application: Application::new(choices, terms),
            choices_after_tls,
            late: None,
            opening,
            greeting,
            delivery: Delivery::Borrowed,
        }
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
            record.tried("refuse", tx, |tx| server.refuse_starttls(request, tx));
            self.session = Session::Cleartext(server);
            return Ok(());
        }
        let upgraded = server.accept_starttls(request, tx);
        match upgraded.and_then(|upgrade| upgrade.complete(channel(), rx)) {
            Ok(mut server) => {
                // The last output in cleartext.
                record.send(tx);
                record.secured(rx);
                trust(&mut server, self.application.terms);
                self.session = Session::Secure(server);
                self.application = Application::new(self.choices_after_tls.clone(), self.application.terms);
                Ok(())
            }
            Err(error) => {
                self.session = Session::Gone(error.clone());
                Err(error)
            }
        }
    }
}

impl Player for TestServer {
    fn deliver(&mut self, how: Delivery) {
        self.delivery = how;
    }

    fn unattended(self, by: DrivenBy, pieces: &[&[u8]], ending: Ending) -> Record {
        match self.session {
            Session::Cleartext(server) => unattended::run(server, self.greeting, by, pieces, ending),
            Session::Secure(server) => unattended::run(server, self.greeting, by, pieces, ending),
            Session::Gone(_) => Record::default(),
        }
    }

    fn step(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer, record: &mut Record) -> Result<bool, Error> {
        record.send(&mut self.greeting);
        let application = &mut self.application;
        let request = match &mut self.session {
            Session::Gone(error) => return Err(error.clone()),
            Session::Secure(server) => {
                let Some(event) = server.next_event(rx, tx)? else { return Ok(false) };
                match delivered(self.delivery, event, record) {
                    Event::Auth(request) => {
                        record.event(&request);
                        application.asked_who(request, server, tx, record);
                    }
                    Event::XClient(said, reply) if application.choices.pick(2) == 1 => {
                        record.event(&said);
                        record.entries.push(Entry::IdentityReset);
                        // A refused login is answered all the same.
                        if record.noted("trust", server.trust_login(reply, tx)).is_some() {
                            record.entries.push(Entry::Authenticated);
                        }
                        trust(server, application.terms);
                    }
                    event => application.event(event, server, tx, record),
                }
                return Ok(true);
            }
            Session::Cleartext(server) => {
                let Some(event) = server.next_event(rx, tx)? else { return Ok(false) };
                match delivered(self.delivery, event, record) {
                    Event::StartTls(request) => request,
                    event => {
                        application.event(event, server, tx, record);
                        return Ok(true);
                    }
                }
            }
        };
        record.event(&request);
        match application.choices.pick(4) {
            0 => self.starttls(request, true, rx, tx, record)?,
            1 => self.starttls(request, false, rx, tx, record)?,
            2 => self.late = Some(request),
            // Dropped: the machine answers.
            _ => {}
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
            // The client may send first.
            (_, None) if self.opening == Opening::Held && rx.received_total() == 0 && !rx.is_closed() => {
                Ok(false)
            }
            (Session::Secure(server), None) if self.opening == Opening::TurnsAway => {
                self.opening = Opening::Usual;
                record.tried("turn away", tx, |tx| server.reject_connection(&Response::ok(), tx));
                Ok(true)
            }
            (Session::Cleartext(server), None) if self.opening == Opening::TurnsAway => {
                self.opening = Opening::Usual;
                record.tried("turn away", tx, |tx| server.reject_connection(&Response::ok(), tx));
                Ok(true)
            }
            (Session::Secure(server), late) => rest(server, late, tx, record),
            (Session::Cleartext(server), late) => rest(server, late, tx, record),
        }
    }

    fn time_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match &mut self.session {
            Session::Gone(error) => Err(error.clone()),
            Session::Cleartext(server) => server.timed_out(tx),
            Session::Secure(server) => server.timed_out(tx),
        }
    }

    fn go_down(&mut self, tx: &mut SendBuffer) {
        match &mut self.session {
            Session::Gone(_) => {}
            Session::Cleartext(server) => server.shutdown("The server is going down", tx),
            Session::Secure(server) => server.shutdown("The server is going down", tx),
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

/// Returns an event, or its owned copy.
fn delivered<'i, C: Channel>(delivery: Delivery, event: Event<'i, C>, record: &mut Record) -> Event<'i, C> {
    if delivery == Delivery::Borrowed {
        return event;
    }
    let shown = format!("{event:?}");
    let owned = event.into_owned();
    record.copied(&shown, &owned);
    owned
}

/// Terms from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Whether mail requires authentication.
    pub proof: Proof,
    /// SMTP or LMTP.
    pub dialect: Dialect,
    /// Further settings.
    pub variant: Variant,
}

/// Where everything is offered, every client is trusted as a proxy.
fn trust<C: Channel>(server: &mut Server<C>, terms: Terms) {
    if terms.variant == Variant::Lenient {
        server.offer(Extension::ALL.into_iter().collect());
    }
}

/// Whether mail requires authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Any client may submit.
    NotNeeded,
    /// Only authenticated clients may submit.
    Needed,
}

/// Gives the deferred answer, or ends a delay.
fn rest<C: Channel>(
    server: &mut Server<C>,
    late: Option<Late>,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Result<bool, Error> {
    match late {
        Some(Late::Reply(reply, response)) => {
            answer(server, reply, &response, tx, record);
        }
        None if server.wait().awaited == WaitFor::Delay => server.timed_out(tx)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// An answer that is still owed.
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
    /// The client requested a reply for each of them.
    prdr: bool,
}

impl Application {
    const fn new(choices: Choices, terms: Terms) -> Self {
        Self { choices, terms, late: None, recipients: 0, prdr: false }
    }

    fn asked_who(
        &mut self,
        request: AuthRequest,
        server: &mut Server<Secure>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        match self.choices.pick(6) {
            choice @ (0 | 1) => {
                let verdict = if choice == 0 { accepted(&request) } else { rejected(&request) };
                verdict_given(server, request, verdict, tx, record);
            }
            choice @ (2 | 3) => {
                let verdict = if choice == 2 { accepted(&request) } else { rejected(&request) };
                self.late = Some(Late::Verdict(request, verdict));
            }
            4 => verdict_given(server, request, AuthVerdict::Unavailable, tx, record),
            // Dropped: the machine answers.
            _ => {}
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
            record.piece(&chunk);
            return;
        }
        record.event(&event);
        match event {
            // Only where an identity is possible; otherwise every conversation would begin with a choice.
            Event::Hello(..) if self.terms.variant == Variant::Other => self.hello(server, tx, record),
            Event::Mail(mail, reply) => {
                (self.recipients, self.prdr) = (0, mail.prdr);
                record.event(&(server.forwarded(), server.is_authenticated(), server.wait().awaited));
                let is_secure = server.channel().secure().is_some();
                record.requires(C::SECURE == is_secure, || "the channel is of the other kind".to_owned());
                if self.terms.proof == Proof::Needed {
                    record.entries.push(Entry::RequiresAuth("MAIL"));
                }
                self.reply(reply, Response::ok(), server, tx, record);
            }
            Event::Data(reply) => self.reply(reply, Response::start_data(), server, tx, record),
            Event::XClient(_, reply) => {
                self.reply(reply, Response::ok(), server, tx, record);
                // After a session reset the machine offers none of this by itself.
                trust(server, self.terms);
            }
            Event::Burl(url, _, reply) => {
                record.event(&url.expose().len());
                record.entries.push(Entry::RequiresAuth("BURL"));
                self.reply(reply, Response::ok(), server, tx, record);
            }
            Event::Rcpt(_, reply)
            | Event::DataEnd(reply)
            | Event::Vrfy(_, reply)
            | Event::Expn(_, reply)
            | Event::Help(_, reply)
            | Event::Etrn(_, reply)
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
        let response = match self.choices.pick(10) {
            0 | 2 => yes,
            1 | 3 => Response::try_again(),
            // An application that answers 421 wants to end the session.
            4 => Response::new(Code::UNAVAILABLE, "going down"),
            5 => Response::new(Code::MAILBOX_UNAVAILABLE, "no such\nuser"),
            choice @ (6 | 7) => {
                self.reply_each(reply, choice == 7, server, tx, record);
                return;
            }
            // Dropped: the machine answers.
            9 => return,
            _ => Response::start_data(),
        };
        if reply.verb() == Verb::Rcpt && response.is_positive() {
            self.recipients += 1;
            if self.terms.dialect == Dialect::Lmtp {
                record.entries.push(Entry::OwesReplies(1));
            }
        }
        let late = self.choices.pick(2) == 1;
        if late {
            self.late = Some(Late::Reply(reply, response));
        } else {
            answer(server, reply, &response, tx, record);
        }
    }

    /// Answers each recipient, or one too many.
    fn reply_each<C: Channel>(
        &mut self,
        reply: Reply,
        too_many: bool,
        server: &mut Server<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let count = self.recipients + usize::from(too_many);
        let responses: Vec<_> = (0..count)
            .map(|_| match self.choices.pick(4) {
                0 => Response::ok(),
                1 => Response::try_again(),
                2 => Response::new(Code::UNAVAILABLE, "not now"),
                _ => Response::new(Code::MAILBOX_UNAVAILABLE, "no such\nuser"),
            })
            .collect();
        // Two more replies: one before them, and one for all.
        record.entries.push(Entry::OwesReplies(if self.prdr { count + 1 } else { 0 }));
        // With a wrong number of replies, the machine gives a temporary failure to each recipient.
        record.noted("reply", server.reply_each(reply, &responses, tx));
    }

    /// Whether a client is welcome.
    fn hello<C: Channel>(&mut self, server: &mut Server<C>, tx: &mut SendBuffer, record: &mut Record) {
        let no = match self.choices.pick(4) {
            1 => Response::new(Code::MAILBOX_UNAVAILABLE, "not you"),
            2 => Response::new(Code::UNAVAILABLE, "not now"),
            // This is not a refusal.
            3 => Response::ok(),
            _ => return,
        };
        record.tried("refuse", tx, |tx| server.refuse_hello(&no, tx));
        let late = record.tried("turn away", tx, |tx| server.reject_connection(&no, tx));
        record.requires(late.is_none(), || "a client was rejected after its greeting".to_owned());
    }
}

/// Gives an answer. Accepting XCLIENT resets the identity.
fn answer<C: Channel>(
    server: &mut Server<C>,
    reply: Reply,
    response: &Response<'_>,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    let verb = reply.verb();
    record.tried("reply", tx, |tx| server.reply(reply, response, tx));
    if verb == Verb::XClient && response.is_positive() {
        record.entries.push(Entry::IdentityReset);
    }
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
    let given = record.tried("verdict", tx, |tx| server.answer_auth(request, verdict, tx));
    record.entries.extend(said.filter(|_| given.is_some()));
}
