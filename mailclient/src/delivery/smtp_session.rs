//! The steps of an SMTP session around its transactions: readiness, login, QUIT.

use proto_mail::{Channel, Credentials, Mechanism, Secure, SendBuffer};
use proto_smtp::client::{Client, Event};

use crate::channel::ClientChannel;
use crate::login::{LoggedIn, Login, LoginStep, Renewal};
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
    let mut login = SessionLogin(Login::new(order, credentials, Renewal::Impossible));
    connection.with(|client, tx| login.start(client, tx))?;
    connection.drive(|turn, client, tx| match turn {
        ConnectionEvent::Machine(event) => login.event(&event, client, tx),
        ConnectionEvent::Writable => Ok(None),
    })
}

/// A [`Login`] whose errors are those of a session.
struct SessionLogin(Login);

impl SessionLogin {
    fn start<C: ClientChannel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.0.start(client, tx).map(drop).map_err(|error| authentication_failed(&error))
    }

    fn event<C: ClientChannel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<Option<LoggedIn>, Error> {
        if matches!(event, Event::Closed(_)) {
            return session_ready(event).map(|_| None);
        }
        match self.0.event(event, client, tx) {
            Ok(LoginStep::Done(logged_in)) => Ok(Some(logged_in)),
            Ok(LoginStep::Event | LoginStep::RenewCredentials) => Ok(None),
            Err(error) => Err(authentication_failed(&error)),
        }
    }
}

/// Converts the error of a login: the server's reply decides whether a retry makes sense.
fn authentication_failed(error: &crate::Error) -> Error {
    let code = error.reply().and_then(|reply| reply.code.as_deref()?.get(..3)?.parse().ok());
    let text = error.message();
    // The error says that logging in failed.
    let reply = error.own_text().and_then(|own| text.strip_prefix(own)?.strip_prefix(": ")).unwrap_or(text);
    Error::AuthenticationFailed { code, reply: reply.to_owned() }
}
