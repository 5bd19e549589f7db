//! AUTH (RFC 4954): choosing a mechanism, and the lines of a SASL exchange.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proto_mail::sasl::{self, CleartextRisk, ClientExchange, MechanismChoice, SaslError};
use proto_mail::{
    Channel, Cleartext, Credentials, Error, Mechanism, Mechanisms, Misuse, PeerError, Secret, Secure,
    SendBuffer,
};

use super::core::{Authentication, Core, FirstMessage, State};
use super::event::{Kind, Step};
use super::machine::Client;
use crate::capabilities::Capabilities;
use crate::command::Command;
use crate::config::InitialResponse;
use crate::reply_code::Code;
use crate::reply_framer::ReplyFrame;
use crate::secret_bytes::SecretBytes;

/// The longest command line with an initial response, in bytes (RFC 4954 §4).
const MAX_LINE: usize = 512;

impl Client<Secure> {
    /// Authenticates. [`Event::Auth`](super::Event::Auth) reports the outcome.
    ///
    /// Choose the mechanism with [`choose_mechanism`](Client::choose_mechanism).
    ///
    /// # Errors
    /// [`WrongMechanism`](Misuse::WrongMechanism) if the server does not offer the mechanism, the settings do not
    /// allow it, or it does not fit the credentials; [`UnencodableCredentials`](Misuse::UnencodableCredentials) if the mechanism cannot encode them; [`WrongState`](Misuse::WrongState) if a reply is pending. Nothing was written then.
    pub fn authenticate(
        &mut self,
        mechanism: Mechanism,
        credentials: Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.authenticate(mechanism, credentials, tx)
    }

    /// Authenticates by a mechanism that the application implements. [`Event::Auth`](super::Event::Auth) reports the
    /// outcome. [`Capabilities::offers_mechanism`](crate::types::Capabilities::offers_mechanism) tells whether the server
    /// offers it.
    ///
    /// # Errors
    /// [`WrongMechanism`](Misuse::WrongMechanism) if the server does not offer it, or it is one of [`Mechanism::ALL`];
    /// [`UnencodableCredentials`](Misuse::UnencodableCredentials) if it cannot write its first message;
    /// [`WrongState`](Misuse::WrongState) if a reply is pending. Nothing was written then.
    pub fn authenticate_with(
        &mut self,
        exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.authenticate_with(exchange, tx)
    }
}

impl<C: Channel> Client<C> {
    /// Chooses the first mechanism of `order` that the server offers, the settings allow, the channel supports and the
    /// credentials fit, and returns the reason for each mechanism that was rejected. [`Mechanism::ALL`] has the strongest
    /// first.
    #[must_use]
    pub fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice {
        let offered = self.core.offered_mechanisms();
        sasl::choose_mechanism(
            order,
            offered,
            self.core.config.mechanisms,
            &self.core.channel.sasl,
            credentials,
        )
    }
}

impl Client<Cleartext> {
    /// Authenticates on cleartext, where anyone on the path can read the exchange. Only SCRAM hides the password then; it
    /// needs [`with_seed`](Client::with_seed).
    ///
    /// # Errors
    /// As [`authenticate`](Client::authenticate); and [`WrongState`](Misuse::WrongState) unless the settings have
    /// [`danger_cleartext`](crate::Config::danger_cleartext).
    pub fn danger_cleartext_authenticate(
        &mut self,
        mechanism: Mechanism,
        credentials: Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        if !self.core.config.allows_cleartext() {
            return Err(Misuse::WrongState.into());
        }
        self.core.authenticate(mechanism, credentials, tx)
    }

    /// Authenticates on cleartext by a mechanism of the application that reveals nothing ([`CleartextRisk::None`]).
    ///
    /// # Errors
    /// As [`authenticate_with`](Client::authenticate_with); [`WrongMechanism`](Misuse::WrongMechanism) if it reveals
    /// something; and [`WrongState`](Misuse::WrongState) unless the settings have
    /// [`danger_cleartext`](crate::Config::danger_cleartext).
    pub fn danger_cleartext_authenticate_with(
        &mut self,
        exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        if !self.core.config.allows_cleartext() {
            return Err(Misuse::WrongState.into());
        }
        self.core.authenticate_with(exchange, tx)
    }
}

impl Authentication {
    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        match core::mem::replace(&mut self.first, FirstMessage::Done) {
            FirstMessage::Held(message) => Ok(message),
            // No built-in mechanism begins with an empty challenge: the server ignored the initial response, and asks for
            // it.
            FirstMessage::Sent(message)
                if challenge.is_empty() && !matches!(self.exchange.mechanism(), Mechanism::Custom(_)) =>
            {
                Ok(message)
            }
            FirstMessage::Sent(_) | FirstMessage::Done => self.exchange.step(challenge),
        }
    }

    /// Whether the answer to the last challenge is being computed.
    fn is_computing(&self) -> bool {
        self.cancelled.is_none() && self.exchange.is_computing()
    }

    /// Whether the server may report success now.
    fn is_done(&self) -> bool {
        self.exchange.is_done() && !matches!(self.first, FirstMessage::Held(_)) && self.cancelled.is_none()
    }
}

impl Core {
    /// The known mechanisms that the server offers.
    fn offered_mechanisms(&self) -> Mechanisms {
        self.capabilities().map_or(Mechanisms::NONE, Capabilities::mechanisms)
    }

    fn authenticate(
        &mut self,
        mechanism: Mechanism,
        credentials: Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.check_alone()?;
        let offered = self.offered_mechanisms();
        if !offered.contains(mechanism) || !self.config.mechanisms.contains(mechanism) {
            return Err(Misuse::WrongMechanism.into());
        }
        let exchange = sasl::client_exchange(mechanism, credentials, &mut self.channel.sasl, offered)
            .ok_or(Misuse::WrongMechanism)?;
        self.begin_exchange(exchange, tx)
    }

