//! An SMTP client whose application gives the commands that its choices say, whenever the client is idle.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use proto_core::machine::Negotiation;
use proto_core::{Channel, Cleartext, Credentials, Error, Mechanism, Misuse, RecvBuffer, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::{AuthOutcome, Client, Event, Progress, StartTls, Step, Transaction};
use proto_smtp::types::{Address, ChunkEnd, Mail, Rcpt, ReversePath};

use crate::laws::{PASSWORD, TOKEN};
use crate::play::{Choices, Entry, Player, Record, channel};

/// The client under test, wherever it is on its way to TLS.
pub struct Asking {
    session: Session,
    application: Application,
    /// What the application that begins under TLS will choose.
    afresh: Choices,
}

enum Session {
    Cleartext(Client<Cleartext>),
    Negotiating(StartTls),
    Secure(Client<Secure>),
    /// It failed on its way through the gate.
    Gone(Error),
}

/// What comes next for the session itself.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    StartTls,
}

impl Asking {
    /// Before the server's greeting.
    #[must_use]
    pub fn new(config: Arc<Config>, secure: bool, choices: Choices, afresh: Choices) -> Self {
        let session = if secure {
            Session::Secure(Client::<Secure>::new(config, channel()))
        } else {
            Session::Cleartext(Client::<Cleartext>::new(config))
        };
        Self { session, application: Application::new(choices), afresh }
    }

    fn starttls(&mut self, tx: &mut SendBuffer, record: &mut Record) -> Result<(), Error> {
        match mem::replace(&mut self.session, Session::Gone(Misuse::Closed.into())) {
            Session::Cleartext(client) => match client.starttls(tx) {
                Ok(negotiation) => {
                    record.entries.push(Entry::Given("STARTTLS", 1));
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

    /// Looks for the answer to STARTTLS.
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
            Ok(Negotiation::More(negotiation)) => {
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
                self.application = Application::new(self.afresh.clone());
                Ok(true)
            }
            Err(error) => {
                self.session = Session::Gone(error);
                Err(error)
            }
        }
    }
}

impl Player for Asking {
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
}

struct Application {
    choices: Choices,
    transaction: Option<Transaction>,
    /// A message goes by BDAT, step by step.
    chunking: bool,
    /// The transaction's message goes as one chunk if it can.
    whole: bool,
}

/// A message that may go as one chunk.
const WHOLE: &[u8] = b"x\r\n..\r\n.x\r\n";

/// How a client on one channel proves an identity.
type Prove<C> = fn(&mut Client<C>, Mechanism, Credentials, &mut SendBuffer) -> Result<(), Error>;

impl Application {
    const fn new(choices: Choices) -> Self {
        Self { choices, transaction: None, chunking: false, whole: false }
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
            Event::Auth(AuthOutcome::Accepted(_)) => record.entries.push(Entry::Proved),
            Event::SendData(_) | Event::Delivered(..) => record.entries.push(Entry::NeedsTls("a message")),
            _ => {}
        }
        if let Some(transaction) = &mut self.transaction {
            let progress = transaction.event(event, client, tx);
            self.progress(progress, client, tx, record);
        } else if self.chunking {
            self.chunk(event, client, tx, record);
        }
        let ready = client.is_idle() && self.transaction.is_none() && !self.chunking;
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
        match self.choices.pick(12) {
            1 => self.authenticate(client, prove, tx, record),
            2 => return Next::StartTls,
            choice @ (3 | 4) => {
                self.whole = choice == 4;
                self.transact(client, tx, record);
            }
            5 | 6 => {
                if let Some(mail) = mail() {
                    self.chunking = record.given("MAIL", client.mail(&mail, tx)).is_some();
                }
            }
            7 => drop(record.given("NOOP", client.noop(tx))),
            8 => drop(record.given("VRFY", client.vrfy("x", tx))),
            9 => drop(record.given("RSET", client.reset(tx))),
            10 => drop(record.given("HELP", client.help("", tx))),
            11 => drop(record.given("QUIT", client.quit(tx))),
            _ => {}
        }
        Next::GoOn
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
        let credentials = if mechanism.takes(&password) { password } else { Credentials::bearer("x", TOKEN) };
        record.given("AUTHENTICATE", prove(client, mechanism, credentials, tx));
    }

    /// A message to one, two or three recipients, as a transaction.
    fn transact<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
        let recipients = self.choices.pick(3) + 1;
        let Some(mut transaction) = mail().map(Transaction::new) else { return };
        for recipient in (0..recipients).filter_map(|_| rcpt()) {
            transaction = transaction.recipient(recipient);
        }
        if self.whole {
            transaction = transaction.in_one_chunk(WHOLE.len() as u64);
        }
        let progress = transaction.start(client, tx);
        if progress.is_ok() {
            let most =
                [("MAIL", 1), ("RCPT", usize::from(recipients)), ("DATA", 1), ("BDAT", 1), ("RSET", 1)];
            record.entries.extend(most.map(|(verb, lines)| Entry::Given(verb, lines)));
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
            Some(Progress::SendData) => {
                let whole = self.whole;
                let written = client.data_writer().and_then(|mut writer| {
                    if whole {
                        writer.write_payload(&Bytes::from_static(WHOLE), tx)?;
                    } else {
                        // A dot at the very beginning, one behind a line end that two calls share, and no line end.
                        writer.write(b".x\r", tx)?;
                        writer.write(b"\n.\r\nx", tx)?;
                    }
                    writer.finish(tx)
                });
                record.tried("message", written);
            }
            Some(Progress::Continue) => {}
            _ => self.transaction = None,
        }
    }

    /// The next step of a message that goes by BDAT.
    fn chunk<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let given = match event {
            Event::Accepted(Step::Mail, _) => rcpt().and_then(|rcpt| {
                let given = client.rcpt(&rcpt, tx);
                record.given("RCPT", given).map(drop)
            }),
            Event::Accepted(Step::Rcpt(_), _) => {
                let given = bdat(client, b"x.x\r\n", ChunkEnd::More, tx);
                record.given("BDAT", given)
            }
            Event::Accepted(Step::Chunk, _) => {
                let given = bdat(client, b"x\r\n", ChunkEnd::Last, tx);
                record.given("BDAT", given)
            }
            _ => None,
        };
        self.chunking = given.is_some();
    }
}

fn bdat<C: Channel>(
    client: &mut Client<C>,
    octets: &[u8],
    end: ChunkEnd,
    tx: &mut SendBuffer,
) -> Result<(), Error> {
    client.bdat(octets.len() as u64, end, tx)?;
    client.data_writer()?.write(octets, tx)?;
    client.data_writer()?.finish(tx)
}

fn address() -> Option<Address<'static>> {
    Address::parse("x@example.com").ok().map(Address::into_owned)
}

fn mail() -> Option<Mail<'static>> {
    Some(Mail::new(ReversePath::from(address()?)))
}

fn rcpt() -> Option<Rcpt<'static>> {
    Some(Rcpt::new(address()?))
}
