//! The machine that resynchronises one mailbox.

use alloc::collections::VecDeque;
use core::num::NonZeroU32;

use proto_mail::{Channel, Misuse, SendBuffer};

use super::fetched::{Fetched, FetchedMessage};
use super::ranges::RangeQueue;
use super::selected::SelectedMailbox;
use super::types::{
    AfterLoss, KnownMailbox, NewMessages, OpenedMailbox, ResyncError, ResyncEvent, ResyncMethod,
};
use crate::client::{Client, CommandId, Event};
use crate::state::{Access, State};
use crate::types::{
    Capability, Command, LazyList, MailboxName, NumberRange, Numbers, Owned, ResponseCode, SearchPiece,
    SearchReturnData, StatusResponse, Untagged, VanishedWhen,
};
use crate::uid_bitmap::UidBitmap;

/// The default of [`Resync::with_message_limit`].
const MESSAGE_LIMIT: u32 = 10_000_000;

/// How many messages the server may list beyond twice those that it counts: some may arrive or change meanwhile.
const UNCOUNTED: u64 = 1000;

pub(super) const QRESYNC: &str = "QRESYNC";

/// Resynchronises one mailbox. See the [module](self::super).
///
/// * [`start`](Self::start) sends the first command, in a session that is logged in.
/// * [`take`](Self::take) takes every event of the machine from then on, until [`is_done`](Self::is_done). No other command
///   may be in progress.
/// * [`next_event`](Self::next_event) returns what was found. Call it after each `take` until it returns `None`.
///
/// It stores the known UIDs, those that the server has, and one message at a time.
#[derive(Debug, Clone)]
pub struct Resync {
    pub(super) mailbox: Owned<MailboxName<'static>>,
    pub(super) access: Access,
    pub(super) known: KnownMailbox,
    pub(super) message_limit: u32,
    pub(super) new_messages: NewMessages,
    pub(super) step: Step,
    pub(super) method: ResyncMethod,
    pub(super) selected: SelectedMailbox,
    /// What the first session said, if the mailbox was selected.
    pub(super) first: Option<SelectedMailbox>,
    pub(super) after_select: AfterSelect,
    /// Whether the session was lost while the mailbox was selected: the next one selects it without QRESYNC.
    pub(super) has_lost_select: bool,
    /// The messages that were known, and those that the server has shown.
    pub(super) uids: UidBitmap,
    /// The number of UIDs in `uids`.
    pub(super) count: u32,
    /// The messages that the server has shown.
    pub(super) seen: UidBitmap,
    /// The messages of `uids` that have vanished, as the server says.
    pub(super) vanished: UidBitmap,
    /// The messages that UID SEARCH has found.
    pub(super) found: UidBitmap,
    /// Whether `found` holds all messages.
    pub(super) has_found: bool,
    /// Whether UID FETCH has listed all messages that it can.
    pub(super) has_fetched_all: bool,
    /// The messages on which the server fails.
    pub(super) unreadable: UidBitmap,
    /// The messages on which the server failed before.
    pub(super) avoided: UidBitmap,
    /// The number of messages that the server counts and does not list.
    pub(super) unlisted: u32,
    /// The ranges to list, once the server has failed on all messages at once.
    pub(super) ranges: Option<RangeQueue>,
    /// How many messages were listed since the last command.
    listed: u64,
    pub(super) message: Option<FetchedMessage>,
    /// Whether a response could not be used, so that a change may be unknown.
    pub(super) is_incomplete: bool,
    pub(super) events: VecDeque<ResyncEvent>,
}

/// The command whose completion is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    New,
    Enabling(CommandId),
    Selecting(CommandId),
    /// UID FETCH (CHANGEDSINCE …)
    FetchingChanges(CommandId),
    /// UID FETCH 1:*
    FetchingAll(CommandId),
    Searching(CommandId),
    /// UID FETCH of messages that UID SEARCH has found and no response has shown.
    FetchingFound(CommandId),
    /// UID FETCH of a range of UIDs.
    FetchingRange(CommandId, NumberRange),
    Done,
}

/// What follows when the mailbox is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterSelect {
    Compare,
    /// UID SEARCH, after the session was lost while the server listed all messages.
    Search,
    /// The next of the ranges.
    Ranges,
}

