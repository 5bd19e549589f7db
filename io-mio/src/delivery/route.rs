//! The way to a server as somebody: how its sessions are opened.
//!
//! It knows where a session leads and how it is made ready. How many there are, it does not know.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use proto_mail::{Channel, Credentials, Mechanism, Secure};
use proto_smtp::{
    Config,
    client::{AuthOutcome, Client, Event},
};

use super::wait_until_ready;
use crate::{Connection, ConnectionEvent, Connector, Error, SmtpClient, Target, smtp::unwilling};

type Open<C, E> = dyn Fn() -> Result<Connection<Client<C>>, E> + Send + Sync;

/// A way to a server, as one identity and with one set of TLS settings. Cheap to clone.
///
/// A session that a route opened serves that route and its clones and no other, even one that leads to the same place:
/// what two routes have different (who logs in, whom they trust) cannot be mixed up, since nobody compares it. Make one
/// route for each identity and clone it.
pub struct Route<C: Channel, E = Error> {
    inner: Arc<Inner<C, E>>,
}

struct Inner<C: Channel, E> {
    number: u64,
    place: Place,
    open: Box<Open<C, E>>,
}

/// Where sessions lead: what a limit for each host counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    host: String,
    port: u16,
}

impl<C: Channel, E> Route<C, E> {
    /// The way to this host and port. `open` opens a session there, logs in if need be, and returns it when it is
    /// [`wait_until_ready`]. Secrets stay with it.
    pub fn new(
        host: &str,
        port: u16,
        open: impl Fn() -> Result<Connection<Client<C>>, E> + Send + Sync + 'static,
    ) -> Self {
        static ROUTES: AtomicU64 = AtomicU64::new(0);
        let number = ROUTES.fetch_add(1, Ordering::Relaxed);
        let place = Place { host: host.to_ascii_lowercase(), port };
        Self { inner: Arc::new(Inner { number, place, open: Box::new(open) }) }
    }

    /// Which route it is.
    pub(super) fn number(&self) -> u64 {
        self.inner.number
    }

    pub(super) fn place(&self) -> &Place {
        &self.inner.place
    }

    pub(super) fn open(&self) -> Result<Connection<Client<C>>, E> {
        (self.inner.open)()
    }
}

impl Route<Secure> {
    /// The way over TLS to a server that asks nobody who they are.
    #[must_use]
    pub fn without_login(connector: &Connector, target: &Target, config: &Arc<Config>) -> Self {
        let (connector, to, config) = (connector.clone(), target.clone(), config.clone());
        let (host, port) = target.place();
        Self::new(host, port, move || {
            let mut connection = connector.connect::<SmtpClient>(&to, &config)?;
            wait_until_ready(&mut connection)?;
            Ok(connection)
        })
    }

    /// The way over TLS to a server, as the one whose credentials these are. `credentials` is asked once for each
    /// session: a token may be another one by then. The strongest mechanism that fits is taken.
    #[must_use]
    pub fn with_login(
        connector: &Connector,
        target: &Target,
        config: &Arc<Config>,
        credentials: impl Fn() -> Result<Credentials, Error> + Send + Sync + 'static,
    ) -> Self {
        let (connector, to, config) = (connector.clone(), target.clone(), config.clone());
        let (host, port) = target.place();
        Self::new(host, port, move || {
            let mut connection = connector.connect::<SmtpClient>(&to, &config)?;
            wait_until_ready(&mut connection)?;
            log_in(&mut connection, &Mechanism::ALL, credentials()?)?;
            Ok(connection)
        })
    }
}

impl<C: Channel, E> Clone for Route<C, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<C: Channel, E> fmt::Debug for Route<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        f.debug_struct("Route").field("host", &place.host).field("port", &place.port).finish_non_exhaustive()
    }
}

/// Logs in on a connection that is [`wait_until_ready`], with the first of these mechanisms that fits. A server that does not
/// understand an initial response (500 or 501) is asked once more without one. A server that refuses a mechanism which
/// reveals nothing (SCRAM; 500 to 504, 534) is asked once for the next one that reveals nothing, never for one that
/// reveals the password. A refused password is not tried twice.
///
/// # Errors
/// [`Error::AuthenticationFailed`]: no mechanism fits, or the server says no. Or the connection is lost.
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
                // The client did not cancel because of what the server said.
                && connection.machine().authentication_failure().is_none() =>
        {
            refused
        }
        outcome => return outcome.map(|()| mechanism),
    };
    // A server that cannot do a mechanism is asked for the next one that reveals nothing, once.
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

/// Tries a mechanism, and once more without an initial response where the server did not understand it.
fn try_mechanism(
    connection: &mut Connection<Client<Secure>>,
    mechanism: Mechanism,
    credentials: Credentials,
) -> Result<(), Error> {
    // Where none goes with the command from the start, none is to blame.
    let once_more = (!connection.machine().has_refused_initial_response()).then(|| credentials.duplicate());
    match (prove(connection, mechanism, credentials), once_more) {
        (Err(Error::AuthenticationFailed { .. }), Some(credentials))
            if connection.machine().has_refused_initial_response() =>
        {
            prove(connection, mechanism, credentials)
        }
        (outcome, _) => outcome,
    }
}

fn prove(
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
        ConnectionEvent::Machine(Event::Closed(Some(response))) => Err(unwilling(&response)),
        ConnectionEvent::Machine(Event::Closed(None)) => Err(Error::Closed),
        _ => Ok(None),
    })
}
