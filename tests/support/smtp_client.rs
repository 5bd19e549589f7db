//! An SMTP client whose application gives the commands that its choices select, whenever the client is idle.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::sasl::ClientExchange;
use proto_mail::{
    Channel, Cleartext, Credentials, Error, Mechanism, Misuse, RecvBuffer, Secure, SendBuffer, Upgrade,
};
use proto_smtp::Config;
use proto_smtp::client::{AuthOutcome, Client, Event, Progress, StartTls, Step, Transaction};
use proto_smtp::types::{Attributes, ChunkEnd};

use crate::careless_mechanism::{ClientMechanism, client_exchange};
use crate::invariants::{PASSWORD, TOKEN};
use crate::play::{Choices, Delivery, Ending, Entry, FirstChannel, Player, Record, channel};
use crate::smtp_chunks::{written, written_externally, written_wrongly};
use crate::smtp_mail;
use crate::unattended::{self, DrivenBy};

/// The client under test, at any point on its way to TLS.
pub struct TestClient {
    session: Session,
    application: Application,
    /// The choices of the application after TLS.
    choices_after_tls: Choices,
    delivery: Delivery,
}

#[derive(Debug)]
enum Session {
    Cleartext(Client<Cleartext>),
    Negotiating(StartTls),
    Secure(Client<Secure>),
    /// It failed during the upgrade to TLS.
    Gone(Error),
}

/// The next step of the session itself.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    StartTls,
}

impl TestClient {
    /// Starts before the server's greeting.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        first: FirstChannel,
        choices: Choices,
        choices_after_tls: Choices,
    ) -> Self {
        let session = if first == FirstChannel::Secure {
            Session::Secure(Client::<Secure>::new(config, channel()))
        } else {
            Session::Cleartext(Client::<Cleartext>::new(config))
        };
        let application = Application::new(choices);
        Self { session, application, choices_after_tls, delivery: Delivery::Borrowed }
    }

    fn starttls(&mut self, tx: &mut SendBuffer, record: &mut Record) -> Result<(), Error> {
        match mem::replace(&mut self.session, Session::Gone(Misuse::Closed.into())) {
            Session::Cleartext(client) => match client.starttls(tx) {
                Ok(negotiation) => {
                    record.entries.push(Entry::CommandGiven("STARTTLS", 1));
                    self.session = Session::Negotiating(negotiation);
                }
                Err(error) => {
                    self.session = Session::Gone(error.clone());
                    return Err(error);
                }
            },
            other => self.session = other,
        }
        Ok(())
    }

    /// Looks for the reply to STARTTLS.
    fn negotiate(
        &mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) -> Result<bool, Error> {
        let negotiation = match mem::replace(&mut self.session, Session::Gone(Misuse::Closed.into())) {
            Session::Negotiating(negotiation) => negotiation,
            other => {
                self.session = other;
                return Ok(false);
            }
        };
        let outcome = match StartTlsNegotiation::advance(negotiation, rx, tx) {
            Ok(Negotiation::Pending(negotiation)) => {
                self.session = Session::Negotiating(negotiation);
                return Ok(false);
            }
            Ok(Negotiation::Refused(client)) => {
                record.event(&"refused");
                self.session = Session::Cleartext(client);
                return Ok(true);
            }
            Ok(Negotiation::Ready(upgrade)) => Upgrade::complete(upgrade, channel(), rx),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(client) => {
                record.send(tx);
                record.secured(rx);
                self.session = Session::Secure(client);
                self.application = Application::new(self.choices_after_tls.clone());
                Ok(true)
            }
            Err(error) => {
                self.session = Session::Gone(error.clone());
                Err(error)
            }
        }
    }
}

impl Player for TestClient {
    fn deliver(&mut self, how: Delivery) {
        self.delivery = how;
    }

