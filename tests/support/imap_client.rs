//! An IMAP client whose application gives the commands that its choices select, whenever a command has completed.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use proto_imap::Config;
use proto_imap::client::{AuthOutcome, Client, CommandId, Event, LoginMethod, StartTls};
use proto_imap::types::{
    AppendCommand, Capability, Command, CopyCommand, CreateCommand, FetchAttribute, FetchCommand, Flag,
    IString, IdFields, LazyList, ListCommand, ListPattern, MailboxAttribute, MailboxName, SearchCommand,
    SearchKey, Section, SelectCommand, SelectParameter, SequenceSet, StatusAttribute, StatusCommand,
    StoreAction, StoreCommand,
};
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::sasl::ClientExchange;
use proto_mail::{
    Channel, Cleartext, Credentials, Error, Mechanism, Misuse, RecvBuffer, Secure, SendBuffer, Upgrade,
};

use crate::careless_mechanism::{ClientMechanism, client_exchange};
use crate::invariants::{PASSWORD, TOKEN};
use crate::play::{Choices, Delivery, Ending, Entry, FirstChannel, Player, Record, channel};
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
        let application = Application { choices, append: None };
        Self { session, application, choices_after_tls, delivery: Delivery::Borrowed }
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
    /// How many bytes of an APPEND's message are still to be written.
    append: Option<u64>,
}

/// Logs in by an exchange of the application's own.
type ByExchange<C> = fn(&mut Client<C>, Box<dyn ClientExchange>, &mut SendBuffer) -> Result<CommandId, Error>;

/// How a client on one channel authenticates.
struct Prove<C: Channel> {
    by_credentials:
        fn(&mut Client<C>, LoginMethod, &Credentials, &mut SendBuffer) -> Result<CommandId, Error>,
    by_exchange: ByExchange<C>,
}

impl Application {
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
        self.event(&owned.view(), client, prove, tx, record)
    }

    fn event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        prove: &Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) -> Next {
        if let Event::BodyChunk(chunk) = event {
            record.piece(chunk);
            return Next::GoOn;
        }
        record.event(event);
        if let Event::Auth(outcome) = event {
            record.event(&(outcome.id(), outcome.status(), outcome.reason()));
        }
        match event {
            Event::Data(_) | Event::FetchStart { .. } | Event::UidFetchStart { .. } => {
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
        prove: &Prove<C>,
        tx: &mut SendBuffer,
        record: &mut Record,
    ) -> Next {
        for _ in 0..2 {
            match self.choices.pick(26) {
                0 => return Next::GoOn,
                1 => self.authenticate("x", client, prove, tx, record),
                2 if !C::SECURE => return Next::StartTls,
                2 => drop(record.given("LOGOUT", tx, |tx| client.logout(tx))),
                3 => {
                    if record.given("IDLE", tx, |tx| client.idle(tx)).is_some() {
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
                    record.given("AUTHENTICATE", tx, |tx| {
                        (prove.by_credentials)(client, order, &credentials, tx)
                    });
                }
                19 => look(client, record),
                22 => self.custom_login(client, prove, tx, record),
                23 | 24 => extension(self.choices.pick(12), client, tx, record),
                25 => self.chosen_login(client, prove, tx, record),
                choice => simple(choice, client, tx, record),
            }
        }
        Next::GoOn
    }

    fn authenticate<C: Channel>(
        &mut self,
        name: &'static str,
        client: &mut Client<C>,
        prove: &Prove<C>,
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
        record.given("AUTHENTICATE", tx, |tx| (prove.by_credentials)(client, method, &credentials, tx));
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
        let is_offered = client.capabilities().is_some_and(|all| all.mechanisms().contains(mechanism));
        record.requires(is_offered, || format!("{mechanism:?} was chosen and is not offered"));
        let method = LoginMethod::from(mechanism);
        record.given("AUTHENTICATE", tx, |tx| (prove.by_credentials)(client, method, &credentials, tx));
    }

    fn append<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
        let size = [0, 4, 40, 5000][usize::from(self.choices.pick(4))];
        let append = AppendCommand::new(MailboxName::INBOX);
        if record.given("APPEND", tx, |tx| client.append(&append, size, tx)).is_some() {
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
        record.tried("too much", tx, |tx| client.write_payload(bytes(size + 1), tx));
        let first = match self.choices.pick(3) {
            0 => size,
            1 => size / 2,
            _ => {
                // The driver writes half of it past the buffer, as from a file.
                record.send(tx);
                if record.tried("pass", tx, |tx| client.written_externally(size / 2, tx)).is_none() {
                    return;
                }
                record.entries.push(Entry::Sent(bytes(size / 2).to_vec(), false));
                record.tried("payload", tx, |tx| client.write_payload(bytes(size - size / 2), tx));
                return;
            }
        };
        record.tried("payload", tx, |tx| client.write_payload(bytes(first), tx));
        if first < size {
            record.tried("payload", tx, |tx| client.write_payload(bytes(size - first), tx));
        }
    }
}

fn done<C: Channel>(client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
    record.tried("DONE", tx, |tx| client.done(tx));
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
            let search = Command::Search(SearchCommand::new(&nul));
            record.given("SEARCH", tx, |tx| client.send(&search, tx));
            if record.given("IDLE", tx, |tx| client.send(&Command::Idle, tx)).is_some() {
                record.entries.push(Entry::CommandGiven("DONE", 1));
            }
            record.tried("payload", tx, |tx| client.write_payload(Bytes::from_static(b"x"), tx));
            return;
        }
        _ => ("NOOP", Command::Noop),
    };
    record.given(verb, tx, |tx| client.send(&command, tx));
}

