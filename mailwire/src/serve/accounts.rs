//! The server's accounts and domains: decides for which recipients it accepts mail, without disk access.
//!
//! Accounts are never removed, but another process may add some. Therefore a worker looks up an unknown name in the
//! store. This module also creates accounts and changes passwords.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use mailstore::{MailboxId, Store};
use proto_mail::Secret;
use serde_json::json;

use super::arguments::ServeArgs;
use super::data_directory::{DataDirectory, open_store};
use crate::command_error::{CommandError, ExitCode};
use crate::credentials::{CredentialSource, VARIABLE};
use crate::output::Output;

/// The mailbox that every mail server must have (RFC 5321 §4.5.1).
pub(super) const POSTMASTER: &str = "postmaster";

/// The account that is created if there is none.
const DEFAULT_ACCOUNT: &str = "mailwire";

/// The characters of a generated password, without easily confused ones, and its length: 100 bits of entropy.
const PASSWORD_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const PASSWORD_LENGTH: usize = 20;

/// The accounts and the destinations of their mail.
pub(super) struct Accounts {
    inboxes: RwLock<BTreeMap<String, MailboxId>>,
    /// The local domains, in addition to `localhost` and address literals.
    domains: Vec<String>,
    /// The destination of all mail with `--catch-all`.
    catch_all: Option<MailboxId>,
}

/// The result of looking up a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recipient {
    /// A mailbox of this server.
    Inbox(MailboxId),
    /// The domain is local, but it has no such account.
    Unknown,
    /// The domain is not local: mail for it is rejected.
    NotLocal,
}

/// An account with a generated password, to be shown once.
pub(super) struct GeneratedAccount {
    pub(super) name: &'static str,
    pub(super) password: Secret<String>,
}

impl Accounts {
    pub(super) fn load(store: &dyn Store) -> Result<Self, CommandError> {
        let mut inboxes = BTreeMap::new();
        for account in store.accounts()? {
            let inbox = store.mailbox(account.id, "INBOX")?.id;
            inboxes.insert(account.name.to_ascii_lowercase(), inbox);
        }
        Ok(Self { inboxes: RwLock::new(inboxes), domains: vec![machine_name()], catch_all: None })
    }

    /// Adds local domains.
    pub(super) fn with_domains(mut self, domains: impl IntoIterator<Item = String>) -> Self {
        self.domains.extend(domains);
        self
    }

    /// Delivers all mail to this mailbox, whatever the recipient.
    pub(super) const fn catching_all(mut self, inbox: Option<MailboxId>) -> Self {
        self.catch_all = inbox;
        self
    }

    /// Looks up `local_part@domain` among the known accounts. An account receives mail at any domain, which simplifies
    /// tests. A part after `+` is ignored (RFC 5233).
    pub(super) fn recipient(&self, local_part: &str, domain: &str) -> Recipient {
        if let Some(inbox) = self.catch_all {
            return Recipient::Inbox(inbox);
        }
        let inboxes = self.inboxes.read().unwrap_or_else(PoisonError::into_inner);
        let found = names(local_part, domain).into_iter().find_map(|name| inboxes.get(&name).copied());
        match found {
            Some(inbox) => Recipient::Inbox(inbox),
            None if !self.is_local(domain) => Recipient::NotLocal,
            // Mail for the postmaster must be accepted (RFC 5321 §4.5.1): the first account receives it.
            None if local_part.eq_ignore_ascii_case(POSTMASTER) => {
                inboxes.values().min().map_or(Recipient::Unknown, |inbox| Recipient::Inbox(*inbox))
            }
            None => Recipient::Unknown,
        }
    }

    /// Like [`recipient`](Self::recipient), but also looks in the store. Blocks.
    pub(super) fn look_up(
        &self,
        store: &dyn Store,
        local_part: &str,
        domain: &str,
    ) -> mailstore::Result<Recipient> {
        for name in names(local_part, domain) {
            if let Some(account) = store.account(&name)? {
                let inbox = store.mailbox(account.id, "INBOX")?.id;
                self.inboxes.write().unwrap_or_else(PoisonError::into_inner).insert(name, inbox);
            }
        }
        Ok(self.recipient(local_part, domain))
    }

