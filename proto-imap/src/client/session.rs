//! The client's session in progress: which response may arrive when, and how much of it the application sees.
//!
//! The modules beside this one read FETCH responses, log in and send messages.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use proto_mail::trace::TraceKind;
use proto_mail::wait::COMPUTATION_PAUSE;
use proto_mail::{Error, Limit, Misuse, PeerError, RecvBuffer, Rejection, SendBuffer, Wait, WaitFor};

use super::authentication::{Authentication, Sasl};
use super::capabilities::{EnabledCapabilities, KnownCapabilities};
use super::command_id::CommandId;
use super::command_queue::CommandQueue;
use super::compression::Compression;
use super::event::Event;
use super::outgoing::{ActiveCommand, Outgoing, OutgoingCommand, OutgoingLine};
use super::reader::{Frame, Input, Reader, ReaderStep, Remainder};
use crate::config::Config;
use crate::frame::{FrameStep, Sync};
use crate::parse::{self, Context};
use crate::redaction;
use crate::state::State;
use crate::types::{Condition, NameEncoding, Response, StatusResponse, Text};

/// Whether the channel can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Cleartext: anyone on the network may be the sender.
    Cleartext,
    /// Secure: only the peer can be the sender.
    Secure,
}

/// The phase of a session in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The greeting has not arrived.
    Greeting,
    /// Commands and responses are exchanged.
    Open(State),
    /// The server has sent BYE and the application has seen it; the next call returns it as an error.
    Bye(Rejection),
    /// LOGOUT was completed; the next call reports the end.
    LoggedOut,
}

/// An event that borrows nothing and is queued to be reported.
#[derive(Debug)]
pub(super) enum PendingEvent {
    Capabilities,
    AppendReady(CommandId),
    Idling(CommandId),
    Completed(CommandId, Condition),
}

impl PendingEvent {
    fn into_event(self) -> Event<'static> {
        match self {
            Self::Capabilities => Event::Capabilities,
            Self::AppendReady(id) => Event::AppendReady(id),
            Self::Idling(id) => Event::Idling(id),
            Self::Completed(id, condition) => {
                Event::Completed { id, status: StatusResponse::new(condition, Text::EMPTY) }
            }
        }
    }
}

/// How a session names messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    /// By sequence numbers and UIDs.
    Any,
    /// By UIDs only: the server has enabled UIDONLY (RFC 9586).
    UidOnly,
}

/// A session from the connection to its end.
pub(crate) struct Session {
    pub(super) config: Arc<Config>,
    pub(super) trust: Trust,
    pub(super) phase: Phase,
    pub(super) commands: CommandQueue,
    pub(super) capabilities: KnownCapabilities,
    /// What the server has enabled, for the application.
    pub(super) enabled: EnabledCapabilities,
    /// The encoding of mailbox names: UTF-8 after the server has agreed.
    pub(super) names: NameEncoding,
    /// Whether commands may use sequence numbers.
    pub(super) numbering: Numbering,
    pub(super) sasl: Sasl,
    pub(super) compression: Compression,
    pub(super) reader: Reader,
    pub(super) context: Context,
    pub(super) pending: VecDeque<PendingEvent>,
    generation: u32,
}

impl Session {
    pub(super) fn new(config: Arc<Config>, trust: Trust) -> Self {
        Self {
            context: Context::new(config.reading),
            config,
            trust,
            phase: Phase::Greeting,
            commands: CommandQueue::new(),
            capabilities: KnownCapabilities::Unknown,
            enabled: EnabledCapabilities::default(),
            names: NameEncoding::default(),
            numbering: Numbering::Any,
            sasl: Sasl::new(proto_mail::sasl::SaslContext::cleartext()),
            compression: Compression::Off,
            reader: Reader::new(),
            pending: VecDeque::new(),
            generation: 0,
        }
    }

    /// Binds mechanisms to this channel.
    pub(super) fn bound_to(mut self, secure: &proto_mail::Secure) -> Self {
        self.sasl = Sasl::new(proto_mail::sasl::SaslContext::secure(secure));
        self
    }

    /// Creates a session whose greeting arrived before TLS. It keeps nothing that was received in cleartext.
    pub(super) fn greeted(config: Arc<Config>, trust: Trust) -> Self {
        Self { phase: Phase::Open(State::NotAuthenticated), ..Self::new(config, trust) }
    }

    /// Returns the state, if commands can be sent.
    pub(super) const fn state(&self) -> Option<State> {
        match self.phase {
            Phase::Open(state) => Some(state),
            Phase::Greeting | Phase::Bye(_) | Phase::LoggedOut => None,
        }
    }

