//! Logging in to an IMAP server: capabilities, authentication, ID.

use proto_imap::client::{AuthOutcome, Client, Event, LoginMethod};
use proto_imap::state::State;
use proto_imap::types::{Command, RawCommand};
use proto_mail::sasl::MechanismChoice;
use proto_mail::{Channel, Credentials, Mechanism, SendBuffer};

use crate::channel::ClientChannel;
use crate::endpoint::{ClientId, Encryption, Endpoint};
use crate::error::{Error, ErrorKind};
use crate::login::{self, AttemptOutcome, LoggedIn, Login, LoginClient, LoginRefusal, LoginStep, Renewal};
use crate::refusal::imap_refusal_reason;
use crate::server_reply::ServerReply;
use crate::task::{Task, TaskStep};

impl<C: ClientChannel> LoginClient for Client<C> {
    fn choose_mechanism(&self, order: &[Mechanism], credentials: &Credentials) -> MechanismChoice {
        Self::choose_mechanism(self, order, credentials)
    }

    fn has_login_command(&self) -> bool {
        true
    }

    fn has_refused_initial_response(&self) -> bool {
        Self::has_refused_initial_response(self)
    }

    fn start_login(
        &mut self,
        mechanism: Option<Mechanism>,
        credentials: &Credentials,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let method = mechanism.map_or(LoginMethod::Strongest, LoginMethod::Mechanism);
        C::start_imap_login(self, credentials, method, tx).map_err(|error| login::cannot_log_in(&error))
    }

    fn login_outcome(
        &self,
        event: &Event<'_>,
        mechanism: Option<Mechanism>,
    ) -> Result<Option<AttemptOutcome>, Error> {
        Ok(match event {
            Event::Auth(AuthOutcome::Accepted { .. }) => Some(AttemptOutcome::Accepted),
            Event::Auth(outcome) => {
                let (status, details) = (outcome.status(), outcome.reason());
                let reply = ServerReply::imap(status);
                let reason = imap_refusal_reason(&reply, status.condition, login::refused_step(mechanism));
                Some(AttemptOutcome::Refused(LoginRefusal { reason, reply }.with_details(details)))
            }
            _ => None,
        })
    }
}

/// Waits for the server's capabilities, and returns their names.
#[derive(Debug, Default)]
pub struct AwaitCapabilities(());

impl AwaitCapabilities {
    /// A new task.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl<C: Channel> Task<Client<C>> for AwaitCapabilities {
    type Output = Vec<String>;

