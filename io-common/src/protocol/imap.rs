//! IMAP for the drivers.

use std::sync::Arc;

use proto_imap::{Config, client, server};
use proto_mail::{Cleartext, Secret, Secure, SendBuffer, StartTlsRequest};

use super::traits::{ClientProtocol, MachineMut, Protocol, ServerProtocol, StartTlsReadiness};
use crate::error::Error;

/// An IMAP client.
#[derive(Debug, Clone, Copy)]
pub struct ImapClientProtocol;

/// An IMAP server.
#[derive(Debug, Clone, Copy)]
pub struct ImapServer;

impl Protocol for ImapClientProtocol {
    type Cleartext = client::Client<Cleartext>;
    type Secure = client::Client<Secure>;
    type Upgrade = client::Upgrade;
    type Config = Arc<Config>;

    const NAME: &'static str = "imap";
    const IMPLICIT_TLS_PORT: u16 = 993;
    const STARTTLS_PORT: u16 = 143;
}

impl ClientProtocol for ImapClientProtocol {
    type Negotiation = client::StartTls;

    fn open(config: &Arc<Config>, _: &mut SendBuffer) -> Self::Cleartext {
        client::Client::<Cleartext>::new(config.clone())
    }

    fn open_with_seed(config: &Arc<Config>, seed: Secret<[u8; 32]>, _: &mut SendBuffer) -> Self::Cleartext {
        client::Client::<Cleartext>::new(config.clone()).with_seed(seed)
    }

    fn open_secure(config: &Arc<Config>, secure: Secure, _: &mut SendBuffer) -> Self::Secure {
        client::Client::<Secure>::new(config.clone(), secure)
    }

    fn prepare_starttls(
        event: client::Event<'_>,
        _: &mut Self::Cleartext,
        _: &mut SendBuffer,
    ) -> Result<StartTlsReadiness, Error> {
        // The machine sends CAPABILITY itself if the greeting does not contain the capabilities.
        Ok(match event {
            client::Event::Capabilities => StartTlsReadiness::Ready,
            _ => StartTlsReadiness::Continue,
        })
    }

    fn starttls(
        machine: Self::Cleartext,
        tx: &mut SendBuffer,
    ) -> Result<client::StartTls, proto_mail::Error> {
        machine.starttls(tx)
    }
}

impl Protocol for ImapServer {
    type Cleartext = server::Server<Cleartext>;
    type Secure = server::Server<Secure>;
    type Upgrade = server::Upgrade;
    type Config = Arc<Config>;

    const NAME: &'static str = "imap";
    const IMPLICIT_TLS_PORT: u16 = 993;
    const STARTTLS_PORT: u16 = 143;
}

impl ServerProtocol for ImapServer {
    const TOO_MANY_CONNECTIONS: &'static [u8] =
        b"* BYE [UNAVAILABLE] too many connections, try again later\r\n";
    const LOGIN_TIMED_OUT: &'static [u8] = b"* BYE you did not log in in time\r\n";

    fn open(config: &Arc<Config>, tx: &mut SendBuffer) -> Self::Cleartext {
        server::Server::<Cleartext>::new(config.clone(), tx)
    }

    fn open_secure(config: &Arc<Config>, secure: Secure, tx: &mut SendBuffer) -> Self::Secure {
        server::Server::<Secure>::new(config.clone(), secure, tx)
    }

    fn accept(
        machine: Self::Cleartext,
        request: StartTlsRequest,
        tx: &mut SendBuffer,
    ) -> Result<server::Upgrade, proto_mail::Error> {
        machine.accept_starttls(request, tx)
    }

    fn shutdown(machine: MachineMut<'_, Self>, tx: &mut SendBuffer) {
        let text = "the server is shutting down, try again later";
        match machine {
            MachineMut::Cleartext(machine) => machine.shutdown(text, tx),
            MachineMut::Secure(machine) => machine.shutdown(text, tx),
        }
    }
}
