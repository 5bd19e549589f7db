//! The recipients that a server accepts mail for, without disk access.
//!
//! Recipients are never removed, but another process may add some. Therefore a worker looks up an unknown name in the
//! store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use mailstore::{MailboxId, Store};

/// The mailbox that every mail server must have (RFC 5321 §4.5.1).
pub(super) const POSTMASTER: &str = "postmaster";

/// The accounts of a server, its domains, and the destinations of their mail.
pub(super) struct Recipients {
    inboxes: RwLock<BTreeMap<String, MailboxId>>,
    /// The local domains, in addition to `localhost` and address literals.
    domains: Vec<String>,
    /// The destination of all mail, whatever its recipients.
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

impl Recipients {
    pub(super) fn load(store: &dyn Store) -> mailstore::Result<Self> {
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

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names are personal.
        f.debug_struct("Recipients").finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use mailstore::{Accounts, SqliteStore};

    use super::*;

    #[test]
    fn finds_recipients_in_any_case_and_at_any_domain() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let ann = store.create_account("ann", b"a password").unwrap();
        let inbox = Recipient::Inbox(store.mailbox(ann.id, "INBOX").unwrap().id);
        let recipients = Recipients::load(&store).unwrap();
        assert_eq!(recipients.recipient("Ann", "localhost"), inbox);
        assert_eq!(recipients.recipient("ann+tag", "example.test"), inbox);
        assert_eq!(recipients.recipient("Postmaster", "localhost"), inbox);
        for domain in ["localhost", "LOCALHOST", "[127.0.0.1]", machine_name().as_str()] {
            assert_eq!(recipients.recipient("bob", domain), Recipient::Unknown, "{domain}");
        }
        assert_eq!(recipients.recipient("bob", "example.test"), Recipient::NotLocal);
        // Another process adds accounts.
        let other = SqliteStore::open(directory.path()).unwrap();
        for name in ["bob", "eve@example.test"] {
            other.create_account(name, b"a password").unwrap();
        }
        for (name, domain) in [("bob+x", "localhost"), ("EVE", "Example.test")] {
            assert!(!matches!(recipients.recipient(name, domain), Recipient::Inbox(_)));
            let found = recipients.look_up(&store, name, domain).unwrap();
            assert!(matches!(found, Recipient::Inbox(_)) && found != inbox);
            assert_eq!(recipients.recipient(name, domain), found);
        }
        assert_eq!(recipients.look_up(&store, "unknown", "localhost").unwrap(), Recipient::Unknown);
    }
}
