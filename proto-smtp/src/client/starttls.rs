//! STARTTLS (RFC 3207), the client's side of the gate.

use alloc::sync::Arc;

use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{Cleartext, Error, PeerError, RecvBuffer, Secure, SendBuffer, Wait};

use super::Client;
use super::core::Core;
use super::event::{Kind, Step};
use crate::command::Command;
use crate::config::Config;
use crate::extension::Extension;

/// A STARTTLS that was given and not yet answered.
#[derive(Debug)]
#[must_use = "look for the answer with `advance`"]
pub struct StartTls {
    core: Core,
}

/// An agreed STARTTLS, before the handshake is done: nothing of the cleartext session is left in it.
#[derive(Debug)]
#[must_use = "begin the handshake and complete the upgrade, or close the connection"]
pub struct Upgrade {
    config: Arc<Config>,
}

impl Client<Cleartext> {
    /// Gives STARTTLS. The client is used up: it comes back only if the server refuses.
    ///
    /// # Errors
    /// [`StartTlsNotOffered`](PeerError::StartTlsNotOffered), or [`WrongState`](proto_mail::Misuse::WrongState) if a
    /// reply is outstanding. Nothing was written then.
    pub fn starttls(mut self, tx: &mut SendBuffer) -> Result<StartTls, Error> {
        self.core.check_alone()?;
        if !self.core.capabilities.contains(Extension::StartTls) {
            return Err(PeerError::StartTlsNotOffered.into());
        }
        self.core.command(&Command::StartTls, Step::StartTls, tx);
        Ok(StartTls { core: self.core })
    }
}

impl StartTls {
    /// Looks for the answer.
    ///
    /// Only 220, after the last byte of STARTTLS was sent and with nothing behind it, lets TLS begin. 4yz and 5yz
    /// give the client back.
    ///
    /// # Errors
    /// Anything else.
    pub fn advance(
        mut self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Negotiation<Self, Client<Cleartext>, Upgrade>, Error> {
        match self.core.advance(rx, tx)? {
            None => Ok(Negotiation::Pending(self)),
            Some((Kind::Accepted(Step::StartTls), frame)) => {
                if rx.len() > frame.len {
                    return Err(PeerError::PlaintextAfterStartTls.into());
                }
                rx.consume(frame.len);
                Ok(Negotiation::Ready(Upgrade { config: self.core.config }))
            }
            Some((Kind::Rejected(Step::StartTls), _)) => {
                Ok(Negotiation::Refused(Client { core: self.core, channel: Cleartext }))
            }
            Some((Kind::Closed, _)) => Err(PeerError::ServerClosing.into()),
            Some(_) => Err(PeerError::UnexpectedReply.into()),
        }
    }

    /// What is awaited, and how long at most.
    #[must_use]
    pub fn wait(&self) -> Wait {
        self.core.wait()
    }
}

impl StartTlsNegotiation for StartTls {
    type Refused = Client<Cleartext>;
    type Ready = Upgrade;

    fn advance(
        self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Negotiation<Self, Client<Cleartext>, Upgrade>, Error> {
        Self::advance(self, rx, tx)
    }

    fn wait(&self) -> Wait {
        Self::wait(self)
    }
}

impl Upgrade {
    /// TLS is in place. The client says EHLO anew; what it heard before is forgotten.
    ///
    /// # Errors
    /// [`PlaintextAfterStartTls`](PeerError::PlaintextAfterStartTls) if bytes came in cleartext behind the answer.
    pub fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Client<Secure>, Error> {
        if !rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        Ok(Client { core: Core::secured(self.config).over(&secure), channel: secure })
    }
}

impl proto_mail::Upgrade for Upgrade {
    type Secured = Client<Secure>;

    fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Client<Secure>, Error> {
        Self::complete(self, secure, rx)
    }
}
