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

use crate::endpoint::{ask_again, next};
use crate::explore::{Secured, SystemUnderTest, remove_numbers};
use crate::imap_alphabet::{CLIENT_LINES, LINE_ENDINGS, PARTIAL_LINES, READ_AHEAD};
use crate::imap_server_model::{ServerModel, SessionState};

/// The server, its application and everything that was sent.
pub(crate) struct TestServer {
    session: Session,
    rx: RecvBuffer,
    tx: SendBuffer,
    record: Record,
    /// The question that the application must answer.
    question: Option<Question>,
    /// The token of an idling client.
    idle: Option<Reply>,
    /// Whether a token was consumed by a call that was rejected: the session can only be closed.
    token_is_consumed: bool,
    /// A call that the server allowed or rejected although it should not have.
    broken: Option<String>,
    model: ServerModel,
    secured: Secured,
    error_limits: ErrorLimits,
    /// Whether a FETCH response is begun and not finished.
    fetch_is_unfinished: bool,
    /// The number of messages in the selected mailbox.
    messages: u32,
}

/// Whether the number of errors, and of commands before authentication, is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorLimits {
    Unlimited,
    Low,
}

enum Session {
    Cleartext(Server<Cleartext>),
    Secure(Server<Secure>),
    Gone(Error),
}

#[derive(Debug)]
enum Question {
    Reply(Reply, &'static str),
    Offer(LiteralOffer),
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
    /// The application accepts.
    Accept,
    /// The application rejects.
    Reject,
    /// The application fails temporarily; or, for a command, answers BAD.
    FailTemporarily,
    /// The application answers IDLE before the client has sent DONE.
    AnswerIdleEarly,
    /// The application reports that a message was expunged.
    Expunge,
    /// The application begins a FETCH response.
    BeginFetch,
    /// The application ends the FETCH response.
    FinishFetch,
    /// The server shuts down.
    Shutdown,
    /// The wait times out, or a delay ends.
    EndWait,
}

impl TestServer {
    /// Creates a server before the client's first input.
    pub(crate) fn new(error_limits: ErrorLimits) -> Self {
        let mut tx = SendBuffer::new();
        let session = Session::Cleartext(Server::<Cleartext>::new(config(error_limits), &mut tx));
        Self::with(session, tx, Secured::No, error_limits)
    }

    /// Like [`new`](Self::new), under TLS from the start.
    pub(crate) fn secure(error_limits: ErrorLimits) -> Self {
        let mut tx = SendBuffer::new();
        let server = Server::<Secure>::new(config(error_limits), Secure::trusted_local(), &mut tx);
        Self::with(Session::Secure(server), tx, Secured::Before, error_limits)
    }

