//! NOTIFY (RFC 5465), and unsolicited METADATA responses (RFC 5464 §4.4.2).
//!
//! A session with NOTIFY watches its account. Its events are reported during each command, while idle, and between commands:
//! changes of the selected mailbox like those that NOOP reports, those of other mailboxes as STATUS, LIST and METADATA. While
//! they are written between commands, the session takes no command from the client.

use std::sync::Arc;
use std::time::Duration;

use io_common::Next;
use mailstore::{AccountChange, AccountId, Annotated, Error, Mailbox, MailboxId, NameSelection, Store};
use proto_imap::server::Reply;
use proto_imap::types::{
    ExtendedItem, IString, LazyList, MailboxAttribute, MailboxName, MetadataEntries, MetadataResponse,
    NotifyCommand, PlainCode, ResponseCode, StatusAttribute, Untagged,
};

use super::fetch_items::{FetchRequest, RejectedFetch};
use super::list_query::MailboxCounters;
use super::list_query::{ListQuery, attributes, list_response};
use super::mailbox::write_status;
use super::mailbox_access::MailboxAccess;
use super::notify_settings::{
    AccountReports, NotifyInProgress, NotifySettings, RejectedNotify, SUPPORTED_EVENTS, SelectedEvents,
};
use super::{
    InProgress, Session, Turn, encoding, next_or_close, ok_status, reply_invalid_name, reply_no,
    reply_no_with_code, reply_ok, reply_store_error,
};
use crate::account_notifier::{AccountEvents, Interests, MessageEvents};

/// The minimum time between two reports, so that changes in quick succession are reported together.
const COALESCE: Duration = Duration::from_millis(50);

/// The number of mailboxes whose STATUS is read at a time.
const STATUS_PAGE: usize = 64;

/// What is reported of a mailbox or of the server.
enum Notification {
    Status(String, MailboxCounters, MessageEvents),
    List { name: String, mailbox: Option<Mailbox>, is_subscribed: bool, old_name: Option<String> },
    Metadata(String, Vec<String>),
}

impl Session {
    /// Returns what is reported of the account. Starts to watch it at the first call.
    fn reports(&mut self, account: AccountId, turn: &mut Turn<'_, '_>) -> &mut AccountReports {
        let (notifier, number) = (&self.context.account_notifier, self.number);
        self.account_reports.get_or_insert_with(|| {
            let watch = notifier.watch(account, number, turn.cx.session_handle());
            let metadata = Interests::default();
            Box::new(AccountReports { watch, settings: None, metadata, next: None, held_back: false })
        })
    }

    /// Reports changed metadata from now on, if the client has enabled it.
    fn enable_metadata(&mut self, account: AccountId, turn: &mut Turn<'_, '_>) {
        let mailbox_metadata = turn.machine.is_enabled("METADATA");
        let server_metadata = mailbox_metadata || turn.machine.is_enabled("METADATA-SERVER");
        let enabled = Interests { mailbox_metadata, server_metadata, ..Interests::default() };
        let known = self.account_reports.as_ref().map(|reports| reports.metadata).unwrap_or_default();
        if enabled != known {
            let reports = self.reports(account, turn);
            reports.metadata = enabled;
            reports.update_interests();
        }
    }

    pub(super) fn notify(
        &mut self,
        account: AccountId,
        reply: Reply,
        command: &NotifyCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let settings = match NotifySettings::new(command, encoding(turn.machine)) {
            Ok(settings) => Arc::new(settings),
            Err(error) => return reject(reply, error, turn),
        };
        let reports = self.reports(account, turn);
        // Watch first: a change between these two steps is reported twice rather than never.
        let before = reports.settings.as_ref().map(|settings| settings.interests()).unwrap_or_default();
        reports.watch.set_interests(settings.interests().or(before).or(reports.metadata));
        if matches!(command, NotifyCommand::SetStatus(_)) {
            let progress = NotifyInProgress { account, reply, settings, after: String::new() };
            return self.write_notify_status(progress, turn);
        }
        self.finish_notify(reply, settings, turn)
    }