impl Step {
    const fn command(self) -> Option<CommandId> {
        match self {
            Self::New | Self::Done => None,
            Self::Enabling(id)
            | Self::Selecting(id)
            | Self::FetchingChanges(id)
            | Self::FetchingAll(id)
            | Self::Searching(id)
            | Self::FetchingFound(id)
            | Self::FetchingRange(id, _) => Some(id),
        }
    }
}

impl Resync {
    /// Creates the resynchronisation of a mailbox that is opened with SELECT.
    #[must_use]
    pub fn select(mailbox: MailboxName<'_>, known: KnownMailbox) -> Self {
        Self::new(mailbox, known, Access::ReadWrite)
    }

    /// Creates the resynchronisation of a mailbox that is opened with EXAMINE: nothing in it is changed, not even which
    /// messages are recent.
    #[must_use]
    pub fn examine(mailbox: MailboxName<'_>, known: KnownMailbox) -> Self {
        Self::new(mailbox, known, Access::ReadOnly)
    }

    fn new(mailbox: MailboxName<'_>, known: KnownMailbox, access: Access) -> Self {
        Self {
            mailbox: mailbox.into_owned(),
            access,
            message_limit: MESSAGE_LIMIT,
            new_messages: NewMessages::WithFlags,
            step: Step::New,
            method: ResyncMethod::Full,
            selected: SelectedMailbox::default(),
            first: None,
            after_select: AfterSelect::Compare,
            has_lost_select: false,
            uids: known.uids.clone(),
            count: known.uids.len(),
            seen: UidBitmap::new(),
            vanished: UidBitmap::new(),
            found: UidBitmap::new(),
            has_found: false,
            has_fetched_all: false,
            unreadable: UidBitmap::new(),
            avoided: UidBitmap::new(),
            unlisted: 0,
            ranges: None,
            listed: 0,
            message: None,
            is_incomplete: false,
            events: VecDeque::new(),
            known,
        }
    }

    /// Sets the maximum number of messages of the mailbox, including those that have vanished. Default: 10,000,000. A set of
    /// so many UIDs takes at most 20 MB.
    #[must_use]
    pub const fn with_message_limit(mut self, limit: u32) -> Self {
        self.message_limit = limit;
        self
    }

    /// Sets what is reported of messages that the client did not know. Default: [`NewMessages::WithFlags`].
    #[must_use]
    pub const fn with_new_messages(mut self, new_messages: NewMessages) -> Self {
        self.new_messages = new_messages;
        self
    }

    /// Sets messages on which the server failed before. If all messages are compared, UID SEARCH lists them, and UID FETCH
    /// names the others only, as far as that takes at most 64 ranges. They are reported as
    /// [`ResyncEvent::Unreadable`] as long as they exist. Default: none.
    #[must_use]
    pub fn with_unreadable(mut self, uids: UidBitmap) -> Self {
        self.avoided = uids;
        self
    }

