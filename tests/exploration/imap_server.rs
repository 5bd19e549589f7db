//! Explores the IMAP server: a client sends anything, and an application answers anything.

use bytes::Bytes;
use proto_imap::Config;
use proto_imap::server::{Event, LiteralOffer, Reply, Server};
use proto_imap::types::{Command, Condition, Section, StatusResponse, Text, Untagged};
use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Error, Limits, Mechanism, Misuse, RecvBuffer, Secure,
    SendBuffer, StartTlsRequest, Upgrade, WaitFor,
};
use std::sync::Arc;

use mailwire_tests::invariants::{self, Side};
use mailwire_tests::play::{Entry, Record};

use crate::end::{ask_again, next};
use crate::explore::{Secured, World, without};
use crate::imap_alphabet::{AHEAD, BEGUN, CLIENT_LINES, ENDINGS};
use crate::imap_server_model::{Conversation, Standing};

/// The server, its application and everything that was sent.
pub(crate) struct TestServer {
    session: Session,
    rx: RecvBuffer,
    tx: SendBuffer,
    record: Record,
    /// What the application must decide.
    open: Option<Open>,
    /// The token of an idling client.
    idle: Option<Reply>,
    /// Whether a token was consumed by a call that was rejected: the session can only be closed.
    spent: bool,
    /// A call that was wrongly allowed or wrongly rejected.
    broken: Option<String>,
    conversation: Conversation,
    secured: Secured,
    bounds: Bounds,
    /// Whether a FETCH response is half written.
    writing: bool,
    /// The number of messages in the selected mailbox.
    messages: u32,
}

/// Whether the number of errors, and of commands before authentication, is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bounds {
    None,
    Few,
}

enum Session {
    Cleartext(Server<Cleartext>),
    Secure(Server<Secure>),
    Gone(Error),
}

#[derive(Debug)]
enum Open {
    Reply(Reply, &'static str),
    Offer(LiteralOffer),
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
    /// The application accepts.
    Yes,
    /// The application rejects.
    No,
    /// The application fails temporarily; or, for a command, answers BAD.
    NotNow,
    /// The application answers IDLE before the client has sent DONE.
    Early,
    /// The application reports that a message was expunged.
    Expunge,
    /// The application begins a FETCH response.
    Half,
    /// The application ends the FETCH response.
    Whole,
    /// The server shuts down.
    GoDown,
    /// The wait times out, or a delay ends.
    Tick,
}

impl TestServer {
    /// Creates a server before the client's first input.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let mut tx = SendBuffer::new();
        let session = Session::Cleartext(Server::<Cleartext>::new(config(bounds), &mut tx));
        Self::with(session, tx, Secured::No, bounds)
    }

    /// Like [`new`](Self::new), under TLS from the start.
    pub(crate) fn secure(bounds: Bounds) -> Self {
        let mut tx = SendBuffer::new();
        let server = Server::<Secure>::new(config(bounds), Secure::trusted_local(), &mut tx);
        Self::with(Session::Secure(server), tx, Secured::Before, bounds)
    }

