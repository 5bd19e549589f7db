//! SMTP and LMTP for the drivers.

use std::{net::IpAddr, sync::Arc};

use proto_mail::{Cleartext, Secret, Secure, SendBuffer, StartTlsRequest};
use proto_smtp::{
    Config,
    client::{self, Event, Step},
    server,
    types::{Code, Domain, EnhancedCode, Response},
};

use super::traits::{ClientProtocol, MachineMut, Protocol, ServerProtocol, StartTlsReadiness};
use crate::error::Error;

/// An SMTP client.
#[derive(Debug, Clone, Copy)]
pub struct SmtpClientProtocol;

/// An SMTP or LMTP server.
#[derive(Debug, Clone, Copy)]
pub struct SmtpServer;

impl Protocol for SmtpClientProtocol {
    type Cleartext = client::Client<Cleartext>;
    type Secure = client::Client<Secure>;
    type Upgrade = client::Upgrade;
    type Config = Arc<Config>;

    const NAME: &'static str = "smtp";
    const IMPLICIT_TLS_PORT: u16 = 465;
    const STARTTLS_PORT: u16 = 587;
}

impl ClientProtocol for SmtpClientProtocol {
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

    fn config_for_address(config: &Arc<Config>, local: IpAddr) -> Arc<Config> {
        if config.has_own_name() {
            return config.clone();
        }
        Arc::new(Config::clone(config).name(Domain::from(local.to_canonical())))
    }

    fn prepare_starttls(
        event: Event<'_>,
        _: &mut Self::Cleartext,
        _: &mut SendBuffer,
    ) -> Result<StartTlsReadiness, Error> {
        // The machine sends EHLO itself.
        Ok(match session_ready(&event)? {
            Some(()) => StartTlsReadiness::Ready,
            None => StartTlsReadiness::Continue,
        })
    }

    fn starttls(
        machine: Self::Cleartext,
        tx: &mut SendBuffer,
    ) -> Result<client::StartTls, proto_mail::Error> {
        machine.starttls(tx)
    }
}

impl Protocol for SmtpServer {
    type Cleartext = server::Server<Cleartext>;
    type Secure = server::Server<Secure>;
    type Upgrade = server::Upgrade;
    type Config = Arc<Config>;

    const NAME: &'static str = "smtp";
    const IMPLICIT_TLS_PORT: u16 = 465;
    const STARTTLS_PORT: u16 = 587;
}

impl ServerProtocol for SmtpServer {
    const TOO_MANY_CONNECTIONS: &'static [u8] = b"421 4.3.2 Too many connections, try again later\r\n";
    const LOGIN_TIMED_OUT: &'static [u8] = b"421 4.4.2 You did not log in in time\r\n";

    fn requires_login(config: &Arc<Config>) -> bool {
        config.requires_authentication()
    }

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

    fn refuse(config: &Arc<Config>, tx: &mut SendBuffer) {
        drop(server::Server::<Cleartext>::refusing(config.clone(), &too_busy(), tx));
    }

    fn refuse_secure(config: &Arc<Config>, secure: Secure, tx: &mut SendBuffer) {
        drop(server::Server::<Secure>::refusing(config.clone(), secure, &too_busy(), tx));
    }

    fn shutdown(machine: MachineMut<'_, Self>, tx: &mut SendBuffer) {
        match machine {
            MachineMut::Cleartext(machine) => machine.shutdown("The server is going down", tx),
            MachineMut::Secure(machine) => machine.shutdown("The server is going down", tx),
        }
    }
}

/// Returns `Some` once an SMTP server has greeted the client and answered EHLO: commands can be sent.
///
/// # Errors
/// [`Error::ServiceRefused`] if the server refuses to serve; [`Error::Closed`] if it closed the connection.
pub fn session_ready(event: &Event<'_>) -> Result<Option<()>, Error> {
    match event {
        Event::Capabilities(_) => Ok(Some(())),
        Event::Rejected(Step::Greeting | Step::Hello, reply) | Event::Closed(Some(reply)) => {
            Err(service_refused(reply))
        }
        Event::Closed(None) => Err(Error::Closed),
        _ => Ok(None),
    }
}

/// The error for a server that refuses to serve with this reply.
pub fn service_refused(response: &Response<'_>) -> Error {
    Error::ServiceRefused { code: response.code().get(), reply: response.to_string() }
}

fn too_busy() -> Response<'static> {
    let response = Response::new(Code::UNAVAILABLE, "Too many connections, try again later");
    match EnhancedCode::new(4, 3, 2) {
        Some(code) => response.with_enhanced(code),
        None => response,
    }
}