    /// Sends the first command. Also continues in another session, after [`connection_lost`](Self::connection_lost).
    ///
    /// # Errors
    /// [`ResyncError::Machine`] with [`Misuse::WrongState`] before the login, if the capabilities are not known, or if it was
    /// started before; those of [`Client::send`].
    pub fn start<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        let (Some(capabilities), Step::New) = (client.capabilities(), self.step) else {
            return Err(ResyncError::Machine(Misuse::WrongState.into()));
        };
        // ENABLE is not allowed once a mailbox is selected (RFC 5161 §3.1).
        let enables = capabilities.has(QRESYNC)
            && (capabilities.has("ENABLE") || capabilities.has("IMAP4rev2"))
            && !client.is_enabled(QRESYNC)
            && client.state() == Some(State::Authenticated);
        if enables {
            let names = [Capability::new(QRESYNC)];
            let command = Command::Enable(LazyList::new(&names));
            self.step = Step::Enabling(client.send(&command, tx)?);
            return Ok(());
        }
        self.select_by(self.best_method(client), client, tx)
    }

    /// Returns the command whose completion is awaited; `None` before the start and at the end.
    #[must_use]
    pub const fn command(&self) -> Option<CommandId> {
        self.step.command()
    }

    /// Returns what the server said when the mailbox was first selected; `None` before.
    #[must_use]
    pub fn opened(&self) -> Option<OpenedMailbox> {
        let first = self.first.as_ref()?;
        Some(OpenedMailbox {
            exists: first.exists.unwrap_or(0),
            uid_validity: first.uid_validity,
            uid_next: first.uid_next,
            highest_mod_sequence: first.highest_mod_sequence(),
            mailbox_id: first.mailbox_id.clone(),
        })
    }

    /// Records that the session has ended before the resynchronisation was complete. What was reported holds, and what was
    /// listed is not listed again.
    ///
    /// The server may have failed on a message, so the next session asks in another way: without QRESYNC, by UID SEARCH,
    /// or in smaller ranges. At most about 15 sessions are lost.
    pub fn connection_lost(&mut self) -> AfterLoss {
        self.message = None;
        let after = match core::mem::replace(&mut self.step, Step::New) {
            Step::New | Step::Enabling(_) | Step::Selecting(_) => {
                match core::mem::replace(&mut self.has_lost_select, true) {
                    false => AfterLoss::Restart,
                    true => AfterLoss::Stop,
                }
            }
            Step::FetchingChanges(_) | Step::FetchingAll(_) => {
                self.after_select = AfterSelect::Search;
                AfterLoss::Restart
            }
            Step::Searching(_) | Step::FetchingFound(_) => {
                self.ranges = Some(self.ranges_to_fetch());
                self.after_select = AfterSelect::Ranges;
                AfterLoss::Restart
            }
            Step::FetchingRange(_, range) => {
                self.after_select = AfterSelect::Ranges;
                if self.range_lost(range) { AfterLoss::RestartNarrowed } else { AfterLoss::Stop }
            }
            Step::Done => AfterLoss::Stop,
        };
        if after == AfterLoss::Stop {
            self.step = Step::Done;
        }
        self.forget_responses();
        after
    }

    /// Returns whether the resynchronisation is complete. [`ResyncEvent::Done`] has the result.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// Returns what was found, one event after the other; `None` if there is none until [`take`](Self::take) was called.
    pub fn next_event(&mut self) -> Option<ResyncEvent> {
        self.events.pop_front()
    }

    /// Takes an event of the machine, and sends the next command if one is needed. Ignores events that it has no use for.
    ///
    /// # Errors
    /// The resynchronisation has failed, and ignores all further events, unless it is started again after
    /// [`ResyncError::Rejected`]. The mailbox may be selected. What was reported before holds.
    pub fn take<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        let taken = self.take_event(event, client, tx);
        if let Err(error) = &taken {
            let is_rejected = matches!(error, ResyncError::Rejected(_));
            self.step = if is_rejected { Step::New } else { Step::Done };
        }
        taken
    }

    fn take_event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<(), ResyncError> {
        if let Event::Completed { id, status } = event
            && self.step.command() == Some(*id)
        {
            return self.completed(status, client, tx);
        }
        if matches!(self.step, Step::New | Step::Enabling(_) | Step::Done) {
            return Ok(());
        }
        match event {
            Event::Status(status) => self.take_status(status)?,
            Event::Data(data) => self.take_data(data)?,
            Event::SearchPiece(SearchPiece::Result(SearchReturnData::All(numbers))) => {
                self.add_found(*numbers)?
            }
            Event::FetchStart { .. } => self.message = Some(FetchedMessage::default()),
            Event::UidFetchStart { uid } => {
                self.message = Some(FetchedMessage::with_uid(*uid));
            }
            Event::FetchItem(item) => {
                if let Some(message) = &mut self.message {
                    message.take(item);
                }
            }
            Event::FetchEnd => {
                if let Some(message) = self.message.take() {
                    self.add_message(message)?;
                }
            }
            Event::Unparsed(_) => self.is_incomplete = true,
            _ => {}
        }
        Ok(())
    }

    fn take_status(&mut self, status: &StatusResponse<'_>) -> Result<(), ResyncError> {
        if matches!(self.step, Step::Selecting(_)) {
            self.selected.take(status);
            return Ok(());
        }
        match status.code {
            Some(ResponseCode::UidValidity(value))
                if NonZeroU32::new(value) != self.selected.uid_validity =>
            {
                Err(ResyncError::UidValidityChanged)
            }
            _ => Ok(()),
        }
    }

    fn take_data(&mut self, data: &Untagged<'_>) -> Result<(), ResyncError> {
        match data {
            Untagged::Exists(count) => self.selected.exists = Some(*count),
            Untagged::Expunge(_) => self.selected.remove(1),
            Untagged::Vanished { when, uids } => self.add_vanished(*when, *uids),
            Untagged::Search(search) => self.add_found(search.numbers)?,
            Untagged::Esearch(search) => {
                for result in search.results {
                    if let SearchReturnData::All(numbers) = result {
                        self.add_found(numbers)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns whether data of messages belong to the mailbox that the client knows. They are ignored before UIDVALIDITY:
    /// they may belong to the mailbox that was selected before.
    fn expects_messages(&mut self) -> bool {
        if !matches!(self.step, Step::Selecting(_)) {
            return true;
        }
        match self.selected.uid_validity {
            None => {
                self.selected.has_early_data = true;
                false
            }
            uid_validity => uid_validity == self.known.uid_validity,
        }
    }

    fn add_message(&mut self, message: FetchedMessage) -> Result<(), ResyncError> {
        if !self.expects_messages() {
            return Ok(());
        }
        let (uid, message) = match message.finish() {
            Fetched::Message(message) => (message.uid, Some(message)),
            Fetched::Uid(uid) => (uid, None),
            Fetched::Unclear => {
                self.is_incomplete = true;
                return self.count_listed(1);
            }
            Fetched::Other => return self.count_listed(1),
        };
        self.count_listed(1)?;
        match message {
            Some(_) => _ = self.unreadable.remove(uid),
            None if self.wants_uids_only() => {}
            None => _ = self.unreadable.insert(uid),
        }
        self.vanished.remove(uid);
        self.seen.insert(uid);
        let is_new = self.uids.insert(uid);
        if is_new {
            self.count = self.count.saturating_add(1);
            if self.count > self.message_limit {
                return Err(self.too_many());
            }
        }
        match message {
            Some(message) if !is_new => self.events.push_back(ResyncEvent::Changed(message)),
            Some(message) if self.new_messages == NewMessages::WithFlags => {
                self.events.push_back(ResyncEvent::New(message));
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns whether only UIDs are requested: the flags of new messages are not wanted, and all are new.
    pub(super) fn wants_uids_only(&self) -> bool {
        self.new_messages == NewMessages::UidsOnly && self.known.uids.is_empty()
    }

    /// Counts messages anew for the next command.
    pub(super) const fn sends(&mut self) {
        self.listed = 0;
    }

    /// Counts messages that the server lists. They take no memory if they are listed again, but time.
    fn count_listed(&mut self, count: u64) -> Result<(), ResyncError> {
        self.listed = self.listed.saturating_add(count);
        let exists = self.selected.exists.unwrap_or(self.message_limit);
        match self.listed > u64::from(exists) * 2 + UNCOUNTED {
            true => Err(ResyncError::MoreThanCounted { exists }),
            false => Ok(()),
        }
    }

    /// Notes which of the messages have vanished. Whatever ranges the server sends, only messages of `uids` are stored.
    fn add_vanished(&mut self, when: VanishedWhen, uids: Numbers<'_>) {
        if !self.expects_messages() {
            return;
        }
        let before = self.vanished.len();
        for range in uids.ranges() {
            // A range that brings nothing new costs no pass over its messages, however often it is repeated.
            let count = |set: &UidBitmap| {
                set.count_up_to(range.last()) - set.count_up_to(range.first().saturating_sub(1))
            };
            if count(&self.vanished) < count(&self.uids) {
                self.vanished.extend(self.uids.ranges_within(range));
            }
        }
        if when == VanishedWhen::Now {
            self.selected.remove(self.vanished.len().saturating_sub(before));
        }
    }

    fn add_found(&mut self, numbers: Numbers<'_>) -> Result<(), ResyncError> {
        if !matches!(self.step, Step::Searching(_)) {
            return Ok(());
        }
        let limit = u64::from(self.message_limit);
        if numbers.count().saturating_add(u64::from(self.found.len())) > limit {
            return Err(self.too_many());
        }
        self.count_listed(numbers.count())?;
        self.found.extend(numbers.ranges());
        Ok(())
    }

    pub(super) const fn too_many(&self) -> ResyncError {
        ResyncError::TooManyMessages { limit: self.message_limit }
    }
}
