//! The server's session in progress: whose turn it is, and what is read next.
//!
//! `commands.rs` checks commands and `reply.rs` answers them. Login, APPEND and data have their own files.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proto_mail::sasl::ServerExchange;
use proto_mail::token::TokenIssuer;
use proto_mail::trace::TraceKind;
use proto_mail::{AuthRequest, Error, Limit, Limits, PeerError, RecvBuffer, SendBuffer, Wait, WaitFor};

use super::append_progress::{AppendProgress, LineFound, OfferedElement};
use super::compression::Compression;
use super::counters::{Counters, MessageCounts};
use super::event::CoreEvent;
use super::expunges::Expunges;
use super::notify::Notify;
use super::refusal::Refusal;
use super::tag::CommandTag;
use super::unfinished::Unfinished;
use crate::client::Trust;
use crate::config::Config;
use crate::frame::{FrameStep, Framer, LiteralHeader};
use crate::parse::Context;
use crate::redaction;
use crate::state::{Effect, State};

/// The turn: the client's, the application's, or, while an answer is delayed, the timer's.
#[derive(Debug)]
pub(super) enum Turn {
    /// The client sends the next command.
    Command,
    /// The client sends the rest of a rejected command: this many bytes of a literal, then a line. The server
    /// discards them, then sends the refusal.
    Discarding { left: u64, refusal: Vec<u8> },
    /// The client sends a line of a command that is too long. The server discards the line; `begin` bytes in front of it
    /// belong to the command, and `left` bytes may follow.
    LongLine { begin: usize, left: usize },
    /// The client sends an APPEND's message, or a part of it; this many of its bytes are missing.
    Message(u64, AppendProgress),
    /// The client sends the rest of an APPEND command: its end, or another message or part.
    AppendRest(AppendProgress),
    /// The client idles; the application may report changes.
    Idling,
    /// The client sends the next message of a SASL exchange.
    Sasl(SaslExchange),
    /// The application answers a command.
    Reply { effect: Effect, expunges: Expunges },
    /// The application answers an IDLE that the client has ended.
    IdleReply,
    /// The application decides whether the client may log in.
    Verdict(Verdict),
    /// The application decides whether TLS starts.
    StartTls,
    /// The application decides whether the session is compressed.
    Compress,
    /// The application decides whether the client may append this message or part of one.
    Offer(OfferedElement),
    /// A rejection is delayed, which slows down guessing.
    Delay(Refusal),
}

/// A SASL exchange, and whether the application has rejected the client in it. Some mechanisms continue after a
/// rejection, to tell the client the reason. Such an exchange always counts as a failed attempt.
#[derive(Debug)]
pub(super) struct SaslExchange {
    pub(super) mechanism: Box<dyn ServerExchange>,
    pub(super) rejected: bool,
}

/// A question about the client's identity for the application.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The exchange that asks the question; `None` for LOGIN.
    pub(super) exchange: Option<SaslExchange>,
    /// The question, if it was not reported to the application yet.
    pub(super) unreported: Option<AuthRequest>,
}

impl Turn {
    /// Returns whether the application must answer with a token.
    pub(super) const fn needs_token(&self) -> bool {
        matches!(
            self,
            Self::Reply { .. }
                | Self::IdleReply
                | Self::Verdict(_)
                | Self::StartTls
                | Self::Compress
                | Self::Offer(_)
        )
    }

    /// Returns whether the client may send data.
    const fn is_the_clients(&self) -> bool {
        matches!(
            self,
            Self::Command
                | Self::Discarding { .. }
                | Self::LongLine { .. }
                | Self::Message(..)
                | Self::AppendRest(_)
                | Self::Idling
                | Self::Sasl(_)
        )
    }
}

/// How much of the receive buffer was read.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) framer: Framer,
    /// The number of bytes that the last event borrowed; the next call consumes them.
    pub(super) borrowed: usize,
    pub(super) remainder: Remainder,
}

/// Whether a command, or a part of one, has begun to arrive and is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remainder {
    None,
    Awaited,
}

impl Reader {
    /// Consumes the bytes that the last event borrowed.
    pub(super) fn consume(&mut self, rx: &mut RecvBuffer) {
        if self.borrowed > 0 {
            rx.consume(self.borrowed);
            self.borrowed = 0;
            self.framer.reset();
        }
    }
}

