//! The client's machine, whatever its channel: reads responses, keeps the state, says what has to be said.
//!
//! This file knows which response may come when, and what of it the application may see. How FETCH is walked, how an
//! identity is proved and how payloads are sent is in the files beside it.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proto_mail::trace::TraceKind;
use proto_mail::{Error, Limit, Misuse, PeerError, RecvBuffer, SendBuffer, Wait, WaitFor};

use super::auth::Authentication;
use super::capabilities::Capabilities;
use super::event::Event;
use super::fetch::{Walk, Walked};
use super::queue::{CommandId, Floor, Job, Outgoing, Privacy, Queue};
use super::starttls::Answer;
use crate::config::Config;
use crate::frame::{FrameStep, Framer, Sync};
use crate::parse::{self, Context, LiteralScan};
use crate::state::State;
use crate::told;
use crate::types::{Condition, NameEncoding, Response, StatusResponse, Text};

/// Whether the channel can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Anyone on the way may be speaking.
    Cleartext,
    /// Only the server can.
    Secure,
}

/// Where the session stands, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come.
    Greeting,
    /// It goes on.
    Session(State),
    /// BYE was said and reported; this is what it means.
    Farewell(PeerError),
    /// LOGOUT was completed.
    Leaving,
    /// It ended in order.
    Closed,
    /// It ended with this.
    Failed(Error),
}

/// What the machine knows of the capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// Nothing: it will ask.
    Unknown,
    /// Nothing or something old: it has asked.
    Asked,
    /// What the server said last.
    Known,
    /// What the server said before the authentication that is on its way.
    BeforeAuthentication,
}

/// What is being read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input {
    /// The next response.
    Message,
    /// A FETCH response, item by item.
    Fetch(Walk),
}

/// Something to report that borrows nothing.
#[derive(Debug)]
pub(super) enum Deferred {
    Capability,
    AppendReady(CommandId),
    Idling(CommandId),
    Completed(CommandId, Condition),
}

impl Deferred {
    fn event(self) -> Event<'static> {
        match self {
            Self::Capability => Event::Capability,
            Self::AppendReady(id) => Event::AppendReady(id),
            Self::Idling(id) => Event::Idling(id),
            Self::Completed(id, condition) => {
                Event::Completed { id, status: StatusResponse::new(condition, Text::EMPTY) }
            }
        }
    }
}

/// How a frame ends.
pub(super) enum Framed {
    /// More is needed.
    More,
    /// A whole response.
    Whole(usize),
    /// A FETCH response up to the announcement of a body of this size.
    UpToBody(usize, u64),
}

pub(crate) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) trust: Trust,
    pub(super) phase: Phase,
    pub(super) queue: Queue,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) knowledge: Knowledge,
    /// How mailbox names are written: UTF-8 once the server has agreed.
    pub(super) names: NameEncoding,
    pub(super) sasl: proto_mail::sasl::SaslContext,
    pub(super) authentication: Option<Authentication>,
    /// The server has refused a command with an initial response as wrong.
    pub(super) initial_refused: bool,
    pub(super) framer: Framer,
    /// Which literals of the message are bodies.
    scan: LiteralScan,
    pub(super) input: Input,
    /// What the last event borrowed and the next call gives up.
    pub(super) consume: usize,
    pub(super) context: Context,
    pub(super) deferred: VecDeque<Deferred>,
    generation: u32,
    /// A response has begun and is not complete.
    rest: Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    None,
    Begun,
}

impl Core {
    pub(super) fn new(config: Arc<Config>, trust: Trust) -> Self {
        Self {
            context: Context::new(config.reading),
            config,
            trust,
            phase: Phase::Greeting,
            queue: Queue::new(),
            capabilities: None,
            knowledge: Knowledge::Unknown,
            names: NameEncoding::default(),
            authentication: None,
            initial_refused: false,
            sasl: proto_mail::sasl::SaslContext::cleartext(),
            framer: Framer::default(),
            scan: LiteralScan::new(),
            input: Input::Message,
            consume: 0,
            deferred: VecDeque::new(),
            generation: 0,
            rest: Rest::None,
        }
    }

    /// The session's mechanisms may be bound to this channel.
    pub(super) fn over(mut self, secure: &proto_mail::Secure) -> Self {
        self.sasl = proto_mail::sasl::SaslContext::secure(secure);
        self
    }

    /// A session whose greeting came before TLS: nothing of it is known here.
    pub(super) fn greeted(config: Arc<Config>, trust: Trust) -> Self {
        Self { phase: Phase::Session(State::NotAuthenticated), ..Self::new(config, trust) }
    }

