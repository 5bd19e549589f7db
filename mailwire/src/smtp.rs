//! An SMTP session as a linear program has it: open, log in, quit.
//!
//! It knows how the commands of this program use the client machine. What a message is stands in `send`.

use std::sync::Arc;

use io_mio::{Connection, ConnectionEvent, Connector, SmtpClient};
use proto_mail::sasl::MechanismChoice;
use proto_mail::{Channel, Cleartext, Credentials, Error, Mechanism, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::{AuthOutcome, Client, Event};
use proto_smtp::types::Response;

use crate::check::{LoggedIn, Progress, Stop, no_user};
use crate::classify::{self, ServerReply};
use crate::cli::Stage;
use crate::connect::Way;
use crate::failure::{Failure, Kind};
use crate::login::{self, Prover, Refusal};

/// What is to be done with a session, whichever channel it has.
pub(crate) trait Task {
    /// What comes of it.
    type Output;
    /// What goes wrong.
    type Error: From<Failure>;

    fn run<C: Channel>(self, session: &mut Session<C>) -> Result<Self::Output, Self::Error>
    where
        Client<C>: Authenticate;
}

/// Connects, does the task, and quits.
pub(crate) fn with_session<T: Task>(
    way: &Way,
    connector: &Connector,
    config: Config,
    task: T,
) -> Result<T::Output, T::Error> {
    if way.is_cleartext()? {
        run(Session::<Cleartext>::open(way, connector, config)?, task)
    } else {
        run(Session::<Secure>::open(way, connector, config)?, task)
    }
}

fn run<C: Channel, T: Task>(mut session: Session<C>, task: T) -> Result<T::Output, T::Error>
where
    Client<C>: Authenticate,
{
    let done = task.run(&mut session);
    session.quit();
    done
}

/// The difference that the channel makes: how one authenticates.
pub(crate) trait Authenticate {
    fn prove(
        &mut self,
        mechanism: Mechanism,
        credentials: Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error>;
}

impl Authenticate for Client<Secure> {
    fn prove(
        &mut self,
        mechanism: Mechanism,
        credentials: Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.authenticate(mechanism, credentials, tx)
    }
}

impl Authenticate for Client<Cleartext> {
    fn prove(
        &mut self,
        mechanism: Mechanism,
        credentials: Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.danger_cleartext_authenticate(mechanism, credentials, tx)
    }
}

/// A session.
pub(crate) struct Session<C: Channel> {
    pub(crate) connection: Connection<Client<C>>,
    may_log_in: bool,
    greeted: bool,
    /// How it ends.
    pub(crate) parting: Parting,
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// With QUIT.
    Quit,
    /// The connection is closed.
    Close,
}

impl Session<Secure> {
    /// Connects, with TLS.
    pub(crate) fn open(way: &Way, connector: &Connector, config: Config) -> Result<Self, Failure> {
        let connection = connector.connect::<SmtpClient>(&way.target(), &Arc::new(config))?;
        Ok(Self { connection, may_log_in: true, greeted: false, parting: Parting::Quit })
    }
}

impl Session<Cleartext> {
    /// Connects, without TLS.
    pub(crate) fn open(way: &Way, connector: &Connector, config: Config) -> Result<Self, Failure> {
        let config = Arc::new(config.danger_cleartext());
        let connection = connector.danger_connect_cleartext::<SmtpClient>(&way.target(), &config)?;
        let may_log_in = way.options.danger_cleartext_login;
        Ok(Self { connection, may_log_in, greeted: false, parting: Parting::Quit })
    }
}

impl<C: Channel> Session<C>
where
    Client<C>: Authenticate,
{
    /// Waits until the server has said what it offers; `greeting` is called with what it greets with, if that is
    /// still to come.
    pub(crate) fn ready<E: From<Failure> + From<io_mio::Error>>(
        &mut self,
        mut greeting: impl FnMut(&Response<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.greeted {
            return Ok(());
        }
        self.connection.drive(|turn, _, _| match turn {
            ConnectionEvent::Machine(Event::Greeting(response)) => greeting(&response).map(|()| None),
            ConnectionEvent::Machine(Event::Capabilities(_)) => Ok(Some(())),
            ConnectionEvent::Machine(Event::Rejected(_, response)) => Err(unwilling(Some(&response)).into()),
            ConnectionEvent::Machine(Event::Closed(response)) => Err(unwilling(response.as_ref()).into()),
            _ => Ok(None),
        })?;
        self.greeted = true;
        Ok(())
    }

    /// What the server offers, as it said it.
    pub(crate) fn extensions(&self) -> Vec<String> {
        let capabilities = self.connection.machine().capabilities();
        let keywords = capabilities.into_iter().flat_map(|capabilities| capabilities.keywords());
        keywords
            .map(|(keyword, value)| {
                let text = [keyword, value].map(|part| String::from_utf8_lossy(part).into_owned()).join(" ");
                text.trim_end().to_owned()
            })
            .collect()
    }

    /// Proves who the user is.
    pub(crate) fn log_in(&mut self, way: &Way, credentials: &Credentials) -> Result<LoggedIn, Failure> {
        if !self.may_log_in {
            return Err(login::not_without_tls());
        }
        self.ready(|_| Ok::<_, Failure>(()))?;
        login::log_in(self, way, credentials)
    }

    /// Says good-bye. That the server may already be gone is no failure.
    fn quit(self) {
        let mut connection = self.connection;
        if self.parting == Parting::Quit && connection.with(|client, tx| client.quit(tx)).is_ok() {
            let until = std::time::Instant::now() + std::time::Duration::from_secs(2);
            let _ = connection.drive_until(until, |turn, _, _| match turn {
                ConnectionEvent::Machine(Event::Closed(_)) => Ok::<_, Failure>(Some(())),
                _ => Ok(None),
            });
        }
        let _ = connection.close();
    }
}

impl<C: Channel> Prover for Session<C>
where
    Client<C>: Authenticate,
{
    fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice {
        self.connection.machine().choose_mechanism(order, credentials)
    }

    fn has_login_command(&self) -> bool {
        false
    }

    fn has_refused_initial_response(&self) -> bool {
        self.connection.machine().has_refused_initial_response()
    }

    fn prove(&mut self, by: Option<Mechanism>, credentials: Credentials) -> Result<Option<Refusal>, Failure> {
        let Some(mechanism) = by else { return Err(login::cannot_prove(&"SMTP has no LOGIN command")) };
        self.connection
            .with(|client, tx| client.prove(mechanism, credentials, tx))
            .map_err(|error| login::cannot_prove(&error))?;
        self.connection.drive(|turn, client, _| match turn {
            ConnectionEvent::Machine(Event::Auth(AuthOutcome::Accepted(_))) => Ok(Some(None)),
            ConnectionEvent::Machine(Event::Auth(
                AuthOutcome::Rejected(response) | AuthOutcome::Cancelled(response),
            )) => {
                let verdict = classify::smtp_response_verdict(&response, login::during(by));
                let refusal = Refusal { verdict, reply: ServerReply::smtp(&response) };
                Ok(Some(Some(refusal.with_reason(client.authentication_failure()))))
            }
            ConnectionEvent::Machine(Event::Closed(response)) => Err(unwilling(response.as_ref())),
            _ => Ok(None),
        })
    }
}

/// The server does not want to go on.
pub(crate) fn unwilling(response: Option<&Response<'_>>) -> Failure {
    match response {
        Some(response) => classify::smtp_session(response),
        None => Failure::new(Kind::TryAgain, "the server closed the connection")
            .advise("try again later")
            .remote(),
    }
}

/// The stages of `check` behind TLS.
pub(crate) fn check(
    way: &Way,
    connector: &Connector,
    credentials: Option<Credentials>,
    progress: &Progress,
) -> Result<(), Stop> {
    struct Check<'a>(&'a Way, Option<Credentials>, &'a Progress);

    impl Task for Check<'_> {
        type Output = ();
        type Error = Stop;

        fn run<C: Channel>(self, session: &mut Session<C>) -> Result<(), Stop>
        where
            Client<C>: Authenticate,
        {
            let Self(way, credentials, progress) = self;
            progress.connected()?;
            session.ready(|response| {
                if progress.awaits(Stage::Greeting) {
                    progress.pass(Stage::Greeting, response.to_string())
                } else {
                    Ok(())
                }
            })?;
            progress.pass(Stage::Capabilities, session.extensions().join(", "))?;
            let Some(credentials) = credentials else {
                progress.note(no_user());
                return Err(Stop::Here);
            };
            let logged_in = session.log_in(way, &credentials)?;
            progress.logged_in(&logged_in)
        }
    }

    with_session(way, connector, way.smtp_config(), Check(way, credentials, progress))
}
