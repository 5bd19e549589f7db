//! What a response means to the client: the state it leaves, what is learnt from it, and how much of it the
//! application may see (RFC 9051 §7, §11.3).

use proto_mail::{Error, Limit, PeerError, RecvBuffer, SendBuffer};

use super::auth::Authentication;
use super::capabilities::Capabilities;
use super::core::{Core, Deferred, Knowledge, Phase};
use super::event::Event;
use super::queue::{CommandId, Floor, Job};
use crate::parse::{self, Context};
use crate::state::{Access, Effect, Outcome, State};
use crate::types::{
    Condition, NameEncoding, PlainCode, Response, ResponseCode, StatusResponse, Text, Untagged,
};

impl Core {
    /// Deals with a response of which the application sees nothing, or nothing that borrows it.
    pub(super) fn is_silent(
        &mut self,
        len: usize,
        rx: &RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<bool, Error> {
        let bytes = rx.bytes().get(..len).unwrap_or_default();
        if self.awaits_greeting() {
            return Ok(false);
        }
        if bytes.first() == Some(&b'+') {
            self.continuation(bytes, tx)?;
            return Ok(true);
        }
        if self.knowledge == Knowledge::Asked && self.gather(bytes)? {
            return Ok(true);
        }
        let tag = bytes.split(|octet| *octet == b' ').next().unwrap_or_default();
        if !self.is_withheld() && self.queue.job(tag) != Some(Job::Capability) {
            return Ok(bytes.first() == Some(&b'*') && self.is_unheard(bytes));
        }
        match parse::response(bytes, &Context::new(self.config.reading)) {
            Response::Tagged { tag, status } => {
                let (id, job) = self.completion(tag.as_bytes(), &status, tx)?;
                if job != Job::Capability {
                    self.deferred.push_front(Deferred::Completed(id, status.condition));
                }
                Ok(true)
            }
            Response::Continue(_) => Err(PeerError::UnexpectedContinuation.into()),
            _ => Ok(self.is_unheard(bytes)),
        }
    }

    /// Keeps what a CAPABILITY response says while the machine's own question is open: some servers answer in more than
    /// one line, and nothing can be built on a part of them.
    fn gather(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let context = Context::new(self.config.reading);
        let Response::Untagged(Untagged::Capability(list)) = parse::response(bytes, &context) else {
            return Ok(false);
        };
        let capabilities = self.capabilities.get_or_insert_default();
        if capabilities.len() + bytes.len() > self.config.limits.frame {
            return Err(Limit::Frame.into());
        }
        capabilities.add(&list);
        Ok(true)
    }

    /// The server asks to go on.
    fn continuation(&mut self, bytes: &[u8], tx: &mut SendBuffer) -> Result<(), Error> {
        self.queue.check_continuation(tx)?;
        match self.queue.floor {
            Floor::Literal(_) => self.queue.continue_literal(tx),
            Floor::AppendOffered(id) => self.begin_payload(id, tx),
            Floor::IdleRequested(id) => {
                self.queue.floor = Floor::Idle(id);
                self.deferred.push_back(Deferred::Idling(id));
            }
            Floor::IdleUnwanted(id) => {
                self.queue.floor = Floor::Idle(id);
                self.done(tx)?;
            }
            Floor::Authenticate(id) => {
                let text = bytes.strip_prefix(b"+").unwrap_or(bytes);
                self.challenge(id, text.trim_ascii(), tx)?;
            }
            Floor::Free | Floor::Append(..) | Floor::Idle(_) | Floor::StartTls(_) => {
                return Err(PeerError::UnexpectedContinuation.into());
            }
        }
        Ok(())
    }

    /// Whether the application sees nothing of an untagged response.
    fn is_unheard(&self, bytes: &[u8]) -> bool {
        let selected = self.is_selecting();
        if selected && !self.is_withheld() {
            return false;
        }
        let authenticated = self.state().is_some_and(State::is_authenticated);
        match parse::response(bytes, &Context::new(self.config.reading)) {
            Response::Untagged(Untagged::Status(StatusResponse {
                condition: Condition::Bye | Condition::PreAuth,
                ..
            }))
            | Response::Untagged(Untagged::Capability(_))
            | Response::Untagged(Untagged::Status(StatusResponse {
                code: Some(ResponseCode::Capability(_)),
                ..
            })) => false,
            _ if self.is_withheld() => true,
            Response::Untagged(data) => match data {
                Untagged::Exists(_)
                | Untagged::Recent(_)
                | Untagged::Expunge(_)
                | Untagged::Fetch(_)
                | Untagged::Flags(_)
                | Untagged::Search(_)
                | Untagged::Sort(_)
                | Untagged::Vanished { .. } => !selected,
                Untagged::Status(_) | Untagged::Id(_) | Untagged::Other { .. } => false,
                _ => !authenticated,
            },
            _ => false,
        }
    }

    /// Whether data of messages make sense now: a mailbox is selected, or is being selected.
    pub(super) fn is_selecting(&self) -> bool {
        self.state().is_some_and(State::is_selected)
            || self.queue.has(|job| matches!(job, Job::Command(Effect::Select(_))))
    }

    /// A response that the application sees.
    pub(super) fn respond<'i>(&mut self, bytes: &'i [u8], tx: &mut SendBuffer) -> Result<Event<'i>, Error> {
        self.context.repairs.begin();
        let response = parse::response(bytes, &self.context);
        if self.awaits_greeting() {
            return self.greeting(response);
        }
        Ok(match response {
            // Only a greeting says that: it is another session's.
            Response::Untagged(Untagged::Status(StatusResponse {
                condition: Condition::PreAuth, ..
            })) => {
                let error = if self.is_withheld() {
                    PeerError::PreauthOnCleartext
                } else {
                    PeerError::UnexpectedReply
                };
                return Err(error.into());
            }
            Response::Untagged(Untagged::Status(status)) => self.status(status, tx),
            Response::Untagged(Untagged::Capability(list)) => {
                self.learn(Capabilities::of(&list));
                Event::Capability
            }
            Response::Untagged(data) => {
                if let Untagged::Enabled(list) = data
                    && (list.has("IMAP4rev2") || list.has("UTF8=ACCEPT"))
                {
                    self.names = NameEncoding::Utf8;
                }
                Event::Data(data)
            }
            Response::Unparsed(unparsed) => Event::Unparsed(unparsed),
            Response::Continue(_) => return Err(PeerError::UnexpectedContinuation.into()),
            Response::Tagged { tag, status } => {
                let (id, job) = self.completion(tag.as_bytes(), &status, tx)?;
                self.completed(id, job, status)
            }
        })
    }

    /// The first response.
    fn greeting<'i>(&mut self, response: Response<'i>) -> Result<Event<'i>, Error> {
        let Response::Untagged(Untagged::Status(status)) = response else {
            return Err(PeerError::InvalidGreeting.into());
        };
        match status.condition {
            Condition::Ok => self.phase = Phase::Session(State::NotAuthenticated),
            Condition::PreAuth if self.is_withheld() => return Err(PeerError::PreauthOnCleartext.into()),
            Condition::PreAuth => self.phase = Phase::Session(State::Authenticated),
            Condition::Bye => {
                self.phase = Phase::Farewell(PeerError::Refused);
                return Ok(Event::Bye(self.shown(status)));
            }
            Condition::No | Condition::Bad => return Err(PeerError::InvalidGreeting.into()),
        }
        if let Some(ResponseCode::Capability(list)) = status.code {
            self.learn(Capabilities::of(&list));
            self.deferred.push_back(Deferred::Capability);
        }
        Ok(Event::Greeting(self.shown(status)))
    }

    /// What the application may see of a status.
    fn shown<'i>(&self, status: StatusResponse<'i>) -> StatusResponse<'i> {
        if self.is_withheld() { StatusResponse::new(status.condition, Text::EMPTY) } else { status }
    }

    fn learn(&mut self, capabilities: Capabilities) {
        self.capabilities = Some(capabilities);
        self.knowledge = Knowledge::Known;
    }

    /// An untagged status.
    fn status<'i>(&mut self, status: StatusResponse<'i>, tx: &SendBuffer) -> Event<'i> {
        if let Some(ResponseCode::Capability(list)) = status.code {
            self.learn(Capabilities::of(&list));
            if self.is_withheld() && status.condition != Condition::Bye {
                return Event::Capability;
            }
            self.deferred.push_back(Deferred::Capability);
        }
        if status.condition == Condition::Bye {
            if !self.queue.leaves(tx) {
                self.phase = Phase::Farewell(PeerError::ServerClosing);
            }
            return Event::Bye(self.shown(status));
        }
        if self.state().is_some_and(State::is_selected)
            && let Some(access) = access(&status)
        {
            self.phase = Phase::Session(State::Selected(access));
        }
        Event::Status(self.shown(status))
    }

    /// A tagged response: whose it is, and what it changes.
    fn completion(
        &mut self,
        tag: &[u8],
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(CommandId, Job), Error> {
        let outcome = match status.condition {
            Condition::Ok => Outcome::Success,
            Condition::No => Outcome::Failure,
            Condition::Bad => Outcome::Refused,
            Condition::PreAuth | Condition::Bye => return Err(PeerError::Malformed.into()),
        };
        let (id, job) = self.queue.complete(tag, outcome, tx)?;
        if job == Job::Authenticate
            && outcome == Outcome::Success
            && !self.authentication.as_ref().is_some_and(Authentication::is_done)
        {
            return Err(PeerError::AuthenticationNotFinished.into());
        }
        self.move_on(job, outcome, status);
        self.queue.leave(id, tx);
        if let Some(ResponseCode::Capability(list)) = status.code
            && job != Job::StartTls
        {
            self.learn(Capabilities::of(&list));
            self.deferred.push_back(Deferred::Capability);
        }
        if job == Job::Capability && self.knowledge == Knowledge::Asked {
            // If it would not tell, there is nothing to build on.
            let gathered = self.capabilities.take().unwrap_or_default();
            self.learn(gathered);
            self.deferred.push_back(Deferred::Capability);
        }
        Ok((id, job))
    }

    /// Moves the state, by the table of [`State::after`].
    fn move_on(&mut self, job: Job, outcome: Outcome, status: &StatusResponse<'_>) {
        let effect = match (job.effect(), access(status)) {
            (Effect::Select(_), Some(access)) => Effect::Select(access),
            (effect, _) => effect,
        };
        if let Phase::Session(state) = self.phase {
            self.phase = Phase::Session(state.after(effect, outcome));
        }
        if effect == Effect::Authenticate && self.knowledge == Knowledge::BeforeAuthentication {
            if outcome == Outcome::Success {
                // What it could do before says nothing of what it can do now (RFC 9051 §6.2).
                self.capabilities = None;
                self.knowledge = Knowledge::Unknown;
            } else {
                self.knowledge = Knowledge::Known;
            }
        }
        if matches!(self.phase, Phase::Session(State::Logout)) {
            self.phase = Phase::Leaving;
        }
    }

    /// The event of a completed command.
    fn completed<'i>(&mut self, id: CommandId, job: Job, status: StatusResponse<'i>) -> Event<'i> {
        match (job, status.condition) {
            (Job::Login | Job::Authenticate, Condition::Ok) => {
                self.authentication = None;
                Event::Authenticated { id, status }
            }
            (Job::Login | Job::Authenticate, condition) => {
                let authentication = self.authentication.take();
                let unheard = authentication.as_ref().is_some_and(Authentication::is_unheard);
                self.initial_refused |= unheard && condition == Condition::Bad;
                let reason = authentication.and_then(|authentication| authentication.failure());
                Event::AuthRejected { id, status, reason }
            }
            _ => Event::Completed { id, status },
        }
    }
}

/// What the server says may be done with the mailbox.
fn access(status: &StatusResponse<'_>) -> Option<Access> {
    match status.code {
        Some(ResponseCode::Plain(PlainCode::ReadOnly)) => Some(Access::ReadOnly),
        Some(ResponseCode::Plain(PlainCode::ReadWrite)) => Some(Access::ReadWrite),
        _ => None,
    }
}
