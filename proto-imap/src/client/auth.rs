//! The client's side of authentication: AUTHENTICATE (RFC 9051 §6.2.2, RFC 4959) and LOGIN (§6.2.3).
//!
//! This module chooses a mechanism and exchanges SASL messages; [`proto_mail::sasl`] produces their contents.

use alloc::boxed::Box;
use alloc::vec::Vec;

use proto_mail::sasl::{self, CleartextRisk, ClientExchange, SaslError};
use proto_mail::{Credentials, Error, Mechanism, Mechanisms, Misuse, PeerError, Secret, SendBuffer};

use super::authentication::{Authentication, InitialResponse};
use super::capabilities::Capabilities;
use super::command_id::CommandId;
use super::outgoing::{ActiveCommand, OutgoingCommand, OutgoingLine};
use super::session::{Session, Trust};
use crate::config::{NonSyncLiterals, SaslIr};
use crate::frame::LITERAL_MINUS;
use crate::state::State;

/// How the client logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoginMethod {
    /// With the strongest mechanism that the server offers, the configuration allows and the credentials fit. If
    /// there is none, with the LOGIN command, unless the server forbids it.
    #[default]
    Strongest,
    /// With this mechanism, if the server offers it.
    Mechanism(Mechanism),
    /// With the first mechanism of this order that the server offers and the configuration allows. The LOGIN command
    /// is never used.
    Order(&'static [Mechanism]),
}

impl From<Mechanism> for LoginMethod {
    fn from(mechanism: Mechanism) -> Self {
        Self::Mechanism(mechanism)
    }
}

impl Session {
    /// Starts a login.
    pub(super) fn authenticate(
        &mut self,
        method: LoginMethod,
        credentials: &Credentials,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        let capabilities = self.may_authenticate()?;
        let (offered, login_disabled) = (capabilities.mechanisms(), capabilities.login_disabled());
        let (order, allowed): (&[Mechanism], _) = match &method {
            LoginMethod::Strongest => (&Mechanism::ALL, self.config.mechanisms),
            LoginMethod::Mechanism(only) => (core::slice::from_ref(only), Mechanisms::all()),
            LoginMethod::Order(order) => (order, self.config.mechanisms),
        };
        match sasl::choose_mechanism(order, offered, allowed, &self.sasl.context, credentials).into_result() {
            Ok(mechanism) => {
                let exchange = sasl::client_exchange(
                    mechanism,
                    credentials.duplicate(),
                    &mut self.sasl.context,
                    offered,
                )
                .ok_or(Misuse::WrongMechanism)?;
                self.begin_sasl(exchange, tx)
            }
            Err(_) if method == LoginMethod::Strongest && !login_disabled => self.login(credentials, tx),
            Err(reasons) => Err(Misuse::NoMechanism(reasons).into()),
        }
    }

    /// Starts a login with a custom mechanism.
    pub(super) fn authenticate_with(
        &mut self,
        exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        let capabilities = self.may_authenticate()?;
        let exchange = sasl::checked_exchange(exchange).ok_or(Misuse::WrongMechanism)?;
        let Mechanism::Custom(mechanism) = exchange.mechanism() else {
            return Err(Misuse::WrongMechanism.into());
        };
        let readable = self.trust == Trust::Cleartext && mechanism.cleartext_risk() != CleartextRisk::None;
        if readable || !capabilities.offers_mechanism(mechanism.name()) {
            return Err(Misuse::WrongMechanism.into());
        }
        self.begin_sasl(exchange, tx)
    }

    /// Returns the server's capabilities, if the client may log in now.
    fn may_authenticate(&self) -> Result<&Capabilities, Error> {
        let free = self.state() == Some(State::NotAuthenticated)
            && self.commands.expected_state(State::NotAuthenticated) == State::NotAuthenticated
            && self.commands.active.is_none();
        self.capabilities.get().filter(|_| free).ok_or_else(|| Misuse::WrongState.into())
    }

    fn begin_sasl(
        &mut self,
        mut exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        let mechanism = exchange.mechanism();
        let initial = exchange.initial_response().map_err(|_| Misuse::UnencodableCredentials)?;
        let at_once = self.config.sasl_ir == SaslIr::Auto
            && self.offers("SASL-IR")
            && !self.sasl.initial_response_refused;
        let id = self.commands.next_id();
        let mut bytes = alloc::format!("{id} AUTHENTICATE {mechanism}").into_bytes();
        let (initial, line) = match initial {
            Some(message) if at_once => {
                let after = bytes.len();
                bytes.push(b' ');
                let encoded = sasl::encode_base64(message.expose());
                // The memory is never moved while it holds the message.
                bytes.reserve_exact(encoded.expose().len() + 3);
                // An empty message is "=" (RFC 4959 §3).
                bytes.extend_from_slice(if encoded.expose().is_empty() { b"=" } else { encoded.expose() });
                bytes.extend_from_slice(b"\r\n");
                (InitialResponse::Sent(message), OutgoingLine::secret(bytes, Vec::new(), after))
            }
            initial => {
                bytes.extend_from_slice(b"\r\n");
                let initial = initial.map_or(InitialResponse::None, InitialResponse::Unsent);
                (initial, OutgoingLine::simple(bytes))
            }
        };
        let authentication = Box::new(Authentication { exchange, initial, cancelled: None });
        self.submit(id, OutgoingCommand::Authenticate(authentication), line, tx);
        self.capabilities.begin_login();
        Ok(id)
    }

