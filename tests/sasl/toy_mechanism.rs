//! A mechanism that an application provides, in both roles: two steps, and the server proves itself at the end.
//!
//! ```text
//! S: challenge             C: name SP mac(key, challenge)
//! S: mac(key, name)        C: (empty)
//! ```

use proto_mail::sasl::{
    CleartextRisk, ClientExchange, CustomMechanism, SaslContext, SaslError, ServerExchange, ServerMechanism,
    ServerStep,
};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthVerdict, Mechanism, Secret};

pub(crate) const TOY: CustomMechanism = CustomMechanism::new("X-TOY", CleartextRisk::AllowsGuessing).unwrap();
/// The same mechanism, declared as revealing nothing.
pub(crate) const OPEN: CustomMechanism = CustomMechanism::new("X-TOY", CleartextRisk::None).unwrap();

/// Not a secure MAC.
pub(crate) fn mac(key: &[u8], message: &[u8]) -> String {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key.iter().chain(b":").chain(message) {
        sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{sum:016x}")
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) mechanism: CustomMechanism,
    pub(crate) name: &'static str,
    pub(crate) key: &'static str,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Start,
    Proved,
    Done,
}

impl Client {
    pub(crate) fn new(name: &'static str, key: &'static str) -> Self {
        Self { mechanism: TOY, name, key, state: State::Start }
    }

    pub(crate) fn open(name: &'static str, key: &'static str) -> Self {
        Self { mechanism: OPEN, ..Self::new(name, key) }
    }
}

impl ClientExchange for Client {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(self.mechanism)
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok(None)
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        match self.state {
            State::Start => {
                self.state = State::Proved;
                let proof = mac(self.key.as_bytes(), challenge);
                Ok(Secret::new(format!("{} {proof}", self.name).into_bytes()))
            }
            State::Proved if challenge == mac(self.key.as_bytes(), self.name.as_bytes()).as_bytes() => {
                self.state = State::Done;
                Ok(Secret::new(Vec::new()))
            }
            State::Proved => Err(SaslError::ServerNotVerified),
            State::Done => Err(SaslError::AlreadyFinished),
        }
    }

    fn is_done(&self) -> bool {
        self.state == State::Done
    }
}

/// The server's side.
#[derive(Debug)]
pub(crate) struct Toy;

impl ServerMechanism for Toy {
    fn mechanism(&self) -> CustomMechanism {
        TOY
    }

    fn begin(&self, session: &mut SaslContext) -> Box<dyn ServerExchange> {
        let challenge = session.next_nonce().unwrap();
        Box::new(Server { challenge, name: String::new(), proof: String::new(), last: None })
    }
}

#[derive(Debug)]
struct Server {
    challenge: String,
    name: String,
    proof: String,
    last: Option<String>,
}

impl ServerExchange for Server {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(TOY)
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        match (message, &self.last) {
            (None, None) => Ok(ServerStep::Challenge(self.challenge.clone().into_bytes())),
            (Some(message), None) => {
                let message = std::str::from_utf8(message).map_err(|_| SaslError::Malformed)?;
                let (name, proof) = message.split_once(' ').ok_or(SaslError::Malformed)?;
                (self.name, self.proof) = (name.to_owned(), proof.to_owned());
                Ok(ServerStep::Ask(AuthQuestion::Stored { username: self.name.clone() }))
            }
            (Some(b""), Some(_)) => Ok(ServerStep::Accepted),
            _ => Err(SaslError::Malformed),
        }
    }

    fn answer(&mut self, verdict: AuthVerdict) -> ServerStep {
        match verdict {
            AuthVerdict::Stored(key) => {
                if mac(key.expose(), self.challenge.as_bytes()) != self.proof {
                    return ServerStep::Rejected;
                }
                self.last = Some(mac(key.expose(), self.name.as_bytes()));
                ServerStep::Ask(AuthQuestion::Authorize {
                    authorization: String::new(),
                    username: self.name.clone(),
                })
            }
            AuthVerdict::Accept => ServerStep::Challenge(self.last.clone().unwrap_or_default().into_bytes()),
            AuthVerdict::Unavailable => ServerStep::Unavailable,
            _ => ServerStep::Rejected,
        }
    }
}
