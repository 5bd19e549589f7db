//! The heart of the client, which knows no channel type: what is outstanding, and what each reply means.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proto_mail::sasl::{ClientExchange, SaslError};
use proto_mail::{
    CommandMark, Error, Misuse, PeerError, ReceiveMark, RecvBuffer, Secret, SendBuffer, Wait, WaitFor, trace,
};

use super::event::{Kind, Step};
use crate::capabilities::Capabilities;
use crate::chunking::ChunkEnd;
use crate::command::Command;
use crate::config::{Config, Dialect};
use crate::data::DotStuffer;
use crate::extension::{Extension, ExtensionSet};
use crate::hello::ClientName;
use crate::reply_framer::{Repairs, ReplyFault, ReplyFrame, ReplyFramer};
use crate::status_code::{Code, Severity};

/// What the client is doing.
#[derive(Debug)]
pub(super) enum State {
    /// EHLO is to be written as soon as there is a buffer for it.
    HelloDue,
    /// Commands may be given, so far as the outstanding ones allow.
    Session,
    /// SASL messages travel.
    Auth(Authentication),
    /// The message may be written.
    Data(DotStuffer),
    /// A chunk of BDAT may be written.
    Chunk { left: u64, end: ChunkEnd },
    /// It ended in order.
    Closed,
    /// It ended badly.
    Failed(Error),
}

/// An authentication on its way.
#[derive(Debug)]
pub(super) struct Authentication {
    pub(super) exchange: Box<dyn ClientExchange>,
    /// The first message, where it could not go with the command.
    pub(super) held: Option<Secret<Vec<u8>>>,
    /// The first message, where it went with the command, until the server has said anything to it.
    pub(super) sent: Option<Secret<Vec<u8>>>,
    /// SyntaxFault the client has given up, if it has.
    pub(super) cancelled: Option<SaslError>,
}

/// A command whose reply has not come.
#[derive(Debug, Clone, Copy)]
struct Outstanding {
    step: Step,
    /// When its last byte was given.
    said: CommandMark,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) secure: bool,
    /// Whether it is known that the server is the one that was meant.
    verified: bool,
    pub(super) state: State,
    outstanding: VecDeque<Outstanding>,
    hearing: ReceiveMark,
    framer: ReplyFramer,
    pub(super) capabilities: Capabilities<'static>,
    /// HELO was said in place of EHLO.
    pub(super) fallback: bool,
    /// How many MAIL were given since the session began.
    pub(super) mails: u64,
    /// How many RCPT were given since MAIL.
    pub(super) recipients: usize,
    /// Which recipients were accepted since MAIL was: each has a reply behind the message in LMTP, and may have one with
    /// PRDR.
    accepted: Vec<usize>,
    /// PRDR was asked for with MAIL.
    pub(super) prdr: bool,
    /// Who may have a reply of their own behind the message that is sent (PRDR).
    pub(super) awaiting_verdict: Vec<usize>,
    /// MAIL was accepted and its transaction is not over.
    pub(super) open: bool,
    pub(super) utf8: bool,
    pub(super) auth_failure: Option<String>,
    /// The server has refused a command with an initial response as wrong.
    pub(super) initial_refused: bool,
    pub(super) sasl: proto_mail::sasl::SaslContext,
    generation: u32,
    given_up: usize,
}

impl Core {
    /// A client that waits for the greeting.
    pub(super) fn new(config: Arc<Config>, secure: bool) -> Self {
        let mut core = Self::secured(config);
        core.secure = secure;
        core.state = State::Session;
        core.outstanding.push_back(Outstanding { step: Step::Greeting, said: CommandMark::BEFORE_SESSION });
        core
    }

    /// A client behind STARTTLS: nobody greets again, and nothing is known.
    pub(super) fn secured(config: Arc<Config>) -> Self {
        Self {
            config,
            secure: true,
            verified: false,
            state: State::HelloDue,
            outstanding: VecDeque::new(),
            hearing: ReceiveMark::default(),
            framer: ReplyFramer::default(),
            capabilities: Capabilities::default(),
            fallback: false,
            mails: 0,
            recipients: 0,
            accepted: Vec::new(),
            prdr: false,
            awaiting_verdict: Vec::new(),
            open: false,
            utf8: false,
            auth_failure: None,
            initial_refused: false,
            sasl: proto_mail::sasl::SaslContext::cleartext(),
            generation: 0,
            given_up: 0,
        }
    }

