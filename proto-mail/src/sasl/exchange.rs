//! What a mechanism implements: the client's and the server's side of an exchange.

use alloc::vec::Vec;
use core::fmt;

use super::{Mechanism, SaslError};
use crate::Secret;
use crate::token::{AuthQuestion, AuthVerdict};

/// A client's side of an exchange. An application that implements a mechanism of its own passes its exchange to
/// `authenticate_with` of either protocol's client.
///
/// ```
/// use proto_mail::sasl::{CleartextRisk, ClientExchange, CustomMechanism, Mechanism, SaslError};
/// use proto_mail::Secret;
///
/// const MIRROR: CustomMechanism = CustomMechanism::new("X-MIRROR", CleartextRisk::AllowsGuessing).unwrap();
///
/// /// Answers the one challenge with its bytes reversed.
/// #[derive(Debug)]
/// struct Mirror { answered: bool }
///
/// impl ClientExchange for Mirror {
///     fn mechanism(&self) -> Mechanism {
///         Mechanism::Custom(MIRROR)
///     }
///     fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
///         Ok(None) // the server speaks first
///     }
///     fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
///         if std::mem::replace(&mut self.answered, true) {
///             return Err(SaslError::AlreadyFinished);
///         }
///         Ok(Secret::new(challenge.iter().rev().copied().collect()))
///     }
///     fn is_done(&self) -> bool {
///         self.answered
///     }
/// }
/// ```
pub trait ClientExchange: fmt::Debug + Send {
    /// Returns the mechanism.
    fn mechanism(&self) -> Mechanism;

    /// Returns the initial response of a mechanism in which the client sends the first message. Called at most once,
    /// before [`step`](Self::step). A protocol that cannot send an initial response sends it as the answer to the
    /// server's first, empty challenge.
    ///
    /// # Errors
    /// The mechanism cannot transmit the credentials.
    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError>;

    /// Returns the answer to a challenge. Neither is base64 here.
    ///
    /// # Errors
    /// The challenge is invalid: the client cancels the exchange.
    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError>;

    /// Returns true if the answer to the last challenge takes more computation: what [`step`](Self::step) returned is empty
    /// and must not be sent. [`compute`](Self::compute) returns the answer.
    ///
    /// A mechanism that answers each challenge at once, as most do, does not implement it.
    fn is_computing(&self) -> bool {
        false
    }

    /// Computes for a few milliseconds, while [`is_computing`](Self::is_computing). Returns the answer when it is complete.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    fn compute(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok(None)
    }

    /// Returns true if the exchange is complete, so that a success reported by the server can be trusted.
    fn is_done(&self) -> bool;

    /// Returns the reason that the server gave for a failure inside the mechanism (the JSON of XOAUTH2 and OAUTHBEARER).
    fn failure(&self) -> Option<&str> {
        None
    }
}

/// What a server does next in an exchange.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerStep {
    /// Send this challenge, which is not base64 yet.
    Challenge(Vec<u8>),
    /// Ask the application, then call [`ServerExchange::answer`].
    Ask(AuthQuestion),
    /// The exchange is over: the client is authenticated.
    Accepted,
    /// The exchange is over: the client is rejected.
    Rejected,
    /// The exchange is over: the application could not tell.
    Unavailable,
}

/// A server's side of an exchange.
pub trait ServerExchange: fmt::Debug + Send {
    /// Returns the mechanism.
    fn mechanism(&self) -> Mechanism;

    /// Processes the client's next message; `None` if the client sent no initial response.
    ///
    /// # Errors
    /// The message does not match the grammar of the mechanism: the server rejects the client.
    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError>;

    /// Processes the application's answer to [`ServerStep::Ask`].
    fn answer(&mut self, verdict: AuthVerdict) -> ServerStep {
        match verdict {
            AuthVerdict::Accept => ServerStep::Accepted,
            AuthVerdict::Unavailable => ServerStep::Unavailable,
            AuthVerdict::Reject | AuthVerdict::Keys(_) | AuthVerdict::Stored(_) => ServerStep::Rejected,
        }
    }
}
