//! The client's core, which has no channel type: its state, and the meaning of each reply.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use proto_mail::sasl::{ClientExchange, SaslContext, SaslError};
use proto_mail::wait::COMPUTATION_PAUSE;
use proto_mail::{Error, Misuse, PeerError, RecvBuffer, Secret, SendBuffer, Wait, WaitFor, trace};

use super::event::{Kind, Step};
use super::reply_matching::ReplyMatcher;
use crate::capabilities::Capabilities;
use crate::chunking::ChunkEnd;
use crate::command::Command;
use crate::config::{Config, Dialect};
use crate::data::DotStuffer;
use crate::extension::{Extension, ExtensionSet};
use crate::hello::ClientName;
use crate::mail::Mail;
use crate::reply_code::{Code, Severity};
use crate::reply_framer::{Repairs, ReplyFault, ReplyFrame, ReplyFramer};

/// What the client is doing.
#[derive(Debug)]
pub(super) enum State {
    /// EHLO is written as soon as there is a send buffer.
    HelloDue,
    /// Commands may be given, as far as the pending ones allow.
    Session,
    /// SASL messages are exchanged.
    Auth(Authentication),
    /// The message may be written.
    Data(DotStuffer),
    /// A chunk of BDAT may be written.
    Chunk { left: u64, end: ChunkEnd },
    /// The session ended in order.
    Closed,
    /// The session ended with an error.
    Failed(Error),
}

/// An authentication in progress.
#[derive(Debug)]
pub(super) struct Authentication {
    pub(super) exchange: Box<dyn ClientExchange>,
    pub(super) first: FirstMessage,
    /// Why the client has cancelled the exchange, if it has.
    pub(super) cancelled: Option<SaslError>,
}

/// The first SASL message of the client.
#[derive(Debug)]
pub(super) enum FirstMessage {
    /// There is none, or the server has used it.
    Done,
    /// It waits for the server's challenge, because AUTH could not carry it.
    Held(Secret<Vec<u8>>),
    /// AUTH has carried it, and the server has not answered yet.
    Sent(Secret<Vec<u8>>),
}

/// The channel, as far as the core uses it.
#[derive(Debug)]
pub(super) struct ChannelState {
    pub(super) is_secure: bool,
    /// The identity of the server was verified.
    is_verified: bool,
    pub(super) sasl: SaslContext,
}

/// What the server has said in its reply to EHLO.
#[derive(Debug)]
pub(super) enum ServerHello {
    Unknown,
    /// The server does not know EHLO, and HELO was sent.
    HeloSent,
    Known(Capabilities<'static>),
}

/// The mail transactions. With pipelining, the next one is given before the replies of the last one are received.
#[derive(Debug, Default)]
pub(super) struct TransactionState {
    /// The number of MAIL commands given in this session.
    pub(super) mails: u64,
    pub(super) given: GivenTransaction,
    /// MAIL was accepted, and its transaction is not over.
    pub(super) is_open: bool,
    /// The accepted recipients, by number: each has a reply after the message in LMTP, and may have one with PRDR.
    accepted: Vec<usize>,
    /// The recipients that may have a reply of their own after the message that was sent (PRDR).
    pub(super) awaiting_verdict: Vec<usize>,
}

/// The transaction of the last MAIL that was given.
#[derive(Debug, Default)]
pub(super) struct GivenTransaction {
    /// The number of RCPT commands given since MAIL.
    pub(super) recipients: usize,
    pub(super) utf8: bool,
    pub(super) prdr: bool,
}

/// What earlier authentications of this session have shown.
#[derive(Debug, Default)]
pub(super) struct LoginHistory {
    /// What the mechanism says about the last failure.
    pub(super) failure: Option<String>,
    /// The server has rejected AUTH with an initial response as malformed.
    pub(super) initial_response_rejected: bool,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) channel: ChannelState,
    pub(super) state: State,
    pub(super) replies: ReplyMatcher,
    framer: ReplyFramer,
    /// The bytes of the last event, to be consumed before the next.
    borrowed: usize,
    pub(super) hello: ServerHello,
    pub(super) transactions: TransactionState,
    pub(super) logins: LoginHistory,
}

