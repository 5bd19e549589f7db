//! Mechanisms that an application implements, and the checks on them.
//!
//! A client's mechanism is a [`ClientExchange`] that is passed to the machine; a server's is a [`ServerMechanism`] in the
//! configuration. The machines use them through wrappers ([`checked_exchange`] for clients), which enforce what a machine
//! relies on, whatever the mechanism does.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::text::readable;
use super::{ClientExchange, CustomMechanism, Mechanism, SaslContext, SaslError, ServerExchange, ServerStep};
use crate::Secret;
use crate::token::{AuthQuestion, AuthVerdict};

/// The longest message of a custom mechanism, in bytes: its base64 fits into the longest line that a server must accept
/// (RFC 4954 §4.5).
pub const MAX_MESSAGE_LEN: usize = 9210;

/// The most messages of a custom mechanism in one exchange.
pub const MAX_MESSAGES: u32 = 64;

/// A server's side of a mechanism that an application implements. It creates an exchange for each attempt.
///
/// Each [`ServerStep`] of an exchange is a challenge, a question to the application, or the end. The mechanism alone
/// cannot authenticate a client: [`ServerStep::Accepted`] counts only after the application has answered
/// [`AuthVerdict::Accept`] to [`AuthQuestion::Verify`] or [`AuthQuestion::Authorize`], which tell it the user.
pub trait ServerMechanism: fmt::Debug + Send + Sync {
    /// Returns the mechanism.
    fn mechanism(&self) -> CustomMechanism;

    /// Starts an exchange. `context` has the channel binding and nonces.
    fn begin(&self, context: &mut SaslContext) -> Box<dyn ServerExchange>;
}

/// The custom mechanisms of a server. There is at most one of each name.
#[derive(Debug, Clone, Default)]
pub struct CustomMechanisms(Vec<Arc<dyn ServerMechanism>>);

