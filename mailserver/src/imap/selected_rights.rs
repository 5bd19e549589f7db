//! What a session may do with its selected mailbox.
//!
//! The rights to another account's mailbox are read again before each command, so that a change takes effect at the next one. A
//! mailbox that may not be read any more is no longer selected, as if it had been deleted.

use io_common::Next;
use mailstore::{Flags, Rights, Store};
use proto_imap::Access;
use proto_imap::server::Reply;
use proto_imap::types::{Command, PlainCode, StatusResponse, Untagged};

use super::flag_rights::{CHANGING_RIGHTS, access_with, permitted};
use super::mailbox_access::MailboxAccess;
use super::{Selected, Session, Turn, mailbox, next_or_close, no_status, reply_store_error};

impl Selected {
    /// Checks that the account has these rights to the mailbox, and that EXAMINE did not open it if they change something.
    pub(super) fn check(&self, needed: Rights) -> Result<(), StatusResponse<'static>> {
        if self.access == Access::ReadOnly && needed.has_any(CHANGING_RIGHTS) {
            return Err(no_status(PlainCode::NoPerm, "the mailbox is read-only"));
        }
        match self.rights.contains(needed) {
            true => Ok(()),
            false => Err(no_status(PlainCode::NoPerm, "you do not have the right to do this")),
        }
    }

    /// Returns the flags that the client may change permanently.
    pub(super) fn changeable(&self, flags: &Flags) -> Flags {
        match self.access {
            Access::ReadWrite => permitted(flags, self.rights),
            Access::ReadOnly => Flags::new(),
        }
    }
}

impl Session {
    /// Executes a command after it has read the rights to the selected mailbox of another account again.
    pub(super) fn command_with_rights(
        &mut self,
        access: MailboxAccess,
        reply: Reply,
        command: Command<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return Next::Close };
        let (owner, mailbox, command) = (selected.owner, selected.mailbox, command.into_owned());
        self.run_job(
            turn,
            move |store: &dyn Store| {
                let rights = access.rights_now(store, owner, mailbox)?;
                let keywords =
                    if rights.contains(Rights::READ) { Some(store.keywords(mailbox)?) } else { None };
                Ok((rights, keywords))
            },
            move |session, found, turn| {
                let (rights, keywords) = match found {
                    Ok(found) => found,
                    Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) => (Rights::NONE, None),
                    Err(error) => return reply_store_error(reply, &error, turn),
                };
                let written = match (&mut session.selected, keywords) {
                    (Some(selected), Some(_)) if selected.rights == rights => Ok(()),
                    // RFC 4314 §5.1.1: the flags that can be changed are others now.
                    (Some(selected), Some(keywords)) => {
                        selected.rights = rights;
                        selected.access = access_with(selected.asked, rights);
                        mailbox::write_flags(selected, &keywords, turn)
                    }
                    _ => {
                        session.selected = None;
                        let text = "the selected mailbox can't be read any more";
                        turn.machine.data(&Untagged::Status(no_status(PlainCode::NonExistent, text)), turn.tx)
                    }
                };
                match written {
                    Ok(()) => session.execute(reply, command.view(), turn),
                    Err(error) => next_or_close(Err(error)),
                }
            },
        )
    }
}