    /// The state of a session that goes on.
    pub(super) const fn state(&self) -> Option<State> {
        match self.phase {
            Phase::Session(state) => Some(state),
            _ => None,
        }
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether the server lists the capability.
    pub(super) fn offers(&self, name: &str) -> bool {
        self.capabilities.as_ref().is_some_and(|capabilities| capabilities.has(name))
    }

    /// Whether what is said in cleartext is kept from the application.
    pub(super) fn is_withheld(&self) -> bool {
        self.trust == Trust::Cleartext && !self.config.allows_cleartext()
    }

    /// Whether the server has not said yet what it is.
    pub(super) const fn awaits_greeting(&self) -> bool {
        matches!(self.phase, Phase::Greeting)
    }

    /// A step of the conversation was completed.
    pub(super) const fn stepped(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    pub(super) const fn fail(&mut self, error: Error) {
        self.phase = Phase::Failed(error);
        self.stepped();
    }

    pub(super) fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i>>, Error> {
        if let Some(len) = self.body_octets(rx) {
            return Ok(Some(Event::BodyChunk(rx.bytes().get(..len).unwrap_or_default())));
        }
        let found = self.pull(rx, tx);
        // Looked at in its place: an event is large, and moving it costs more than finding it.
        if let Err(error) = &found {
            self.fail(*error);
        }
        found
    }

    fn pull<'i>(&mut self, rx: &'i mut RecvBuffer, tx: &mut SendBuffer) -> Result<Option<Event<'i>>, Error> {
        self.give_up(rx);
        loop {
            self.queue.look(rx, tx);
            self.announce_append(tx);
            if let Some(deferred) = self.deferred.pop_front() {
                return Ok(Some(deferred.event()));
            }
            match self.phase {
                Phase::Failed(error) => return Err(error),
                Phase::Farewell(error) => return Err(error.into()),
                Phase::Leaving => {
                    self.phase = Phase::Closed;
                    return Ok(Some(Event::Closed));
                }
                Phase::Closed => return Ok(None),
                Phase::Greeting | Phase::Session(_) => {}
            }
            self.ask_for_capabilities(tx);
            if let Input::Fetch(mut walk) = self.input {
                match self.walk(&mut walk, rx)? {
                    Walked::More => return self.at_end(rx, tx),
                    Walked::Silent => {
                        self.go_on(walk);
                        self.give_up(rx);
                        continue;
                    }
                    Walked::Event => {
                        let event = self.walk_event(&mut walk, rx);
                        self.go_on(walk);
                        return Ok(Some(event));
                    }
                }
            }
            match self.frame(rx)? {
                Framed::More => return self.at_end(rx, tx),
                // A status is one line of text: whatever holds a literal is none.
                Framed::UpToBody(..) if self.awaits_greeting() => {
                    return Err(PeerError::InvalidGreeting.into());
                }
                Framed::Whole(len) => {
                    self.rest = Rest::None;
                    if self.is_silent(len, rx, tx)? {
                        self.consume = len;
                        self.stepped();
                        self.give_up(rx);
                        continue;
                    }
                    if !self.awaits_greeting() && self.begin_walk(len, None, rx) {
                        continue;
                    }
                    self.consume = len;
                    self.stepped();
                    let bytes = rx.bytes().get(..len).unwrap_or_default();
                    return self.respond(bytes, tx).map(Some);
                }
                Framed::UpToBody(len, size) => {
                    self.rest = Rest::None;
                    if !self.begin_walk(len, Some(size), rx) {
                        // Announced where a body stands, in what is no FETCH: the framing and the grammar disagree.
                        return Err(PeerError::Malformed.into());
                    }
                }
            }
        }
    }

    /// Goes on behind an item of a FETCH response. Behind the last of them nothing is begun that would have a rest.
    fn go_on(&mut self, walk: Walk) {
        self.input = walk.then();
        if matches!(self.input, Input::Message) {
            self.rest = Rest::None;
        }
    }

    /// Gives up what the last event borrowed.
    pub(super) fn give_up(&mut self, rx: &mut RecvBuffer) {
        if self.consume > 0 {
            rx.consume(self.consume);
            self.consume = 0;
            self.framer.reset();
            self.scan = match self.input {
                Input::Message => LiteralScan::new(),
                Input::Fetch(_) => LiteralScan::continued(),
            };
        }
    }

    /// Finds the next response, and tells of it.
    pub(super) fn frame(&mut self, rx: &mut RecvBuffer) -> Result<Framed, Error> {
        let framed = self.find_frame(rx);
        if rx.is_traced() {
            self.tell(&framed, rx);
        }
        framed
    }

