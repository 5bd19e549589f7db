//! The test server.

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use io_common::{Security, Target, TlsClientConfig};
use mailserver::faults::Faults;
use mailserver::{
    AcceptedMessage, Dialect, Encryption, MessageCallback, Options, Service, Settings, TokenCheck,
    TokenVerdict, scram_keys,
};
use mailstore::{
    Account, Accounts, Delivery, Flags, InternalDate, LoginKeys, MemoryStore, PasswordCost, Store,
};
use proto_mail::Credentials;
use tempfile::NamedTempFile;

use crate::authorization::AuthorizationServer;
use crate::certificates::certificates;
use crate::error::Error;
use crate::message::Message;

/// The account of every server.
const USER: &str = "user";
const PASSWORD: &str = "password";

/// How long a server's sessions may take to end when it is dropped.
const GRACE: Duration = Duration::from_millis(100);

/// The messages that arrived, and who waits for them.
#[derive(Default)]
struct Inbox {
    messages: Mutex<Vec<Message>>,
    arrived: Condvar,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Configures a [`Server`].
pub struct ServerBuilder {
    accounts: Vec<(String, String)>,
    faults: Faults,
    behave_like: Option<Dialect>,
    settings: Settings,
    rules: Vec<Result<(), String>>,
    is_cleartext: bool,
    any_login: bool,
    token_check: Option<TokenCheck>,
    catch_all: bool,
}

impl ServerBuilder {
    /// Adds an account. The first one replaces the default account `user` with the password `password`.
    #[must_use]
    pub fn account(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.accounts.push((name.into(), password.into()));
        self
    }

    /// Accepts any name and password, and logs in to the first account.
    #[must_use]
    pub const fn accept_any_login(mut self) -> Self {
        self.any_login = true;
        self
    }

    /// Offers OAUTHBEARER and XOAUTH2, and accepts the access tokens that this authorization server has issued, for logins to
    /// each account.
    #[must_use]
    pub fn accept_tokens_of(mut self, server: &AuthorizationServer) -> Self {
        let is_valid = server.token_check();
        self.token_check = Some(TokenCheck::new(move |username, token| {
            if is_valid(token) { TokenVerdict::Account(username.to_owned()) } else { TokenVerdict::Rejected }
        }));
        self
    }

    /// Accepts mail only for the server's accounts at `localhost`, and rejects other recipients with 550. By default every
    /// recipient is accepted.
    #[must_use]
    pub const fn reject_unknown_recipients(mut self) -> Self {
        self.catch_all = false;
        self
    }

    /// Offers no TLS on the ports of [`Server::smtp`] and [`Server::imap`], and accepts mail without login.
    #[must_use]
    pub const fn without_tls(mut self) -> Self {
        self.is_cleartext = true;
        self
    }

    /// Replaces the limits: sizes, counts, times, quotas.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Answers with a code at a stage of SMTP (`connect`, `ehlo`, `starttls`, `auth`, `mail`, `rcpt`, `data`, `dot`), always
    /// or with a probability, for all recipients or for some: `rcpt=450:0.3,*@example.test`. A command of IMAP is answered
    /// with NO, BAD or BYE: `fetch=NO[UNAVAILABLE]:0.1`.
    #[must_use]
    pub fn fault(mut self, rule: &str) -> Self {
        let rule = rule.parse().map(|rule| self.faults.fail.push(rule));
        self.rules.push(rule);
        self
    }

    /// Delays the answer at a stage: `data=2s`, `rcpt=250ms:0.5`.
    #[must_use]
    pub fn delay(mut self, rule: &str) -> Self {
        let rule = rule.parse().map(|rule| self.faults.delay.push(rule));
        self.rules.push(rule);
        self
    }

    /// Closes the connection at a stage instead of answering: `dot:0.1`.
    #[must_use]
    pub fn drop_connection(mut self, rule: &str) -> Self {
        let rule = rule.parse().map(|rule| self.faults.drop.push(rule));
        self.rules.push(rule);
        self
    }

    /// Imitates another IMAP server, with its capabilities and the known defects of its responses.
    #[must_use]
    pub const fn behave_like(mut self, server: Dialect) -> Self {
        self.behave_like = Some(server);
        self
    }

