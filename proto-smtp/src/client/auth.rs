//! AUTH (RFC 4954): the exchange of lines around a SASL mechanism.
//!
//! This file knows `334`, base64, `*` and when an initial response fits. What the messages say is the mechanism's part.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proto_mail::sasl::{self, CleartextRisk, ClientExchange, MechanismChoice, SaslError};
use proto_mail::{
    Channel, Cleartext, Credentials, Error, Mechanism, Misuse, PeerError, Secret, Secure, SendBuffer,
};

use super::Client;
use super::core::{Authentication, Core, State};
use super::event::{Kind, Step};
use crate::command::Command;
use crate::config::InitialResponse;
use crate::reply_framer::ReplyFrame;
use crate::secret_bytes::SecretBytes;
use crate::status_code::Code;

/// The longest command line with an initial response (RFC 4954 §4).
const LINE: usize = 512;

impl Client<Secure> {
    /// Authenticates. [`Event::Auth`](super::Event::Auth) says how it ended.
    ///
    /// Choose the mechanism with [`choose_mechanism`](Client::choose_mechanism).
    ///
    /// # Errors
    /// [`WrongMechanism`](Misuse::WrongMechanism) if the server does not offer the mechanism, the settings do not
    /// allow it, or it cannot prove these credentials; [`UnencodableCredentials`](Misuse::UnencodableCredentials) if they hold
    /// what it cannot carry; [`WrongState`](Misuse::WrongState) if a reply is outstanding. Nothing was written then.
    pub fn authenticate(
        &mut self,
        mechanism: Mechanism,
        credentials: Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.authenticate(mechanism, credentials, tx)
    }

    /// Authenticates by a mechanism that the application has brought along. Whether the server has it,
    /// [`Capabilities::offers`](crate::capabilities::Capabilities::offers) knows; how it ended [`Event::Auth`](super::Event::Auth)
    /// says.
    ///
    /// # Errors
    /// [`WrongMechanism`](Misuse::WrongMechanism) if the server does not offer it, or it is one of [`Mechanism::ALL`];
    /// [`UnencodableCredentials`](Misuse::UnencodableCredentials) if it cannot say its first message;
    /// [`WrongState`](Misuse::WrongState) if a reply is outstanding. Nothing was written then.
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
        let offered = self.core.capabilities.mechanisms();
        sasl::choose_mechanism(order, offered, self.core.config.mechanisms, &self.core.sasl, credentials)
    }
}

impl Client<Cleartext> {
    /// Authenticates where anyone on the way can read it. There is hardly ever a reason.
    ///
    /// # Errors
    /// As [`authenticate`](Client::authenticate); and [`WrongState`](Misuse::WrongState) unless the settings say
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

    /// Authenticates where anyone on the way can read it, by a mechanism of the application's own that gives nothing
    /// away ([`CleartextRisk::None`]).
    ///
    /// # Errors
    /// As [`authenticate_with`](Client::authenticate_with); [`WrongMechanism`](Misuse::WrongMechanism) if it does give
    /// something away; and [`WrongState`](Misuse::WrongState) unless the settings say
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
        match self.sent.take() {
            // No mechanism of ours begins so: this server has not looked at the initial response, and asks for it.
            Some(sent)
                if challenge.is_empty() && !matches!(self.exchange.mechanism(), Mechanism::Custom(_)) =>
            {
                Ok(sent)
            }
            _ => self.exchange.step(challenge),
        }
    }
}

impl Core {
    fn authenticate(
        &mut self,
        mechanism: Mechanism,
        credentials: Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.check_alone()?;
        let offered = self.capabilities.mechanisms().contains(mechanism);
        if !offered || !self.config.mechanisms.contains(mechanism) {
            return Err(Misuse::WrongMechanism.into());
        }
        let offered = self.capabilities.mechanisms();
        let exchange = sasl::client_exchange(mechanism, credentials, &mut self.sasl, offered)
            .ok_or(Misuse::WrongMechanism)?;
        self.begin(exchange, tx)
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
        let readable = !self.secure && mechanism.cleartext_risk() != CleartextRisk::None;
        if readable || !self.capabilities.offers_mechanism(mechanism.name()) {
            return Err(Misuse::WrongMechanism.into());
        }
        self.begin(exchange, tx)
    }

    fn begin(&mut self, mut exchange: Box<dyn ClientExchange>, tx: &mut SendBuffer) -> Result<(), Error> {
        let mechanism = exchange.mechanism();
        let mut held = exchange.initial_response().map_err(|_| Misuse::UnencodableCredentials)?;
        let line = held.as_ref().map(|message| sasl::encode_base64(message.expose()));
        let initial = line.as_ref().map(|line| match line.expose().as_slice() {
            b"" => b"=",
            line => line,
        });
        let fits = |line: &&[u8]| "AUTH ".len() + mechanism.name().len() + 1 + line.len() + 2 <= LINE;
        let wanted = self.config.initial_response == InitialResponse::Short && !self.initial_refused;
        let initial = initial.filter(fits).filter(|_| wanted);
        let sent = if initial.is_some() { held.take() } else { None };
        self.auth_failure = None;
        self.command(
            &Command::Auth { mechanism: mechanism.name().into(), initial: initial.map(SecretBytes::new) },
            Step::Auth,
            tx,
        );
        self.state = State::Auth(Authentication { exchange, held, sent, cancelled: None });
        Ok(())
    }

    /// `334`: the server's next message.
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
        // "334" alone is an empty challenge, as Gmail sends it.
        let text = line.get(4..).unwrap_or_default();
        let answer = match sasl::decode_base64(text) {
            Ok(challenge) => match authentication.held.take() {
                Some(first) => Ok(first),
                None => authentication.step(challenge.expose()),
            },
            // A prompt that is not base64 does no harm where the first message waits for any prompt.
            Err(_) if authentication.held.is_some() => {
                Ok(authentication.held.take().unwrap_or_else(|| Secret::new(Vec::new())))
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok(message) => tx.put_secret(sasl::encode_base64(message.expose()).expose()),
            Err(why) => {
                authentication.cancelled = Some(why);
                tx.put(b"*");
            }
        }
        tx.put(b"\r\n");
        self.expect_again(tx);
        Ok(())
    }

    /// 2yz: believed only if the mechanism has run to its end.
    pub(super) fn authenticated(&mut self, code: Code) -> Result<Kind, Error> {
        let State::Auth(authentication) = core::mem::replace(&mut self.state, State::Session) else {
            return Err(self.fail(PeerError::UnexpectedReply.into()));
        };
        let done = authentication.exchange.is_done()
            && authentication.held.is_none()
            && authentication.cancelled.is_none();
        if !done || code != Code::AUTHENTICATED {
            return Err(self.fail(PeerError::AuthenticationNotFinished.into()));
        }
        Ok(Kind::AuthAccepted)
    }

    pub(super) fn authentication_refused(&mut self, code: Code) -> Kind {
        match core::mem::replace(&mut self.state, State::Session) {
            State::Auth(Authentication { sent: Some(_), .. })
                if matches!(code, Code::SYNTAX | Code::ARGUMENTS) =>
            {
                self.initial_refused = true;
                self.auth_failure = None;
                Kind::AuthRejected
            }
            State::Auth(Authentication { cancelled: Some(why), .. }) => {
                self.auth_failure = Some(why.to_string());
                Kind::AuthCancelled
            }
            State::Auth(authentication) => {
                self.auth_failure = authentication.exchange.failure().map(String::from);
                Kind::AuthRejected
            }
            _ => Kind::AuthRejected,
        }
    }
}
