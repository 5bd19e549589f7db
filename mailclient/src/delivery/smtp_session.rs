//! The steps of an SMTP session around its transactions: readiness, login, QUIT.

use proto_mail::{Channel, Credentials, Mechanism, Secure};
use proto_smtp::client::Client;

use super::session_login::SessionLogin;
use crate::login::LoggedIn;
use io_common::protocol::session_ready;
use io_mio::{Connection, ConnectionEvent, Error};

/// Waits for the greeting and the reply to EHLO.
///
/// # Errors
/// The connection is lost or a time limit passes; [`Error::ServiceRefused`] if the server refuses to serve.
pub fn wait_until_ready<C: Channel>(connection: &mut Connection<Client<C>>) -> Result<(), Error> {
    connection.drive(|turn, _, _| match turn {
        ConnectionEvent::Machine(event) => session_ready(&event),
        ConnectionEvent::Writable => Ok(None),
    })
}

/// Sends QUIT and closes. Errors are ignored: the server may have closed already.
pub(super) fn quit<C: Channel>(mut connection: Connection<Client<C>>) {
    if connection.with(|client, tx| client.quit(tx)).is_ok() {
        let _ = connection.flush();
    }
    let _ = connection.close();
}

/// Logs in on a [ready](wait_until_ready) connection, with the first of these mechanisms that fits. [`login`](crate::login)
/// says what is tried after a refusal. The credentials are not renewed.
///
/// # Errors
/// [`Error::AuthenticationFailed`] if no mechanism fits or the server refuses; or the connection is lost.
pub fn log_in(
    connection: &mut Connection<Client<Secure>>,
    order: &[Mechanism],
    credentials: Credentials,
) -> Result<LoggedIn, Error> {
    let mut login = SessionLogin::new(order, credentials);
    connection.with(|client, tx| login.start(client, tx))?;
    connection.drive(|turn, client, tx| match turn {
        ConnectionEvent::Machine(event) => login.event(&event, client, tx),
        ConnectionEvent::Writable => Ok(None),
    })
}
