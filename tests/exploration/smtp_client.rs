//! Explores the SMTP client: a server or an attacker sends anything, and an application gives any command.

use std::collections::VecDeque;

use proto_mail::machine::Negotiation;
use proto_mail::{Cleartext, Error, Mechanism, Misuse, RecvBuffer, Secure, SendBuffer, WaitFor};
use proto_smtp::client::{AuthOutcome, Client, Event, StartTls, Step};
use proto_smtp::{Config, Dialect};

use mailwire_tests::invariants::{self, Side};
use mailwire_tests::play::{Entry, Record, channel};

use crate::endpoint::{ask_again, next};
use crate::explore::{Secured, SystemUnderTest, describe, rebase_numbers, remove_between};
use crate::extra_in_progress;
use crate::smtp_alphabet::{Alphabet, LINE_ENDINGS};
use crate::smtp_commands::{give, log_in, log_in_in_cleartext};

/// The client, its application and everything that was sent.
pub(crate) struct TestClient {
    session: Session,
    rx: RecvBuffer,
    tx: SendBuffer,
    record: Record,
    settings: Settings,
    secured: Secured,
    /// The commands in progress.
    in_progress: VecDeque<CommandInProgress>,
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
pub(crate) struct Settings {
    /// SMTP or LMTP.
    pub(crate) dialect: Dialect,
    /// Whether the program allows login in cleartext.
    pub(crate) allows_cleartext_login: bool,
    /// The possible inputs and actions.
    pub(crate) alphabet: &'static Alphabet,
}

/// A command in progress: how many bytes had been queued up to its end, and how many had been received before.
#[derive(Debug, Clone, Copy)]
struct CommandInProgress {
    step: Step,
    queued_at: u64,
    received_at: u64,
}

enum Session {
    Cleartext(Client<Cleartext>),
    Negotiating(StartTls),
    Secure(Client<Secure>),
    Gone(Error),
}

/// An action of the server or the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The server sends this in one read.
    Receive(&'static str),
    /// The queued output is sent.
    Send,
    /// The server closes its side.
    Close,
    /// The wait times out.
    EndWait,
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
struct PublicState {
    wait: WaitFor,
    closed: bool,
}

impl TestClient {
    /// Creates a client that waits for the greeting.
    pub(crate) fn new(settings: Settings) -> Self {
        let session = Session::Cleartext(Client::<Cleartext>::new(config(settings)));
        Self::with(session, Secured::No, settings)
    }

    /// Like [`new`](Self::new), under TLS from the start.
    pub(crate) fn secure(settings: Settings) -> Self {
        Self::with(
            Session::Secure(Client::<Secure>::new(config(settings), channel())),
            Secured::Before,
            settings,
        )
    }

    fn with(session: Session, secured: Secured, settings: Settings) -> Self {
        let greeting = CommandInProgress { step: Step::Greeting, queued_at: 0, received_at: 0 };
        Self {
            session,
            rx: RecvBuffer::new(),
            tx: SendBuffer::new(),
            record: Record::default(),
            settings,
            secured,
            in_progress: VecDeque::from([greeting, NOT_SENT_YET]),
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
                Session::Cleartext(client) => {
                    client.next_event(rx, tx).map(|event| record_event(event, record))
                }
                Session::Secure(client) => client.next_event(rx, tx).map(|event| record_event(event, record)),
            };
            match seen {
                Ok(Some(Answers::Nothing)) => {}
                Ok(Some(Answers::Login)) => {
                    self.check_login_success();
                    self.check_reply(Step::Auth);
                }
                Ok(Some(Answers::All)) => self.in_progress.clear(),
                // A reply that rejects a message before its end also ends the session.
                Ok(Some(Answers::Step(Step::Data))) if self.public_state().closed => self.in_progress.clear(),
                Ok(Some(Answers::Step(step))) => self.check_reply(step),
                Ok(Some(Answers::Accepted(step))) => {
                    match step {
                        Step::Mail | Step::Reset => self.accepted.clear(),
                        Step::Rcpt(recipient) if self.settings.dialect == Dialect::Lmtp => {
                            self.accepted.push(recipient);
                        }
                        _ => {}
                    }
                    self.check_reply(step);
                }
                Ok(None) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Checks a reply: it must belong to the oldest command, and must have arrived after that command was sent.
    fn check_reply(&mut self, step: Step) {
        let (sent, head) = (self.tx.sent_total(), self.head());
        match self.in_progress.pop_front() {
            Some(in_progress)
                if in_progress.step == step
                    && in_progress.queued_at <= sent
                    && in_progress.received_at <= head => {}
            other => {
                let place = format!("{sent} bytes are sent, and the reply begins at {head}");
                self.broken =
                    Some(format!("a reply to {step:?}, and {other:?} is the oldest command: {place}"));
            }
        }
    }

    /// Checks that the mechanism has received enough challenges before the client accepts success.
    fn check_login_success(&mut self) {
        let challenges = self.exchange.matches("334 ").count();
        let least = match () {
            () if self.exchange.starts_with("LOGIN") => 2,
            () if self.exchange.starts_with("X-") => 1,
            () => 0,
        };
        if challenges < least {
            self.broken =
                Some(format!("success is accepted after {challenges} challenges instead of {least}"));
        }
    }

    /// Returns the offset of the unread input in everything received.
    fn head(&self) -> u64 {
        self.rx.received_total() - self.rx.len() as u64
    }

    /// Records that the machine has sent more on its own, in a greeting or an exchange, that awaits a reply.
    fn mark_unprompted_output(&mut self) {
        let (queued_at, received_at) = (self.tx.queued_total(), self.rx.received_total());
        if let Some(first) = self.in_progress.front_mut()
            && matches!(first.step, Step::Hello | Step::Auth)
            && first.queued_at != queued_at
        {
            (first.queued_at, first.received_at) = (queued_at, received_at);
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
                self.check_reply(Step::StartTls);
                self.pump();
            }
            Ok(Negotiation::Ready(upgrade)) => {
                self.check_reply(Step::StartTls);
                // After the peer has closed there is no handshake.
                if self.rx.is_closed() {
                    return;
                }
                match upgrade.complete(channel(), &mut self.rx) {
                    Ok(client) => {
                        self.record.secured(&self.rx);
                        self.secured = Secured::JustNow;
                        self.in_progress = VecDeque::from([NOT_SENT_YET]);
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
        ask_again(&error, "220 x\r\n250 x\r\n", buffers, &mut self.record, |rx, tx| {
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
        let (queued_at, received_at) = (self.tx.queued_total(), self.rx.received_total());
        self.in_progress.push_back(CommandInProgress { step, queued_at, received_at });
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

    fn public_state(&self) -> PublicState {
        match &self.session {
            Session::Gone(_) => PublicState { wait: WaitFor::Nothing, closed: true },
            Session::Negotiating(negotiation) => {
                PublicState { wait: negotiation.wait().awaited, closed: false }
            }
            Session::Cleartext(client) => {
                PublicState { wait: client.wait().awaited, closed: client.is_closed() }
            }
            Session::Secure(client) => {
                PublicState { wait: client.wait().awaited, closed: client.is_closed() }
            }
        }
    }

    /// The application gives a command.
    fn give(&mut self, command: Action) {
        let (tx, record) = (&mut self.tx, &mut self.record);
        let in_progress = match &mut self.session {
            Session::Cleartext(client) => give(command, client, log_in_in_cleartext, tx, record),
            Session::Secure(client) => give(command, client, log_in, tx, record),
            Session::Gone(_) | Session::Negotiating(_) => None,
        };
        match in_progress {
            Some(Step::Mail) => self.recipients = 0,
            Some(Step::Rcpt(_)) => self.recipients += 1,
            _ => {}
        }
        match in_progress {
            // RFC 2033 §4.2: the server replies for each accepted recipient.
            Some(Step::Message(_)) if self.settings.dialect == Dialect::Lmtp => {
                let accepted = std::mem::take(&mut self.accepted);
                accepted.into_iter().for_each(|recipient| self.expect(Step::Message(Some(recipient))));
            }
            Some(step) => self.expect(step),
            None => {}
        }
    }

    /// Checks that the machine sends lines on its own only in response to new input, and at most one for each received
    /// line.
    fn check_unprompted_output(&mut self, next: Action, queued: u64) {
        let received = if let Action::Receive(bytes) = next { lines(bytes) } else { 0 };
        let new = (self.tx.queued_total() - queued) as usize;
        let unsent: Vec<u8> = self.tx.chunks().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        let unprompted =
            unsent[unsent.len().saturating_sub(new)..].split_inclusive(|&byte| byte == b'\n').count();
        if unprompted > received {
            self.broken =
                Some(format!("{unprompted} lines of the machine's own after {received} received lines"));
        }
    }

    fn may_give(&self, command: Action) -> bool {
        match command {
            Action::StartTls => matches!(self.session, Session::Cleartext(_)) && self.in_progress.is_empty(),
            Action::Rcpt if self.recipients > 1 || self.accepted.len() > 1 => false,
            // While a reply is incomplete, one command in progress is enough.
            _ if !self.rx.is_empty() && !self.in_progress.is_empty() => false,
            _ => {
                !matches!(self.session, Session::Negotiating(_))
                    && self.in_progress.len() < self.settings.alphabet.max_in_progress + extra_in_progress()
            }
        }
    }
}

impl SystemUnderTest for TestClient {
    type Action = Action;

    fn actions(&self) -> Vec<Action> {
        let PublicState { wait, closed } = self.public_state();
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
        let &Alphabet { peer_input, commands, .. } = self.settings.alphabet;
        actions.extend(commands.iter().filter(|&&command| self.may_give(command)));
        if self.rx.is_closed() {
            return actions;
        }
        actions.push(Action::Close);
        let peer_input = if self.rx.is_empty() { peer_input } else { LINE_ENDINGS };
        if self.rx.len() < 8 {
            actions.extend(peer_input.iter().map(|bytes| Action::Receive(bytes)));
        }
        actions
    }

    fn perform(&mut self, next: Action) {
        self.secured.note_action();
        let queued = self.tx.queued_total();
        if !matches!(next, Action::Receive(_) | Action::Send) {
            // What follows is caused by this action and not by earlier input.
            self.record.heard(0);
        }
        match next {
            Action::Receive(bytes) => {
                self.rx.extend(bytes.as_bytes());
                self.record.heard(lines(bytes));
            }
            Action::Send => drop(self.record.send(&mut self.tx)),
            Action::Close => self.rx.close(),
            Action::EndWait => self.time_out(),
            Action::StartTls => self.starttls(),
            command => self.give(command),
        }
        self.pump();
        if matches!(next, Action::Receive(_) | Action::Send | Action::Close | Action::EndWait) {
            self.check_unprompted_output(next, queued);
        }
        self.mark_unprompted_output();
        if self.in_progress.front().is_some_and(|in_progress| in_progress.step == Step::Auth) {
            match next {
                Action::Receive(bytes) => self.exchange.push_str(bytes),
                Action::Authenticate(mechanism) if self.exchange.is_empty() => {
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
        if self.public_state().closed {
            return "closed".to_owned();
        }
        let machine = match &self.session {
            Session::Gone(error) => return format!("{error:?}"),
            Session::Cleartext(client) => describe(client, &LEFT_OUT),
            Session::Negotiating(negotiation) => describe(negotiation, &LEFT_OUT),
            Session::Secure(client) => describe(client, &LEFT_OUT),
        };
        let (sent, head) = (self.tx.sent_total(), self.head());
        let machine = rebase_numbers(rebase_numbers(machine, "queued_at", sent), "received_at", head);
        // This value is only reported and influences nothing.
        let machine = remove_between(machine, "failure: ", "initial_response_rejected");
        let in_progress = rebase_numbers(
            rebase_numbers(format!("{:?}", self.in_progress), "queued_at", sent),
            "received_at",
            head,
        );
        let (rx, closed, recipients) = (self.rx.bytes().escape_ascii(), self.rx.is_closed(), self.recipients);
        let tx: Vec<_> =
            self.tx.chunks().map(|chunk| (chunk.bytes.escape_ascii().to_string(), chunk.secret)).collect();
        format!(
            "{machine} {rx} {closed} {tx:?} {in_progress} {recipients} {:?} {}",
            self.accepted, self.exchange
        )
    }

    fn check_invariants(&self) -> Result<usize, String> {
        let terms = invariants::Terms {
            side: Side::SmtpClient,
            // A client that has just been upgraded is not explored further.
            secure: self.secured == Secured::Before,
            danger: self.settings.allows_cleartext_login,
            may_hold: 128,
            may_put_out: 4096,
        };
        invariants::check(&self.record, &terms)?;
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let clear = matches!(self.session, Session::Cleartext(_) | Session::Negotiating(_))
            && !self.settings.allows_cleartext_login;
        let of_message =
            |entry: &Entry| matches!(entry, Entry::CommandGiven("MAIL" | "RCPT" | "DATA" | "BDAT", _));
        if clear && self.record.entries.iter().any(of_message) {
            return Err("a part of a message or its envelope is sent in cleartext".to_owned());
        }
        let helo = |entry: &Entry| matches!(entry, Entry::Sent(bytes, _) if bytes.starts_with(b"HELO"));
        if clear && self.record.entries.iter().any(helo) {
            return Err("HELO, which prevents TLS, is sent in cleartext".to_owned());
        }
        if clear && self.tx.chunks().any(|chunk| chunk.secret) {
            return Err("a secret is queued in cleartext".to_owned());
        }
        Ok(invariants::INVARIANTS + 6)
    }

    fn state_after_upgrade(&self) -> Option<String> {
        (self.secured == Secured::JustNow).then(|| self.state())
    }
}

/// A command that the machine will send on its own: no reply can belong to it yet.
const NOT_SENT_YET: CommandInProgress =
    CommandInProgress { step: Step::Hello, queued_at: u64::MAX, received_at: u64::MAX };

fn config(settings: Settings) -> Config {
    let config = Config::default().dialect(settings.dialect);
    if settings.allows_cleartext_login { config.danger_cleartext() } else { config }
}

fn lines(bytes: &str) -> usize {
    bytes.matches('\n').count()
}

/// Which commands an event answers.
enum Answers {
    Nothing,
    /// A positive reply to this step.
    Accepted(Step),
    /// A positive reply to AUTH.
    Login,
    Step(Step),
    All,
}

fn record_event(event: Option<Event<'_>>, record: &mut Record) -> Option<Answers> {
    let event = event?;
    record.event(&event);
    Some(Answers::Step(match event {
        Event::Greeting(_) => Step::Greeting,
        Event::Capabilities(_) => Step::Hello,
        Event::Accepted(step, _) => return Some(Answers::Accepted(step)),
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
                return Some(Answers::Login);
            }
            Step::Auth
        }
        Event::Closed(_) => return Some(Answers::All),
        _ => return Some(Answers::Nothing),
    }))
}
