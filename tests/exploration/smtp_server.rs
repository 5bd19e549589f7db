//! Explores the SMTP server: a client sends anything, and an application answers anything.

use std::sync::Arc;

use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Error, RecvBuffer, Secure, SendBuffer, StartTlsRequest,
    WaitFor,
};
use proto_smtp::server::{Event, Reply, Server};
use proto_smtp::types::{Code, ExtensionSet, Response, Verb};
use proto_smtp::{Config, Dialect};

use mailwire_tests::invariants::{self, Side};
use mailwire_tests::play::{Entry, Record, channel};

use crate::custom_mechanism::CustomServerMechanism;
use crate::endpoint::{ask_again, next};
use crate::explore::{Secured, SystemUnderTest, cap_numbers, describe, remove_numbers};
use crate::smtp_server_model::ServerModel;

/// The server, its application and everything that was sent.
pub(crate) struct TestServer {
    session: Session,
    rx: RecvBuffer,
    tx: SendBuffer,
    record: Record,
    /// The question that the application must answer.
    question: Option<Question>,
    model: ServerModel,
    settings: Settings,
    secured: Secured,
    /// What the client has sent since AUTH. The description of an exchange does not show what it received.
    exchange: Vec<u8>,
}

/// The relevant settings of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// SMTP or LMTP.
    pub(crate) dialect: Dialect,
    /// Whether MAIL requires a login.
    pub(crate) requires_login: bool,
    /// Whether the number of errors, and of commands before authentication, is limited.
    pub(crate) error_limits: ErrorLimits,
}

/// Whether the client's errors are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorLimits {
    Unlimited,
    Low,
}

/// The maximum size of a message in bytes.
const LIMIT: u64 = 8;

enum Session {
    Cleartext(Server<Cleartext>),
    Secure(Server<Secure>),
    Gone(Error),
}

#[derive(Debug)]
enum Question {
    Hello,
    Reply(Reply),
    Auth(AuthRequest),
    StartTls(StartTlsRequest),
}

/// An action of the client or the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The client sends this in one read.
    Receive(&'static str),
    /// The client closes its side.
    Close,
    /// The application accepts, or continues.
    Accept,
    /// The application rejects.
    Reject,
    /// The application fails temporarily; or, for a command, answers 421.
    FailTemporarily,
    /// The application stops offering extensions.
    OfferNothing,
    /// The server shuts down.
    Shutdown,
    /// The wait times out, or a delay ends.
    EndWait,
}

/// What the client may send between two commands, in an exchange and in a message. All of it is tried everywhere.
const CLIENT_LINES: &[&str] = &[
    "EHLO x\r\n",
    "HELO x\r\n",
    "LHLO x\r\n",
    "STARTTLS\r\n",
    // STARTTLS with a whole command, half a command or possible TLS bytes in the same read.
    "STARTTLS\r\nEHLO x\r\n",
    "STARTTLS\r\nM",
    "NOOP\r\nSTARTTLS\r\n",
    "STARTTLS x\r\n",
    "AUTH PLAIN\r\n",
    "AUTH PLAIN AHgAeA==\r\n",
    "AUTH LOGIN\r\n",
    "AUTH XYZZY\r\n",
    "AUTH X-CUSTOM\r\n",
    "AHgAeA==\r\n",
    "*\r\n",
    "MAIL FROM:<x@x.example>\r\n",
    "MAIL FROM:<x@x.example>\r\nRCPT TO:<x@x.example>\r\nDATA\r\n",
    "RCPT TO:<x@x.example>\r\n",
    "DATA\r\n",
    "x\r\n",
    ".\r\n",
    ".\r\nNOOP\r\n",
    // Invalid ends of a message, with a hidden command after them.
    "x\n.\nMAIL FROM:<y@x.example>\r\n",
    "x\n.\r\nRSET\r\n",
    "x\r.\r\nRSET\r\n",
    "BDAT 2\r\nx\n",
    "BDAT 2 LAST\r\n",
    "BDAT 8\r\nQUIT\r\n",
    "BDAT x\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "NOOP\nNOOP\r\n",
    "VRFY x\r\n",
    "EXPN x\r\n",
    "QUIT\r\n",
    "XYZZY\r\n",
    "NO",
    "GET / HTTP/1.1\r\n",
    "\u{16}\u{3}\u{1}",
    "NOOP with words that go on and on until the line is longer than it may be\r\n",
];

