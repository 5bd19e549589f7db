//! The stages of a diagnosis in the session, as tasks: greeting, capabilities, login, folders.

use std::ops::ControlFlow;

use proto_imap::client::{Client as ImapClient, Event as ImapEvent};
use proto_mail::{Credentials, SendBuffer};
use proto_smtp::client::{Client as SmtpClient, Event as SmtpEvent};

use crate::channel::ClientChannel;
use crate::error::Error;
use crate::folder::Folder;
use crate::imap::{self, AwaitCapabilities, ListFolders, Requesting};
use crate::login::LoggedIn;
use crate::smtp;
use crate::task::{Task, TaskStep};

/// A stage of the session that has passed.
#[derive(Debug)]
pub enum SessionStage<'s> {
    /// The server's greeting: its text in SMTP, and the protocol's name in IMAP.
    Greeting(&'s str),
    /// The capabilities or extensions, as one line.
    Capabilities(String),
    /// How the user logged in.
    Login(&'s LoggedIn),
    /// The folders.
    Folders(&'s [Folder]),
}

/// How the stages of a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOutcome {
    /// The observer ended them, or the last one has passed.
    Complete,
    /// There are no credentials, so the login and later stages were not tried.
    NoCredentials,
}

impl SessionOutcome {
    const fn ended(is_before_login: bool) -> Self {
        if is_before_login { Self::NoCredentials } else { Self::Complete }
    }
}

/// What the IMAP stages wait for.
enum ImapPhase {
    Greeting,
    Capabilities(AwaitCapabilities),
    Login(Box<imap::LogIn>),
    Folders(Requesting<ListFolders>),
    Over,
}

/// The stages of an IMAP session. `observer` is told each one that has passed, and breaks to end the task.
pub struct ImapSteps<O> {
    observer: O,
    /// `None`: the task ends before the login.
    login: Option<imap::LogIn>,
    phase: ImapPhase,
}

impl<O: FnMut(SessionStage<'_>) -> ControlFlow<()>> ImapSteps<O> {
    /// Runs the stages. Without a login, the task ends after the capabilities.
    pub const fn new(greeting: GreetingState, login: Option<imap::LogIn>, observer: O) -> Self {
        let phase = match greeting {
            GreetingState::Awaited => ImapPhase::Greeting,
            GreetingState::Received => ImapPhase::Capabilities(AwaitCapabilities::new()),
        };
        Self { observer, login, phase }
    }
}

impl<C, O> Task<ImapClient<C>> for ImapSteps<O>
where
    C: ClientChannel,
    O: FnMut(SessionStage<'_>) -> ControlFlow<()>,
{
    type Output = SessionOutcome;

    fn ready(
        &mut self,
        client: &mut ImapClient<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<SessionOutcome>, Error> {
        let passed = match &mut self.phase {
            ImapPhase::Greeting | ImapPhase::Over => return Ok(TaskStep::Waiting),
            ImapPhase::Capabilities(task) => ImapPassed::capabilities(task.ready(client, tx)?),
            ImapPhase::Login(task) => ImapPassed::login(task.as_mut().ready(client, tx)?),
            ImapPhase::Folders(task) => ImapPassed::folders(task.ready(client, tx)?),
        };
        self.advance(passed, client, tx)
    }

    fn event(
        &mut self,
        event: ImapEvent<'_>,
        client: &mut ImapClient<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<SessionOutcome>, Error> {
        let passed = match &mut self.phase {
            ImapPhase::Greeting if matches!(event, ImapEvent::Greeting(_)) => ImapPassed::Greeting,
            ImapPhase::Greeting | ImapPhase::Over => return Ok(TaskStep::Waiting),
            ImapPhase::Capabilities(task) => ImapPassed::capabilities(task.event(event, client, tx)?),
            ImapPhase::Login(task) => ImapPassed::login(task.event(event, client, tx)?),
            ImapPhase::Folders(task) => ImapPassed::folders(task.event(event, client, tx)?),
        };
        self.advance(passed, client, tx)
    }

    fn renewed(
        &mut self,
        credentials: Option<Credentials>,
        client: &mut ImapClient<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<SessionOutcome>, Error> {
        let ImapPhase::Login(task) = &mut self.phase else { return Ok(TaskStep::Waiting) };
        let passed = ImapPassed::login(task.renewed(credentials, client, tx)?);
        self.advance(passed, client, tx)
    }
}

/// What the step of a stage's own task brought.
enum ImapPassed {
    Waiting(TaskStep<SessionOutcome>),
    Greeting,
    Capabilities(Vec<String>),
    Login(LoggedIn),
    Folders(Vec<Folder>),
}

impl ImapPassed {
    fn from<T>(step: TaskStep<T>, passed: fn(T) -> Self) -> Self {
        match step {
            TaskStep::Done(done) => passed(done),
            TaskStep::Waiting => Self::Waiting(TaskStep::Waiting),
            TaskStep::Useful => Self::Waiting(TaskStep::Useful),
            TaskStep::RenewCredentials => Self::Waiting(TaskStep::RenewCredentials),
        }
    }

    fn capabilities(step: TaskStep<Vec<String>>) -> Self {
        Self::from(step, Self::Capabilities)
    }

    fn login(step: TaskStep<imap::ImapLogin>) -> Self {
        Self::from(step, |login| Self::Login(login.logged_in))
    }

    fn folders(step: TaskStep<Vec<Folder>>) -> Self {
        Self::from(step, Self::Folders)
    }
}

impl<O: FnMut(SessionStage<'_>) -> ControlFlow<()>> ImapSteps<O> {
    /// Tells the observer what has passed, and starts the next stage.
    fn advance<C: ClientChannel>(
        &mut self,
        passed: ImapPassed,
        client: &mut ImapClient<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<SessionOutcome>, Error> {
        let (stage, next) = match &passed {
            ImapPassed::Waiting(_) => {
                let ImapPassed::Waiting(step) = passed else { return Ok(TaskStep::Waiting) };
                return Ok(step);
            }
            ImapPassed::Greeting => {
                (SessionStage::Greeting("IMAP"), Some(ImapPhase::Capabilities(AwaitCapabilities::new())))
            }
            ImapPassed::Capabilities(names) => {
                let next = self.login.take().map(|login| ImapPhase::Login(Box::new(login)));
                (SessionStage::Capabilities(names.join(" ")), next)
            }
            ImapPassed::Login(logged_in) => {
                let next = ImapPhase::Folders(Requesting::new(ListFolders::default()));
                (SessionStage::Login(logged_in), Some(next))
            }
            ImapPassed::Folders(folders) => (SessionStage::Folders(folders), None),
        };
        let is_before_login = matches!(passed, ImapPassed::Capabilities(_));
        if (self.observer)(stage).is_break() {
            self.phase = ImapPhase::Over;
            return Ok(TaskStep::Done(SessionOutcome::Complete));
        }
        let Some(next) = next else {
            self.phase = ImapPhase::Over;
            return Ok(TaskStep::Done(SessionOutcome::ended(is_before_login)));
        };
        self.phase = next;
        self.ready(client, tx)
    }
}

/// Whether the server's greeting is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GreetingState {
    /// It is.
    Awaited,
    /// The connection has read it, before STARTTLS.
    Received,
}

/// What the SMTP stages wait for.
enum SmtpPhase {
    Ready(smtp::AwaitReady),
    Login(Box<smtp::LogIn>),
    Over,
}

/// The stages of an SMTP session. `observer` is told each one that has passed, and breaks to end the task.
pub struct SmtpSteps<O> {
    observer: O,
    /// `None`: the task ends before the login.
    login: Option<smtp::LogIn>,
    phase: SmtpPhase,
}

impl<O: FnMut(SessionStage<'_>) -> ControlFlow<()>> SmtpSteps<O> {
    /// Runs the stages. Without a login, the task ends after the capabilities.
    pub const fn new(login: Option<smtp::LogIn>, observer: O) -> Self {
        Self { observer, login, phase: SmtpPhase::Ready(smtp::AwaitReady::new()) }
    }

    fn after_ehlo<C: ClientChannel>(
        &mut self,
        client: &mut SmtpClient<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<SessionOutcome>, Error> {
        self.phase = SmtpPhase::Over;
        let line = smtp::extensions(client).join(", ");
        if (self.observer)(SessionStage::Capabilities(line)).is_break() {
            return Ok(TaskStep::Done(SessionOutcome::Complete));
        }
        let Some(login) = self.login.take() else { return Ok(TaskStep::Done(SessionOutcome::NoCredentials)) };
        self.phase = SmtpPhase::Login(Box::new(login));
        self.ready(client, tx)
    }

    fn logged_in(&mut self, step: TaskStep<LoggedIn>) -> TaskStep<SessionOutcome> {
        step.map(|logged_in| {
            self.phase = SmtpPhase::Over;
            let _ = (self.observer)(SessionStage::Login(&logged_in));
            SessionOutcome::Complete
        })
    }
}

impl<C, O> Task<SmtpClient<C>> for SmtpSteps<O>
where
    C: ClientChannel,
    O: FnMut(SessionStage<'_>) -> ControlFlow<()>,
{
    type Output = SessionOutcome;

    fn ready(
        &mut self,
        client: &mut SmtpClient<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<SessionOutcome>, Error> {
        let SmtpPhase::Login(login) = &mut self.phase else { return Ok(TaskStep::Waiting) };
        let step = login.ready(client, tx)?;
        Ok(self.logged_in(step))
    }

    fn event(
        &mut self,
        event: SmtpEvent<'_>,
        client: &mut SmtpClient<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<SessionOutcome>, Error> {
        match &mut self.phase {
            SmtpPhase::Ready(task) => {
                if let SmtpEvent::Greeting(response) = &event
                    && (self.observer)(SessionStage::Greeting(&response.to_string())).is_break()
                {
                    self.phase = SmtpPhase::Over;
                    return Ok(TaskStep::Done(SessionOutcome::Complete));
                }
                match task.event(event, client, tx)? {
                    TaskStep::Done(()) => self.after_ehlo(client, tx),
                    _ => Ok(TaskStep::Waiting),
                }
            }
            SmtpPhase::Login(login) => {
                let step = login.event(event, client, tx)?;
                Ok(self.logged_in(step))
            }
            SmtpPhase::Over => Ok(TaskStep::Waiting),
        }
    }

    fn renewed(
        &mut self,
        credentials: Option<Credentials>,
        client: &mut SmtpClient<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<SessionOutcome>, Error> {
        let SmtpPhase::Login(login) = &mut self.phase else { return Ok(TaskStep::Waiting) };
        let step = login.renewed(credentials, client, tx)?;
        Ok(self.logged_in(step))
    }
}
