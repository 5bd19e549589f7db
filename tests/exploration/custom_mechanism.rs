//! A custom mechanism that lies. Its client reports that it has finished before it has sent anything. Its server
//! accepts every client, whatever the application has answered.

use proto_mail::sasl::{
    CleartextRisk, ClientExchange, CustomMechanism, SaslContext, SaslError, ServerExchange, ServerMechanism,
    ServerStep,
};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthVerdict, Credentials, Mechanism, Secret};

/// The mechanism's name. It is allowed only under TLS.
pub(crate) const CUSTOM_MECHANISM: CustomMechanism =
    CustomMechanism::new("X-CUSTOM", CleartextRisk::AllowsGuessing).unwrap();

/// The client's message.
const MESSAGE: &[u8] = b"\0x\0x";

/// The server side of the mechanism.
#[derive(Debug)]
pub(crate) struct CustomServerMechanism;

/// A client's exchange, and whether it has sent everything.
#[derive(Debug)]
pub(crate) struct TestClient(bool);

impl TestClient {
    pub(crate) const fn new() -> Self {
        Self(false)
    }
}

/// A server's exchange, and whether the application has answered.
#[derive(Debug)]
struct TestServer(bool);

impl ClientExchange for TestClient {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(CUSTOM_MECHANISM)
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        Ok(None)
    }

    fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        if std::mem::replace(&mut self.0, true) {
            return Err(SaslError::AlreadyFinished);
        }
        Ok(Secret::new(MESSAGE.to_vec()))
    }

    fn is_done(&self) -> bool {
        true
    }
}

impl ServerMechanism for CustomServerMechanism {
    fn mechanism(&self) -> CustomMechanism {
        CUSTOM_MECHANISM
    }

    fn begin(&self, _: &mut SaslContext) -> Box<dyn ServerExchange> {
        Box::new(TestServer(false))
    }
}

impl ServerExchange for TestServer {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(CUSTOM_MECHANISM)
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        Ok(match message {
            None => ServerStep::Challenge(Vec::new()),
            Some(MESSAGE) if self.0 => ServerStep::Accepted,
            Some(MESSAGE) => {
                ServerStep::Ask(AuthQuestion::Verify(Credentials::password("x", b"x".as_slice())))
            }
            Some(_) => return Err(SaslError::Malformed),
        })
    }

    fn answer(&mut self, _: AuthVerdict) -> ServerStep {
        self.0 = true;
        ServerStep::Challenge(Vec::new())
    }
}
