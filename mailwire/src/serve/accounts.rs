//! Whose mail this server takes: its accounts and its domains, looked up without touching the disk.
//!
//! Only a server makes accounts, and only one server has the directory: what is known here is what there is. This file
//! also makes the first account. It knows nothing of how somebody logs in.

use std::collections::BTreeMap;
use std::fmt;

use mailstore::{MailboxId, Store};
use proto_core::Secret;

use crate::cli::ServeArgs;
use crate::credentials::Source;
use crate::failure::{Failure, Kind};

/// The account that is made where there is none.
const FIRST: &str = "mailwire";

/// The characters of a made-up password (none that looks like another) and how many it has: some 100 bits.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const LENGTH: usize = 20;

/// The accounts, and where their mail goes.
pub(super) struct Accounts {
    inboxes: BTreeMap<String, MailboxId>,
}

/// Who a recipient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recipient {
    /// Mail goes here.
    Inbox(MailboxId),
    /// The domain is ours, and nobody has that name.
    Unknown,
    /// Mail for others is not taken.
    Elsewhere,
}

/// An account that was made up, to be shown once.
pub(super) struct MadeUp {
    pub(super) name: &'static str,
    pub(super) password: Secret<String>,
}

impl Accounts {
    pub(super) fn load(store: &dyn Store) -> Result<Self, Failure> {
        let mut inboxes = BTreeMap::new();
        for account in store.accounts()? {
            let inbox = store.mailbox(account.id, "INBOX")?.id;
            inboxes.insert(account.name.to_ascii_lowercase(), inbox);
        }
        Ok(Self { inboxes })
    }

    /// Who `local_part@domain` is. An account gets mail at any domain: whoever tries something out need not think of
    /// one. The part behind a `+` is the account's own business (RFC 5233).
    pub(super) fn recipient(&self, local_part: &str, domain: &str) -> Recipient {
        let name = local_part.to_ascii_lowercase();
        // The name of an account may be a whole address.
        let found = self.inboxes.get(&format!("{name}@{}", domain.to_ascii_lowercase()));
        let found = found.or_else(|| self.inboxes.get(&name));
        let found = found.or_else(|| self.inboxes.get(name.split_once('+')?.0));
        match found {
            Some(inbox) => Recipient::Inbox(*inbox),
            None if is_local(domain) => Recipient::Unknown,
            None => Recipient::Elsewhere,
        }
    }

    /// Where mail for the postmaster goes (RFC 5321 §4.5.1): to the first account.
    pub(super) fn postmaster(&self) -> Recipient {
        self.inboxes.values().min().map_or(Recipient::Unknown, |inbox| Recipient::Inbox(*inbox))
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names are personal.
        f.debug_struct("Accounts").field("len", &self.inboxes.len()).finish()
    }
}

/// Whether a domain is this machine.
fn is_local(domain: &str) -> bool {
    let domain = domain.to_ascii_lowercase();
    domain == "localhost"
        || domain.ends_with(".localhost")
        || domain.starts_with('[')
        || domain == machine_name()
}

/// What this machine calls itself.
pub(super) fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let is_name = !name.is_empty()
        && name.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    if is_name { name } else { "localhost".to_owned() }
}

/// Makes the account that was asked for, or, where there is none at all, one of its own.
pub(super) fn prepare(store: &dyn Store, arguments: &ServeArgs) -> Result<Option<MadeUp>, Failure> {
    if let Some(name) = &arguments.user {
        if store.account(name)?.is_none() {
            let source =
                Source { password_command: arguments.password_command.as_deref(), token_command: None };
            let password = source.password(name)?;
            create(store, name, password.expose())?;
        }
        return Ok(None);
    }
    if !store.accounts()?.is_empty() {
        return Ok(None);
    }
    let password = make_up()?;
    create(store, FIRST, password.expose().as_bytes())?;
    Ok(Some(MadeUp { name: FIRST, password }))
}

fn create(store: &dyn Store, name: &str, password: &[u8]) -> Result<(), Failure> {
    match store.create_account(name, password) {
        Ok(_) => Ok(()),
        Err(error @ mailstore::Error::InvalidName(_)) => {
            Err(Failure::new(Kind::Usage, format!("--user: {error}"))
                .advise("letters, digits, \".\", \"-\", \"_\""))
        }
        Err(error) => Err(error.into()),
    }
}

fn make_up() -> Result<Secret<String>, Failure> {
    let mut random = [0; LENGTH];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(Kind::Unavailable, format!("no random numbers: {error}")))?;
    let characters = random.iter().map(|octet| char::from(ALPHABET[usize::from(octet % 32)]));
    Ok(Secret::new(characters.collect()))
}

#[cfg(test)]
mod tests {
    use mailstore::SqliteStore;

    use super::*;

    #[test]
    fn recipients_are_known_in_any_case_and_at_any_domain() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let ann = store.create_account("ann", b"a password").unwrap();
        let inbox = Recipient::Inbox(store.mailbox(ann.id, "INBOX").unwrap().id);
        let accounts = Accounts::load(&store).unwrap();
        assert_eq!(accounts.recipient("Ann", "localhost"), inbox);
        assert_eq!(accounts.recipient("ann+tag", "example.test"), inbox);
        assert_eq!(accounts.postmaster(), inbox);
        for domain in ["localhost", "LOCALHOST", "[127.0.0.1]", machine_name().as_str()] {
            assert_eq!(accounts.recipient("bob", domain), Recipient::Unknown, "{domain}");
        }
        assert_eq!(accounts.recipient("bob", "example.test"), Recipient::Elsewhere);
    }

    #[test]
    fn made_up_passwords_differ() {
        let (one, other) = (make_up().unwrap(), make_up().unwrap());
        assert_eq!(one.expose().len(), LENGTH);
        assert_ne!(one.expose(), other.expose());
    }
}