    /// Returns whether a domain is local.
    fn is_local(&self, domain: &str) -> bool {
        let domain = domain.to_ascii_lowercase();
        domain == "localhost"
            || domain.ends_with(".localhost")
            || domain.starts_with('[')
            || self.domains.contains(&domain)
    }
}

/// Returns the account names that an address may mean, the most specific first. An account's name may be a whole
/// address.
fn names(local_part: &str, domain: &str) -> Vec<String> {
    let name = local_part.to_ascii_lowercase();
    let mut names = vec![format!("{name}@{}", domain.to_ascii_lowercase())];
    let without_tag = name.split_once('+').map(|(before, _)| before.to_owned());
    names.push(name);
    names.extend(without_tag);
    names
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names are personal.
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

/// Returns this machine's host name, or `localhost`.
pub(super) fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let is_name = !name.is_empty()
        && name.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    if is_name { name } else { "localhost".to_owned() }
}

/// Obtains the password of the account of `--user` if there is no account yet, before anything is created.
pub(super) fn ask_password_of_new_account(
    directory: &Path,
    arguments: &ServeArgs,
) -> Result<Option<Secret<Vec<u8>>>, CommandError> {
    match &arguments.user {
        Some(name) if !directory.join("mail.db").is_file() => given_password(arguments, name).map(Some),
        _ => Ok(None),
    }
}

/// Creates the account of `--user`. Without that option, creates one if there is no account at all, and returns it.
pub(super) fn create_initial_account(
    store: &dyn Store,
    arguments: &ServeArgs,
    password: Option<Secret<Vec<u8>>>,
) -> Result<Option<GeneratedAccount>, CommandError> {
    if let Some(name) = &arguments.user {
        if store.account(name)?.is_none() {
            let password = password.map_or_else(|| given_password(arguments, name), Ok)?;
            create(store, name, password.expose())?;
        }
        return Ok(None);
    }
    if !store.accounts()?.is_empty() {
        return Ok(None);
    }
    let password = generate_password()?;
    create(store, DEFAULT_ACCOUNT, password.expose().as_bytes())?;
    Ok(Some(GeneratedAccount { name: DEFAULT_ACCOUNT, password }))
}

