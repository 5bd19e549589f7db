//! The first half of a folder's sync: opens the folder, and learns which messages the server has and which of them have
//! changed. [`Resync`] does it, from what the store knows.

use std::num::NonZeroU32;

use mailstore::UidSet;
use proto_imap::client::{Client, Event};
use proto_imap::resync::{AfterLoss, KnownMailbox, NewMessages, Resync, ResyncError, ResyncEvent, UidBitmap};
use proto_imap::types::{NumberRange, Untagged};
use proto_mail::{Channel, SendBuffer};

use super::examine::{no_uid_validity, uid_validity_changed};
use super::flag_changes::local_flags;
use super::folder_run::{AfterOpen, FolderRun, FolderStep, Phase};
use super::job::{Job, KnownMessages, Place, Prepared};
use super::plan::union;
use super::session_error::SessionError;
use crate::endpoint::ClientId;
use crate::error::{Error, ErrorKind, SyncLimit};
use crate::imap::Identify;
use crate::refusal_error::imap_command_error;

impl FolderRun {
    /// Begins to list the folder. `known` are the messages of an earlier sync.
    pub(super) fn resync(&mut self, known: KnownMessages) {
        let mailbox = self.planned.folder.mailbox();
        let limit = u32::try_from(self.settings.max).unwrap_or(u32::MAX);
        let resync = Resync::examine(mailbox, self.known_mailbox(&known))
            .with_message_limit(limit)
            .with_new_messages(NewMessages::UidsOnly)
            .with_unreadable(bitmap(&known.unfetched));
        self.known = known;
        self.phase = Phase::Resyncing { resync: Box::new(resync), is_started: false };
    }

    fn known_mailbox(&self, known: &KnownMessages) -> KnownMailbox {
        let mut mailbox = KnownMailbox::default();
        if let Some(recorded) = self.planned.recorded() {
            mailbox.uid_validity = NonZeroU32::new(recorded.uid_validity);
            mailbox.uid_next = NonZeroU32::new(recorded.state.uid_next);
            mailbox.highest_mod_sequence = Some(recorded.state.highest_modseq).filter(|value| *value != 0);
            mailbox.uids = bitmap(&union(&known.stored, &known.unfetched));
        }
        mailbox
    }

