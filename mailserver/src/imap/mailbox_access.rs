//! Which mailbox a name means to an account, and which rights the account has to it (RFC 4314, RFC 2342).
//!
//! `Other Users/bob/Work` is the mailbox `Work` of the account bob. Every other name is one of the account's own mailboxes, to
//! which it has all rights. Handlers get the mailbox of a name only from here, and say which rights they need. A mailbox
//! that the account may not look up is answered like one that does not exist, and so is a mailbox of an account that does
//! not exist.

#![allow(clippy::disallowed_methods, reason = "the place where rights are checked")]

use mailstore::{
    Account, AccountId, AclChange, AclEntry, Error, Mailbox, MailboxId, NameSelection, Result, Rights,
    SpecialUse, Store, rights_of,
};

/// The hierarchy delimiter.
pub(super) const DELIMITER: char = '/';

/// The name of the namespace without the delimiter at its end.
pub(super) const OTHER_USERS: &str = "Other Users";

/// The rights of which at least one is needed to ask for the own rights (RFC 4314 §4).
const KNOWS_MAILBOX: Rights = Rights::LOOKUP
    .or(Rights::READ)
    .or(Rights::INSERT)
    .or(Rights::CREATE)
    .or(Rights::DELETE_MAILBOX)
    .or(Rights::ADMINISTER);

/// Identifiers that no account and no mailbox has. They are looked up if a name means nothing, so that this takes as long.
const NO_ACCOUNT: AccountId = AccountId(0);
const NO_MAILBOX: MailboxId = MailboxId(0);

/// The mailboxes that an account may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MailboxAccess {
    account: AccountId,
}

/// A mailbox, and what the account may do with it.
#[derive(Debug, Clone)]
pub(super) struct FoundMailbox {
    /// The mailbox. Its name is the one by which the account knows it.
    pub(super) mailbox: Mailbox,
    pub(super) owner: AccountId,
    /// Its name in the mailboxes of the owner.
    pub(super) own_name: String,
    pub(super) rights: Rights,
}

/// A mailbox of another account, as the account sees it.
#[derive(Debug, Clone)]
pub(super) struct SharedMailbox {
    pub(super) mailbox: Mailbox,
    pub(super) rights: Rights,
}

/// A name that a mailbox may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FreeName {
    pub(super) owner: AccountId,
    /// The name in the mailboxes of the owner.
    pub(super) own_name: String,
}

/// Returns the account and the mailbox of a name in the namespace of other users.
fn split(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(OTHER_USERS)?.strip_prefix(DELIMITER)?;
    Some(rest.split_once(DELIMITER).unwrap_or((rest, "")))
}

/// Returns whether a name is in the namespace of other users, or its root.
pub(super) fn is_in_other_users(name: &str) -> bool {
    name.strip_prefix(OTHER_USERS).is_some_and(|rest| rest.is_empty() || rest.starts_with(DELIMITER))
}

/// Returns whether an entry of metadata belongs to all who may use the mailbox (RFC 5464 §3.1).
pub(super) fn is_shared_entry(name: &str) -> bool {
    name == "/shared" || name.starts_with("/shared/")
}

/// Returns the name by which other accounts know a mailbox.
pub(super) fn shared_name(owner: &str, mailbox: &str) -> String {
    format!("{OTHER_USERS}{DELIMITER}{owner}{DELIMITER}{mailbox}")
}

impl MailboxAccess {
    pub(super) const fn new(account: AccountId) -> Self {
        Self { account }
    }

    /// Returns the mailbox with this name.
    ///
    /// # Errors
    /// `NotFound` if it does not exist, or the account has neither these rights nor that to look it up; `NoRight` if it
    /// lacks one of these rights.
    pub(super) fn find(self, store: &dyn Store, name: &str, needed: Rights) -> Result<FoundMailbox> {
        let found = self.look_up(store, name)?;
        if found.rights.contains(needed) {
            return Ok(found);
        }
        Err(if found.rights.contains(Rights::LOOKUP) { Error::NoRight } else { Error::NotFound("mailbox") })
    }