/// A change of the accounts, in place of serving.
#[derive(Debug, Clone, Copy)]
pub(super) enum AccountChange<'a> {
    Add(&'a str),
    Reset(&'a str),
}

impl<'a> AccountChange<'a> {
    pub(super) fn from_arguments(arguments: &'a ServeArgs) -> Option<Self> {
        let add = arguments.add_account.as_deref().map(Self::Add);
        add.or_else(|| arguments.reset_password.as_deref().map(Self::Reset))
    }

    /// Makes the change, even while a server is running, and shows the password if it was generated.
    pub(super) fn apply(self, arguments: &ServeArgs, output: Output) -> Result<(), CommandError> {
        let path = DataDirectory::locate(arguments.dir.as_deref())?;
        if !path.join("mail.db").is_file() {
            let what = format!("there are no accounts in {}", path.display());
            return Err(CommandError::new(ExitCode::Data, what)
                .advise("start mailwire serve once, or take another directory with --dir DIR"));
        }
        let store = open_store(&path)?;
        let (Self::Add(name) | Self::Reset(name)) = self;
        let found = store.account(name)?;
        let advice = match (self, &found) {
            (Self::Add(_), Some(_)) => Some(("already has that account", "--reset-password NAME")),
            (Self::Reset(_), None) => Some(("has no such account", "--add-account NAME")),
            _ => None,
        };
        if let Some((what, advice)) = advice {
            return Err(
                CommandError::new(ExitCode::Data, format!("{} {what}", path.display())).advise(advice)
            );
        }
        let given = arguments.password_command.is_some() || std::env::var_os(VARIABLE).is_some();
        let password = if given { given_password(arguments, name)? } else { generated_password()? };
        match found {
            Some(account) => store.set_password(account.id, password.expose())?,
            None => create(&store, name, password.expose())?,
        }
        if given {
            output.line(format!("account {name}"));
            output.json(&json!({ "account": name }));
        } else {
            // The password is shown once and then discarded.
            let password = Secret::new(String::from_utf8_lossy(password.expose()).into_owned());
            output.line(format!("account {name} {}", password.expose()));
            output.json(&json!({ "account": name, "password": password.expose() }));
        }
        Ok(())
    }
}

fn given_password(arguments: &ServeArgs, name: &str) -> Result<Secret<Vec<u8>>, CommandError> {
    let password_command = arguments.password_command.as_deref();
    CredentialSource { password_command, token_command: None, timeout: None }.password(name)
}

fn generated_password() -> Result<Secret<Vec<u8>>, CommandError> {
    Ok(Secret::new(generate_password()?.expose().clone().into_bytes()))
}

fn create(store: &dyn Store, name: &str, password: &[u8]) -> Result<(), CommandError> {
    match store.create_account(name, password) {
        Ok(_) => Ok(()),
        Err(error @ mailstore::Error::InvalidName(_)) => {
            Err(CommandError::new(ExitCode::Usage, format!("the account's name: {error}"))
                .advise("letters, digits, \".\", \"-\", \"_\""))
        }
        Err(error) => Err(error.into()),
    }
}

fn generate_password() -> Result<Secret<String>, CommandError> {
    let mut random = [0; PASSWORD_LENGTH];
    getrandom::fill(&mut random).map_err(|error| {
        CommandError::new(ExitCode::Unavailable, format!("no random numbers available: {error}"))
    })?;
    let characters = random.iter().map(|byte| char::from(PASSWORD_ALPHABET[usize::from(byte % 32)]));
    Ok(Secret::new(characters.collect()))
}

#[cfg(test)]
mod tests {
    use mailstore::SqliteStore;

    use super::*;

    #[test]
    fn finds_recipients_in_any_case_and_at_any_domain() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let ann = store.create_account("ann", b"a password").unwrap();
        let inbox = Recipient::Inbox(store.mailbox(ann.id, "INBOX").unwrap().id);
        let accounts = Accounts::load(&store).unwrap();
        assert_eq!(accounts.recipient("Ann", "localhost"), inbox);
        assert_eq!(accounts.recipient("ann+tag", "example.test"), inbox);
        assert_eq!(accounts.recipient("Postmaster", "localhost"), inbox);
        for domain in ["localhost", "LOCALHOST", "[127.0.0.1]", machine_name().as_str()] {
            assert_eq!(accounts.recipient("bob", domain), Recipient::Unknown, "{domain}");
        }
        assert_eq!(accounts.recipient("bob", "example.test"), Recipient::NotLocal);
        // Another process adds accounts.
        let other = SqliteStore::open(directory.path()).unwrap();
        for name in ["bob", "eve@example.test"] {
            other.create_account(name, b"a password").unwrap();
        }
        for (name, domain) in [("bob+x", "localhost"), ("EVE", "Example.test")] {
            assert!(!matches!(accounts.recipient(name, domain), Recipient::Inbox(_)));
            let found = accounts.look_up(&store, name, domain).unwrap();
            assert!(matches!(found, Recipient::Inbox(_)) && found != inbox);
            assert_eq!(accounts.recipient(name, domain), found);
        }
        assert_eq!(accounts.look_up(&store, "unknown", "localhost").unwrap(), Recipient::Unknown);
    }

    #[test]
    fn generated_passwords_differ() {
        let (one, other) = (generate_password().unwrap(), generate_password().unwrap());
        assert_eq!(one.expose().len(), PASSWORD_LENGTH);
        assert_ne!(one.expose(), other.expose());
    }
}
