//! AUTH (RFC 4954): the exchange of lines around a SASL mechanism.
//!
//! This file knows `334`, base64, `*` and `=`, and how failures are counted. What the messages say is the
//! mechanism's part, whether they are good is the application's.

use alloc::boxed::Box;

use proto_mail::sasl::{self, SaslError, ServerExchange, ServerStep};
use proto_mail::{AuthRequest, AuthVerdict, Error, Limit, Misuse, RecvBuffer, SendBuffer};

use super::core::{Core, State, Step};
use super::event::CoreEvent;
use super::transaction::syntax;
use super::{redaction, reply};
use crate::command::{Command, Verb, split_verb};
use crate::line::{Frame, LineSkipper, frame};
use crate::response::Response;
use crate::secret_bytes::SecretBytes;
use crate::status_code::Code;

const ACCEPTED: Response<'static> = Response::fixed(Code::AUTHENTICATED, (7, 0), "Authenticated");
const REJECTED: Response<'static> = Response::fixed(Code::CREDENTIALS, (7, 8), "Authentication failed");
const UNAVAILABLE: Response<'static> =
    Response::fixed(Code::TEMPORARILY_UNAVAILABLE, (7, 0), "Authentication cannot be checked now");
const CANCELLED: Response<'static> = Response::fixed(Code::ARGUMENTS, (7, 0), "Authentication cancelled");
const MALFORMED: Response<'static> =
    Response::fixed(Code::ARGUMENTS, (5, 2), "The message is not base64, or not what the mechanism says");
const NO_SUCH_MECHANISM: Response<'static> =
    Response::fixed(Code::PARAMETER, (5, 4), "The mechanism is not offered");

impl Core {
    /// `AUTH`, where the state allows it.
    pub(super) fn begin_authentication(
        &mut self,
        (len, whole): (usize, usize),
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        let line = rx.bytes().get(..len).unwrap_or_default();
        let (verb, rest) = split_verb(line);
        let begun = match Command::parse_arguments(verb, line, rest) {
            Ok(Command::Auth { mechanism, initial }) => {
                self.exchange(&mechanism, initial.as_ref().map(SecretBytes::expose))
            }
            Ok(_) => Err(reply::NOT_RECOGNIZED),
            Err(error) => Err(syntax(verb, error)),
        };
        rx.consume_wiping(whole);
        match begun {
            Ok((exchange, step)) => self.take_step(exchange, step, tx),
            Err(refusal) => self.refused(Verb::Auth, refusal, tx),
        }
    }