impl CustomMechanisms {
    /// Creates an empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a mechanism, unless there is one with its name.
    pub fn add(&mut self, mechanism: Arc<dyn ServerMechanism>) {
        if self.find(mechanism.mechanism().name().as_bytes()).is_none() {
            self.0.push(mechanism);
        }
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the mechanisms, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = CustomMechanism> {
        self.0.iter().map(|known| known.mechanism())
    }

    /// Starts an exchange of the mechanism with this name, in any case.
    pub(super) fn begin(&self, name: &[u8], context: &mut SaslContext) -> Option<Box<dyn ServerExchange>> {
        let known = self.find(name)?;
        let mechanism = known.mechanism();
        Some(Box::new(CheckedServerExchange {
            mechanism,
            exchange: Some(known.begin(context)),
            messages: 0,
            asked: Asked::Nothing,
            decision: Decision::Open,
        }))
    }

    fn find(&self, name: &[u8]) -> Option<&Arc<dyn ServerMechanism>> {
        self.0.iter().find(|known| known.mechanism().name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Wraps a client's exchange of a custom mechanism. The wrapper limits the length and number of messages, ends the
/// exchange after an error, and does not report an exchange without a message as done. Returns `None` for an exchange
/// that claims to be one of [`Mechanism::ALL`]. For machines.
#[must_use]
pub fn checked_exchange(exchange: Box<dyn ClientExchange>) -> Option<Box<dyn ClientExchange>> {
    let Mechanism::Custom(mechanism) = exchange.mechanism() else { return None };
    Some(Box::new(CheckedExchange { mechanism, exchange: Some(exchange), messages: 0, failure: None }))
}

struct CheckedExchange {
    mechanism: CustomMechanism,
    /// `None` after an error: there are no more messages, and the exchange is not done.
    exchange: Option<Box<dyn ClientExchange>>,
    messages: u32,
    failure: Option<String>,
}

impl CheckedExchange {
    /// Asks the exchange for its next message.
    fn ask(
        &mut self,
        ask: impl FnOnce(&mut dyn ClientExchange) -> Result<Option<Secret<Vec<u8>>>, SaslError>,
    ) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        let mut exchange = self.exchange.take().ok_or(SaslError::AlreadyFinished)?;
        let answer = ask(&mut *exchange);
        self.failure = exchange.failure().map(readable);
        let answer = answer?;
        if let Some(message) = &answer {
            self.messages = self.messages.saturating_add(1);
            if message.expose().len() > MAX_MESSAGE_LEN || self.messages > MAX_MESSAGES {
                return Err(SaslError::TooLong);
            }
        }
        self.exchange = Some(exchange);
        Ok(answer)
    }
}

impl ClientExchange for CheckedExchange {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(self.mechanism)
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        self.ask(|exchange| exchange.initial_response())
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        self.ask(|exchange| exchange.step(challenge).map(Some))?.ok_or(SaslError::AlreadyFinished)
    }

    fn is_computing(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.is_computing())
    }

    fn compute(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        self.ask(|exchange| exchange.compute())
    }

    fn is_done(&self) -> bool {
        self.messages > 0 && self.exchange.as_ref().is_some_and(|exchange| exchange.is_done())
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl fmt::Debug for CheckedExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// What the mechanism has asked the application last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// A value that the mechanism needs, such as stored keys.
    StoredValue,
    /// Whether the client is accepted.
    Identity,
}

/// What the application has decided about the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision {
    Open,
    Accepted,
    /// Final: a later acceptance does not count.
    Rejected,
}

/// The wrapper of a server's custom exchange: only the application can accept a client, a rejection is final, and the
/// length and number of messages are limited.
struct CheckedServerExchange {
    mechanism: CustomMechanism,
    /// `None` after the end.
    exchange: Option<Box<dyn ServerExchange>>,
    messages: u32,
    asked: Asked,
    decision: Decision,
}

impl CheckedServerExchange {
    fn check(&mut self, exchange: Box<dyn ServerExchange>, step: ServerStep) -> ServerStep {
        match &step {
            ServerStep::Challenge(challenge) if challenge.len() > MAX_MESSAGE_LEN => {
                return ServerStep::Unavailable;
            }
            ServerStep::Challenge(_) => {}
            ServerStep::Ask(_) if self.decision == Decision::Rejected => return ServerStep::Rejected,
            ServerStep::Ask(AuthQuestion::Verify(_) | AuthQuestion::Authorize { .. }) => {
                self.asked = Asked::Identity;
            }
            ServerStep::Ask(_) => self.asked = Asked::StoredValue,
            ServerStep::Accepted if self.decision != Decision::Accepted => return ServerStep::Rejected,
            ServerStep::Accepted | ServerStep::Rejected | ServerStep::Unavailable => return step,
        }
        self.exchange = Some(exchange);
        step
    }
}

impl ServerExchange for CheckedServerExchange {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(self.mechanism)
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        let mut exchange = self.exchange.take().ok_or(SaslError::AlreadyFinished)?;
        self.messages = self.messages.saturating_add(1);
        if self.messages > MAX_MESSAGES {
            return Err(SaslError::TooLong);
        }
        let step = exchange.step(message)?;
        Ok(self.check(exchange, step))
    }

    fn answer(&mut self, verdict: AuthVerdict) -> ServerStep {
        let Some(mut exchange) = self.exchange.take() else { return ServerStep::Rejected };
        match (core::mem::replace(&mut self.asked, Asked::Nothing), &verdict) {
            (_, AuthVerdict::Unavailable) => return ServerStep::Unavailable,
            (Asked::Identity, AuthVerdict::Accept) if self.decision != Decision::Rejected => {
                self.decision = Decision::Accepted;
            }
            (Asked::StoredValue, AuthVerdict::Keys(_) | AuthVerdict::Stored(_)) => {}
            _ => self.decision = Decision::Rejected,
        }
        let step = exchange.answer(verdict);
        self.check(exchange, step)
    }
}

impl fmt::Debug for CheckedServerExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerExchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
