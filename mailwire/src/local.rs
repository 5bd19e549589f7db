//! Where fetched mail is kept: which account and mailbox of the local store a remote one has.

use mailstore::{AccountId, MailboxId, SpecialUse, Store};

use crate::failure::Failure;
use crate::imap::Folder;
use crate::url::Url;

/// What tells a remote account apart: user and host. By which port and TLS mode it is reached makes no difference.
pub(crate) fn key(url: &Url) -> String {
    format!("imap:{}@{}", url.user.as_deref().unwrap_or_default(), url.host)
}

/// The local account that holds what comes from there. Nobody can log in to it: its password is known to nobody.
pub(crate) fn account(store: &dyn Store, url: &Url) -> Result<AccountId, Failure> {
    let name = format!("{}@{}", url.user.as_deref().unwrap_or_default(), url.host);
    if let Some(account) = store.account(&name)? {
        return Ok(account.id);
    }
    Ok(store.create_account(&name, unknown_password().as_bytes())?.id)
}

fn unknown_password() -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}{:016x}{:016x}", random(), random(), random(), random())
}

/// The local name of a remote folder: `/` between levels, whatever it is there.
pub(crate) fn name(folder: &Folder) -> String {
    let name = match folder.delimiter {
        None => folder.name.replace('/', "_"),
        Some('/') => folder.name.clone(),
        Some(delimiter) => folder.name.replace('/', "_").replace(delimiter, "/"),
    };
    name.split('/').filter(|level| !level.is_empty()).collect::<Vec<_>>().join("/")
}

/// The local mailbox of that name, created if it is not there.
pub(crate) fn mailbox(
    store: &dyn Store,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<MailboxId, Failure> {
    match store.mailbox(account, name) {
        Ok(mailbox) => Ok(mailbox.id),
        Err(mailstore::Error::NotFound(_)) => {
            // Looked up only where it matters: an account may have many folders.
            let taken = special_use.is_some()
                && store.list(account)?.iter().any(|mailbox| mailbox.special_use == special_use);
            Ok(store.create_mailbox(account, name, special_use.filter(|_| !taken))?)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, delimiter: Option<char>) -> Folder {
        Folder {
            name: name.to_owned(),
            delimiter,
            special_use: None,
            selectable: true,
            wire_name: name.as_bytes().to_vec(),
            too_long: None,
        }
    }

    #[test]
    fn levels_are_separated_by_a_slash() {
        assert_eq!(name(&folder("INBOX.Sent.2026", Some('.'))), "INBOX/Sent/2026");
        assert_eq!(name(&folder("a/b.c", Some('.'))), "a_b/c");
        assert_eq!(name(&folder("a/b.c", Some('/'))), "a/b.c");
        assert_eq!(name(&folder("a/b", None)), "a_b");
        assert_eq!(name(&folder("/a//b/", Some('/'))), "a/b");
    }

    #[test]
    fn two_users_of_a_server_have_two_keys() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        assert_ne!(key(&url("imaps://a@h")), key(&url("imaps://b@h")));
        assert_eq!(key(&url("imaps://a@h")), key(&url("imap://a@h:1143")));
    }
}