/// A session from its greeting to its end.
pub(crate) struct Session {
    pub(super) config: Arc<Config>,
    pub(super) trust: Trust,
    /// [`State::Logout`] after BYE was sent: the next call reports the end.
    pub(super) state: State,
    pub(super) turn: Turn,
    /// Issues the token that the application must use in its turn.
    pub(super) tokens: TokenIssuer,
    pub(super) tag: CommandTag,
    pub(super) counters: Counters,
    pub(super) reader: Reader,
    pub(super) context: Context,
    pub(super) unfinished: Unfinished,
    pub(super) messages: MessageCounts,
    pub(super) notify: Notify,
    /// The capabilities that the client has enabled, each followed by a space.
    pub(super) enabled: Vec<u8>,
    pub(super) sasl: proto_mail::sasl::SaslContext,
    pub(super) compression: Compression,
    generation: u32,
}

impl Session {
    /// Returns whether the client has enabled this capability.
    pub(super) fn is_enabled(&self, capability: &str) -> bool {
        let mut enabled = self.enabled.split(|byte| *byte == b' ');
        enabled.any(|name| name.eq_ignore_ascii_case(capability.as_bytes()))
    }

    /// Binds mechanisms to this channel.
    pub(super) fn bound_to(mut self, secure: &proto_mail::Secure) -> Self {
        self.sasl = proto_mail::sasl::SaslContext::secure(secure);
        self
    }

    pub(super) fn new(config: Arc<Config>, trust: Trust) -> Self {
        Self {
            config,
            trust,
            state: State::NotAuthenticated,
            turn: Turn::Command,
            tokens: TokenIssuer::new(),
            tag: CommandTag::new(),
            counters: Counters::default(),
            reader: Reader { framer: Framer::default(), borrowed: 0, remainder: Remainder::None },
            context: Context::strict(),
            unfinished: Unfinished::Nothing,
            messages: MessageCounts::default(),
            notify: Notify::default(),
            enabled: Vec::new(),
            sasl: proto_mail::sasl::SaslContext::cleartext(),
            compression: Compression::Off,
            generation: 0,
        }
    }

    /// Returns the number of completed steps: see [`Wait::generation`].
    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns whether the server reads nothing until the application acts: it must answer, or finish a response. A
    /// response of the machine inside an unfinished one would be taken for a part of it.
    fn is_paused(&self) -> bool {
        self.unfinished != Unfinished::Nothing || !self.turn.is_the_clients()
    }

    pub(super) fn wants_read(&self, tx: &SendBuffer) -> bool {
        self.state != State::Logout && !self.is_paused() && !self.is_full(tx)
    }

    fn is_full(&self, tx: &SendBuffer) -> bool {
        tx.len() >= self.config.limits.output_high_water
    }

