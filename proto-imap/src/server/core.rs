//! The server's machine, whatever its channel: reads commands, keeps the state, owes and gives answers.
//!
//! This file knows in which order things may happen. What a command's answer says, how an identity is proved and how
//! a message is received is in the files beside it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proto_mail::sasl::ServerExchange;
use proto_mail::trace::TraceKind;
use proto_mail::{AuthRequest, Error, Limit, Limits, PeerError, RecvBuffer, SendBuffer, Wait, WaitFor};

use super::event::Happened;
use super::fetch::Writing;
use super::reply::Refusal;
use crate::client::Trust;
use crate::config::Config;
use crate::frame::{FrameStep, Framer, LiteralHeader, Sync};
use crate::parse::Context;
use crate::state::{Effect, State};
use crate::told;

/// Where the session stands, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The greeting is to be written.
    Greeting,
    /// It goes on.
    Session(State),
    /// BYE was said.
    Leaving,
    /// It ended in order.
    Closed,
    /// It ended with this.
    Failed(Error),
}

/// What is being read.
#[derive(Debug)]
pub(super) enum Input {
    /// A command.
    Command,
    /// The rest of a command that was refused: so many octets of a literal, then a line. Nothing of it is obeyed.
    Refused(u64),
    /// A message, so many octets of which are missing.
    Payload(u64),
    /// The end of the APPEND command.
    PayloadEnd,
    /// DONE.
    Idle,
    /// The next message of a SASL exchange.
    Sasl(Box<dyn ServerExchange>),
}

/// What the application owes, so that nothing more is read.
#[derive(Debug)]
pub(super) enum Owed {
    /// Nothing.
    Nothing,
    /// The answer to a command with this effect.
    Reply(Effect),
    /// The answer to a client that idles, once it is done.
    Idle,
    /// A verdict; the exchange in which it was asked for, or none for LOGIN.
    Verdict(Option<Box<dyn ServerExchange>>),
    /// Whether TLS begins.
    StartTls,
    /// Whether a message of this size may be sent.
    Literal(u64, Sync),
    /// The driver: the end of a delay, after which a refused client hears of it.
    Delay(Refusal),
}

pub(crate) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) trust: Trust,
    pub(super) phase: Phase,
    pub(super) framer: Framer,
    pub(super) input: Input,
    pub(super) owed: Owed,
    /// Which token answers what is owed.
    pub(super) serial: u32,
    /// The tag of the command in progress; empty for one that has none.
    pub(super) tag: Vec<u8>,
    /// Whether a trace may show it: not where it may be a secret that was taken for one.
    pub(super) tag_is: TraceKind,
    /// Whether credentials may be on their way where none are expected: somebody has begun to say who they are, and was
    /// not let in yet.
    pub(super) awaits_identity: bool,
    /// What is to be said of a refused command when all of it has come.
    pub(super) refusal: Vec<u8>,
    /// What the last event borrowed and the next call gives up.
    pub(super) consume: usize,
    pub(super) context: Context,
    pub(super) writing: Writing,
    /// The command in progress forbids EXPUNGE (RFC 9051 §7.5.1).
    pub(super) expunge: Expunge,
    pub(super) enabled: Vec<u8>,
    pub(super) errors: u32,
    /// Empty lines since the last command.
    pub(super) empty_lines: u32,
    /// The application's own refusals.
    pub(super) refusals: super::Refusals,
    pub(super) auth_failures: u32,
    /// The application has said no, and the mechanism goes on: however it ends, that was a failed attempt.
    pub(super) said_no: bool,
    pub(super) sasl: proto_mail::sasl::SaslContext,
    /// What is to be asked behind a verdict that was not enough.
    pub(super) next_question: Option<AuthRequest>,
    pub(super) commands: u32,
    generation: u32,
    rest: Rest,
}

/// Whether messages may vanish now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expunge {
    Allowed,
    Forbidden,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    None,
    Begun,
}

impl Core {
    /// The session's mechanisms may be bound to this channel.
    pub(super) fn over(mut self, secure: &proto_mail::Secure) -> Self {
        self.sasl = proto_mail::sasl::SaslContext::secure(secure);
        self
    }