/// Input that counts towards a limit, and input that may end the counting.
const COUNTED: &[&str] = &[
    "EHLO x\r\n",
    "STARTTLS\r\n",
    "AUTH PLAIN\r\n",
    "AUTH PLAIN AHgAeA==\r\n",
    "AHgAeA==\r\n",
    "*\r\n",
    "MAIL FROM:<x@x.example>\r\nRCPT TO:<x@x.example>\r\nDATA\r\n",
    ".\r\n",
    "BDAT 2\r\nx\n",
    "NOOP\r\n",
    "NOOP\nNOOP\r\n",
    "XYZZY\r\n",
    "NO",
];

/// How a begun line may continue.
const LINE_ENDINGS: &[&str] = &["\r\n", "\r", "\n", "OP\r\n", "\r\n.\r\n"];

impl TestServer {
    /// Creates a server before the client's first input.
    pub(crate) fn new(settings: Settings) -> Self {
        let mut tx = SendBuffer::new();
        let session = Session::Cleartext(Server::<Cleartext>::new(config(settings), &mut tx));
        Self::with(session, tx, Secured::No, settings)
    }

    /// Like [`new`](Self::new), under TLS from the start.
    pub(crate) fn secure(settings: Settings) -> Self {
        let mut tx = SendBuffer::new();
        let session = Session::Secure(Server::<Secure>::new(config(settings), channel(), &mut tx));
        Self::with(session, tx, Secured::Before, settings)
    }

    fn with(session: Session, tx: SendBuffer, secured: Secured, settings: Settings) -> Self {
        let mut server = Self {
            session,
            rx: RecvBuffer::new(),
            tx,
            record: Record::default(),
            question: None,
            model: ServerModel::greeted(settings.dialect),
            settings,
            secured,
            exchange: Vec::new(),
        };
        server.send();
        server
    }

    /// Sends all output.
    fn send(&mut self) {
        for chunk in self.tx.chunks() {
            self.model.server_sent(chunk.bytes);
        }
        self.record.send(&mut self.tx);
    }