    /// Continues with the next STATUS responses, because the client has read the previous ones.
    pub(super) fn continue_notify(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::NotifyStatus(progress) => self.write_notify_status(*progress, turn),
            other => {
                self.in_progress = other;
                self.next_while_waiting()
            }
        }
    }

    fn write_notify_status(&mut self, progress: NotifyInProgress, turn: &mut Turn<'_, '_>) -> Next {
        let NotifyInProgress { account, reply, settings, after } = progress;
        let selected = self.selected.as_ref().map(|selected| selected.mailbox);
        let wanted = Arc::clone(&settings);
        self.run_job(
            turn,
            move |store| status_page(store, account, &wanted, selected, &after),
            move |session, page, turn| match page {
                Ok((found, next)) => {
                    if let Err(error) = session.write_notifications(&found, StatusUse::Initial, turn) {
                        return next_or_close(Err(error));
                    }
                    let Some(after) = next else { return session.finish_notify(reply, settings, turn) };
                    let progress = NotifyInProgress { account, reply, settings, after };
                    session.in_progress = InProgress::NotifyStatus(Box::new(progress));
                    Next::More
                }
                Err(error) => {
                    if let Some(reports) = &session.account_reports {
                        reports.update_interests();
                    }
                    reply_store_error(reply, &error, turn)
                }
            },
        )
    }

    /// Reports the changes of the selected mailbox so far (RFC 5465 §3.1), then applies the settings.
    fn finish_notify(
        &mut self,
        reply: Reply,
        settings: Arc<NotifySettings>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        self.send_all_updates_then(turn, move |session, turn| {
            if let Some(reports) = &mut session.account_reports {
                reports.settings = Some(settings);
                reports.update_interests();
            }
            session.watch_selected();
            let next = reply_ok(reply, "completed", turn);
            session.schedule_notifications(turn);
            next
        })
    }

    /// Returns which events of the selected mailbox the client wants; `None` before the first NOTIFY.
    pub(super) fn selected_events(&self) -> Option<&SelectedEvents> {
        Some(&self.account_reports.as_ref()?.settings.as_ref()?.selected)
    }

    /// Returns whether changes of the selected mailbox are reported to the client.
    pub(super) fn reports_selected(&self) -> bool {
        self.selected_events().is_none_or(|events| events.messages)
    }

    /// Returns what is returned of each new message in the selected mailbox.
    pub(super) fn new_message_attributes(&self) -> Option<Arc<FetchRequest>> {
        self.selected_events()?.attributes.clone()
    }

    /// From now on, changes of the selected mailbox wake the session if the client wants them between commands.
    pub(super) fn watch_selected(&self) {
        let Some(selected) = &self.selected else { return };
        match self.selected_events() {
            Some(events) if events.messages => selected.watch.begin_idle(),
            _ => selected.watch.end_idle(),
        }
    }

    /// Notes that changes of the selected mailbox wait for a command.
    pub(super) fn hold_notifications_back(&mut self) {
        if let (InProgress::Notifying, Some(reports)) = (&self.in_progress, &mut self.account_reports) {
            reports.held_back = true;
        }
    }

    /// Lets the changes of the selected mailbox that waited for a command be reported, and those of metadata if the client
    /// has enabled that.
    pub(super) fn begin_command(&mut self, turn: &mut Turn<'_, '_>) {
        if let Some(reports) = &mut self.account_reports {
            reports.held_back = false;
        }
        if let Some(account) = self.account {
            self.enable_metadata(account, turn);
        }
    }

    /// Returns whether the account has events to report.
    pub(super) fn has_account_events(&self) -> bool {
        self.account_reports.as_ref().is_some_and(|reports| reports.watch.has_events())
    }

    /// Returns whether there is something to report between commands.
    fn has_notifications(&self) -> bool {
        let Some(reports) = &self.account_reports else { return false };
        let wants_selected = self.selected_events().is_some_and(|events| events.messages);
        let has_changed = self.selected.as_ref().is_some_and(|selected| selected.watch.has_changed());
        reports.watch.has_events() || wants_selected && has_changed && !reports.held_back
    }

    /// Asks for another call if there is something to report that no change will wake the session for.
    pub(super) fn schedule_notifications(&self, turn: &mut Turn<'_, '_>) {
        if self.has_notifications() && !matches!(self.in_progress, InProgress::Idle(_)) {
            turn.cx.wake_after(COALESCE);
        }
    }

    /// Reports events while no command is in progress.
    pub(super) fn notify_between_commands(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        if !self.has_notifications() {
            return Next::Continue;
        }
        let Some(reports) = &mut self.account_reports else { return Next::Continue };
        let now = turn.cx.now();
        if reports.next.is_some_and(|next| next > now) {
            return Next::Continue;
        }
        reports.next = now.checked_add(COALESCE);
        self.in_progress = InProgress::Notifying;
        self.send_updates_then(turn, |session, _| {
            session.in_progress = InProgress::None;
            Next::Continue
        })
    }

    /// Reports the events of the account, then calls `then`.
    pub(super) fn report_account_then(
        &mut self,
        turn: &mut Turn<'_, '_>,
        then: impl FnOnce(&mut Self, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        let (Some(account), Some(reports)) = (self.account, &mut self.account_reports) else {
            return then(self, turn);
        };
        let events = Arc::new(reports.watch.take());
        if events.overflow {
            return match self.end_notify(turn) {
                Ok(()) => then(self, turn),
                Err(error) => next_or_close(Err(error)),
            };
        }
        let events_to_read = Arc::clone(&events);
        let resolver = Resolver {
            account,
            settings: reports.settings.clone().unwrap_or_default(),
            metadata: reports.metadata,
            selected: self.selected.as_ref().map(|selected| selected.mailbox),
        };
        self.run_job(
            turn,
            move |store| resolver.resolve(store, &events_to_read),
            move |session, found, turn| match found {
                Ok(found) => match session.write_notifications(&found, StatusUse::Change, turn) {
                    Ok(()) => then(session, turn),
                    Err(error) => next_or_close(Err(error)),
                },
                Err(error) => {
                    tracing::info!(session = session.number, %error, "cannot read changes of the account");
                    match &session.account_reports {
                        // Too many sessions are waiting for the store: this one tries again.
                        Some(reports) if error.is_retryable() || matches!(error, Error::Limit(_)) => {
                            reports.watch.put_back(&events);
                        }
                        Some(reports) => reports.watch.overflow(),
                        None => {}
                    }
                    then(session, turn)
                }
            },
        )
    }

    /// Tells the client that events were lost, and ends the notifications (RFC 5465 §5.8).
    fn end_notify(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), proto_mail::Error> {
        let Some(reports) = &mut self.account_reports else { return Ok(()) };
        if reports.settings.is_none() {
            return Ok(());
        }
        reports.settings = Some(Arc::default());
        reports.update_interests();
        self.watch_selected();
        let code = ResponseCode::Plain(PlainCode::NotificationOverflow);
        let status = ok_status("too many changes: use NOTIFY again").with_code(code);
        turn.machine.data(&Untagged::Status(status), turn.tx)
    }

    fn write_notifications(
        &self,
        notifications: &[Notification],
        status_use: StatusUse,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), proto_mail::Error> {
        for notification in notifications {
            match notification {
                Notification::Status(name, counters, events) => {
                    let attributes = status_attributes(*events, status_use, self.condstore);
                    write_status(name, counters, &attributes, self.context.limits().message, turn)?;
                }
                Notification::List { name, mailbox, is_subscribed, old_name } => {
                    let attributes = attributes(mailbox.as_ref(), *is_subscribed, &ListQuery::default());
                    write_list(name, &attributes, old_name.as_deref(), turn)?;
                }
                Notification::Metadata(mailbox, names) => write_changed_metadata(mailbox, names, turn)?,
            }
        }
        Ok(())
    }
}