    pub(super) fn new(config: Arc<Config>, trust: Trust) -> Self {
        Self {
            config,
            trust,
            phase: Phase::Greeting,
            framer: Framer::default(),
            input: Input::Command,
            owed: Owed::Nothing,
            serial: 0,
            tag: Vec::new(),
            tag_is: TraceKind::Unknown,
            awaits_identity: false,
            refusal: Vec::new(),
            consume: 0,
            context: Context::strict(),
            writing: Writing::Nothing,
            expunge: Expunge::Forbidden,
            enabled: Vec::new(),
            errors: 0,
            empty_lines: 0,
            refusals: super::Refusals::default(),
            auth_failures: 0,
            said_no: false,
            sasl: proto_mail::sasl::SaslContext::cleartext(),
            next_question: None,
            commands: 0,
            generation: 0,
            rest: Rest::None,
        }
    }

    /// A session whose greeting was written before TLS.
    pub(super) fn greeted(config: Arc<Config>, trust: Trust) -> Self {
        Self { phase: Phase::Session(State::NotAuthenticated), ..Self::new(config, trust) }
    }

    pub(super) const fn state(&self) -> State {
        match self.phase {
            Phase::Session(state) => state,
            Phase::Greeting => State::NotAuthenticated,
            Phase::Leaving | Phase::Closed | Phase::Failed(_) => State::Logout,
        }
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether the application must say something first: an answer, or the rest of a FETCH response. Whatever the
    /// machine said in the middle of that would be taken for a part of it.
    pub(super) const fn is_owed(&self) -> bool {
        !matches!(self.writing, Writing::Nothing)
            || !matches!((&self.owed, &self.input), (Owed::Nothing, _) | (Owed::Idle, Input::Idle))
    }

    pub(super) fn wants_read(&self, tx: &SendBuffer) -> bool {
        matches!(self.phase, Phase::Greeting | Phase::Session(_)) && !self.is_owed() && !self.is_full(tx)
    }

    fn is_full(&self, tx: &SendBuffer) -> bool {
        tx.len() >= self.config.limits.output_high_water
    }

    /// A step of the conversation was completed.
    pub(super) const fn stepped(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// The next token's number.
    pub(super) const fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// Ends the session; `farewell` is what the client hears.
    pub(super) fn fail(&mut self, error: Error, farewell: &str, tx: &mut SendBuffer) -> Error {
        tx.put(b"* BYE ");
        tx.put(farewell.as_bytes());
        tx.put(b"\r\n");
        self.phase = Phase::Failed(error);
        self.stepped();
        error
    }

    /// Ends the session in order, at the server's wish: without a word in the middle of a FETCH response.
    pub(super) fn close(&mut self, text: &str, tx: &mut SendBuffer) {
        if matches!(self.phase, Phase::Greeting | Phase::Session(_)) {
            if self.writing == Writing::Nothing {
                let line = text.bytes().take_while(|octet| !matches!(octet, 0 | b'\r' | b'\n'));
                tx.put(b"* BYE ");
                tx.put(&line.collect::<Vec<u8>>());
                tx.put(b"\r\n");
            }
            self.phase = Phase::Leaving;
            self.stepped();
        }
    }

    pub(super) fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Happened<'i>>, Error> {
        self.give_up(rx);
        loop {
            match self.phase {
                Phase::Failed(error) => return Err(error),
                Phase::Closed => return Ok(None),
                Phase::Leaving => {
                    self.phase = Phase::Closed;
                    return Ok(Some(Happened::Closed));
                }
                Phase::Greeting => self.greet(tx),
                Phase::Session(_) => {}
            }
            if let Some(request) = self.next_question.take() {
                return Ok(Some(Happened::Auth(request)));
            }
            if self.is_owed() || self.is_full(tx) {
                return Ok(None);
            }
            match &self.input {
                Input::Command => match self.command_frame(rx, tx)? {
                    Found::More => return self.at_end(rx),
                    Found::Silent => {
                        self.tell(self.consume, rx);
                        self.give_up(rx);
                    }
                    Found::Happened(happened) => {
                        self.tell(self.consume, rx);
                        return Ok(Some(happened));
                    }
                    Found::Command(len) => {
                        self.tell(len, rx);
                        let bytes = rx.bytes().get(..len).unwrap_or_default();
                        return Ok(Some(self.command(bytes, tx)?));
                    }
                    Found::Append(len, announced) => {
                        self.tell(len, rx);
                        let bytes = rx.bytes().get(..len).unwrap_or_default();
                        return Ok(Some(self.append(bytes, announced, tx)?));
                    }
                },
                Input::Payload(left) => {
                    let left = *left;
                    if left > 0 && rx.is_empty() {
                        return self.at_end(rx);
                    }
                    if left == 0 {
                        self.input = Input::PayloadEnd;
                        continue;
                    }
                    rx.trace_span(usize::try_from(left).unwrap_or(usize::MAX), TraceKind::Data);
                    return Ok(Some(self.payload(left, rx)));
                }
                _ => match self.other_input(rx, tx)? {
                    Found::More => return self.at_end(rx),
                    Found::Happened(happened) => return Ok(Some(happened)),
                    _ => self.give_up(rx),
                },
            }
        }
    }

    /// The lines that are no commands.
    fn other_input(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Found, Error> {
        match self.input {
            Input::Refused(left) if left > 0 => {
                if rx.is_empty() {
                    return Ok(Found::More);
                }
                self.consume = rx.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.input = Input::Refused(left.saturating_sub(self.consume as u64));
                self.stepped();
                return Ok(Found::Silent);
            }
            _ => {}
        }
        let (end, announced) = match self.step(rx, tx)? {
            FrameStep::More => return Ok(Found::More),
            FrameStep::Complete(end) => (end, None),
            FrameStep::Literal(end, announced) => (end, Some(announced)),
            FrameStep::Endless(..) => {
                let farewell = "a literal that long has no end";
                return Err(self.fail(Limit::Literal.into(), farewell, tx));
            }
        };
        self.stepped();
        self.rest = Rest::None;
        self.consume = end;
        match &self.input {
            Input::Refused(_) => {
                told::line(end, TraceKind::Unknown, rx);
                Ok(self.refused_line(announced, tx))
            }
            Input::PayloadEnd => {
                told::line(end, TraceKind::Unknown, rx);
                self.payload_end(end, announced, tx)
            }
            Input::Idle => {
                let found = self.idle_line(end, rx, tx);
                rx.trace_span(if found.is_ok() { end } else { 0 }, TraceKind::Text);
                found
            }
            Input::Sasl(_) => {
                let cancelled = rx.bytes().get(..end) == Some(b"*\r\n");
                told::line(end, if cancelled { TraceKind::Text } else { TraceKind::Secret }, rx);
                let found = self.sasl_line(end, rx, tx);
                rx.consume_wiping(end);
                self.consume = 0;
                self.framer.reset();
                found
            }
            Input::Command | Input::Payload(_) => Ok(Found::Silent),
        }
    }

    /// The framer's next step; a line or a command over the limits ends the session, since nobody can say where
    /// the next command begins.
    pub(super) fn step(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<FrameStep, Error> {
        let limits: &Limits = &self.config.limits;
        match self.framer.step(rx, limits.line, limits.frame) {
            Ok(step) => Ok(step),
            Err(limit) => Err(self.fail(limit.into(), "a command is too long", tx)),
        }
    }

    /// Tells of the command in the first `len` octets, if somebody wants to know.
    #[inline]
    pub(super) fn tell(&self, len: usize, rx: &mut RecvBuffer) {
        if rx.is_traced() && len > 0 {
            told::command(len, self.tag_is, &self.context, rx);
        }
    }

    /// Gives up what the last event borrowed.
    pub(super) fn give_up(&mut self, rx: &mut RecvBuffer) {
        if self.consume > 0 {
            rx.consume(self.consume);
            self.consume = 0;
            self.framer.reset();
        }
    }

    /// Nothing more can be read now.
    fn at_end<'i>(&mut self, rx: &RecvBuffer) -> Result<Option<Happened<'i>>, Error> {
        let inside = !rx.is_empty() || !matches!(self.input, Input::Command | Input::Idle);
        if !rx.is_closed() {
            if !rx.is_empty() && self.rest == Rest::None {
                self.rest = Rest::Begun;
                self.stepped();
            }
            return Ok(None);
        }
        self.stepped();
        if inside {
            self.phase = Phase::Failed(PeerError::UnexpectedEnd.into());
            return Err(PeerError::UnexpectedEnd.into());
        }
        self.phase = Phase::Closed;
        Ok(Some(Happened::Closed))
    }

    /// A command is complete: the next one begins anew.
    pub(super) const fn command_ended(&mut self) {
        self.rest = Rest::None;
        self.stepped();
    }

    /// What is awaited.
    pub(super) fn wait(&self) -> Wait {
        let waits = &self.config.waits;
        let (awaited, after) = match (self.phase, &self.owed, &self.input) {
            (Phase::Leaving | Phase::Closed | Phase::Failed(_), _, _) => {
                return Wait::forever(WaitFor::Nothing, self.generation);
            }
            _ if self.writing != Writing::Nothing => {
                return Wait::forever(WaitFor::Application, self.generation);
            }
            (_, Owed::Delay(_), _) => (WaitFor::Delay, waits.delay),
            (_, Owed::Idle, Input::Idle) => (WaitFor::Command, waits.command),
            (_, Owed::Nothing, Input::Payload(_) | Input::Refused(_)) => (WaitFor::Data, waits.data),
            (_, Owed::Nothing, Input::Sasl(_) | Input::PayloadEnd) => (WaitFor::Remainder, waits.rest),
            (_, Owed::Nothing, _) if self.rest == Rest::Begun => (WaitFor::Remainder, waits.rest),
            (_, Owed::Nothing, _) if self.state().is_authenticated() => (WaitFor::Command, waits.command),
            (_, Owed::Nothing, _) => (WaitFor::Command, waits.authentication),
            _ => return Wait::forever(WaitFor::Application, self.generation),
        };
        Wait { awaited, after, generation: self.generation }
    }

    /// What was awaited did not come, or a delay is over.
    pub(super) fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        if let Phase::Failed(error) = self.phase {
            return Err(error);
        }
        match self.wait().awaited {
            WaitFor::Nothing | WaitFor::Application => Ok(()),
            WaitFor::Delay => self.end_of_delay(tx),
            late => Err(self.fail(Limit::Timeout(late).into(), "it took too long", tx)),
        }
    }
}

/// What was found in the input.
pub(super) enum Found {
    /// More octets are needed.
    More,
    /// Something of which the application hears nothing.
    Silent,
    /// Something that borrows nothing.
    Happened(Happened<'static>),
    /// A command of so many octets, for the application.
    Command(usize),
    /// So much of an APPEND command stands before this payload.
    Append(usize, LiteralHeader),
}

/// All that what follows depends on, but for the configuration. The tag and the refusal that waits are the client's
/// octets, in part, and may be what it should not have said: only how long they are is shown.
impl core::fmt::Debug for Core {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            config: _,
            trust,
            phase,
            framer,
            input,
            owed,
            serial,
            tag,
            tag_is,
            awaits_identity,
            refusal,
            consume,
            context: _,
            writing,
            expunge,
            enabled,
            errors,
            empty_lines,
            refusals: _,
            auth_failures,
            said_no,
            sasl,
            commands,
            generation,
            rest,
            next_question,
        } = self;
        f.debug_struct("Core")
            .field("trust", trust)
            .field("phase", phase)
            .field("framer", framer)
            .field("input", input)
            .field("owed", owed)
            .field("serial", serial)
            .field("tag", &tag.len())
            .field("tag_is", tag_is)
            .field("awaits_identity", awaits_identity)
            .field("next_question", next_question)
            .field("refusal", &refusal.len())
            .field("consume", consume)
            .field("writing", writing)
            .field("expunge", expunge)
            .field("enabled", &alloc::string::String::from_utf8_lossy(enabled))
            .field("errors", errors)
            .field("empty_lines", empty_lines)
            .field("auth_failures", auth_failures)
            .field("said_no", said_no)
            .field("sasl", sasl)
            .field("commands", commands)
            .field("generation", generation)
            .field("rest", rest)
            .finish()
    }
}
