//! An IMAP session as a linear program has it: open, log in, list, select.
//!
//! It knows how the commands of this program use the client machine. It knows nothing of how results are shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use io_mio::{Connection, Connector, ImapClient, Turn};
use proto_core::{Channel, Cleartext, Credentials, Error, Mechanism, Secure, SendBuffer};
use proto_imap::client::{Choice, Client, CommandId, Event};
use proto_imap::config::Config;
use proto_imap::state::State;
use proto_imap::types::{
    Attribute, Command, Condition, ListPattern, Mailbox, NameEncoding, Status, Untagged, arguments,
};
use serde::Serialize;

use crate::check::{LoggedIn, Progress, Stop, no_user, refused};
use crate::cli::Stage;
use crate::connect::Way;
use crate::failure::{Failure, Kind};

/// How many folders an account may have: a server that lists more has no end.
const FOLDERS: usize = 100_000;

/// How long something useful may keep us waiting while a server says other things, where `--timeout` says nothing. With
/// it, so many times as long: it is about a server that says nothing at all.
const BUSY: Duration = Duration::from_secs(5 * 60);
const BUSY_TIMES: u32 = 4;

/// A session that has been opened, over TLS or, where the user wrote so, without.
pub(crate) enum Opened {
    Secure(Session<Secure>),
    Cleartext(Session<Cleartext>),
}

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

/// Connects, does the task, and logs out.
pub(crate) fn with_session<T: Task>(
    way: &Way,
    connector: &Connector,
    task: T,
) -> Result<T::Output, T::Error> {
    match open(way, connector)? {
        Opened::Secure(mut session) => {
            let done = task.run(&mut session);
            session.log_out();
            done
        }
        Opened::Cleartext(mut session) => {
            let done = task.run(&mut session);
            session.log_out();
            done
        }
    }
}

fn open(way: &Way, connector: &Connector) -> Result<Opened, Failure> {
    let busy =
        way.options.timeout.map_or(BUSY, |seconds| Duration::from_secs(seconds).saturating_mul(BUSY_TIMES));
    let mut config = Config::default();
    if way.is_cleartext()? {
        config = config.danger_cleartext();
        let connection =
            connector.danger_connect_cleartext::<ImapClient>(&way.target(), &Arc::new(config))?;
        let may_log_in = way.options.danger_cleartext_login;
        return Ok(Opened::Cleartext(Session { connection, may_log_in, busy }));
    }
    let connection = connector.connect::<ImapClient>(&way.target(), &Arc::new(config))?;
    Ok(Opened::Secure(Session { connection, may_log_in: true, busy }))
}

