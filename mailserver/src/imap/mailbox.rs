//! The commands on mailboxes: SELECT, CREATE, DELETE, RENAME, SUBSCRIBE, STATUS and related ones (RFC 9051 §6.3.2 to
//! §6.3.8, §6.3.11, §6.4.1 to §6.4.3).

use std::num::NonZeroU32;
use std::sync::Arc;

use io_common::{JobStep, Next, SessionHandle, Slice};
use mailstore::{AccountId, KeywordsInUse, MailboxId, Rights, Selection, SpecialUse, Store, UidSet};
use proto_imap::Access;
use proto_imap::mailbox_view::{MailboxView, UidBitmap, ViewUpdate};
use proto_imap::server::Reply;
use proto_imap::types::{
    Condition, Flag, IString, LazyList, MailboxName, MailboxStatus, NumberKind, PlainCode, ResponseCode,
    StatusItem, StatusResponse, Text, Untagged,
};
use proto_imap::types::{
    CreateCommand, RenameCommand, SelectCommand, SelectParameter, StatusAttribute, StatusCommand,
};

use super::changed_since::KnownState;
use super::command_state::{Subscription, Transfer};
use super::copy_move::CopyKind;
use super::fetch_items::Item;
use super::flag_rights::access_with;
use super::list_query::{MailboxCounters, list_response};
use super::mailbox_access::{FoundMailbox, MailboxAccess};
use super::metadata::copy_metadata;
use super::{
    Selected, Session, Turn, decode_name, named_by, next_or_close, reply_bad, reply_invalid_name, reply_no,
    reply_ok, reply_ok_with_code, reply_store_error,
};
use crate::change_notifier::{ChangeNotifier, Watch};

/// The number of UIDs read at a time by SELECT.
const UID_PAGE: usize = 5_000;

