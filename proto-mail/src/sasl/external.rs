//! EXTERNAL (RFC 4422 §A) and ANONYMOUS (RFC 4505): one message without a secret.
//!
//! The application decides whether the channel has proved an identity, and whether anonymous users are allowed.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::text::text;
use super::{ClientExchange, Mechanism, SaslError, ServerExchange, ServerStep};
use crate::token::AuthQuestion;
use crate::{Credentials, Secret};

/// The longest trace information of ANONYMOUS, in characters (RFC 4505 §2).
const MAX_TRACE: usize = 255;

/// The longest authorization identity of EXTERNAL, in bytes.
const MAX_NAME: usize = 1024;

pub(super) struct Client {
    mechanism: Mechanism,
    message: Option<String>,
}

impl Client {
    pub(super) const fn new(mechanism: Mechanism, message: String) -> Self {
        Self { mechanism, message: Some(message) }
    }

    fn take_message(&mut self) -> Result<Secret<Vec<u8>>, SaslError> {
        let message = self.message.take().ok_or(SaslError::AlreadyFinished)?;
        if fits(self.mechanism, &message) {
            Ok(Secret::new(message.into_bytes()))
        } else {
            Err(SaslError::UnencodableCredentials)
        }
    }
}

impl ClientExchange for Client {
    fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        self.take_message().map(Some)
    }

    fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        self.take_message()
    }

    fn is_done(&self) -> bool {
        self.message.is_none()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("mechanism", &self.mechanism)
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Server {
    mechanism: Mechanism,
}

impl Server {
    pub(super) const fn new(mechanism: Mechanism) -> Self {
        Self { mechanism }
    }
}

impl ServerExchange for Server {
    fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        let Some(message) = message else {
            return Ok(ServerStep::Challenge(Vec::new()));
        };
        let message = text(message)?;
        if !fits(self.mechanism, &message) {
            return Err(SaslError::Malformed);
        }
        Ok(ServerStep::Ask(AuthQuestion::Verify(match self.mechanism {
            Mechanism::Anonymous => Credentials::Anonymous { trace: message },
            _ => Credentials::External { authorization: message },
        })))
    }
}

fn fits(mechanism: Mechanism, message: &str) -> bool {
    match mechanism {
        Mechanism::Anonymous => {
            message.chars().count() <= MAX_TRACE && !message.chars().any(char::is_control)
        }
        _ => message.len() <= MAX_NAME && !message.contains('\0'),
    }
}