    /// Seeds the random faults, so that the same sessions get the same faults again.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.faults.seed = seed;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// A fault rule or account is not valid, or the operating system has no port or thread.
    pub fn start(self) -> Result<Server, Error> {
        self.rules.into_iter().collect::<Result<(), _>>().map_err(Error::InvalidFault)?;
        let certificates = certificates()?;
        let store = MemoryStore::new()?.with_password_cost(PasswordCost::Minimal)?;
        let store = Arc::new(store.with_key_maker(Arc::new(login_keys)));
        let mut accounts = self.accounts;
        if accounts.is_empty() {
            accounts.push((USER.into(), PASSWORD.into()));
        }
        let mut created = Vec::new();
        for (name, password) in &accounts {
            created.push(store.create_account(name, password.as_bytes())?);
        }
        let (user, password) = accounts.swap_remove(0);
        let account = created.swap_remove(0);
        let inbox = Arc::<Inbox>::default();
        let mut options = Options::default();
        options.catch_all = self.catch_all.then_some(account.id);
        options.any_login = self.any_login.then_some(account.id);
        options.token_check = self.token_check;
        options.faults = self.faults;
        options.behave_like = self.behave_like;
        options.worker_threads = 1;
        let (from, to) = (Arc::clone(&store), Arc::clone(&inbox));
        options.on_message = Some(MessageCallback::new(move |message| record(&from, &to, message)));
        let encryption = if self.is_cleartext { Encryption::DangerCleartext } else { Encryption::Tls };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut builder = mailserver::Server::builder(store.clone(), encryption(certificates.server.tls()?))
            .settings(self.settings)
            .options(options);
        for service in [Service::Smtp, Service::Smtps, Service::Imap, Service::Imaps] {
            builder = builder.listen(service, any)?;
        }
        let server = builder.start()?;
        Ok(Server { server: Some(server), store, account, inbox, user, password, ca_file: Mutex::default() })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("faults", &self.faults).finish_non_exhaustive()
    }
}

/// Derives the keys for SCRAM with the least cost that clients accept. Those of the default password are derived once.
fn login_keys(password: &[u8]) -> Vec<LoginKeys> {
    static DEFAULT: OnceLock<Vec<LoginKeys>> = OnceLock::new();
    const ITERATIONS: u32 = 4096;
    let derive = || scram_keys::derive_with(password, ITERATIONS);
    if password == PASSWORD.as_bytes() { DEFAULT.get_or_init(derive).clone() } else { derive() }
}

/// Returns a TLS configuration that trusts the authority of the servers.
pub(crate) fn trust() -> Result<TlsClientConfig, Error> {
    let authority = certificates()?.authority.certificate_pem();
    TlsClientConfig::authorities_pem(authority.as_bytes())
        .map_err(|error| Error::Io(std::io::Error::other(error)))
}

/// Returns an address of a server as a target. The certificate is valid for it.
pub(crate) fn target(address: SocketAddr, security: Security) -> Target {
    Target::new(address.ip().to_string(), address.port(), security)
}

/// Keeps a message that was accepted.
fn record(store: &MemoryStore, inbox: &Inbox, message: &AcceptedMessage<'_>) {
    let Some(stored) = message.stored.first() else { return };
    // The store is in memory, so that this does not block.
    let Ok(body) = store.open_content(stored.content) else { return };
    let Ok(bytes) = body.read(0, usize::try_from(body.size()).unwrap_or(usize::MAX)) else { return };
    inbox.lock().push(Message::new(message.sender.to_owned(), message.recipients.to_vec(), bytes));
    inbox.arrived.notify_all();
}

/// A mail server for tests, on free ports of loopback. Dropping it ends it.
pub struct Server {
    server: Option<mailserver::Server>,
    store: Arc<MemoryStore>,
    account: Account,
    inbox: Arc<Inbox>,
    user: String,
    password: String,
    ca_file: Mutex<Option<NamedTempFile>>,
}

impl Server {
    /// Starts a server with one account, which accepts mail for every recipient.
    ///
    /// # Errors
    /// The operating system has no port or thread.
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Configures a server.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            accounts: Vec::new(),
            faults: Faults::default(),
            behave_like: None,
            settings: Settings::default(),
            rules: Vec::new(),
            is_cleartext: false,
            any_login: false,
            token_check: None,
            catch_all: true,
        }
    }

    /// Returns the address of submission with STARTTLS.
    #[must_use]
    pub fn smtp(&self) -> SocketAddr {
        self.address(Service::Smtp)
    }

    /// Returns the address of submission with implicit TLS.
    #[must_use]
    pub fn smtps(&self) -> SocketAddr {
        self.address(Service::Smtps)
    }

    /// Returns the address of IMAP with STARTTLS.
    #[must_use]
    pub fn imap(&self) -> SocketAddr {
        self.address(Service::Imap)
    }

    /// Returns the address of IMAP with implicit TLS.
    #[must_use]
    pub fn imaps(&self) -> SocketAddr {
        self.address(Service::Imaps)
    }

    fn address(&self, service: Service) -> SocketAddr {
        let address = self.server.as_ref().and_then(|server| server.address(service));
        address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Returns the name of the first account.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the password of the first account.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Returns the certificate of the authority that signed the server's certificate, in PEM. The names of the certificate
    /// are `localhost`, `127.0.0.1` and `::1`.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        certificates().map_or("", |certificates| certificates.authority.certificate_pem())
    }

    /// Returns a file with [`ca_pem`](Self::ca_pem), for programs that want a path. It is removed with the server.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn ca_file(&self) -> Result<PathBuf, Error> {
        let mut file = self.ca_file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*file {
            return Ok(file.path().to_owned());
        }
        let mut new = NamedTempFile::with_suffix(".pem")?;
        new.write_all(self.ca_pem().as_bytes())?;
        Ok(file.insert(new).path().to_owned())
    }

    /// Returns a TLS configuration for Mailwire's clients that trusts the server.
    ///
    /// # Errors
    /// None is expected.
    pub fn tls(&self) -> Result<TlsClientConfig, Error> {
        trust()
    }

    /// Returns submission with STARTTLS as a target for Mailwire's clients.
    #[must_use]
    pub fn smtp_target(&self) -> Target {
        target(self.smtp(), Security::StartTls)
    }

    /// Returns submission with implicit TLS as a target for Mailwire's clients.
    #[must_use]
    pub fn smtps_target(&self) -> Target {
        target(self.smtps(), Security::ImplicitTls)
    }

    /// Returns IMAP with STARTTLS as a target for Mailwire's clients.
    #[must_use]
    pub fn imap_target(&self) -> Target {
        target(self.imap(), Security::StartTls)
    }

    /// Returns IMAP with implicit TLS as a target for Mailwire's clients.
    #[must_use]
    pub fn imaps_target(&self) -> Target {
        target(self.imaps(), Security::ImplicitTls)
    }

    /// Returns the name and the password of the first account, for Mailwire's clients.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials::password(&*self.user, self.password.as_bytes())
    }

    /// Returns the messages that were accepted so far, in the order of their arrival. A message is in the list before its
    /// client gets the positive reply, so a program that has waited for the reply need not wait here.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.inbox.lock().clone()
    }

    /// Waits until `count` messages were accepted in all, and returns them.
    ///
    /// # Errors
    /// [`Error::TooFewMessages`] if fewer arrive within `timeout`.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Result<Vec<Message>, Error> {
        let start = Instant::now();
        let waiting = self.inbox.lock();
        let (messages, _) = self
            .inbox
            .arrived
            .wait_timeout_while(waiting, timeout, |messages| messages.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        if messages.len() < count {
            let waited = start.elapsed();
            return Err(Error::TooFewMessages { expected: count, arrived: messages.len(), waited });
        }
        Ok(messages.clone())
    }

    /// Forgets the messages that were accepted so far. They stay in the mailbox.
    pub fn clear(&self) {
        self.inbox.lock().clear();
    }

    /// Puts a message into a mailbox of the first account, for the tests of an IMAP client. The mailbox is created if it does
    /// not exist. Returns the message's UID.
    ///
    /// # Errors
    /// The mailbox name is not valid, or the store is full.
    pub fn append(&self, mailbox: &str, message: &[u8]) -> Result<u32, Error> {
        let found = self.store.mailbox(self.account.id, mailbox).map(|mailbox| mailbox.id);
        let id = match found {
            Err(mailstore::Error::NotFound(_)) => {
                self.store.create_mailbox(self.account.id, mailbox, None)?
            }
            found => found?,
        };
        let mut upload = self.store.upload()?;
        upload.write(message)?;
        let target =
            mailstore::Target { mailbox: id, flags: Flags::new(), internal_date: InternalDate::now() };
        let appended = self.store.append(Delivery { upload, targets: vec![target] })?;
        Ok(appended.first().map_or(0, |appended| appended.uid))
    }

    /// Returns the store, for everything else: flags, mailboxes, accounts.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let _ = server.shut_down(GRACE);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("server", &self.server).finish_non_exhaustive()
    }
}
