//! PLAIN (RFC 4616): `[authzid] NUL authcid NUL passwd`, one message.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::text::text;
use super::{ClientExchange, Mechanism, SaslError, ServerExchange, ServerStep};
use crate::token::AuthQuestion;
use crate::{Credentials, Secret};

pub(super) struct Client {
    message: Option<Result<Secret<Vec<u8>>, SaslError>>,
}

impl Client {
    pub(super) fn new(authorization: String, username: String, password: Secret<Vec<u8>>) -> Self {
        Self { message: Some(message(&authorization, &username, password.expose())) }
    }
}

fn message(authorization: &str, username: &str, password: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
    if authorization.contains('\0') || username.contains('\0') || password.contains(&0) {
        return Err(SaslError::UnencodableCredentials);
    }
    let mut message = Vec::with_capacity(authorization.len() + username.len() + password.len() + 2);
    message.extend_from_slice(authorization.as_bytes());
    message.push(0);
    message.extend_from_slice(username.as_bytes());
    message.push(0);
    message.extend_from_slice(password);
    Ok(Secret::new(message))
}

impl ClientExchange for Client {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Plain
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        self.message.take().transpose()
    }

    fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        self.message.take().unwrap_or(Err(SaslError::AlreadyFinished))
    }

    fn is_done(&self) -> bool {
        self.message.is_none()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("done", &self.is_done()).finish()
    }
}

#[derive(Debug)]
pub(super) struct Server;

impl ServerExchange for Server {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Plain
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        let Some(message) = message else {
            return Ok(ServerStep::Challenge(Vec::new()));
        };
        let mut fields = message.split(|&byte| byte == 0);
        let (Some(authorization), Some(username), Some(password), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(SaslError::Malformed);
        };
        if username.is_empty() || password.is_empty() {
            return Err(SaslError::Malformed);
        }
        Ok(ServerStep::Ask(AuthQuestion::Verify(Credentials::Password {
            authorization: text(authorization)?,
            username: text(username)?,
            password: Secret::from(password),
        })))
    }
}