    fn with(session: Session, tx: SendBuffer, secured: Secured, error_limits: ErrorLimits) -> Self {
        let mut server = Self {
            session,
            rx: RecvBuffer::new(),
            tx,
            record: Record::default(),
            question: None,
            idle: None,
            token_is_consumed: false,
            broken: None,
            model: ServerModel::new(secured != Secured::No),
            secured,
            error_limits,
            fetch_is_unfinished: false,
            messages: 0,
        };
        server.pump();
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
            let (rx, tx, record, idle) = (&mut self.rx, &mut self.tx, &mut self.record, &mut self.idle);
            let taken = match &mut self.session {
                Session::Gone(_) => return,
                Session::Cleartext(server) => server.next_event(rx, tx).map(|event| {
                    event.map(|event| match event {
                        Event::StartTls(request) => {
                            record.event(&request);
                            Some(Question::StartTls(request))
                        }
                        event => record_event(event, idle, record),
                    })
                }),
                Session::Secure(server) => server.next_event(rx, tx).map(|event| {
                    event.map(|event| match event {
                        Event::Auth(request) => {
                            record.event(&request);
                            Some(Question::Auth(request))
                        }
                        event => record_event(event, idle, record),
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
        ask_again(&error, "a NOOP\r\nb LOGIN x x\r\n", buffers, &mut self.record, |rx, tx| {
            match &mut self.session {
                Session::Cleartext(server) => next(server, rx, tx),
                Session::Secure(server) => next(server, rx, tx),
                Session::Gone(_) => Err(error.clone()),
            }
        });
        self.session = Session::Gone(error);
        (self.question, self.idle) = (None, None);
    }

    /// Answers the pending question of the server.
    fn answer_question(&mut self, next: Action) {
        let Some(question) = self.question.take() else { return };
        if next == Action::Accept && matches!(question, Question::Reply(_, "SELECT")) {
            self.messages = 1;
        }
        let (tx, record) = (&mut self.tx, &mut self.record);
        let failed = match (question, &mut self.session) {
            (Question::StartTls(request), _) => return self.starttls(request, next == Action::Accept),
            (Question::Auth(request), Session::Secure(server)) => {
                let verdict = match next {
                    Action::Accept => AuthVerdict::Accept,
                    Action::Reject => AuthVerdict::Reject,
                    _ => AuthVerdict::Unavailable,
                };
                let given = server.answer_auth(request, verdict, tx);
                if given.is_ok() && next == Action::Accept {
                    record.entries.push(Entry::Authenticated);
                }
                given.err()
            }
            (question, Session::Secure(server)) => answer(server, question, next, tx),
            (question, Session::Cleartext(server)) => answer(server, question, next, tx),
            _ => None,
        };
        self.token_is_consumed |= failed.is_some();
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
        match upgrade.and_then(|upgrade| upgrade.complete(Secure::trusted_local(), &mut self.rx)) {
            Ok(server) => {
                self.record.secured(&self.rx);
                self.model = ServerModel::new(true);
                self.session = Session::Secure(server);
                self.secured = Secured::JustNow;
            }
            Err(error) => {
                self.session = Session::Gone(error.clone());
                self.record.entries.push(Entry::Failed(error));
            }
        }
    }

    /// Sends unsolicited data of the application. Checks that the server allows it exactly when it is legal.
    fn send_unasked(&mut self, next: Action) {
        let selecting = matches!(self.question, Some(Question::Reply(_, "SELECT")));
        let has_message = self.session_state() == SessionState::Selected && !selecting && self.messages > 0;
        let quiet = matches!(self.question, Some(Question::Reply(_, "FETCH")));
        let busy = matches!(self.question, Some(Question::Reply(_, name)) if name != "APPEND")
            || self.idle.is_some();
        let fetch_is_unfinished = self.fetch_is_unfinished;
        let allowed = match next {
            Action::Expunge => has_message && !fetch_is_unfinished && !quiet && (busy || self.is_done()),
            Action::BeginFetch => !fetch_is_unfinished && has_message,
            Action::FinishFetch => fetch_is_unfinished,
            _ => false,
        };
        let tx = &mut self.tx;
        let outcome = match (&mut self.session, next) {
            (Session::Gone(_), _) => return,
            (_, Action::AnswerIdleEarly) => {
                let Some(reply) = self.idle.take() else { return };
                let outcome = match &mut self.session {
                    Session::Secure(server) => server.reply(reply, &status(Action::Accept), tx),
                    _ => Ok(()),
                };
                self.token_is_consumed = true;
                outcome
            }
            (Session::Cleartext(server), _) => send_data(server, next, tx),
            (Session::Secure(server), _) => send_data(server, next, tx),
        };
        match (next, &outcome) {
            (Action::Expunge, Ok(())) => self.messages -= 1,
            (Action::BeginFetch, Ok(())) => self.fetch_is_unfinished = true,
            (Action::FinishFetch, Ok(())) => self.fetch_is_unfinished = false,
            _ => {}
        }
        if outcome.is_ok() != allowed {
            self.broken = Some(format!("{next:?}: {outcome:?}"));
        }
    }

    /// Returns whether an idling client has sent DONE and waits for the reply.
    fn is_done(&self) -> bool {
        matches!(self.question, Some(Question::Reply(_, "IDLE")))
    }

    /// Returns the session state that the conversation must have reached.
    fn session_state(&self) -> SessionState {
        self.model.check(false).map_or(SessionState::Over, |outcome| outcome.state)
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

    fn public_state(&self) -> PublicState {
        fn of<C: Channel>(server: &Server<C>, tx: &SendBuffer) -> PublicState {
            let state = server.state();
            PublicState {
                awaits: server.wait().awaited,
                wants_read: server.wants_read(tx),
                closed: server.is_closed(),
                session_state: match () {
                    () if state.is_selected() => SessionState::Selected,
                    () if state.is_authenticated() => SessionState::Authenticated,
                    () if state == proto_imap::State::Logout => SessionState::Over,
                    () => SessionState::NotAuthenticated,
                },
            }
        }
        match &self.session {
            Session::Gone(_) => PublicState {
                awaits: WaitFor::Nothing,
                wants_read: false,
                closed: true,
                session_state: SessionState::Over,
            },
            Session::Cleartext(server) => of(server, &self.tx),
            Session::Secure(server) => of(server, &self.tx),
        }
    }

    /// Describes the machine without what cannot influence it. A comment gives the reason for each part left out.
    fn description(&self) -> String {
        let whole = match &self.session {
            Session::Gone(error) => return format!("{error:?}"),
            Session::Cleartext(server) => format!("{server:?}"),
            Session::Secure(server) => format!("{server:?}"),
        };
        let mut left_out = vec!["token", "serial", "generation"];
        let is_first = whole.contains("commands_before_login: 0");
        if self.error_limits == ErrorLimits::Unlimited {
            // The counts do not matter without a limit. Only the first input can be mistaken for TLS.
            left_out.extend(["errors", "empty_lines", "commands_before_login"]);
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
        let text = remove_numbers(whole, &left_out).replace("\"IMAP4rev2 \"", "\"\"");
        format!("{text} {is_first}")
    }
}

/// The publicly visible state of a machine.
struct PublicState {
    awaits: WaitFor,
    wants_read: bool,
    closed: bool,
    session_state: SessionState,
}

impl SystemUnderTest for TestServer {
    type Action = Action;

    fn actions(&self) -> Vec<Action> {
        let PublicState { awaits, wants_read, closed, .. } = self.public_state();
        // The session after the upgrade is the start of another exploration.
        if closed || self.secured == Secured::JustNow {
            return Vec::new();
        }
        let mut actions = vec![Action::Shutdown];
        if !self.token_is_consumed {
            actions.extend([Action::Expunge, Action::BeginFetch, Action::FinishFetch]);
        }
        match &self.question {
            Some(Question::StartTls(_)) => actions.extend([Action::Accept, Action::Reject]),
            Some(_) => actions.extend([Action::Accept, Action::Reject, Action::FailTemporarily]),
            None => {}
        }
        if self.idle.is_some() {
            actions.push(Action::AnswerIdleEarly);
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
            let peer_input = if wants_read { CLIENT_LINES } else { &CLIENT_LINES[..READ_AHEAD] };
            actions.extend(peer_input.iter().map(|bytes| Action::Receive(bytes)));
        } else if wants_read {
            // Only a line that was begun in this read continues in every way.
            let unread = self.rx.bytes();
            let begun = PARTIAL_LINES.iter().any(|begun| begun.as_bytes() == unread);
            let begun = begun || unread.ends_with(b"}\r\n") && unread.len() < 24;
            let endings = if begun { LINE_ENDINGS } else { &LINE_ENDINGS[..1] };
            actions.extend(endings.iter().map(|bytes| Action::Receive(bytes)));
        }
        actions
    }

    fn perform(&mut self, next: Action) {
        self.secured.note_action();
        if !matches!(next, Action::Receive(_)) {
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
                (self.question, self.idle) = (None, None);
                match &mut self.session {
                    Session::Gone(_) => {}
                    Session::Cleartext(server) => server.shutdown("going down", &mut self.tx),
                    Session::Secure(server) => server.shutdown("going down", &mut self.tx),
                }
            }
            Action::Accept | Action::Reject | Action::FailTemporarily => self.answer_question(next),
            Action::AnswerIdleEarly | Action::Expunge | Action::BeginFetch | Action::FinishFetch => {
                self.send_unasked(next)
            }
        }
        self.pump();
        self.send();
        let PublicState { awaits, wants_read, closed, .. } = self.public_state();
        let owes = self.question.is_some()
            || self.token_is_consumed
            || self.fetch_is_unfinished
            || awaits == WaitFor::Delay;
        self.record.stuck |= !closed && !wants_read && !owes;
        if !closed {
            self.record.held = self.record.held.max(self.rx.len());
        }
    }

    fn state(&self) -> String {
        if let Session::Gone(error) = &self.session {
            return format!("{error:?}");
        }
        if self.public_state().closed {
            return "closed".to_owned();
        }
        let (rx, closed) = (self.rx.bytes().escape_ascii(), self.rx.is_closed());
        let (question, idle) = (self.question.as_ref().map(question_name), self.idle.is_some());
        format!("{} {rx} {closed} {question:?} {idle} {}", self.description(), self.token_is_consumed)
    }

    fn check_invariants(&self) -> Result<usize, String> {
        let PublicState { awaits, closed, session_state, .. } = self.public_state();
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
        let at_rest = awaits == WaitFor::Command && self.question.is_none() && !closed && self.rx.is_empty();
        let outcome = self.model.check(at_rest && !self.rx.is_closed())?;
        if at_rest && outcome.state != session_state {
            return Err(format!(
                "the conversation has reached {:?}, and the server is in {session_state:?}",
                outcome.state
            ));
        }
        let here = self.record.entries.iter().rev().take_while(|entry| **entry != Entry::TlsEstablished);
        let proved = here.into_iter().any(|entry| *entry == Entry::Authenticated);
        if [SessionState::Authenticated, SessionState::Selected].contains(&session_state) && !proved {
            return Err("authenticated without a login on this channel".to_owned());
        }
        if self.secured == Secured::JustNow && !self.rx.is_empty() {
            return Err("cleartext bytes are unread when TLS begins".to_owned());
        }
        Ok(invariants::INVARIANTS + outcome.lines + 4)
    }

    fn state_after_upgrade(&self) -> Option<String> {
        (self.secured == Secured::JustNow).then(|| self.state())
    }
}

/// Returns the kind of the question, without the token's number.
fn question_name(question: &Question) -> String {
    match question {
        Question::Reply(_, name) => (*name).to_owned(),
        Question::Offer(_) => "offer".to_owned(),
        Question::Auth(request) => format!("{:?} {:?}", request.mechanism(), request.question()),
        Question::StartTls(_) => "STARTTLS".to_owned(),
    }
}

/// Records an event. Returns what the application must decide.
fn record_event<C: Channel>(
    event: Event<'_, C>,
    idle: &mut Option<Reply>,
    record: &mut Record,
) -> Option<Question> {
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
            Some(Question::Reply(reply, name))
        }
        Event::Append { offer, .. } => {
            record.entries.push(Entry::RequiresAuth("APPEND"));
            Some(Question::Offer(offer))
        }
        Event::AppendEnd(reply) => Some(Question::Reply(reply, "APPEND")),
        Event::Idle(reply) => {
            record.entries.push(Entry::RequiresAuth("IDLE"));
            *idle = Some(reply);
            None
        }
        Event::Done => idle.take().map(|reply| Question::Reply(reply, "IDLE")),
        _ => None,
    }
}

fn answer<C: Channel>(
    server: &mut Server<C>,
    question: Question,
    next: Action,
    tx: &mut SendBuffer,
) -> Option<Error> {
    match question {
        Question::Reply(reply, name) => {
            if name == "SELECT" {
                let _ = server.data(&Untagged::Exists(1), tx);
            }
            server.reply(reply, &status(next), tx).err()
        }
        Question::Offer(offer) if next == Action::Accept => server.accept_literal(offer, tx).err(),
        Question::Offer(offer) => server.reject_literal(offer, &status(next), tx).err(),
        Question::Auth(_) | Question::StartTls(_) => None,
    }
}

fn send_data<C: Channel>(server: &mut Server<C>, next: Action, tx: &mut SendBuffer) -> Result<(), Error> {
    match next {
        Action::Expunge => server.data(&Untagged::Expunge(1), tx),
        Action::BeginFetch => server.fetch(1, tx).map(|writer| writer.stream_body(Section::TEXT, None, 1)),
        _ => {
            server.write_body(Bytes::from_static(b"x"), tx)?;
            server.resume_fetch(tx)?.finish()
        }
    }
}

fn status(next: Action) -> StatusResponse<'static> {
    let condition = match next {
        Action::Accept => Condition::Ok,
        Action::Reject => Condition::No,
        _ => Condition::Bad,
    };
    StatusResponse::new(condition, Text::first_line("x"))
}

fn config(error_limits: ErrorLimits) -> Arc<Config> {
    let mut limits = Limits::default();
    (limits.auth_attempts, limits.message, limits.literal) = (2, 8, 4);
    (limits.line, limits.frame) = (60, 100);
    (limits.errors, limits.commands_before_auth) = match error_limits {
        ErrorLimits::Unlimited => (u32::MAX, u32::MAX),
        ErrorLimits::Low => (2, 2),
    };
    let mechanisms = [Mechanism::Plain].into_iter().collect();
    Arc::new(Config::default().limits(limits).offered_mechanisms(mechanisms).enableable(["IMAP4rev2"]))
}
