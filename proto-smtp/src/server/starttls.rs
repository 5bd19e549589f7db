//! STARTTLS (RFC 3207), the server's side of the gate.

use alloc::sync::Arc;

use proto_mail::{Cleartext, Error, Misuse, PeerError, RecvBuffer, Secure, SendBuffer, StartTlsRequest};

use super::core::{Core, State};
use super::{Event, Server};
use crate::config::Config;
use crate::response::Response;
use crate::status_code::Code;

/// An agreed STARTTLS, before the handshake is done: nothing of the cleartext session is left in it.
#[derive(Debug)]
#[must_use = "begin the handshake and complete the upgrade, or close the connection"]
pub struct Upgrade {
    config: Arc<Config>,
}

impl Upgrade {
    /// TLS is in place. The session begins anew, and the client greets again (RFC 3207 §4.2).
    ///
    /// # Errors
    /// [`PlaintextAfterStartTls`](PeerError::PlaintextAfterStartTls) if bytes came in cleartext behind STARTTLS.
    pub fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Server<Secure>, Error> {
        if !rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        Ok(Server { core: Core::new(self.config, true).over(&secure), channel: secure })
    }
}

impl proto_mail::Upgrade for Upgrade {
    type Secured = Server<Secure>;

    fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Server<Secure>, Error> {
        Self::complete(self, secure, rx)
    }
}

impl Server<Cleartext> {
    /// Agrees to STARTTLS: `220` goes to `tx`, and after that only TLS. The server is used up: what it knew is
    /// forgotten.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) if the request is not the one that is open.
    pub fn accept(self, request: StartTlsRequest, tx: &mut SendBuffer) -> Result<Upgrade, Error> {
        self.core.check_request(&request)?;
        Response::fixed(Code::READY, (0, 0), "Ready to start TLS").encode(tx);
        Ok(Upgrade { config: self.core.config })
    }

    /// Refuses STARTTLS for now, with `454`; the session goes on in cleartext.
    ///
    /// # Errors
    /// [`StaleToken`](Misuse::StaleToken) if the request is not the one that is open.
    pub fn refuse(&mut self, request: StartTlsRequest, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.check_request(&request)?;
        self.core.refuse_starttls(tx);
        Ok(())
    }
}

impl Core {
    fn check_request(&self, request: &StartTlsRequest) -> Result<(), Error> {
        match self.state {
            State::StartTls if self.tokens.is_newest(request.token()) => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(Misuse::StaleToken.into()),
        }
    }

    pub(super) fn refuse_starttls(&mut self, tx: &mut SendBuffer) {
        let refusal = Response::fixed(Code::TEMPORARILY_UNAVAILABLE, (7, 0), "TLS is not available now");
        refusal.encode(tx);
        self.enter(State::Command);
    }
}

// The event that asks for STARTTLS has no value under TLS.
const _: fn(Event<'_, Secure>) = |event| {
    if let Event::StartTls(never) = event {
        match never {}
    }
};
