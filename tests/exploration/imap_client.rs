//! Explores the IMAP client: a server or an attacker sends anything, and an application gives any command.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use proto_imap::Config;
use proto_imap::client::{AuthOutcome, Client, CommandId, Event, LoginMethod, StartTls};
use proto_imap::types::{AppendCommand, Command, ListCommand, ListPattern, MailboxName, SelectCommand};
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{
    Channel, Cleartext, Credentials, Error, Mechanism, Misuse, RecvBuffer, Secure, SendBuffer, Upgrade,
    WaitFor,
};

use mailwire_tests::invariants::{self, PASSWORD, Side};
use mailwire_tests::play::{Entry, Queued, Record};

use crate::endpoint::{ask_again, next};
use crate::explore::{Secured, SystemUnderTest, describe};
use crate::extra_in_progress;
use crate::imap_alphabet::{Alphabet, RESPONSE_ENDINGS};
use crate::imap_client_model::{ClientModel, ExpectedEnd};

/// The client, its application and everything that was sent.
pub(crate) struct TestClient {
    session: Session,
    rx: RecvBuffer,
    tx: SendBuffer,
    record: Record,
    alphabet: &'static Alphabet,
    /// The number of the last command.
    last: u32,
    secured: Secured,
    model: ClientModel,
    /// How many bytes of output on this channel the model has received.
    modelled_output: usize,
    /// The first event that contradicts the model.
    broken: Option<String>,
    checks: usize,
}

enum Session {
    Cleartext(Client<Cleartext>),
    Negotiating(StartTls),
    Secure(Client<Secure>),
    Gone(Error),
}

/// The tag of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagOf {
    /// The tag of the oldest command in progress.
    Oldest,
    /// The tag of the newest command.
    Newest,
    /// The tag of a completed command, or of none.
    Unknown,
    /// The tag of the next command.
    Next,
}

