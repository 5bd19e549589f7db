//! The steps of an SMTP session around its transactions: readiness, login, QUIT.

use proto_mail::{Channel, Credentials, Mechanism, Secure};
use proto_smtp::client::{AuthOutcome, Client, Event};

use io_common::protocol::service_refused;
use io_mio::{Connection, ConnectionEvent, Error};

/// Waits for the greeting and the reply to EHLO.
///
/// # Errors
/// The connection is lost or a time limit passes; [`Error::ServiceRefused`] if the server refuses to serve.
pub fn wait_until_ready<C: Channel>(connection: &mut Connection<Client<C>>) -> Result<(), Error> {
    connection.drive(|turn, _, _| match turn {
        ConnectionEvent::Machine(Event::Capabilities(_)) => Ok(Some(())),
        ConnectionEvent::Machine(Event::Rejected(_, response) | Event::Closed(Some(response))) => {
            Err(service_refused(&response))
        }
        ConnectionEvent::Machine(Event::Closed(None)) => Err(Error::Closed),
        _ => Ok(None),
    })
}

/// Sends QUIT and closes. Errors are ignored: the server may have closed already.
pub(super) fn quit<C: Channel>(mut connection: Connection<Client<C>>) {
    if connection.with(|client, tx| client.quit(tx)).is_ok() {
        let _ = connection.flush();
    }
    let _ = connection.close();
}

/// Logs in on a [ready](wait_until_ready) connection, with the first of these mechanisms that fits, and returns it.
///
/// If the server does not understand an initial response (500 or 501), the mechanism is tried once more without one. If it
/// refuses a mechanism that reveals no credentials (SCRAM; 500 to 504, 534), the next one that reveals none is tried once.
/// A mechanism that reveals the password is never a replacement, and a refused password is not tried twice.
///
/// # Errors
/// [`Error::AuthenticationFailed`] if no mechanism fits or the server refuses; or the connection is lost.
pub fn log_in(
    connection: &mut Connection<Client<Secure>>,
    order: &[Mechanism],
    credentials: Credentials,
) -> Result<Mechanism, Error> {
    let mechanism = choose(connection, order, &credentials)?;
    let kept = credentials.duplicate();
    let refused = match try_mechanism(connection, mechanism, credentials) {
        Err(refused)
            if refuses_mechanism(&refused)
                && !mechanism.reveals_credentials()
                // The client did not cancel because of the server's challenge.
                && connection.machine().authentication_failure().is_none() =>
        {
            refused
        }
        outcome => return outcome.map(|()| mechanism),
    };
    // The server cannot use this mechanism: try the next one that reveals no credentials, once.
    let rest: Vec<Mechanism> =
        order.iter().copied().filter(|other| *other != mechanism && !other.reveals_credentials()).collect();
    let Ok(next) = choose(connection, &rest, &kept) else { return Err(refused) };
    try_mechanism(connection, next, kept).map(|()| next)
}

fn choose(
    connection: &Connection<Client<Secure>>,
    order: &[Mechanism],
    credentials: &Credentials,
) -> Result<Mechanism, Error> {
    let chosen = connection.machine().choose_mechanism(order, credentials).into_result();
    chosen.map_err(|reasons| Error::AuthenticationFailed { code: None, reply: reasons.to_string() })
}

/// Whether the reply is about the mechanism and not about the password (RFC 4954 §6): 500 to 504, or 534.
const fn refuses_mechanism(error: &Error) -> bool {
    matches!(error, Error::AuthenticationFailed { code: Some(500..=504 | 534), .. })
}

/// Tries a mechanism, and once more without an initial response if the server did not understand that.
fn try_mechanism(
    connection: &mut Connection<Client<Secure>>,
    mechanism: Mechanism,
    credentials: Credentials,
) -> Result<(), Error> {
    // A session that already omits initial responses needs no second try.
    let once_more = (!connection.machine().has_refused_initial_response()).then(|| credentials.duplicate());
    match (authenticate(connection, mechanism, credentials), once_more) {
        (Err(Error::AuthenticationFailed { .. }), Some(credentials))
            if connection.machine().has_refused_initial_response() =>
        {
            authenticate(connection, mechanism, credentials)
        }
        (outcome, _) => outcome,
    }
}

fn authenticate(
    connection: &mut Connection<Client<Secure>>,
    mechanism: Mechanism,
    credentials: Credentials,
) -> Result<(), Error> {
    connection.with(|client, tx| client.authenticate(mechanism, credentials, tx))?;
    connection.drive(|turn, _, _| match turn {
        ConnectionEvent::Machine(Event::Auth(AuthOutcome::Accepted(_))) => Ok(Some(())),
        ConnectionEvent::Machine(Event::Auth(
            AuthOutcome::Rejected(response) | AuthOutcome::Cancelled(response),
        )) => Err(Error::AuthenticationFailed {
            code: Some(response.code().get()),
            reply: response.to_string(),
        }),
        ConnectionEvent::Machine(Event::Closed(Some(response))) => Err(service_refused(&response)),
        ConnectionEvent::Machine(Event::Closed(None)) => Err(Error::Closed),
        _ => Ok(None),
    })
}
