//! An SMTP client whose application gives the commands that its choices select, whenever the client is idle.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use proto_mail::machine::Negotiation;
use proto_mail::{Channel, Cleartext, Credentials, Error, Mechanism, Misuse, RecvBuffer, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::{AuthOutcome, Client, Event, Progress, StartTls, Step, Transaction};
use proto_smtp::types::{Attributes, ChunkEnd};

use crate::invariants::{PASSWORD, TOKEN};
use crate::play::{Choices, Entry, FirstChannel, Player, Record, channel};
use crate::smtp_mail;

/// The client under test, at any point on its way to TLS.
pub struct TestClient {
    session: Session,
    application: Application,
    /// The choices of the application after TLS.
    choices_after_tls: Choices,
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
        Self { session, application: Application::new(choices), choices_after_tls }
    }

    fn starttls(&mut self, tx: &mut SendBuffer, record: &mut Record) -> Result<(), Error> {
        match mem::replace(&mut self.session, Session::Gone(Misuse::Closed.into())) {
            Session::Cleartext(client) => match client.starttls(tx) {
                Ok(negotiation) => {
                    record.entries.push(Entry::CommandGiven("STARTTLS", 1));
                    self.session = Session::Negotiating(negotiation);
                }
                Err(error) => {
                    self.session = Session::Gone(error);
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
        let outcome = match negotiation.advance(rx, tx) {
            Ok(Negotiation::Pending(negotiation)) => {
                self.session = Session::Negotiating(negotiation);
                return Ok(false);
            }
            Ok(Negotiation::Refused(client)) => {
                record.event(&"refused");
                self.session = Session::Cleartext(client);
                return Ok(true);
            }
            Ok(Negotiation::Ready(upgrade)) => upgrade.complete(channel(), rx),
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
                self.session = Session::Gone(error);
                Err(error)
            }
        }
    }
}

impl Player for TestClient {
    fn step(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer, record: &mut Record) -> Result<bool, Error> {
        let next = match &mut self.session {
            Session::Gone(error) => return Err(*error),
            Session::Negotiating(_) => return self.negotiate(rx, tx, record),
            Session::Secure(client) => {
                let Some(event) = client.next_event(rx, tx)? else { return Ok(false) };
                self.application.event(&event, client, Client::<Secure>::authenticate, tx, record)
            }
            Session::Cleartext(client) => {
                let Some(event) = client.next_event(rx, tx)? else { return Ok(false) };
                let prove = Client::<Cleartext>::danger_cleartext_authenticate;
                self.application.event(&event, client, prove, tx, record)
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
            Session::Gone(error) => Err(*error),
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
    /// The message is sent as a whole.
    whole: bool,
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

/// How a client on one channel authenticates.
type Prove<C> = fn(&mut Client<C>, Mechanism, Credentials, &mut SendBuffer) -> Result<(), Error>;

impl Application {
    const fn new(choices: Choices) -> Self {
        Self { choices, transaction: None, rest: None, message: WHOLE, parts: None, whole: false }
    }

    fn event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        prove: Prove<C>,
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
        prove: Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) -> Next {
        if let Some(rest) = self.rest.take() {
            self.start(rest, client, tx, record);
            return Next::GoOn;
        }
        match self.choices.pick(24) {
            1 => self.authenticate(client, prove, tx, record),
            2 => return Next::StartTls,
            choice @ (3 | 4) => {
                self.whole = choice == 4;
                self.transact(client, tx, record);
            }
            5 | 6 => self.begin_parts(Parts::Chunks, client, tx, record),
            7 => drop(record.given("NOOP", client.noop(tx))),
            8 => drop(record.given("VRFY", client.vrfy("x", tx))),
            9 => drop(record.given("RSET", client.reset(tx))),
            10 => drop(record.given("HELP", client.help("", tx))),
            11 => drop(record.given("QUIT", client.quit(tx))),
            12 => {
                if let Some(letter) = smtp_mail::letter(&mut self.choices) {
                    (self.message, self.whole) = (letter.message, true);
                    self.start(letter.transaction, client, tx, record);
                }
            }
            13 => self.begin_parts(Parts::Urls, client, tx, record),
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
            14 => drop(record.given("EXPN", client.expn("x", tx))),
            15 => drop(record.given("HELP", client.help("x", tx))),
            16 => {
                if let Some(node) = smtp_mail::node() {
                    record.given("ETRN", client.etrn(&node, tx));
                }
            }
            17 => {
                if let Some(said) = smtp_mail::attributes(Attributes::xclient(), self.choices.pick(4)) {
                    record.given("XCLIENT", client.xclient(&said, tx));
                }
            }
            18 => {
                // Pipelined, where that is allowed.
                for _ in 0..2 {
                    if let Some(said) = smtp_mail::attributes(Attributes::xforward(), self.choices.pick(4)) {
                        record.given("XFORWARD", client.xforward(&said, tx));
                    }
                }
            }
            19 => {
                // A transaction that is left open.
                if let Some(mail) = smtp_mail::mail_of(self.choices.pick(14)) {
                    record.given("MAIL", client.mail(&mail, tx));
                }
                if let Some(rcpt) = smtp_mail::rcpt_of(self.choices.pick(6)) {
                    record.given("RCPT", client.rcpt(&rcpt, tx));
                }
            }
            20 => drop(record.given("DATA", client.data(tx))),
            21 => {
                record.given("NOOP", client.noop(tx));
                record.given("NOOP", client.noop(tx));
            }
            22 => senseless(client, tx, record),
            _ => {}
        }
    }

    fn authenticate<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        prove: Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let mechanism = Mechanism::ALL[usize::from(self.choices.pick(Mechanism::ALL.len() as u8))];
        let password = Credentials::password("x", PASSWORD.as_bytes());
        let credentials =
            if mechanism.accepts(&password) { password } else { Credentials::bearer("x", TOKEN) };
        record.given("AUTHENTICATE", prove(client, mechanism, credentials, tx));
    }

    /// Sends a message to one, two or three recipients, as a transaction.
    fn transact<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
        let recipients = self.choices.pick(3) + 1;
        let Some(mut transaction) = smtp_mail::mail_of(0).map(Transaction::new) else { return };
        for recipient in (0..recipients).filter_map(|_| smtp_mail::rcpt_of(0)) {
            transaction = transaction.recipient(recipient);
        }
        self.message = WHOLE;
        if self.whole {
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
        match record.tried("transaction", progress) {
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

    /// Writes the message: whole and uncopied, or in parts.
    fn write<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
        let (whole, message) = (self.whole, self.message);
        let written = client.data_writer().and_then(|mut writer| {
            if whole {
                writer.write_payload(&Bytes::from_static(message), tx)?;
            } else {
                // A dot at the very beginning, one after a line end that is split between two calls, and no final
                // line end.
                writer.write(b".x\r", tx)?;
                writer.write(b"\n.\r\nx", tx)?;
            }
            writer.finish(tx)
        });
        record.tried("message", written);
    }

    fn begin_parts<C: Channel>(
        &mut self,
        parts: Parts,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        if let Some(mail) = smtp_mail::mail_of(0) {
            self.parts = record.given("MAIL", client.mail(&mail, tx)).map(|()| parts);
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
                let given =
                    smtp_mail::rcpt_of(0).and_then(|rcpt| record.given("RCPT", client.rcpt(&rcpt, tx)));
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
            0 => record.given("BDAT", bdat(client, bytes, end, tx)),
            1 => record.given("BURL", client.burl(smtp_mail::URL, end, tx)),
            2 => {
                let given = past(client, bytes, end, tx, record);
                record.given("BDAT", given)
            }
            _ => {
                let given = wrong(client, bytes, end, tx, record);
                record.given("BDAT", given)
            }
        };
        self.parts = given.map(|()| parts);
    }
}

fn bdat<C: Channel>(
    client: &mut Client<C>,
    bytes: &[u8],
    end: ChunkEnd,
    tx: &mut SendBuffer,
) -> Result<(), Error> {
    client.bdat(bytes.len() as u64, end, tx)?;
    client.data_writer()?.write(bytes, tx)?;
    client.data_writer()?.finish(tx)
}

/// A chunk that the driver writes itself, as from a file.
fn past<C: Channel>(
    client: &mut Client<C>,
    bytes: &[u8],
    end: ChunkEnd,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Result<(), Error> {
    client.bdat(bytes.len() as u64, end, tx)?;
    record.tried("pass too early", client.data_writer()?.written_externally(1, tx));
    record.send(tx);
    client.data_writer()?.written_externally(bytes.len() as u64, tx)?;
    record.entries.push(Entry::Sent(bytes.to_vec(), false));
    client.data_writer()?.finish(tx)
}

/// A chunk with a wrong size, which the machine must report.
fn wrong<C: Channel>(
    client: &mut Client<C>,
    bytes: &[u8],
    end: ChunkEnd,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Result<(), Error> {
    client.bdat(bytes.len() as u64, end, tx)?;
    record.tried("end too early", client.data_writer()?.finish(tx));
    record.tried("too much", client.data_writer()?.write(&[bytes, b"x"].concat(), tx));
    record.tried("a command inside", client.noop(tx));
    client.data_writer()?.write_payload(&Bytes::copy_from_slice(bytes), tx)?;
    client.data_writer()?.finish(tx)
}

/// Commands that no client can send now, or ever.
fn senseless<C: Channel>(client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
    record.tried("write", client.data_writer().map(drop));
    record.tried("VRFY", client.vrfy("x\r\nNOOP", tx));
    record.tried("EXPN", client.expn("", tx));
    record.tried("HELP", client.help("x\nNOOP", tx));
    record.tried("BURL", client.burl("x", ChunkEnd::Last, tx));
    record.tried(
        "BDAT",
        client.bdat(1, ChunkEnd::Last, tx).and_then(|()| {
            // It was offered, so it must be done.
            client.data_writer()?.write(b"x", tx)?;
            client.data_writer()?.finish(tx)
        }),
    );
    record.entries.push(Entry::CommandGiven("BDAT", 1));
    record.event(&(
        client.repairs().count(),
        client.capabilities().map(|offered| offered.extensions()).unwrap_or_default(),
    ));
    record.entries.push(Entry::DebugOutput(format!("{client:?}")));
}
