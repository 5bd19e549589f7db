//! GETQUOTA and GETQUOTAROOT (RFC 9208).
//!
//! All mailboxes of an account share one quota root, "User quota". SETQUOTA is not offered: quotas are settings of
//! the server.

use io_common::Next;
use mailstore::{AccountId, Quota, Rights, Usage};
use proto_imap::server::Reply;
use proto_imap::types::{IString, LazyList, MailboxName, PlainCode, QuotaResource, QuotaRoot, Untagged};

use super::mailbox_access::{MailboxAccess, is_in_other_users};
use super::{
    Session, Turn, decode_name, encoding, next_or_close, reply_invalid_name, reply_no, reply_store_error,
};

/// The name of an account's quota root, which is the usual one of other servers: clients show it to users.
const ROOT: IString<'static> = IString::new(b"User quota");

/// The unit of STORAGE, in bytes (RFC 9208 §5.1).
const STORAGE_UNIT: u64 = 1024;

impl Session {
    pub(super) fn get_quota(
        &mut self,
        account: AccountId,
        reply: Reply,
        root: IString<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        if root != ROOT {
            return reply_no(reply, PlainCode::NonExistent, "there is no such quota root", turn);
        }
        self.report_quota(account, reply, turn)
    }

    pub(super) fn get_quota_root(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: MailboxName<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        // The mailbox needs not exist (RFC 9208 §4.1.2).
        let Some(name) = decode_name(mailbox, turn) else { return reply_invalid_name(reply, turn) };
        let bytes = MailboxName::new(&name).to_bytes(encoding(turn.machine));
        if is_in_other_users(&name) {
            return self.shared_quota_root(account, reply, name, turn);
        }
        let roots = QuotaRoot { mailbox: IString::new(&bytes), roots: LazyList::new(&[ROOT]) };
        match turn.machine.data(&Untagged::QuotaRoot(roots), turn.tx) {
            Ok(()) => self.report_quota(account, reply, turn),
            Err(error) => next_or_close(Err(error)),
        }
    }

    /// Answers for a mailbox of another account. It has no quota root here: how much that account uses is its own affair.
    fn shared_quota_root(
        &mut self,
        account: AccountId,
        reply: Reply,
        name: String,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let access = MailboxAccess::new(account);
        self.run_job(
            turn,
            move |store| access.find(store, &name, Rights::READ),
            move |session, found, turn| {
                let found = match found {
                    Ok(found) => found,
                    Err(error) => return reply_store_error(reply, &error, turn),
                };
                let bytes = MailboxName::new(&found.mailbox.name).to_bytes(encoding(turn.machine));
                let own = [ROOT];
                let roots = if found.owner == account { &own[..] } else { &[] };
                let roots = QuotaRoot { mailbox: IString::new(&bytes), roots: LazyList::new(roots) };
                match turn.machine.data(&Untagged::QuotaRoot(roots), turn.tx) {
                    Ok(()) if found.owner == account => session.report_quota(account, reply, turn),
                    Ok(()) => session.finish_with_updates(reply, "completed", turn),
                    Err(error) => next_or_close(Err(error)),
                }
            },
        )
    }

    fn report_quota(&mut self, account: AccountId, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        self.run_job(
            turn,
            move |store| Ok((store.usage(account)?, store.quota(account))),
            move |session, found, turn| match found {
                Ok((usage, quota)) => match write_quota(&usage, &quota, turn) {
                    Ok(()) => session.finish_with_updates(reply, "completed", turn),
                    Err(error) => next_or_close(Err(error)),
                },
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }
}

/// Writes a QUOTA response. It leaves out resources without a limit (RFC 9208 §4.2.1).
fn write_quota(usage: &Usage, quota: &Quota, turn: &mut Turn<'_, '_>) -> Result<(), proto_mail::Error> {
    let storage = |bytes: u64| if bytes == u64::MAX { bytes } else { bytes.div_ceil(STORAGE_UNIT) };
    let resources: Vec<_> = [
        ("STORAGE", storage(usage.bytes), storage(quota.bytes)),
        ("MESSAGE", usage.messages, quota.messages),
        ("MAILBOX", usage.mailboxes, quota.mailboxes),
    ]
    .into_iter()
    .filter(|(_, _, limit)| *limit != u64::MAX)
    .map(|(name, usage, limit)| QuotaResource { name: IString::new(name.as_bytes()), usage, limit })
    .collect();
    let data = proto_imap::types::Quota { root: ROOT, resources: LazyList::new(&resources) };
    turn.machine.data(&Untagged::Quota(data), turn.tx)
}