    /// Passes an event to the resynchronisation.
    pub(super) fn resync_event<C: Channel>(
        &mut self,
        event: &Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<FolderStep, Error> {
        let Phase::Resyncing { resync, .. } = &mut self.phase else { return Ok(FolderStep::Waiting) };
        let taken = resync.take(event, client, tx);
        while let Some(found) = resync.next_event() {
            self.has_progress = true;
            match found {
                ResyncEvent::Changed(message) => {
                    self.flags.add(message.uid, local_flags(&message.flags.view()));
                }
                ResyncEvent::Done(done) => self.resynced = Some(done),
                _ => {}
            }
        }
        let is_opened = match (&self.opened, resync.opened()) {
            (None, Some(opened)) => {
                self.opened = Some(opened);
                true
            }
            _ => false,
        };
        if let Err(error) = taken {
            return self.resync_failed(error);
        }
        if is_opened {
            self.prepare()?;
        }
        if self.resynced.is_some() {
            self.phase = Phase::Preparing;
            return Ok(self.plan_if_prepared());
        }
        let is_busy = is_opened || self.flags.is_full();
        Ok(match is_useful(event) {
            _ if is_busy => FolderStep::Act,
            true => FolderStep::Useful,
            false => FolderStep::Waiting,
        })
    }

    /// Asks the store for the folder's mailbox.
    fn prepare(&mut self) -> Result<(), Error> {
        let uid_validity = self.uid_validity().ok_or_else(no_uid_validity)?;
        let place = Place {
            account: self.settings.account,
            remote: self.settings.remote,
            key: self.planned.folder.key(),
            name: self.planned.name.clone(),
            special_use: self.planned.special_use,
            subscribed: self.planned.subscribed,
            recorded: self.planned.known.clone(),
            known: std::mem::take(&mut self.known),
            is_dry_run: self.settings.is_dry_run,
        };
        self.job = Some(Job::Prepare { place, uid_validity });
        Ok(())
    }

    pub(super) fn prepared(&mut self, prepared: Prepared) -> FolderStep {
        self.prepared = Some(prepared);
        self.plan_if_prepared()
    }

    /// Goes on once the messages are listed and the store has prepared the mailbox.
    fn plan_if_prepared(&mut self) -> FolderStep {
        match (&self.prepared, &self.resynced) {
            (Some(_), Some(done)) => {
                let uids = uid_set(&done.mailbox.uids);
                self.plan(&uids)
            }
            _ => FolderStep::Act,
        }
    }

    /// Returns the job that applies the flags that came.
    pub(super) fn flags_job(&mut self) -> Option<Job> {
        let is_due = self.flags.is_full() || !matches!(self.phase, Phase::Resyncing { .. });
        if self.flags.is_empty() || !is_due {
            return None;
        }
        // Flags come from a mailbox that is recorded, maybe before it is prepared.
        let recorded = self.planned.recorded().map(|recorded| (recorded.id, recorded.mailbox));
        let prepared = self.prepared.as_ref().map(|prepared| (prepared.remote, prepared.mailbox));
        let (remote, mailbox) = prepared.or(recorded)?;
        let batch = std::mem::take(&mut self.flags);
        Some(Job::Flags { remote, mailbox, batch, is_dry_run: self.settings.is_dry_run })
    }

    fn resync_failed(&mut self, error: ResyncError) -> Result<FolderStep, Error> {
        let exists = self.opened.as_ref().map_or(0, |opened| opened.exists);
        let max = self.settings.max;
        match error {
            ResyncError::Rejected(status) => {
                Err(imap_command_error(&status.view(), "the server refused EXAMINE"))
            }
            ResyncError::TooManyMessages { .. } => {
                let why = format!("the server counts {exists} messages, and the limit is {max}");
                let error = Error::new(ErrorKind::Unavailable, why).exceeding(SyncLimit::FolderMessages);
                // Without a command in progress, the session can go on.
                match u64::from(exists) > max {
                    true => Ok(self.end(Some(SessionError::Request(error.remote())))),
                    false => Err(error.remote()),
                }
            }
            ResyncError::MoreThanCounted { exists } => {
                let why = format!("the server counts {exists} messages but lists more than twice as many");
                Err(Error::new(ErrorKind::Protocol, why).remote())
            }
            ResyncError::UidValidityChanged => Err(uid_validity_changed()),
            ResyncError::Machine(error) => Err(error.into()),
            other => Err(Error::new(ErrorKind::Protocol, other.to_string()).remote()),
        }
    }

    /// Decides what follows after the session failed while the folder was opened or listed. `program` is what ID says; it
    /// is `None` if ID was sent: some servers require it.
    pub(super) fn resync_lost(
        &mut self,
        mut resync: Box<Resync>,
        error: SessionError,
        program: Option<&ClientId>,
    ) -> FolderStep {
        match error {
            SessionError::Request(error) if self.opened.is_none() => match program.and_then(Identify::new) {
                Some(task) => {
                    self.phase = Phase::Identify { task, then: AfterOpen::Resync(resync) };
                    FolderStep::Identified
                }
                None => self.end(Some(SessionError::Request(error))),
            },
            SessionError::Session(error) if self.may_restart(&error) => match resync.connection_lost() {
                AfterLoss::Stop => self.end(Some(SessionError::Session(error))),
                after => {
                    let had_progress =
                        std::mem::take(&mut self.has_progress) || after == AfterLoss::RestartNarrowed;
                    self.phase = Phase::Resyncing { resync, is_started: false };
                    FolderStep::Lost { error, had_progress }
                }
            },
            error => self.end(Some(error)),
        }
    }

    /// Returns whether another session may help.
    fn may_restart(&self, error: &Error) -> bool {
        match self.opened {
            Some(_) => error.kind() == ErrorKind::Temporary,
            None => error.is_closed_connection(),
        }
    }

    pub(super) fn uid_validity(&self) -> Option<u32> {
        Some(self.opened.as_ref()?.uid_validity?.get())
    }

    /// Returns how many messages the server counts and did not list.
    pub(super) fn unlisted(&self) -> u64 {
        self.resynced.as_ref().map_or(0, |done| u64::from(done.unlisted))
    }
}

/// Returns whether an event brings a listing further. The resynchronisation limits how many there are.
const fn is_useful(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::FetchEnd
            | Event::SearchStart(_)
            | Event::SearchPiece(_)
            | Event::SearchEnd
            | Event::Data(Untagged::Search(_) | Untagged::Esearch(_))
            | Event::Completed { .. }
    )
}

fn bitmap(uids: &UidSet) -> UidBitmap {
    uids.ranges().iter().map(|range| NumberRange::new(*range.start(), *range.end())).collect()
}

fn uid_set(uids: &UidBitmap) -> UidSet {
    uids.ranges().map(|range| range.first()..=range.last()).collect()
}
