//! Handles responses: the state changes, the information kept, and how much of each response the application sees
//! (RFC 9051 §7, §11.3).

use alloc::boxed::Box;

use proto_mail::{Error, Limit, PeerError, RecvBuffer, RejectionKind, SendBuffer};

use super::authentication::Authentication;
use super::capabilities::{Capabilities, EnabledCapabilities, KnownCapabilities};
use super::command_id::CommandId;
use super::compression::Compression;
use super::event::{AuthOutcome, Event};
use super::outgoing::{ActiveCommand, CommandKind};
use super::session::{Numbering, PendingEvent, Phase, Session};
use crate::parse::{self, Context};
use crate::state::{Access, Effect, Outcome, State};
use crate::types::{
    CapabilityList, Condition, NameEncoding, PlainCode, Response, ResponseCode, StatusResponse, Text,
    Untagged,
};

/// A command that was completed.
struct Completion {
    id: CommandId,
    kind: CommandKind,
    /// The command's SASL exchange, if it was AUTHENTICATE.
    authentication: Option<Box<Authentication>>,
}

impl Session {
    /// Handles a response that the application does not see, or whose event does not borrow it. Returns false for any
    /// other response.
    pub(super) fn handle_silently(
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
        if self.capabilities.is_requested() && self.collect_capabilities(bytes)? {
            return Ok(true);
        }
        if !self.hides_untrusted_data() {
            if bytes.first() == Some(&b'*') {
                return Ok(self.is_hidden(bytes));
            }
            let tag = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
            if self.commands.replies.kind_of(tag) != Some(CommandKind::Capability) {
                return Ok(false);
            }
        }
        match parse::response(bytes, &Context::new(self.config.reading)) {
            Response::Tagged { tag, status } => {
                let Completion { id, kind, .. } = self.completion(tag.as_bytes(), &status, tx)?;
                if kind != CommandKind::Capability {
                    self.pending.push_front(PendingEvent::Completed(id, status.condition));
                }
                Ok(true)
            }
            Response::Continue(_) => Err(PeerError::UnexpectedContinuation.into()),
            _ => Ok(self.is_hidden(bytes)),
        }
    }

    /// Stores the capabilities of a CAPABILITY response while the machine's own request is unanswered. Some servers
    /// answer in several lines, and the application must not act on a part of them.
    fn collect_capabilities(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let context = Context::new(self.config.reading);
        let Response::Untagged(Untagged::Capability(list)) = parse::response(bytes, &context) else {
            return Ok(false);
        };
        let capabilities = self.capabilities.requested_mut();
        if capabilities.byte_len() + bytes.len() > self.config.limits.frame {
            return Err(Limit::Frame.into());
        }
        capabilities.add(&list, &self.config);
        Ok(true)
    }

    /// Handles a continuation request for the active command.
    fn continuation(&mut self, bytes: &[u8], tx: &mut SendBuffer) -> Result<(), Error> {
        self.commands.replies.check_continuation(tx)?;
        match self.commands.active {
            ActiveCommand::Literal(_) => self.commands.continue_command(tx),
            ActiveCommand::AppendOffered(..) => self.begin_payload(tx),
            ActiveCommand::IdleRequested(id) => {
                self.commands.active = ActiveCommand::Idle(id);
                self.pending.push_back(PendingEvent::Idling(id));
            }
            ActiveCommand::IdleCancelled(id) => {
                self.commands.active = ActiveCommand::Idle(id);
                self.done(tx)?;
            }
            ActiveCommand::Authenticate(..) => {
                let text = bytes.strip_prefix(b"+").unwrap_or(bytes);
                self.challenge(text.trim_ascii(), tx)?;
            }
            ActiveCommand::None
            | ActiveCommand::AppendPayload(_)
            | ActiveCommand::Idle(_)
            | ActiveCommand::Compress(_)
            | ActiveCommand::StartTls(_) => return Err(PeerError::UnexpectedContinuation.into()),
        }
        Ok(())
    }