impl Session {
    pub(super) fn select(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: SelectCommand<'_>,
        access: Access,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let (mut condstore, mut known) = (false, None);
        for parameter in arguments.parameters.iter() {
            match parameter {
                SelectParameter::CondStore => condstore = true,
                SelectParameter::QResync(state) => known = Some(KnownState::from(state)),
                _ => return reply_bad(reply, "unsupported parameter", turn),
            }
        }
        // A failed SELECT also deselects the current mailbox.
        if let Some(selected) = self.selected.take()
            && let Err(error) = write_update(&selected.view.close(), turn)
        {
            return next_or_close(Err(error));
        }
        // SELECT reports the highest mod-sequence in any case.
        self.condstore |= condstore;
        let Some(name) = decode_name(arguments.mailbox, turn) else { return reply_invalid_name(reply, turn) };
        let mut job = SelectJob {
            notifier: Arc::clone(&self.context.notifier),
            remote: turn.cx.session_handle(),
            mailboxes: MailboxAccess::new(account),
            name,
            // IMAP4rev2 has no recent messages, so such a client must not claim them from others.
            claims_recent: access == Access::ReadWrite && !turn.machine.is_enabled("IMAP4rev2"),
            access,
            progress: None,
        };
        self.run_in_slices(
            turn,
            move |store, slice| match job.run(store, slice) {
                Ok(None) => JobStep::More,
                Ok(Some(opened)) => JobStep::Done(Ok(opened)),
                Err(error) => JobStep::Done(Err(error)),
            },
            move |session, opened, turn| match opened {
                Ok(opened) => session.finish_select(reply, opened, known, turn),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    fn finish_select(
        &mut self,
        reply: Reply,
        opened: OpenedMailbox,
        known: Option<KnownState>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let OpenedMailbox { name, mailbox_id, selection, selected, first_unseen } = opened;
        let selected = self.selected.insert(Box::new(selected));
        selected.view.set_expunge_form(self.expunge_form);
        selected.named_by = named_by(turn.machine);
        selected.watch.highest_modseq(selection.status.highest_modseq);
        if let Err(error) = write_select_data(selected, &selection, first_unseen, &name, &mailbox_id, turn) {
            return next_or_close(Err(error));
        }
        let status = &selection.status;
        let Some(known) = known.filter(|known| known.uid_validity == status.uid_validity) else {
            return self.end_select(reply, turn);
        };
        let items = match selected.named_by {
            NumberKind::Uids => vec![Item::Flags, Item::ModSeq],
            NumberKind::SequenceNumbers => vec![Item::Uid, Item::Flags, Item::ModSeq],
        };
        match known.changes(reply, status, &selected.view, items) {
            Ok(changes) => self.fetch_changed(changes, turn),
            Err(reply) => self.end_select(reply, turn),
        }
    }

    /// Answers OK to SELECT or EXAMINE.
    pub(super) fn end_select(&self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let code = match self.selected.as_ref().map(|selected| selected.access) {
            Some(Access::ReadWrite) => PlainCode::ReadWrite,
            _ => PlainCode::ReadOnly,
        };
        self.watch_selected();
        reply_ok_with_code(reply, ResponseCode::Plain(code), "select completed", turn)
    }

    pub(super) fn close(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = self.selected.take() else { return reply_ok(reply, "close completed", turn) };
        // Without the right to expunge, CLOSE only closes (RFC 4314 §4).
        if selected.check(Rights::EXPUNGE).is_err() {
            return reply_ok(reply, "close completed", turn);
        }
        self.expunge_then(selected.mailbox, UidSet::all(), turn, move |_, expunged, turn| match expunged {
            Ok(()) | Err(mailstore::Error::NotFound(_)) => reply_ok(reply, "close completed", turn),
            Err(error) => reply_store_error(reply, &error, turn),
        })
    }

    pub(super) fn unselect(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        self.selected = None;
        reply_ok(reply, "unselect completed", turn)
    }

    pub(super) fn create(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: CreateCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(name) = decode_name(arguments.mailbox, turn) else { return reply_invalid_name(reply, turn) };
        let mut uses = arguments.special_use.iter().map(|attribute| {
            SpecialUse::from_attribute(&format!("\\{}", String::from_utf8_lossy(attribute.name())))
        });
        let special_use = match (uses.next(), uses.next()) {
            (None, _) => None,
            (Some(Some(special_use)), None) => Some(special_use),
            _ => return reply_no(reply, PlainCode::UseAttr, "unsupported special use", turn),
        };
        let access = MailboxAccess::new(account);
        self.run_job(
            turn,
            move |store| {
                let free = access.free_name(store, &name)?;
                if free.owner != account && special_use.is_some() {
                    return Err(mailstore::Error::Refused("special uses are for the owner of a mailbox"));
                }
                let mailbox = access.create(store, &free, special_use)?;
                Ok(store.mailbox_id(free.owner, mailbox))
            },
            move |session, made, turn| match made {
                Ok(id) => session.send_updates_then(turn, move |_, turn| {
                    let code = ResponseCode::MailboxId(IString::from(id.as_str()));
                    reply_ok_with_code(reply, code, "create completed", turn)
                }),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    pub(super) fn delete(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: MailboxName<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(name) = decode_name(mailbox, turn) else { return reply_invalid_name(reply, turn) };
        let (access, mut owner) = (MailboxAccess::new(account), None);
        self.run_in_slices(
            turn,
            move |store, slice| {
                let owner = match owner {
                    Some(owner) => owner,
                    None => match access.delete(store, &name) {
                        Ok(of) => *owner.insert(of),
                        Err(error) => return JobStep::Done(Err(error)),
                    },
                };
                while !slice.is_over() {
                    match store.purge_deleted(owner) {
                        Ok(true) => {}
                        Ok(false) => return JobStep::Done(Ok(())),
                        Err(error) => return JobStep::Done(Err(error)),
                    }
                }
                JobStep::More
            },
            move |session, deleted, turn| match deleted {
                Ok(()) => session.finish_with_updates(reply, "delete completed", turn),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    pub(super) fn rename(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: RenameCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let (Some(from), Some(to)) = (decode_name(arguments.from, turn), decode_name(arguments.to, turn))
        else {
            return reply_invalid_name(reply, turn);
        };
        let access = MailboxAccess::new(account);
        if from.eq_ignore_ascii_case("INBOX") {
            // INBOX remains, and its messages are moved (RFC 9051 §6.3.6).
            return self.run_job(
                turn,
                move |store| {
                    let inbox = access.find_own(store, "INBOX")?.id;
                    let free = access.free_name(store, &to)?;
                    if free.owner != account {
                        return Err(mailstore::Error::Refused("a mailbox stays with its owner"));
                    }
                    let new = access.create(store, &free, None)?;
                    if let Err(error) = copy_metadata(store, account, inbox, new) {
                        access.delete(store, &to)?;
                        return Err(error);
                    }
                    Ok((inbox, new))
                },
                move |session, made, turn| match made {
                    Ok((from, to)) => {
                        let how = (Transfer::Rename, CopyKind::Whole);
                        session.transfer(reply, (from, UidSet::all()), to, how, turn)
                    }
                    Err(error) => reply_store_error(reply, &error, turn),
                },
            );
        }
        self.run_job(
            turn,
            move |store| access.rename(store, &from, &to),
            move |session, renamed, turn| match renamed {
                Ok(()) => session.finish_with_updates(reply, "rename completed", turn),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    pub(super) fn subscribe(
        &mut self,
        account: AccountId,
        reply: Reply,
        mailbox: MailboxName<'_>,
        subscription: Subscription,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(name) = decode_name(mailbox, turn) else { return reply_invalid_name(reply, turn) };
        let access = MailboxAccess::new(account);
        self.run_job(
            turn,
            move |store| match subscription {
                // RFC 9051 §6.3.7 allows the check; clients take OK as a sign that the mailbox exists.
                Subscription::Add => {
                    let found = access.find(store, &name, Rights::LOOKUP)?;
                    let is_own = found.owner == account;
                    store.subscribe(account, if is_own { &name } else { &found.mailbox.name })
                }
                Subscription::Remove => store.unsubscribe(account, &name),
            },
            move |session, changed, turn| match changed {
                Ok(()) => session.finish_with_updates(reply, "completed", turn),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    pub(super) fn status(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: StatusCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(name) = decode_name(arguments.mailbox, turn) else { return reply_invalid_name(reply, turn) };
        let access = MailboxAccess::new(account);
        let attributes: Vec<_> = arguments.attributes.iter().collect();
        if attributes.contains(&StatusAttribute::HighestModSeq)
            && let Err(error) = self.enable_condstore(turn)
        {
            return next_or_close(Err(error));
        }
        self.run_job(
            turn,
            move |store| {
                let FoundMailbox { mailbox, owner, .. } = access.find(store, &name, Rights::READ)?;
                if mailbox.no_select {
                    return Err(mailstore::Error::NoSelect);
                }
                let mailbox_id = store.mailbox_id(owner, mailbox.id);
                Ok((name, MailboxCounters { status: store.status(mailbox.id)?, mailbox_id }))
            },
            move |session, found, turn| match found {
                Ok((name, counters)) => {
                    let limit = session.context.limits().message;
                    match write_status(&name, &counters, &attributes, limit, turn) {
                        Ok(()) => session.finish_with_updates(reply, "completed", turn),
                        Err(error) => next_or_close(Err(error)),
                    }
                }
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }
}

/// Writes a STATUS response.
pub(super) fn write_status(
    name: &str,
    MailboxCounters { status, mailbox_id }: &MailboxCounters,
    attributes: &[StatusAttribute],
    append_limit: u64,
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_mail::Error> {
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
                StatusAttribute::DeletedStorage => StatusItem::DeletedStorage(status.deleted_size),
                StatusAttribute::Size => StatusItem::Size(status.size),
                StatusAttribute::HighestModSeq => StatusItem::HighestModSeq(status.highest_modseq),
                StatusAttribute::AppendLimit => StatusItem::AppendLimit(Some(append_limit)),
                StatusAttribute::MailboxId => StatusItem::MailboxId(IString::from(mailbox_id.as_str())),
                _ => return None,
            })
        })
        .collect();
    let bytes = MailboxName::new(name).to_bytes(turn.machine.name_encoding());
    let data = MailboxStatus { mailbox: IString::new(&bytes), items: LazyList::new(&items) };
    turn.machine.data(&Untagged::MailboxStatus(data), turn.tx)
}

/// A SELECT that is running on a worker. Reads the UIDs page by page.
struct SelectJob {
    notifier: Arc<ChangeNotifier>,
    remote: SessionHandle,
    mailboxes: MailboxAccess,
    name: String,
    access: Access,
    claims_recent: bool,
    progress: Option<SelectProgress>,
}

struct SelectProgress {
    name: String,
    mailbox_id: String,
    owner: AccountId,
    rights: Rights,
    watch: Watch,
    selection: Selection,
    uids: UidBitmap,
    first_unseen: Option<u32>,
    next: u32,
}

/// An opened mailbox, ready to be selected.
struct OpenedMailbox {
    name: String,
    mailbox_id: String,
    selection: Selection,
    selected: Selected,
    first_unseen: Option<u32>,
}

impl SelectJob {
    fn run(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<Option<OpenedMailbox>> {
        let mut progress = match self.progress.take() {
            Some(progress) => progress,
            None => self.begin(store)?,
        };
        let (mailbox, below): (MailboxId, u32) =
            (progress.selection.mailbox, progress.selection.status.uid_next);
        while !slice.is_over() {
            let page = store.uid_page(mailbox, progress.next, below, UID_PAGE)?;
            progress.first_unseen = progress.first_unseen.or(page.first_unseen);
            progress.uids.extend(page.uids);
            match page.next {
                Some(next) => progress.next = next,
                None => return Ok(Some(progress.end(self.access, self.claims_recent))),
            }
        }
        self.progress = Some(progress);
        Ok(None)
    }

    fn begin(&self, store: &dyn Store) -> mailstore::Result<SelectProgress> {
        let FoundMailbox { mailbox, owner, rights, .. } =
            self.mailboxes.find(store, &self.name, Rights::READ)?;
        if mailbox.no_select {
            return Err(mailstore::Error::NoSelect);
        }
        let granted = access_with(self.access, rights);
        let claims_recent = self.claims_recent && granted == Access::ReadWrite;
        // Watch first: a change between these two steps is reported twice rather than never.
        let watch = self.notifier.watch(mailbox.id, self.remote.clone());
        let access = if claims_recent { mailstore::Access::ReadWrite } else { mailstore::Access::ReadOnly };
        let selection = store.select(mailbox.id, access)?;
        let mailbox_id = store.mailbox_id(owner, mailbox.id);
        let (name, uids) = (mailbox.name, UidBitmap::new());
        Ok(SelectProgress {
            name,
            mailbox_id,
            owner,
            rights,
            watch,
            selection,
            uids,
            first_unseen: None,
            next: 1,
        })
    }
}

impl SelectProgress {
    fn end(self, asked: Access, claims_recent: bool) -> OpenedMailbox {
        let Self { name, mailbox_id, owner, rights, watch, selection, uids, first_unseen, .. } = self;
        let access = access_with(asked, rights);
        let mut view = MailboxView::new(uids);
        view.share(|uids| watch.share(uids));
        if claims_recent || access == Access::ReadOnly {
            // SELECT reports RECENT with the rest of its data.
            let _ = view.mark_recent_from(selection.first_recent_uid);
        }
        let first_unseen = first_unseen.and_then(|uid| view.sequence_number(uid));
        let selected = Selected {
            mailbox: selection.mailbox,
            owner,
            rights,
            asked,
            access,
            view,
            watch,
            cursor: selection.cursor(),
            keywords: 0,
            contexts: None,
            named_by: NumberKind::SequenceNumbers,
        };
        OpenedMailbox { name, mailbox_id, selection, selected, first_unseen }
    }
}

/// Writes the responses that SELECT sends before its tagged one. IMAP4rev2 has no recent messages and requires the
/// mailbox name (RFC 9051 §6.3.2).
fn write_select_data(
    selected: &mut Selected,
    selection: &Selection,
    first_unseen: Option<u32>,
    name: &str,
    mailbox_id: &str,
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_mail::Error> {
    let is_revision_2 = turn.machine.is_enabled("IMAP4rev2");
    let encoding = turn.machine.name_encoding();
    if is_revision_2 {
        selected.view.clear_recent();
    }
    write_flags(selected, &selection.keywords, turn)?;
    let status = &selection.status;
    let mut write = |data: Untagged<'_>| turn.machine.data(&data, turn.tx);
    write(Untagged::Exists(selected.view.exists()))?;
    if is_revision_2 {
        let bytes = MailboxName::new(name).to_bytes(encoding);
        write(Untagged::List(list_response(&[], IString::new(&bytes), &[])))?;
    } else {
        write(Untagged::Recent(selected.view.recent().len()))?;
        // UNSEEN has a sequence number.
        let first_unseen = first_unseen.filter(|_| selected.named_by == NumberKind::SequenceNumbers);
        if let Some(first) = first_unseen.and_then(NonZeroU32::new) {
            write(ok_data(ResponseCode::Unseen(Some(first)), "first unseen message"))?;
        }
    }
    write(ok_data(ResponseCode::UidValidity(status.uid_validity), "UIDs valid"))?;
    write(ok_data(ResponseCode::UidNext(NonZeroU32::new(status.uid_next)), "next UID"))?;
    write(ok_data(ResponseCode::MailboxId(IString::from(mailbox_id)), "mailbox identifier"))?;
    write(ok_data(ResponseCode::HighestModSeq(status.highest_modseq), "highest mod-sequence"))
}

/// Writes the flags of a mailbox: at SELECT, and before a keyword is used that the client has not been told about (RFC
/// 9051 §7.3.5).
pub(super) fn write_flags(
    selected: &mut Selected,
    keywords: &KeywordsInUse,
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_mail::Error> {
    selected.keywords = keywords.newest;
    let names = keywords.names.iter().filter_map(|keyword| Flag::new(keyword).ok());
    let system = [Flag::Answered, Flag::Flagged, Flag::Deleted, Flag::Seen, Flag::Draft];
    let flags: Vec<_> = system.into_iter().chain(names).collect();
    turn.machine.data(&Untagged::Flags(LazyList::new(&flags)), turn.tx)?;
    let may_write = selected.check(Rights::WRITE).is_ok();
    let any = (!keywords.is_full() && may_write).then_some(Flag::Any);
    let is_changeable = |flag: &Flag<'_>| match flag {
        Flag::Seen => selected.check(Rights::SEEN).is_ok(),
        Flag::Deleted => selected.check(Rights::DELETE_MESSAGES).is_ok(),
        _ => may_write,
    };
    let permanent: Vec<_> = flags.iter().copied().filter(is_changeable).chain(any).collect();
    let ok_data = ok_data(ResponseCode::PermanentFlags(LazyList::new(&permanent)), "permanent flags");
    turn.machine.data(&ok_data, turn.tx)
}

/// Writes a change of the view.
pub(super) fn write_update(update: &ViewUpdate, turn: &mut Turn<'_, '_>) -> Result<(), proto_mail::Error> {
    update.response().map_or(Ok(()), |response| turn.machine.data(&response, turn.tx))
}

fn ok_data<'a>(code: ResponseCode<'a>, text: &'a str) -> Untagged<'a> {
    Untagged::Status(StatusResponse::new(Condition::Ok, Text::first_line(text)).with_code(code))
}
