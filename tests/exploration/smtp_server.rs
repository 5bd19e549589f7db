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
use crate::end::{ask_again, next};
use crate::explore::{Secured, World, capped, described, without};
use crate::smtp_server_model::Conversation;

/// The server, its application and everything that was sent.
pub(crate) struct TestServer {
    session: Session,
    rx: RecvBuffer,
    tx: SendBuffer,
    record: Record,
    /// What the application must decide.
    open: Option<Open>,
    conversation: Conversation,
    terms: Terms,
    secured: Secured,
    /// What the client has sent since AUTH. The description of an exchange does not show what it received.
    exchange: Vec<u8>,
}

/// The relevant settings of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// SMTP or LMTP.
    pub(crate) dialect: Dialect,
    /// Whether MAIL requires a login.
    pub(crate) needs_proof: bool,
    /// Whether the number of errors, and of commands before authentication, is limited.
    pub(crate) bounds: Bounds,
}

/// Whether the client's errors are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bounds {
    None,
    Few,
}

/// The maximum size of a message in bytes.
const LIMIT: u64 = 8;

enum Session {
    Cleartext(Server<Cleartext>),
    Secure(Server<Secure>),
    Gone(Error),
}

#[derive(Debug)]
enum Open {
    Hello,
    Reply(Reply),
    Auth(AuthRequest),
    StartTls(StartTlsRequest),
}