/// Why a STATUS response is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatusUse {
    /// NOTIFY SET STATUS.
    Initial,
    /// Something has changed.
    Change,
}

/// Returns the items that a STATUS response contains (RFC 5465 §3.1, §5.1 to §5.3).
fn status_attributes(events: MessageEvents, status_use: StatusUse, condstore: bool) -> Vec<StatusAttribute> {
    use StatusAttribute::{HighestModSeq, Messages, UidNext, UidValidity, Unseen};
    let mut attributes = Vec::new();
    if events.messages {
        attributes.extend([Messages, UidNext]);
    }
    attributes.push(UidValidity);
    if events.flags {
        attributes.push(Unseen);
    }
    if condstore || events.flags && status_use == StatusUse::Initial {
        attributes.push(HighestModSeq);
    }
    attributes
}

/// Refuses a NOTIFY.
fn reject(reply: Reply, error: RejectedNotify, turn: &mut Turn<'_, '_>) -> Next {
    match error {
        RejectedNotify::BadEvent => {
            let names = SUPPORTED_EVENTS.map(|name| IString::new(name.as_bytes()));
            let code = ResponseCode::BadEvent(LazyList::new(&names));
            reply_no_with_code(reply, code, "unsupported event", turn)
        }
        RejectedNotify::TooMuch => {
            reply_no(reply, PlainCode::NotificationOverflow, "too many mailboxes: use a subtree", turn)
        }
        RejectedNotify::Attributes(RejectedFetch::TooMany) => {
            reply_no(reply, PlainCode::Limit, "too many items for new messages", turn)
        }
        RejectedNotify::Attributes(RejectedFetch::Unsupported) => {
            reply_no(reply, PlainCode::Cannot, "unsupported FETCH item", turn)
        }
        RejectedNotify::InvalidName => reply_invalid_name(reply, turn),
    }
}