    /// Sends the LOGIN command. The name and the password are quoted strings, or literals if they cannot be quoted.
    fn login(&mut self, credentials: &Credentials, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        let Credentials::Password { authorization, username, password } = credentials else {
            return Err(Misuse::WrongMechanism.into());
        };
        if !authorization.is_empty() && authorization != username {
            return Err(Misuse::WrongMechanism.into());
        }
        let id = self.commands.next_id();
        let mut line = LoginLine {
            bytes: alloc::format!("{id} LOGIN ").into_bytes(),
            pauses: Vec::new(),
            unasked: self.unasked_literal(),
        };
        // The memory is never moved while it holds the password.
        line.bytes.reserve_exact(2 * (username.len() + password.expose().len()) + 64);
        let after = line.bytes.len();
        line.string(username.as_bytes())?;
        line.bytes.push(b' ');
        line.string(password.expose())?;
        line.bytes.extend_from_slice(b"\r\n");
        let LoginLine { bytes, pauses, .. } = line;
        self.submit(id, OutgoingCommand::Login, OutgoingLine::secret(bytes, pauses, after), tx);
        self.capabilities.begin_login();
        Ok(id)
    }

    /// Returns the size in bytes of the largest literal that may be sent without waiting (RFC 7888).
    pub(super) fn unasked_literal(&self) -> u64 {
        if self.config.literals == NonSyncLiterals::Never {
            0
        } else if self.offers("LITERAL+") {
            u64::MAX
        } else if self.offers("LITERAL-") || self.offers("IMAP4rev2") {
            LITERAL_MINUS
        } else {
            0
        }
    }

    /// Handles a challenge of the server, which is still in base64.
    pub(super) fn challenge(&mut self, text: &[u8], tx: &mut SendBuffer) -> Result<(), Error> {
        let ActiveCommand::Authenticate(id, authentication) = &mut self.commands.active else {
            return Err(PeerError::UnexpectedContinuation.into());
        };
        let id = *id;
        if authentication.cancelled.is_some() {
            // The client has sent `*`; only the completion may follow.
            return Err(PeerError::UnexpectedContinuation.into());
        }
        let answer = authentication.answer(text);
        if answer.is_ok() && authentication.is_computing() {
            self.step_done();
            return Ok(());
        }
        self.put_answer(answer, id, tx);
        Ok(())
    }

    /// Computes one slice of the answer to a challenge, if one is being computed.
    pub(super) fn compute_answer(&mut self, tx: &mut SendBuffer) {
        if let ActiveCommand::Authenticate(id, authentication) = &mut self.commands.active
            && authentication.is_computing()
            && let Some(answer) = authentication.exchange.compute().transpose()
        {
            let id = *id;
            self.put_answer(answer, id, tx);
        }
    }

    /// Queues the answer to a challenge, or cancels the exchange.
    fn put_answer(&mut self, answer: Result<Secret<Vec<u8>>, SaslError>, id: CommandId, tx: &mut SendBuffer) {
        let ActiveCommand::Authenticate(_, authentication) = &mut self.commands.active else { return };
        match answer {
            Ok(message) => {
                let encoded = sasl::encode_base64(message.expose());
                tx.put_secret(encoded.expose());
                tx.put(b"\r\n");
            }
            Err(why) => {
                authentication.cancelled = Some(why);
                tx.put(b"*\r\n");
            }
        }
        self.commands.line_queued(id, tx);
        self.step_done();
    }
}

/// A LOGIN command under construction.
struct LoginLine {
    bytes: Vec<u8>,
    pauses: Vec<usize>,
    unasked: u64,
}

impl LoginLine {
    /// `string = quoted / literal`.
    fn string(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.contains(&0) {
            return Err(Misuse::ForbiddenByte.into());
        }
        if bytes.iter().all(|byte| matches!(byte, 0x20..=0x7e)) && bytes.len() <= 1024 {
            self.bytes.push(b'"');
            for &byte in bytes {
                if matches!(byte, b'"' | b'\\') {
                    self.bytes.push(b'\\');
                }
                self.bytes.push(byte);
            }
            self.bytes.push(b'"');
            return Ok(());
        }
        let plus = if bytes.len() as u64 <= self.unasked { "+" } else { "" };
        self.bytes.extend_from_slice(alloc::format!("{{{}{plus}}}\r\n", bytes.len()).as_bytes());
        if plus.is_empty() {
            self.pauses.push(self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}