/// Reads every accessor, and checks that they agree.
fn look<C: Channel>(client: &Client<C>, record: &mut Record) {
    let capabilities = client.capabilities();
    record.event(&(client.state(), client.name_encoding(), client.repairs(), capabilities));
    record.event(&(client.has_refused_initial_response(), client.wait().awaited));
    let listed = capabilities.map(|all| all.iter().filter(|name| !name.is_empty()).count());
    let known = capabilities
        .map(|all| all.mechanisms().iter().filter(|one| all.offers_mechanism(one.name())).count());
    record.requires(listed >= known, || format!("{known:?} mechanisms in {listed:?} capabilities"));
    let is_secure = client.channel().secure().is_some();
    record.requires(C::SECURE == is_secure, || "the channel is of the other kind".to_owned());
    // `Debug` output is not part of the conversation, but is checked for secrets.
    record.entries.push(Entry::DebugOutput(format!("{client:?}")));
}

/// A command of an extension, or with an argument of one: it is sent only if the server lists the capability.
fn extension<C: Channel>(choice: u8, client: &mut Client<C>, tx: &mut SendBuffer, record: &mut Record) {
    let (all, saved) = (SequenceSet::from(1..=9), SequenceSet::SAVED);
    let inbox = MailboxName::INBOX;
    let uses = [MailboxAttribute::Sent];
    let counts = [StatusAttribute::Size];
    let fetched = [FetchAttribute::ModSeq];
    let condstore = [SelectParameter::CondStore];
    let (verb, command, any_of): (_, _, &[&str]) = match choice {
        0 => ("UNAUTHENTICATE", Command::Unauthenticate, &["UNAUTHENTICATE"]),
        1 => ("NAMESPACE", Command::Namespace, &["NAMESPACE", "IMAP4rev2"]),
        2 => ("ID", Command::Id(IdFields::default()), &["ID"]),
        3 => ("MOVE", Command::Move(CopyCommand { messages: all, mailbox: inbox }), &["MOVE", "IMAP4rev2"]),
        4 => ("UNSELECT", Command::Unselect, &["UNSELECT", "IMAP4rev2"]),
        5 => ("UID", Command::UidExpunge(all), &["UIDPLUS", "IMAP4rev2"]),
        6 => {
            let mut create = CreateCommand::new(inbox);
            create.special_use = LazyList::new(&uses);
            ("CREATE", Command::Create(create), &["CREATE-SPECIAL-USE"])
        }
        7 => {
            let status = StatusCommand { mailbox: inbox, attributes: LazyList::new(&counts) };
            ("STATUS", Command::Status(status), &["STATUS=SIZE", "IMAP4rev2"])
        }
        8 => {
            let fetch = FetchCommand::new(all, LazyList::new(&fetched));
            ("FETCH", Command::Fetch(fetch), &["CONDSTORE", "QRESYNC"])
        }
        9 => (
            "COPY",
            Command::Copy(CopyCommand { messages: saved, mailbox: inbox }),
            &["SEARCHRES", "IMAP4rev2"],
        ),
        10 => {
            let mut select = SelectCommand::new(inbox);
            select.parameters = LazyList::new(&condstore);
            ("SELECT", Command::Select(select), &["CONDSTORE", "QRESYNC"])
        }
        _ => ("CLOSE", Command::Close, &[]),
    };
    let is_offered = any_of.is_empty()
        || client.capabilities().is_some_and(|listed| any_of.iter().any(|name| listed.has(name)));
    let given = record.given(verb, tx, |tx| client.send(&command, tx));
    record.requires(given.is_none() || is_offered, || format!("{verb} was sent and is not offered"));
}
