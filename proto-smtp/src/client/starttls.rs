//! STARTTLS (RFC 3207): the client's upgrade to TLS.

use alloc::sync::Arc;

use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{Cleartext, Error, PeerError, RecvBuffer, RejectionKind, Secure, SendBuffer, Wait};

use super::core::Core;
use super::event::{Kind, Step};
use super::machine::Client;
use crate::command::Command;
use crate::config::Config;
use crate::extension::Extension;
use crate::response::Response;

/// A STARTTLS whose reply is pending.
#[derive(Debug)]
#[must_use = "look for the reply with `advance`"]
pub struct StartTls {
    core: Core,
}

/// An accepted STARTTLS before the handshake is finished. It keeps nothing of the cleartext session.
#[derive(Debug)]
#[must_use = "begin the handshake and complete the upgrade, or close the connection"]
pub struct Upgrade {
    config: Arc<Config>,
}

impl Client<Cleartext> {
    /// Gives STARTTLS. The client is consumed; it is returned only if the server rejects the command.
    ///
    /// # Errors
    /// [`StartTlsNotOffered`](PeerError::StartTlsNotOffered), or [`WrongState`](proto_mail::Misuse::WrongState) if a
    /// reply is pending. Nothing was written then.
    pub fn starttls(mut self, tx: &mut SendBuffer) -> Result<StartTls, Error> {
        self.core.check_alone()?;
        if !self.core.offers(Extension::StartTls) {
            return Err(PeerError::StartTlsNotOffered.into());
        }
        self.core.send(&Command::StartTls, Step::StartTls, tx);
        Ok(StartTls { core: self.core })
    }
}

impl StartTls {
    /// Looks for the reply.
    ///
    /// TLS starts only after 220 that was received after the last byte of STARTTLS was sent, and that no byte follows. 4yz
    /// and 5yz return the client.
    ///
    /// # Errors
    /// Any other reply.
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
            Some((Kind::Closed, frame)) => {
                let reply = Response::framed(frame.code, rx.bytes().get(..frame.len).unwrap_or_default());
                Err(reply.rejection(RejectionKind::Session).into())
            }
            Some(_) => Err(PeerError::UnexpectedReply.into()),
        }
    }

    /// Returns what the client waits for, and the longest time.
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
    /// Completes the upgrade once TLS is established. The client sends EHLO again; what it learnt before is discarded.
    ///
    /// # Errors
    /// [`PlaintextAfterStartTls`](PeerError::PlaintextAfterStartTls) if cleartext bytes followed the reply.
    pub fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Client<Secure>, Error> {
        if !rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        Ok(Client { core: Core::after_starttls(self.config, &secure), channel: secure })
    }
}

impl proto_mail::Upgrade for Upgrade {
    type Secured = Client<Secure>;

    fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Client<Secure>, Error> {
        Self::complete(self, secure, rx)
    }
}
