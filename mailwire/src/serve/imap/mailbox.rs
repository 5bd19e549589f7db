//! Mailboxes: selecting them, making and removing them, and their figures (RFC 9051 §6.3.2 to §6.3.8, §6.3.11, §6.4.1
//! to §6.4.3).

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use io_mio::Next;
use mailstore::{AccountId, Selection, SpecialUse, UidPage, UidSet};
use proto_imap::Access;
use proto_imap::server::Reply;
use proto_imap::types::arguments::{
    Create, Rename, Select, SelectParameter, Status as StatusOf, StatusAttribute,
};
use proto_imap::types::{
    Code, Condition, Flag, IString, List, Mailbox, MailboxStatus, PlainCode, Status, StatusItem, Text,
    Untagged,
};

use super::list;
use super::view::View;
use super::{
    Selected, Session, Turn, bad, done, done_with, encoding, go_on, name, no_name, refuse, refuse_for,
};
use crate::serve::hub::Watch;

/// Whether a name is added to the subscriptions or taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subscription {
    Add,
    Remove,
}

impl Session {
    pub(super) fn select(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: Select<'_>,
        access: Access,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        for parameter in arguments.parameters.iter() {
            match parameter {
                SelectParameter::CondStore => self.modseqs = true,
                _ => return bad(reply, "there is no such parameter here", turn),
            }
        }
        // Even a SELECT that fails leaves no mailbox selected.
        if self.selected.take().is_some() {
            let closed = information(Code::Plain(PlainCode::Closed), "the other mailbox is closed");
            if let Err(error) = turn.machine.data(&closed, turn.tx) {
                return go_on(Err(error));
            }
        }
        let Some(name) = name(arguments.mailbox, turn) else { return no_name(reply, turn) };
        let hub = std::sync::Arc::clone(&self.site.hub);
        let remote = turn.cx.remote();
        self.ask(
            turn,
            move |store| {
                let mailbox = store.mailbox(account, &name)?;
                if mailbox.no_select {
                    return Err(mailstore::Error::NoSelect);
                }
                // Watched first: a change between the two is told twice rather than never.
                let watch = hub.watch(mailbox.id, remote);
                let store_access = match access {
                    Access::ReadWrite => mailstore::Access::ReadWrite,
                    Access::ReadOnly => mailstore::Access::ReadOnly,
                };
                let selection = store.select(mailbox.id, store_access)?;
                let page = store.uid_page(mailbox.id, 1, selection.status.uid_next, usize::MAX)?;
                Ok((selection, page, mailbox.name, watch))
            },
            move |session, found, turn| match found {
                Ok((selection, page, name, watch)) => {
                    let announced = announce(&selection, &page, &name, access, turn);
                    session.selected = Some(selected(&selection, page, access, watch, turn));
                    match announced {
                        Ok(()) if access == Access::ReadOnly => {
                            done_with(reply, Code::Plain(PlainCode::ReadOnly), "selected", turn)
                        }
                        Ok(()) => done_with(reply, Code::Plain(PlainCode::ReadWrite), "selected", turn),
                        Err(error) => go_on(Err(error)),
                    }
                }
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }

    pub(super) fn close(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = self.selected.take() else { return done(reply, "closed", turn) };
        if selected.access == Access::ReadOnly {
            return done(reply, "closed", turn);
        }
        let mailbox = selected.mailbox;
        self.ask(
            turn,
            move |store| store.expunge(mailbox, &mailstore::Expunge::Deleted, usize::MAX),
            move |_, expunged, turn| match expunged {
                Ok(_) | Err(mailstore::Error::NotFound(_)) => done(reply, "closed", turn),
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }

    pub(super) fn unselect(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        self.selected = None;
        done(reply, "unselected", turn)
    }

    pub(super) fn create(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: Create<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(name) = name(arguments.mailbox, turn) else { return no_name(reply, turn) };
        let mut uses = arguments.special_use.iter().map(|attribute| {
            SpecialUse::from_attribute(&format!("\\{}", String::from_utf8_lossy(attribute.name())))
        });
        let special_use = match (uses.next(), uses.next()) {
            (None, _) => None,
            (Some(Some(special_use)), None) => Some(special_use),
            _ => return refuse(reply, PlainCode::UseAttr, "no mailbox can have that use here", turn),
        };
        self.ask(
            turn,
            move |store| store.create_mailbox(account, &name, special_use),
            move |session, made, turn| match made {
                Ok(_) => session.finish(reply, "created", turn),
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }

    pub(super) fn delete(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: Mailbox<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(name) = name(mailbox, turn) else { return no_name(reply, turn) };
        self.ask(
            turn,
            move |store| store.delete_mailbox(account, &name),
            move |session, deleted, turn| match deleted {
                Ok(()) => session.finish(reply, "deleted", turn),
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }

    pub(super) fn rename(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: Rename<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let (Some(from), Some(to)) = (name(arguments.from, turn), name(arguments.to, turn)) else {
            return no_name(reply, turn);
        };
        self.ask(
            turn,
            move |store| store.rename_mailbox(account, &from, &to),
            move |session, renamed, turn| match renamed {
                Ok(()) => session.finish(reply, "renamed", turn),
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }

    pub(super) fn subscribe(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: Mailbox<'_>,
        subscription: Subscription,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(name) = name(mailbox, turn) else { return no_name(reply, turn) };
        self.ask(
            turn,
            move |store| match subscription {
                Subscription::Add => store.subscribe(account, &name),
                Subscription::Remove => store.unsubscribe(account, &name),
            },
            move |session, changed, turn| match changed {
                Ok(()) => session.finish(reply, "done", turn),
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }

    pub(super) fn status(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: StatusOf<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(name) = name(arguments.mailbox, turn) else { return no_name(reply, turn) };
        let attributes: Vec<_> = arguments.attributes.iter().collect();
        self.ask(
            turn,
            move |store| {
                let mailbox = store.mailbox(account, &name)?;
                if mailbox.no_select {
                    return Err(mailstore::Error::NoSelect);
                }
                Ok((store.status(mailbox.id)?, name))
            },
            move |session, found, turn| match found {
                Ok((status, name)) => {
                    let limit = session.site.limits.message;
                    match put_status(&name, &status, &attributes, limit, turn) {
                        Ok(()) => session.finish(reply, "done", turn),
                        Err(error) => go_on(Err(error)),
                    }
                }
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }
}

/// Writes a STATUS response.
pub(super) fn put_status(
    name: &str,
    status: &mailstore::Status,
    attributes: &[StatusAttribute],
    append_limit: u64,
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_core::Error> {
    let items: Vec<_> = attributes
        .iter()
        .filter_map(|attribute| {
            Some(match attribute {
                StatusAttribute::Messages => StatusItem::Messages(status.messages),
                StatusAttribute::Recent => StatusItem::Recent(status.recent),
                StatusAttribute::UidNext => StatusItem::UidNext(NonZeroU32::new(status.uid_next)),
                StatusAttribute::UidValidity => StatusItem::UidValidity(status.uid_validity),
                StatusAttribute::Unseen => StatusItem::Unseen(status.unseen),
                StatusAttribute::Deleted => StatusItem::Deleted(status.deleted),
                StatusAttribute::Size => StatusItem::Size(status.size),
                StatusAttribute::HighestModSeq => StatusItem::HighestModSeq(status.highest_modseq),
                StatusAttribute::AppendLimit => StatusItem::AppendLimit(Some(append_limit)),
                _ => return None,
            })
        })
        .collect();
    let octets = Mailbox::new(name).octets(encoding(turn.machine));
    let data = MailboxStatus { mailbox: IString::new(&octets), items: List::new(&items) };
    turn.machine.data(&Untagged::MailboxStatus(data), turn.tx)
}

fn selected(
    selection: &Selection,
    page: UidPage,
    access: Access,
    watch: Watch,
    turn: &Turn<'_, '_>,
) -> Selected {
    Selected {
        mailbox: selection.mailbox,
        access,
        view: View::new(page.uids),
        watch,
        cursor: selection.cursor(),
        first_recent: match turn.machine.is_enabled("IMAP4rev2") {
            true => u32::MAX,
            false => selection.first_recent_uid,
        },
        told: BTreeMap::new(),
        saved: UidSet::default(),
    }
}

/// Everything that SELECT tells before its answer. IMAP4rev2 has no recent messages, and wants the name (RFC 9051
/// §6.3.2).
fn announce(
    selection: &Selection,
    page: &UidPage,
    name: &str,
    access: Access,
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_core::Error> {
    let is_revision_2 = turn.machine.is_enabled("IMAP4rev2");
    let encoding = encoding(turn.machine);
    let mut put = |data: Untagged<'_>| turn.machine.data(&data, turn.tx);
    let keywords = selection.keywords.names.iter().filter_map(|keyword| Flag::new(keyword).ok());
    let system = [Flag::Answered, Flag::Flagged, Flag::Deleted, Flag::Seen, Flag::Draft];
    let flags: Vec<_> = system.into_iter().chain(keywords).collect();
    put(Untagged::Flags(List::new(&flags)))?;
    let permanent: Vec<_> = match access {
        Access::ReadWrite => flags.iter().copied().chain([Flag::Any]).collect(),
        Access::ReadOnly => Vec::new(),
    };
    put(information(Code::PermanentFlags(List::new(&permanent)), "these flags last"))?;
    let status = &selection.status;
    put(Untagged::Exists(u32::try_from(page.uids.len()).unwrap_or(u32::MAX)))?;
    if is_revision_2 {
        let octets = Mailbox::new(name).octets(encoding);
        put(Untagged::List(list::listed(&[], IString::new(&octets), &[])))?;
    } else {
        let recent = page.uids.len() - page.uids.partition_point(|uid| *uid < selection.first_recent_uid);
        put(Untagged::Recent(u32::try_from(recent).unwrap_or(u32::MAX)))?;
        if let Some(first) = page.first_unseen.and_then(|uid| {
            NonZeroU32::new(u32::try_from(page.uids.partition_point(|one| *one <= uid)).unwrap_or(0))
        }) {
            put(information(Code::Unseen(Some(first)), "the first that was not seen"))?;
        }
    }
    put(information(Code::UidValidity(status.uid_validity), "UIDs are valid"))?;
    put(information(Code::UidNext(NonZeroU32::new(status.uid_next)), "the next UID"))?;
    put(information(Code::HighestModSeq(status.highest_modseq), "the highest mod-sequence"))
}

fn information<'a>(code: Code<'a>, text: &'a str) -> Untagged<'a> {
    Untagged::Status(Status::new(Condition::Ok, Text::first_line(text)).with_code(code))
}
