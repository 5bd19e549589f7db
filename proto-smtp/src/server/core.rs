//! The server's core, which has no channel type: its state, the loop over the input, and the commands that it answers by
//! itself.

use alloc::boxed::Box;
use alloc::sync::Arc;

use proto_mail::sasl::{SaslContext, ServerExchange};
use proto_mail::token::TokenIssuer;
use proto_mail::{AuthRequest, Error, PeerError, RecvBuffer, SendBuffer, StartTlsRequest, Wait, WaitFor};

use super::counters::Counters;
use super::event::CoreEvent;
use super::fixed_replies::{self as reply, syntax};
use super::forwarded::{ForwardedAttributes, without_proxy_commands};
use super::incoming_message::IncomingMessage;
use super::question::Question;
use super::redaction;
use super::session::Session;
use crate::chunking::ChunkEnd;
use crate::command::{Command, Verb, split_verb};
use crate::config::{Config, Dialect, EarlyTalker};
use crate::extension::{Extension, ExtensionSet};
use crate::line::{Frame, LineFault, LineSkipper, Skipped, frame};
use crate::reply_code::Code;
use crate::response::Response;

/// What the server is doing.
#[derive(Debug)]
pub(super) enum State {
    /// The greeting is delayed.
    GreetingDelay,
    /// The server expects the next command.
    Command,
    /// The client has sent EHLO, HELO or LHLO, and the reply is due.
    Hello(Verb),
    /// The rest of a rejected line is skipped.
    SkipLine {
        skipper: LineSkipper,
        /// The line belonged to an authentication that the application has rejected already.
        is_failed_login: bool,
    },
    /// The application owes a reply.
    ReplyOwed(Question),
    /// The server expects the client's next SASL message.
    SaslMessage(Login),
    /// The application owes the answer to a question about an authentication.
    AuthAnswerOwed {
        login: Login,
        /// The question, until the application has it. One answer may lead to another question.
        next: Option<AuthRequest>,
    },
    /// This reply to a failed authentication is delayed.
    LoginDelay(Response<'static>),
    /// The application must accept or refuse TLS.
    StartTlsOwed,
    /// A message is received by DATA or BDAT.
    Message(IncomingMessage),
    /// The last reply is written; the application does not know yet.
    Closing,
    /// The session ended in order, and the application knows.
    Closed,
    /// The session ended with an error.
    Failed(Error),
}

/// An authentication in progress.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) exchange: Box<dyn ServerExchange>,
    /// The application has rejected it, and the mechanism goes on: it counts as failed however it ends.
    pub(super) is_rejected: bool,
}

/// What `advance` found. An event that borrows the buffer is a range of bytes until the borrow can begin.
pub(super) enum Found {
    Line { verb: Verb, len: usize },
    Content { skip: usize, len: usize },
    Event(CoreEvent<'static>),
}

/// The channel, as far as the core uses it.
#[derive(Debug)]
pub(super) struct ChannelState {
    pub(super) is_secure: bool,
    pub(super) sasl: SaslContext,
}

/// Where the server is in its input and output.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// The bytes that the last event borrowed, to be consumed before the next.
    pub(super) borrowed: usize,
    /// The offset of the end of the greeting in the output.
    greeting_end: u64,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) channel: ChannelState,
    pub(super) state: State,
    /// What the client has said and begun, between two commands.
    pub(super) session: Session,
    pub(super) is_authenticated: bool,
    /// The extensions that may be offered in this session.
    pub(super) offered: ExtensionSet,
    /// The attributes of XFORWARD for the next transaction.
    pub(super) forwarded: ForwardedAttributes,
    pub(super) counters: Counters,
    pub(super) tokens: TokenIssuer,
    pub(super) position: Position,
    /// The number of the current wait.
    pub(super) generation: u32,
}

