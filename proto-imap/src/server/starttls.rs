//! STARTTLS from the server's side (RFC 9051 §6.2.1): a gate that the session moves through and does not come back.
//!
//! This file knows that nothing may stand behind the command. It does not know TLS.

use alloc::sync::Arc;

use proto_mail::{Error, PeerError, RecvBuffer, Secure};

use super::Server;
use super::core::Core;
use crate::config::Config;

/// STARTTLS was agreed: finish the handshake, then [`complete`](proto_mail::Upgrade::complete).
///
/// Only the configuration is in it: what was learnt in cleartext is gone.
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
        // No greeting comes under TLS.
        Ok(Server { core: Core::upgraded(self.config, &secure), channel: secure })
    }
}