    fn unattended(self, by: DrivenBy, pieces: &[&[u8]], ending: Ending) -> Record {
        let nothing = SendBuffer::new();
        match self.session {
            Session::Cleartext(client) => unattended::run(client, nothing, by, pieces, ending),
            Session::Secure(client) => unattended::run(client, nothing, by, pieces, ending),
            Session::Negotiating(_) | Session::Gone(_) => Record::default(),
        }
    }

    fn step(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer, record: &mut Record) -> Result<bool, Error> {
        let next = match &mut self.session {
            Session::Gone(error) => return Err(error.clone()),
            Session::Negotiating(_) => return self.negotiate(rx, tx, record),
            Session::Secure(client) => {
                let Some(event) = client.next_event(rx, tx)? else { return Ok(false) };
                let prove = Prove {
                    by_credentials: Client::<Secure>::authenticate,
                    by_exchange: Client::<Secure>::authenticate_with,
                };
                self.application.delivered(self.delivery, event, client, &prove, tx, record)
            }
            Session::Cleartext(client) => {
                let Some(event) = client.next_event(rx, tx)? else { return Ok(false) };
                let prove = Prove {
                    by_credentials: Client::<Cleartext>::danger_cleartext_authenticate,
                    by_exchange: Client::<Cleartext>::danger_cleartext_authenticate_with,
                };
                self.application.delivered(self.delivery, event, client, &prove, tx, record)
            }
        };
        if next == Next::StartTls {
            self.starttls(tx, record)?;
        }
        Ok(true)
    }

    fn rest(&mut self, _: &mut RecvBuffer, _: &mut SendBuffer, _: &mut Record) -> Result<bool, Error> {
        Ok(false)
    }

    fn time_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match &mut self.session {
            Session::Gone(error) => Err(error.clone()),
            Session::Negotiating(_) => Ok(()),
            Session::Cleartext(client) => client.timed_out(tx),
            Session::Secure(client) => client.timed_out(tx),
        }
    }

    fn is_closed(&self) -> bool {
        match &self.session {
            Session::Gone(_) => true,
            Session::Negotiating(_) => false,
            Session::Cleartext(client) => client.is_closed(),
            Session::Secure(client) => client.is_closed(),
        }
    }

    fn wants_read(&self, tx: &SendBuffer) -> bool {
        match &self.session {
            Session::Gone(_) => false,
            Session::Negotiating(_) => true,
            Session::Cleartext(client) => client.wants_read(tx),
            Session::Secure(client) => client.wants_read(tx),
        }
    }

    fn show(&self) -> String {
        format!("{:?}", self.session)
    }
}

struct Application {
    choices: Choices,
    transaction: Option<Transaction>,
    /// The rest of the transaction, for the next command.
    rest: Option<Transaction>,
    /// The message to send.
    message: &'static [u8],
    /// How the message is sent, if in parts.
    parts: Option<Parts>,
    writing: Writing,
}

/// How a message is written after DATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// At once and uncopied.
    Whole,
    /// In two parts.
    Parts,
    /// Only the first part: the application never gets further.
    Half,
}

/// How a message is sent in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    /// Every part by BDAT.
    Chunks,
    /// By BURL where it is chosen.
    Urls,
}

/// A message that may be sent as one chunk.
const WHOLE: &[u8] = b"x\r\n..\r\n.x\r\n";

/// Logs in by an exchange of the application's own.
type ByExchange<C> = fn(&mut Client<C>, Box<dyn ClientExchange>, &mut SendBuffer) -> Result<(), Error>;

/// How a client on one channel authenticates.
struct Prove<C: Channel> {
    by_credentials: fn(&mut Client<C>, Mechanism, Credentials, &mut SendBuffer) -> Result<(), Error>,
    by_exchange: ByExchange<C>,
}

impl Application {
    const fn new(choices: Choices) -> Self {
        Self { choices, transaction: None, rest: None, message: WHOLE, parts: None, writing: Writing::Parts }
    }