/// Reads the STATUS of the mailboxes after a name whose new messages are reported to the client. Also returns the name
/// after which to continue.
fn status_page(
    store: &dyn Store,
    account: AccountId,
    settings: &NotifySettings,
    selected: Option<MailboxId>,
    after: &str,
) -> mailstore::Result<(Vec<Notification>, Option<String>)> {
    let page = MailboxAccess::new(account).own_page(store, after, STATUS_PAGE)?;
    let next = (page.len() >= STATUS_PAGE).then(|| page.last().map(|mailbox| mailbox.name.clone())).flatten();
    let mut found = Vec::new();
    for mailbox in page.into_iter().filter(|mailbox| !mailbox.no_select && Some(mailbox.id) != selected) {
        let Interests { messages, flags, .. } = settings.of(&mailbox.name, mailbox.subscribed);
        if messages || flags {
            found.extend(status(store, account, mailbox, MessageEvents { messages, flags })?);
        }
    }
    Ok((found, next))
}

/// Reads the STATUS of a mailbox; `None` if it is gone.
fn status(
    store: &dyn Store,
    account: AccountId,
    mailbox: Mailbox,
    events: MessageEvents,
) -> mailstore::Result<Option<Notification>> {
    match store.status(mailbox.id) {
        Ok(status) => {
            let mailbox_id = store.mailbox_id(account, mailbox.id);
            Ok(Some(Notification::Status(mailbox.name, MailboxCounters { status, mailbox_id }, events)))
        }
        Err(Error::NotFound(_) | Error::NoSelect) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads what is reported of events, on a worker.
struct Resolver {
    account: AccountId,
    settings: Arc<NotifySettings>,
    metadata: Interests,
    selected: Option<MailboxId>,
}

impl Resolver {
    fn resolve(&self, store: &dyn Store, events: &AccountEvents) -> mailstore::Result<Vec<Notification>> {
        let mut found = Vec::new();
        for change in &events.changes {
            self.resolve_change(store, change, &mut found)?;
        }
        for (&id, events) in &events.mailboxes {
            if Some(id) == self.selected {
                continue;
            }
            let Some(mailbox) = existing(MailboxAccess::new(self.account).find_own_by_id(store, id))? else {
                continue;
            };
            let wanted = self.settings.of(&mailbox.name, mailbox.subscribed);
            let messages = events.messages && wanted.messages;
            let flags = events.flags && wanted.flags;
            if messages || flags {
                found.extend(status(store, self.account, mailbox, MessageEvents { messages, flags })?);
            }
        }
        Ok(found)
    }

    fn resolve_change(
        &self,
        store: &dyn Store,
        change: &AccountChange,
        found: &mut Vec<Notification>,
    ) -> mailstore::Result<()> {
        match change {
            AccountChange::Created(name) | AccountChange::Deleted(name) => {
                self.list_if(store, name, None, |wanted| wanted.names, found)?;
                // The parent has other children now (RFC 5465 §5.4).
                if let Some((parent, _)) = name.rsplit_once('/') {
                    self.list_if(store, parent, None, |wanted| wanted.names, found)?;
                }
            }
            AccountChange::Renamed { from, to } => {
                self.list_if(store, to, Some(from), |wanted| wanted.names, found)?;
            }
            AccountChange::Subscribed(name) | AccountChange::Unsubscribed(name) => {
                self.list_if(store, name, None, |wanted| wanted.subscriptions, found)?;
            }
            AccountChange::Metadata(Annotated::Server, names) => {
                found.push(Notification::Metadata(String::new(), names.clone()));
            }
            AccountChange::Metadata(Annotated::Mailbox(id), names) => {
                let Some(mailbox) = existing(MailboxAccess::new(self.account).find_own_by_id(store, *id))?
                else {
                    return Ok(());
                };
                let wanted = self.settings.of(&mailbox.name, mailbox.subscribed);
                if wanted.mailbox_metadata || self.metadata.mailbox_metadata {
                    found.push(Notification::Metadata(mailbox.name, names.clone()));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reports the present state of a name, if the client wants such events of it, or of its old name.
    fn list_if(
        &self,
        store: &dyn Store,
        name: &str,
        old_name: Option<&String>,
        wants: impl Fn(Interests) -> bool,
        found: &mut Vec<Notification>,
    ) -> mailstore::Result<()> {
        let mailbox = existing(MailboxAccess::new(self.account).find_own(store, name))?;
        let is_subscribed = match &mailbox {
            Some(mailbox) => mailbox.subscribed,
            None => {
                let only = name..&*format!("{name}\0");
                store.has_selected_name(self.account, NameSelection::Subscribed, only)?
            }
        };
        let is_listed = |known: &Notification| match known {
            Notification::List { name: known, old_name: None, .. } => known == name,
            _ => false,
        };
        if old_name.is_none() && found.iter().any(is_listed) {
            return Ok(());
        }
        let is_wanted = |name: &str| wants(self.settings.of(name, is_subscribed));
        if is_wanted(name) || old_name.is_some_and(|old| is_wanted(old)) {
            let (name, old_name) = (name.to_owned(), old_name.cloned());
            found.push(Notification::List { name, mailbox, is_subscribed, old_name });
        }
        Ok(())
    }
}

/// Returns a mailbox, or `None` if it does not exist.
fn existing(found: mailstore::Result<Mailbox>) -> mailstore::Result<Option<Mailbox>> {
    match found {
        Ok(mailbox) => Ok(Some(mailbox)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a LIST response with the present state of a name (RFC 5465 §5.4, §5.5).
fn write_list(
    name: &str,
    attributes: &[MailboxAttribute<'static>],
    old_name: Option<&str>,
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_mail::Error> {
    let encoding = encoding(turn.machine);
    let bytes = MailboxName::new(name).to_bytes(encoding);
    let old_name = old_name.map(|old| parenthesized(&MailboxName::new(old).to_bytes(encoding)));
    let value = old_name.as_deref().unwrap_or_default();
    let item = [ExtendedItem { name: IString::new(b"OLDNAME"), value: IString::new(value) }];
    let extended = if old_name.is_some() { &item[..] } else { &[] };
    let listed = list_response(attributes, IString::new(&bytes), extended);
    turn.machine.data(&Untagged::List(listed), turn.tx)
}

/// Returns a name as a quoted string in parentheses. Names of mailboxes have no control characters.
fn parenthesized(name: &[u8]) -> Vec<u8> {
    let mut value = b"(\"".to_vec();
    for byte in name {
        if matches!(byte, b'"' | b'\\') {
            value.push(b'\\');
        }
        value.push(*byte);
    }
    value.extend(b"\")");
    value
}

/// Writes a METADATA response with the names of changed entries.
fn write_changed_metadata(
    mailbox: &str,
    names: &[String],
    turn: &mut Turn<'_, '_>,
) -> Result<(), proto_mail::Error> {
    let bytes = MailboxName::new(mailbox).to_bytes(encoding(turn.machine));
    let names: Vec<_> = names.iter().map(|name| IString::new(name.as_bytes())).collect();
    let entries = MetadataEntries::Changed(LazyList::new(&names));
    turn.machine
        .data(&Untagged::Metadata(MetadataResponse { mailbox: IString::new(&bytes), entries }), turn.tx)
}