impl Core {
    /// A client on cleartext that expects the greeting.
    pub(super) fn cleartext(config: Arc<Config>) -> Self {
        let channel = ChannelState { is_secure: false, is_verified: false, sasl: SaslContext::cleartext() };
        Self::on(config, channel, State::Session, ReplyMatcher::greeting())
    }

    /// A client under implicit TLS that expects the greeting.
    pub(super) fn secure(config: Arc<Config>, secure: &proto_mail::Secure) -> Self {
        Self::on(config, ChannelState::secure(secure), State::Session, ReplyMatcher::greeting())
    }

    /// A client after STARTTLS: there is no second greeting, and nothing is known about the server.
    pub(super) fn after_starttls(config: Arc<Config>, secure: &proto_mail::Secure) -> Self {
        Self::on(config, ChannelState::secure(secure), State::HelloDue, ReplyMatcher::default())
    }

    fn on(config: Arc<Config>, channel: ChannelState, state: State, replies: ReplyMatcher) -> Self {
        Self {
            config,
            channel,
            state,
            replies,
            framer: ReplyFramer::default(),
            borrowed: 0,
            hello: ServerHello::Unknown,
            transactions: TransactionState::default(),
            logins: LoginHistory::default(),
        }
    }

    /// Returns the next reply that the application must see. Its bytes are at the beginning of `rx`.
    pub(super) fn advance(
        &mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<(Kind, ReplyFrame)>, Error> {
        rx.consume(core::mem::take(&mut self.borrowed));
        self.compute_answer(tx);
        loop {
            if self.is_computing() {
                return Ok(None);
            }
            self.replies.note_received(rx, tx);
            match &self.state {
                State::Failed(error) => return Err(error.clone()),
                State::Closed => return Ok(None),
                State::HelloDue => self.send_hello(tx),
                _ => {}
            }
            let found =
                self.framer.find(rx, &self.config.limits, self.config.bare_newline, self.config.mixed_codes);
            let frame = match found {
                Ok(Some(frame)) => frame,
                Ok(None) => return self.end_of_input(rx),
                Err(fault) => {
                    self.trace_malformed(rx);
                    return Err(self.malformed(fault, rx.bytes()));
                }
            };
            if rx.is_traced() {
                Self::trace_reply(frame, rx);
            }
            self.replies.begin_wait();
            match self.take_reply(frame, rx, tx)? {
                Some(kind) => {
                    self.borrowed = frame.len;
                    return Ok(Some((kind, frame)));
                }
                None => rx.consume(frame.len),
            }
        }
    }

    /// Traces a reply. The text of a challenge belongs to a SASL exchange and is hidden.
    #[cold]
    fn trace_reply(frame: ReplyFrame, rx: &mut RecvBuffer) {
        let bytes = rx.bytes().get(..frame.len).unwrap_or_default();
        if bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"334")) {
            rx.trace_span("334 ".len().min(frame.len), trace::TraceKind::Text);
            rx.trace_span(frame.len.saturating_sub("\r\n".len()), trace::TraceKind::Secret);
        }
        rx.trace_span(frame.len, trace::TraceKind::Text);
    }

    /// Traces bytes that are not a reply, unless they may be a challenge.
    fn trace_malformed(&self, rx: &mut RecvBuffer) {
        let may_be_challenge = matches!(self.state, State::Auth(_));
        let kind = if may_be_challenge { trace::TraceKind::Unknown } else { trace::TraceKind::Text };
        rx.trace_span(rx.len(), kind);
    }

    fn end_of_input(&mut self, rx: &RecvBuffer) -> Result<Option<(Kind, ReplyFrame)>, Error> {
        if !rx.is_closed() {
            return Ok(None);
        }
        let is_in_order = matches!(self.replies.first(), None | Some(Step::Quit))
            && matches!(self.state, State::Session)
            && rx.is_empty();
        if is_in_order {
            self.state = State::Closed;
            return Ok(Some((Kind::ClosedWithoutReply, ReplyFrame { code: Code::CLOSING, len: 0 })));
        }
        Err(self.fail(PeerError::UnexpectedEnd.into()))
    }

    fn malformed(&mut self, fault: ReplyFault, bytes: &[u8]) -> Error {
        let is_greeting = self.replies.first() == Some(Step::Greeting);
        let error = match fault {
            ReplyFault::Limit(limit) => limit.into(),
            // A TLS record: alert or handshake, version 3.x.
            ReplyFault::Peer(_) if is_greeting && matches!(bytes, [0x15 | 0x16, 3, ..]) => {
                PeerError::TlsInCleartext.into()
            }
            ReplyFault::Peer(PeerError::Malformed) if is_greeting => PeerError::InvalidGreeting.into(),
            ReplyFault::Peer(error) => error.into(),
        };
        self.fail(error)
    }

    /// Ends the session with an error.
    pub(super) fn fail(&mut self, error: Error) -> Error {
        self.state = State::Failed(error.clone());
        error
    }

    /// Does what a reply implies. `None`: the application need not see it.
    fn take_reply(
        &mut self,
        frame: ReplyFrame,
        rx: &RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Kind>, Error> {
        let code = frame.code;
        // The server may close the session at any time (RFC 5321 §3.8).
        if code == Code::UNAVAILABLE {
            if self.is_writing(tx) {
                self.stop_writing(tx);
            }
            self.state = State::Closed;
            return Ok(Some(Kind::Closed));
        }
        // Any other reply that does not follow its command was injected, or the connection is out of step.
        let step = match self.replies.matching(tx) {
            Some(step) => step,
            // A rejection in the middle of a message does no harm: the server has received enough of it. No more is sent,
            // and later replies could not be matched: the connection is closed.
            None if code.get() >= 400 && self.is_writing(tx) => {
                self.stop_writing(tx);
                self.state = State::Closed;
                return Ok(Some(Kind::Rejected(Step::Data)));
            }
            None => return Err(self.fail(PeerError::UnexpectedReply.into())),
        };
        if step == Step::Auth && code == Code::CHALLENGE {
            self.challenge(frame, rx.bytes(), tx)?;
            return Ok(None);
        }
        // The replies are out of step. The commands stay pending: the server may have accepted a message.
        if !self.is_reply_to(step, code) {
            return Err(self.fail(PeerError::UnexpectedReply.into()));
        }
        self.replies.pop();
        match (step, code.severity()) {
            (Step::Data, Severity::Intermediate) => {
                self.state = State::Data(DotStuffer::new(self.config.line_endings));
                Ok(Some(Kind::SendData))
            }
            (_, Severity::Intermediate) => {
                self.replies.push_verdicts(core::mem::take(&mut self.transactions.awaiting_verdict));
                Ok(None)
            }
            (step, Severity::Completed) => self.accepted(step, code, frame, rx.bytes()).map(Some),
            (step, Severity::Transient | Severity::Permanent) => Ok(self.rejected(step, code, tx)),
        }
    }

    /// Whether a command can have this reply.
    fn is_reply_to(&self, step: Step, code: Code) -> bool {
        match (step, code.severity()) {
            (Step::Data, Severity::Intermediate) => code == Code::START_DATA,
            (Step::Message(None), Severity::Intermediate) => {
                code == Code::CONTENT_ANALYSIS && !self.transactions.awaiting_verdict.is_empty()
            }
            (_, Severity::Intermediate) | (Step::Data, Severity::Completed) => false,
            (step, Severity::Completed) => !belongs_to_another(step, code),
            (_, Severity::Transient | Severity::Permanent) => true,
        }
    }

    /// Whether a message, or a chunk of one, was begun and its last byte is not sent.
    fn is_writing(&self, tx: &SendBuffer) -> bool {
        match self.replies.first() {
            None => matches!(self.state, State::Data(_) | State::Chunk { .. }),
            Some(Step::Message(_) | Step::Chunk) => !self.replies.is_first_sent(tx),
            Some(_) => false,
        }
    }

    /// Discards the output that waits to be sent, and the replies that it would have had.
    fn stop_writing(&mut self, tx: &mut SendBuffer) {
        tx.discard();
        self.replies.clear();
    }

    /// Does what 2yz implies.
    fn accepted(&mut self, step: Step, code: Code, frame: ReplyFrame, bytes: &[u8]) -> Result<Kind, Error> {
        Ok(match step {
            Step::Greeting if code == Code::READY => {
                self.state = State::HelloDue;
                Kind::Greeting
            }
            Step::Greeting => return Err(self.fail(PeerError::InvalidGreeting.into())),
            Step::Hello => {
                let lines = bytes.get(..frame.len).unwrap_or_default();
                self.hello = ServerHello::Known(match self.hello {
                    ServerHello::HeloSent => Capabilities::default(),
                    _ => Capabilities::parse(lines).into_owned(),
                });
                Kind::Capabilities
            }
            // Only 220 starts TLS (RFC 3207 §4).
            Step::StartTls if code != Code::READY => {
                return Err(self.fail(PeerError::UnexpectedReply.into()));
            }
            // Only 220 restarts the session: after another code its state is unknown.
            Step::XClient if code == Code::READY => {
                self.restart();
                Kind::Accepted(step)
            }
            Step::XClient => return Err(self.fail(PeerError::UnexpectedReply.into())),
            Step::Auth => return self.authenticated(code),
            Step::Quit => {
                self.state = State::Closed;
                Kind::Closed
            }
            Step::Message(recipient) => {
                self.end_transaction();
                Kind::Delivered(recipient)
            }
            // The last transaction is over now, not when the command was given: its last replies came in between.
            Step::Reset | Step::Mail => {
                self.transactions.is_open = step == Step::Mail;
                self.transactions.accepted.clear();
                Kind::Accepted(step)
            }
            Step::Rcpt(recipient) => {
                if self.transactions.given.prdr || self.config.dialect == Dialect::Lmtp {
                    self.transactions.accepted.push(recipient);
                }
                Kind::Accepted(step)
            }
            step => Kind::Accepted(step),
        })
    }

    /// Does what 4yz and 5yz imply.
    fn rejected(&mut self, step: Step, code: Code, tx: &mut SendBuffer) -> Option<Kind> {
        Some(match step {
            Step::Greeting => {
                self.state = State::Closed;
                Kind::Rejected(step)
            }
            // The server does not know EHLO (RFC 5321 §4.1.1.1). HELO offers no TLS: only where TLS is not required.
            Step::Hello if self.may_fall_back(code) => {
                self.hello = ServerHello::HeloSent;
                self.send(&Command::Helo(self.name()), Step::Hello, tx);
                return None;
            }
            Step::Quit => {
                self.state = State::Closed;
                Kind::Closed
            }
            Step::Auth => self.authentication_rejected(code),
            Step::Chunk => {
                // The message is lost, and with it the replies of its end.
                self.transactions.accepted.clear();
                Kind::Rejected(step)
            }
            Step::Message(_) => {
                self.end_transaction();
                Kind::Rejected(step)
            }
            step => Kind::Rejected(step),
        })
    }

    fn end_transaction(&mut self) {
        self.transactions.awaiting_verdict.clear();
        if !matches!(self.replies.first(), Some(Step::Message(_))) {
            self.transactions.is_open = false;
        }
    }

    fn may_fall_back(&self, code: Code) -> bool {
        let is_allowed = self.channel.is_secure || self.config.allows_cleartext();
        is_allowed
            && matches!(self.hello, ServerHello::Unknown)
            && self.config.dialect == Dialect::Smtp
            && matches!(code.get(), 500 | 502 | 504)
    }

    fn send_hello(&mut self, tx: &mut SendBuffer) {
        self.state = State::Session;
        let name = self.name();
        let command = match self.config.dialect {
            Dialect::Smtp => Command::Ehlo(name),
            Dialect::Lmtp => Command::Lhlo(name),
        };
        self.send(&command, Step::Hello, tx);
    }

    fn name(&self) -> ClientName<'static> {
        ClientName::from(self.config.name.clone())
    }

    /// Writes a command, whose reply is pending then.
    pub(super) fn send(&mut self, command: &Command<'_>, step: Step, tx: &mut SendBuffer) {
        command.encode(tx);
        self.replies.push(step, tx);
    }

    /// The end of a message was written: its replies are pending.
    pub(super) fn expect_message_replies(&mut self, tx: &SendBuffer) {
        let accepted = core::mem::take(&mut self.transactions.accepted);
        match self.config.dialect {
            Dialect::Smtp => {
                self.transactions.awaiting_verdict = accepted;
                self.replies.push(Step::Message(None), tx);
            }
            Dialect::Lmtp => {
                accepted
                    .into_iter()
                    .for_each(|recipient| self.replies.push(Step::Message(Some(recipient)), tx));
            }
        }
        self.state = State::Session;
    }

    /// Whether the number of replies to a chunk is known: in LMTP the last chunk has one for each accepted recipient
    /// (RFC 2033 §4.3); if none was accepted, some servers reply once and some not at all.
    pub(super) fn can_count_replies(&self, end: ChunkEnd) -> bool {
        let has_many = self.config.dialect == Dialect::Lmtp && end == ChunkEnd::Last;
        !has_many || (self.replies.is_empty() && !self.transactions.accepted.is_empty())
    }

    /// Returns the capabilities of the server, once they are known.
    pub(super) const fn capabilities(&self) -> Option<&Capabilities<'static>> {
        match &self.hello {
            ServerHello::Known(capabilities) => Some(capabilities),
            ServerHello::Unknown | ServerHello::HeloSent => None,
        }
    }

    /// Whether an extension is offered. REQUIRETLS counts only under TLS and from a verified server (RFC 8689 §2).
    pub(super) fn offers(&self, extension: Extension) -> bool {
        let is_trusted = self.channel.is_secure && self.channel.is_verified;
        self.capabilities().is_some_and(|capabilities| capabilities.contains(extension))
            && (is_trusted || extension != Extension::RequireTls)
    }

    /// Checks that all of the extensions are offered.
    pub(super) fn check_offered(&self, needed: ExtensionSet) -> Result<(), Error> {
        let all = needed.iter().all(|extension| self.offers(extension));
        if all { Ok(()) } else { Err(Misuse::NotOffered.into()) }
    }

    pub(super) const fn repairs(&self) -> &Repairs {
        &self.framer.repairs
    }

    pub(super) fn wants_read(&self) -> bool {
        !self.is_over() && !self.is_computing()
    }

    /// Whether this error ended the session.
    pub(super) fn failed_with(&self, error: &Error) -> bool {
        matches!(&self.state, State::Failed(failed) if failed == error)
    }

    const fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Failed(_))
    }

    pub(super) fn wait(&self) -> Wait {
        let waits = &self.config.waits;
        let generation = self.replies.generation;
        if self.is_over() {
            return Wait::forever(WaitFor::Nothing, generation);
        }
        if self.is_computing() {
            return Wait::new(WaitFor::Delay, COMPUTATION_PAUSE, generation);
        }
        let (awaited, after) = match self.replies.first() {
            None => return Wait::forever(WaitFor::Application, generation),
            Some(Step::Greeting) => (WaitFor::Greeting, waits.greeting),
            Some(Step::Data) => (WaitFor::Reply, waits.data_start),
            Some(Step::Message(_) | Step::Verdict(_)) => (WaitFor::DataReply, waits.data_end),
            Some(_) => (WaitFor::Reply, waits.reply),
        };
        Wait::new(awaited, after, generation)
    }

    pub(super) fn timed_out(&mut self) -> Result<(), Error> {
        match &self.state {
            State::Failed(error) => Err(error.clone()),
            _ => match self.wait().awaited {
                WaitFor::Application | WaitFor::Nothing | WaitFor::Delay => Ok(()),
                awaited => Err(self.fail(proto_mail::Limit::Timeout(awaited).into())),
            },
        }
    }
}

impl ChannelState {
    fn secure(secure: &proto_mail::Secure) -> Self {
        Self { is_secure: true, is_verified: secure.is_verified(), sasl: SaslContext::secure(secure) }
    }
}

impl TransactionState {
    /// MAIL is given.
    pub(super) const fn begin(&mut self, mail: &Mail<'_>) {
        self.mails = self.mails.saturating_add(1);
        self.given = GivenTransaction { recipients: 0, utf8: mail.utf8, prdr: mail.prdr };
    }
}

/// Whether the code belongs to the reply of another command only (RFC 5321 §4.3.2, RFC 4954 §6). A greeting instead of
/// the reply to EHLO means that two sessions were joined, or that a reply was lost.
const fn belongs_to_another(step: Step, code: Code) -> bool {
    match code {
        Code::READY => !matches!(step, Step::Greeting | Step::StartTls | Step::XClient),
        Code::CLOSING => !matches!(step, Step::Quit | Step::Greeting),
        Code::AUTHENTICATED => !matches!(step, Step::Auth | Step::Greeting),
        _ => false,
    }
}