    /// Returns a mailbox of which the account may know that it exists (RFC 4314 §4, MYRIGHTS).
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) fn find_known(self, store: &dyn Store, name: &str) -> Result<FoundMailbox> {
        let found = self.look_up(store, name)?;
        if found.rights.has_any(KNOWS_MAILBOX) { Ok(found) } else { Err(Error::NotFound("mailbox")) }
    }

    /// Returns a mailbox of the account itself.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) fn find_own(self, store: &dyn Store, name: &str) -> Result<Mailbox> {
        store.mailbox(self.account, name)
    }

    /// Returns a mailbox of the account itself.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) fn find_own_by_id(self, store: &dyn Store, mailbox: MailboxId) -> Result<Mailbox> {
        store.mailbox_by_id(self.account, mailbox)
    }

    /// Returns the place of a mailbox that is to be created.
    ///
    /// # Errors
    /// As [`find`](Self::find), for the nearest parent that exists: its right to create mailboxes is needed. `NotFound` if no
    /// parent exists in the mailboxes of another account. `Refused` for the namespace itself.
    pub(super) fn free_name(self, store: &dyn Store, name: &str) -> Result<FreeName> {
        let name = name.strip_suffix(DELIMITER).unwrap_or(name);
        if !is_in_other_users(name) {
            return Ok(FreeName { owner: self.account, own_name: name.to_owned() });
        }
        let Some((user, own_name)) = split(name) else {
            return Err(Error::Refused("the name is that of the other users' mailboxes"));
        };
        let mut parent = own_name;
        while let Some((above, _)) = parent.rsplit_once(DELIMITER) {
            parent = above;
            match self.look_up_shared(store, user, parent)? {
                Some(found) if found.rights.contains(Rights::CREATE) => {
                    return Ok(FreeName { owner: found.owner, own_name: own_name.to_owned() });
                }
                Some(found) if found.rights.contains(Rights::LOOKUP) => return Err(Error::NoRight),
                Some(_) => return Err(Error::NotFound("mailbox")),
                None => {}
            }
        }
        Err(Error::NotFound("mailbox"))
    }

    /// Creates a mailbox at a place that [`free_name`](Self::free_name) returned.
    ///
    /// # Errors
    /// Those of [`Store::create_mailbox`].
    pub(super) fn create(
        self,
        store: &dyn Store,
        free: &FreeName,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId> {
        store.create_mailbox(free.owner, &free.own_name, special_use)
    }

    /// Deletes a mailbox. Returns the account that it was in.
    ///
    /// # Errors
    /// As [`find`](Self::find); those of [`Store::delete_mailbox`].
    pub(super) fn delete(self, store: &dyn Store, name: &str) -> Result<AccountId> {
        let found = self.find(store, name, Rights::DELETE_MAILBOX)?;
        store.delete_mailbox(found.owner, &found.own_name)?;
        Ok(found.owner)
    }

    /// Renames a mailbox. It stays in the same account.
    ///
    /// # Errors
    /// As [`find`](Self::find) and [`free_name`](Self::free_name); `Refused` for a name in another account, and for INBOX of
    /// another account; those of [`Store::rename_mailbox`].
    pub(super) fn rename(self, store: &dyn Store, from: &str, to: &str) -> Result<()> {
        let found = self.find(store, from, Rights::DELETE_MAILBOX)?;
        let free = self.free_name(store, to)?;
        if found.owner != free.owner {
            return Err(Error::Refused("a mailbox stays with its owner"));
        }
        if found.owner != self.account && found.own_name == "INBOX" {
            return Err(Error::Refused("INBOX of another account can't be renamed"));
        }
        store.rename_mailbox(found.owner, &found.own_name, &free.own_name)
    }

    fn look_up(self, store: &dyn Store, name: &str) -> Result<FoundMailbox> {
        // A mailbox of its own may have had such a name before mailboxes were shared. It stays what the name means.
        match store.mailbox(self.account, name) {
            Ok(mailbox) => {
                let own_name = mailbox.name.clone();
                return Ok(FoundMailbox { mailbox, owner: self.account, own_name, rights: Rights::ALL });
            }
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let shared = match split(name) {
            Some((user, own_name)) => self.look_up_shared(store, user, own_name)?,
            None => None,
        };
        shared.ok_or(Error::NotFound("mailbox"))
    }

    /// Returns a mailbox of another account, with whatever rights there are. Makes the same look-ups whether or not it exists.
    fn look_up_shared(self, store: &dyn Store, user: &str, own_name: &str) -> Result<Option<FoundMailbox>> {
        let owner = store.account(user)?.filter(|owner| owner.id != self.account);
        let id = owner.as_ref().map_or(NO_ACCOUNT, |owner| owner.id);
        let mailbox = existing(store.mailbox(id, own_name))?;
        let mailbox_id = mailbox.as_ref().map_or(NO_MAILBOX, |mailbox| mailbox.id);
        let entries = existing(store.acl(id, mailbox_id))?;
        let account = store.account_by_id(self.account)?;
        let (Some(owner), Some(mailbox), Some(entries)) = (owner, mailbox, entries) else { return Ok(None) };
        let rights = rights_of(&account.name, &entries);
        let own_name = mailbox.name.clone();
        let mailbox = self.as_seen(store, &owner, mailbox)?;
        Ok(Some(FoundMailbox { mailbox, owner: owner.id, own_name, rights }))
    }

    /// Describes a mailbox of another account without what concerns only its owner. Whether it has children depends on what
    /// else is shared, and is unknown here.
    pub(super) fn as_seen(self, store: &dyn Store, owner: &Account, mailbox: Mailbox) -> Result<Mailbox> {
        let name = shared_name(&owner.name, &mailbox.name);
        let subscribed = store.has_selected_name(
            self.account,
            NameSelection::Subscribed,
            &*name..&*format!("{name}\0"),
        )?;
        let Mailbox { id, no_select, .. } = mailbox;
        Ok(Mailbox { id, name, special_use: None, no_select, has_children: false, subscribed })
    }

    /// Returns the access control list of a mailbox that was found with the right to administer it.
    ///
    /// # Errors
    /// Those of [`Store::acl`]; `NoRight`.
    pub(super) fn acl(self, store: &dyn Store, found: &FoundMailbox) -> Result<Vec<AclEntry>> {
        if !found.rights.contains(Rights::ADMINISTER) {
            return Err(Error::NoRight);
        }
        store.acl(found.owner, found.mailbox.id)
    }

    /// Changes the access control list of a mailbox that was found with the right to administer it.
    ///
    /// # Errors
    /// Those of [`Store::set_acl`]; `NoRight`; `Refused` if no other account could name the mailbox.
    pub(super) fn set_acl(
        self,
        store: &dyn Store,
        found: &FoundMailbox,
        (identifier, change, rights): (&str, AclChange, Rights),
    ) -> Result<()> {
        if !found.rights.contains(Rights::ADMINISTER) {
            return Err(Error::NoRight);
        }
        if store.account_by_id(found.owner)?.name.contains(DELIMITER) {
            return Err(Error::Refused("accounts with / in their names can't share mailboxes"));
        }
        store.set_acl(found.owner, found.mailbox.id, identifier, change, rights)
    }

    /// Returns the rights that the account has now to a mailbox. None if it does not exist any more.
    pub(super) fn rights_now(
        self,
        store: &dyn Store,
        owner: AccountId,
        mailbox: MailboxId,
    ) -> Result<Rights> {
        if owner == self.account {
            return Ok(Rights::ALL);
        }
        let account = store.account_by_id(self.account)?;
        Ok(existing(store.acl(owner, mailbox))?
            .map_or(Rights::NONE, |entries| rights_of(&account.name, &entries)))
    }

    /// Checks that the account still has these rights to a mailbox.
    ///
    /// # Errors
    /// `NotFound` if it may not even read it, `NoRight` if another right is missing.
    pub(super) fn check(
        self,
        store: &dyn Store,
        owner: AccountId,
        mailbox: MailboxId,
        needed: Rights,
    ) -> Result<()> {
        let rights = self.rights_now(store, owner, mailbox)?;
        match (rights.contains(needed), rights.contains(Rights::READ)) {
            (true, _) => Ok(()),
            (false, true) => Err(Error::NoRight),
            (false, false) => Err(Error::NotFound("mailbox")),
        }
    }

    /// Returns at most `limit` mailboxes of the account itself, after a name.
    pub(super) fn own_page(self, store: &dyn Store, after: &str, limit: usize) -> Result<Vec<Mailbox>> {
        store.list_page(self.account, after, limit)
    }

    /// Returns the mailboxes with this right of the next account after `after` that shares some, and the account. `None` if no
    /// other account shares any.
    pub(super) fn next_shared(
        self,
        store: &dyn Store,
        after: AccountId,
        needed: Rights,
    ) -> Result<Option<(Account, Vec<SharedMailbox>)>> {
        let account = store.account_by_id(self.account)?;
        let Some(owner) = store.sharing_accounts(&account, after, 1)?.pop() else { return Ok(None) };
        // Such a name can't be told from a name with another level.
        if owner.name.contains(DELIMITER) {
            return Ok(Some((owner, Vec::new())));
        }
        let mut mailboxes = Vec::new();
        for (mailbox, rights) in store.shared_mailboxes(owner.id, &account)? {
            if rights.contains(needed) {
                mailboxes.push(SharedMailbox { mailbox: self.as_seen(store, &owner, mailbox)?, rights });
            }
        }
        // What comes after a name and its delimiter is below it: the order of names is not that of the tree.
        let names: Vec<String> = mailboxes.iter().map(|shared| shared.mailbox.name.clone()).collect();
        for SharedMailbox { mailbox, .. } in &mut mailboxes {
            let below = format!("{}{DELIMITER}", mailbox.name);
            let next = names.partition_point(|name| **name < *below);
            mailbox.has_children = names.get(next).is_some_and(|name| name.starts_with(&below));
        }
        Ok(Some((owner, mailboxes)))
    }
}

/// Returns what was found, or `None` if it does not exist.
fn existing<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