    /// Returns whether the server lists the capability. A name that ends with `=` stands for any value.
    pub(super) fn offers(&self, name: &str) -> bool {
        self.capabilities.get().is_some_and(|capabilities| match name.strip_suffix('=') {
            Some(name) => capabilities.has_value(name),
            None => capabilities.has(name),
        })
    }

    /// Returns whether data received in cleartext are hidden from the application.
    pub(super) fn hides_untrusted_data(&self) -> bool {
        self.trust == Trust::Cleartext && !self.config.allows_cleartext()
    }

    pub(super) const fn awaits_greeting(&self) -> bool {
        matches!(self.phase, Phase::Greeting)
    }

    /// Returns the number of completed steps: see [`Wait::generation`].
    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Counts a completed step of the session.
    pub(super) const fn step_done(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    pub(super) fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i>>, Error> {
        if let Some(len) = self.next_body_chunk(rx, tx) {
            return Ok(Some(Event::BodyChunk(rx.bytes().get(..len).unwrap_or_default())));
        }
        self.consume(rx);
        if !self.passes_compression_gate(rx, tx) {
            return Ok(self.pending.pop_front().map(PendingEvent::into_event));
        }
        self.compute_answer(tx);
        loop {
            if self.is_computing() {
                return Ok(None);
            }
            self.commands.note_received(rx, tx);
            self.announce_append(tx);
            if let Some(pending) = self.pending.pop_front() {
                return Ok(Some(pending.into_event()));
            }
            match &self.phase {
                Phase::Bye(rejection) => return Err(rejection.clone().into()),
                Phase::LoggedOut => return Ok(Some(Event::Closed)),
                Phase::Greeting | Phase::Open(_) => {}
            }
            self.ask_for_capabilities(tx);
            match self.reader_step(rx)? {
                ReaderStep::None => {}
                ReaderStep::More => return self.at_end(rx, tx),
                ReaderStep::Silent => {
                    self.reader.leave_response();
                    self.consume(rx);
                    continue;
                }
                ReaderStep::Event => {
                    let event = self.reader_event(rx);
                    self.reader.leave_response();
                    return Ok(Some(event));
                }
            }
            match self.find_response(rx)? {
                Frame::More => return self.at_end(rx, tx),
                // A status is one line of text and contains no literal.
                Frame::UpToBody(..) if self.awaits_greeting() => {
                    return Err(PeerError::InvalidGreeting.into());
                }
                Frame::Whole(len) => {
                    self.reader.remainder = Remainder::None;
                    if self.handle_silently(len, rx, tx)? {
                        self.reader.borrowed = len;
                        self.step_done();
                        self.consume(rx);
                        continue;
                    }
                    if !self.awaits_greeting() && self.begin_fetch(len, None, rx) {
                        continue;
                    }
                    self.reader.borrowed = len;
                    self.step_done();
                    let bytes = rx.bytes().get(..len).unwrap_or_default();
                    return self.respond(bytes, tx).map(Some);
                }
                Frame::UpToBody(len, size) => {
                    self.reader.remainder = Remainder::None;
                    if !self.begin_fetch(len, Some(size), rx) {
                        // A response other than FETCH announces a body: framing and grammar disagree.
                        return Err(PeerError::Malformed.into());
                    }
                }
                Frame::Piece(len) => {
                    self.reader.remainder = Remainder::None;
                    self.begin_search(len, rx);
                }
            }
        }
    }

    /// Takes the next step in a response that is read in parts, if there is one.
    #[inline]
    fn reader_step(&mut self, rx: &mut RecvBuffer) -> Result<ReaderStep, Error> {
        match self.reader.input {
            Input::Response => Ok(ReaderStep::None),
            Input::Fetch(_) => self.fetch_step(rx),
            Input::Search(_) => self.search_step(rx),
        }
    }

    /// Reports what [`reader_step`](Self::reader_step) has found.
    #[inline]
    fn reader_event<'i>(&mut self, rx: &'i RecvBuffer) -> Event<'i> {
        match self.reader.input {
            Input::Search(_) => self.search_event(rx),
            _ => self.fetch_event(rx),
        }
    }

    /// Consumes the bytes that the last event borrowed.
    pub(super) fn consume(&mut self, rx: &mut RecvBuffer) {
        self.reader.consume(rx);
    }

    /// Finds the next response, and traces it.
    pub(super) fn find_response(&mut self, rx: &mut RecvBuffer) -> Result<Frame, Error> {
        let frame = self.find_frame(rx);
        if rx.is_traced() {
            self.trace(&frame, rx);
        }
        frame
    }

    /// Traces the response. It is secret if it may be part of a SASL exchange.
    #[cold]
    fn trace(&self, frame: &Result<Frame, Error>, rx: &mut RecvBuffer) {
        let authenticates = self.commands.authentication().is_some();
        let may_be_challenge =
            authenticates || matches!(self.commands.active, ActiveCommand::None | ActiveCommand::StartTls(_));
        match frame {
            Ok(Frame::More) => {}
            Ok(Frame::UpToBody(len, _) | Frame::Piece(len)) => redaction::trace_frame(*len, rx),
            Ok(Frame::Whole(len)) => {
                let bytes = rx.bytes().get(..*len).unwrap_or_default();
                if bytes.starts_with(b"+") && may_be_challenge {
                    redaction::trace_challenge(*len, rx);
                } else if authenticates
                    // A line that only the tolerant parser accepts may be a malformed challenge, or an echo of the
                    // client's message.
                    && matches!(parse::response(bytes, &Context::strict()), Response::Unparsed(_))
                {
                    redaction::trace_line(*len, TraceKind::Unknown, rx);
                } else {
                    let shown = redaction::visible_response(bytes);
                    if shown < *len {
                        rx.trace_span(shown, TraceKind::Text);
                        redaction::trace_line(*len, TraceKind::Secret, rx);
                    } else {
                        redaction::trace_frame(*len, rx);
                    }
                }
            }
            // These bytes show what is wrong with the server.
            Err(_) => {
                rx.trace_span(rx.len(), if authenticates { TraceKind::Unknown } else { TraceKind::Text })
            }
        }
    }

    fn find_frame(&mut self, rx: &mut RecvBuffer) -> Result<Frame, Error> {
        if self.awaits_greeting() && matches!(rx.bytes(), [0x15 | 0x16, 0x03, ..]) {
            return Err(PeerError::TlsInCleartext.into());
        }
        let limits = &self.config.limits;
        let is_authenticated = self.state().is_some_and(State::is_authenticated);
        // No line in fewer bytes is longer than a piece.
        if is_authenticated
            && rx.len() > limits.line.min(limits.frame)
            && parse::search::has_pieces(rx.bytes())
        {
            return self.find_pieces(rx);
        }
        let line = if is_authenticated { limits.line.max(limits.frame) } else { limits.line };
        loop {
            match self.reader.framer.step(rx, line, limits.frame)? {
                FrameStep::More => return Ok(Frame::More),
                FrameStep::Complete(len) => return Ok(Frame::Whole(len)),
                FrameStep::Endless(end, _) | FrameStep::Literal(end, _) if self.is_text(rx, end) => {
                    return Ok(Frame::Whole(end));
                }
                FrameStep::Endless(..) => return Err(Limit::Literal.into()),
                FrameStep::Literal(_, announced) if announced.sync == Sync::NonSynchronising => {
                    // RFC 7888 §3: a server never sends one.
                    return Err(PeerError::Malformed.into());
                }
                FrameStep::Literal(end, announced) => {
                    let bytes = rx.bytes().get(..end).unwrap_or_default();
                    if self.reader.scan.is_section_contents(bytes, self.config.reading) {
                        return Ok(Frame::UpToBody(end, announced.size));
                    }
                    self.reader.framer.keep(end, announced, limits)?;
                }
            }
        }
    }

    /// Returns whether the response is one line of text, which cannot announce a literal: a continuation request or a
    /// status.
    fn is_text(&self, rx: &RecvBuffer, end: usize) -> bool {
        if !self.reader.framer.is_first_line() {
            return false;
        }
        let Some(line) = rx.bytes().get(..end) else { return false };
        let Some(rest) = line.strip_prefix(b"*") else { return true };
        let rest = rest.trim_ascii_start();
        let word = rest.split(|byte| matches!(byte, b' ' | b'\r' | b'[')).next().unwrap_or_default();
        [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|text| word.eq_ignore_ascii_case(text))
    }

    /// Handles the end of the available input.
    fn at_end<'i>(&mut self, rx: &RecvBuffer, tx: &SendBuffer) -> Result<Option<Event<'i>>, Error> {
        let inside = self.reader.is_inside_response(rx);
        if !rx.is_closed() {
            if inside && self.reader.remainder == Remainder::None {
                self.reader.remainder = Remainder::Awaited;
                self.step_done();
            }
            return Ok(None);
        }
        let expected = self.commands.replies.is_empty() || self.commands.replies.expects_bye(tx);
        match self.phase {
            Phase::Open(_) if !inside && expected => Ok(Some(Event::Closed)),
            _ => Err(PeerError::UnexpectedEnd.into()),
        }
    }

    /// Returns whether the client computes its answer to a challenge.
    pub(super) fn is_computing(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
            && self.commands.authentication().is_some_and(Authentication::is_computing)
    }

    /// Returns what the client waits for.
    pub(super) fn wait(&self) -> Wait {
        if self.is_computing() {
            return Wait::new(WaitFor::Delay, COMPUTATION_PAUSE, self.generation);
        }
        let waits = &self.config.waits;
        let (awaited, after) = match (&self.phase, &self.reader.input, &self.commands.active) {
            (Phase::LoggedOut | Phase::Bye(_), _, _) => {
                return Wait::forever(WaitFor::Nothing, self.generation);
            }
            (Phase::Greeting, _, _) => (WaitFor::Greeting, waits.greeting),
            (_, Input::Fetch(fetch), _) if fetch.is_in_body() => (WaitFor::Data, waits.data),
            (_, Input::Fetch(_) | Input::Search(_), _) => (WaitFor::Remainder, waits.rest),
            _ if self.reader.remainder == Remainder::Awaited => (WaitFor::Remainder, waits.rest),
            (_, _, ActiveCommand::Idle(_)) => (WaitFor::Idle, waits.idle),
            (_, _, ActiveCommand::AppendPayload(_)) => {
                return Wait::forever(WaitFor::Application, self.generation);
            }
            _ if !self.commands.is_empty() => (WaitFor::Reply, waits.reply),
            _ => return Wait::forever(WaitFor::Application, self.generation),
        };
        Wait::new(awaited, after, self.generation)
    }

    /// Handles a timeout. An idling client ends IDLE; the application starts it again.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self.wait().awaited {
            WaitFor::Nothing | WaitFor::Application | WaitFor::Delay => Ok(()),
            WaitFor::Idle => self.done(tx),
            late => Err(Limit::Timeout(late).into()),
        }
    }

    /// Sends a command, or queues it until it may be sent.
    pub(super) fn submit(
        &mut self,
        id: CommandId,
        command: OutgoingCommand,
        line: OutgoingLine,
        tx: &mut SendBuffer,
    ) {
        self.commands.submit(Outgoing { id, command, line }, tx);
        self.step_done();
    }

    /// Asks for the capabilities if they are not known.
    fn ask_for_capabilities(&mut self, tx: &mut SendBuffer) {
        let open = matches!(self.phase, Phase::Open(state) if state != State::Logout);
        if open && self.capabilities.is_unknown() {
            self.capabilities = KnownCapabilities::Requested(None);
            let id = self.commands.next_id();
            let line = OutgoingLine::simple(alloc::format!("{id} CAPABILITY\r\n").into_bytes());
            self.submit(id, OutgoingCommand::Capability, line, tx);
        }
    }

    /// Sends STARTTLS, the last command in cleartext.
    pub(super) fn starttls(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        let ready = self.state() == Some(State::NotAuthenticated)
            && matches!(self.capabilities, KnownCapabilities::Known(_))
            && self.commands.is_empty();
        if !ready {
            return Err(Misuse::WrongState.into());
        }
        if !self.offers("STARTTLS") {
            return Err(PeerError::StartTlsNotOffered.into());
        }
        let id = self.commands.next_id();
        let line = OutgoingLine::simple(alloc::format!("{id} STARTTLS\r\n").into_bytes());
        self.submit(id, OutgoingCommand::StartTls, line, tx);
        Ok(())
    }
}

/// Shows all state that affects behavior, except the configuration.
impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            config: _,
            trust,
            phase,
            commands,
            capabilities,
            // Only the application reads it. What follows from it for the machine is in `names` and `numbering`.
            enabled: _,
            names,
            numbering,
            sasl,
            compression,
            reader,
            context: _,
            pending,
            generation,
        } = self;
        f.debug_struct("Session")
            .field("trust", trust)
            .field("phase", phase)
            .field("commands", commands)
            .field("capabilities", capabilities)
            .field("names", names)
            .field("numbering", numbering)
            .field("sasl", sasl)
            .field("compression", compression)
            .field("reader", reader)
            .field("pending", pending)
            .field("generation", generation)
            .finish()
    }
}