    /// Handles an event, or its owned copy.
    fn delivered<C: Channel>(
        &mut self,
        delivery: Delivery,
        event: Event<'_>,
        client: &mut Client<C>,
        prove: &Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) -> Next {
        if delivery == Delivery::Borrowed {
            return self.event(&event, client, prove, tx, record);
        }
        let shown = format!("{event:?}");
        let owned = event.into_owned();
        record.copied(&shown, &owned);
        self.event(&owned, client, prove, tx, record)
    }

    fn event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        prove: &Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) -> Next {
        record.event(event);
        match event {
            Event::Auth(outcome) => {
                record.event(&client.authentication_failure());
                if matches!(outcome, AuthOutcome::Accepted(_)) {
                    record.entries.push(Entry::Authenticated);
                }
            }
            Event::SendData(_) | Event::Delivered(..) => record.entries.push(Entry::RequiresTls("a message")),
            _ => {}
        }
        if let Some(transaction) = &mut self.transaction {
            let progress = transaction.event(event, client, tx);
            self.progress(progress, client, tx, record);
        } else if let Some(parts) = self.parts {
            self.part(parts, event, client, tx, record);
        } else if matches!(event, Event::SendData(_)) {
            self.write(client, tx, record);
        }
        let ready = client.is_idle() && self.transaction.is_none() && self.parts.is_none();
        if ready && !matches!(event, Event::Greeting(_)) {
            self.command(client, prove, tx, record)
        } else {
            Next::GoOn
        }
    }

    fn command<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        prove: &Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) -> Next {
        if let Some(rest) = self.rest.take() {
            self.start(rest, client, tx, record);
            return Next::GoOn;
        }
        match self.choices.pick(28) {
            1 => self.authenticate(client, prove, tx, record),
            2 => return Next::StartTls,
            3 => self.transact(Writing::Parts, client, tx, record),
            4 => self.transact(Writing::Whole, client, tx, record),
            27 => self.transact(Writing::Half, client, tx, record),
            5 | 6 => self.begin_parts(Parts::Chunks, client, tx, record),
            7 => drop(record.given("NOOP", tx, |tx| client.noop(tx))),
            8 => drop(record.given("VRFY", tx, |tx| client.vrfy("x", tx))),
            9 => drop(record.given("RSET", tx, |tx| client.reset(tx))),
            10 => drop(record.given("HELP", tx, |tx| client.help("", tx))),
            11 => drop(record.given("QUIT", tx, |tx| client.quit(tx))),
            12 => {
                if let Some(letter) = smtp_mail::letter(&mut self.choices) {
                    (self.message, self.writing) = (letter.message, Writing::Whole);
                    self.start(letter.transaction, client, tx, record);
                }
            }
            13 => self.begin_parts(Parts::Urls, client, tx, record),
            24 => self.custom_login(client, prove, tx, record),
            25 => self.chosen_login(client, prove, tx, record),
            choice => self.extra(choice, client, tx, record),
        }
        Next::GoOn
    }

    /// Rare and invalid commands.
    fn extra<C: Channel>(
        &mut self,
        choice: u8,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        match choice {
            14 => drop(record.given("EXPN", tx, |tx| client.expn("x", tx))),
            15 => drop(record.given("HELP", tx, |tx| client.help("x", tx))),
            16 => {
                if let Some(node) = smtp_mail::node() {
                    record.given("ETRN", tx, |tx| client.etrn(&node, tx));
                }
            }
            17 => {
                if let Some(said) = smtp_mail::attributes(Attributes::xclient(), self.choices.pick(4)) {
                    record.given("XCLIENT", tx, |tx| client.xclient(&said, tx));
                }
            }
            18 => {
                // Pipelined, where that is allowed.
                for _ in 0..2 {
                    if let Some(said) = smtp_mail::attributes(Attributes::xforward(), self.choices.pick(4)) {
                        record.given("XFORWARD", tx, |tx| client.xforward(&said, tx));
                    }
                }
            }
            19 => {
                // A transaction that is left open.
                if let Some(mail) = smtp_mail::mail_of(self.choices.pick(14)) {
                    record.given("MAIL", tx, |tx| client.mail(&mail, tx));
                }
                if let Some(rcpt) = smtp_mail::rcpt_of(self.choices.pick(6)) {
                    record.given("RCPT", tx, |tx| client.rcpt(&rcpt, tx));
                }
            }
            20 => drop(record.given("DATA", tx, |tx| client.data(tx))),
            21 => {
                record.given("NOOP", tx, |tx| client.noop(tx));
                record.given("NOOP", tx, |tx| client.noop(tx));
            }
            22 => senseless(client, tx, record),
            26 => look(client, tx, record),
            _ => {}
        }
    }

    fn authenticate<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        prove: &Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let mechanism = Mechanism::ALL[usize::from(self.choices.pick(Mechanism::ALL.len() as u8))];
        let password = Credentials::password("x", PASSWORD.as_bytes());
        let credentials =
            if mechanism.accepts(&password) { password } else { Credentials::bearer("x", TOKEN) };
        record.given("AUTHENTICATE", tx, |tx| (prove.by_credentials)(client, mechanism, credentials, tx));
    }

    /// Logs in by a custom mechanism.
    fn custom_login<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        prove: &Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let mechanism = ClientMechanism::numbered(self.choices.pick(3));
        let is_offered = mechanism
            .name()
            .is_some_and(|name| client.capabilities().is_some_and(|all| all.offers_mechanism(name)));
        let may_be_used = is_offered && (C::SECURE || mechanism == ClientMechanism::Quiet);
        let given = record
            .given("AUTHENTICATE", tx, |tx| (prove.by_exchange)(client, client_exchange(mechanism), tx));
        record.requires(given.is_none() || may_be_used, || format!("{mechanism:?} was used"));
    }

    /// Lets the client choose a mechanism, then logs in by it.
    fn chosen_login<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        prove: &Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let credentials = Credentials::password("x", PASSWORD.as_bytes());
        let choice = client.choose_mechanism(&Mechanism::ALL, &credentials);
        record.event(&choice);
        let Some(mechanism) = choice.chosen() else { return };
        let is_offered = client.capabilities().is_some_and(|all| all.offers_mechanism(mechanism.name()));
        record.requires(is_offered, || format!("{mechanism:?} was chosen and is not offered"));
        record.given("AUTHENTICATE", tx, |tx| (prove.by_credentials)(client, mechanism, credentials, tx));
    }

    /// Sends a message to one, two or three recipients, as a transaction.
    fn transact<C: Channel>(
        &mut self,
        writing: Writing,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let recipients = self.choices.pick(3) + 1;
        let Some(mut transaction) = smtp_mail::mail_of(0).map(Transaction::new) else { return };
        for recipient in (0..recipients).filter_map(|_| smtp_mail::rcpt_of(0)) {
            transaction = transaction.recipient(recipient);
        }
        (self.message, self.writing) = (WHOLE, writing);
        if writing == Writing::Whole {
            transaction = transaction.in_one_chunk(WHOLE.len() as u64);
        }
        self.start(transaction, client, tx, record);
    }

    fn start<C: Channel>(
        &mut self,
        mut transaction: Transaction,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let progress = transaction.start(client, tx);
        if progress.is_ok() {
            let recipients = transaction.recipients().len();
            let most = [("MAIL", 1), ("RCPT", recipients), ("DATA", 1), ("BDAT", 1), ("RSET", 1)];
            record.entries.extend(most.map(|(verb, lines)| Entry::CommandGiven(verb, lines)));
        }
        self.transaction = Some(transaction);
        self.progress(progress, client, tx, record);
    }

    /// Does what a transaction asks for.
    fn progress<C: Channel>(
        &mut self,
        progress: Result<Progress, Error>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        match record.noted("transaction", progress) {
            Some(Progress::SendData) => self.write(client, tx, record),
            Some(Progress::Continue) => {}
            _ => {
                if let Some(transaction) = self.transaction.take() {
                    for one in transaction.recipients() {
                        let outcome = one.outcome();
                        record.event(&(one.is_accepted(), outcome, outcome.is_retryable()));
                    }
                    self.rest = transaction.rest();
                }
            }
        }
    }

    /// Writes the message.
    fn write<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
        let (writing, message) = (self.writing, self.message);
        let written = client.data_writer().and_then(|mut writer| {
            if writing == Writing::Whole {
                writer.write_payload(&Bytes::from_static(message), tx)?;
                return writer.finish(tx);
            }
            // A dot at the very beginning, one after a line end that is split between two calls, and no final line
            // end.
            writer.write(b".x\r", tx)?;
            if writing == Writing::Half {
                return Ok(());
            }
            writer.write(b"\n.\r\nx", tx)?;
            writer.finish(tx)
        });
        // A forbidden byte ends the session in the middle of the message.
        record.noted("message", written);
    }

    fn begin_parts<C: Channel>(
        &mut self,
        parts: Parts,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        if let Some(mail) = smtp_mail::mail_of(0) {
            self.parts = record.given("MAIL", tx, |tx| client.mail(&mail, tx)).map(|()| parts);
        }
    }

    /// The next step of a message that is sent in parts.
    fn part<C: Channel>(
        &mut self,
        parts: Parts,
        event: &Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let end = match event {
            Event::Accepted(Step::Mail, _) => {
                let given = smtp_mail::rcpt_of(0)
                    .and_then(|rcpt| record.given("RCPT", tx, |tx| client.rcpt(&rcpt, tx)));
                self.parts = given.map(|_| parts);
                return;
            }
            Event::Accepted(Step::Rcpt(_), _) => ChunkEnd::More,
            Event::Accepted(Step::Chunk, _) => ChunkEnd::Last,
            _ => {
                self.parts = None;
                return;
            }
        };
        let bytes: &[u8] = if end == ChunkEnd::Last { b"x\r\n" } else { b"x.x\r\n" };
        let way = if parts == Parts::Urls { self.choices.pick(4) } else { 0 };
        let given = match way {
            0 => written(client, bytes, end, tx, record),
            1 => record.given("BURL", tx, |tx| client.burl(smtp_mail::URL, end, tx)),
            2 => written_externally(client, bytes, end, tx, record),
            _ => written_wrongly(client, bytes, end, tx, record),
        };
        self.parts = given.map(|()| parts);
    }
}