    fn authenticate_with(
        &mut self,
        exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.check_alone()?;
        let exchange = sasl::checked_exchange(exchange).ok_or(Misuse::WrongMechanism)?;
        let Mechanism::Custom(mechanism) = exchange.mechanism() else {
            return Err(Misuse::WrongMechanism.into());
        };
        let is_readable = !self.channel.is_secure && mechanism.cleartext_risk() != CleartextRisk::None;
        let is_offered = self.capabilities().is_some_and(|server| server.offers_mechanism(mechanism.name()));
        if is_readable || !is_offered {
            return Err(Misuse::WrongMechanism.into());
        }
        self.begin_exchange(exchange, tx)
    }

    fn begin_exchange(
        &mut self,
        mut exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let mechanism = exchange.mechanism();
        let message = exchange.initial_response().map_err(|_| Misuse::UnencodableCredentials)?;
        let line = message.as_ref().map(|message| sasl::encode_base64(message.expose()));
        let initial = line.as_ref().map(|line| match line.expose().as_slice() {
            b"" => b"=",
            line => line,
        });
        let fits = |line: &&[u8]| "AUTH ".len() + mechanism.name().len() + 1 + line.len() + 2 <= MAX_LINE;
        let is_wanted =
            self.config.initial_response == InitialResponse::Short && !self.logins.initial_response_rejected;
        let initial = initial.filter(fits).filter(|_| is_wanted);
        let is_sent = initial.is_some();
        let initial = initial.map(SecretBytes::new);
        self.logins.failure = None;
        self.send(&Command::Auth { mechanism: mechanism.name().into(), initial }, Step::Auth, tx);
        let first = match message {
            None => FirstMessage::Done,
            Some(message) if is_sent => FirstMessage::Sent(message),
            Some(message) => FirstMessage::Held(message),
        };
        self.state = State::Auth(Authentication { exchange, first, cancelled: None });
        Ok(())
    }

    /// Replies to `334`, the server's next message.
    pub(super) fn challenge(
        &mut self,
        frame: ReplyFrame,
        bytes: &[u8],
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let State::Auth(authentication) = &mut self.state else {
            return Err(self.fail(PeerError::UnexpectedReply.into()));
        };
        if authentication.cancelled.is_some() {
            return Err(self.fail(PeerError::UnexpectedReply.into()));
        }
        let line = bytes.get(..frame.len).unwrap_or_default().trim_ascii_end();
        // Gmail sends "334" alone for an empty challenge.
        let text = line.get(4..).unwrap_or_default();
        let answer = match sasl::decode_base64(text) {
            Ok(challenge) => authentication.step(challenge.expose()),
            // A challenge that is not base64 does no harm if any challenge leads to the first message.
            Err(error) => match core::mem::replace(&mut authentication.first, FirstMessage::Done) {
                FirstMessage::Held(message) => Ok(message),
                FirstMessage::Sent(_) | FirstMessage::Done => Err(error),
            },
        };
        if answer.is_err() || !authentication.is_computing() {
            self.put_answer(answer, tx);
        }
        Ok(())
    }

    /// Whether the client computes its answer to a challenge.
    pub(super) fn is_computing(&self) -> bool {
        matches!(&self.state, State::Auth(authentication) if authentication.is_computing())
    }

    /// Computes one slice of the answer to a challenge, if one is being computed.
    pub(super) fn compute_answer(&mut self, tx: &mut SendBuffer) {
        if let State::Auth(authentication) = &mut self.state
            && authentication.is_computing()
            && let Some(answer) = authentication.exchange.compute().transpose()
        {
            self.put_answer(answer, tx);
        }
    }

    /// Queues the answer to a challenge, or cancels the exchange.
    fn put_answer(&mut self, answer: Result<Secret<Vec<u8>>, SaslError>, tx: &mut SendBuffer) {
        let State::Auth(authentication) = &mut self.state else { return };
        match answer {
            Ok(message) => tx.put_secret(sasl::encode_base64(message.expose()).expose()),
            Err(error) => {
                authentication.cancelled = Some(error);
                tx.put(b"*");
            }
        }
        tx.put(b"\r\n");
        self.replies.extend_first(tx);
    }

    /// 2yz: success counts only if the mechanism has finished.
    pub(super) fn authenticated(&mut self, code: Code) -> Result<Kind, Error> {
        match core::mem::replace(&mut self.state, State::Session) {
            State::Auth(authentication) if authentication.is_done() && code == Code::AUTHENTICATED => {
                Ok(Kind::AuthAccepted)
            }
            State::Auth(_) => Err(self.fail(PeerError::AuthenticationNotFinished.into())),
            _ => Err(self.fail(PeerError::UnexpectedReply.into())),
        }
    }

    pub(super) fn authentication_rejected(&mut self, code: Code) -> Kind {
        match core::mem::replace(&mut self.state, State::Session) {
            State::Auth(Authentication { first: FirstMessage::Sent(_), .. })
                if matches!(code, Code::SYNTAX | Code::ARGUMENTS) =>
            {
                self.logins.initial_response_rejected = true;
                self.logins.failure = None;
                Kind::AuthRejected
            }
            State::Auth(Authentication { cancelled: Some(error), .. }) => {
                self.logins.failure = Some(error.to_string());
                Kind::AuthCancelled
            }
            State::Auth(authentication) => {
                self.logins.failure = authentication.exchange.failure().map(String::from);
                Kind::AuthRejected
            }
            _ => Kind::AuthRejected,
        }
    }
}
