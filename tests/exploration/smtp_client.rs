//! Explores the SMTP client: a server or an attacker sends anything, and an application gives any command.

use std::collections::VecDeque;

use proto_mail::machine::Negotiation;
use proto_mail::{
    Channel, Cleartext, Credentials, Error, Mechanism, Misuse, RecvBuffer, Secure, SendBuffer, WaitFor,
};
use proto_smtp::client::{AuthOutcome, Client, Event, StartTls, Step};
use proto_smtp::types::{Address, ChunkEnd, Mail, Rcpt, ReversePath};
use proto_smtp::{Config, Dialect};

use mailwire_tests::invariants::{self, PASSWORD, Side};
use mailwire_tests::play::{Entry, Queued, Record, channel};

use crate::custom_mechanism;
use crate::end::{ask_again, next};
use crate::explore::{Secured, World, counted_from, described, without_text};
use crate::farther;
use crate::smtp_alphabet::{Alphabet, ENDINGS};

/// The client, its application and everything that was sent.
pub(crate) struct TestClient {
    session: Session,
    rx: RecvBuffer,
    tx: SendBuffer,
    record: Record,
    terms: Terms,
    secured: Secured,
    /// The commands in progress.
    given: VecDeque<Given>,
    /// The number of recipients named since MAIL.
    recipients: usize,
    /// The recipients that the server has accepted in this transaction.
    accepted: Vec<usize>,
    /// What the server has sent since AUTH. The description of an exchange does not show its progress.
    exchange: String,
    /// The first event that contradicts the model.
    broken: Option<String>,
}

/// The relevant settings of the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// SMTP or LMTP.
    pub(crate) dialect: Dialect,
    /// Whether the program allows login in cleartext.
    pub(crate) danger: bool,
    /// The possible inputs and actions.
    pub(crate) alphabet: &'static Alphabet,
}

/// A command in progress: how many bytes had been queued up to its end, and how many had been received before.
#[derive(Debug, Clone, Copy)]
struct Given {
    step: Step,
    sent: u64,
    heard: u64,
}

enum Session {
    Cleartext(Client<Cleartext>),
    Negotiating(StartTls),
    Secure(Client<Secure>),
    Gone(Error),
}

/// An action of the server or the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// The server sends this in one read.
    Hear(&'static str),
    /// The queued output is sent.
    Send,
    /// The server closes its side.
    Close,
    /// The wait times out.
    Tick,
    StartTls,
    Authenticate(Mechanism),
    Mail,
    Rcpt,
    Data,
    /// The whole message.
    Message,
    Chunk,
    Reset,
    Noop,
    Quit,
}

/// The publicly visible state of a machine.
struct Outside {
    wait: WaitFor,
    closed: bool,
}

impl TestClient {
    /// Creates a client that waits for the greeting.
    pub(crate) fn new(terms: Terms) -> Self {
        let session = Session::Cleartext(Client::<Cleartext>::new(config(terms)));
        Self::with(session, Secured::No, terms)
    }

    /// Like [`new`](Self::new), under TLS from the start.
    pub(crate) fn secure(terms: Terms) -> Self {
        Self::with(Session::Secure(Client::<Secure>::new(config(terms), channel())), Secured::Before, terms)
    }

