//! Follows all folders in one session: NOTIFY (RFC 5465) reports changes as STATUS and LIST during IDLE (RFC 2177).

use std::collections::HashMap;

use proto_imap::State;
use proto_imap::client::{Client, CommandId, Event};
use proto_imap::types::{
    Command, Condition, EventGroup, LazyList, MailboxFilter, NotifyCommand, NotifyEvent, PlainCode,
    ResponseCode, Untagged,
};
use proto_mail::{Channel, SendBuffer};

use super::account_listing::{FolderStatus, canonical};
use super::watching::WatchEnd;
use crate::error::Error;
use crate::refusal_error::imap_command_error;
use crate::task::{Task, TaskStep};

/// How often IDLE is sent again before the account is synced without a reported change: a report may be lost.
const MAX_RENEWALS: u32 = 15;

/// The events that are followed in each folder of the user.
const EVENTS: [NotifyEvent<'static>; 5] = [
    NotifyEvent::MessageNew(LazyList::EMPTY),
    NotifyEvent::MessageExpunge,
    NotifyEvent::FlagChange,
    NotifyEvent::MailboxName,
    NotifyEvent::SubscriptionChange,
];

/// The states of the folders as the last run has found them, by name.
pub(super) type FolderStates = HashMap<Vec<u8>, FolderStatus>;

/// The task that follows all folders, until one of them changes.
#[derive(Debug)]
pub(super) struct Notified {
    seen: FolderStates,
    step: Step,
    /// Whether a folder has changed.
    has_changed: bool,
    /// Whether it had changed before the wait began.
    has_missed: bool,
    renewals: u32,
}

/// What the task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    /// The selected mailbox is closed: NOTIFY reports it in another way than the others.
    Unselecting(CommandId),
    /// NOTIFY SET STATUS, which first returns the states of all folders.
    Setting(CommandId),
    Idling(CommandId),
    /// NOTIFY NONE: the next run asks itself.
    Ending(CommandId),
}

impl Notified {
    /// Waits for a change of the folders since they were in these states.
    pub(super) const fn new(seen: FolderStates) -> Self {
        Self { seen, step: Step::Start, has_changed: false, has_missed: false, renewals: 0 }
    }

    /// Returns whether the server can do it.
    pub(super) fn is_possible<C: Channel>(client: &Client<C>) -> bool {
        let has = |name: &str| client.capabilities().is_some_and(|known| known.has(name));
        has("NOTIFY") && (has("IMAP4rev2") || (has("IDLE") && has("UNSELECT")))
    }

    fn set<C: Channel>(&self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<Step, Error> {
        let groups = [EventGroup { mailboxes: MailboxFilter::Personal, events: LazyList::new(&EVENTS) }];
        let set = Command::Notify(NotifyCommand::SetStatus(LazyList::new(&groups)));
        Ok(Step::Setting(client.send(&set, tx)?))
    }

    /// Goes on after a command has succeeded.
    fn succeeded<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<WatchEnd>, Error> {
        self.step = match self.step {
            Step::Unselecting(_) => self.set(client, tx)?,
            Step::Setting(_) if !self.has_changed => Step::Idling(client.idle(tx)?),
            Step::Idling(_) if !self.has_changed && self.renewals < MAX_RENEWALS => {
                self.renewals += 1;
                Step::Idling(client.idle(tx)?)
            }
            Step::Setting(_) | Step::Idling(_) => {
                self.has_missed = matches!(self.step, Step::Setting(_));
                Step::Ending(client.send(&Command::Notify(NotifyCommand::None), tx)?)
            }
            Step::Ending(_) | Step::Start => {
                let end = if self.has_missed { WatchEnd::Missed } else { WatchEnd::Sync };
                return Ok(TaskStep::Done(end));
            }
        };
        Ok(TaskStep::Useful)
    }

    /// Notes a report. Returns whether it is one.
    fn report(&mut self, event: &Event<'_>) -> bool {
        let is_report = match event {
            Event::Data(Untagged::MailboxStatus(status)) => match self.step {
                // The states of all folders at the beginning.
                Step::Setting(_) => {
                    let seen = self.seen.get(&canonical(&status.mailbox.as_bytes()));
                    self.has_changed |= seen.is_some_and(|seen| seen.differs(&FolderStatus::new(status)));
                    return false;
                }
                _ => true,
            },
            Event::Data(Untagged::List(_) | Untagged::Lsub(_)) => true,
            Event::Status(status) => match status.code {
                // The server reports nothing any more.
                Some(ResponseCode::Plain(code)) => code == PlainCode::NotificationOverflow,
                _ => false,
            },
            _ => false,
        };
        self.has_changed |= is_report;
        is_report
    }
}

impl<C: Channel> Task<Client<C>> for Notified {
    type Output = WatchEnd;

    fn ready(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<TaskStep<WatchEnd>, Error> {
        if self.step == Step::Start {
            self.step = match client.state() {
                Some(State::Selected(_)) => Step::Unselecting(client.send(&Command::Unselect, tx)?),
                _ => self.set(client, tx)?,
            };
        }
        Ok(TaskStep::Waiting)
    }

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<WatchEnd>, Error> {
        let awaited = match self.step {
            Step::Start => None,
            Step::Unselecting(id) | Step::Setting(id) | Step::Idling(id) | Step::Ending(id) => Some(id),
        };
        match event {
            Event::Completed { id, status } if awaited == Some(id) => match (status.condition, self.step) {
                (Condition::Ok, _) => self.succeeded(client, tx),
                (_, Step::Unselecting(_) | Step::Setting(_)) => Ok(TaskStep::Done(WatchEnd::NoNotify)),
                _ => Err(imap_command_error(&status, "the server refused IDLE")),
            },
            Event::Idling(_) => {
                if self.has_changed {
                    client.done(tx)?;
                }
                Ok(TaskStep::Useful)
            }
            event => {
                if !self.report(&event) {
                    return Ok(TaskStep::Waiting);
                }
                if matches!(self.step, Step::Idling(_)) {
                    client.done(tx)?;
                }
                Ok(TaskStep::Useful)
            }
        }
    }
}
