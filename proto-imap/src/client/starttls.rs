//! The client's side of STARTTLS (RFC 9051 §6.2.1). The client moves into the upgrade and cannot return to cleartext.
//!
//! This module rejects any bytes between the server's OK and TLS. It does not implement TLS.

use alloc::sync::Arc;

use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{Cleartext, Error, PeerError, RecvBuffer, Secure, SendBuffer, Wait};

use super::Client;
use super::core::{Answer, Core};
use crate::config::Config;

/// A client that has sent STARTTLS and waits for the answer. Other responses are not reported meanwhile.
#[derive(Debug)]
#[must_use = "advance it until the server has answered"]
pub struct StartTls {
    core: Core,
}

/// The server has agreed to start TLS. Finish the handshake, then call [`complete`](proto_mail::Upgrade::complete).
///
/// It holds only the configuration; all data received in cleartext were discarded.
#[derive(Debug)]
#[must_use = "finish the TLS handshake, then complete the upgrade"]
pub struct Upgrade {
    config: Arc<Config>,
}

impl Client<Cleartext> {
    /// Asks the server to start TLS. Call it after [`Event::Capabilities`](super::Event::Capabilities).
    ///
    /// # Errors
    /// [`StartTlsNotOffered`](proto_mail::PeerError::StartTlsNotOffered) if the server does not list it;
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) before the capabilities are known, after authentication,
    /// or while commands are in progress. Every error consumes the client, so that it cannot continue in cleartext.
    pub fn starttls(mut self, tx: &mut SendBuffer) -> Result<StartTls, Error> {
        self.core.starttls(tx)?;
        Ok(StartTls { core: self.core })
    }
}

impl StartTlsNegotiation for StartTls {
    type Refused = Client<Cleartext>;
    type Ready = Upgrade;

    fn advance(
        mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Negotiation<Self, Client<Cleartext>, Upgrade>, Error> {
        loop {
            match self.core.advance_starttls(rx, tx)? {
                Answer::None => return Ok(Negotiation::Pending(self)),
                Answer::Other => {}
                Answer::Refused => {
                    return Ok(Negotiation::Refused(Client { core: self.core, channel: Cleartext }));
                }
                Answer::Agreed => {
                    if !rx.is_empty() {
                        return Err(PeerError::PlaintextAfterStartTls.into());
                    }
                    let config = self.core.into_config().ok_or(PeerError::UnexpectedEnd)?;
                    return Ok(Negotiation::Ready(Upgrade { config }));
                }
            }
        }
    }

    fn wait(&self) -> Wait {
        self.core.wait()
    }
}

impl proto_mail::Upgrade for Upgrade {
    type Secured = Client<Secure>;

    fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Client<Secure>, Error> {
        if !rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        // The server sends no greeting under TLS. The session continues as if it had just been greeted.
        Ok(Client { core: Core::upgraded(self.config, &secure), channel: secure })
    }
}
