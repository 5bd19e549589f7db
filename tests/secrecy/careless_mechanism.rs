//! A deliberately careless mechanism that an application provides: its client's messages are secret, and `Debug` of
//! both sides shows them. Mailwire must not.
//!
//! ```text
//! C: name NUL password     S: more
//! C: token                 (the application is asked)
//! ```

use proto_mail::sasl::{
    CleartextRisk, ClientExchange, CustomMechanism, SaslContext, SaslError, ServerExchange, ServerMechanism,
    ServerStep,
};
use proto_mail::token::AuthQuestion;
use proto_mail::{Credentials, Mechanism, Secret};

use crate::{PASSWORDS, TOKEN, USER};

pub(crate) const CARELESS: CustomMechanism =
    CustomMechanism::new("X-CARELESS", CleartextRisk::RevealsCredentials).unwrap();

/// The client's side: its progress, and all its messages.
#[derive(Debug)]
pub(crate) struct Client {
    says: Vec<String>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self { says: vec![TOKEN.to_owned(), format!("{USER}\0{}", PASSWORDS[2])] }
    }

    fn say(&mut self) -> Option<Secret<Vec<u8>>> {
        self.says.pop().map(|message| Secret::new(message.into_bytes()))
    }
}

impl ClientExchange for Client {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(CARELESS)
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok(self.say())
    }

    fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        self.say().ok_or(SaslError::AlreadyFinished)
    }

    fn is_done(&self) -> bool {
        self.says.is_empty()
    }
}

/// The server's side.
#[derive(Debug)]
pub(crate) struct Careless;

impl ServerMechanism for Careless {
    fn mechanism(&self) -> CustomMechanism {
        CARELESS
    }

    fn begin(&self, _: &mut SaslContext) -> Box<dyn ServerExchange> {
        Box::new(Server { heard: Vec::new() })
    }
}

#[derive(Debug)]
struct Server {
    heard: Vec<String>,
}

impl ServerExchange for Server {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(CARELESS)
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        let Some(message) = message else { return Ok(ServerStep::Challenge(Vec::new())) };
        self.heard.push(String::from_utf8_lossy(message).into_owned());
        if self.heard.len() == 1 {
            return Ok(ServerStep::Challenge(b"more".to_vec()));
        }
        Ok(ServerStep::Ask(AuthQuestion::Verify(Credentials::bearer(USER, TOKEN))))
    }
}