impl Core {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self::on(config, ChannelState { is_secure: false, sasl: SaslContext::cleartext() })
    }

    pub(super) fn secure(config: Arc<Config>, secure: &proto_mail::Secure) -> Self {
        Self::on(config, ChannelState { is_secure: true, sasl: SaslContext::secure(secure) })
    }

    fn on(config: Arc<Config>, channel: ChannelState) -> Self {
        Self {
            offered: without_proxy_commands(config.extensions),
            config,
            channel,
            state: State::Command,
            session: Session::Start,
            is_authenticated: false,
            forwarded: ForwardedAttributes::default(),
            counters: Counters::default(),
            tokens: TokenIssuer::new(),
            position: Position::default(),
            generation: 0,
        }
    }

    /// Begins a session: greets the client, now or after the delay.
    pub(super) fn open(mut self, tx: &mut SendBuffer) -> Self {
        if self.config.waits.greeting_delay.is_zero() {
            self.greet(tx);
        } else {
            self.enter(State::GreetingDelay);
        }
        self
    }

    fn greet(&mut self, tx: &mut SendBuffer) {
        self.encode_greeting(tx);
        self.await_first_command(tx);
    }

    /// Writes the greeting, `220`.
    pub(super) fn encode_greeting(&self, tx: &mut SendBuffer) {
        let name = self.config.name.as_str();
        let protocol = match self.config.dialect {
            Dialect::Smtp => "ESMTP",
            Dialect::Lmtp => "LMTP",
        };
        let text = alloc::format!("{name} {protocol} {}", self.config.greeting);
        Response::new(Code::READY, text).encode(tx);
    }

    /// Writes a rejection in place of the greeting.
    pub(super) fn reject_connection(&mut self, response: &Response<'_>, tx: &mut SendBuffer) {
        let response = reply::as_rejection(response);
        self.session = Session::Rejected;
        response.encode(tx);
        self.await_first_command(tx);
        if response.code() == Code::UNAVAILABLE {
            self.enter(State::Closing);
        }
    }

    fn await_first_command(&mut self, tx: &SendBuffer) {
        self.position.greeting_end = tx.queued_total();
        self.enter(State::Command);
    }

    /// Enters another state: a complete step, and so a new wait.
    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Returns the next event.
    pub(super) fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<CoreEvent<'i>>, Error> {
        let Some(found) = self.advance(rx, tx)? else { return Ok(None) };
        let bytes: &'i [u8] = rx.bytes();
        Ok(Some(match found {
            Found::Event(event) => event,
            Found::Content { skip, len } => {
                CoreEvent::DataChunk(bytes.get(skip..skip + len).unwrap_or_default())
            }
            Found::Line { verb, len } => self.parse_line(verb, bytes.get(..len).unwrap_or_default(), tx)?,
        }))
    }

    /// Continues until there is an event, or input is needed.
    fn advance(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Option<Found>, Error> {
        rx.consume(core::mem::take(&mut self.position.borrowed));
        loop {
            let step = match &mut self.state {
                State::Message(_) => self.receive(rx, tx)?,
                State::Command if tx.len() > self.config.limits.output_high_water => return Ok(None),
                State::Command => self.command_line(rx, tx)?,
                State::SaslMessage(_) => self.sasl_line(rx, tx)?,
                State::SkipLine { .. } => self.skip_line(rx, tx)?,
                State::Hello(verb) => {
                    let verb = *verb;
                    self.answer_hello(verb, tx)
                }
                State::Closing => self.end_in_order(),
                State::GreetingDelay if !rx.is_empty() => self.early_talker(tx)?,
                State::Failed(error) => return Err(error.clone()),
                State::AuthAnswerOwed { next: Some(_), .. } => self.next_question(),
                State::ReplyOwed(_) | State::AuthAnswerOwed { .. } | State::StartTlsOwed
                    if self.tokens.newest_is_gone() =>
                {
                    self.token_dropped(tx)
                }
                State::GreetingDelay
                | State::ReplyOwed(_)
                | State::AuthAnswerOwed { .. }
                | State::LoginDelay(_)
                | State::StartTlsOwed
                | State::Closed => return Ok(None),
            };
            match step {
                Step::Again => {}
                Step::NeedsInput => return self.end_of_input(rx, tx),
                Step::Found(found) => return Ok(Some(found)),
            }
        }
    }

    fn end_in_order(&mut self) -> Step {
        self.session.end_transaction();
        self.enter(State::Closed);
        Step::event(CoreEvent::Closed)
    }

    /// All input is processed. Ends the session if the client has closed its side.
    fn end_of_input(&mut self, rx: &RecvBuffer, tx: &mut SendBuffer) -> Result<Option<Found>, Error> {
        if !rx.is_closed() {
            return Ok(None);
        }
        if matches!(self.state, State::Command) && rx.is_empty() {
            // The client left without QUIT, but between two commands.
            self.end_in_order();
            return Ok(Some(Found::Event(CoreEvent::Closed)));
        }
        Err(self.fail(PeerError::UnexpectedEnd.into(), tx))
    }

    fn early_talker(&mut self, tx: &mut SendBuffer) -> Result<Step, Error> {
        match self.config.early_talker {
            EarlyTalker::Reject => Err(self.fail(PeerError::EarlyTalker.into(), tx)),
            EarlyTalker::Accept => Ok(Step::NeedsInput),
        }
    }

    fn skip_line(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Step, Error> {
        let State::SkipLine { skipper, is_failed_login } = &mut self.state else { return Ok(Step::Again) };
        match skipper.advance(rx) {
            Skipped::Part => Ok(Step::NeedsInput),
            Skipped::Endless => Err(self.fail(proto_mail::Limit::Line.into(), tx)),
            Skipped::Whole => {
                let response = match skipper.fault {
                    LineFault::TooLong => reply::LINE_TOO_LONG,
                    LineFault::Forbidden => reply::BARE_NEWLINE,
                };
                let is_failed_login = *is_failed_login;
                self.enter(State::Command);
                if is_failed_login {
                    return self.delay_failed_login(response, tx);
                }
                self.reject_and_report(Verb::Other, response, tx)
            }
        }
    }

    /// Rejects a command without asking the application, and reports it.
    pub(super) fn reject_and_report(
        &mut self,
        verb: Verb,
        response: Response<'static>,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        self.reject(&response, tx)?;
        Ok(Step::event(CoreEvent::Refused(verb, response)))
    }

    /// Reads the next command and performs what needs no answer of the application.
    fn command_line(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Step, Error> {
        let head = rx.bytes();
        if head.is_empty() {
            return Ok(Step::NeedsInput);
        }
        if tx.sent_total() < self.position.greeting_end && self.config.early_talker == EarlyTalker::Reject {
            return Err(self.fail(PeerError::EarlyTalker.into(), tx));
        }
        let is_start = matches!(self.session, Session::Start | Session::Rejected);
        if !self.channel.is_secure && is_start && head.starts_with(b"\x16\x03") {
            return Err(self.fail(PeerError::TlsInCleartext.into(), tx));
        }
        // A line of AUTH may be longer than others: it holds a ticket or token.
        let is_auth = head.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "));
        let limit = if is_auth { self.config.max_auth_line } else { self.config.max_command_line };
        let (len, whole) = match frame(rx, limit, self.config.bare_newline) {
            Frame::Partial => return Ok(Step::NeedsInput),
            Frame::Rejected(fault) => {
                self.state = State::SkipLine { skipper: LineSkipper::new(fault), is_failed_login: false };
                return Ok(Step::Again);
            }
            Frame::Line { len, whole } => (len, whole),
        };
        if rx.is_traced() {
            redaction::trace_line((len, whole), rx);
        }
        let line = rx.bytes().get(..len).unwrap_or_default();
        let (verb, rest) = split_verb(line);
        self.generation = self.generation.wrapping_add(1);
        self.count_command(tx)?;
        if verb == Verb::Other && is_http(line) {
            return Err(self.fail(PeerError::Malformed.into(), tx));
        }
        let has_topic = !rest.trim_ascii().is_empty();
        if let Some(response) = self.rejection(verb) {
            return self.reject_command(verb, response, (len, whole), rx, tx);
        }
        match verb {
            Verb::Mail | Verb::Rcpt | Verb::Ehlo | Verb::Helo | Verb::Lhlo => Ok(self.line(verb, len, whole)),
            Verb::Expn | Verb::Etrn | Verb::XClient | Verb::XForward => Ok(self.line(verb, len, whole)),
            Verb::Vrfy if self.offers(Extension::Vrfy) => Ok(self.line(verb, len, whole)),
            Verb::Help if has_topic && self.offers(Extension::Help) => Ok(self.line(verb, len, whole)),
            Verb::Burl => self.burl((len, whole), rx),
            Verb::Auth => self.begin_login((len, whole), rx, tx),
            Verb::Bdat => self.bdat((len, whole), rx, tx),
            _ => self.simple_command(verb, (len, whole), rx, tx),
        }
    }

    /// A command whose event borrows its line.
    const fn line(&mut self, verb: Verb, len: usize, whole: usize) -> Step {
        self.position.borrowed = whole;
        Step::Found(Found::Line { verb, len })
    }

    fn count_command(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        let before_login = if self.config.requires_authentication() && !self.is_authenticated {
            self.counters.note_command_before_login(&self.config.limits)
        } else {
            Ok(())
        };
        before_login
            .and_then(|()| self.counters.note_command(&self.config))
            .map_err(|limit| self.fail(limit.into(), tx))
    }

    /// Rejects a command that is not allowed now. A chunk after BDAT is skipped; it is never parsed as commands.
    fn reject_command(
        &mut self,
        verb: Verb,
        response: Response<'static>,
        (len, whole): (usize, usize),
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        if verb == Verb::Bdat {
            return self.skip_chunk(response, (len, whole), rx, tx);
        }
        // The line may hold credentials.
        rx.consume_wiping(whole);
        if verb == Verb::Burl && self.offers(Extension::Burl) && self.session.phase().allows(verb) {
            return Ok(self.reject_part(verb, response, ChunkEnd::More));
        }
        self.reject_and_report(verb, response, tx)
    }

    /// Performs a command without arguments, or one that the server answers by itself.
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
            return self.reject_and_report(verb, syntax(verb, error), tx);
        }
        match verb {
            Verb::Data => return Ok(Step::event(CoreEvent::Data(self.ask(verb, Question::Data)))),
            Verb::StartTls => return self.begin_starttls(rx, tx),
            Verb::Quit => self.answer_quit(tx),
            Verb::Rset => {
                Self::encode_ok(tx);
                self.forwarded.clear();
                if self.session.end_transaction() {
                    return Ok(Step::event(CoreEvent::Reset));
                }
            }
            Verb::Vrfy => reply::CANNOT_VERIFY.encode(tx),
            Verb::Help => Response::help().encode(tx),
            _ => Self::encode_ok(tx),
        }
        Ok(Step::Again)
    }

    /// STARTTLS must be the last command of its group (RFC 3207 §4): an attacker may have inserted what follows it.
    fn begin_starttls(&mut self, rx: &RecvBuffer, tx: &mut SendBuffer) -> Result<Step, Error> {
        if !rx.is_empty() {
            return Err(self.fail(PeerError::PlaintextAfterStartTls.into(), tx));
        }
        self.enter(State::StartTlsOwed);
        Ok(Step::event(CoreEvent::StartTls(StartTlsRequest::new(self.tokens.issue()))))
    }

    pub(super) fn wants_read(&self, tx: &SendBuffer) -> bool {
        let expects_input = match self.state {
            State::GreetingDelay
            | State::Command
            | State::SkipLine { .. }
            | State::SaslMessage(_)
            | State::Message(_) => true,
            State::Hello(_)
            | State::ReplyOwed(_)
            | State::AuthAnswerOwed { .. }
            | State::LoginDelay(_)
            | State::StartTlsOwed
            | State::Closing
            | State::Closed
            | State::Failed(_) => false,
        };
        expects_input && tx.len() <= self.config.limits.output_high_water
    }

    pub(super) fn wait(&self) -> Wait {
        let waits = &self.config.waits;
        let (awaited, after) = match self.state {
            State::GreetingDelay => (WaitFor::Delay, waits.greeting_delay),
            State::Command => (WaitFor::Command, waits.command),
            State::SkipLine { .. } | State::SaslMessage(_) => (WaitFor::Remainder, waits.command),
            State::Message(_) => (WaitFor::Data, waits.data),
            State::LoginDelay(_) => (WaitFor::Delay, waits.delay),
            State::Hello(_)
            | State::ReplyOwed(_)
            | State::AuthAnswerOwed { .. }
            | State::StartTlsOwed
            | State::Closing => {
                return Wait::forever(WaitFor::Application, self.generation);
            }
            State::Closed | State::Failed(_) => return Wait::forever(WaitFor::Nothing, self.generation),
        };
        Wait::new(awaited, after, self.generation)
    }

    pub(super) fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match &self.state {
            State::GreetingDelay => self.greet(tx),
            State::LoginDelay(_) => return self.end_login_delay(tx),
            State::Failed(error) => return Err(error.clone()),
            State::Command | State::SkipLine { .. } | State::SaslMessage(_) | State::Message(_) => {
                let awaited = self.wait().awaited;
                return Err(self.fail(proto_mail::Limit::Timeout(awaited).into(), tx));
            }
            // The application has no time limit.
            State::Hello(_)
            | State::ReplyOwed(_)
            | State::AuthAnswerOwed { .. }
            | State::StartTlsOwed
            | State::Closing
            | State::Closed => {}
        }
        Ok(())
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// An event with `len` bytes of message content after `skip` other bytes; `borrowed` bytes are consumed later.
    pub(super) fn content_event(&mut self, skip: usize, len: usize, borrowed: usize) -> Step {
        self.position.borrowed = borrowed;
        self.generation = self.generation.wrapping_add(1);
        Step::Found(Found::Content { skip, len })
    }
}

/// The result of one step of the machine.
pub(super) enum Step {
    /// There may be more to do.
    Again,
    /// More input is needed.
    NeedsInput,
    Found(Found),
}

impl Step {
    pub(super) const fn event(event: CoreEvent<'static>) -> Self {
        Self::Found(Found::Event(event))
    }
}

/// Whether a line is the first of an HTTP request: an attacker has led a browser to this port, and controls what
/// follows.
fn is_http(line: &[u8]) -> bool {
    line.windows(6).rev().take(8).any(|end| end.eq_ignore_ascii_case(b"HTTP/1"))
}