    /// Takes every event, until one needs an answer.
    fn pump(&mut self) {
        while self.question.is_none() {
            let taken = match &mut self.session {
                Session::Gone(_) => return,
                Session::Cleartext(server) => server.next_event(&mut self.rx, &mut self.tx).map(|event| {
                    event.map(|event| match event {
                        Event::StartTls(request) => {
                            self.record.event(&request);
                            Some(Question::StartTls(request))
                        }
                        event => record_event(event, self.settings, &mut self.record),
                    })
                }),
                Session::Secure(server) => server.next_event(&mut self.rx, &mut self.tx).map(|event| {
                    event.map(|event| match event {
                        Event::Auth(request) => {
                            self.record.event(&request);
                            Some(Question::Auth(request))
                        }
                        event => record_event(event, self.settings, &mut self.record),
                    })
                }),
            };
            match taken {
                Ok(Some(question)) => self.question = question,
                Ok(None) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Handles an error: calls the server again, also with more input. The outcome goes to the record.
    fn fail(&mut self, error: Error) {
        self.send();
        let buffers = (&mut self.rx, &mut self.tx);
        ask_again(&error, "EHLO x\r\nMAIL FROM:<x@x.example>\r\n", buffers, &mut self.record, |rx, tx| {
            match &mut self.session {
                Session::Cleartext(server) => next(server, rx, tx),
                Session::Secure(server) => next(server, rx, tx),
                Session::Gone(_) => Err(error.clone()),
            }
        });
        self.session = Session::Gone(error);
        self.question = None;
    }

    /// Answers the pending question of the server.
    fn answer_question(&mut self, next: Action) {
        let (tx, record) = (&mut self.tx, &mut self.record);
        match (self.question.take(), &mut self.session) {
            (Some(Question::StartTls(request)), _) => self.starttls(request, next == Action::Accept),
            (Some(Question::Auth(request)), Session::Secure(server)) => {
                let verdict = match next {
                    Action::Accept => AuthVerdict::Accept,
                    Action::Reject => AuthVerdict::Reject,
                    _ => AuthVerdict::Unavailable,
                };
                let accepts = next == Action::Accept;
                if record.tried("verdict", tx, |tx| server.answer_auth(request, verdict, tx)).is_some()
                    && accepts
                {
                    record.entries.push(Entry::Authenticated);
                }
            }
            (Some(Question::Reply(reply)), Session::Secure(server)) => {
                answer(server, reply, next, self.settings, tx, record)
            }
            (Some(Question::Reply(reply)), Session::Cleartext(server)) => {
                answer(server, reply, next, self.settings, tx, record)
            }
            (Some(Question::Hello), Session::Secure(server)) => answer_hello(server, next, tx, record),
            (Some(Question::Hello), Session::Cleartext(server)) => answer_hello(server, next, tx, record),
            _ => {}
        }
    }

    fn starttls(&mut self, request: StartTlsRequest, yes: bool) {
        let over = Session::Gone(proto_mail::Misuse::Closed.into());
        let mut server = match std::mem::replace(&mut self.session, over) {
            Session::Cleartext(server) => server,
            other => {
                self.session = other;
                return;
            }
        };
        if !yes {
            self.record.tried("refuse", &mut self.tx, |tx| server.refuse_starttls(request, tx));
            self.session = Session::Cleartext(server);
            return;
        }
        let upgrade = server.accept_starttls(request, &mut self.tx);
        // The pending output is the last in cleartext.
        self.send();
        if self.rx.is_closed() {
            // There is no peer for a handshake.
            return;
        }
        match upgrade.and_then(|upgrade| upgrade.complete(channel(), &mut self.rx)) {
            Ok(server) => {
                self.record.secured(&self.rx);
                self.model = ServerModel::under_tls(self.settings.dialect);
                self.session = Session::Secure(server);
                self.secured = Secured::JustNow;
            }
            Err(error) => {
                self.session = Session::Gone(error.clone());
                self.record.entries.push(Entry::Failed(error));
            }
        }
    }

    /// Returns whether an application has accepted a login on this channel.
    fn has_logged_in(&self) -> bool {
        let here = self.record.entries.iter().rev();
        let mut here =
            here.take_while(|entry| !matches!(entry, Entry::TlsEstablished | Entry::IdentityReset));
        here.any(|entry| *entry == Entry::Authenticated)
    }

    fn time_out(&mut self) {
        let timed_out = match &mut self.session {
            Session::Gone(_) => Ok(()),
            Session::Cleartext(server) => server.timed_out(&mut self.tx),
            Session::Secure(server) => server.timed_out(&mut self.tx),
        };
        if let Err(error) = timed_out {
            self.fail(error);
        }
    }

    /// Returns what the server waits for, whether it wants input, whether it is closed, and whether the client is
    /// authenticated.
    fn public_state(&self) -> (WaitFor, bool, bool, bool) {
        fn of<C: Channel>(server: &Server<C>, tx: &SendBuffer) -> (WaitFor, bool, bool, bool) {
            (server.wait().awaited, server.wants_read(tx), server.is_closed(), server.is_authenticated())
        }
        match &self.session {
            Session::Gone(_) => (WaitFor::Nothing, false, true, false),
            Session::Cleartext(server) => of(server, &self.tx),
            Session::Secure(server) => of(server, &self.tx),
        }
    }

    /// Describes the machine without what cannot influence it. A comment gives the reason for each part left out.
    fn description(&self) -> String {
        let mut left_out = vec!["serial", "generation", "greeting_end", "idle_commands"];
        if self.settings.error_limits == ErrorLimits::Unlimited {
            // The counts do not matter without a limit.
            left_out.extend(["errors", "commands_before_login"]);
        }
        let whole = match &self.session {
            Session::Gone(error) => return format!("{error:?}"),
            Session::Cleartext(server) => describe(server, &left_out),
            Session::Secure(server) => describe(server, &left_out),
        };
        if whole.contains("authenticated: true") {
            // An authenticated client cannot fail to log in any more, and its commands are not counted.
            left_out.extend(["failed_logins", "commands_before_login"]);
        }
        if whole.contains("state: SkipLine") {
            // A line would have to be a million bytes long.
            left_out.push("left");
        }
        // By how much a message is too large does not matter. The number of MAIL commands matters only up to its limit.
        cap_numbers(cap_numbers(remove_numbers(whole, &left_out), "size", LIMIT + 1), "mails", 0)
    }
}

impl SystemUnderTest for TestServer {
    type Action = Action;

    fn actions(&self) -> Vec<Action> {
        let (awaits, wants_read, closed, _) = self.public_state();
        // The session after the upgrade is the start of another exploration.
        if closed || self.secured == Secured::JustNow {
            return Vec::new();
        }
        let mut actions = vec![Action::Shutdown];
        match &self.question {
            Some(Question::Hello) => actions.extend([
                Action::Accept,
                Action::Reject,
                Action::FailTemporarily,
                Action::OfferNothing,
            ]),
            Some(Question::StartTls(_)) => actions.extend([Action::Accept, Action::Reject]),
            Some(_) => actions.extend([Action::Accept, Action::Reject, Action::FailTemporarily]),
            None => {}
        }
        if awaits != WaitFor::Application {
            actions.push(Action::EndWait);
        }
        if self.rx.is_closed() {
            return actions;
        }
        actions.push(Action::Close);
        if self.rx.is_empty() {
            // The driver may already have read this when the machine stopped reading.
            let all = if self.settings.error_limits == ErrorLimits::Low { COUNTED } else { CLIENT_LINES };
            let peer_input = if wants_read { all } else { &all[..4] };
            actions.extend(peer_input.iter().map(|bytes| Action::Receive(bytes)));
        } else if wants_read {
            // A begun line ends. A line of less than 4 bytes may also continue in other ways.
            let endings = if self.rx.len() < 4 { LINE_ENDINGS } else { &LINE_ENDINGS[..1] };
            actions.extend(endings.iter().map(|bytes| Action::Receive(bytes)));
        }
        actions
    }

    fn perform(&mut self, next: Action) {
        self.secured.note_action();
        if matches!(next, Action::Close | Action::EndWait | Action::Shutdown) {
            // What follows is caused by this action and not by earlier input.
            self.record.heard(0);
        }
        match next {
            Action::Receive(bytes) => {
                self.rx.extend(bytes.as_bytes());
                self.model.client_sent(bytes.as_bytes());
                self.record.heard(bytes.bytes().filter(|&byte| byte == b'\n').count());
            }
            Action::Close => self.rx.close(),
            Action::EndWait => self.time_out(),
            Action::Shutdown => {
                self.question = None;
                match &mut self.session {
                    Session::Gone(_) => {}
                    Session::Cleartext(server) => server.shutdown("The server is going down", &mut self.tx),
                    Session::Secure(server) => server.shutdown("The server is going down", &mut self.tx),
                }
            }
            Action::Accept | Action::Reject | Action::FailTemporarily | Action::OfferNothing => {
                self.answer_question(next)
            }
        }
        self.pump();
        self.send();
        let (awaits, wants_read, closed, authenticated) = self.public_state();
        match next {
            // The server waits for the rest of a line only in an exchange or while it discards a line.
            _ if awaits != WaitFor::Remainder && !matches!(self.question, Some(Question::Auth(_))) => {
                self.exchange.clear()
            }
            Action::Receive(bytes) => self.exchange.extend(bytes.as_bytes()),
            _ => {}
        }
        if self.exchange.is_empty() && !authenticated && !closed && self.has_logged_in() {
            // That exchange has ended without success.
            self.record.entries.push(Entry::IdentityReset);
        }
        self.record.stuck |= !closed && !wants_read && self.question.is_none() && awaits != WaitFor::Delay;
        if !closed {
            self.record.held = self.record.held.max(self.rx.len());
        }
    }

    fn state(&self) -> String {
        if let Session::Gone(error) = &self.session {
            return format!("{error:?}");
        }
        if self.public_state().2 {
            return "closed".to_owned();
        }
        let rx = self.rx.bytes().escape_ascii();
        let (closed, question) = (self.rx.is_closed(), self.question.as_ref().map(question_name));
        let (machine, reading) = (self.description(), self.model.reading());
        // Discarded bytes are not reported.
        let exchange = if machine.contains("state: SkipLine") { &[] } else { self.exchange.as_slice() };
        let (exchange, proved) = (exchange.escape_ascii(), self.has_logged_in());
        format!("{machine} {rx} {closed} {question:?} {exchange} {proved} {reading}")
    }

    fn check_invariants(&self) -> Result<usize, String> {
        let (awaits, _, closed, authenticated) = self.public_state();
        let terms = invariants::Terms {
            side: Side::SmtpServer,
            // A server that has just been upgraded is not explored further.
            secure: self.secured == Secured::Before,
            danger: false,
            may_hold: 128,
            may_put_out: 4096,
        };
        invariants::check(&self.record, &terms)?;
        let at_rest = awaits == WaitFor::Command && !closed && self.rx.is_empty();
        let answers = self.model.check(at_rest)?;
        if authenticated && !self.has_logged_in() {
            return Err("authenticated without a login on this channel".to_owned());
        }
        if self.secured == Secured::JustNow && !self.rx.is_empty() {
            return Err("cleartext bytes are unread when TLS begins".to_owned());
        }
        Ok(invariants::INVARIANTS + answers + 2)
    }

    fn state_after_upgrade(&self) -> Option<String> {
        (self.secured == Secured::JustNow).then(|| self.state())
    }
}

/// Returns the kind of the question, without the token's number.
fn question_name(question: &Question) -> String {
    match question {
        Question::Hello => "EHLO".to_owned(),
        Question::Reply(reply) => format!("{:?}", reply.verb()),
        Question::Auth(request) => format!("{:?} {:?}", request.mechanism(), request.question()),
        Question::StartTls(_) => "STARTTLS".to_owned(),
    }
}

/// Records an event. Returns what the application must decide.
fn record_event<C: Channel>(
    event: Event<'_, C>,
    settings: Settings,
    record: &mut Record,
) -> Option<Question> {
    if let Event::DataChunk(bytes) = event {
        record.piece(&bytes);
        return None;
    }
    record.event(&event);
    match event {
        Event::Hello(..) => Some(Question::Hello),
        Event::Mail(_, reply) => {
            if settings.requires_login {
                record.entries.push(Entry::RequiresAuth("MAIL"));
            }
            Some(Question::Reply(reply))
        }
        Event::Rcpt(_, reply)
        | Event::Data(reply)
        | Event::DataEnd(reply)
        | Event::Vrfy(_, reply)
        | Event::Expn(_, reply) => Some(Question::Reply(reply)),
        _ => None,
    }
}

fn answer<C: Channel>(
    server: &mut Server<C>,
    reply: Reply,
    next: Action,
    settings: Settings,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    let response = match next {
        Action::Accept if matches!(reply.verb(), Verb::Data | Verb::Bdat) => Response::start_data(),
        Action::Accept => Response::ok(),
        Action::Reject => Response::no_such_mailbox(),
        _ => Response::new(Code::UNAVAILABLE, "not now"),
    };
    if reply.verb() == Verb::Rcpt && next == Action::Accept && settings.dialect == Dialect::Lmtp {
        record.entries.push(Entry::OwesReplies(1));
    }
    record.tried("reply", tx, |tx| server.reply(reply, &response, tx));
}

fn answer_hello<C: Channel>(server: &mut Server<C>, next: Action, tx: &mut SendBuffer, record: &mut Record) {
    let refusal = match next {
        Action::OfferNothing => return server.offer(ExtensionSet::NONE),
        Action::Reject => Response::no_such_mailbox(),
        Action::FailTemporarily => Response::new(Code::UNAVAILABLE, "not now"),
        _ => return,
    };
    record.tried("refuse", tx, |tx| server.refuse_hello(&refusal, tx));
}

fn config(settings: Settings) -> Config {
    let mut limits = proto_mail::Limits::default();
    (limits.auth_attempts, limits.message, limits.recipients) = (2, LIMIT, 1);
    (limits.errors, limits.commands_before_auth) = match settings.error_limits {
        ErrorLimits::Unlimited => (u32::MAX, u32::MAX),
        ErrorLimits::Low => (2, 4),
    };
    let mut config = Config::default()
        .limits(limits)
        .dialect(settings.dialect)
        .with_mechanism(Arc::new(CustomServerMechanism));
    config.max_command_line = 60;
    if settings.requires_login { config } else { config.optional_authentication() }
}
