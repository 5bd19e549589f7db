//! An IMAP session as a linear program has it: open, log in, list, select.
//!
//! It knows how the commands of this program use the client machine. It knows nothing of how results are shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use io_mio::{Connection, ConnectionEvent, Connector, ImapClient};
use proto_imap::client::{AuthOutcome, Client, CommandId, Event, LoginMethod};
use proto_imap::config::Config;
use proto_imap::state::State;
use proto_imap::types::IdField;
use proto_imap::types::{
    Command, Condition, IString, LazyList, ListCommand, ListPattern, StatusResponse, Untagged,
};
use proto_mail::sasl::MechanismChoice;
use proto_mail::{Channel, Cleartext, Credentials, Error, Mechanism, Secure, SendBuffer};

use crate::check::{LoggedIn, Progress, Stop, no_user};
use crate::classify::{self, ServerReply};
use crate::cli::Stage;
use crate::connect::Way;
use crate::failure::{Failure, Kind};
use crate::folder::Listing;
use crate::interrupt::{self, Interrupt};
use crate::login::{self, Prover, Refusal};

pub(crate) use crate::folder::Folder;

/// How long something useful may keep us waiting while a server says other things, where `--timeout` says nothing. With
/// it, so many times as long: it is about a server that says nothing at all.
const BUSY: Duration = Duration::from_secs(5 * 60);
const BUSY_TIMES: u32 = 4;

/// What is to be done with a session, whichever channel it has.
pub(crate) trait Task {
    /// What comes of it.
    type Output;
    /// What goes wrong.
    type Error: From<Failure>;

    fn run<C: Reach>(self, session: Session<C>) -> Result<Self::Output, Self::Error>
    where
        Client<C>: Authenticate;
}

/// Connects and does the task, which logs out.
pub(crate) fn with_session<T: Task>(
    way: &Way,
    connector: &Connector,
    task: T,
) -> Result<T::Output, T::Error> {
    if way.is_cleartext()? {
        task.run(Cleartext::open(way, connector)?)
    } else {
        task.run(Secure::open(way, connector)?)
    }
}

/// A channel that sessions can be opened on.
pub(crate) trait Reach: Channel + Sized {
    /// Connects.
    fn open(way: &Way, connector: &Connector) -> Result<Session<Self>, Failure>;
}

impl Reach for Secure {
    fn open(way: &Way, connector: &Connector) -> Result<Session<Self>, Failure> {
        let connection = connector.connect::<ImapClient>(&way.target(), &Arc::new(Config::default()))?;
        Ok(Session::new(connection, way, true))
    }
}

impl Reach for Cleartext {
    fn open(way: &Way, connector: &Connector) -> Result<Session<Self>, Failure> {
        let config = Arc::new(Config::default().danger_cleartext());
        let connection = connector.danger_connect_cleartext::<ImapClient>(&way.target(), &config)?;
        Ok(Session::new(connection, way, way.options.danger_cleartext_login))
    }
}

