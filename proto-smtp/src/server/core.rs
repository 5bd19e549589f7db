//! The heart of the server, which knows no channel type: states, lines, and the commands that need nobody's answer.

use alloc::boxed::Box;
use alloc::sync::Arc;

use proto_mail::sasl::ServerExchange;
use proto_mail::token::TokenIssuer;
use proto_mail::{AuthRequest, Error, PeerError, RecvBuffer, SendBuffer, StartTlsRequest, Wait, WaitFor};

use super::event::CoreEvent;
use super::incoming_message::IncomingMessage;
use super::redaction;
use super::reply::{self, Question};
use super::transaction::{Domains, Transaction, syntax};
use super::xclient::{Forwarded, untrusting};
use crate::command::{Command, Verb, split_verb};
use crate::config::{Config, EarlyTalker};
use crate::extension::{Extension, ExtensionSet};
use crate::line::{Frame, LineFault, LineSkipper, Skipped, frame};
use crate::response::Response;
use crate::status_code::Code;

/// What the server is doing.
#[derive(Debug)]
pub(super) enum State {
    /// The greeting is held back.
    Silence,
    /// The next command is awaited.
    Command,
    /// The client has said who it is and is about to be answered.
    Hello(Verb),
    /// A line that is refused is swallowed up to its end.
    LineSkipper(LineSkipper),
    /// The application owes an answer.
    Owed { question: Question },
    /// The client's next SASL message is awaited.
    Auth(Box<dyn ServerExchange>),
    /// The application owes a verdict.
    /// Behind one verdict another may be needed: what is to be asked next.
    Verdict { exchange: Box<dyn ServerExchange>, next: Option<AuthRequest> },
    /// This answer to a failed authentication is held back.
    Delay(Response<'static>),
    /// The application must accept or refuse TLS.
    StartTls,
    /// A message comes by DATA or BDAT.
    IncomingMessage(IncomingMessage),
    /// The last words were said; the application does not know yet.
    Closing,
    /// It knows.
    Closed,
    /// It ended badly.
    Failed(Error),
}

/// What `advance` found, where an event borrows the buffer: a place, since the borrow comes last.
pub(super) enum Found {
    Line { verb: Verb, len: usize },
    Piece { skip: usize, len: usize },
    Event(CoreEvent<'static>),
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) secure: bool,
    pub(super) state: State,
    /// What may be offered in this session.
    pub(super) extensions: ExtensionSet,
    /// The greeting was a refusal: nothing is done but to say good-bye.
    pub(super) turned_away: bool,
    /// How the client has greeted.
    pub(super) hello: Option<Verb>,
    pub(super) transaction: Option<Transaction>,
    /// How many MAIL commands have come.
    pub(super) mails: u32,
    /// The domains of the transaction's recipients, where they are counted.
    pub(super) domains: Domains,
    pub(super) authenticated: bool,
    pub(super) tokens: TokenIssuer,
    pub(super) errors: u32,
    pub(super) failed_authentications: u32,
    /// The application has said no, and the mechanism goes on: however it ends, that was a failed attempt.
    pub(super) said_no: bool,
    pub(super) sasl: proto_mail::sasl::SaslContext,
    pub(super) forwarded: Forwarded,
    commands: u32,
    pub(super) generation: u32,
    /// What the last event has borrowed and is to be given up now.
    pub(super) given_up: usize,
    /// The greeting ends there in all that is sent.
    greeting_end: u64,
}

impl Core {
    pub(super) fn new(config: Arc<Config>, secure: bool) -> Self {
        Self {
            extensions: untrusting(config.extensions),
            config,
            secure,
            state: State::Command,
            turned_away: false,
            hello: None,
            transaction: None,
            mails: 0,
            domains: Domains::default(),
            authenticated: false,
            tokens: TokenIssuer::new(),
            errors: 0,
            failed_authentications: 0,
            said_no: false,
            sasl: proto_mail::sasl::SaslContext::cleartext(),
            forwarded: Forwarded::default(),
            commands: 0,
            generation: 0,
            given_up: 0,
            greeting_end: 0,
        }
    }

    /// The session's mechanisms may be bound to this channel.
    pub(super) fn over(mut self, secure: &proto_mail::Secure) -> Self {
        self.sasl = proto_mail::sasl::SaslContext::secure(secure);
        self
    }

    /// Greets the client, now or after the delay.
    pub(super) fn open(mut self, tx: &mut SendBuffer) -> Self {
        if self.config.waits.greeting_delay.is_zero() {
            self.greet_connection(tx);
        } else {
            self.enter(State::Silence);
        }
        self
    }

