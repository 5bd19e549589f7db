//! AUTH (RFC 4954): the lines of a SASL exchange, the questions to the application, and failed attempts.

use alloc::boxed::Box;

use proto_mail::sasl::{self, SaslError, ServerExchange, ServerStep};
use proto_mail::{AuthRequest, AuthVerdict, Error, Misuse, RecvBuffer, SendBuffer};

use super::core::{Core, Login, State, Step};
use super::event::CoreEvent;

use super::fixed_replies::{self as reply, syntax};
use super::redaction;
use crate::command::{Command, Verb, split_verb};
use crate::line::{Frame, LineSkipper, frame};
use crate::reply_code::Code;
use crate::response::Response;
use crate::secret_bytes::SecretBytes;

const ACCEPTED: Response<'static> = Response::fixed(Code::AUTHENTICATED, (7, 0), "Authenticated");
const REJECTED: Response<'static> = Response::fixed(Code::CREDENTIALS, (7, 8), "Authentication failed");
const UNAVAILABLE: Response<'static> =
    Response::fixed(Code::TEMPORARILY_UNAVAILABLE, (7, 0), "Authentication cannot be checked now");
const CANCELLED: Response<'static> = Response::fixed(Code::ARGUMENTS, (7, 0), "Authentication cancelled");
const MALFORMED: Response<'static> =
    Response::fixed(Code::ARGUMENTS, (5, 2), "The message is not base64, or not valid for the mechanism");
const NO_SUCH_MECHANISM: Response<'static> =
    Response::fixed(Code::PARAMETER, (5, 4), "The mechanism is not offered");

/// An exchange and the result of its first message.
type FirstStep = (Box<dyn ServerExchange>, Result<ServerStep, SaslError>);

impl Core {
    /// Performs AUTH, which the state allows.
    pub(super) fn begin_login(
        &mut self,
        (len, whole): (usize, usize),
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        let line = rx.bytes().get(..len).unwrap_or_default();
        let (verb, rest) = split_verb(line);
        let begun = match Command::parse_arguments(verb, line, rest) {
            Ok(Command::Auth { mechanism, initial }) => {
                self.begin_exchange(&mechanism, initial.as_ref().map(SecretBytes::expose))
            }
            Ok(_) => Err(reply::NOT_RECOGNIZED),
            Err(error) => Err(syntax(verb, error)),
        };
        rx.consume_wiping(whole);
        match begun {
            Ok((exchange, step)) => self.take_step(Login { exchange, is_rejected: false }, step, tx),
            Err(rejection) => self.reject_and_report(Verb::Auth, rejection, tx),
        }
    }

