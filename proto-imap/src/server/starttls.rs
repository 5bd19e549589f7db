//! The server's side of STARTTLS (RFC 9051 §6.2.1). The session moves into the upgrade and cannot return to
//! cleartext.
//!
//! This module rejects any bytes after the command. It does not implement TLS.

use alloc::sync::Arc;

use proto_mail::{Error, PeerError, RecvBuffer, Secure};

use super::Server;
use super::core::Core;
use crate::config::Config;

/// The server has agreed to start TLS. Finish the handshake, then call [`complete`](proto_mail::Upgrade::complete).
///
/// It holds only the configuration; all data received in cleartext were discarded.
#[derive(Debug)]
#[must_use = "finish the TLS handshake, then complete the upgrade"]
pub struct Upgrade {
    pub(super) config: Arc<Config>,
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