/// The difference that the channel makes: how one authenticates.
pub(crate) trait Authenticate {
    fn prove(
        &mut self,
        credentials: Credentials,
        method: LoginMethod,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error>;
}

impl Authenticate for Client<Secure> {
    fn prove(
        &mut self,
        credentials: Credentials,
        method: LoginMethod,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.authenticate(method, &credentials, tx)
    }
}

impl Authenticate for Client<Cleartext> {
    fn prove(
        &mut self,
        credentials: Credentials,
        method: LoginMethod,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.danger_cleartext_authenticate(method, &credentials, tx)
    }
}

/// A session.
pub(crate) struct Session<C: Channel> {
    pub(crate) connection: Connection<Client<C>>,
    may_log_in: bool,
    /// How long something useful may keep us waiting while the server says other things.
    busy: Duration,
    /// What the server said in its good-bye.
    bye: Option<ServerReply>,
    /// Whether the server has greeted.
    is_greeted: bool,
    /// Whether the server was told who we are (ID).
    is_identified: bool,
    /// Looked at while the session waits.
    pub(crate) interrupt: Option<Interrupt>,
}

impl<C: Channel> Session<C> {
    fn new(connection: Connection<Client<C>>, way: &Way, may_log_in: bool) -> Self {
        let busy = way
            .options
            .timeout
            .map_or(BUSY, |seconds| Duration::from_secs(seconds).saturating_mul(BUSY_TIMES));
        Self {
            connection,
            may_log_in,
            busy,
            bye: None,
            is_greeted: false,
            is_identified: false,
            interrupt: None,
        }
    }
}

impl<C: Channel> Session<C>
where
    Client<C>: Authenticate,
{
    /// Drives the connection until `step` is done. The last argument of `step` is when something useful was last heard:
    /// a server that says other things all the while is not listened to for ever. A clean stop that was asked for ends
    /// it too.
    pub(crate) fn drive<T>(
        &mut self,
        mut step: impl FnMut(
            ConnectionEvent<'_, Client<C>>,
            &mut Client<C>,
            &mut SendBuffer,
            &mut Instant,
        ) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let mut useful = Instant::now();
        loop {
            if let Some(interrupt) = &self.interrupt {
                interrupt.check()?;
            }
            let late = useful.checked_add(self.busy).unwrap_or(useful);
            let until = match &self.interrupt {
                Some(_) => late.min(Instant::now() + interrupt::LOOK),
                None => late,
            };
            let (bye, is_greeted) = (&mut self.bye, &mut self.is_greeted);
            let driven = self.connection.drive_until(until, |turn, client, tx| {
                match &turn {
                    ConnectionEvent::Machine(Event::Bye(status)) => *bye = Some(ServerReply::imap(status)),
                    ConnectionEvent::Machine(Event::Greeting(_)) => *is_greeted = true,
                    _ => {}
                }
                step(turn, client, tx, &mut useful)
            });
            match driven {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(failure) => return Err(self.explained(failure)),
            }
            if useful.elapsed() >= self.busy {
                return Err(Failure::new(
                    Kind::TryAgain,
                    format!(
                        "the server kept talking, and for {:?} said nothing that was asked for",
                        self.busy
                    ),
                )
                .advise("try again later")
                .remote());
            }
        }
    }

    /// A connection that ended behind a good-bye: the server has said why.
    fn explained(&mut self, failure: Failure) -> Failure {
        match self.bye.take() {
            Some(reply) if failure.server.is_none() => classify::imap_bye(reply, !self.is_greeted).closed(),
            _ => failure,
        }
    }

    /// Waits until the server's capabilities are known, and names them.
    pub(crate) fn capabilities(&mut self) -> Result<Vec<String>, Failure> {
        self.drive(|turn, client, _, _| {
            if client.capabilities().is_none()
                || !matches!(turn, ConnectionEvent::Machine(Event::Capabilities) | ConnectionEvent::Writable)
            {
                return Ok(None);
            }
            let names = client.capabilities().map(|known| known.iter().map(lossy).collect());
            Ok(names)
        })
    }

    /// Proves who the user is, and tells the server who we are.
    pub(crate) fn log_in(&mut self, way: &Way, credentials: &Credentials) -> Result<LoggedIn, Failure> {
        if !self.may_log_in {
            return Err(login::not_without_tls());
        }
        self.capabilities()?;
        if self.connection.machine().state() != Some(State::NotAuthenticated) {
            return Err(Failure::new(
                Kind::Refused,
                "the server says that somebody has logged in already (PREAUTH): whose mail it shows cannot be known",
            )
            .advise("check host and port; a server for everybody asks who one is")
            .remote());
        }
        let logged_in = login::log_in(self, way, credentials)?;
        if !way.options.no_id {
            let offered = self.capabilities()?;
            if offered.iter().any(|name| name.eq_ignore_ascii_case("ID")) {
                self.identify()?;
            }
        }
        Ok(logged_in)
    }

    /// Tells the server who we are (RFC 2971), once in a session. That it does not want to know is no failure. Returns
    /// whether it was told now.
    pub(crate) fn identify(&mut self) -> Result<bool, Failure> {
        if std::mem::replace(&mut self.is_identified, true) {
            return Ok(false);
        }
        let field = |name: &'static str, value: &'static str| IdField {
            name: IString::new(name.as_bytes()),
            value: Some(IString::new(value.as_bytes())),
        };
        let fields = [
            field("name", env!("CARGO_PKG_NAME")),
            field("version", env!("CARGO_PKG_VERSION")),
            field("vendor", env!("CARGO_PKG_NAME")),
        ];
        let mine =
            self.connection.with(|client, tx| client.send(&Command::Id(LazyList::new(&fields)), tx))?;
        self.drive(|turn, _, _, _| match turn {
            ConnectionEvent::Machine(Event::Completed { id, .. }) if id == mine => Ok(Some(())),
            _ => Ok(None),
        })?;
        Ok(true)
    }

    /// Gives a command and waits for its end; `data` sees what comes before, and says whether it was of use.
    pub(crate) fn ask(
        &mut self,
        command: &Command<'_>,
        mut data: impl FnMut(Event<'_>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let what = format!("the server refused {}", command.name());
        let mine = self.connection.with(|client, tx| client.send(command, tx))?;
        self.drive(|turn, _, _, useful| match turn {
            ConnectionEvent::Machine(Event::Completed { id, status }) if id == mine => {
                accepted(&status, &what).map(Some)
            }
            ConnectionEvent::Machine(event) => {
                if data(event)? {
                    *useful = Instant::now();
                }
                Ok(None)
            }
            ConnectionEvent::Writable => Ok(None),
        })
    }

    /// The folders of the account. One whose name is too long keeps its place with a part of the name, and
    /// [`Folder::check_name`] refuses it.
    ///
    /// # Errors
    /// [`Kind::Protocol`] if the server lists more folders, or more bytes of names, than any account has.
    pub(crate) fn folders(&mut self) -> Result<Vec<Folder>, Failure> {
        let mut listing = Listing::default();
        self.list(&mut listing)?;
        Ok(listing.sorted())
    }

    /// Fills `listing`, which keeps what came before a failure.
    pub(crate) fn list(&mut self, listing: &mut Listing) -> Result<(), Failure> {
        let patterns = [ListPattern::ALL];
        self.ask(&Command::List(ListCommand::new(&patterns)), |event| {
            let Event::Data(Untagged::List(listed)) = event else { return Ok(false) };
            listing.add(&listed)?;
            Ok(true)
        })
    }

    /// Says good-bye. That the server may already be gone is no failure.
    pub(crate) fn log_out(self) {
        let mut connection = self.connection;
        if connection.with(|client, tx| client.send(&Command::Logout, tx)).is_ok() {
            let until = Instant::now() + Duration::from_secs(2);
            let _ = connection.drive_until(until, |turn, _, _| match turn {
                ConnectionEvent::Machine(Event::Closed) => Ok::<_, Failure>(Some(())),
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
        true
    }

    fn has_refused_initial_response(&self) -> bool {
        self.connection.machine().has_refused_initial_response()
    }

    fn prove(&mut self, by: Option<Mechanism>, credentials: Credentials) -> Result<Option<Refusal>, Failure> {
        let method = by.map_or(LoginMethod::Strongest, LoginMethod::Mechanism);
        self.connection
            .with(|client, tx| client.prove(credentials, method, tx))
            .map_err(|error| login::cannot_prove(&error))?;
        self.drive(|turn, _, _, _| match turn {
            ConnectionEvent::Machine(Event::Auth(AuthOutcome::Accepted { .. })) => Ok(Some(None)),
            ConnectionEvent::Machine(Event::Auth(outcome)) => {
                let (status, reason) = (outcome.status(), outcome.reason());
                let reply = ServerReply::imap(status);
                let verdict = classify::imap_verdict(&reply, status.condition, login::during(by));
                Ok(Some(Some(Refusal { verdict, reply }.with_reason(reason))))
            }
            _ => Ok(None),
        })
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// OK, or why not.
pub(crate) fn accepted(status: &StatusResponse<'_>, what: &str) -> Result<(), Failure> {
    if status.condition == Condition::Ok { Ok(()) } else { Err(classify::imap_command(status, what)) }
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

        fn run<C: Reach>(self, mut session: Session<C>) -> Result<(), Stop>
        where
            Client<C>: Authenticate,
        {
            let done = self.walk(&mut session);
            session.log_out();
            done
        }
    }

    impl Check<'_> {
        fn walk<C: Reach>(self, session: &mut Session<C>) -> Result<(), Stop>
        where
            Client<C>: Authenticate,
        {
            let Self(way, credentials, progress) = self;
            progress.connected()?;
            if progress.awaits(Stage::Greeting) {
                session.drive(|turn, _, _, _| match turn {
                    ConnectionEvent::Machine(Event::Greeting(_)) => Ok(Some(())),
                    _ => Ok(None),
                })?;
                progress.pass(Stage::Greeting, "IMAP")?;
            }
            let capabilities = session.capabilities()?;
            progress.pass(Stage::Capabilities, capabilities.join(" "))?;
            let Some(credentials) = credentials else {
                progress.note(no_user());
                return Err(Stop::Here);
            };
            let logged_in = session.log_in(way, &credentials)?;
            progress.logged_in(&logged_in)?;
            let folders = session.folders()?;
            progress.pass(Stage::Folders, format!("{} folders", folders.len()))
        }
    }

    with_session(way, connector, Check(way, credentials, progress))
}