    /// Begins the exchange of a mechanism with the initial response.
    fn begin_exchange(&mut self, name: &str, initial: Option<&[u8]>) -> Result<FirstStep, Response<'static>> {
        let offered = self.mechanisms();
        let custom = &self.config.custom_mechanisms;
        let mut exchange =
            sasl::server_exchange_named(name.as_bytes(), &mut self.channel.sasl, offered, custom)
                .ok_or(NO_SUCH_MECHANISM)?;
        let step = match initial {
            None => exchange.step(None),
            Some(b"=") => exchange.step(Some(b"")),
            Some(line) => sasl::decode_base64(line).and_then(|message| exchange.step(Some(message.expose()))),
        };
        Ok((exchange, step))
    }

    /// Reads the client's next line: a message in base64, or `*`.
    pub(super) fn sasl_line(&mut self, rx: &mut RecvBuffer, tx: &mut SendBuffer) -> Result<Step, Error> {
        let frame = frame(rx, self.config.max_auth_line, self.config.bare_newline);
        if frame == Frame::Partial {
            return Ok(Step::NeedsInput);
        }
        let State::SaslMessage(mut login) = core::mem::replace(&mut self.state, State::Command) else {
            return Ok(Step::Again);
        };
        let (len, whole) = match frame {
            Frame::Line { len, whole } => (len, whole),
            Frame::Partial => return Ok(Step::NeedsInput),
            Frame::Rejected(fault) => {
                let is_failed_login = login.is_rejected;
                self.state = State::SkipLine { skipper: LineSkipper::new(fault), is_failed_login };
                return Ok(Step::Again);
            }
        };
        if rx.is_traced() {
            redaction::trace_sasl_line((len, whole), rx);
        }
        self.enter(State::Command);
        let line = rx.bytes().get(..len).unwrap_or_default();
        let is_cancelled = line == b"*";
        let step = match sasl::decode_base64(line) {
            Ok(message) => login.exchange.step(Some(message.expose())),
            Err(error) => Err(error),
        };
        rx.consume_wiping(whole);
        match (is_cancelled, login.is_rejected) {
            (false, _) => self.take_step(login, step, tx),
            (true, true) => self.delay_failed_login(CANCELLED, tx),
            (true, false) => self.reject_and_report(Verb::Auth, CANCELLED, tx),
        }
    }

    fn take_step(
        &mut self,
        login: Login,
        step: Result<ServerStep, SaslError>,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        match step {
            Ok(step) => {
                self.continue_login(login, step, tx);
                Ok(Step::Again)
            }
            Err(_) if login.is_rejected => self.delay_failed_login(MALFORMED, tx),
            // A malformed message counts as a failed attempt, so that guessing is never free.
            Err(_) => {
                let rejected = self.reject_and_report(Verb::Auth, MALFORMED, tx)?;
                self.count_failed_login(tx)?;
                Ok(rejected)
            }
        }
    }

    /// Yields the question that the mechanism has for the application.
    pub(super) fn next_question(&mut self) -> Step {
        match &mut self.state {
            State::AuthAnswerOwed { next, .. } => {
                next.take().map_or(Step::Again, |request| Step::event(CoreEvent::Auth(request)))
            }
            _ => Step::Again,
        }
    }

    /// Does what the mechanism's step requires.
    fn continue_login(&mut self, login: Login, step: ServerStep, tx: &mut SendBuffer) {
        match step {
            ServerStep::Challenge(challenge) => {
                tx.put(b"334 ");
                tx.put_secret(sasl::encode_base64(&challenge).expose());
                tx.put(b"\r\n");
                self.enter(State::SaslMessage(login));
            }
            _ if login.is_rejected => self.reject_login(tx),
            ServerStep::Ask(question) => {
                let request = AuthRequest::new(self.tokens.issue(), login.exchange.mechanism(), question);
                self.enter(State::AuthAnswerOwed { login, next: Some(request) });
            }
            ServerStep::Accepted => {
                self.is_authenticated = true;
                self.counters.note_progress();
                ACCEPTED.encode(tx);
                self.enter(State::Command);
            }
            ServerStep::Unavailable => {
                UNAVAILABLE.encode(tx);
                self.enter(State::Command);
            }
            _ => self.reject_login(tx),
        }
    }

    fn reject_login(&mut self, tx: &mut SendBuffer) {
        // If that ends the session, the state keeps the error.
        let _ = self.delay_failed_login(REJECTED, tx);
    }

    /// Delays the reply to a failed authentication: guessing must take time.
    pub(super) fn delay_failed_login(
        &mut self,
        response: Response<'static>,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        self.enter(State::LoginDelay(response));
        if self.config.waits.delay.is_zero() {
            self.end_login_delay(tx)?;
        }
        Ok(Step::Again)
    }

    /// Writes the delayed reply to a failed authentication.
    pub(super) fn end_login_delay(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        if let State::LoginDelay(response) = core::mem::replace(&mut self.state, State::Command) {
            response.encode(tx);
        }
        self.enter(State::Command);
        self.count_failed_login(tx)
    }

    fn count_failed_login(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self.counters.note_failed_login(&self.config.limits) {
            Ok(()) => Ok(()),
            Err(limit) => Err(self.fail(limit.into(), tx)),
        }
    }

    /// Answers for an application that has dropped the request.
    pub(super) fn answer_unavailable(&mut self, mut login: Login, tx: &mut SendBuffer) {
        let step = login.exchange.answer(AuthVerdict::Unavailable);
        self.continue_login(login, step, tx);
    }

    /// Takes the application's answer.
    pub(super) fn answer_auth(
        &mut self,
        request: &AuthRequest,
        verdict: AuthVerdict,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        match core::mem::replace(&mut self.state, State::Command) {
            State::AuthAnswerOwed { mut login, .. } if self.tokens.is_newest(request.token()) => {
                login.is_rejected |= request.is_rejected_by(&verdict);
                let step = login.exchange.answer(verdict);
                self.continue_login(login, step, tx);
                Ok(())
            }
            State::Failed(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
            other => {
                self.state = other;
                Err(Misuse::StaleToken.into())
            }
        }
    }
}