    /// The session's mechanisms may be bound to this channel, and what it is worth is known.
    pub(super) fn over(mut self, secure: &proto_mail::Secure) -> Self {
        self.verified = secure.is_verified();
        self.sasl = proto_mail::sasl::SaslContext::secure(secure);
        self
    }

    /// The next reply that the application must know, with its length at the beginning of `rx`.
    pub(super) fn advance(
        &mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<(Kind, ReplyFrame)>, Error> {
        rx.consume(core::mem::take(&mut self.given_up));
        loop {
            if self.hearing.note_received(rx) {
                self.heard_more(tx);
            }
            match self.state {
                State::Failed(error) => return Err(error),
                State::Closed => return Ok(None),
                State::HelloDue => self.hello(tx),
                _ => {}
            }
            let found =
                self.framer.find(rx, &self.config.limits, self.config.bare_newline, self.config.mixed_codes);
            let frame = match found {
                Ok(Some(frame)) => frame,
                Ok(None) => return self.end_of_input(rx),
                Err(fault) => {
                    self.tell_unreadable(rx);
                    return Err(self.unreadable(fault, rx.bytes()));
                }
            };
            if rx.is_traced() {
                self.tell(frame, rx);
            }
            self.generation = self.generation.wrapping_add(1);
            match self.answer(frame, rx, tx)? {
                Some(kind) => {
                    self.given_up = frame.len;
                    return Ok(Some((kind, frame)));
                }
                None => rx.consume(frame.len),
            }
        }
    }

    /// What has come while a command waits to be sent is no answer to it, nor the beginning of one.
    fn heard_more(&mut self, tx: &SendBuffer) {
        let unsent =
            self.outstanding.iter_mut().rev().take_while(|outstanding| !outstanding.said.is_sent(tx));
        unsent.for_each(|outstanding| outstanding.said.exclude_received(&self.hearing));
    }

    /// Tells of a reply. What stands in a challenge is part of a SASL exchange.
    #[cold]
    fn tell(&self, frame: ReplyFrame, rx: &mut RecvBuffer) {
        let bytes = rx.bytes().get(..frame.len).unwrap_or_default();
        if bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"334")) {
            rx.trace_span("334 ".len().min(frame.len), trace::TraceKind::Text);
            rx.trace_span(frame.len.saturating_sub("\r\n".len()), trace::TraceKind::Secret);
        }
        rx.trace_span(frame.len, trace::TraceKind::Text);
    }

    /// Tells of what is no reply: it says what is wrong with the server, unless it may be a challenge.
    fn tell_unreadable(&self, rx: &mut RecvBuffer) {
        let challenged = matches!(self.state, State::Auth(_));
        rx.trace_span(rx.len(), if challenged { trace::TraceKind::Unknown } else { trace::TraceKind::Text });
    }

    fn end_of_input(&mut self, rx: &RecvBuffer) -> Result<Option<(Kind, ReplyFrame)>, Error> {
        if !rx.is_closed() {
            return Ok(None);
        }
        let waits_for = self.outstanding.front().map(|outstanding| outstanding.step);
        let in_order = matches!(waits_for, None | Some(Step::Quit))
            && matches!(self.state, State::Session)
            && rx.is_empty();
        if in_order {
            self.state = State::Closed;
            return Ok(Some((Kind::Gone, ReplyFrame { code: Code::CLOSING, len: 0 })));
        }
        Err(self.fail(PeerError::UnexpectedEnd.into()))
    }

    fn unreadable(&mut self, fault: ReplyFault, bytes: &[u8]) -> Error {
        let first = self.outstanding.front().is_some_and(|outstanding| outstanding.step == Step::Greeting);
        let error = match fault {
            ReplyFault::Limit(limit) => limit.into(),
            // A TLS record: alert or handshake, version 3.x.
            ReplyFault::Peer(_) if first && matches!(bytes, [0x15 | 0x16, 3, ..]) => {
                PeerError::TlsInCleartext.into()
            }
            ReplyFault::Peer(PeerError::Malformed) if first => PeerError::InvalidGreeting.into(),
            ReplyFault::Peer(error) => error.into(),
        };
        self.fail(error)
    }

    /// Ends the session with an error.
    pub(super) fn fail(&mut self, error: Error) -> Error {
        self.state = State::Failed(error);
        error
    }

    /// What a reply means. `None`: nothing that the application must know.
    fn answer(
        &mut self,
        frame: ReplyFrame,
        rx: &RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Kind>, Error> {
        let code = frame.code;
        // The server may go away at any time (RFC 5321 §3.8).
        if code == Code::UNAVAILABLE {
            if self.is_writing(tx) {
                self.stop_writing(tx);
            }
            self.state = State::Closed;
            return Ok(Some(Kind::Closed));
        }
        // A reply answers the oldest command, and only one whose last byte was sent before it came. Anything else was
        // put there by somebody, or the connection is out of step.
        let step = match self.outstanding.front() {
            Some(outstanding) if outstanding.said.accepts_reply(&self.hearing, tx) => outstanding.step,
            // A refusal can do no harm: the server has heard enough of the message. Nothing more of it is sent, and so
            // nobody could tell what the next reply is for: the connection is done with.
            _ if code.get() >= 400 && self.is_writing(tx) => {
                self.stop_writing(tx);
                self.state = State::Closed;
                return Ok(Some(Kind::Rejected(Step::Data)));
            }
            _ => return Err(self.fail(PeerError::UnexpectedReply.into())),
        };
        if step == Step::Auth && code == Code::CHALLENGE {
            self.challenge(frame, rx.bytes(), tx)?;
            return Ok(None);
        }
        // The replies are out of step. What was asked stays open: a message may have been taken.
        if !self.is_answer(step, code) {
            return Err(self.fail(PeerError::UnexpectedReply.into()));
        }
        self.outstanding.pop_front();
        let kind = match (step, code.severity()) {
            (Step::Data, Severity::Intermediate) => {
                self.state = State::Data(DotStuffer::new(self.config.line_endings));
                Kind::SendData
            }
            (_, Severity::Intermediate) => {
                self.expect_verdicts();
                return Ok(None);
            }
            (step, Severity::Completed) => return self.completed(step, code, frame, rx.bytes()),
            (step, Severity::Transient | Severity::Permanent) => match self.refused(step, code, tx) {
                Some(kind) => kind,
                None => return Ok(None),
            },
        };
        Ok(Some(kind))
    }

    /// Whether a command can have this answer.
    fn is_answer(&self, step: Step, code: Code) -> bool {
        match (step, code.severity()) {
            (Step::Data, Severity::Intermediate) => code == Code::START_DATA,
            (Step::Message(None), Severity::Intermediate) => {
                code == Code::CONTENT_ANALYSIS && !self.awaiting_verdict.is_empty()
            }
            (_, Severity::Intermediate) | (Step::Data, Severity::Completed) => false,
            (step, Severity::Completed) => !is_of_another(step, code),
            (_, Severity::Transient | Severity::Permanent) => true,
        }
    }

    /// Whether a message, or a chunk of one, is on its way: it was begun and its last byte is not sent.
    fn is_writing(&self, tx: &SendBuffer) -> bool {
        match self.outstanding.front() {
            None => matches!(self.state, State::Data(_) | State::Chunk { .. }),
            Some(Outstanding { step: Step::Message(_) | Step::Chunk, said }) => !said.is_sent(tx),
            Some(_) => false,
        }
    }

    /// Gives up what waits to be sent, and with it the replies that it would have had.
    fn stop_writing(&mut self, tx: &mut SendBuffer) {
        tx.discard();
        self.outstanding.clear();
    }

    /// What 2yz means.
    fn completed(
        &mut self,
        step: Step,
        code: Code,
        frame: ReplyFrame,
        bytes: &[u8],
    ) -> Result<Option<Kind>, Error> {
        Ok(Some(match step {
            Step::Greeting if code == Code::READY => {
                self.state = State::HelloDue;
                Kind::Greeting
            }
            Step::Greeting => return Err(self.fail(PeerError::InvalidGreeting.into())),
            Step::Hello => {
                let lines = bytes.get(..frame.len).unwrap_or_default();
                self.capabilities = if self.fallback {
                    Capabilities::default()
                } else {
                    Capabilities::parse(lines).into_owned()
                };
                Kind::Capabilities
            }
            // Only 220 lets TLS begin (RFC 3207 §4).
            Step::StartTls if code != Code::READY => {
                return Err(self.fail(PeerError::UnexpectedReply.into()));
            }
            // Only 220 begins a session anew: after anything else it is not known which one this is.
            Step::XClient if code == Code::READY => {
                self.restart();
                Kind::Accepted(step)
            }
            Step::XClient => return Err(self.fail(PeerError::UnexpectedReply.into())),
            Step::Auth => return self.authenticated(code).map(Some),
            Step::Quit => {
                self.state = State::Closed;
                Kind::Closed
            }
            Step::Message(recipient) => {
                self.end_transaction();
                Kind::Delivered(recipient)
            }
            // The transaction before is over now and not when the command was given: its last answers came in between.
            Step::Reset | Step::Mail => {
                self.open = step == Step::Mail;
                self.accepted.clear();
                Kind::Accepted(step)
            }
            Step::Rcpt(recipient) => {
                if self.prdr || self.config.dialect == Dialect::Lmtp {
                    self.accepted.push(recipient);
                }
                Kind::Accepted(step)
            }
            step => Kind::Accepted(step),
        }))
    }

    /// What 4yz and 5yz mean.
    fn refused(&mut self, step: Step, code: Code, tx: &mut SendBuffer) -> Option<Kind> {
        Some(match step {
            Step::Greeting => {
                self.state = State::Closed;
                Kind::Rejected(step)
            }
            // The server knows no EHLO (RFC 5321 §4.1.1.1). HELO offers no TLS: only where that is not wanted.
            Step::Hello if self.may_fall_back(code) => {
                self.fallback = true;
                self.command(&Command::Helo(self.name()), Step::Hello, tx);
                return None;
            }
            Step::Quit => {
                self.state = State::Closed;
                Kind::Closed
            }
            Step::Auth => self.authentication_refused(code),
            Step::Chunk => {
                // The message is lost, and with it the replies that its end would have had.
                self.accepted.clear();
                Kind::Rejected(step)
            }
            Step::Message(_) => {
                self.end_transaction();
                Kind::Rejected(step)
            }
            step => Kind::Rejected(step),
        })
    }

    /// `353`: a reply for each recipient comes first, and then the one for all.
    fn expect_verdicts(&mut self) {
        let recipients = core::mem::take(&mut self.awaiting_verdict);
        let steps = recipients.into_iter().map(Step::Verdict).chain([Step::Message(None)]);
        // The command was sent long ago.
        steps.rev().for_each(|step| {
            self.outstanding.push_front(Outstanding { step, said: CommandMark::BEFORE_SESSION })
        });
    }

    fn end_transaction(&mut self) {
        self.awaiting_verdict.clear();
        let more = self.outstanding.front().is_some_and(|next| matches!(next.step, Step::Message(_)));
        if !more {
            self.open = false;
        }
    }

    fn may_fall_back(&self, code: Code) -> bool {
        let allowed = self.secure || self.config.allows_cleartext();
        allowed
            && !self.fallback
            && self.config.dialect == Dialect::Smtp
            && matches!(code.get(), 500 | 502 | 504)
    }

    /// EHLO is to be said next.
    pub(super) fn begin_hello(&mut self) {
        self.state = State::HelloDue;
    }

    fn hello(&mut self, tx: &mut SendBuffer) {
        self.state = State::Session;
        let name = self.name();
        let command = match self.config.dialect {
            Dialect::Smtp => Command::Ehlo(name),
            Dialect::Lmtp => Command::Lhlo(name),
        };
        self.command(&command, Step::Hello, tx);
    }

    fn name(&self) -> ClientName<'static> {
        ClientName::from(self.config.name.clone())
    }

    /// Writes a command and remembers that its reply is to come.
    pub(super) fn command(&mut self, command: &Command<'_>, step: Step, tx: &mut SendBuffer) {
        command.encode(tx);
        self.expect(step, tx);
    }

    /// Remembers that a reply is to come to what was written last.
    pub(super) fn expect(&mut self, step: Step, tx: &SendBuffer) {
        if self.outstanding.is_empty() {
            self.generation = self.generation.wrapping_add(1);
        }
        self.outstanding.push_back(Outstanding { step, said: CommandMark::new(&self.hearing, tx) });
    }

    /// Remembers that a reply to the same command is to come once what was written last is sent.
    pub(super) fn expect_again(&mut self, tx: &SendBuffer) {
        if let Some(outstanding) = self.outstanding.front_mut() {
            outstanding.said = CommandMark::new(&self.hearing, tx);
        }
    }

    /// Remembers that the replies to a message are to come.
    pub(super) fn expect_message(&mut self, tx: &SendBuffer) {
        match self.config.dialect {
            Dialect::Smtp => {
                self.awaiting_verdict = core::mem::take(&mut self.accepted);
                self.expect(Step::Message(None), tx);
            }
            Dialect::Lmtp => {
                for recipient in core::mem::take(&mut self.accepted) {
                    self.expect(Step::Message(Some(recipient)), tx);
                }
            }
        }
        self.state = State::Session;
    }

    /// Whether it is known how many replies a chunk has: in LMTP the last has one for each accepted recipient
    /// (RFC 2033 §4.3), and of a server that has none some answer once and some not at all.
    pub(super) fn can_count_replies(&self, end: ChunkEnd) -> bool {
        let many = self.config.dialect == Dialect::Lmtp && end == ChunkEnd::Last;
        !many || (self.outstanding.is_empty() && !self.accepted.is_empty())
    }

    /// Whether an extension is offered. REQUIRETLS is worth nothing on cleartext, nor from a server that could be anybody
    /// (RFC 8689 §2).
    pub(super) const fn offers(&self, extension: Extension) -> bool {
        let worth = self.secure && self.verified;
        self.capabilities.contains(extension) && (worth || !matches!(extension, Extension::RequireTls))
    }

    /// Whether all of them are offered.
    pub(super) fn check_offered(&self, needed: ExtensionSet) -> Result<(), Error> {
        let all = needed.iter().all(|extension| self.offers(extension));
        if all { Ok(()) } else { Err(Misuse::NotOffered.into()) }
    }

    /// A transaction begins with MAIL.
    pub(super) fn begin_transaction(&mut self) {
        self.mails = self.mails.saturating_add(1);
        self.recipients = 0;
    }

    /// How many replies are to come.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The command that was given last, if its reply has not come.
    pub(super) fn last_step(&self) -> Option<Step> {
        self.outstanding.back().map(|outstanding| outstanding.step)
    }

    /// The command whose reply is the next to come.
    pub(super) fn next_step(&self) -> Option<Step> {
        self.outstanding.front().map(|outstanding| outstanding.step)
    }

    /// Whether a whole message is sent and the reply to it is to come.
    pub(super) fn message_is_sent(&self, tx: &SendBuffer) -> bool {
        self.outstanding
            .iter()
            .any(|outstanding| matches!(outstanding.step, Step::Message(_)) && outstanding.said.is_sent(tx))
    }

    pub(super) const fn repairs(&self) -> &Repairs {
        &self.framer.repairs
    }

    pub(super) fn wants_read(&self) -> bool {
        !matches!(self.state, State::Closed | State::Failed(_))
    }

    pub(super) fn wait(&self) -> Wait {
        let waits = &self.config.waits;
        if !self.wants_read() {
            return Wait::forever(WaitFor::Nothing, self.generation);
        }
        let (awaited, after) = match self.next_step() {
            None => return Wait::forever(WaitFor::Application, self.generation),
            Some(Step::Greeting) => (WaitFor::Greeting, waits.greeting),
            Some(Step::Data) => (WaitFor::Reply, waits.data_start),
            Some(Step::Message(_) | Step::Verdict(_)) => (WaitFor::DataReply, waits.data_end),
            Some(_) => (WaitFor::Reply, waits.reply),
        };
        Wait::new(awaited, after, self.generation)
    }

    pub(super) fn timed_out(&mut self) -> Result<(), Error> {
        match self.state {
            State::Failed(error) => Err(error),
            _ => match self.wait().awaited {
                WaitFor::Application | WaitFor::Nothing => Ok(()),
                awaited => Err(self.fail(proto_mail::Limit::Timeout(awaited).into())),
            },
        }
    }
}

/// Whether this code is the answer to another command alone (RFC 5321 §4.3.2, RFC 4954 §6): a greeting in place of the
/// answer to EHLO means that somebody joined two sessions, or that a reply was lost.
const fn is_of_another(step: Step, code: Code) -> bool {
    match code {
        Code::READY => !matches!(step, Step::Greeting | Step::StartTls | Step::XClient),
        Code::CLOSING => !matches!(step, Step::Quit | Step::Greeting),
        Code::AUTHENTICATED => !matches!(step, Step::Auth | Step::Greeting),
        _ => false,
    }
}
