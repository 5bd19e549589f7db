//! LOGIN: the server prompts for the user name, then for the password. It was never standardised, but is widely used.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::text::text;
use super::{ClientExchange, Mechanism, SaslError, ServerExchange, ServerStep};
use crate::token::AuthQuestion;
use crate::{Credentials, Secret};

pub(super) struct Client {
    username: Option<Vec<u8>>,
    password: Option<Secret<Vec<u8>>>,
}

impl Client {
    pub(super) fn new(username: String, password: Secret<Vec<u8>>) -> Self {
        Self { username: Some(username.into_bytes()), password: Some(password) }
    }
}

impl ClientExchange for Client {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Login
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok(None)
    }

    fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        // The prompts are ignored: "Username:", "User Name" and translations are all in use.
        match self.username.take() {
            Some(username) => Ok(Secret::new(username)),
            None => self.password.take().ok_or(SaslError::AlreadyFinished),
        }
    }

    fn is_done(&self) -> bool {
        self.password.is_none()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("done", &self.is_done()).finish()
    }
}

#[derive(Default)]
pub(super) struct Server {
    username: Option<String>,
}

impl ServerExchange for Server {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Login
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        let Some(message) = message else {
            return Ok(ServerStep::Challenge(b"Username:".to_vec()));
        };
        if message.is_empty() {
            return Err(SaslError::Malformed);
        }
        match self.username.take() {
            None => {
                self.username = Some(text(message)?);
                Ok(ServerStep::Challenge(b"Password:".to_vec()))
            }
            Some(username) => Ok(ServerStep::Ask(AuthQuestion::Verify(Credentials::password(
                username,
                Secret::from(message),
            )))),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("has_username", &self.username.is_some()).finish()
    }
}