/// An action of the client or the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// The client sends this in one read.
    Hear(&'static str),
    /// The client closes its side.
    Close,
    /// The application accepts, or continues.
    Yes,
    /// The application rejects.
    No,
    /// The application fails temporarily; or, for a command, answers 421.
    NotNow,
    /// The application stops offering extensions.
    OfferNothing,
    /// The server shuts down.
    GoDown,
    /// The wait times out, or a delay ends.
    Tick,
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
const ENDINGS: &[&str] = &["\r\n", "\r", "\n", "OP\r\n", "\r\n.\r\n"];

impl TestServer {
    /// Creates a server before the client's first input.
    pub(crate) fn new(terms: Terms) -> Self {
        let mut tx = SendBuffer::new();
        let session = Session::Cleartext(Server::<Cleartext>::new(config(terms), &mut tx));
        Self::with(session, tx, Secured::No, terms)
    }

    /// Like [`new`](Self::new), under TLS from the start.
    pub(crate) fn secure(terms: Terms) -> Self {
        let mut tx = SendBuffer::new();
        let session = Session::Secure(Server::<Secure>::new(config(terms), channel(), &mut tx));
        Self::with(session, tx, Secured::Before, terms)
    }

    fn with(session: Session, tx: SendBuffer, secured: Secured, terms: Terms) -> Self {
        let mut serving = Self {
            session,
            rx: RecvBuffer::new(),
            tx,
            record: Record::default(),
            open: None,
            conversation: Conversation::greeted(terms.dialect),
            terms,
            secured,
            exchange: Vec::new(),
        };
        serving.send();
        serving
    }

    /// Sends all output.
    fn send(&mut self) {
        for chunk in self.tx.chunks() {
            self.conversation.say(chunk.bytes);
        }
        self.record.send(&mut self.tx);
    }

    /// Takes every event up to one that needs an answer.
    fn pump(&mut self) {
        while self.open.is_none() {
            let went_on = match &mut self.session {
                Session::Gone(_) => return,
                Session::Cleartext(server) => server.next_event(&mut self.rx, &mut self.tx).map(|event| {
                    event.map(|event| match event {
                        Event::StartTls(request) => {
                            self.record.event(&request);
                            Some(Open::StartTls(request))
                        }
                        event => seen(event, self.terms, &mut self.record),
                    })
                }),
                Session::Secure(server) => server.next_event(&mut self.rx, &mut self.tx).map(|event| {
                    event.map(|event| match event {
                        Event::Auth(request) => {
                            self.record.event(&request);
                            Some(Open::Auth(request))
                        }
                        event => seen(event, self.terms, &mut self.record),
                    })
                }),
            };
            match went_on {
                Ok(Some(open)) => self.open = open,
                Ok(None) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Handles an error: calls the server again, also with more input. The outcome goes to the record.
    fn fail(&mut self, error: Error) {
        self.send();
        let buffers = (&mut self.rx, &mut self.tx);
        ask_again(error, "EHLO x\r\nMAIL FROM:<x@x.example>\r\n", buffers, &mut self.record, |rx, tx| {
            match &mut self.session {
                Session::Cleartext(server) => next(server, rx, tx),
                Session::Secure(server) => next(server, rx, tx),
                Session::Gone(_) => Err(error),
            }
        });
        self.session = Session::Gone(error);
        self.open = None;
    }

    /// The application answers the pending question.
    fn decide(&mut self, next: Move) {
        let (tx, record) = (&mut self.tx, &mut self.record);
        match (self.open.take(), &mut self.session) {
            (Some(Open::StartTls(request)), _) => self.starttls(request, next == Move::Yes),
            (Some(Open::Auth(request)), Session::Secure(server)) => {
                let verdict = match next {
                    Move::Yes => AuthVerdict::Accept,
                    Move::No => AuthVerdict::Reject,
                    _ => AuthVerdict::Unavailable,
                };
                let proves = next == Move::Yes;
                if record.tried("verdict", tx, |tx| server.answer_auth(request, verdict, tx)).is_some()
                    && proves
                {
                    record.entries.push(Entry::Authenticated);
                }
            }
            (Some(Open::Reply(reply)), Session::Secure(server)) => {
                answer(server, reply, next, self.terms, tx, record)
            }
            (Some(Open::Reply(reply)), Session::Cleartext(server)) => {
                answer(server, reply, next, self.terms, tx, record)
            }
            (Some(Open::Hello), Session::Secure(server)) => welcome(server, next, tx, record),
            (Some(Open::Hello), Session::Cleartext(server)) => welcome(server, next, tx, record),
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
            self.record.tried("refuse", &mut self.tx, |tx| server.refuse(request, tx));
            self.session = Session::Cleartext(server);
            return;
        }
        let upgrade = server.accept(request, &mut self.tx);
        // The pending output is the last in cleartext.
        self.send();
        if self.rx.is_closed() {
            // There is no peer for a handshake.
            return;
        }
        match upgrade.and_then(|upgrade| upgrade.complete(channel(), &mut self.rx)) {
            Ok(server) => {
                self.record.secured(&self.rx);
                self.conversation = Conversation::under_tls(self.terms.dialect);
                self.session = Session::Secure(server);
                self.secured = Secured::JustNow;
            }
            Err(error) => {
                self.session = Session::Gone(error);
                self.record.entries.push(Entry::Failed(error));
            }
        }
    }

    /// Returns whether an application has accepted a login on this channel.
    fn is_proved(&self) -> bool {
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
    fn outside(&self) -> (WaitFor, bool, bool, bool) {
        fn of<C: Channel>(server: &Server<C>, tx: &SendBuffer) -> (WaitFor, bool, bool, bool) {
            (server.wait().awaited, server.wants_read(tx), server.is_closed(), server.is_authenticated())
        }
        match &self.session {
            Session::Gone(_) => (WaitFor::Nothing, false, true, false),
            Session::Cleartext(server) => of(server, &self.tx),
            Session::Secure(server) => of(server, &self.tx),
        }
    }

    /// Describes the machine without what cannot matter. A comment gives the reason for each part left out.
    fn description(&self) -> String {
        let mut left_out = vec!["serial", "generation", "greeting_end", "idle_commands"];
        if self.terms.bounds == Bounds::None {
            // The counts do not matter without a limit.
            left_out.extend(["errors", "commands_before_login"]);
        }
        let whole = match &self.session {
            Session::Gone(error) => return format!("{error:?}"),
            Session::Cleartext(server) => described(server, &left_out),
            Session::Secure(server) => described(server, &left_out),
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
        capped(capped(without(whole, &left_out), "size", LIMIT + 1), "mails", 0)
    }
}

impl World for TestServer {
    type Move = Move;

    fn moves(&self) -> Vec<Move> {
        let (awaits, wants_read, closed, _) = self.outside();
        // The session after the upgrade is the start of another exploration.
        if closed || self.secured == Secured::JustNow {
            return Vec::new();
        }
        let mut moves = vec![Move::GoDown];
        match &self.open {
            Some(Open::Hello) => moves.extend([Move::Yes, Move::No, Move::NotNow, Move::OfferNothing]),
            Some(Open::StartTls(_)) => moves.extend([Move::Yes, Move::No]),
            Some(_) => moves.extend([Move::Yes, Move::No, Move::NotNow]),
            None => {}
        }
        if awaits != WaitFor::Application {
            moves.push(Move::Tick);
        }
        if self.rx.is_closed() {
            return moves;
        }
        moves.push(Move::Close);
        if self.rx.is_empty() {
            // The driver may already have read this when the machine stopped reading.
            let all = if self.terms.bounds == Bounds::Few { COUNTED } else { CLIENT_LINES };
            let sayings = if wants_read { all } else { &all[..4] };
            moves.extend(sayings.iter().map(|bytes| Move::Hear(bytes)));
        } else if wants_read {
            // A begun line ends. A line of less than 4 bytes may also continue in other ways.
            let endings = if self.rx.len() < 4 { ENDINGS } else { &ENDINGS[..1] };
            moves.extend(endings.iter().map(|bytes| Move::Hear(bytes)));
        }
        moves
    }

    fn make(&mut self, next: Move) {
        self.secured.pass();
        if matches!(next, Move::Close | Move::Tick | Move::GoDown) {
            // What follows is caused by this action and not by earlier input.
            self.record.heard(0);
        }
        match next {
            Move::Hear(bytes) => {
                self.rx.extend(bytes.as_bytes());
                self.conversation.hear(bytes.as_bytes());
                self.record.heard(bytes.bytes().filter(|&byte| byte == b'\n').count());
            }
            Move::Close => self.rx.close(),
            Move::Tick => self.time_out(),
            Move::GoDown => {
                self.open = None;
                match &mut self.session {
                    Session::Gone(_) => {}
                    Session::Cleartext(server) => server.shutdown("The server is going down", &mut self.tx),
                    Session::Secure(server) => server.shutdown("The server is going down", &mut self.tx),
                }
            }
            Move::Yes | Move::No | Move::NotNow | Move::OfferNothing => self.decide(next),
        }
        self.pump();
        self.send();
        let (awaits, wants_read, closed, authenticated) = self.outside();
        match next {
            // The server waits for the rest of a line only in an exchange or while it discards a line.
            _ if awaits != WaitFor::Remainder && !matches!(self.open, Some(Open::Auth(_))) => {
                self.exchange.clear()
            }
            Move::Hear(bytes) => self.exchange.extend(bytes.as_bytes()),
            _ => {}
        }
        if self.exchange.is_empty() && !authenticated && !closed && self.is_proved() {
            // That exchange has ended without success.
            self.record.entries.push(Entry::IdentityReset);
        }
        self.record.stuck |= !closed && !wants_read && self.open.is_none() && awaits != WaitFor::Delay;
        if !closed {
            self.record.held = self.record.held.max(self.rx.len());
        }
    }

    fn state(&self) -> String {
        if let Session::Gone(error) = &self.session {
            return format!("{error:?}");
        }
        if self.outside().2 {
            return "closed".to_owned();
        }
        let rx = self.rx.bytes().escape_ascii();
        let (closed, open) = (self.rx.is_closed(), self.open.as_ref().map(open_name));
        let (machine, reading) = (self.description(), self.conversation.reading());
        // Discarded bytes are not reported.
        let exchange = if machine.contains("state: SkipLine") { &[] } else { self.exchange.as_slice() };
        let (exchange, proved) = (exchange.escape_ascii(), self.is_proved());
        format!("{machine} {rx} {closed} {open:?} {exchange} {proved} {reading}")
    }

    fn judge(&self) -> Result<usize, String> {
        let (awaits, _, closed, authenticated) = self.outside();
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
        let answers = self.conversation.check(at_rest)?;
        if authenticated && !self.is_proved() {
            return Err("authenticated without a proof on this channel".to_owned());
        }
        if self.secured == Secured::JustNow && !self.rx.is_empty() {
            return Err("bytes of cleartext lie under TLS".to_owned());
        }
        Ok(invariants::INVARIANTS + answers + 2)
    }

    fn behind_the_gate(&self) -> Option<String> {
        (self.secured == Secured::JustNow).then(|| self.state())
    }
}

/// Returns the kind of the question, without the token's number.
fn open_name(open: &Open) -> String {
    match open {
        Open::Hello => "EHLO".to_owned(),
        Open::Reply(reply) => format!("{:?}", reply.verb()),
        Open::Auth(request) => format!("{:?} {:?}", request.mechanism(), request.question()),
        Open::StartTls(_) => "STARTTLS".to_owned(),
    }
}

/// Records an event. Returns what the application must decide.
fn seen<C: Channel>(event: Event<'_, C>, terms: Terms, record: &mut Record) -> Option<Open> {
    if let Event::DataChunk(bytes) = event {
        record.piece(&bytes);
        return None;
    }
    record.event(&event);
    match event {
        Event::Hello(..) => Some(Open::Hello),
        Event::Mail(_, reply) => {
            if terms.needs_proof {
                record.entries.push(Entry::RequiresAuth("MAIL"));
            }
            Some(Open::Reply(reply))
        }
        Event::Rcpt(_, reply)
        | Event::Data(reply)
        | Event::DataEnd(reply)
        | Event::Vrfy(_, reply)
        | Event::Expn(_, reply) => Some(Open::Reply(reply)),
        _ => None,
    }
}

fn answer<C: Channel>(
    server: &mut Server<C>,
    reply: Reply,
    next: Move,
    terms: Terms,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    let response = match next {
        Move::Yes if matches!(reply.verb(), Verb::Data | Verb::Bdat) => Response::start_data(),
        Move::Yes => Response::ok(),
        Move::No => Response::no_such_mailbox(),
        _ => Response::new(Code::UNAVAILABLE, "not now"),
    };
    if reply.verb() == Verb::Rcpt && next == Move::Yes && terms.dialect == Dialect::Lmtp {
        record.entries.push(Entry::OwesReplies(1));
    }
    record.tried("reply", tx, |tx| server.reply(reply, &response, tx));
}

fn welcome<C: Channel>(server: &mut Server<C>, next: Move, tx: &mut SendBuffer, record: &mut Record) {
    let refusal = match next {
        Move::OfferNothing => return server.offer(ExtensionSet::NONE),
        Move::No => Response::no_such_mailbox(),
        Move::NotNow => Response::new(Code::UNAVAILABLE, "not now"),
        _ => return,
    };
    record.tried("refuse", tx, |tx| server.refuse_hello(&refusal, tx));
}

fn config(terms: Terms) -> Config {
    let mut limits = proto_mail::Limits::default();
    (limits.auth_attempts, limits.message, limits.recipients) = (2, LIMIT, 1);
    (limits.errors, limits.commands_before_auth) = match terms.bounds {
        Bounds::None => (u32::MAX, u32::MAX),
        Bounds::Few => (2, 4),
    };
    let mut config = Config::default()
        .limits(limits)
        .dialect(terms.dialect)
        .with_mechanism(Arc::new(CustomServerMechanism));
    config.max_command_line = 60;
    if terms.needs_proof { config.require_authentication() } else { config }
}
