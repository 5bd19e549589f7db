//! The server's side of authentication: AUTHENTICATE (RFC 9051 §6.2.2, RFC 4959) and LOGIN (§6.2.3).
//!
//! This module exchanges SASL messages, and delays and counts failed logins. [`proto_mail::sasl`] parses the
//! messages; the application verifies the credentials. This module is never used in cleartext.

use proto_mail::sasl::{self, ServerStep};
use proto_mail::token::AuthQuestion;
use proto_mail::{
    AuthRequest, AuthVerdict, Error, Limit, Mechanism, Mechanisms, Misuse, RecvBuffer, SendBuffer,
};

use super::event::CoreEvent;
use super::refusal::Refusal;
use super::session::{Found, SaslExchange, Session, Turn, Verdict};
use crate::client::Trust;
use crate::parse::{self, Authentication};
use crate::state::{Effect, Outcome};

const REJECTED: Refusal = Refusal::no("NO [AUTHENTICATIONFAILED]", "wrong user name or password");
const MALFORMED: Refusal = Refusal::bad("the SASL message is not valid");

impl Session {
    /// Handles a complete LOGIN or AUTHENTICATE command that is allowed.
    pub(super) fn identity_command(
        &mut self,
        len: usize,
        rx: &RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        if self.trust == Trust::Cleartext {
            let refusal = Refusal::no("NO [PRIVACYREQUIRED]", "use STARTTLS first");
            return self.refuse_identity(refusal, tx);
        }
        let bytes = rx.bytes().get(..len).unwrap_or_default();
        let (_, authentication) = match parse::authentication(bytes, &self.context) {
            Ok(read) => read,
            Err(unparsed) => {
                let why = unparsed.expected;
                self.put_bad(&format_args!("Expected {why}"), tx)?;
                if why == crate::authenticate::INITIAL_RESPONSE {
                    self.count_failed_attempt(tx)?;
                }
                return Ok(Found::Silent);
            }
        };
        let (mechanism, initial) = match authentication {
            Authentication::Login(credentials) => {
                return Ok(self.ask(None, Mechanism::Login, AuthQuestion::Verify(credentials)));
            }
            Authentication::Authenticate { mechanism, initial } => (mechanism, initial),
        };
        let offered = self.mechanisms();
        let exchange =
            sasl::server_exchange_named(mechanism, &mut self.sasl, offered, &self.config.custom_mechanisms);
        let Some(mut exchange) = exchange else {
            return self.refuse_identity(Refusal::no("NO [CANNOT]", "the mechanism is not supported"), tx);
        };
        let step = exchange.step(initial.as_ref().map(|message| message.expose().as_slice()));
        let exchange = SaslExchange { mechanism: exchange, rejected: false };
        match step {
            Ok(step) => self.sasl_step(exchange, step, tx),
            Err(_) => self.malformed(tx),
        }
    }

    /// Returns the mechanisms that the server offers: those that the configuration allows, the application verifies
    /// and the channel permits.
    pub(super) fn mechanisms(&self) -> Mechanisms {
        self.config
            .mechanisms
            .intersection(self.config.offered_mechanisms)
            .intersection(self.sasl.usable_mechanisms())
    }

    /// Handles a line of a SASL exchange.
    pub(super) fn sasl_line(
        &mut self,
        end: usize,
        rx: &RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        let Turn::Sasl(mut exchange) = core::mem::replace(&mut self.turn, Turn::Command) else {
            return Ok(Found::Silent);
        };
        let line = rx.bytes().get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        if line == b"*" {
            let cancelled = Refusal::bad("AUTHENTICATE was cancelled");
            return if exchange.rejected {
                self.hold_back(cancelled, tx)
            } else {
                self.refuse_identity(cancelled, tx)
            };
        }
        let step =
            sasl::decode_base64(line).and_then(|message| exchange.mechanism.step(Some(message.expose())));
        match step {
            Ok(step) => self.sasl_step(exchange, step, tx),
            Err(_) if exchange.rejected => self.hold_back(MALFORMED, tx),
            Err(_) => self.malformed(tx),
        }
    }

