//! An IMAP client whose application gives the commands that its choices select, whenever a command has completed.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use proto_imap::Config;
use proto_imap::client::{AuthOutcome, Client, CommandId, Event, LoginMethod, StartTls};
use proto_imap::types::{
    AppendCommand, Capability, Command, FetchAttribute, FetchCommand, Flag, IString, LazyList, ListCommand,
    ListPattern, MailboxName, SearchCommand, SearchKey, Section, SelectCommand, SequenceSet, StoreAction,
    StoreCommand,
};
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{
    Channel, Cleartext, Credentials, Error, Mechanism, Misuse, RecvBuffer, Secure, SendBuffer, Upgrade,
};

use crate::invariants::{PASSWORD, TOKEN};
use crate::play::{Choices, Entry, FirstChannel, Player, Record, channel};

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
        Self { session, application: Application { choices, append: None }, choices_after_tls }
    }

    /// Sends STARTTLS.
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
                self.application = Application { choices: self.choices_after_tls.clone(), append: None };
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
    /// How many bytes of an APPEND's message are still to be written.
    append: Option<u64>,
}

/// How a client on one channel authenticates.
type Prove<C> = fn(&mut Client<C>, LoginMethod, &Credentials, &mut SendBuffer) -> Result<CommandId, Error>;

impl Application {
    fn event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        prove: Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) -> Next {
        if let Event::BodyChunk(chunk) = event {
            record.piece(chunk);
            return Next::GoOn;
        }
        record.event(event);
        match event {
            Event::Data(_) | Event::FetchStart { .. } => {
                record.entries.push(Entry::RequiresTls("data"));
                if self.choices.pick(4) == 1 {
                    done(client, tx, record);
                }
            }
            Event::AppendReady(_) => {
                record.entries.push(Entry::RequiresTls("APPEND"));
                self.payload(client, tx, record);
            }
            Event::Auth(AuthOutcome::Accepted { .. }) => {
                record.entries.push(Entry::Authenticated);
                return self.command(client, prove, tx, record);
            }
            Event::Idling(_) if self.choices.pick(2) == 1 => done(client, tx, record),
            Event::Capabilities | Event::Completed { .. } | Event::Auth(_) => {
                return self.command(client, prove, tx, record);
            }
            _ => {}
        }
        Next::GoOn
    }

    /// Gives up to two commands, one after the other.
    fn command<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        prove: Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) -> Next {
        for _ in 0..2 {
            match self.choices.pick(22) {
                0 => return Next::GoOn,
                1 => self.authenticate("x", client, prove, tx, record),
                2 if !C::SECURE => return Next::StartTls,
                2 => drop(record.given("LOGOUT", client.logout(tx))),
                3 => {
                    if record.given("IDLE", client.idle(tx)).is_some() {
                        record.entries.push(Entry::CommandGiven("DONE", 1));
                    }
                }
                4 => self.append(client, tx, record),
                5 => done(client, tx, record),
                // Neither name can be written as an atom, and only one can be quoted.
                16 => self.authenticate("x\"\\x", client, prove, tx, record),
                17 => self.authenticate("x\u{e9}", client, prove, tx, record),
                18 => {
                    let credentials = Credentials::password("x", PASSWORD.as_bytes());
                    let order = LoginMethod::Order(&[Mechanism::ScramSha1, Mechanism::Plain]);
                    record.given("AUTHENTICATE", prove(client, order, &credentials, tx));
                }
                19 => self.look(client, record),
                choice => simple(choice, client, tx, record),
            }
        }
        Next::GoOn
    }

    /// Reads every accessor.
    fn look<C: Channel>(&self, client: &Client<C>, record: &mut Record) {
        record.event(&(client.state(), client.name_encoding(), client.repairs(), client.capabilities()));
        // `Debug` output is not part of the conversation, but is checked for secrets.
        record.entries.push(Entry::DebugOutput(format!("{client:?}")));
    }

    fn authenticate<C: Channel>(
        &mut self,
        name: &'static str,
        client: &mut Client<C>,
        prove: Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) {
        let credentials = match self.choices.pick(2) {
            0 => Credentials::password(name, PASSWORD.as_bytes()),
            _ => Credentials::bearer(name, TOKEN),
        };
        let known = Mechanism::ALL.len() as u8;
        let method = match self.choices.pick(known + 1) {
            0 => LoginMethod::Strongest,
            choice => LoginMethod::Mechanism(Mechanism::ALL[usize::from(choice) - 1]),
        };
        record.given("AUTHENTICATE", prove(client, method, &credentials, tx));
    }

    fn append<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
        let size = [0, 4, 40, 5000][usize::from(self.choices.pick(4))];
        let append = AppendCommand::new(MailboxName::INBOX);
        if record.given("APPEND", client.append(&append, size, tx)).is_some() {
            self.append = Some(size);
        }
    }

    /// Writes the message, and tries to write too much.
    fn payload<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
        let size = self.append.take().unwrap_or_default();
        let bytes = |count: u64| Bytes::from(vec![b'x'; usize::try_from(count).unwrap_or_default()]);
        if size == 0 {
            return;
        }
        record.tried("too much", client.write_payload(bytes(size + 1), tx));
        let first = match self.choices.pick(3) {
            0 => size,
            1 => size / 2,
            _ => {
                // The driver writes half of it past the buffer, as from a file.
                record.send(tx);
                if record.tried("pass", client.written_externally(size / 2, tx)).is_none() {
                    return;
                }
                record.entries.push(Entry::Sent(bytes(size / 2).to_vec(), false));
                record.tried("payload", client.write_payload(bytes(size - size / 2), tx));
                return;
            }
        };
        record.tried("payload", client.write_payload(bytes(first), tx));
        if first < size {
            record.tried("payload", client.write_payload(bytes(size - first), tx));
        }
    }
}

