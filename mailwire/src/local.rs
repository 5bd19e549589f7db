//! Where fetched mail is kept: which account and mailbox of the local store a remote one has.

use std::collections::{HashMap, HashSet};

use mailstore::{AccountId, MailboxId, RemoteAccountId, SpecialUse, Store};

use crate::failure::Failure;
use crate::imap::Folder;
use crate::url::Url;

/// What tells a remote account apart: user and host. By which port and TLS mode it is reached makes no difference.
pub(crate) fn key(url: &Url) -> String {
    format!("imap:{}@{}", url.user.as_deref().unwrap_or_default(), url.host)
}

/// The local account that holds what comes from there. No client can log in to it: its password is random and not kept.
pub(crate) fn account(store: &dyn Store, url: &Url) -> Result<AccountId, Failure> {
    let name = format!("{}@{}", url.user.as_deref().unwrap_or_default(), url.host);
    if let Some(account) = store.account(&name)? {
        return Ok(account.id);
    }
    match store.create_account(&name, unknown_password().as_bytes()) {
        Ok(account) => Ok(account.id),
        // Another run was quicker.
        Err(mailstore::Error::Exists(what)) => match store.account(&name)? {
            Some(account) => Ok(account.id),
            None => Err(mailstore::Error::Exists(what).into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn unknown_password() -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}{:016x}{:016x}", random(), random(), random(), random())
}

/// The local name that a remote folder would have if it were alone: `/` between levels, whatever it is there, and
/// nothing that the store does not take in a name.
fn name(folder: &Folder) -> String {
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
    if levels.is_empty() { "_".to_owned() } else { levels.join("/") }
}

/// The local name of each folder, in their order. Those whose messages are here already keep their mailbox; of two that
/// would have the same name, the second one gets a number.
pub(crate) fn names(
    store: &dyn Store,
    account: AccountId,
    remote: RemoteAccountId,
    folders: &[Folder],
) -> Result<Vec<String>, Failure> {
    let here: HashMap<MailboxId, String> =
        store.list(account)?.into_iter().map(|mailbox| (mailbox.id, mailbox.name)).collect();
    let kept: HashMap<String, String> = store
        .remote_mailboxes(remote)?
        .into_iter()
        .filter_map(|(key, mailbox)| Some((key, here.get(&mailbox)?.clone())))
        .collect();
    Ok(unique_names(folders, &kept))
}

fn unique_names(folders: &[Folder], kept: &HashMap<String, String>) -> Vec<String> {
    // INBOX is the same in upper and lower case, also as the first of several levels.
    let canonical = |name: &str| match name.split_once('/') {
        Some((first, rest)) if first.eq_ignore_ascii_case("INBOX") => format!("INBOX/{rest}"),
        None if name.eq_ignore_ascii_case("INBOX") => "INBOX".to_owned(),
        _ => name.to_owned(),
    };
    let mut taken: HashSet<String> = kept.values().map(|name| canonical(name)).collect();
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut give = |folder: &Folder| {
        if let Some(name) = kept.get(&folder.key()) {
            return name.clone();
        }
        let wanted = canonical(&name(folder));
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
    // The INBOX itself comes first: no other folder takes its name.
    let inbox = folders.iter().find(|folder| folder.is_inbox()).map(&mut give);
    folders
        .iter()
        .map(|folder| if folder.is_inbox() { inbox.clone().unwrap_or_default() } else { give(folder) })
        .collect()
}

/// The local mailbox of that name, created if it is not there.
pub(crate) fn mailbox(
    store: &dyn Store,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<MailboxId, mailstore::Error> {
    let found = store.mailbox(account, name);
    let must_be_made = match &found {
        Ok(mailbox) => mailbox.no_select,
        Err(mailstore::Error::NotFound(_)) => true,
        Err(_) => false,
    };
    if !must_be_made {
        return found.map(|mailbox| mailbox.id);
    }
    // Looked up only where it matters: an account may have many folders.
    let taken = special_use.is_some()
        && store.list(account)?.iter().any(|mailbox| mailbox.special_use == special_use);
    match store.create_mailbox(account, name, special_use.filter(|_| !taken)) {
        // Another run was quicker.
        Err(mailstore::Error::Exists(_)) => store.mailbox(account, name).map(|mailbox| mailbox.id),
        made => made,
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
    fn what_the_store_takes_in_no_name_is_replaced() {
        assert_eq!(name(&folder("a*b%c", Some('/'))), "a_b_c");
        assert_eq!(name(&folder("///", Some('/'))), "_");
        assert_eq!(name(&folder("a\"b\\c", Some('/'))), "a\"b\\c");
    }

    #[test]
    fn two_folders_never_share_a_local_name() {
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
        let names = unique_names(&folders, &HashMap::new());
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), folders.len(), "{names:?}");
        assert_eq!(names[5], "INBOX", "{names:?}");
        assert_eq!(unique_names(&folders, &HashMap::new()), names, "the next run finds the same");
        let kept = HashMap::from([("a%".to_owned(), "a_".to_owned())]);
        let names = unique_names(&folders, &kept);
        assert_eq!((names[1].as_str(), names[2].as_str()), ("a_ (2)", "a_"));
    }

    #[test]
    fn two_users_of_a_server_have_two_keys() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        assert_ne!(key(&url("imaps://a@h")), key(&url("imaps://b@h")));
        assert_eq!(key(&url("imaps://a@h")), key(&url("imap://a@h:1143")));
    }
}
