//! GETACL, SETACL, DELETEACL, LISTRIGHTS and MYRIGHTS (RFC 4314).
//!
//! The owner of a mailbox has all rights to it and keeps them. Another account with the right to administer the mailbox gives
//! and takes rights like the owner. Identifiers are the names of accounts, and `anyone`. The answers are the same whether or
//! not an identifier is an account.

use io_common::Next;
use mailstore::{ACL_IDENTIFIER_LIMIT, AccountId, AclChange, Store};
use proto_imap::server::Reply;
use proto_imap::types::{
    AclEntry, AclResponse, IString, LazyList, ListRightsResponse, MailboxIdentifier, MailboxName,
    MyRightsResponse, PlainCode, Rights, RightsChange, SetAclCommand, Untagged,
};

use super::mailbox_access::{FoundMailbox, MailboxAccess};
use super::{
    Session, Turn, decode_name, encoding, next_or_close, reply_bad, reply_invalid_name, reply_no, reply_ok,
    reply_store_error,
};

/// The rights that LISTRIGHTS offers one by one.
const SINGLE_RIGHTS: [&str; 11] = ["l", "r", "s", "w", "i", "p", "k", "x", "t", "e", "a"];

/// A mailbox that a command administers.
struct Administered {
    found: FoundMailbox,
    /// The owner's name.
    owner: String,
    entries: Vec<mailstore::AclEntry>,
}

impl Administered {
    /// Returns whether an identifier is the owner's name.
    fn is_owner(&self, identifier: &str) -> bool {
        self.owner.eq_ignore_ascii_case(identifier)
    }

    fn encoded_name(&self, turn: &Turn<'_, '_>) -> Vec<u8> {
        MailboxName::new(&self.found.mailbox.name).to_bytes(encoding(turn.machine)).into_owned()
    }
}

impl Session {
    pub(super) fn get_acl(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: MailboxName<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        self.administer(account, reply, mailbox, turn, |administered, reply, turn| {
            let owner = [(&*administered.owner, shown(mailstore::Rights::ALL))];
            let others = administered.entries.iter().map(|entry| (&*entry.identifier, shown(entry.rights)));
            let listed: Vec<(&str, String)> = owner.into_iter().chain(others).collect();
            let entries: Vec<AclEntry<'_>> = listed
                .iter()
                .map(|(identifier, rights)| AclEntry {
                    identifier: IString::from(*identifier),
                    rights: letters(rights),
                })
                .collect();
            let bytes = administered.encoded_name(turn);
            let data = AclResponse { mailbox: IString::new(&bytes), entries: LazyList::new(&entries) };
            write_then_ok(reply, &Untagged::Acl(data), turn)
        })
    }