    /// The exchange of a mechanism, and what it does with the initial response.
    fn exchange(&mut self, name: &str, initial: Option<&[u8]>) -> Result<Begun, Response<'static>> {
        let offered = self.mechanisms();
        let others = &self.config.custom_mechanisms;
        let mut exchange = sasl::server_exchange_named(name.as_bytes(), &mut self.sasl, offered, others)
            .ok_or(NO_SUCH_MECHANISM)?;
        let step = match initial {
            None => exchange.step(None),
            Some(b"=") => exchange.step(Some(b"")),
            Some(line) => sasl::decode_base64(line).and_then(|message| exchange.step(Some(message.expose()))),
        };
        Ok((exchange, step))
    }

    /// The client's next line: a message in base64, or `*`.
    pub(super) fn authentication_line(
        &mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        let (len, whole) = match frame(rx, self.config.max_auth_line, self.config.bare_newline) {
            Frame::Partial => return Ok(Step::Wait),
            Frame::Rejected(fault) => {
                self.state = State::LineSkipper(LineSkipper::new(fault));
                return Ok(Step::Again);
            }
            Frame::Line { len, whole } => (len, whole),
        };
        if rx.is_traced() {
            redaction::sasl((len, whole), rx);
        }
        let State::Auth(mut exchange) = core::mem::replace(&mut self.state, State::Command) else {
            return Ok(Step::Again);
        };
        self.enter(State::Command);
        let line = rx.bytes().get(..len).unwrap_or_default();
        let cancelled = line == b"*";
        let step = match sasl::decode_base64(line) {
            Ok(message) => exchange.step(Some(message.expose())),
            Err(error) => Err(error),
        };
        rx.consume_wiping(whole);
        if cancelled {
            return if self.said_no {
                self.hold_back(CANCELLED, tx)
            } else {
                self.refused(Verb::Auth, CANCELLED, tx)
            };
        }
        self.take_step(exchange, step, tx)
    }

    fn take_step(
        &mut self,
        exchange: Box<dyn ServerExchange>,
        step: Result<ServerStep, SaslError>,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        match step {
            Ok(step) => {
                self.conclude(exchange, step, tx);
                Ok(Step::Again)
            }
            Err(_) if self.said_no => self.hold_back(MALFORMED, tx),
            // A message that makes no sense is a failed attempt as well: guessing must not be free.
            Err(_) => {
                let refused = self.refused(Verb::Auth, MALFORMED, tx)?;
                self.count_failed_authentication(tx)?;
                Ok(refused)
            }
        }
    }

    /// The question that the mechanism has.
    pub(super) fn next_question(&mut self) -> Step {
        match &mut self.state {
            State::Verdict { next, .. } => {
                next.take().map_or(Step::Again, |request| Step::event(CoreEvent::Auth(request)))
            }
            _ => Step::Again,
        }
    }

    /// What follows from the mechanism's step.
    fn conclude(&mut self, exchange: Box<dyn ServerExchange>, step: ServerStep, tx: &mut SendBuffer) {
        match step {
            ServerStep::Challenge(challenge) => {
                tx.put(b"334 ");
                tx.put_secret(sasl::encode_base64(&challenge).expose());
                tx.put(b"\r\n");
                self.enter(State::Auth(exchange));
            }
            _ if self.said_no => self.reject(tx),
            ServerStep::Ask(question) => {
                let request = AuthRequest::new(self.tokens.issue(), exchange.mechanism(), question);
                self.enter(State::Verdict { exchange, next: Some(request) });
            }
            ServerStep::Accepted => {
                self.authenticated = true;
                ACCEPTED.encode(tx);
                self.enter(State::Command);
            }
            ServerStep::Unavailable => {
                UNAVAILABLE.encode(tx);
                self.enter(State::Command);
            }
            _ => self.reject(tx),
        }
    }

    fn reject(&mut self, tx: &mut SendBuffer) {
        // The session's end, if it ends, is kept in the state.
        let _ = self.hold_back(REJECTED, tx);
    }

    /// Authentication failed. The client hears of it later: guessing shall take time.
    pub(super) fn hold_back(
        &mut self,
        response: Response<'static>,
        tx: &mut SendBuffer,
    ) -> Result<Step, Error> {
        self.enter(State::Delay(response));
        if self.config.waits.delay.is_zero() {
            self.end_of_delay(tx)?;
        }
        Ok(Step::Again)
    }

    /// Says that authentication failed, now that the delay is over.
    pub(super) fn end_of_delay(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        if let State::Delay(response) = core::mem::replace(&mut self.state, State::Command) {
            response.encode(tx);
        }
        self.said_no = false;
        self.enter(State::Command);
        self.count_failed_authentication(tx)
    }

    fn count_failed_authentication(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.failed_authentications = self.failed_authentications.saturating_add(1);
        if self.failed_authentications >= self.config.limits.auth_attempts {
            return Err(self.fail(Limit::AuthAttempts.into(), tx));
        }
        Ok(())
    }

    /// Answers that the application cannot tell.
    pub(super) fn unavailable(&mut self, mut exchange: Box<dyn ServerExchange>, tx: &mut SendBuffer) {
        let step = exchange.answer(AuthVerdict::Unavailable);
        self.conclude(exchange, step, tx);
    }

    /// The application's verdict.
    pub(super) fn answer_auth(
        &mut self,
        request: &AuthRequest,
        verdict: AuthVerdict,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        match core::mem::replace(&mut self.state, State::Command) {
            State::Verdict { mut exchange, .. } if self.tokens.is_newest(request.token()) => {
                self.said_no |= request.is_rejected_by(&verdict);
                let step = exchange.answer(verdict);
                self.conclude(exchange, step, tx);
                Ok(())
            }
            State::Failed(error) => {
                self.state = State::Failed(error);
                Err(error)
            }
            other => {
                self.state = other;
                Err(Misuse::StaleToken.into())
            }
        }
    }
}

type Begun = (Box<dyn ServerExchange>, Result<ServerStep, SaslError>);
