//! The client's side of a SASL exchange in progress, and the state that all exchanges of a session share.
//!
//! The exchange succeeds only if the mechanism is complete when the server's OK arrives.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proto_mail::sasl::{self, ClientExchange, SaslError};
use proto_mail::{Mechanism, Secret};

use crate::types::Condition;

/// The state that the SASL exchanges of one session share.
#[derive(Debug)]
pub(super) struct Sasl {
    pub(super) context: sasl::SaslContext,
    /// Whether the server has answered BAD to an AUTHENTICATE command with an initial response.
    pub(super) initial_response_refused: bool,
}

impl Sasl {
    pub(super) const fn new(context: sasl::SaslContext) -> Self {
        Self { context, initial_response_refused: false }
    }

    /// Records that the server did not accept this exchange. A BAD before the first challenge may reject the initial
    /// response.
    pub(super) fn note_refusal(&mut self, authentication: &Authentication, condition: Condition) {
        let unanswered = matches!(authentication.initial, InitialResponse::Sent(_));
        self.initial_response_refused |= unanswered && condition == Condition::Bad;
    }
}

/// A SASL exchange in progress.
#[derive(Debug)]
pub(super) struct Authentication {
    pub(super) exchange: Box<dyn ClientExchange>,
    pub(super) initial: InitialResponse,
    /// Why the client has cancelled the exchange.
    pub(super) cancelled: Option<SaslError>,
}

/// The client's first message, if the mechanism has one.
#[derive(Debug)]
pub(super) enum InitialResponse {
    /// Not sent yet: it answers the first challenge.
    Unsent(Secret<Vec<u8>>),
    /// Sent with the command; the server has not answered yet.
    Sent(Secret<Vec<u8>>),
    /// There is none, or the server has received it.
    None,
}

impl Authentication {
    /// Returns whether the client has cancelled the exchange.
    pub(super) const fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// Returns whether the mechanism is complete, so that the server's success can be believed.
    pub(super) fn is_done(&self) -> bool {
        self.cancelled.is_none()
            && !matches!(self.initial, InitialResponse::Unsent(_))
            && self.exchange.is_done()
    }

    /// Returns why the exchange failed: the mechanism's error, or the reason why the client has cancelled it.
    pub(super) fn failure(&self) -> Option<String> {
        let ours = self.cancelled.map(|why| why.to_string());
        ours.or_else(|| self.exchange.failure().map(String::from))
    }
}

impl Authentication {
    /// Returns the answer to a challenge.
    ///
    /// # Errors
    /// The reason why the exchange has to be cancelled.
    pub(super) fn answer(&mut self, text: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        let challenge = sasl::decode_base64(text)?;
        match core::mem::replace(&mut self.initial, InitialResponse::None) {
            // The client speaks first, so the first challenge carries no data. RFC 4422 §3.1 requires it to be empty;
            // some servers send a prompt.
            InitialResponse::Unsent(message) => Ok(message),
            // No mechanism of this crate starts with an empty challenge. The server has not read the initial response
            // and asks for it.
            InitialResponse::Sent(message)
                if challenge.expose().is_empty()
                    && !matches!(self.exchange.mechanism(), Mechanism::Custom(_)) =>
            {
                Ok(message)
            }
            _ => self.exchange.step(challenge.expose()),
        }
    }

    /// Returns whether the answer to the last challenge is being computed.
    pub(super) fn is_computing(&self) -> bool {
        self.cancelled.is_none() && self.exchange.is_computing()
    }
}
