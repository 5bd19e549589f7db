//! STARTTLS (RFC 3207): the server's upgrade to TLS.

use alloc::sync::Arc;

use proto_mail::{Cleartext, Error, Misuse, PeerError, RecvBuffer, Secure, SendBuffer, StartTlsRequest};

use super::core::{Core, State};
use super::event::Event;
use super::machine::Server;
use crate::config::Config;
use crate::reply_code::Code;
use crate::response::Response;

/// An accepted STARTTLS before the handshake is finished. It keeps nothing of the cleartext session.
#[derive(Debug)]
#[must_use = "begin the handshake and complete the upgrade, or close the connection"]
pub struct Upgrade {
    config: Arc<Config>,
}

impl Upgrade {
    /// Completes the upgrade once TLS is established. A new session begins, and the client sends EHLO again
    /// (RFC 3207 §4.2).
    ///
    /// # Errors
    /// [`PlaintextAfterStartTls`](PeerError::PlaintextAfterStartTls) if cleartext bytes followed STARTTLS.
    pub fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Server<Secure>, Error> {
        if !rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        Ok(Server { core: Core::secure(self.config, &secure), channel: secure })
    }
}

impl proto_mail::Upgrade for Upgrade {
    type Secured = Server<Secure>;

    fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Server<Secure>, Error> {
        Self::complete(self, secure, rx)
    }
}

impl Server<Cleartext> {
    /// Accepts STARTTLS: writes `220` to `tx`, which must be followed by TLS only. The server is consumed, with everything
    /// that it has learnt.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) if the request is not the open one.
    pub fn accept_starttls(self, request: StartTlsRequest, tx: &mut SendBuffer) -> Result<Upgrade, Error> {
        self.core.check_request(&request)?;
        Response::fixed(Code::READY, (0, 0), "Ready to start TLS").encode(tx);
        Ok(Upgrade { config: self.core.config })
    }

    /// Refuses STARTTLS for now with `454`. The session continues in cleartext.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) if the request is not the open one.
    pub fn refuse_starttls(&mut self, request: StartTlsRequest, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.check_request(&request)?;
        self.core.refuse_starttls(tx);
        Ok(())
    }
}

impl Core {
    fn check_request(&self, request: &StartTlsRequest) -> Result<(), Error> {
        match &self.state {
            State::StartTlsOwed if self.tokens.is_newest(request.token()) => Ok(()),
            State::Failed(error) => Err(error.clone()),
            _ => Err(Misuse::StaleToken.into()),
        }
    }

    pub(super) fn refuse_starttls(&mut self, tx: &mut SendBuffer) {
        let refusal = Response::fixed(Code::TEMPORARILY_UNAVAILABLE, (7, 0), "TLS is not available now");
        refusal.encode(tx);
        self.enter(State::Command);
    }
}

// Under TLS the STARTTLS event has no value.
const _: fn(Event<'_, Secure>) = |event| {
    if let Event::StartTls(never) = event {
        match never {}
    }
};
