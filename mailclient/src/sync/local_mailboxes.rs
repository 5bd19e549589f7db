//! The local store for fetched mail: which local account and mailboxes hold a remote account's folders.

use std::collections::{HashMap, HashSet};

use mailstore::{AccountId, MailboxId, RemoteAccountId, SpecialUse, Store, SyncStore};

use crate::endpoint::Url;
use crate::error::Error;
use crate::folder::Folder;

/// The local mailbox that [`RemovalPolicy::Trash`](super::RemovalPolicy::Trash) moves messages to. No remote folder gets this name.
pub const REMOVED_MAILBOX: &str = "Removed from server";

/// Returns the key of a remote account in a store: its user and host. Port and TLS mode make no difference.
#[must_use]
pub fn remote_account_key(url: &Url) -> String {
    format!("imap:{}@{}", url.user.as_deref().unwrap_or_default(), url.host)
}

/// Returns the name of the local account for a remote account.
#[must_use]
pub fn local_account_name(url: &Url) -> String {
    format!("{}@{}", url.user.as_deref().unwrap_or_default(), url.host)
}

/// Returns the local account for a remote account, and creates it if needed. No client can log in to it: its password is
/// random and not stored.
///
/// # Errors
/// The store failed.
pub fn local_account(store: &dyn Store, url: &Url) -> Result<AccountId, Error> {
    let name = local_account_name(url);
    if let Some(account) = store.account(&name)? {
        return Ok(account.id);
    }
    match store.create_account(&name, random_password().as_bytes()) {
        Ok(account) => Ok(account.id),
        // Another run has created it.
        Err(mailstore::Error::Exists(what)) => match store.account(&name)? {
            Some(account) => Ok(account.id),
            None => Err(mailstore::Error::Exists(what).into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn random_password() -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}{:016x}{:016x}", random(), random(), random(), random())
}

/// Returns the preferred local name of a remote folder: `/` separates its levels, and `_` replaces characters that the
/// store does not allow.
pub(super) fn preferred_name(folder: &Folder) -> String {
    let name = match folder.delimiter {
        None => folder.name.replace('/', "_"),
        Some('/') => folder.name.clone(),
        Some(delimiter) => folder.name.replace('/', "_").replace(delimiter, "/"),
    };
    let allowed = |char: char| {
        if char.is_control() || matches!(char, '*' | '%' | '\u{2028}' | '\u{2029}') { '_' } else { char }
    };
    let name: String = name.chars().map(allowed).collect();
    let levels: Vec<&str> = name.split('/').filter(|level| !level.is_empty()).collect();
    let name = if levels.is_empty() { "_".to_owned() } else { levels.join("/") };
    canonical(&name)
}

/// Returns the local name of each folder, in order. A folder that has a mailbox keeps its name. If two folders would get
/// the same name, the second one gets a number.
///
/// # Errors
/// The store failed.
pub fn local_names(
    store: &dyn SyncStore,
    account: AccountId,
    remote: RemoteAccountId,
    folders: &[Folder],
) -> Result<Vec<String>, Error> {
    let here: HashMap<MailboxId, String> =
        store.list(account)?.into_iter().map(|mailbox| (mailbox.id, mailbox.name)).collect();
    let kept: HashMap<String, String> = store
        .remote_mailboxes(remote)?
        .into_iter()
        .filter_map(|(key, mailbox)| Some((key, here.get(&mailbox)?.clone())))
        .collect();
    Ok(unique_names(folders, &kept, &[]))
}

/// Spells INBOX in capitals, which is case-insensitive, also as the first of several levels.
fn canonical(name: &str) -> String {
    match name.split_once('/') {
        Some((first, rest)) if first.eq_ignore_ascii_case("INBOX") => format!("INBOX/{rest}"),
        None if name.eq_ignore_ascii_case("INBOX") => "INBOX".to_owned(),
        _ => name.to_owned(),
    }
}

/// Returns the local name of each folder, in order. A folder in `kept` keeps its name, and no folder gets one of the
/// `others`.
pub(super) fn unique_names(
    folders: &[Folder],
    kept: &HashMap<String, String>,
    others: &[String],
) -> Vec<String> {
    let mut taken: HashSet<String> = kept.values().chain(others).map(|name| canonical(name)).collect();
    taken.insert(REMOVED_MAILBOX.to_owned());
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut assign = |folder: &Folder| {
        if let Some(name) = kept.get(&folder.key()) {
            return name.clone();
        }
        let wanted = preferred_name(folder);
        if taken.insert(wanted.clone()) {
            return wanted;
        }
        let number = numbers.entry(wanted.clone()).or_insert(1);
        loop {
            *number = number.saturating_add(1);
            let numbered = format!("{wanted} ({number})");
            if taken.insert(numbered.clone()) || *number == u32::MAX {
                return numbered;
            }
        }
    };
    // INBOX comes first, so that no other folder takes its name.
    let inbox = folders.iter().find(|folder| folder.is_inbox()).map(&mut assign);
    folders
        .iter()
        .map(|folder| if folder.is_inbox() { inbox.clone().unwrap_or_default() } else { assign(folder) })
        .collect()
}

/// Returns the local mailbox of this name, and creates it if needed.
///
/// # Errors
/// The store failed.
pub fn find_or_create_mailbox(
    store: &dyn Store,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<MailboxId, mailstore::Error> {
    let found = store.mailbox(account, name);
    let is_missing = match &found {
        Ok(mailbox) => mailbox.no_select,
        Err(mailstore::Error::NotFound(_)) => true,
        Err(_) => false,
    };
    if !is_missing {
        return found.map(|mailbox| mailbox.id);
    }
    // Listing is slow for an account with many folders, so it is done only if needed.
    let taken = special_use.is_some()
        && store.list(account)?.iter().any(|mailbox| mailbox.special_use == special_use);
    let parents = missing_parents(store, account, name)?;
    let created = match store.create_mailbox(account, name, special_use.filter(|_| !taken)) {
        // Another run has created it.
        Err(mailstore::Error::Exists(_)) => store.mailbox(account, name).map(|mailbox| mailbox.id),
        created => created,
    }?;
    hide_parents(store, account, &parents)?;
    Ok(created)
}

/// Returns the names above a name that belong to no mailbox. Creating the mailbox, or renaming one to it, creates them.
pub(super) fn missing_parents(
    store: &dyn Store,
    account: AccountId,
    name: &str,
) -> Result<Vec<String>, mailstore::Error> {
    let mut missing = Vec::new();
    for (at, _) in name.match_indices('/') {
        let parent = name.get(..at).unwrap_or_default();
        match store.mailbox(account, parent) {
            Ok(_) => {}
            Err(mailstore::Error::NotFound(_)) => missing.push(parent.to_owned()),
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// Makes mailboxes that were created only as parents `\Noselect`: no folder of the server has their messages.
pub(super) fn hide_parents(
    store: &dyn Store,
    account: AccountId,
    parents: &[String],
) -> Result<(), mailstore::Error> {
    for parent in parents {
        match store.delete_mailbox(account, parent) {
            Ok(()) | Err(mailstore::Error::NotFound(_) | mailstore::Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
            full_length: None,
        }
    }

    #[test]
    fn separates_levels_with_a_slash() {
        assert_eq!(preferred_name(&folder("INBOX.Sent.2026", Some('.'))), "INBOX/Sent/2026");
        assert_eq!(preferred_name(&folder("a/b.c", Some('.'))), "a_b/c");
        assert_eq!(preferred_name(&folder("a/b.c", Some('/'))), "a/b.c");
        assert_eq!(preferred_name(&folder("a/b", None)), "a_b");
        assert_eq!(preferred_name(&folder("/a//b/", Some('/'))), "a/b");
    }

    #[test]
    fn replaces_characters_that_the_store_does_not_allow() {
        assert_eq!(preferred_name(&folder("a*b%c", Some('/'))), "a_b_c");
        assert_eq!(preferred_name(&folder("///", Some('/'))), "_");
        assert_eq!(preferred_name(&folder("a\"b\\c", Some('/'))), "a\"b\\c");
    }

    #[test]
    fn gives_each_folder_its_own_local_name() {
        let folders = [
            folder("Entw&APw-rfe", Some('/')),
            folder("a*", Some('/')),
            folder("a%", Some('/')),
            folder("a_ (2)", Some('/')),
            folder("/INBOX", Some('/')),
            folder("inbox", Some('/')),
            folder("Inbox/x", Some('/')),
            folder("INBOX/x", Some('/')),
        ];
        let names = unique_names(&folders, &HashMap::new(), &[]);
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), folders.len(), "{names:?}");
        assert_eq!(names[5], "INBOX", "{names:?}");
        assert_eq!(unique_names(&folders, &HashMap::new(), &[]), names, "the next run finds the same");
        let kept = HashMap::from([("a%".to_owned(), "a_".to_owned())]);
        let names = unique_names(&folders, &kept, &[]);
        assert_eq!((names[1].as_str(), names[2].as_str()), ("a_ (2)", "a_"));
    }

    #[test]
    fn keys_differ_by_user_and_not_by_port() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        assert_ne!(remote_account_key(&url("imaps://a@h")), remote_account_key(&url("imaps://b@h")));
        assert_eq!(remote_account_key(&url("imaps://a@h")), remote_account_key(&url("imap://a@h:1143")));
    }
}