    /// Returns whether an untagged response is hidden from the application.
    fn is_hidden(&self, bytes: &[u8]) -> bool {
        let selected = self.expects_message_data();
        if selected && !self.hides_untrusted_data() {
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
            _ if self.hides_untrusted_data() => true,
            Response::Untagged(data) => match data {
                Untagged::Exists(_)
                | Untagged::Recent(_)
                | Untagged::Expunge(_)
                | Untagged::Fetch(_)
                | Untagged::UidFetch { .. }
                | Untagged::Flags(_)
                | Untagged::Search(_)
                | Untagged::Sort(_)
                | Untagged::Thread(_)
                | Untagged::Vanished { .. } => !selected,
                Untagged::Status(_) | Untagged::Id(_) | Untagged::Other { .. } => false,
                _ => !authenticated,
            },
            _ => false,
        }
    }

    /// Returns whether data about messages can arrive now: a mailbox is selected, or is being selected.
    pub(super) fn expects_message_data(&self) -> bool {
        self.state().is_some_and(State::is_selected)
            || self.commands.replies.effects().any(|effect| matches!(effect, Effect::Select(_)))
    }

    /// Handles a response that the application sees.
    pub(super) fn respond<'i>(&mut self, bytes: &'i [u8], tx: &mut SendBuffer) -> Result<Event<'i>, Error> {
        self.context.repairs.begin();
        let response = parse::response(bytes, &self.context);
        if self.awaits_greeting() {
            return self.greeting(response);
        }
        Ok(match response {
            // PREAUTH is valid only as a greeting. This response belongs to another session.
            Response::Untagged(Untagged::Status(StatusResponse {
                condition: Condition::PreAuth, ..
            })) => {
                let error = if self.hides_untrusted_data() {
                    PeerError::PreauthOnCleartext
                } else {
                    PeerError::UnexpectedReply
                };
                return Err(error.into());
            }
            Response::Untagged(Untagged::Status(status)) => self.untagged_status(status, tx),
            Response::Untagged(Untagged::Capability(list)) => {
                self.capabilities.set(Capabilities::from_list(&list, &self.config));
                Event::Capabilities
            }
            Response::Untagged(data) => {
                if let Untagged::Enabled(list) = &data {
                    self.note_enabled(list);
                }
                Event::Data(data)
            }
            Response::Unparsed(unparsed) => Event::Unparsed(unparsed),
            Response::Continue(_) => return Err(PeerError::UnexpectedContinuation.into()),
            Response::Tagged { tag, status } => {
                let completion = self.completion(tag.as_bytes(), &status, tx)?;
                self.completion_event(completion, status)
            }
        })
    }

    fn note_enabled(&mut self, list: &CapabilityList<'_>) {
        self.enabled.add(list);
        if list.has("UIDONLY") {
            self.numbering = Numbering::UidOnly;
        }
        if list.has("IMAP4rev2") || list.has("UTF8=ACCEPT") {
            self.names = NameEncoding::Utf8;
        }
    }

    /// Handles the first response.
    fn greeting<'i>(&mut self, response: Response<'i>) -> Result<Event<'i>, Error> {
        let Response::Untagged(Untagged::Status(status)) = response else {
            return Err(PeerError::InvalidGreeting.into());
        };
        match status.condition {
            Condition::Ok => self.phase = Phase::Open(State::NotAuthenticated),
            Condition::PreAuth if self.hides_untrusted_data() => {
                return Err(PeerError::PreauthOnCleartext.into());
            }
            Condition::PreAuth => self.phase = Phase::Open(State::Authenticated),
            Condition::Bye => {
                let status = self.visible(status);
                self.phase = Phase::Bye(status.rejection(RejectionKind::Connection));
                return Ok(Event::Bye(status));
            }
            Condition::No | Condition::Bad => return Err(PeerError::InvalidGreeting.into()),
        }
        if let Some(ResponseCode::Capability(list)) = status.code {
            self.capabilities.set(Capabilities::from_list(&list, &self.config));
            self.pending.push_back(PendingEvent::Capabilities);
        }
        Ok(Event::Greeting(self.visible(status)))
    }

    /// Returns the part of a status that the application sees.
    fn visible<'i>(&self, status: StatusResponse<'i>) -> StatusResponse<'i> {
        if self.hides_untrusted_data() { StatusResponse::new(status.condition, Text::EMPTY) } else { status }
    }

    /// Handles an untagged status.
    fn untagged_status<'i>(&mut self, status: StatusResponse<'i>, tx: &SendBuffer) -> Event<'i> {
        if let Some(ResponseCode::Capability(list)) = status.code {
            self.capabilities.set(Capabilities::from_list(&list, &self.config));
            if self.hides_untrusted_data() && status.condition != Condition::Bye {
                return Event::Capabilities;
            }
            self.pending.push_back(PendingEvent::Capabilities);
        }
        if status.condition == Condition::Bye {
            let status = self.visible(status);
            if !self.commands.replies.expects_bye(tx) {
                self.phase = Phase::Bye(status.rejection(RejectionKind::Session));
            }
            return Event::Bye(status);
        }
        if self.state().is_some_and(State::is_selected)
            && let Some(access) = access(&status)
        {
            self.phase = Phase::Open(State::Selected(access));
        }
        Event::Status(self.visible(status))
    }

    /// Handles a tagged response: finds the command that it completes, and applies its effects.
    fn completion(
        &mut self,
        tag: &[u8],
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<Completion, Error> {
        let outcome = match status.condition {
            Condition::Ok => Outcome::Success,
            Condition::No => Outcome::Failure,
            Condition::Bad => Outcome::Refused,
            Condition::PreAuth | Condition::Bye => return Err(PeerError::Malformed.into()),
        };
        let (id, kind) = self.commands.complete(tag, outcome, tx)?;
        if kind == CommandKind::Authenticate
            && outcome == Outcome::Success
            && !self.commands.authentication().is_some_and(Authentication::is_done)
        {
            return Err(PeerError::AuthenticationNotFinished.into());
        }
        self.change_state(kind, outcome, status);
        let authentication = match (kind, outcome) {
            (CommandKind::Compress, Outcome::Success) => {
                self.compression_agreed(tx);
                None
            }
            (CommandKind::Compress, _) => {
                self.compression = Compression::Off;
                self.commands.end(id, tx)
            }
            _ => self.commands.end(id, tx),
        };
        if let Some(ResponseCode::Capability(list)) = status.code
            && kind != CommandKind::StartTls
        {
            self.capabilities.set(Capabilities::from_list(&list, &self.config));
            self.pending.push_back(PendingEvent::Capabilities);
        }
        if kind == CommandKind::Capability && self.capabilities.finish_request() {
            self.pending.push_back(PendingEvent::Capabilities);
        }
        Ok(Completion { id, kind, authentication })
    }

    /// Changes the state, following the table in [`State::after`].
    fn change_state(&mut self, kind: CommandKind, outcome: Outcome, status: &StatusResponse<'_>) {
        let effect = match (kind.effect(), access(status)) {
            (Effect::Select(_), Some(access)) => Effect::Select(access),
            (effect, _) => effect,
        };
        if let Phase::Open(state) = self.phase {
            let next = state.after(effect, outcome);
            if state.is_authenticated() && next == State::NotAuthenticated {
                self.capabilities = KnownCapabilities::Unknown;
                self.enabled = EnabledCapabilities::default();
                self.names = NameEncoding::default();
                self.numbering = Numbering::Any;
            }
            self.phase = if next == State::Logout { Phase::LoggedOut } else { Phase::Open(next) };
        }
        if effect == Effect::Authenticate {
            self.capabilities.end_login(outcome);
        }
    }

    /// Returns the event of a completed command.
    fn completion_event<'i>(&mut self, completion: Completion, status: StatusResponse<'i>) -> Event<'i> {
        let Completion { id, kind, authentication } = completion;
        match (kind, status.condition) {
            (CommandKind::Login | CommandKind::Authenticate, Condition::Ok) => {
                Event::Auth(AuthOutcome::Accepted { id, status })
            }
            (CommandKind::Login | CommandKind::Authenticate, condition) => {
                let Some(authentication) = authentication else {
                    return Event::Auth(AuthOutcome::Rejected { id, status, reason: None });
                };
                self.sasl.note_refusal(&authentication, condition);
                let reason = authentication.failure();
                Event::Auth(if authentication.is_cancelled() {
                    AuthOutcome::Cancelled { id, status, reason }
                } else {
                    AuthOutcome::Rejected { id, status, reason }
                })
            }
            _ => Event::Completed { id, status },
        }
    }
}

/// Returns the access that the server grants to the mailbox, if the status has it.
fn access(status: &StatusResponse<'_>) -> Option<Access> {
    match status.code {
        Some(ResponseCode::Plain(PlainCode::ReadOnly)) => Some(Access::ReadOnly),
        Some(ResponseCode::Plain(PlainCode::ReadWrite)) => Some(Access::ReadWrite),
        _ => None,
    }
}
