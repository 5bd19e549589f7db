//! The server's side of STARTTLS (RFC 9051 §6.2.1). The session moves into the upgrade and cannot return to
//! cleartext.
//!
//! This module rejects any bytes after the command. It does not implement TLS.

use alloc::sync::Arc;

use proto_mail::{Cleartext, Error, Misuse, PeerError, RecvBuffer, Secure, SendBuffer, StartTlsRequest};

use super::Server;
use super::core::Core;
use super::session::{Session, Turn};
use crate::config::Config;

/// The server has agreed to start TLS. Finish the handshake, then call [`complete`](proto_mail::Upgrade::complete).
///
/// It holds only the configuration; all data received in cleartext were discarded.
#[derive(Debug)]
#[must_use = "finish the TLS handshake, then complete the upgrade"]
pub struct Upgrade {
    config: Arc<Config>,
}

impl Server<Cleartext> {
    /// Agrees to start TLS. The handshake begins after the contents of `tx` were written.
    ///
    /// # Errors
    /// [`Misuse::StaleToken`] if the request is not the open one. The session is lost then.
    pub fn accept_starttls(
        mut self,
        request: StartTlsRequest,
        tx: &mut SendBuffer,
    ) -> Result<Upgrade, Error> {
        self.core.answer(|session| session.answer_starttls(&request, "OK", "begin TLS now", tx))?;
        let config = self.core.into_config().ok_or(Misuse::Closed)?;
        Ok(Upgrade { config })
    }

    /// Refuses to start TLS. The session continues in cleartext.
    ///
    /// # Errors
    /// [`Misuse::StaleToken`] if the request is not the open one.
    pub fn refuse_starttls(&mut self, request: StartTlsRequest, tx: &mut SendBuffer) -> Result<(), Error> {
        let (condition, text) = ("NO [UNAVAILABLE]", "TLS is not available now");
        self.core.answer(|session| session.answer_starttls(&request, condition, text, tx))
    }
}

impl Session {
    fn answer_starttls(
        &mut self,
        request: &StartTlsRequest,
        condition: &str,
        text: &str,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.check_token(request.token())?;
        if !matches!(self.turn, Turn::StartTls) {
            return Err(Misuse::StaleToken.into());
        }
        self.turn = Turn::Command;
        self.command_ended();
        self.put_tagged(condition, text, tx);
        Ok(())
    }
}

impl proto_mail::Upgrade for Upgrade {
    type Secured = Server<Secure>;

    fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Server<Secure>, Error> {
        if !rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        // The server sends no greeting under TLS.
        Ok(Server { core: Core::upgraded(self.config, &secure), channel: secure })
    }
}
