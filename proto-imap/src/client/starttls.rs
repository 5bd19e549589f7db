//! STARTTLS from the client's side (RFC 9051 §6.2.1): a gate that the client moves through and does not come back.
//!
//! This file knows that nothing may stand between the server's OK and TLS. It does not know TLS.

use alloc::sync::Arc;

use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{Cleartext, Error, PeerError, RecvBuffer, Secure, SendBuffer, Wait};

use super::Client;
use super::core::Core;
use crate::config::Config;

/// A client that has asked for TLS and has no answer yet. Whatever else the server says meanwhile is not surfaced.
#[derive(Debug)]
#[must_use = "advance it until the server has answered"]
pub struct StartTls {
    pub(super) core: Core,
}

/// The server agreed to begin TLS: finish the handshake, then [`complete`](proto_mail::Upgrade::complete).
///
/// Only the configuration is in it: what was learnt in cleartext is gone.
#[derive(Debug)]
#[must_use = "finish the TLS handshake, then complete the upgrade"]
pub struct Upgrade {
    config: Arc<Config>,
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

/// What [`Core::advance_starttls`] found.
pub(super) enum Answer {
    /// Nothing yet.
    None,
    /// Something that says nothing about TLS.
    Other,
    /// NO or BAD.
    Refused,
    /// OK.
    Agreed,
}

impl proto_mail::Upgrade for Upgrade {
    type Secured = Client<Secure>;

    fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Client<Secure>, Error> {
        if !rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        // No greeting comes under TLS: the session goes on as one that has just been greeted.
        Ok(Client { core: Core::upgraded(self.config, &secure), channel: secure })
    }
}
