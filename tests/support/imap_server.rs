//! An IMAP server whose application answers yes or no, now or later, as its choices select.

use std::mem;
use std::sync::Arc;

use proto_imap::Config;
use proto_imap::server::{Event, LiteralOffer, Reply, Server};
use proto_imap::types::{Command, Condition, NameEncoding, StatusResponse, Text, Untagged};
use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Error, Misuse, RecvBuffer, Secure, SendBuffer,
    StartTlsRequest, Upgrade, WaitFor,
};

use crate::harness::Variant;
use crate::imap_data;
use crate::play::{Choices, Delivery, Ending, Entry, FirstChannel, Player, Record, channel};
use crate::test_user::{accepted, rejected};
use crate::unattended::{self, DrivenBy};

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
    delivery: Delivery,
}

#[derive(Debug)]
enum Session {
    Cleartext(Server<Cleartext>),
    Secure(Server<Secure>),
    /// It failed during the upgrade to TLS.
    Gone(Error),
}

impl TestServer {
    /// Starts before the client's first command. Some settings let the choices refuse the client at once.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        first: FirstChannel,
        variant: Variant,
        choices: Choices,
        choices_after_tls: Choices,
    ) -> Self {
        let (mut greeting, mut choices) = (SendBuffer::new(), choices);
        let is_refused = variant == Variant::Other && choices.pick(3) == 1;
        let session = match (first, is_refused) {
            (FirstChannel::Secure, false) => {
                Session::Secure(Server::<Secure>::new(config, channel(), &mut greeting))
            }
            (FirstChannel::Cleartext, false) => {
                Session::Cleartext(Server::<Cleartext>::new(config, &mut greeting))
            }
            (FirstChannel::Secure, true) => {
                let status = status(Condition::No);
                Session::Secure(Server::<Secure>::refusing(config, channel(), &status, &mut greeting))
            }
            (FirstChannel::Cleartext, true) => {
                let status = status(Condition::Ok);
                Session::Cleartext(Server::<Cleartext>::refusing(config, &status, &mut greeting))
            }
        };
        Self {
            session,
            greeting,
            application: Application::new(choices),
            choices_after_tls,
            late: None,
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
                delivered(self.delivery, event, record, |event, record| match event {
                    Event::Auth(request) => {
                        record.event(&request);
                        application.asked_who(request, server, tx, record);
                    }
                    event => application.event(event, server, tx, record),
                });
                return Ok(true);
            }
            Session::Cleartext(server) => {
                let Some(event) = server.next_event(rx, tx)? else { return Ok(false) };
                delivered(self.delivery, event, record, |event, record| match event {
                    Event::StartTls(request) => Some(request),
                    event => {
                        application.event(event, server, tx, record);
                        None
                    }
                })
            }
        };
        let Some(request) = request else { return Ok(true) };
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
            Session::Gone(error) => Err(error.clone()),
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

/// Handles an event, or its owned copy.
fn delivered<C: Channel, R>(
    delivery: Delivery,
    event: Event<'_, C>,
    record: &mut Record,
    handle: impl FnOnce(Event<'_, C>, &mut Record) -> R,
) -> R {
    if delivery == Delivery::Borrowed {
        return handle(event, record);
    }
    let shown = format!("{event:?}");
    let owned = event.into_owned();
    record.copied(&shown, &owned);
    owned.with_event(|event| handle(event, record))
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
        Some(Late::Reply(owed, condition)) => answer(server, owed, condition, tx, record),
        Some(Late::Offer(offer, yes)) => answer_offer(server, offer, yes, tx, record),
        Some(Late::Verdict(request, given)) => verdict(server, request, given, tx, record),
        None if server.wait().awaited == WaitFor::Delay => server.timed_out(tx)?,
        None => return Ok(false),
    }
    Ok(true)
}

/// An answer that is still owed.
enum Late {
    Reply(Owed, Condition),
    Offer(LiteralOffer, bool),
    Verdict(AuthRequest, AuthVerdict),
}

/// A command that awaits its answer.
struct Owed {
    reply: Reply,
    /// It is UNAUTHENTICATE.
    ends_login: bool,
}