    fn with(session: Session, secured: Secured, terms: Terms) -> Self {
        let greeting = Given { step: Step::Greeting, sent: 0, heard: 0 };
        Self {
            session,
            rx: RecvBuffer::new(),
            tx: SendBuffer::new(),
            record: Record::default(),
            terms,
            secured,
            given: VecDeque::from([greeting, NOT_YET]),
            recipients: 0,
            accepted: Vec::new(),
            exchange: String::new(),
            broken: None,
        }
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
                Ok(Some(Answers::Nothing)) => {}
                Ok(Some(Answers::Proof)) => {
                    self.believed();
                    self.answered(Step::Auth);
                }
                Ok(Some(Answers::All)) => self.given.clear(),
                // A reply that rejects a message before its end also ends the session.
                Ok(Some(Answers::Step(Step::Data))) if self.outside().closed => self.given.clear(),
                Ok(Some(Answers::Step(step))) => self.answered(step),
                Ok(Some(Answers::Yes(step))) => {
                    match step {
                        Step::Mail | Step::Reset => self.accepted.clear(),
                        Step::Rcpt(recipient) if self.terms.dialect == Dialect::Lmtp => {
                            self.accepted.push(recipient);
                        }
                        _ => {}
                    }
                    self.answered(step);
                }
                Ok(None) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Checks a reply: it must belong to the oldest command, and must have arrived after that command was sent.
    fn answered(&mut self, step: Step) {
        let (sent, head) = (self.tx.sent_total(), self.head());
        match self.given.pop_front() {
            Some(given) if given.step == step && given.sent <= sent && given.heard <= head => {}
            other => {
                let where_ = format!("{sent} were sent, and it stands at {head}");
                self.broken = Some(format!("an answer to {step:?}, and outstanding is {other:?}: {where_}"));
            }
        }
    }

    /// Checks that the mechanism has received enough challenges before the client accepts success.
    fn believed(&mut self) {
        let challenges = self.exchange.matches("334 ").count();
        let least = match () {
            () if self.exchange.starts_with("LOGIN") => 2,
            () if self.exchange.starts_with("X-") => 1,
            () => 0,
        };
        if challenges < least {
            self.broken = Some(format!("it believes after {challenges} challenges and not {least}"));
        }
    }

    /// Returns the offset of the unread input in everything received.
    fn head(&self) -> u64 {
        self.rx.received_total() - self.rx.len() as u64
    }

    /// Records that the machine has sent more on its own, in a greeting or an exchange, that awaits a reply.
    fn mark(&mut self) {
        let (sent, heard) = (self.tx.queued_total(), self.rx.received_total());
        if let Some(first) = self.given.front_mut()
            && matches!(first.step, Step::Hello | Step::Auth)
            && first.sent != sent
        {
            (first.sent, first.heard) = (sent, heard);
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
                self.answered(Step::StartTls);
                self.pump();
            }
            Ok(Negotiation::Ready(upgrade)) => {
                self.answered(Step::StartTls);
                // After the peer has closed there is no handshake.
                if self.rx.is_closed() {
                    return;
                }
                match upgrade.complete(channel(), &mut self.rx) {
                    Ok(client) => {
                        self.record.secured(&self.rx);
                        self.secured = Secured::JustNow;
                        self.given = VecDeque::from([NOT_YET]);
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
        let buffers = (&mut self.rx, &mut self.tx);
        ask_again(error, "220 x\r\n250 x\r\n", buffers, &mut self.record, |rx, tx| match &mut self.session {
            Session::Cleartext(client) => next(client, rx, tx),
            Session::Secure(client) => next(client, rx, tx),
            Session::Gone(_) | Session::Negotiating(_) => Err(error),
        });
        self.session = Session::Gone(error);
    }

    fn starttls(&mut self) {
        let over = Session::Gone(Misuse::Closed.into());
        match std::mem::replace(&mut self.session, over) {
            Session::Cleartext(client) => match client.starttls(&mut self.tx) {
                Ok(negotiation) => {
                    self.record.entries.push(Entry::CommandGiven("STARTTLS", 1));
                    self.expect(Step::StartTls);
                    self.session = Session::Negotiating(negotiation);
                }
                Err(error) => self.fail(error),
            },
            other => self.session = other,
        }
    }

    /// Records a command.
    fn expect(&mut self, step: Step) {
        let (sent, heard) = (self.tx.queued_total(), self.rx.received_total());
        self.given.push_back(Given { step, sent, heard });
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

    fn outside(&self) -> Outside {
        match &self.session {
            Session::Gone(_) => Outside { wait: WaitFor::Nothing, closed: true },
            Session::Negotiating(negotiation) => Outside { wait: negotiation.wait().awaited, closed: false },
            Session::Cleartext(client) => Outside { wait: client.wait().awaited, closed: client.is_closed() },
            Session::Secure(client) => Outside { wait: client.wait().awaited, closed: client.is_closed() },
        }
    }

    /// The application gives a command.
    fn give(&mut self, command: Move) {
        let (tx, record) = (&mut self.tx, &mut self.record);
        let given = match &mut self.session {
            Session::Cleartext(client) => give(command, client, prove_in_cleartext, tx, record),
            Session::Secure(client) => give(command, client, prove, tx, record),
            Session::Gone(_) | Session::Negotiating(_) => None,
        };
        match given {
            Some(Step::Mail) => self.recipients = 0,
            Some(Step::Rcpt(_)) => self.recipients += 1,
            _ => {}
        }
        match given {
            // RFC 2033 §4.2: the server replies for each accepted recipient.
            Some(Step::Message(_)) if self.terms.dialect == Dialect::Lmtp => {
                let accepted = std::mem::take(&mut self.accepted);
                accepted.into_iter().for_each(|recipient| self.expect(Step::Message(Some(recipient))));
            }
            Some(step) => self.expect(step),
            None => {}
        }
    }

    /// Checks that the machine sends lines on its own only in response to new input, and at most one for each received
    /// line.
    fn says_by_itself(&mut self, next: Move, queued: u64) {
        let heard = if let Move::Hear(bytes) = next { lines(bytes) } else { 0 };
        let new = (self.tx.queued_total() - queued) as usize;
        let unsent: Vec<u8> = self.tx.chunks().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        let said = unsent[unsent.len().saturating_sub(new)..].split_inclusive(|&byte| byte == b'\n').count();
        if said > heard {
            self.broken = Some(format!("{said} lines of its own to {heard} that it heard"));
        }
    }

    fn gives(&self, command: Move) -> bool {
        match command {
            Move::StartTls => matches!(self.session, Session::Cleartext(_)) && self.given.is_empty(),
            Move::Rcpt if self.recipients > 1 || self.accepted.len() > 1 => false,
            // While a reply is incomplete, one command in progress is enough.
            _ if !self.rx.is_empty() && !self.given.is_empty() => false,
            _ => {
                !matches!(self.session, Session::Negotiating(_))
                    && self.given.len() < self.terms.alphabet.most + farther()
            }
        }
    }
}

impl World for TestClient {
    type Move = Move;

    fn moves(&self) -> Vec<Move> {
        let Outside { wait, closed } = self.outside();
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
        let &Alphabet { sayings, commands, .. } = self.terms.alphabet;
        moves.extend(commands.iter().filter(|&&command| self.gives(command)));
        if self.rx.is_closed() {
            return moves;
        }
        moves.push(Move::Close);
        let sayings = if self.rx.is_empty() { sayings } else { ENDINGS };
        if self.rx.len() < 8 {
            moves.extend(sayings.iter().map(|bytes| Move::Hear(bytes)));
        }
        moves
    }

    fn make(&mut self, next: Move) {
        self.secured.pass();
        let queued = self.tx.queued_total();
        if !matches!(next, Move::Hear(_) | Move::Send) {
            // What follows is caused by this action and not by earlier input.
            self.record.heard(0);
        }
        match next {
            Move::Hear(bytes) => {
                self.rx.extend(bytes.as_bytes());
                self.record.heard(lines(bytes));
            }
            Move::Send => drop(self.record.send(&mut self.tx)),
            Move::Close => self.rx.close(),
            Move::Tick => self.time_out(),
            Move::StartTls => self.starttls(),
            command => self.give(command),
        }
        self.pump();
        if matches!(next, Move::Hear(_) | Move::Send | Move::Close | Move::Tick) {
            self.says_by_itself(next, queued);
        }
        self.mark();
        if self.given.front().is_some_and(|given| given.step == Step::Auth) {
            match next {
                Move::Hear(bytes) => self.exchange.push_str(bytes),
                Move::Authenticate(mechanism) if self.exchange.is_empty() => {
                    self.exchange.push_str(mechanism.name());
                }
                _ => {}
            }
        } else {
            self.exchange.clear();
        }
    }

    fn state(&self) -> String {
        // Output is sent in one piece. The other numbers have no limit here.
        const LEFT_OUT: [&str; 6] = ["generation", "received", "head", "mails", "mixed_codes", "count"];
        if self.outside().closed {
            return "closed".to_owned();
        }
        let machine = match &self.session {
            Session::Gone(error) => return format!("{error:?}"),
            Session::Cleartext(client) => described(client, &LEFT_OUT),
            Session::Negotiating(negotiation) => described(negotiation, &LEFT_OUT),
            Session::Secure(client) => described(client, &LEFT_OUT),
        };
        let (sent, head) = (self.tx.sent_total(), self.head());
        let machine = counted_from(counted_from(machine, "queued_at", sent), "received_at", head);
        // This value is only reported and influences nothing.
        let machine = without_text(machine, "failure: ", "initial_response_rejected");
        let given = counted_from(counted_from(format!("{:?}", self.given), "sent", sent), "heard", head);
        let (rx, closed, recipients) = (self.rx.bytes().escape_ascii(), self.rx.is_closed(), self.recipients);
        let tx: Vec<_> =
            self.tx.chunks().map(|chunk| (chunk.bytes.escape_ascii().to_string(), chunk.secret)).collect();
        format!("{machine} {rx} {closed} {tx:?} {given} {recipients} {:?} {}", self.accepted, self.exchange)
    }

    fn judge(&self) -> Result<usize, String> {
        let terms = invariants::Terms {
            side: Side::SmtpClient,
            // A client that has just been upgraded is not explored further.
            secure: self.secured == Secured::Before,
            danger: self.terms.danger,
            may_hold: 128,
            may_put_out: 4096,
        };
        invariants::check(&self.record, &terms)?;
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let clear =
            matches!(self.session, Session::Cleartext(_) | Session::Negotiating(_)) && !self.terms.danger;
        let told = |entry: &Entry| matches!(entry, Entry::CommandGiven("MAIL" | "RCPT" | "DATA" | "BDAT", _));
        if clear && self.record.entries.iter().any(told) {
            return Err("a part of a message or its envelope leaves in cleartext".to_owned());
        }
        let helo = |entry: &Entry| matches!(entry, Entry::Sent(bytes, _) if bytes.starts_with(b"HELO"));
        if clear && self.record.entries.iter().any(helo) {
            return Err("HELO, that offers no TLS, leaves in cleartext".to_owned());
        }
        if clear && self.tx.chunks().any(|chunk| chunk.secret) {
            return Err("a secret waits to leave in cleartext".to_owned());
        }
        Ok(invariants::INVARIANTS + 6)
    }

    fn behind_the_gate(&self) -> Option<String> {
        (self.secured == Secured::JustNow).then(|| self.state())
    }
}

/// A command that the machine will send on its own: no reply can belong to it yet.
const NOT_YET: Given = Given { step: Step::Hello, sent: u64::MAX, heard: u64::MAX };

fn config(terms: Terms) -> Config {
    let config = Config::default().dialect(terms.dialect);
    if terms.danger { config.danger_cleartext() } else { config }
}

fn lines(bytes: &str) -> usize {
    bytes.matches('\n').count()
}

/// Which commands an event answers.
enum Answers {
    Nothing,
    /// A positive reply to this step.
    Yes(Step),
    /// A positive reply to AUTH.
    Proof,
    Step(Step),
    All,
}

fn note(event: Option<Event<'_>>, record: &mut Record) -> Option<Answers> {
    let event = event?;
    record.event(&event);
    Some(Answers::Step(match event {
        Event::Greeting(_) => Step::Greeting,
        Event::Capabilities(_) => Step::Hello,
        Event::Accepted(step, _) => return Some(Answers::Yes(step)),
        Event::Rejected(step, _) => step,
        Event::SendData(_) => {
            record.entries.push(Entry::RequiresTls("a message"));
            Step::Data
        }
        Event::Delivered(recipient, _) => {
            record.entries.push(Entry::RequiresTls("a message"));
            Step::Message(recipient)
        }
        Event::Auth(outcome) => {
            if matches!(outcome, AuthOutcome::Accepted(_)) {
                record.entries.push(Entry::Authenticated);
                return Some(Answers::Proof);
            }
            Step::Auth
        }
        Event::Closed(_) => return Some(Answers::All),
        _ => return Some(Answers::Nothing),
    }))
}

type Prove<C> = fn(&mut Client<C>, Mechanism, &mut SendBuffer) -> Result<(), Error>;

fn credentials() -> Credentials {
    Credentials::password("x", PASSWORD.as_bytes())
}

fn prove(client: &mut Client<Secure>, mechanism: Mechanism, tx: &mut SendBuffer) -> Result<(), Error> {
    match mechanism {
        Mechanism::Custom(_) => client.authenticate_with(Box::new(custom_mechanism::TestClient::new()), tx),
        _ => client.authenticate(mechanism, credentials(), tx),
    }
}

fn prove_in_cleartext(
    client: &mut Client<Cleartext>,
    mechanism: Mechanism,
    tx: &mut SendBuffer,
) -> Result<(), Error> {
    match mechanism {
        Mechanism::Custom(_) => {
            client.danger_cleartext_authenticate_with(Box::new(custom_mechanism::TestClient::new()), tx)
        }
        _ => client.danger_cleartext_authenticate(mechanism, credentials(), tx),
    }
}

/// Gives a command. Returns the step that awaits a reply, if the machine allowed the command.
fn give<C: Channel>(
    command: Move,
    client: &mut Client<C>,
    prove: Prove<C>,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Option<Step> {
    let address = || Address::parse("x@example.com").unwrap();
    let mut step = Step::Noop;
    let before = Queued::of(tx);
    let (verb, outcome) = match command {
        Move::Authenticate(mechanism) => {
            step = Step::Auth;
            ("AUTHENTICATE", prove(client, mechanism, tx))
        }
        Move::Mail => {
            step = Step::Mail;
            ("MAIL", client.mail(&Mail::new(ReversePath::from(address())), tx))
        }
        Move::Rcpt => {
            let given = client.rcpt(&Rcpt::new(address()), tx);
            step = Step::Rcpt(given.unwrap_or_default());
            ("RCPT", given.map(drop))
        }
        Move::Data => {
            step = Step::Data;
            ("DATA", client.data(tx))
        }
        Move::Message => {
            step = Step::Message(None);
            let written = client.data_writer().and_then(|mut writer| {
                writer.write(b"x\r\n.\r\n", tx)?;
                writer.finish(tx)
            });
            record.noted("message", written)?;
            return Some(step);
        }
        Move::Chunk => {
            step = Step::Message(None);
            let written = client.bdat(3, ChunkEnd::Last, tx).and_then(|()| {
                client.data_writer()?.write(b"x\r\n", tx)?;
                client.data_writer()?.finish(tx)
            });
            ("BDAT", written)
        }
        Move::Reset => {
            step = Step::Reset;
            ("RSET", client.reset(tx))
        }
        Move::Quit => {
            step = Step::Quit;
            ("QUIT", client.quit(tx))
        }
        _ => ("NOOP", client.noop(tx)),
    };
    record.given_since(verb, outcome, before, tx).map(|()| step)
}
