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

use crate::end::{ask_again, next};
use crate::explore::{Secured, World, described};
use crate::farther;
use crate::imap_alphabet::{RESPONSE_ENDINGS, Room};
use crate::imap_client_model::{Hearing, Verdict};

/// The client, its application and everything that was sent.
pub(crate) struct TestClient {
    session: Session,
    rx: RecvBuffer,
    tx: SendBuffer,
    record: Record,
    room: &'static Room,
    /// The number of the last command.
    last: u32,
    secured: Secured,
    hearing: Hearing,
    /// How many bytes of output on this channel the model has received.
    told: usize,
    /// The first event that contradicts the model.
    broken: Option<String>,
    statements: usize,
}

enum Session {
    Cleartext(Client<Cleartext>),
    Negotiating(StartTls),
    Secure(Client<Secure>),
    Gone(Error),
}

/// The tag of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
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
pub(crate) enum Move {
    /// The server sends this in one read.
    Hear(&'static str),
    /// The server sends this after a tag.
    Answer(Whose, &'static str),
    /// The queued output is sent.
    Send,
    /// The server closes its side.
    Close,
    /// The wait times out.
    Tick,
    StartTls,
    Plain,
    Strongest,
    Select,
    Append,
    /// One byte of the message.
    Payload,
    /// More bytes than announced.
    TooMuch,
    /// A command with a literal.
    List,
    Idle,
    Done,
    Noop,
    Logout,
}

impl TestClient {
    /// Creates a client that waits for the greeting.
    pub(crate) fn new(room: &'static Room) -> Self {
        let mut config = Config::default();
        if room.danger {
            config = config.danger_cleartext();
        }
        let config = Arc::new(config);
        let session = if room.secure {
            Session::Secure(Client::<Secure>::new(config, Secure::trusted_local()))
        } else {
            Session::Cleartext(Client::<Cleartext>::new(config))
        };
        Self {
            session,
            rx: RecvBuffer::new(),
            tx: SendBuffer::new(),
            record: Record::default(),
            room,
            last: 0,
            secured: if room.secure { Secured::Before } else { Secured::No },
            hearing: Hearing::new(room.secure || room.danger),
            told: 0,
            broken: None,
            statements: 0,
        }
    }

    /// Passes the new output to the model.
    fn look(&mut self) {
        let put: Vec<u8> = self.tx.chunks().flat_map(|chunk| chunk.bytes).copied().collect();
        let new = put.get(self.told..).unwrap_or_default();
        self.hearing.say(new);
        self.told = put.len();
        self.last = self.last.max(self.hearing.last);
    }

    /// Takes every event.
    fn pump(&mut self) {
        loop {
            let (rx, tx, record) = (&mut self.rx, &mut self.tx, &mut self.record);
            let seen = match &mut self.session {
                Session::Gone(_) => return,
                Session::Negotiating(_) => return self.negotiate(),
                Session::Cleartext(client) => client.next_event(rx, tx).map(|event| note(event, record)),
                Session::Secure(client) => client.next_event(rx, tx).map(|event| note(event, record)),
            };
            match seen {
                Ok(Some(Some((id, condition)))) => self.answered(&id.to_string(), condition),
                Ok(Some(None)) => {}
                Ok(None) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Checks a reported completion: it must be the next one that the model expects.
    fn answered(&mut self, tag: &str, condition: &str) {
        self.statements += 1;
        let due = self.hearing.due.pop_front();
        if due.as_ref().is_none_or(|(due, how)| due != tag || how != condition) {
            self.broken = Some(format!("{condition} for {tag} is reported, and was heard: {due:?}"));
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
                let due = self.hearing.due.pop_front();
                if due.as_ref().is_none_or(|(_, how)| how == "OK") {
                    self.broken = Some(format!("STARTTLS was refused, and was heard: {due:?}"));
                }
                self.pump();
            }
            Ok(Negotiation::Ready(upgrade)) => {
                let due = self.hearing.due.pop_front();
                if due.as_ref().is_none_or(|(_, how)| how != "OK") {
                    self.broken = Some(format!("TLS begins, and was heard: {due:?}"));
                }
                // After the peer has closed there is no handshake.
                if self.rx.is_closed() {
                    return;
                }
                match upgrade.complete(Secure::trusted_local(), &mut self.rx) {
                    Ok(client) => {
                        self.record.secured(&self.rx);
                        self.secured = Secured::JustNow;
                        (self.hearing, self.told, self.last) = (Hearing::under_tls(), 0, 0);
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
        self.look();
        let buffers = (&mut self.rx, &mut self.tx);
        ask_again(error, "* OK x\r\nM1 OK x\r\n", buffers, &mut self.record, |rx, tx| {
            match &mut self.session {
                Session::Cleartext(client) => next(client, rx, tx),
                Session::Secure(client) => next(client, rx, tx),
                Session::Gone(_) | Session::Negotiating(_) => Err(error),
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

    fn outside(&self) -> (WaitFor, bool) {
        match &self.session {
            Session::Gone(_) => (WaitFor::Nothing, true),
            Session::Negotiating(negotiation) => (negotiation.wait().awaited, false),
            Session::Cleartext(client) => (client.wait().awaited, client.is_closed()),
            Session::Secure(client) => (client.wait().awaited, client.is_closed()),
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.rx.extend(bytes);
        self.hearing.hear(bytes);
        self.record.heard(bytes.iter().filter(|&&byte| byte == b'\n').count());
    }

    /// Returns the numbers of the commands in progress, sent or not, oldest first.
    fn numbers(&self) -> impl DoubleEndedIterator<Item = u32> {
        // The numbers rise by one, and waiting commands are sent in that order.
        self.hearing.numbers().chain(self.hearing.last + 1..=self.last)
    }

    fn tag(&self, whose: Whose) -> String {
        let number = match whose {
            Whose::Oldest => self.numbers().next(),
            Whose::Newest => self.numbers().next_back(),
            Whose::Unknown => None,
            Whose::Next => Some(self.last + 1),
        };
        format!("M{}", number.unwrap_or(77))
    }

    fn description(&self) -> String {
        const LEFT_OUT: [&str; 3] = ["generation", "received", "head"];
        match &self.session {
            Session::Gone(error) => format!("{error:?}"),
            Session::Cleartext(client) => described(client, &LEFT_OUT),
            Session::Negotiating(negotiation) => described(negotiation, &LEFT_OUT),
            Session::Secure(client) => described(client, &LEFT_OUT),
        }
    }

    /// Gives a command.
    fn command(&mut self, next: Move) {
        let (tx, record) = (&mut self.tx, &mut self.record);
        let prove = Client::<Cleartext>::danger_cleartext_authenticate;
        let given = match &mut self.session {
            Session::Cleartext(client) => give(next, client, prove, tx, record),
            Session::Secure(client) => give(next, client, Client::<Secure>::authenticate, tx, record),
            Session::Gone(_) | Session::Negotiating(_) => None,
        };
        let number = given.and_then(|id| id.to_string().strip_prefix('M')?.parse().ok());
        self.last = self.last.max(number.unwrap_or_default());
    }
}

impl World for TestClient {
    type Move = Move;

    fn moves(&self) -> Vec<Move> {
        let (wait, closed) = self.outside();
        // The session after the upgrade is the start of another exploration.
        if closed || self.secured == Secured::JustNow {
            return Vec::new();
        }
        let mut moves = Vec::new();
        if !self.tx.is_empty() {
            moves.push(Move::Send);
        }
        if wait != WaitFor::Application {
            moves.push(Move::Tick);
        }
        let open = self.numbers().count();
        if !matches!(self.session, Session::Negotiating(_)) {
            let gives = |next: &Move| {
                open < self.room.pipelined + farther()
                    || matches!(next, Move::Payload | Move::TooMuch | Move::Done)
            };
            moves.extend(self.room.commands.iter().copied().filter(gives));
        }
        if self.rx.is_closed() {
            return moves;
        }
        moves.push(Move::Close);
        if !self.rx.is_empty() {
            let goes_on = self.rx.len() < 40;
            moves.extend(RESPONSE_ENDINGS.iter().filter(|_| goes_on).map(|bytes| Move::Hear(bytes)));
            return moves;
        }
        moves.extend(self.room.sayings.iter().map(|bytes| Move::Hear(bytes)));
        let answers = |whose| self.room.answers.iter().map(move |bytes| Move::Answer(whose, bytes));
        if open > 0 {
            moves.extend(answers(Whose::Oldest));
        }
        if open > 1 {
            moves.extend(answers(Whose::Newest));
        }
        moves.extend([Move::Answer(Whose::Unknown, " OK x\r\n"), Move::Answer(Whose::Next, " OK x\r\n")]);
        moves
    }

    fn make(&mut self, next: Move) {
        self.secured.pass();
        if !matches!(next, Move::Hear(_) | Move::Answer(..) | Move::Send) {
            // What follows is caused by this action and not by earlier input.
            self.record.heard(0);
        }
        let heard = matches!(next, Move::Hear(_) | Move::Answer(..));
        match next {
            Move::Hear(bytes) => self.hear(bytes.as_bytes()),
            Move::Answer(whose, bytes) => {
                let line = [self.tag(whose).as_str(), bytes].concat();
                self.hear(line.as_bytes());
            }
            Move::Send => {
                self.record.send(&mut self.tx);
                self.hearing.leave();
                self.told = 0;
            }
            Move::Close => self.rx.close(),
            Move::Tick => self.time_out(),
            Move::StartTls => self.starttls(),
            command => self.command(command),
        }
        self.pump();
        self.look();
        let (_, over) = self.outside();
        match self.hearing.verdict {
            _ if !heard => {}
            Verdict::MustEnd if !over => self.broken = Some("what cannot be believed was".to_owned()),
            Verdict::GoesOn if matches!(self.session, Session::Gone(_)) => {
                self.broken = Some("a correct server was left".to_owned());
            }
            _ if !over && !self.hearing.due.is_empty() => {
                self.broken = Some(format!("unreported: {:?}", self.hearing.due));
            }
            _ => {}
        }
    }

    fn state(&self) -> String {
        if let Session::Gone(error) = &self.session {
            return format!("{error:?}");
        }
        if self.outside().1 {
            return "closed".to_owned();
        }
        let (rx, closed) = (self.rx.bytes().escape_ascii(), self.rx.is_closed());
        let whole = format!("{} {rx} {closed} {}", self.description(), self.tx.is_empty());
        let head = self.rx.received_total() - self.rx.len() as u64;
        seen_from(&whole, [("queued_at: ", self.tx.sent_total()), ("received_at: ", head)])
    }

    fn judge(&self) -> Result<usize, String> {
        let terms = invariants::Terms {
            side: Side::ImapClient,
            secure: self.room.secure,
            danger: self.room.danger,
            may_hold: 1024,
            may_put_out: 4096,
        };
        invariants::check(&self.record, &terms)?;
        if let Some(broken) = self.broken.as_ref().or(self.hearing.broken.as_ref()) {
            return Err(broken.clone());
        }
        let clear = self.secured == Secured::No && !self.room.danger;
        if clear && self.tx.chunks().any(|chunk| chunk.secret) {
            return Err("a secret waits to leave in cleartext".to_owned());
        }
        Ok(invariants::INVARIANTS + self.hearing.statements + self.statements + 3)
    }

    fn behind_the_gate(&self) -> Option<String> {
        (self.secured == Secured::JustNow).then(|| self.state())
    }
}

/// Describes the client with the commands identified by their order, whether their bytes were sent, and whether the
/// current input arrived after that.
fn seen_from(description: &str, marks: [(&str, u64); 2]) -> String {
    let mut text = without_numbers(description);
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
fn without_numbers(text: &str) -> String {
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
fn note(event: Option<Event<'_>>, record: &mut Record) -> Option<Option<(CommandId, &'static str)>> {
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
        Event::Data(_) | Event::FetchStart { .. } | Event::AppendReady(_) | Event::Idling(_) => {
            record.entries.push(Entry::RequiresTls("what is on a server"));
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

type Prove<C> = fn(&mut Client<C>, LoginMethod, &Credentials, &mut SendBuffer) -> Result<CommandId, Error>;

fn give<C: Channel>(
    command: Move,
    client: &mut Client<C>,
    prove: Prove<C>,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Option<CommandId> {
    let credentials = || Credentials::password("x", PASSWORD.as_bytes());
    let before = Queued::of(tx);
    let (verb, outcome) = match command {
        Move::Plain => {
            let plain = LoginMethod::Mechanism(Mechanism::Plain);
            ("AUTHENTICATE", prove(client, plain, &credentials(), tx))
        }
        Move::Strongest => ("AUTHENTICATE", prove(client, LoginMethod::Strongest, &credentials(), tx)),
        Move::Select => ("SELECT", client.send(&Command::Select(SelectCommand::new(MailboxName::INBOX)), tx)),
        Move::Append => ("APPEND", client.append(&AppendCommand::new(MailboxName::INBOX), 2, tx)),
        Move::Payload => {
            record.tried("payload", tx, |tx| client.write_payload(Bytes::from_static(b"x"), tx));
            return None;
        }
        Move::TooMuch => {
            record.tried("payload", tx, |tx| client.write_payload(Bytes::from_static(b"xxx"), tx));
            return None;
        }
        Move::List => {
            let patterns = [ListPattern::new("x\u{e9}x")];
            ("LIST", client.send(&Command::List(ListCommand::new(&patterns)), tx))
        }
        Move::Idle => {
            let given = client.idle(tx);
            if given.is_ok() {
                record.entries.push(Entry::CommandGiven("DONE", 1));
            }
            ("IDLE", given)
        }
        Move::Done => {
            record.tried("DONE", tx, |tx| client.done(tx));
            return None;
        }
        Move::Logout => ("LOGOUT", client.logout(tx)),
        _ => ("NOOP", client.send(&Command::Noop, tx)),
    };
    record.given_since(verb, outcome, before, tx)
}