/// The difference that the channel makes: how one authenticates.
pub(crate) trait Authenticate {
    fn prove(
        &mut self,
        credentials: Credentials,
        choice: Choice,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error>;
}

impl Authenticate for Client<Secure> {
    fn prove(
        &mut self,
        credentials: Credentials,
        choice: Choice,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.authenticate(credentials, choice, tx)
    }
}

impl Authenticate for Client<Cleartext> {
    fn prove(
        &mut self,
        credentials: Credentials,
        choice: Choice,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        self.danger_cleartext_authenticate(credentials, choice, tx)
    }
}

/// A session.
pub(crate) struct Session<C: Channel> {
    pub(crate) connection: Connection<Client<C>>,
    may_log_in: bool,
    /// How long something useful may keep us waiting while the server says other things.
    busy: Duration,
}

impl<C: Channel> Session<C>
where
    Client<C>: Authenticate,
{
    /// Drives the connection until `step` is done. The last argument of `step` is when something useful was last heard:
    /// a server that says other things all the while is not listened to for ever.
    pub(crate) fn drive<T>(
        &mut self,
        mut step: impl FnMut(
            Turn<'_, Client<C>>,
            &mut Client<C>,
            &mut SendBuffer,
            &mut Instant,
        ) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let mut useful = Instant::now();
        loop {
            let until = useful.checked_add(self.busy).unwrap_or(useful);
            let driven =
                self.connection.drive_until(until, |turn, client, tx| step(turn, client, tx, &mut useful))?;
            if let Some(done) = driven {
                return Ok(done);
            }
            if useful.elapsed() >= self.busy {
                return Err(Failure::new(
                    Kind::TryAgain,
                    format!(
                        "the server kept talking, and for {:?} said nothing that was asked for",
                        self.busy
                    ),
                )
                .advise("try again later"));
            }
        }
    }

    /// Waits until the server's capabilities are known, and names them.
    pub(crate) fn capabilities(&mut self) -> Result<Vec<String>, Failure> {
        self.drive(|turn, client, _, _| {
            if client.capabilities().is_none()
                || !matches!(turn, Turn::Event(Event::Capability) | Turn::Writable)
            {
                return Ok(None);
            }
            let names = client.capabilities().map(|known| known.iter().map(lossy).collect());
            Ok(names)
        })
    }

    /// Proves who the user is.
    pub(crate) fn log_in(
        &mut self,
        credentials: Credentials,
        order: &[Mechanism],
    ) -> Result<LoggedIn, Failure> {
        if !self.may_log_in {
            return Err(Failure::new(
                Kind::Refused,
                "logging in without TLS would show the password to anyone on the way",
            )
            .advise("leave --danger-cleartext out, or add --danger-cleartext-login"));
        }
        self.capabilities()?;
        if self.connection.machine().state() != Some(State::NotAuthenticated) {
            return Err(Failure::new(
                Kind::Refused,
                "the server says that somebody has logged in already (PREAUTH): whose mail it shows cannot be known",
            )
            .advise("check host and port; a server for everybody asks who one is"));
        }
        let weighed = self.connection.machine().weigh(order, &credentials);
        let choice = match weighed.into_result() {
            Ok(mechanism) => Choice::Mechanism(mechanism),
            // The LOGIN command may do, unless the user wants something else.
            Err(_) if order == Mechanism::ALL => Choice::Strongest,
            Err(reasons) => return Err(cannot_prove(&reasons)),
        };
        // Where none goes with the command from the start, none is to blame, and nothing is said twice.
        let refused = self.connection.machine().has_refused_initial_response();
        let kept = credentials.duplicate();
        match self.prove(credentials, choice)? {
            Proved::Accepted => {}
            Proved::Rejected(_) if !refused && self.connection.machine().has_refused_initial_response() => {
                match self.prove(kept, choice)? {
                    Proved::Accepted => {}
                    Proved::Rejected(why) => return Err(why),
                }
            }
            Proved::Rejected(why) => return Err(why),
        }
        Ok(LoggedIn { by: weighed.chosen().map_or("the LOGIN command", Mechanism::name), weighed })
    }

    fn prove(&mut self, credentials: Credentials, choice: Choice) -> Result<Proved, Failure> {
        self.connection
            .with(|client, tx| client.prove(credentials, choice, tx))
            .map_err(|error| cannot_prove(&error))?;
        self.drive(|turn, _, _, _| match turn {
            Turn::Event(Event::Authenticated { .. }) => Ok(Some(Proved::Accepted)),
            Turn::Event(Event::AuthRejected { status, reason, .. }) => {
                let text = status.text.to_str_lossy();
                let why =
                    reason.map_or_else(|| text.clone().into_owned(), |reason| format!("{text} ({reason})"));
                Ok(Some(Proved::Rejected(refused(&why))))
            }
            _ => Ok(None),
        })
    }

    /// Gives a command and waits for its end; `data` sees what comes before, and says whether it was of use.
    pub(crate) fn ask(
        &mut self,
        command: &Command<'_>,
        mut data: impl FnMut(Event<'_>) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let mine = self.connection.with(|client, tx| client.send(command, tx))?;
        self.drive(|turn, _, _, useful| match turn {
            Turn::Event(Event::Completed { id, status }) if id == mine => accepted(&status).map(Some),
            Turn::Event(event) => {
                if data(event)? {
                    *useful = Instant::now();
                }
                Ok(None)
            }
            Turn::Writable => Ok(None),
        })
    }

    /// The folders of the account.
    pub(crate) fn folders(&mut self) -> Result<Vec<Folder>, Failure> {
        let mut folders = Vec::new();
        let patterns = [ListPattern::ALL];
        let list = Command::List(arguments::List::new(&patterns));
        self.ask(&list, |event| {
            let Event::Data(Untagged::List(listed)) = event else { return Ok(false) };
            if folders.len() == FOLDERS {
                return Err(Failure::new(
                    Kind::Protocol,
                    format!("the server lists more than {FOLDERS} folders: no account has so many"),
                ));
            }
            let octets = listed.mailbox.as_bytes();
            let name = Mailbox::from_octets(&octets).to_str_lossy(NameEncoding::ModifiedUtf7).into_owned();
            folders.push(Folder {
                name,
                delimiter: listed.delimiter,
                special_use: listed
                    .attributes
                    .special_use()
                    .map(|attribute| format!("\\{}", lossy(attribute.name()))),
                selectable: !listed.attributes.contains(Attribute::NoSelect)
                    && !listed.attributes.contains(Attribute::NonExistent),
            });
            Ok(true)
        })?;
        folders.sort_by(|a: &Folder, b| a.name.cmp(&b.name));
        folders.dedup_by(|a, b| a.name == b.name);
        Ok(folders)
    }

    /// Says good-bye. That the server may already be gone is no failure.
    pub(crate) fn log_out(self) {
        let mut connection = self.connection;
        if connection.with(|client, tx| client.send(&Command::Logout, tx)).is_ok() {
            let until = Instant::now() + Duration::from_secs(2);
            let _ = connection.drive_until(until, |turn, _, _| match turn {
                Turn::Event(Event::Closed) => Ok::<_, Failure>(Some(())),
                _ => Ok(None),
            });
        }
        let _ = connection.close();
    }
}

/// What a server says to a proof.
enum Proved {
    Accepted,
    Rejected(Failure),
}

/// A folder of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) delimiter: Option<char>,
    pub(crate) special_use: Option<String>,
    pub(crate) selectable: bool,
}

impl Folder {
    /// Nothing is done with a folder whose name would be something else to whoever reads it.
    ///
    /// # Errors
    /// The name has control characters, or none at all.
    pub(crate) fn check_name(&self) -> Result<(), Failure> {
        let why = if self.name.is_empty() {
            "it has no name"
        } else if self.name.chars().any(char::is_control) {
            "its name has control characters"
        } else {
            return Ok(());
        };
        Err(Failure::new(Kind::Unavailable, why))
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// OK, or why not.
pub(crate) fn accepted(status: &Status<'_>) -> Result<(), Failure> {
    if status.condition == Condition::Ok {
        return Ok(());
    }
    let kind = if status.condition == Condition::Bad { Kind::Protocol } else { Kind::Unavailable };
    Err(Failure::new(
        kind,
        format!("the server answered {}: {}", status.condition.as_str(), status.text.to_str_lossy()),
    ))
}

/// Why no mechanism could be begun.
fn cannot_prove(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Refused, format!("the user cannot be authenticated here: {error}"))
        .advise("look at AUTH= and LOGINDISABLED among the capabilities, and at --mechanism")
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
            if progress.awaits(Stage::Greeting) {
                session.drive(|turn, _, _, _| match turn {
                    Turn::Event(Event::Greeting(_)) => Ok(Some(())),
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
            let logged_in = session.log_in(credentials, way.order())?;
            progress.logged_in(&logged_in)?;
            let folders = session.folders()?;
            progress.pass(Stage::Folders, format!("{} folders", folders.len()))
        }
    }

    with_session(way, connector, Check(way, credentials, progress))
}