fn done<C: Channel>(client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
    record.tried("DONE", client.done(tx));
}

/// A command that only completes.
fn simple<C: Channel>(choice: u8, client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
    let all = SequenceSet::from(1..=9);
    // Neither fits into a quoted string everywhere: the client sends a literal, for which the server may have to ask.
    let patterns = [ListPattern::new("x\u{e9}x")];
    let keys = [SearchKey::Subject(IString::from("x\u{e9}x"))];
    let attributes = [
        FetchAttribute::Envelope,
        FetchAttribute::BodyStructure,
        FetchAttribute::Flags,
        FetchAttribute::peek(Section::FULL),
    ];
    let flags = [Flag::Seen];
    let utf8 = [Capability::new("UTF8=ACCEPT"), Capability::new("CONDSTORE")];
    let select = SelectCommand::new(MailboxName::INBOX);
    let store = StoreCommand::new(all, StoreAction::Add, LazyList::new(&flags));
    let (verb, command) = match choice {
        6 => ("SELECT", Command::Select(select)),
        7 => ("EXAMINE", Command::Examine(select)),
        8 => ("FETCH", Command::Fetch(FetchCommand::new(all, LazyList::new(&attributes)))),
        9 => ("UID", Command::UidFetch(FetchCommand::new(all, LazyList::new(&attributes)))),
        10 => ("SEARCH", Command::Search(SearchCommand::new(&keys))),
        11 => ("LIST", Command::List(ListCommand::new(&patterns))),
        12 => ("STORE", Command::Store(store)),
        13 => ("EXPUNGE", Command::Expunge),
        14 => ("CAPABILITY", Command::Capability),
        20 => ("ENABLE", Command::Enable(LazyList::new(&utf8))),
        // A command that only the machine may send, and one that no line can hold.
        21 => {
            let nul = [SearchKey::Subject(IString::from("x\0"))];
            record.given("SEARCH", client.send(&Command::Search(SearchCommand::new(&nul)), tx));
            if record.given("IDLE", client.send(&Command::Idle, tx)).is_some() {
                record.entries.push(Entry::CommandGiven("DONE", 1));
            }
            record.tried("payload", client.write_payload(Bytes::from_static(b"x"), tx));
            return;
        }
        _ => ("NOOP", Command::Noop),
    };
    record.given(verb, client.send(&command, tx));
}
