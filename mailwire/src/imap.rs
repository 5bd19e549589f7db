//! An IMAP session as a linear program has it: open, log in, list, select.
//!
//! It knows how the commands of this program use the client machine. It knows nothing of how results are shown.

use std::sync::Arc;

use io_mio::{Connection, Connector, ImapClient, Turn};
use proto_core::{Channel, Cleartext, Credentials, Error, Mechanism, Secure, SendBuffer};
use proto_imap::client::{Choice, Client, CommandId, Event};
use proto_imap::config::Config;
use proto_imap::types::{
    Attribute, Command, Condition, ListPattern, Mailbox, NameEncoding, Status, Untagged, arguments,
};
use serde::Serialize;

use crate::check::{Progress, Stop, no_user, refused};
use crate::cli::Stage;
use crate::connect::Way;
use crate::failure::{Failure, Kind};

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
    let mut config = Config::default();
    if way.is_cleartext()? {
        config = config.danger_cleartext();
        let connection =
            connector.danger_connect_cleartext::<ImapClient>(&way.target(), &Arc::new(config))?;
        let may_log_in = way.options.danger_cleartext_login;
        return Ok(Opened::Cleartext(Session { connection, may_log_in }));
    }
    let connection = connector.connect::<ImapClient>(&way.target(), &Arc::new(config))?;
    Ok(Opened::Secure(Session { connection, may_log_in: true }))
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
}

impl<C: Channel> Session<C>
where
    Client<C>: Authenticate,
{
    /// Waits until the server's capabilities are known, and names them.
    pub(crate) fn capabilities(&mut self) -> Result<Vec<String>, Failure> {
        self.connection.drive(|turn, client, _| {
            if client.capabilities().is_none()
                || !matches!(turn, Turn::Event(Event::Capability) | Turn::Writable)
            {
                return Ok::<_, Failure>(None);
            }
            let names = client.capabilities().map(|known| known.iter().map(lossy).collect());
            Ok(names)
        })
    }

    /// Proves who the user is.
    pub(crate) fn log_in(
        &mut self,
        credentials: Credentials,
        mechanism: Option<Mechanism>,
    ) -> Result<(), Failure> {
        if !self.may_log_in {
            return Err(Failure::new(
                Kind::Refused,
                "logging in without TLS would show the password to anyone on the way",
            )
            .advise("leave --danger-cleartext out, or add --danger-cleartext-login"));
        }
        self.capabilities()?;
        let choice = mechanism.map_or(Choice::Strongest, Choice::Mechanism);
        self.connection.with(|client, tx| client.prove(credentials, choice, tx)).map_err(cannot_prove)?;
        self.connection.drive(|turn, _, _| match turn {
            Turn::Event(Event::Authenticated { .. }) => Ok(Some(())),
            Turn::Event(Event::AuthRejected { status, reason, .. }) => {
                let text = status.text.to_str_lossy();
                Err(refused(
                    &reason.map_or_else(|| text.clone().into_owned(), |reason| format!("{text} ({reason})")),
                ))
            }
            _ => Ok(None),
        })
    }

    /// Gives a command and waits for its end; `data` sees what comes before.
    pub(crate) fn ask(
        &mut self,
        command: &Command<'_>,
        mut data: impl FnMut(Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mine = self.connection.with(|client, tx| client.send(command, tx))?;
        self.connection.drive(|turn, _, _| match turn {
            Turn::Event(Event::Completed { id, status }) if id == mine => accepted(&status).map(Some),
            Turn::Event(event) => data(event).map(|()| None),
            Turn::Writable => Ok(None),
        })
    }

    /// The folders of the account.
    pub(crate) fn folders(&mut self) -> Result<Vec<Folder>, Failure> {
        let mut folders = Vec::new();
        let patterns = [ListPattern::ALL];
        let list = Command::List(arguments::List::new(&patterns));
        self.ask(&list, |event| {
            if let Event::Data(Untagged::List(listed)) = event {
                let octets = listed.mailbox.as_bytes();
                let name =
                    Mailbox::from_octets(&octets).to_str_lossy(NameEncoding::ModifiedUtf7).into_owned();
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
            }
            Ok(())
        })?;
        folders.sort_by(|a: &Folder, b| a.name.cmp(&b.name));
        folders.dedup_by(|a, b| a.name == b.name);
        Ok(folders)
    }

    /// Says good-bye. That the server may already be gone is no failure.
    pub(crate) fn log_out(self) {
        let mut connection = self.connection;
        if connection.with(|client, tx| client.send(&Command::Logout, tx)).is_ok() {
            let until = std::time::Instant::now() + std::time::Duration::from_secs(2);
            let _ = connection.drive_until(until, |turn, _, _| match turn {
                Turn::Event(Event::Closed) => Ok::<_, Failure>(Some(())),
                _ => Ok(None),
            });
        }
        let _ = connection.close();
    }
}

/// A folder of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) delimiter: Option<char>,
    pub(crate) special_use: Option<String>,
    pub(crate) selectable: bool,
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
fn cannot_prove(error: Error) -> Failure {
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
                session.connection.drive(|turn, _, _| match turn {
                    Turn::Event(Event::Greeting(_)) => Ok::<_, Failure>(Some(())),
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
            session.log_in(credentials, way.mechanism())?;
            progress.pass(Stage::Login, "accepted")?;
            let folders = session.folders()?;
            progress.pass(Stage::Folders, format!("{} folders", folders.len()))
        }
    }

    with_session(way, connector, Check(way, credentials, progress))
}