    fn ready(&mut self, client: &mut Client<C>, _: &mut SendBuffer) -> Result<TaskStep<Vec<String>>, Error> {
        let names = client.capabilities().map(|known| known.iter().map(lossy).collect());
        Ok(names.map_or(TaskStep::Waiting, TaskStep::Done))
    }

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<Vec<String>>, Error> {
        match event {
            Event::Capabilities => self.ready(client, tx),
            _ => Ok(TaskStep::Waiting),
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends ID (RFC 2971) and ignores a refusal.
#[derive(Debug)]
pub struct Identify {
    text: String,
    sent: Option<proto_imap::client::CommandId>,
}

impl Identify {
    /// Says the name and version of the program. `None` if the endpoint says nothing.
    #[must_use]
    pub fn new(program: &ClientId) -> Option<Self> {
        let ClientId::Send { name, version } = program else { return None };
        let quoted = |text: &str| text.replace(['"', '\\'], "");
        let (name, version) = (quoted(name), quoted(version));
        let text = format!("ID (\"name\" \"{name}\" \"version\" \"{version}\" \"vendor\" \"{name}\")");
        Some(Self { text, sent: None })
    }
}

impl<C: Channel> Task<Client<C>> for Identify {
    type Output = ();

    fn ready(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<TaskStep<()>, Error> {
        if self.sent.is_none() {
            // A raw command, because some servers require ID without listing it.
            let id = RawCommand::new(&self.text)
                .map_err(|_| Error::new(ErrorKind::Usage, "the program's name or version cannot be sent"))?;
            self.sent = Some(client.send(&Command::Raw(id), tx)?);
        }
        Ok(TaskStep::Waiting)
    }

    fn event(
        &mut self,
        event: Event<'_>,
        _: &mut Client<C>,
        _: &mut SendBuffer,
    ) -> Result<TaskStep<()>, Error> {
        match event {
            Event::Completed { id, .. } if self.sent == Some(id) => Ok(TaskStep::Done(())),
            _ => Ok(TaskStep::Waiting),
        }
    }
}

/// What a login waits for.
#[derive(Debug)]
enum Phase {
    Capabilities,
    Login,
    /// The capabilities after the login.
    After(LoggedIn),
    Identify(Identify, LoggedIn),
    Over,
}

/// The result of a login.
#[derive(Debug)]
pub struct ImapLogin {
    /// How the user logged in.
    pub logged_in: LoggedIn,
    /// Whether ID was sent.
    pub identified: bool,
}

/// Logs in, and sends ID if the server offers it and the endpoint allows it.
#[derive(Debug)]
pub struct LogIn {
    login: Login,
    program: ClientId,
    encryption: Encryption,
    phase: Phase,
}

impl LogIn {
    /// A login with these credentials.
    #[must_use]
    pub fn new(endpoint: &Endpoint, credentials: Credentials, renewal: Renewal) -> Self {
        Self {
            login: Login::new(endpoint.allowed_mechanisms(), credentials, renewal),
            program: endpoint.program().clone(),
            encryption: endpoint.encryption_mode(),
            phase: Phase::Capabilities,
        }
    }
}

impl<C: ClientChannel> Task<Client<C>> for LogIn {
    type Output = ImapLogin;

    fn ready(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<TaskStep<ImapLogin>, Error> {
        match &mut self.phase {
            Phase::Capabilities => self.begin(client, tx),
            Phase::After(_) => self.identify(client, tx),
            Phase::Login | Phase::Identify(..) | Phase::Over => Ok(TaskStep::Waiting),
        }
    }

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<ImapLogin>, Error> {
        match &mut self.phase {
            Phase::Capabilities | Phase::After(_) if matches!(event, Event::Capabilities) => {
                self.ready(client, tx)
            }
            Phase::Login => {
                let step = self.login.event(&event, client, tx)?;
                self.step(step, client, tx)
            }
            Phase::Identify(identify, _) => match identify.event(event, client, tx)? {
                TaskStep::Done(()) => Ok(self.done()),
                _ => Ok(TaskStep::Waiting),
            },
            Phase::Capabilities | Phase::After(_) | Phase::Over => Ok(TaskStep::Waiting),
        }
    }

    fn renewed(
        &mut self,
        credentials: Option<Credentials>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<ImapLogin>, Error> {
        let step = self.login.renewed(credentials, client, tx)?;
        self.step(step, client, tx)
    }
}

impl LogIn {
    /// Starts the login, once the capabilities are known.
    fn begin<C: ClientChannel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<ImapLogin>, Error> {
        if self.encryption == Encryption::DangerCleartext {
            return Err(login::needs_tls());
        }
        if client.capabilities().is_none() {
            return Ok(TaskStep::Waiting);
        }
        if client.state() != Some(State::NotAuthenticated) {
            return Err(Error::new(
                ErrorKind::Refused,
                "the server has already authenticated the session (PREAUTH), so it is unknown whose mail it serves",
            )
            .advise("check host and port; a public server requires a login")
            .remote());
        }
        self.phase = Phase::Login;
        let step = self.login.start(client, tx)?;
        self.step(step, client, tx)
    }

    fn step<C: ClientChannel>(
        &mut self,
        step: LoginStep,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<ImapLogin>, Error> {
        match step {
            LoginStep::Event => Ok(TaskStep::Waiting),
            LoginStep::RenewCredentials => Ok(TaskStep::RenewCredentials),
            LoginStep::Done(logged_in) => {
                self.phase = Phase::After(logged_in);
                if self.program == ClientId::Omit {
                    return Ok(self.done());
                }
                self.identify(client, tx)
            }
        }
    }

    /// Sends ID, once the capabilities after the login are known.
    fn identify<C: ClientChannel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<ImapLogin>, Error> {
        let Some(known) = client.capabilities() else { return Ok(TaskStep::Waiting) };
        let is_offered = known.iter().any(|name| name.eq_ignore_ascii_case(b"ID"));
        let (true, Some(mut identify)) = (is_offered, Identify::new(&self.program)) else {
            return Ok(self.done());
        };
        let Phase::After(logged_in) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return Ok(TaskStep::Waiting);
        };
        let _: TaskStep<()> = identify.ready(client, tx)?;
        self.phase = Phase::Identify(identify, logged_in);
        Ok(TaskStep::Waiting)
    }

    fn done(&mut self) -> TaskStep<ImapLogin> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::After(logged_in) => TaskStep::Done(ImapLogin { logged_in, identified: false }),
            Phase::Identify(_, logged_in) => TaskStep::Done(ImapLogin { logged_in, identified: true }),
            _ => TaskStep::Waiting,
        }
    }
}