    /// Counts a completed step of the session.
    pub(super) const fn step_done(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// Sends BYE with this text. Returns the error that ends the session.
    pub(super) fn fail(&self, error: Error, text: &str, tx: &mut SendBuffer) -> Error {
        tx.put(b"* BYE ");
        tx.put(text.as_bytes());
        tx.put(b"\r\n");
        error
    }

    /// Ends the session at the server's request. Sends no BYE inside an unfinished response.
    pub(super) fn shutdown(&mut self, text: &str, tx: &mut SendBuffer) {
        if self.state != State::Logout {
            if self.unfinished == Unfinished::Nothing {
                let line = text.bytes().take_while(|byte| !matches!(byte, 0 | b'\r' | b'\n'));
                tx.put(b"* BYE ");
                tx.put(&line.collect::<Vec<u8>>());
                tx.put(b"\r\n");
            }
            self.state = State::Logout;
            self.step_done();
        }
    }

    pub(super) fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<CoreEvent<'i>>, Error> {
        self.consume(rx);
        if !self.passes_compression_gate(rx) {
            return Ok(None);
        }
        loop {
            if self.state == State::Logout {
                return Ok(Some(CoreEvent::Closed));
            }
            if let Turn::Verdict(Verdict { unreported, .. }) = &mut self.turn
                && let Some(request) = unreported.take()
            {
                return Ok(Some(CoreEvent::Auth(request)));
            }
            if self.is_paused() {
                if self.tokens.newest_is_gone() && self.token_dropped(tx)? {
                    continue;
                }
                return Ok(None);
            }
            if self.is_full(tx) {
                return Ok(None);
            }
            match self.turn {
                Turn::Command => match self.next_command(rx, tx)? {
                    Found::More => return self.at_end(rx),
                    Found::Silent => {
                        self.trace(self.reader.borrowed, rx);
                        self.consume(rx);
                    }
                    Found::Event(event) => {
                        self.trace(self.reader.borrowed, rx);
                        return Ok(Some(event));
                    }
                    Found::Command(len) => {
                        self.trace(len, rx);
                        let bytes = rx.bytes().get(..len).unwrap_or_default();
                        return Ok(Some(self.command(bytes, tx)?));
                    }
                    Found::Append(len, announced) => {
                        self.trace(len, rx);
                        let bytes = rx.bytes().get(..len).unwrap_or_default();
                        return Ok(Some(self.append(bytes, announced, tx)?));
                    }
                },
                Turn::Message(0, append) => self.turn = Turn::AppendRest(append),
                Turn::AppendRest(append) => match self.append_line(append, rx, tx)? {
                    LineFound::Line(end, append) => {
                        if rx.is_traced() {
                            redaction::trace_line(end, TraceKind::Unknown, rx);
                        }
                        let bytes = rx.bytes().get(..end).unwrap_or_default();
                        return Ok(Some(self.append_rest(append, bytes, tx)?));
                    }
                    LineFound::Rejected => return Ok(Some(CoreEvent::AppendAborted)),
                    LineFound::More => return self.at_end(rx),
                },
                Turn::Message(left, append) => {
                    if rx.is_empty() {
                        return self.at_end(rx);
                    }
                    rx.trace_span(usize::try_from(left).unwrap_or(usize::MAX), TraceKind::Data);
                    return Ok(Some(self.message_chunk(left, append, rx)));
                }
                _ => match self.other_line(rx, tx)? {
                    Found::More => return self.at_end(rx),
                    Found::Event(event) => return Ok(Some(event)),
                    _ => self.consume(rx),
                },
            }
        }
    }