    /// Tells of what was found. What may be part of a SASL exchange is a secret.
    #[cold]
    fn tell(&self, framed: &Result<Framed, Error>, rx: &mut RecvBuffer) {
        let authenticates = self.authentication.is_some();
        let asked = matches!(self.queue.floor, Floor::Free | Floor::Authenticate(_) | Floor::StartTls(_));
        match framed {
            Ok(Framed::More) => {}
            Ok(Framed::UpToBody(len, _)) => told::frame(*len, rx),
            Ok(Framed::Whole(len)) => {
                let bytes = rx.bytes().get(..*len).unwrap_or_default();
                if bytes.starts_with(b"+") && (authenticates || asked) {
                    told::challenge(*len, rx);
                } else if authenticates
                    // What is only tolerated may be a challenge in a wrong shape, or an echo of ours.
                    && matches!(parse::response(bytes, &Context::strict()), Response::Unparsed(_))
                {
                    told::line(*len, TraceKind::Unknown, rx);
                } else {
                    told::frame(*len, rx);
                }
            }
            // It says what is wrong with the server.
            Err(_) => {
                rx.trace_span(rx.len(), if authenticates { TraceKind::Unknown } else { TraceKind::Text })
            }
        }
    }

    fn find_frame(&mut self, rx: &mut RecvBuffer) -> Result<Framed, Error> {
        if self.awaits_greeting() && matches!(rx.bytes(), [0x15 | 0x16, 0x03, ..]) {
            return Err(PeerError::TlsInCleartext.into());
        }
        let limits = &self.config.limits;
        let line = match self.phase {
            // The results of a search stand in one line.
            Phase::Session(state) if state.is_authenticated() => limits.line.max(limits.frame),
            _ => limits.line,
        };
        loop {
            match self.framer.step(rx, line, limits.frame)? {
                FrameStep::More => return Ok(Framed::More),
                FrameStep::Complete(len) => return Ok(Framed::Whole(len)),
                FrameStep::Endless(end, _) | FrameStep::Literal(end, _) if self.is_text(rx, end) => {
                    return Ok(Framed::Whole(end));
                }
                FrameStep::Endless(..) => return Err(Limit::Literal.into()),
                FrameStep::Literal(_, announced) if announced.sync == Sync::NonSynchronising => {
                    // RFC 7888 §3: a server never sends one.
                    return Err(PeerError::Malformed.into());
                }
                FrameStep::Literal(end, announced) => {
                    let bytes = rx.bytes().get(..end).unwrap_or_default();
                    if self.scan.is_section_contents(bytes, self.config.reading) {
                        return Ok(Framed::UpToBody(end, announced.size));
                    }
                    self.framer.keep(end, announced, limits)?;
                }
            }
        }
    }

    /// Whether the response is one line of text, in which no literal can be announced: `+`, a status.
    fn is_text(&self, rx: &RecvBuffer, end: usize) -> bool {
        if !self.framer.is_first_line() {
            return false;
        }
        let Some(line) = rx.bytes().get(..end) else { return false };
        let Some(rest) = line.strip_prefix(b"*") else { return true };
        let rest = rest.trim_ascii_start();
        let word = rest.split(|octet| matches!(octet, b' ' | b'\r' | b'[')).next().unwrap_or_default();
        [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].iter().any(|text| word.eq_ignore_ascii_case(text))
    }

    /// Nothing more can be read now.
    fn at_end<'i>(&mut self, rx: &RecvBuffer, tx: &SendBuffer) -> Result<Option<Event<'i>>, Error> {
        let inside = matches!(self.input, Input::Fetch(_)) || !rx.is_empty();
        if !rx.is_closed() {
            if inside && self.rest == Rest::None {
                self.rest = Rest::Begun;
                self.stepped();
            }
            return Ok(None);
        }
        let leaving = self.queue.leaves(tx);
        match self.phase {
            Phase::Session(_) if !inside && (leaving || self.queue.is_empty()) => {
                self.phase = Phase::Closed;
                self.stepped();
                Ok(Some(Event::Closed))
            }
            _ => Err(PeerError::UnexpectedEnd.into()),
        }
    }

