//! A deliberately careless SASL mechanism provided by the application: the client decides what its server does next.
//! The machine's guarantees must hold all the same.
//!
//! ```text
//! ?  a challenge             v  ask the application     d  as v, and continue after the answer
//! !  accept the client       s  request stored keys     anything else: an error
//! ```

use std::sync::Arc;

use proto_mail::sasl::{
    CleartextRisk, ClientExchange, CustomMechanism, SaslContext, SaslError, ServerExchange, ServerMechanism,
    ServerStep,
};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthVerdict, Mechanism, Secret};

const OWN: CustomMechanism = CustomMechanism::new("X-OWN", CleartextRisk::AllowsGuessing).unwrap();

/// A mechanism that reveals nothing to an eavesdropper, so that cleartext allows it.
const QUIET: CustomMechanism = CustomMechanism::new("X-QUIET", CleartextRisk::None).unwrap();

/// A client's mechanism, and what a client must make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientMechanism {
    /// It is allowed only under TLS.
    Own,
    /// It is allowed in cleartext as well, if the configuration allows logins there.
    Quiet,
    /// It claims to be a mechanism of the protocol crates, and must be refused.
    Impostor,
}

impl ClientMechanism {
    /// The mechanism with this number.
    #[must_use]
    pub const fn numbered(number: u8) -> Self {
        match number {
            0 => Self::Own,
            1 => Self::Quiet,
            _ => Self::Impostor,
        }
    }

    /// Its name, if it may be used.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Own => Some(OWN.name()),
            Self::Quiet => Some(QUIET.name()),
            Self::Impostor => None,
        }
    }
}

/// A client's exchange. It sends a first message if the mechanism is [`ClientMechanism::Quiet`], answers every challenge,
/// and always claims to be done.
#[must_use]
pub fn client_exchange(mechanism: ClientMechanism) -> Box<dyn ClientExchange> {
    Box::new(ClientSide(mechanism))
}

#[derive(Debug)]
struct ClientSide(ClientMechanism);

impl ClientExchange for ClientSide {
    fn mechanism(&self) -> Mechanism {
        match self.0 {
            ClientMechanism::Own => Mechanism::Custom(OWN),
            ClientMechanism::Quiet => Mechanism::Custom(QUIET),
            ClientMechanism::Impostor => Mechanism::Plain,
        }
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok((self.0 == ClientMechanism::Quiet).then(|| Secret::new(b"v".to_vec())))
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        if challenge == b"no" { Err(SaslError::Malformed) } else { Ok(Secret::new(b"v".to_vec())) }
    }

    fn is_done(&self) -> bool {
        true
    }
}

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
