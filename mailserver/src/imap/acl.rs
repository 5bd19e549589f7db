//! GETACL, SETACL, DELETEACL, LISTRIGHTS and MYRIGHTS (RFC 4314).
//!
//! Mailboxes are not shared between accounts. The owner has all rights to a mailbox and keeps them, and no other identifier
//! can be given any. The answers are the same whether or not another identifier is an account.

use std::sync::Arc;

use io_common::Next;
use mailstore::AccountId;
use proto_imap::server::Reply;
use proto_imap::types::{
    AclEntry, AclResponse, IString, LazyList, ListRightsResponse, MailboxIdentifier, MailboxName,
    MyRightsResponse, PlainCode, Rights, RightsChange, SetAclCommand, Untagged,
};

use super::{
    Session, Turn, decode_name, encoding, next_or_close, reply_bad, reply_invalid_name, reply_no, reply_ok,
    reply_store_error,
};

/// The rights of the owner, with the obsolete `c` and `d` (RFC 4314 §2.1.1).
const OWNER_RIGHTS: &str = "lrswipkxteacd";

/// A mailbox, and whom a command is about.
struct Subject {
    mailbox: String,
    /// The owner's name.
    owner: Arc<str>,
}

impl Session {
    pub(super) fn get_acl(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: MailboxName<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        self.with_subject(account, reply, mailbox, turn, |subject, reply, turn| {
            let entries = [AclEntry { identifier: IString::from(&*subject.owner), rights: owner_rights() }];
            let bytes = subject.encoded(turn);
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
        self.with_subject(account, reply, mailbox, turn, |subject, reply, turn| {
            match write_my_rights(&subject.mailbox, turn) {
                Ok(()) => reply_ok(reply, "completed", turn),
                Err(error) => next_or_close(Err(error)),
            }
        })
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
        self.with_subject(account, reply, arguments.mailbox, turn, move |subject, reply, turn| {
            let required = if subject.is_owner(&identifier) { owner_rights() } else { Rights::NONE };
            let bytes = subject.encoded(turn);
            let data = ListRightsResponse {
                mailbox: IString::new(&bytes),
                identifier: IString::from(identifier.as_str()),
                required,
                optional: LazyList::EMPTY,
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
        let (change, rights) = (arguments.change, arguments.rights);
        if let Some(unknown) = rights.iter().find(|right| !OWNER_RIGHTS.contains(*right)) {
            return reply_bad(reply, &format!("the right {unknown} is not supported"), turn);
        }
        let is_empty = rights.iter().next().is_none();
        let is_everything = "lrswipa".chars().all(|right| rights.contains(right))
            && (rights.contains('c') || rights.contains('k') && rights.contains('x'))
            && (rights.contains('d') || rights.contains('t') && rights.contains('e'));
        self.with_subject(account, reply, arguments.mailbox, turn, move |subject, reply, turn| {
            let changes_nothing = match (subject.is_owner(&identifier), change) {
                (true, RightsChange::Replace) => is_everything,
                (true, RightsChange::Add) | (false, RightsChange::Remove) => true,
                (true, RightsChange::Remove) | (false, _) => is_empty,
            };
            answer_change(&subject, &identifier, changes_nothing, reply, turn)
        })
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
        self.with_subject(account, reply, arguments.mailbox, turn, move |subject, reply, turn| {
            let has_entry = subject.is_owner(&identifier);
            answer_change(&subject, &identifier, !has_entry, reply, turn)
        })
    }

    /// Looks a mailbox and its owner up, and calls `then` if they exist.
    fn with_subject(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: MailboxName<'_>,
        turn: &mut Turn<'_, '_>,
        then: impl FnOnce(Subject, Reply, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        let Some(name) = decode_name(mailbox, turn) else { return reply_invalid_name(reply, turn) };
        self.run_job(
            turn,
            move |store| {
                let mailbox = store.mailbox(account, &name)?.name;
                Ok(Subject { mailbox, owner: store.account_by_id(account)?.name.into() })
            },
            move |session, found, turn| match found {
                Ok(subject) => session.send_updates_then(turn, move |_, turn| then(subject, reply, turn)),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }
}

impl Subject {
    fn is_owner(&self, identifier: &str) -> bool {
        self.owner.eq_ignore_ascii_case(identifier)
    }

    fn encoded(&self, turn: &Turn<'_, '_>) -> Vec<u8> {
        MailboxName::new(&self.mailbox).to_bytes(encoding(turn.machine)).into_owned()
    }
}

/// Answers a command that would change the rights of an identifier.
fn answer_change(
    subject: &Subject,
    identifier: &str,
    changes_nothing: bool,
    reply: Reply,
    turn: &mut Turn<'_, '_>,
) -> Next {
    if changes_nothing {
        return reply_ok(reply, "completed", turn);
    }
    let text = match subject.is_owner(identifier.strip_prefix('-').unwrap_or(identifier)) {
        true => "the owner of a mailbox keeps all rights",
        false => "mailboxes are not shared between accounts here",
    };
    reply_no(reply, PlainCode::Cannot, text, turn)
}

/// Returns an identifier, or `None` if it can't be one: it is empty, not UTF-8, or has control characters.
fn identifier(received: IString<'_>) -> Option<String> {
    let identifier = String::from_utf8(received.as_bytes().into_owned()).ok()?;
    let is_valid = !identifier.is_empty() && !identifier.chars().any(char::is_control);
    is_valid.then_some(identifier)
}

fn owner_rights() -> Rights<'static> {
    Rights::new(OWNER_RIGHTS).unwrap_or(Rights::NONE)
}

fn write_then_ok(reply: Reply, data: &Untagged<'_>, turn: &mut Turn<'_, '_>) -> Next {
    match turn.machine.data(data, turn.tx) {
        Ok(()) => reply_ok(reply, "completed", turn),
        Err(error) => next_or_close(Err(error)),
    }
}

/// Writes a MYRIGHTS response for a mailbox of the account.
pub(super) fn write_my_rights(mailbox: &str, turn: &mut Turn<'_, '_>) -> Result<(), proto_mail::Error> {
    let bytes = MailboxName::new(mailbox).to_bytes(encoding(turn.machine));
    let data = MyRightsResponse { mailbox: IString::new(&bytes), rights: owner_rights() };
    turn.machine.data(&Untagged::MyRights(data), turn.tx)
}