    fn greet_connection(&mut self, tx: &mut SendBuffer) {
        self.say_ready(tx);
        self.begin(tx);
    }

    /// `220`.
    pub(super) fn say_ready(&self, tx: &mut SendBuffer) {
        let name = self.config.name.as_str();
        let protocol = match self.config.dialect {
            crate::Dialect::Smtp => "ESMTP",
            crate::Dialect::Lmtp => "LMTP",
        };
        let text = alloc::format!("{name} {protocol} {}", self.config.greeting);
        Response::new(Code::READY, text).encode(tx);
    }

    /// Refuses the client before it has said anything.
    pub(super) fn reject_connection(&mut self, response: &Response<'_>, tx: &mut SendBuffer) {
        let response = reply::refusing(response);
        self.turned_away = true;
        response.encode(tx);
        self.begin(tx);
        if response.code() == Code::UNAVAILABLE {
            self.enter(State::Closing);
        }
    }

    fn begin(&mut self, tx: &SendBuffer) {
        self.greeting_end = tx.queued_total();
        self.enter(State::Command);
    }

    /// Moves to another state: a complete step, and so another wait.
    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.generation = self.generation.wrapping_add(1);
    }

    /// The next thing that happened.
    pub(super) fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<CoreEvent<'i>>, Error> {
        let Some(found) = self.advance(rx, tx)? else { return Ok(None) };
        let bytes: &'i [u8] = rx.bytes();
        Ok(Some(match found {
            Found::Event(event) => event,
            Found::Piece { skip, len } => {
                CoreEvent::DataChunk(bytes.get(skip..skip + len).unwrap_or_default())
            }
            Found::Line { verb, len } => self.judge(verb, bytes.get(..len).unwrap_or_default(), tx)?,
        }))
    }

    /// Goes on until something happens that the application must know.
    fn advance(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Option<Found>, Error> {
        rx.consume(core::mem::take(&mut self.given_up));
        loop {
            let found = match &mut self.state {
                State::IncomingMessage(_) => self.receive(rx, tx)?,
                State::Command if tx.len() > self.config.limits.output_high_water => return Ok(None),
                State::Command => self.command_line(rx, tx)?,
                State::Auth(_) => self.authentication_line(rx, tx)?,
                State::LineSkipper(_) => self.swallow(rx, tx)?,
                State::Hello(verb) => {
                    let verb = *verb;
                    self.welcome(verb, tx)
                }
                State::Closing => {
                    self.transaction = None;
                    self.enter(State::Closed);
                    Step::Found(Found::Event(CoreEvent::Closed))
                }
                State::Silence if !rx.is_empty() => self.early_talker(tx)?,
                State::Failed(error) => return Err(*error),
                State::Verdict { next: Some(_), .. } => self.next_question(),
                State::Owed { .. } | State::Verdict { .. } | State::StartTls
                    if self.tokens.newest_is_gone() =>
                {
                    self.token_dropped(tx)
                }
                State::Silence
                | State::Owed { .. }
                | State::Verdict { .. }
                | State::Delay(_)
                | State::StartTls
                | State::Closed => return Ok(None),
            };
            match found {
                Step::Again => {}
                Step::Wait => return self.end_of_input(rx, tx),
                Step::Found(found) => return Ok(Some(found)),
            }
        }
    }

    /// Nothing more can be done with what has come: will more come?
    fn end_of_input(&mut self, rx: &RecvBuffer, tx: &mut SendBuffer) -> Result<Option<Found>, Error> {
        if !rx.is_closed() {
            return Ok(None);
        }
        if matches!(self.state, State::Command) && rx.is_empty() {
            // Without QUIT, but between two commands.
            self.transaction = None;
            self.enter(State::Closed);
            return Ok(Some(Found::Event(CoreEvent::Closed)));
        }
        Err(self.fail(PeerError::UnexpectedEnd.into(), tx))
    }

    fn early_talker(&mut self, tx: &mut SendBuffer) -> Result<Step, Error> {
        match self.config.early_talker {
            EarlyTalker::Reject => Err(self.fail(PeerError::EarlyTalker.into(), tx)),
            // It waits like everybody else.
            EarlyTalker::Accept => Ok(Step::Wait),
        }
    }

    fn swallow(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Step, Error> {
        let State::LineSkipper(swallow) = &mut self.state else { return Ok(Step::Again) };
        match swallow.advance(rx) {
            Skipped::Part => Ok(Step::Wait),
            Skipped::Endless => Err(self.fail(proto_mail::Limit::Line.into(), tx)),
            Skipped::Whole => {
                let response = match swallow.fault {
                    LineFault::TooLong => reply::LINE_TOO_LONG,
                    LineFault::Forbidden => reply::BARE_NEWLINE,
                };
                self.enter(State::Command);
                if self.said_no {
                    return self.hold_back(response, tx);
                }
                self.refused(Verb::Other, response, tx)
            }
        }
    }

    /// Refuses by itself and tells the application.
    pub(super) fn refused(
        &mut self,
        verb: Verb,
        response: Response<'static>,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        self.refuse(&response, tx)?;
        Ok(Step::event(CoreEvent::Refused(verb, response)))
    }

    /// Reads the next command and does what can be done without the application.
    fn command_line(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Step, Error> {
        let head = rx.bytes();
        if head.is_empty() {
            return Ok(Step::Wait);
        }
        if tx.sent_total() < self.greeting_end && self.config.early_talker == EarlyTalker::Reject {
            return Err(self.fail(PeerError::EarlyTalker.into(), tx));
        }
        if !self.secure && self.hello.is_none() && head.starts_with(b"\x16\x03") {
            return Err(self.fail(PeerError::TlsInCleartext.into(), tx));
        }
        // A line of AUTH may be longer than others: it holds a ticket or token.
        let auth = head.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        let limit = if auth { self.config.max_auth_line } else { self.config.max_command_line };
        let (len, whole) = match frame(rx, limit, self.config.bare_newline) {
            Frame::Partial => return Ok(Step::Wait),
            Frame::Rejected(fault) => {
                self.state = State::LineSkipper(LineSkipper::new(fault));
                return Ok(Step::Again);
            }
            Frame::Line { len, whole } => (len, whole),
        };
        if rx.is_traced() {
            redaction::line((len, whole), rx);
        }
        let line = rx.bytes().get(..len).unwrap_or_default();
        let (verb, rest) = split_verb(line);
        self.generation = self.generation.wrapping_add(1);
        self.count_command(tx)?;
        if verb == Verb::Other && is_http(line) {
            return Err(self.fail(PeerError::Malformed.into(), tx));
        }
        let topic = !rest.trim_ascii().is_empty();
        if let Some(response) = self.rejection(verb) {
            return self.object(verb, response, (len, whole), rx, tx);
        }
        match verb {
            Verb::Mail | Verb::Rcpt | Verb::Ehlo | Verb::Helo | Verb::Lhlo => Ok(self.line(verb, len, whole)),
            Verb::Expn | Verb::Etrn | Verb::XClient | Verb::XForward => Ok(self.line(verb, len, whole)),
            Verb::Vrfy if self.offers(Extension::Vrfy) => Ok(self.line(verb, len, whole)),
            Verb::Help if topic && self.offers(Extension::Help) => Ok(self.line(verb, len, whole)),
            Verb::Burl => self.burl((len, whole), rx),
            Verb::Auth => self.begin_authentication((len, whole), rx, tx),
            Verb::Bdat => self.bdat((len, whole), rx, tx),
            _ => self.simple_command(verb, (len, whole), rx, tx),
        }
    }

    /// A command whose event borrows its line.
    const fn line(&mut self, verb: Verb, len: usize, whole: usize) -> Step {
        self.given_up = whole;
        Step::Found(Found::Line { verb, len })
    }

    fn count_command(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        if self.authenticated || !self.config.requires_authentication() {
            return Ok(());
        }
        self.commands = self.commands.saturating_add(1);
        if self.commands > self.config.limits.commands_before_auth {
            return Err(self.fail(proto_mail::Limit::CommandsBeforeAuth.into(), tx));
        }
        Ok(())
    }

    /// Refuses a command that may not come now. A chunk behind BDAT is swallowed; it is never read as commands.
    fn object(
        &mut self,
        verb: Verb,
        response: Response<'static>,
        (len, whole): (usize, usize),
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        if verb == Verb::Bdat {
            return self.refuse_chunk(response, (len, whole), rx, tx);
        }
        // It may have held credentials.
        rx.consume_wiping(whole);
        if verb == Verb::Burl && self.offers(Extension::Burl) && self.phase().allows(verb) {
            return Ok(self.refuse_part(verb, response, crate::chunking::ChunkEnd::More));
        }
        self.refused(verb, response, tx)
    }

    /// The commands that the machine answers by itself.
    fn simple_command(
        &mut self,
        verb: Verb,
        (len, whole): (usize, usize),
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        let line = rx.bytes().get(..len).unwrap_or_default();
        let (_, rest) = split_verb(line);
        let command = Command::parse_arguments(verb, line, rest).map(|command| command.verb());
        rx.consume(whole);
        if let Err(error) = command {
            return self.refused(verb, syntax(verb, error), tx);
        }
        match verb {
            Verb::Data => Ok(Step::event(CoreEvent::Data(self.ask(verb, Question::Data)))),
            Verb::StartTls => self.begin_starttls(rx, tx),
            Verb::Quit => {
                self.good_bye(tx);
                Ok(Step::Again)
            }
            Verb::Rset => {
                Self::ok(tx);
                self.forwarded.forget();
                Ok(match self.transaction.take() {
                    Some(_) => Step::event(CoreEvent::Reset),
                    None => Step::Again,
                })
            }
            Verb::Vrfy => {
                Response::fixed(Code::CANNOT_VERIFY, (5, 0), "Send the mail, and it will be tried")
                    .encode(tx);
                Ok(Step::Again)
            }
            Verb::Help => {
                Response::help().encode(tx);
                Ok(Step::Again)
            }
            _ => {
                Self::ok(tx);
                Ok(Step::Again)
            }
        }
    }

    /// STARTTLS stands last in its group (RFC 3207 §4): what follows it in cleartext may have been put there by
    /// anybody.
    fn begin_starttls(&mut self, rx: &RecvBuffer, tx: &mut SendBuffer) -> Result<Step, Error> {
        if !rx.is_empty() {
            return Err(self.fail(PeerError::PlaintextAfterStartTls.into(), tx));
        }
        self.enter(State::StartTls);
        Ok(Step::event(CoreEvent::StartTls(StartTlsRequest::new(self.tokens.issue()))))
    }

    pub(super) fn wants_read(&self, tx: &SendBuffer) -> bool {
        let listens = match self.state {
            State::Silence
            | State::Command
            | State::LineSkipper(_)
            | State::Auth(_)
            | State::IncomingMessage(_) => true,
            State::Hello(_)
            | State::Owed { .. }
            | State::Verdict { .. }
            | State::Delay(_)
            | State::StartTls
            | State::Closing
            | State::Closed
            | State::Failed(_) => false,
        };
        listens && tx.len() <= self.config.limits.output_high_water
    }

    pub(super) fn wait(&self) -> Wait {
        let waits = &self.config.waits;
        let (awaited, after) = match self.state {
            State::Silence => (WaitFor::Delay, waits.greeting_delay),
            State::Command => (WaitFor::Command, waits.command),
            State::LineSkipper(_) | State::Auth(_) => (WaitFor::Remainder, waits.command),
            State::IncomingMessage(_) => (WaitFor::Data, waits.data),
            State::Delay(_) => (WaitFor::Delay, waits.delay),
            State::Hello(_)
            | State::Owed { .. }
            | State::Verdict { .. }
            | State::StartTls
            | State::Closing => {
                return Wait::forever(WaitFor::Application, self.generation);
            }
            State::Closed | State::Failed(_) => return Wait::forever(WaitFor::Nothing, self.generation),
        };
        Wait::new(awaited, after, self.generation)
    }

    pub(super) fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match &self.state {
            State::Silence => self.greet_connection(tx),
            State::Delay(_) => return self.end_of_delay(tx),
            State::Failed(error) => return Err(*error),
            State::Command | State::LineSkipper(_) | State::Auth(_) | State::IncomingMessage(_) => {
                let awaited = self.wait().awaited;
                return Err(self.fail(proto_mail::Limit::Timeout(awaited).into(), tx));
            }
            // The application may take its time.
            State::Hello(_)
            | State::Owed { .. }
            | State::Verdict { .. }
            | State::StartTls
            | State::Closing
            | State::Closed => {}
        }
        Ok(())
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    pub(super) fn piece(&mut self, skip: usize, len: usize, give_up: usize) -> Step {
        self.given_up = give_up;
        self.generation = self.generation.wrapping_add(1);
        Step::Found(Found::Piece { skip, len })
    }
}

/// What a part of the machine found.
pub(super) enum Step {
    /// It did something; look again.
    Again,
    /// It needs more input.
    Wait,
    Found(Found),
}

impl Step {
    pub(super) const fn event(event: CoreEvent<'static>) -> Self {
        Self::Found(Found::Event(event))
    }
}

/// Whether a line is the first of an HTTP request: a browser was led here, and what follows was written by somebody
/// else.
fn is_http(line: &[u8]) -> bool {
    line.windows(6).rev().take(8).any(|end| end.eq_ignore_ascii_case(b"HTTP/1"))
}