    /// Handles a line that is not the start of a command.
    fn other_line(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Found, Error> {
        if let Turn::Discarding { left: left @ 1.., .. } = &mut self.turn {
            if rx.is_empty() {
                return Ok(Found::More);
            }
            self.reader.borrowed = rx.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left = left.saturating_sub(self.reader.borrowed as u64);
            self.step_done();
            return Ok(Found::Silent);
        }
        if let Turn::LongLine { begin, left } = self.turn {
            return self.skip_long_line((begin, left), rx, tx);
        }
        let (end, announced) = match self.find_line(rx, tx)? {
            FrameStep::More => return Ok(Found::More),
            FrameStep::Complete(end) => (end, None),
            FrameStep::Literal(end, announced) => (end, Some(announced)),
            FrameStep::Endless(..) => return Err(self.endless_literal(tx)),
        };
        self.step_done();
        self.reader.remainder = Remainder::None;
        self.reader.borrowed = end;
        match self.turn {
            Turn::Discarding { .. } => {
                redaction::trace_line(end, TraceKind::Unknown, rx);
                Ok(self.discard_line(announced, tx))
            }
            Turn::Idling => {
                let found = self.idle_line(end, rx, tx);
                rx.trace_span(if found.is_ok() { end } else { 0 }, TraceKind::Text);
                found
            }
            Turn::Sasl(_) => {
                let cancelled = rx.bytes().get(..end) == Some(b"*\r\n");
                redaction::trace_line(end, if cancelled { TraceKind::Text } else { TraceKind::Secret }, rx);
                let found = self.sasl_line(end, rx, tx);
                rx.consume_wiping(end);
                self.reader.borrowed = 0;
                self.reader.framer.reset();
                found
            }
            _ => Ok(Found::Silent),
        }
    }

    /// Ends the session because of a literal whose end cannot be found.
    pub(super) fn endless_literal(&self, tx: &mut SendBuffer) -> Error {
        self.fail(Limit::Literal.into(), "the literal is larger than the limit", tx)
    }

    /// Takes the framer's next step. A line or a command over its limit ends the session, because the start of the
    /// next command is unknown.
    pub(super) fn find_line(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<FrameStep, Error> {
        let limits: &Limits = &self.config.limits;
        match self.reader.framer.step(rx, limits.line, limits.frame) {
            Ok(step) => Ok(step),
            Err(limit) => Err(self.fail(limit.into(), "a command is too long", tx)),
        }
    }

    /// Traces the command in the first `len` bytes. When tracing is off, the cost is one check.
    #[inline]
    pub(super) fn trace(&self, len: usize, rx: &mut RecvBuffer) {
        if rx.is_traced() && len > 0 {
            redaction::trace_command(len, self.tag.kind(), &self.context, rx);
        }
    }

    /// Consumes the bytes that the last event borrowed.
    pub(super) fn consume(&mut self, rx: &mut RecvBuffer) {
        self.reader.consume(rx);
    }

    /// Handles the end of the available input.
    fn at_end<'i>(&mut self, rx: &RecvBuffer) -> Result<Option<CoreEvent<'i>>, Error> {
        if !rx.is_closed() {
            if !rx.is_empty() && self.reader.remainder == Remainder::None {
                self.reader.remainder = Remainder::Awaited;
                self.step_done();
            }
            return Ok(None);
        }
        if rx.is_empty() && matches!(self.turn, Turn::Command | Turn::Idling) {
            return Ok(Some(CoreEvent::Closed));
        }
        Err(PeerError::UnexpectedEnd.into())
    }

    /// Records that a command is complete: the next one begins.
    pub(super) const fn command_ended(&mut self) {
        self.reader.remainder = Remainder::None;
        self.step_done();
    }

    /// Returns what the server waits for.
    pub(super) fn wait(&self) -> Wait {
        let waits = &self.config.waits;
        let application = Wait::forever(WaitFor::Application, self.generation);
        if self.state == State::Logout {
            return Wait::forever(WaitFor::Nothing, self.generation);
        }
        if self.unfinished != Unfinished::Nothing {
            return application;
        }
        let (awaited, after) = match &self.turn {
            Turn::Delay(_) => (WaitFor::Delay, waits.delay),
            Turn::Idling => (WaitFor::Command, waits.command),
            Turn::Message(..) | Turn::Discarding { .. } => (WaitFor::Data, waits.data),
            Turn::Sasl(_) | Turn::AppendRest(_) | Turn::LongLine { .. } => (WaitFor::Remainder, waits.rest),
            Turn::Command if self.reader.remainder == Remainder::Awaited => (WaitFor::Remainder, waits.rest),
            Turn::Command if self.state.is_authenticated() => (WaitFor::Command, waits.command),
            Turn::Command => (WaitFor::Command, waits.authentication),
            Turn::Reply { .. }
            | Turn::IdleReply
            | Turn::Verdict(_)
            | Turn::StartTls
            | Turn::Compress
            | Turn::Offer(_) => {
                return application;
            }
        };
        Wait::new(awaited, after, self.generation)
    }

    /// Handles a timeout or the end of a delay.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self.wait().awaited {
            WaitFor::Nothing | WaitFor::Application => Ok(()),
            WaitFor::Delay => self.end_of_delay(tx),
            late => Err(self.fail(Limit::Timeout(late).into(), "it took too long", tx)),
        }
    }
}

/// The next step that the receive buffer allows.
pub(super) enum Found {
    /// More bytes are needed.
    More,
    /// Input that the application does not see.
    Silent,
    /// An event that borrows nothing.
    Event(CoreEvent<'static>),
    /// A command of this many bytes, for the application.
    Command(usize),
    /// The first line of an APPEND or REPLACE command, and the literal that it announces.
    Append(usize, Option<LiteralHeader>),
}

/// Shows all state that affects behavior, except the configuration. A delayed refusal contains bytes of the client,
/// which may be secret: only its length is shown.
impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            config: _,
            trust,
            state,
            turn,
            tokens,
            tag,
            counters,
            reader,
            context: _,
            unfinished,
            messages,
            notify,
            enabled,
            sasl,
            compression,
            generation,
        } = self;
        let mut session = f.debug_struct("Session");
        session.field("trust", trust).field("state", state);
        match turn {
            Turn::Discarding { left, refusal } => session.field("discarding", &(left, refusal.len())),
            turn => session.field("turn", turn),
        };
        session
            .field("tokens", tokens)
            .field("tag", tag)
            .field("counters", counters)
            .field("reader", reader)
            .field("unfinished", unfinished)
            .field("messages", messages)
            .field("notify", notify)
            .field("enabled", &alloc::string::String::from_utf8_lossy(enabled))
            .field("sasl", sasl)
            .field("compression", compression)
            .field("generation", generation)
            .finish()
    }
}