/// Commands that no client can send now, or ever.
fn senseless<C: Channel>(client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
    let (empty, line) = ("", "x\r\nNOOP");
    let refused = [
        record.tried("write", tx, |_| client.data_writer().map(drop)),
        record.tried("VRFY", tx, |tx| client.vrfy(line, tx)),
        record.tried("VRFY", tx, |tx| client.vrfy(empty, tx)),
        record.tried("EXPN", tx, |tx| client.expn(empty, tx)),
        record.tried("HELP", tx, |tx| client.help(line, tx)),
    ];
    record.requires(refused == [None; 5], || format!("a senseless command was given: {refused:?}"));
    record.given("BURL", tx, |tx| client.burl("x", ChunkEnd::Last, tx));
    // It may be offered, and then it is a chunk as any other.
    written(client, b"x", ChunkEnd::Last, tx, record);
}

/// Reads every accessor, and checks that they agree.
fn look<C: Channel>(client: &Client<C>, tx: &SendBuffer, record: &mut Record) {
    record.event(&(
        client.repairs().count(),
        client.capabilities().map(|offered| offered.extensions()).unwrap_or_default(),
        client.has_refused_initial_response(),
        client.wait().awaited,
    ));
    let is_both = client.is_idle() && client.is_message_sent(tx);
    record.requires(!is_both, || "idle, and the reply to a message is pending".to_owned());
    let is_secure = client.channel().secure().is_some();
    record.requires(C::SECURE == is_secure, || "the channel is of the other kind".to_owned());
    record.entries.push(Entry::DebugOutput(format!("{client:?}")));
}