    fn with(session: Session, tx: SendBuffer, secured: Secured, bounds: Bounds) -> Self {
        let mut serving = Self {
            session,
            rx: RecvBuffer::new(),
            tx,
            record: Record::default(),
            open: None,
            idle: None,
            spent: false,
            broken: None,
            conversation: Conversation::new(secured != Secured::No),
            secured,
            bounds,
            writing: false,
            messages: 0,
        };
        serving.pump();
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
            let (rx, tx, record, idle) = (&mut self.rx, &mut self.tx, &mut self.record, &mut self.idle);
            let went_on = match &mut self.session {
                Session::Gone(_) => return,
                Session::Cleartext(server) => server.next_event(rx, tx).map(|event| {
                    event.map(|event| match event {
                        Event::StartTls(request) => {
                            record.event(&request);
                            Some(Open::StartTls(request))
                        }
                        event => seen(event, idle, record),
                    })
                }),
                Session::Secure(server) => server.next_event(rx, tx).map(|event| {
                    event.map(|event| match event {
                        Event::Auth(request) => {
                            record.event(&request);
                            Some(Open::Auth(request))
                        }
                        event => seen(event, idle, record),
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
        ask_again(error, "a NOOP\r\nb LOGIN x x\r\n", buffers, &mut self.record, |rx, tx| {
            match &mut self.session {
                Session::Cleartext(server) => next(server, rx, tx),
                Session::Secure(server) => next(server, rx, tx),
                Session::Gone(_) => Err(error),
            }
        });
        self.session = Session::Gone(error);
        (self.open, self.idle) = (None, None);
    }

    /// The application answers the pending question.
    fn decide(&mut self, next: Move) {
        let Some(open) = self.open.take() else { return };
        if next == Move::Yes && matches!(open, Open::Reply(_, "SELECT")) {
            self.messages = 1;
        }
        let (tx, record) = (&mut self.tx, &mut self.record);
        let failed = match (open, &mut self.session) {
            (Open::StartTls(request), _) => return self.starttls(request, next == Move::Yes),
            (Open::Auth(request), Session::Secure(server)) => {
                let verdict = match next {
                    Move::Yes => AuthVerdict::Accept,
                    Move::No => AuthVerdict::Reject,
                    _ => AuthVerdict::Unavailable,
                };
                let given = server.answer_auth(request, verdict, tx);
                if given.is_ok() && next == Move::Yes {
                    record.entries.push(Entry::Authenticated);
                }
                given.err()
            }
            (open, Session::Secure(server)) => answer(server, open, next, tx),
            (open, Session::Cleartext(server)) => answer(server, open, next, tx),
            _ => None,
        };
        self.spent |= failed.is_some();
    }

    fn starttls(&mut self, request: StartTlsRequest, yes: bool) {
        let over = Session::Gone(Misuse::Closed.into());
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
        match upgrade.and_then(|upgrade| upgrade.complete(Secure::trusted_local(), &mut self.rx)) {
            Ok(server) => {
                self.record.secured(&self.rx);
                self.conversation = Conversation::new(true);
                self.session = Session::Secure(server);
                self.secured = Secured::JustNow;
            }
            Err(error) => {
                self.session = Session::Gone(error);
                self.record.entries.push(Entry::Failed(error));
            }
        }
    }

    /// The application sends unsolicited data. Checks whether the server rightly allowed or rejected it.
    fn tell(&mut self, next: Move) {
        let selecting = matches!(self.open, Some(Open::Reply(_, "SELECT")));
        let has_message = self.standing() == Standing::Selected && !selecting && self.messages > 0;
        let quiet = matches!(self.open, Some(Open::Reply(_, "FETCH")));
        let busy = matches!(self.open, Some(Open::Reply(_, name)) if name != "APPEND") || self.idle.is_some();
        let writing = self.writing;
        let allowed = match next {
            Move::Expunge => has_message && !writing && !quiet && (busy || self.is_done()),
            Move::Half => !writing && has_message,
            Move::Whole => writing,
            _ => false,
        };
        let tx = &mut self.tx;
        let told = match (&mut self.session, next) {
            (Session::Gone(_), _) => return,
            (_, Move::Early) => {
                let Some(reply) = self.idle.take() else { return };
                let told = match &mut self.session {
                    Session::Secure(server) => server.reply(reply, &status(Move::Yes), tx),
                    _ => Ok(()),
                };
                self.spent = true;
                told
            }
            (Session::Cleartext(server), _) => unasked(server, next, tx),
            (Session::Secure(server), _) => unasked(server, next, tx),
        };
        match (next, &told) {
            (Move::Expunge, Ok(())) => self.messages -= 1,
            (Move::Half, Ok(())) => self.writing = true,
            (Move::Whole, Ok(())) => self.writing = false,
            _ => {}
        }
        if told.is_ok() != allowed {
            self.broken = Some(format!("{next:?} came to {told:?}"));
        }
    }

    /// Returns whether an idling client has sent DONE and waits for the reply.
    fn is_done(&self) -> bool {
        matches!(self.open, Some(Open::Reply(_, "IDLE")))
    }

    /// Returns the session state that the conversation must have reached.
    fn standing(&self) -> Standing {
        self.conversation.check(false).map_or(Standing::Over, |outcome| outcome.state)
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

    fn outside(&self) -> Outside {
        fn of<C: Channel>(server: &Server<C>, tx: &SendBuffer) -> Outside {
            let state = server.state();
            Outside {
                awaits: server.wait().awaited,
                wants_read: server.wants_read(tx),
                closed: server.is_closed(),
                standing: match () {
                    () if state.is_selected() => Standing::Selected,
                    () if state.is_authenticated() => Standing::Authenticated,
                    () if state == proto_imap::State::Logout => Standing::Over,
                    () => Standing::NotAuthenticated,
                },
            }
        }
        match &self.session {
            Session::Gone(_) => Outside {
                awaits: WaitFor::Nothing,
                wants_read: false,
                closed: true,
                standing: Standing::Over,
            },
            Session::Cleartext(server) => of(server, &self.tx),
            Session::Secure(server) => of(server, &self.tx),
        }
    }

    /// Describes the machine without what cannot matter. A comment gives the reason for each part left out.
    fn description(&self) -> String {
        let whole = match &self.session {
            Session::Gone(error) => return format!("{error:?}"),
            Session::Cleartext(server) => format!("{server:?}"),
            Session::Secure(server) => format!("{server:?}"),
        };
        let mut left_out = vec!["token", "serial", "generation"];
        let is_first = whole.contains("commands: 0");
        if self.bounds == Bounds::None {
            // The counts do not matter without a limit. Only the first input can be mistaken for TLS.
            left_out.extend(["errors", "empty_lines", "commands"]);
        }
        if whole.contains("turn: Command") {
            // The tag of an answered command does not matter: the next command brings its own.
            left_out.push("tag_len");
        }
        if !whole.contains("state: NotAuthenticated") {
            // An authenticated client cannot fail to log in any more.
            left_out.push("auth_failures");
        }
        // Only ENABLE and applications read what is enabled.
        let text = without(whole, &left_out).replace("\"IMAP4rev2 \"", "\"\"");
        format!("{text} {is_first}")
    }
}

/// The publicly visible state of a machine.
struct Outside {
    awaits: WaitFor,
    wants_read: bool,
    closed: bool,
    standing: Standing,
}

impl World for TestServer {
    type Move = Move;

    fn moves(&self) -> Vec<Move> {
        let Outside { awaits, wants_read, closed, .. } = self.outside();
        // The session after the upgrade is the start of another exploration.
        if closed || self.secured == Secured::JustNow {
            return Vec::new();
        }
        let mut moves = vec![Move::GoDown];
        if !self.spent {
            moves.extend([Move::Expunge, Move::Half, Move::Whole]);
        }
        match &self.open {
            Some(Open::StartTls(_)) => moves.extend([Move::Yes, Move::No]),
            Some(_) => moves.extend([Move::Yes, Move::No, Move::NotNow]),
            None => {}
        }
        if self.idle.is_some() {
            moves.push(Move::Early);
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
            let sayings = if wants_read { CLIENT_LINES } else { &CLIENT_LINES[..AHEAD] };
            moves.extend(sayings.iter().map(|bytes| Move::Hear(bytes)));
        } else if wants_read {
            // Only a line that was begun in this read continues in every way.
            let unread = self.rx.bytes();
            let begun = BEGUN.iter().any(|begun| begun.as_bytes() == unread);
            let begun = begun || unread.ends_with(b"}\r\n") && unread.len() < 24;
            let endings = if begun { ENDINGS } else { &ENDINGS[..1] };
            moves.extend(endings.iter().map(|bytes| Move::Hear(bytes)));
        }
        moves
    }

    fn make(&mut self, next: Move) {
        self.secured.pass();
        if !matches!(next, Move::Hear(_)) {
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
                (self.open, self.idle) = (None, None);
                match &mut self.session {
                    Session::Gone(_) => {}
                    Session::Cleartext(server) => server.shutdown("going down", &mut self.tx),
                    Session::Secure(server) => server.shutdown("going down", &mut self.tx),
                }
            }
            Move::Yes | Move::No | Move::NotNow => self.decide(next),
            Move::Early | Move::Expunge | Move::Half | Move::Whole => self.tell(next),
        }
        self.pump();
        self.send();
        let Outside { awaits, wants_read, closed, .. } = self.outside();
        let owes = self.open.is_some() || self.spent || self.writing || awaits == WaitFor::Delay;
        self.record.stuck |= !closed && !wants_read && !owes;
        if !closed {
            self.record.held = self.record.held.max(self.rx.len());
        }
    }

    fn state(&self) -> String {
        if let Session::Gone(error) = &self.session {
            return format!("{error:?}");
        }
        if self.outside().closed {
            return "closed".to_owned();
        }
        let (rx, closed) = (self.rx.bytes().escape_ascii(), self.rx.is_closed());
        let (open, idle) = (self.open.as_ref().map(open_name), self.idle.is_some());
        format!("{} {rx} {closed} {open:?} {idle} {}", self.description(), self.spent)
    }

    fn judge(&self) -> Result<usize, String> {
        let Outside { awaits, closed, standing, .. } = self.outside();
        let terms = invariants::Terms {
            side: Side::ImapServer,
            secure: false,
            danger: false,
            may_hold: 128,
            may_put_out: 1024,
        };
        invariants::check(&self.record, &terms)?;
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let at_rest = awaits == WaitFor::Command && self.open.is_none() && !closed && self.rx.is_empty();
        let outcome = self.conversation.check(at_rest && !self.rx.is_closed())?;
        if at_rest && outcome.state != standing {
            return Err(format!("{:?} is what was said, and {standing:?} what is", outcome.state));
        }
        let here = self.record.entries.iter().rev().take_while(|entry| **entry != Entry::TlsEstablished);
        let proved = here.into_iter().any(|entry| *entry == Entry::Authenticated);
        if [Standing::Authenticated, Standing::Selected].contains(&standing) && !proved {
            return Err("authenticated without a proof on this channel".to_owned());
        }
        if self.secured == Secured::JustNow && !self.rx.is_empty() {
            return Err("bytes of cleartext lie under TLS".to_owned());
        }
        Ok(invariants::INVARIANTS + outcome.lines + 4)
    }

    fn behind_the_gate(&self) -> Option<String> {
        (self.secured == Secured::JustNow).then(|| self.state())
    }
}

/// Returns the kind of the question, without the token's number.
fn open_name(open: &Open) -> String {
    match open {
        Open::Reply(_, name) => (*name).to_owned(),
        Open::Offer(_) => "offer".to_owned(),
        Open::Auth(request) => format!("{:?} {:?}", request.mechanism(), request.question()),
        Open::StartTls(_) => "STARTTLS".to_owned(),
    }
}

/// Records an event. Returns what the application must decide.
fn seen<C: Channel>(event: Event<'_, C>, idle: &mut Option<Reply>, record: &mut Record) -> Option<Open> {
    if let Event::AppendChunk(bytes) = event {
        record.piece(bytes);
        return None;
    }
    record.event(&event);
    match event {
        Event::Command(command, reply) => {
            let name = match command {
                Command::Noop => "NOOP",
                Command::Fetch(_) => "FETCH",
                Command::Select(_) | Command::Examine(_) => "SELECT",
                _ => "another",
            };
            if name != "NOOP" {
                record.entries.push(Entry::RequiresAuth("a command"));
            }
            Some(Open::Reply(reply, name))
        }
        Event::Append { offer, .. } => {
            record.entries.push(Entry::RequiresAuth("APPEND"));
            Some(Open::Offer(offer))
        }
        Event::AppendEnd(reply) => Some(Open::Reply(reply, "APPEND")),
        Event::Idle(reply) => {
            record.entries.push(Entry::RequiresAuth("IDLE"));
            *idle = Some(reply);
            None
        }
        Event::Done => idle.take().map(|reply| Open::Reply(reply, "IDLE")),
        _ => None,
    }
}

fn answer<C: Channel>(server: &mut Server<C>, open: Open, next: Move, tx: &mut SendBuffer) -> Option<Error> {
    match open {
        Open::Reply(reply, name) => {
            if name == "SELECT" {
                let _ = server.data(&Untagged::Exists(1), tx);
            }
            server.reply(reply, &status(next), tx).err()
        }
        Open::Offer(offer) if next == Move::Yes => server.accept_literal(offer, tx).err(),
        Open::Offer(offer) => server.reject_literal(offer, &status(next), tx).err(),
        Open::Auth(_) | Open::StartTls(_) => None,
    }
}

fn unasked<C: Channel>(server: &mut Server<C>, next: Move, tx: &mut SendBuffer) -> Result<(), Error> {
    match next {
        Move::Expunge => server.data(&Untagged::Expunge(1), tx),
        Move::Half => server.fetch(1, tx).map(|writer| writer.stream_body(Section::TEXT, None, 1)),
        _ => {
            server.write_body(Bytes::from_static(b"x"), tx)?;
            server.resume_fetch(tx)?.finish()
        }
    }
}

fn status(next: Move) -> StatusResponse<'static> {
    let condition = match next {
        Move::Yes => Condition::Ok,
        Move::No => Condition::No,
        _ => Condition::Bad,
    };
    StatusResponse::new(condition, Text::first_line("x"))
}

fn config(bounds: Bounds) -> Arc<Config> {
    let mut limits = Limits::default();
    (limits.auth_attempts, limits.message, limits.literal) = (2, 8, 4);
    (limits.line, limits.frame) = (60, 100);
    (limits.errors, limits.commands_before_auth) = match bounds {
        Bounds::None => (u32::MAX, u32::MAX),
        Bounds::Few => (2, 2),
    };
    let mechanisms = [Mechanism::Plain].into_iter().collect();
    Arc::new(Config::default().limits(limits).offered_mechanisms(mechanisms).enableable(["IMAP4rev2"]))
}