    pub(super) fn my_rights(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: MailboxName<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(name) = decode_name(mailbox, turn) else { return reply_invalid_name(reply, turn) };
        let access = MailboxAccess::new(account);
        self.run_job(
            turn,
            move |store| access.find_known(store, &name),
            move |session, found, turn| match found {
                Ok(FoundMailbox { mailbox, rights, .. }) => {
                    session.send_updates_then(turn, move |_, turn| {
                        match write_my_rights(&mailbox.name, rights, turn) {
                            Ok(()) => reply_ok(reply, "completed", turn),
                            Err(error) => next_or_close(Err(error)),
                        }
                    })
                }
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    pub(super) fn list_rights(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: MailboxIdentifier<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(identifier) = identifier(arguments.identifier) else {
            return reply_bad(reply, "invalid identifier", turn);
        };
        self.administer(account, reply, arguments.mailbox, turn, move |administered, reply, turn| {
            let all = shown(mailstore::Rights::ALL);
            let optional = SINGLE_RIGHTS.map(letters);
            let (required, optional) = match administered.is_owner(&identifier) {
                true => (letters(&all), &[][..]),
                false => (Rights::NONE, &optional[..]),
            };
            let bytes = administered.encoded_name(turn);
            let data = ListRightsResponse {
                mailbox: IString::new(&bytes),
                identifier: IString::from(identifier.as_str()),
                required,
                optional: LazyList::new(optional),
            };
            write_then_ok(reply, &Untagged::ListRights(data), turn)
        })
    }

    pub(super) fn set_acl(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: SetAclCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(identifier) = identifier(arguments.identifier) else {
            return reply_bad(reply, "invalid identifier", turn);
        };
        let mut rights = mailstore::Rights::NONE;
        for letter in arguments.rights.iter() {
            match mailstore::Rights::from_letter(letter) {
                Some(right) => rights = rights.or(right),
                None => return reply_bad(reply, &format!("the right {letter} is not supported"), turn),
            }
        }
        let change = match arguments.change {
            RightsChange::Replace => AclChange::Replace,
            RightsChange::Add => AclChange::Add,
            RightsChange::Remove => AclChange::Remove,
        };
        self.change_acl(account, reply, arguments.mailbox, (identifier, change, rights), turn)
    }

    pub(super) fn delete_acl(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: MailboxIdentifier<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(identifier) = identifier(arguments.identifier) else {
            return reply_bad(reply, "invalid identifier", turn);
        };
        let change = (identifier, AclChange::Replace, mailstore::Rights::NONE);
        self.change_acl(account, reply, arguments.mailbox, change, turn)
    }

    fn change_acl(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: MailboxName<'_>,
        (identifier, change, rights): (String, AclChange, mailstore::Rights),
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(name) = decode_name(mailbox, turn) else { return reply_invalid_name(reply, turn) };
        let access = MailboxAccess::new(account);
        self.run_job(
            turn,
            move |store| {
                let administered = find(store, access, &name)?;
                let named = identifier.strip_prefix('-').unwrap_or(&identifier);
                if administered.is_owner(named) {
                    let is_negative = identifier.starts_with('-');
                    return Ok(changes_nothing(is_negative, change, rights));
                }
                access.set_acl(store, &administered.found, (&identifier, change, rights)).map(|()| true)
            },
            move |session, changed, turn| match changed {
                Ok(true) => session.finish_with_updates(reply, "completed", turn),
                Ok(false) => {
                    reply_no(reply, PlainCode::Cannot, "the owner of a mailbox keeps all rights", turn)
                }
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    /// Looks a mailbox up that the account may administer, and calls `then`.
    fn administer(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: MailboxName<'_>,
        turn: &mut Turn<'_, '_>,
        then: impl FnOnce(Administered, Reply, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        let Some(name) = decode_name(mailbox, turn) else { return reply_invalid_name(reply, turn) };
        let access = MailboxAccess::new(account);
        self.run_job(
            turn,
            move |store| find(store, access, &name),
            move |session, found, turn| match found {
                Ok(found) => session.send_updates_then(turn, move |_, turn| then(found, reply, turn)),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }
}

/// Finds a mailbox that the account may administer.
fn find(store: &dyn Store, access: MailboxAccess, name: &str) -> mailstore::Result<Administered> {
    let found = access.find(store, name, mailstore::Rights::ADMINISTER)?;
    let (owner, entries) = (store.account_by_id(found.owner)?.name, access.acl(store, &found)?);
    Ok(Administered { found, owner, entries })
}

/// Returns whether a change of the owner's rights leaves them as they are: all, and no negative ones.
fn changes_nothing(is_negative: bool, change: AclChange, rights: mailstore::Rights) -> bool {
    match (is_negative, change) {
        (false, AclChange::Replace) => rights == mailstore::Rights::ALL,
        (false, AclChange::Add) | (true, AclChange::Remove) => true,
        (false, AclChange::Remove) | (true, AclChange::Replace | AclChange::Add) => rights.is_empty(),
    }
}

/// Returns an identifier, or `None` if it can't be one: it is empty, too long, not UTF-8, has control characters, or more than
/// one `-` before the name.
fn identifier(received: IString<'_>) -> Option<String> {
    let identifier = String::from_utf8(received.as_bytes().into_owned()).ok()?;
    let name = identifier.strip_prefix('-').unwrap_or(&identifier);
    let is_valid = !name.is_empty()
        && !name.starts_with('-')
        && identifier.len() <= ACL_IDENTIFIER_LIMIT
        && !identifier.chars().any(char::is_control);
    is_valid.then_some(identifier)
}

/// Returns the letters of rights, with `c` and `d` for clients of RFC 2086 (RFC 4314 §2.1.1).
fn shown(rights: mailstore::Rights) -> String {
    use mailstore::Rights;
    let mut letters = rights.letters();
    for (letter, meaning) in
        [('c', Rights::CREATE.or(Rights::DELETE_MAILBOX)), ('d', Rights::DELETE_MESSAGES.or(Rights::EXPUNGE))]
    {
        if rights.has_any(meaning) {
            letters.push(letter);
        }
    }
    letters
}

fn letters(shown: &str) -> Rights<'_> {
    Rights::new(shown).unwrap_or(Rights::NONE)
}

fn write_then_ok(reply: Reply, data: &Untagged<'_>, turn: &mut Turn<'_, '_>) -> Next {
    match turn.machine.data(data, turn.tx) {
        Ok(()) => reply_ok(reply, "completed", turn),
        Err(error) => next_or_close(Err(error)),
    }
}

/// Writes a MYRIGHTS response.
pub(super) fn write_my_rights(
    mailbox: &str,
    rights: mailstore::Rights,
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_mail::Error> {
    let bytes = MailboxName::new(mailbox).to_bytes(encoding(turn.machine));
    let shown = shown(rights);
    let data = MyRightsResponse { mailbox: IString::new(&bytes), rights: letters(&shown) };
    turn.machine.data(&Untagged::MyRights(data), turn.tx)
}