struct Application {
    choices: Choices,
    late: Option<Late>,
    /// The answer to IDLE, due when the client sends DONE.
    idle: Option<Owed>,
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
                let fetches = matches!(command, Command::Fetch(_) | Command::UidFetch(_));
                let kind = match self.choices.pick(imap_data::KINDS) {
                    choice @ (0 | 1) if fetches => choice + 3,
                    choice => choice,
                };
                imap_data::send(kind, server, tx, record);
                let ends_login = command == Command::Unauthenticate;
                self.reply(Owed { reply, ends_login }, server, tx, record);
            }
            Event::AppendEnd(reply) => self.reply(Owed { reply, ends_login: false }, server, tx, record),
            Event::Append { offer, .. }
            | Event::AppendNext { offer, .. }
            | Event::AppendPart { offer, .. } => {
                record.entries.push(Entry::RequiresAuth("APPEND"));
                match self.choices.pick(6) {
                    0 => answer_offer(server, offer, true, tx, record),
                    1 => answer_offer(server, offer, false, tx, record),
                    2 => self.late = Some(Late::Offer(offer, true)),
                    3 => self.late = Some(Late::Offer(offer, false)),
                    // OK cannot reject a message. The token is used up, so the machine answers.
                    4 => {
                        let no = status(Condition::Ok);
                        let given = record.tried("offer", tx, |tx| server.reject_literal(offer, &no, tx));
                        record.requires(given.is_none(), || "OK rejects a message".to_owned());
                    }
                    // Dropped: the machine answers.
                    _ => {}
                }
            }
            Event::Idle(reply) => {
                record.entries.push(Entry::RequiresAuth("IDLE"));
                imap_data::data(&Untagged::Exists(3), server, tx, record);
                // An answer before DONE is refused, and its token is used up.
                self.idle = match self.choices.pick(3) {
                    0 => Some(Owed { reply, ends_login: false }),
                    1 => {
                        let early =
                            record.tried("early", tx, |tx| server.reply(reply, &status(Condition::Ok), tx));
                        record.requires(early.is_none(), || "IDLE was answered before DONE".to_owned());
                        None
                    }
                    _ => None,
                };
            }
            Event::Done => {
                if let Some(reply) = self.idle.take() {
                    self.reply(reply, server, tx, record);
                }
            }
            _ => {}
        }
    }

    fn reply<C: Channel>(
        &mut self,
        owed: Owed,
        server: &mut Server<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        match self.choices.pick(7) {
            0 => answer(server, owed, Condition::Ok, tx, record),
            1 => answer(server, owed, Condition::No, tx, record),
            2 => self.late = Some(Late::Reply(owed, Condition::Ok)),
            3 => self.late = Some(Late::Reply(owed, Condition::No)),
            4 => answer(server, owed, Condition::Bad, tx, record),
            // This completes no command. The token is used up, so the machine answers.
            5 => answer(server, owed, Condition::Bye, tx, record),
            // Dropped: the machine answers.
            _ => {}
        }
    }
}

/// Completes a command. Only OK, NO and BAD do.
fn answer<C: Channel>(
    server: &mut Server<C>,
    owed: Owed,
    condition: Condition,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    let before = server.refusals();
    let given = record.tried("reply", tx, |tx| server.reply(owed.reply, &status(condition), tx)).is_some();
    record.requires(!given || condition != Condition::Bye, || "BYE completes a command".to_owned());
    let refused = server.refusals().bad - before.bad;
    let expected = u32::from(given && condition == Condition::Bad);
    record.requires(refused == expected, || format!("{refused} refusals were counted, not {expected}"));
    if given && owed.ends_login && condition == Condition::Ok {
        record.entries.push(Entry::IdentityReset);
        let is_new =
            !server.state().is_authenticated() && server.name_encoding() == NameEncoding::ModifiedUtf7;
        record.requires(is_new, || "UNAUTHENTICATE left something of the login".to_owned());
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

fn answer_offer<C: Channel>(
    server: &mut Server<C>,
    offer: LiteralOffer,
    yes: bool,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    record.tried("answer an offer", tx, |tx| {
        if yes {
            server.accept_literal(offer, tx)
        } else {
            server.reject_literal(offer, &status(Condition::No), tx)
        }
    });
}

fn status(condition: Condition) -> StatusResponse<'static> {
    StatusResponse::new(condition, Text::first_line("said"))
}