/// An action of the server or the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The server sends this in one read.
    Receive(&'static str),
    /// The server sends this after a tag.
    ReceiveTagged(TagOf, &'static str),
    /// The queued output is sent.
    Send,
    /// The server closes its side.
    Close,
    /// The wait times out.
    EndWait,
    StartTls,
    LogInByPlain,
    LogInByStrongest,
    Select,
    Append,
    /// Writes one byte of the message.
    WritePayload,
    /// Writes more bytes than announced.
    WriteTooMuch,
    /// A command with a literal.
    List,
    Idle,
    Done,
    Noop,
    Logout,
}

impl TestClient {
    /// Creates a client that waits for the greeting.
    pub(crate) fn new(alphabet: &'static Alphabet) -> Self {
        let mut config = Config::default();
        if alphabet.allows_cleartext_login {
            config = config.danger_cleartext();
        }
        let config = Arc::new(config);
        let session = if alphabet.secure {
            Session::Secure(Client::<Secure>::new(config, Secure::trusted_local()))
        } else {
            Session::Cleartext(Client::<Cleartext>::new(config))
        };
        Self {
            session,
            rx: RecvBuffer::new(),
            tx: SendBuffer::new(),
            record: Record::default(),
            alphabet,
            last: 0,
            secured: if alphabet.secure { Secured::Before } else { Secured::No },
            model: ClientModel::new(alphabet.secure || alphabet.allows_cleartext_login),
            modelled_output: 0,
            broken: None,
            checks: 0,
        }
    }

    /// Passes the new output to the model.
    fn show_output_to_model(&mut self) {
        let put: Vec<u8> = self.tx.chunks().flat_map(|chunk| chunk.bytes).copied().collect();
        let new = put.get(self.modelled_output..).unwrap_or_default();
        self.model.client_queued(new);
        self.modelled_output = put.len();
        self.last = self.last.max(self.model.last);
    }

    /// Takes every event.
    fn pump(&mut self) {
        loop {
            let (rx, tx, record) = (&mut self.rx, &mut self.tx, &mut self.record);
            let seen = match &mut self.session {
                Session::Gone(_) => return,
                Session::Negotiating(_) => return self.negotiate(),
                Session::Cleartext(client) => {
                    client.next_event(rx, tx).map(|event| record_event(event, record))
                }
                Session::Secure(client) => client.next_event(rx, tx).map(|event| record_event(event, record)),
            };
            match seen {
                Ok(Some(Some((id, condition)))) => self.check_completion(&id.to_string(), condition),
                Ok(Some(None)) => {}
                Ok(None) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Checks a reported completion: it must be the next one that the model expects.
    fn check_completion(&mut self, tag: &str, condition: &str) {
        self.checks += 1;
        let due = self.model.expected_completions.pop_front();
        if due.as_ref().is_none_or(|(due, how)| due != tag || how != condition) {
            self.broken = Some(format!("{condition} for {tag} is reported, and the model expects {due:?}"));
        }
    }

    fn negotiate(&mut self) {
        let over = Session::Gone(Misuse::Closed.into());
        let Session::Negotiating(negotiation) = std::mem::replace(&mut self.session, over) else { return };
        match negotiation.advance(&mut self.rx, &mut self.tx) {
            Ok(Negotiation::Pending(negotiation)) => self.session = Session::Negotiating(negotiation),
            Ok(Negotiation::Refused(client)) => {
                self.record.event(&"refused");
                self.session = Session::Cleartext(client);
                let due = self.model.expected_completions.pop_front();
                if due.as_ref().is_none_or(|(_, how)| how == "OK") {
                    self.broken =
                        Some(format!("STARTTLS is reported as refused, and the model expects {due:?}"));
                }
                self.pump();
            }
            Ok(Negotiation::Ready(upgrade)) => {
                let due = self.model.expected_completions.pop_front();
                if due.as_ref().is_none_or(|(_, how)| how != "OK") {
                    self.broken = Some(format!("TLS begins, and the model expects {due:?}"));
                }
                // After the peer has closed there is no handshake.
                if self.rx.is_closed() {
                    return;
                }
                match upgrade.complete(Secure::trusted_local(), &mut self.rx) {
                    Ok(client) => {
                        self.record.secured(&self.rx);
                        self.secured = Secured::JustNow;
                        (self.model, self.modelled_output, self.last) = (ClientModel::under_tls(), 0, 0);
                        self.session = Session::Secure(client);
                        self.pump();
                    }
                    Err(error) => self.fail(error),
                }
            }
            Err(error) => self.fail(error),
        }
    }

    /// Handles an error: calls the client again, also with more input. The outcome goes to the record.
    fn fail(&mut self, error: Error) {
        self.show_output_to_model();
        let buffers = (&mut self.rx, &mut self.tx);
        ask_again(&error, "* OK x\r\nM1 OK x\r\n", buffers, &mut self.record, |rx, tx| {
            match &mut self.session {
                Session::Cleartext(client) => next(client, rx, tx),
                Session::Secure(client) => next(client, rx, tx),
                Session::Gone(_) | Session::Negotiating(_) => Err(error.clone()),
            }
        });
        self.session = Session::Gone(error);
    }

    fn starttls(&mut self) {
        let over = Session::Gone(Misuse::Closed.into());
        match std::mem::replace(&mut self.session, over) {
            Session::Cleartext(client) => match client.starttls(&mut self.tx) {
                Ok(negotiation) => {
                    self.record.entries.push(Entry::CommandGiven("STARTTLS", 1));
                    self.session = Session::Negotiating(negotiation);
                }
                Err(error) => self.fail(error),
            },
            other => self.session = other,
        }
    }

    fn time_out(&mut self) {
        let timed_out = match &mut self.session {
            Session::Gone(_) | Session::Negotiating(_) => Ok(()),
            Session::Cleartext(client) => client.timed_out(&mut self.tx),
            Session::Secure(client) => client.timed_out(&mut self.tx),
        };
        if let Err(error) = timed_out {
            self.fail(error);
        }
    }

    fn public_state(&self) -> (WaitFor, bool) {
        match &self.session {
            Session::Gone(_) => (WaitFor::Nothing, true),
            Session::Negotiating(negotiation) => (negotiation.wait().awaited, false),
            Session::Cleartext(client) => (client.wait().awaited, client.is_closed()),
            Session::Secure(client) => (client.wait().awaited, client.is_closed()),
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.rx.extend(bytes);
        self.model.server_sent(bytes);
        self.record.heard(bytes.iter().filter(|&&byte| byte == b'\n').count());
    }

    /// Returns the numbers of the commands in progress, sent or not, oldest first.
    fn numbers(&self) -> impl DoubleEndedIterator<Item = u32> {
        // The numbers rise by one, and waiting commands are sent in that order.
        self.model.numbers().chain(self.model.last + 1..=self.last)
    }

    fn tag(&self, tag_of: TagOf) -> String {
        let number = match tag_of {
            TagOf::Oldest => self.numbers().next(),
            TagOf::Newest => self.numbers().next_back(),
            TagOf::Unknown => None,
            TagOf::Next => Some(self.last + 1),
        };
        format!("M{}", number.unwrap_or(77))
    }

    fn description(&self) -> String {
        const LEFT_OUT: [&str; 3] = ["generation", "received", "head"];
        match &self.session {
            Session::Gone(error) => format!("{error:?}"),
            Session::Cleartext(client) => describe(client, &LEFT_OUT),
            Session::Negotiating(negotiation) => describe(negotiation, &LEFT_OUT),
            Session::Secure(client) => describe(client, &LEFT_OUT),
        }
    }

    /// Gives a command.
    fn command(&mut self, next: Action) {
        let (tx, record) = (&mut self.tx, &mut self.record);
        let log_in = Client::<Cleartext>::danger_cleartext_authenticate;
        let given = match &mut self.session {
            Session::Cleartext(client) => give(next, client, log_in, tx, record),
            Session::Secure(client) => give(next, client, Client::<Secure>::authenticate, tx, record),
            Session::Gone(_) | Session::Negotiating(_) => None,
        };
        let number = given.and_then(|id| id.to_string().strip_prefix('M')?.parse().ok());
        self.last = self.last.max(number.unwrap_or_default());
    }
}

impl SystemUnderTest for TestClient {
    type Action = Action;

    fn actions(&self) -> Vec<Action> {
        let (wait, closed) = self.public_state();
        // The session after the upgrade is the start of another exploration.
        if closed || self.secured == Secured::JustNow {
            return Vec::new();
        }
        let mut actions = Vec::new();
        if !self.tx.is_empty() {
            actions.push(Action::Send);
        }
        if wait != WaitFor::Application {
            actions.push(Action::EndWait);
        }
        let open = self.numbers().count();
        if !matches!(self.session, Session::Negotiating(_)) {
            let may_give = |next: &Action| {
                open < self.alphabet.max_in_progress + extra_in_progress()
                    || matches!(next, Action::WritePayload | Action::WriteTooMuch | Action::Done)
            };
            actions.extend(self.alphabet.commands.iter().copied().filter(may_give));
        }
        if self.rx.is_closed() {
            return actions;
        }
        actions.push(Action::Close);
        if !self.rx.is_empty() {
            let goes_on = self.rx.len() < 40;
            actions.extend(RESPONSE_ENDINGS.iter().filter(|_| goes_on).map(|bytes| Action::Receive(bytes)));
            return actions;
        }
        actions.extend(self.alphabet.peer_input.iter().map(|bytes| Action::Receive(bytes)));
        let tagged =
            |tag_of| self.alphabet.tagged.iter().map(move |bytes| Action::ReceiveTagged(tag_of, bytes));
        if open > 0 {
            actions.extend(tagged(TagOf::Oldest));
        }
        if open > 1 {
            actions.extend(tagged(TagOf::Newest));
        }
        actions.extend([
            Action::ReceiveTagged(TagOf::Unknown, " OK x\r\n"),
            Action::ReceiveTagged(TagOf::Next, " OK x\r\n"),
        ]);
        actions
    }

    fn perform(&mut self, next: Action) {
        self.secured.note_action();
        if !matches!(next, Action::Receive(_) | Action::ReceiveTagged(..) | Action::Send) {
            // What follows is caused by this action and not by earlier input.
            self.record.heard(0);
        }
        let received = matches!(next, Action::Receive(_) | Action::ReceiveTagged(..));
        match next {
            Action::Receive(bytes) => self.receive(bytes.as_bytes()),
            Action::ReceiveTagged(tag_of, bytes) => {
                let line = [self.tag(tag_of).as_str(), bytes].concat();
                self.receive(line.as_bytes());
            }
            Action::Send => {
                self.record.send(&mut self.tx);
                self.model.client_sent();
                self.modelled_output = 0;
            }
            Action::Close => self.rx.close(),
            Action::EndWait => self.time_out(),
            Action::StartTls => self.starttls(),
            command => self.command(command),
        }
        self.pump();
        self.show_output_to_model();
        let (_, over) = self.public_state();
        match self.model.expected_end {
            _ if !received => {}
            ExpectedEnd::MustEnd if !over => {
                self.broken = Some("the client accepted input that must end the session".to_owned())
            }
            ExpectedEnd::Continues if matches!(self.session, Session::Gone(_)) => {
                self.broken = Some("the client ended the session with a correct server".to_owned());
            }
            _ if !over && !self.model.expected_completions.is_empty() => {
                self.broken = Some(format!("unreported: {:?}", self.model.expected_completions));
            }
            _ => {}
        }
    }

    fn state(&self) -> String {
        if let Session::Gone(error) = &self.session {
            return format!("{error:?}");
        }
        if self.public_state().1 {
            return "closed".to_owned();
        }
        let (rx, closed) = (self.rx.bytes().escape_ascii(), self.rx.is_closed());
        let whole = format!("{} {rx} {closed} {}", self.description(), self.tx.is_empty());
        let head = self.rx.received_total() - self.rx.len() as u64;
        describe_by_order(&whole, [("queued_at: ", self.tx.sent_total()), ("received_at: ", head)])
    }

    fn check_invariants(&self) -> Result<usize, String> {
        let terms = invariants::Terms {
            side: Side::ImapClient,
            secure: self.alphabet.secure,
            danger: self.alphabet.allows_cleartext_login,
            may_hold: 1024,
            may_put_out: 4096,
        };
        invariants::check(&self.record, &terms)?;
        if let Some(broken) = self.broken.as_ref().or(self.model.broken.as_ref()) {
            return Err(broken.clone());
        }
        let clear = self.secured == Secured::No && !self.alphabet.allows_cleartext_login;
        if clear && self.tx.chunks().any(|chunk| chunk.secret) {
            return Err("a secret is queued in cleartext".to_owned());
        }
        Ok(invariants::INVARIANTS + self.model.checks + self.checks + 3)
    }

    fn state_after_upgrade(&self) -> Option<String> {
        (self.secured == Secured::JustNow).then(|| self.state())
    }
}

/// Describes the client with the commands identified by their order, whether their bytes were sent, and whether the
/// current input arrived after that.
fn describe_by_order(description: &str, marks: [(&str, u64); 2]) -> String {
    let mut text = number_tags_by_order(description);
    if let Some((before, rest)) = text.split_once("capabilities: ")
        && let Some((known, rest)) = rest.split_once('{')
        && !known.contains(',')
        && let Some((names, behind)) = rest.split_once('}')
    {
        // The order and the repetitions of the list do not matter.
        let names: BTreeSet<&str> = names.split(", ").collect();
        text = format!("{before}capabilities: {known}{names:?}{behind}");
    }
    for (field, reached) in marks {
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| rest.find(field)) {
            let begin = from + at + field.len();
            let digits = text[begin..].bytes().take_while(u8::is_ascii_digit).count();
            let name = match text[begin..begin + digits].parse::<u64>() {
                Ok(u64::MAX) => "never",
                Ok(mark) if mark <= reached => "yes",
                _ => "no",
            };
            text.replace_range(begin..begin + digits, name);
            from = begin;
        }
    }
    text
}

/// Replaces the numbers in tags by their order of appearance. The last tag given gets no number.
fn number_tags_by_order(text: &str) -> String {
    let (mut names, mut out) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find(['M', ':']) {
        let (before, behind) = rest.split_at(at + 1);
        out.push_str(before);
        rest = behind;
        if before.ends_with("last_id:") {
            rest = rest.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if before.ends_with('M') && digits > 0 {
            let number = &rest[..digits];
            let place = names.iter().position(|name| *name == number).unwrap_or_else(|| {
                names.push(number);
                names.len() - 1
            });
            out.push_str(&place.to_string());
            rest = &rest[digits..];
        }
    }
    out + rest
}

/// Records an event. Returns the command that it completes and its condition.
fn record_event(event: Option<Event<'_>>, record: &mut Record) -> Option<Option<(CommandId, &'static str)>> {
    let event = event?;
    if let Event::BodyChunk(bytes) = event {
        record.piece(bytes);
        return Some(None);
    }
    record.event(&event);
    let (id, status) = match event {
        Event::Completed { id, status } => (id, status),
        Event::Auth(outcome) => {
            if matches!(outcome, AuthOutcome::Accepted { .. }) {
                record.entries.push(Entry::Authenticated);
            }
            (outcome.id(), *outcome.status())
        }
        Event::Data(_)
        | Event::FetchStart { .. }
        | Event::UidFetchStart { .. }
        | Event::AppendReady(_)
        | Event::Idling(_) => {
            record.entries.push(Entry::RequiresTls("mailbox data"));
            return Some(None);
        }
        _ => return Some(None),
    };
    use proto_imap::types::Condition;
    let condition = match status.condition {
        Condition::Ok => "OK",
        Condition::No => "NO",
        _ => "BAD",
    };
    Some(Some((id, condition)))
}

type LogIn<C> = fn(&mut Client<C>, LoginMethod, &Credentials, &mut SendBuffer) -> Result<CommandId, Error>;

fn give<C: Channel>(
    command: Action,
    client: &mut Client<C>,
    log_in: LogIn<C>,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Option<CommandId> {
    let credentials = || Credentials::password("x", PASSWORD.as_bytes());
    let before = Queued::of(tx);
    let (verb, outcome) = match command {
        Action::LogInByPlain => {
            let plain = LoginMethod::Mechanism(Mechanism::Plain);
            ("AUTHENTICATE", log_in(client, plain, &credentials(), tx))
        }
        Action::LogInByStrongest => {
            ("AUTHENTICATE", log_in(client, LoginMethod::Strongest, &credentials(), tx))
        }
        Action::Select => {
            ("SELECT", client.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), tx))
        }
        Action::Append => ("APPEND", client.append(&AppendCommand::new(MailboxName::INBOX), 2, tx)),
        Action::WritePayload => {
            record.tried("payload", tx, |tx| client.write_payload(Bytes::from_static(b"x"), tx));
            return None;
        }
        Action::WriteTooMuch => {
            record.tried("payload", tx, |tx| client.write_payload(Bytes::from_static(b"xxx"), tx));
            return None;
        }
        Action::List => {
            let patterns = [ListPattern::new("x\u{e9}x")];
            ("LIST", client.send(&Command::List(ListCommand::new(&patterns)), tx))
        }
        Action::Idle => {
            let given = client.idle(tx);
            if given.is_ok() {
                record.entries.push(Entry::CommandGiven("DONE", 1));
            }
            ("IDLE", given)
        }
        Action::Done => {
            record.tried("DONE", tx, |tx| client.done(tx));
            return None;
        }
        Action::Logout => ("LOGOUT", client.logout(tx)),
        _ => ("NOOP", client.send(&Command::Noop, tx)),
    };
    record.given_since(verb, outcome, before, tx)
}
