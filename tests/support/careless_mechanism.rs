//! A deliberately careless SASL mechanism provided by the application: the client decides what its server does next.
//! The machine's guarantees must hold all the same.
//!
//! ```text
//! ?  a challenge             v  ask the application     d  as v, and continue after the answer
//! !  accept the client       s  request stored keys     anything else: an error
//! ```

use std::sync::Arc;

use proto_mail::sasl::{
    CleartextRisk, CustomMechanism, SaslContext, SaslError, ServerExchange, ServerMechanism, ServerStep,
};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthVerdict, Mechanism};

const OWN: CustomMechanism = CustomMechanism::new("X-OWN", CleartextRisk::AllowsGuessing).unwrap();

/// The mechanism, as a server's configuration takes it.
#[must_use]
pub fn mechanism() -> Arc<dyn ServerMechanism> {
    Arc::new(Own)
}

#[derive(Debug)]
struct Own;

impl ServerMechanism for Own {
    fn mechanism(&self) -> CustomMechanism {
        OWN
    }

    fn begin(&self, _: &mut SaslContext) -> Box<dyn ServerExchange> {
        Box::new(Exchange { dances: false })
    }
}

#[derive(Debug)]
struct Exchange {
    dances: bool,
}

impl ServerExchange for Exchange {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Plain
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        let username = || "x".to_owned();
        Ok(match message {
            None | Some(b"?") => ServerStep::Challenge(b"more".to_vec()),
            Some(b"!") => ServerStep::Accepted,
            Some(b"s") => ServerStep::Ask(AuthQuestion::Stored { username: username() }),
            Some(word @ (b"v" | b"d")) => {
                self.dances = word == b"d";
                ServerStep::Ask(AuthQuestion::Authorize {
                    authorization: String::new(),
                    username: username(),
                })
            }
            Some(_) => return Err(SaslError::Malformed),
        })
    }

    /// Whatever the application answers.
    fn answer(&mut self, _: AuthVerdict) -> ServerStep {
        if self.dances { ServerStep::Challenge(b"because".to_vec()) } else { ServerStep::Accepted }
    }
}