    /// What is awaited.
    pub(super) fn wait(&self) -> Wait {
        let waits = &self.config.waits;
        let (awaited, after) = match (self.phase, &self.input, self.queue.floor) {
            (Phase::Failed(_) | Phase::Closed | Phase::Leaving | Phase::Farewell(_), _, _) => {
                return Wait::forever(WaitFor::Nothing, self.generation);
            }
            (Phase::Greeting, _, _) => (WaitFor::Greeting, waits.greeting),
            (_, Input::Fetch(walk), _) if walk.is_in_body() => (WaitFor::Data, waits.data),
            (_, Input::Fetch(_), _) => (WaitFor::Remainder, waits.rest),
            _ if self.rest == Rest::Begun => (WaitFor::Remainder, waits.rest),
            (_, _, Floor::Idle(_)) => (WaitFor::Idle, waits.idle),
            (_, _, Floor::Append(..)) => return Wait::forever(WaitFor::Application, self.generation),
            _ if !self.queue.is_empty() => (WaitFor::Reply, waits.reply),
            _ => return Wait::forever(WaitFor::Application, self.generation),
        };
        Wait { awaited, after, generation: self.generation }
    }

    /// What was awaited did not come. An idling client renews: it ends IDLE, and the application begins it anew.
    pub(super) fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        if let Phase::Failed(error) = self.phase {
            return Err(error);
        }
        match self.wait().awaited {
            WaitFor::Nothing | WaitFor::Application => Ok(()),
            WaitFor::Idle => self.done(tx),
            late => {
                let error = Limit::Timeout(late).into();
                self.fail(error);
                Err(error)
            }
        }
    }

    /// Says a command, or keeps it until it may be said.
    pub(super) fn say(&mut self, outgoing: Outgoing, tx: &mut SendBuffer) {
        self.queue.say(outgoing, tx);
        self.stepped();
    }

    /// Asks for the capabilities when nothing is known of them.
    fn ask_for_capabilities(&mut self, tx: &mut SendBuffer) {
        let in_session = matches!(self.phase, Phase::Session(state) if state != State::Logout);
        if self.knowledge == Knowledge::Unknown && in_session {
            self.knowledge = Knowledge::Asked;
            let id = self.queue.next_id();
            let bytes = alloc::format!("{id} CAPABILITY\r\n").into_bytes();
            let (pauses, privacy) = (Vec::new(), Privacy::Public);
            self.say(Outgoing { id, job: Job::Capability, bytes, pauses, privacy, payload: None }, tx);
        }
    }

    /// Begins the only command that is still said in cleartext.
    pub(super) fn starttls(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        if let Phase::Failed(error) = self.phase {
            return Err(error);
        }
        let ready = self.state() == Some(State::NotAuthenticated)
            && self.knowledge == Knowledge::Known
            && self.queue.is_empty();
        if !ready {
            return Err(Misuse::WrongState.into());
        }
        if !self.offers("STARTTLS") {
            return Err(PeerError::StartTlsNotOffered.into());
        }
        let id = self.queue.next_id();
        let bytes = alloc::format!("{id} STARTTLS\r\n").into_bytes();
        let (pauses, privacy) = (Vec::new(), Privacy::Public);
        self.say(Outgoing { id, job: Job::StartTls, bytes, pauses, privacy, payload: None }, tx);
        Ok(())
    }

    /// Looks for the answer to STARTTLS, and at nothing else.
    pub(super) fn advance_starttls(
        &mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Answer, Error> {
        let answer = match self.next_event(rx, tx)? {
            None => Answer::None,
            Some(Event::Closed) => return Err(PeerError::UnexpectedEnd.into()),
            Some(Event::Completed { status, .. }) if status.condition == Condition::Ok => Answer::Agreed,
            Some(Event::Completed { .. }) => Answer::Refused,
            Some(_) => Answer::Other,
        };
        self.give_up(rx);
        Ok(answer)
    }
}

/// All that what follows depends on, but for the configuration. What was repaired is told and decides nothing.
impl core::fmt::Debug for Core {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            config: _,
            trust,
            phase,
            queue,
            capabilities,
            knowledge,
            names,
            sasl,
            authentication,
            framer,
            scan,
            input,
            consume,
            context: _,
            deferred,
            generation,
            rest,
            initial_refused,
        } = self;
        f.debug_struct("Core")
            .field("trust", trust)
            .field("phase", phase)
            .field("queue", queue)
            .field("capabilities", capabilities)
            .field("knowledge", knowledge)
            .field("names", names)
            .field("sasl", sasl)
            .field("authentication", authentication)
            .field("framer", framer)
            .field("scan", scan)
            .field("input", input)
            .field("consume", consume)
            .field("deferred", deferred)
            .field("generation", generation)
            .field("rest", rest)
            .field("initial_refused", initial_refused)
            .finish()
    }
}