    fn sasl_step(
        &mut self,
        exchange: SaslExchange,
        step: ServerStep,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        match step {
            ServerStep::Challenge(challenge) => {
                tx.put(b"+ ");
                tx.put_secret(sasl::encode_base64(&challenge).expose());
                tx.put(b"\r\n");
                self.turn = Turn::Sasl(exchange);
                Ok(Found::Silent)
            }
            _ if exchange.rejected => self.hold_back(REJECTED, tx),
            ServerStep::Ask(question) => {
                let mechanism = exchange.mechanism.mechanism();
                Ok(self.ask(Some(exchange), mechanism, question))
            }
            ServerStep::Accepted => {
                self.accepted(tx);
                Ok(Found::Silent)
            }
            ServerStep::Unavailable => {
                self.put_tagged("NO [UNAVAILABLE]", "try again later", tx);
                Ok(Found::Silent)
            }
            _ => self.hold_back(REJECTED, tx),
        }
    }

    /// Asks the application to verify the client's identity.
    fn ask(&mut self, exchange: Option<SaslExchange>, mechanism: Mechanism, question: AuthQuestion) -> Found {
        self.turn = Turn::Verdict(Verdict { exchange, unreported: None });
        let request = AuthRequest::new(self.tokens.issue(), mechanism, question);
        Found::Event(CoreEvent::Auth(request))
    }

    fn refuse_identity(&mut self, refusal: Refusal, tx: &mut SendBuffer) -> Result<Found, Error> {
        self.refuse_command(0, refusal, tx)
    }

    /// Handles an invalid message. It counts as a failed login, so that an attacker cannot guess for free.
    fn malformed(&mut self, tx: &mut SendBuffer) -> Result<Found, Error> {
        let refused = self.refuse_identity(MALFORMED, tx)?;
        self.count_failed_attempt(tx)?;
        Ok(refused)
    }

    fn count_failed_attempt(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.counters.auth_failures = self.counters.auth_failures.saturating_add(1);
        self.end_after_too_many(tx)
    }

    /// Takes the application's verdict.
    pub(super) fn answer_auth(
        &mut self,
        request: &AuthRequest,
        verdict: AuthVerdict,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.check_token(request.token())?;
        let mut exchange = match core::mem::replace(&mut self.turn, Turn::Command) {
            Turn::Verdict(Verdict { exchange, .. }) => exchange,
            other => {
                self.turn = other;
                return Err(Misuse::StaleToken.into());
            }
        };
        if let Some(exchange) = &mut exchange {
            exchange.rejected |= request.is_rejected_by(&verdict);
        }
        self.conclude(exchange, verdict, tx)
    }

    /// Continues after the application's verdict.
    pub(super) fn conclude(
        &mut self,
        exchange: Option<SaslExchange>,
        verdict: AuthVerdict,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.command_ended();
        let Some(mut exchange) = exchange else {
            match verdict {
                AuthVerdict::Accept => self.accepted(tx),
                AuthVerdict::Unavailable => self.put_tagged("NO [UNAVAILABLE]", "try again later", tx),
                _ => {
                    self.hold_back(REJECTED, tx)?;
                }
            }
            return Ok(());
        };
        let step = exchange.mechanism.answer(verdict);
        if let Found::Event(CoreEvent::Auth(request)) = self.sasl_step(exchange, step, tx)?
            && let Turn::Verdict(Verdict { unreported, .. }) = &mut self.turn
        {
            *unreported = Some(request);
        }
        Ok(())
    }

    fn accepted(&mut self, tx: &mut SendBuffer) {
        self.state = self.state.after(Effect::Authenticate, Outcome::Success);
        self.tag.login_accepted();
        self.tag.put(tx);
        tx.put(b" OK [CAPABILITY");
        super::capability::put(self.state, self.mechanisms(), self.trust, &self.config, tx);
        tx.put(b"] welcome\r\n");
        self.command_ended();
    }

    /// Rejects the client after a delay, which slows down guessing.
    fn hold_back(&mut self, refusal: Refusal, tx: &mut SendBuffer) -> Result<Found, Error> {
        self.counters.auth_failures = self.counters.auth_failures.saturating_add(1);
        self.turn = Turn::Delay(refusal);
        self.command_ended();
        if self.config.waits.delay.is_zero() {
            self.end_of_delay(tx)?;
        }
        Ok(Found::Silent)
    }

    /// Sends the rejection at the end of the delay.
    pub(super) fn end_of_delay(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match core::mem::replace(&mut self.turn, Turn::Command) {
            Turn::Delay(refusal) => self.put_refusal(&refusal, tx)?,
            other => self.turn = other,
        }
        self.command_ended();
        self.end_after_too_many(tx)
    }

    fn end_after_too_many(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        if self.counters.auth_failures >= self.config.limits.auth_attempts {
            return Err(self.fail(Limit::AuthAttempts.into(), "too many failed authentications", tx));
        }
        Ok(())
    }
}
