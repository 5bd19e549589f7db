//! The login of a delivery's session, without I/O. Both runners use it.

use io_common::{Error, protocol::session_ready};
use proto_mail::{Credentials, Mechanism, SendBuffer};
use proto_smtp::client::{Client, Event};

use crate::channel::ClientChannel;
use crate::login::{LoggedIn, Login, LoginStep, Renewal};

/// A [`Login`] whose errors are those of a session.
pub(super) struct SessionLogin(Login);

impl SessionLogin {
    pub(super) fn new(order: &[Mechanism], credentials: Credentials) -> Self {
        Self(Login::new(order, credentials, Renewal::Impossible))
    }

    pub(super) fn start<C: ClientChannel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.0.start(client, tx).map(drop).map_err(|error| authentication_failed(&error))
    }

    pub(super) fn event<C: ClientChannel>(
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
