//! Waits for changes between two runs: of all folders, if the server has NOTIFY, or by IDLE (RFC 2177) in one folder, as long
//! as the machine allows ([`Waits::idle`](proto_imap::config::Waits::idle)).

use proto_imap::client::{Client, CommandId, Event};
use proto_imap::types::{Condition, Untagged};
use proto_mail::{Channel, SendBuffer};

use super::examine::{Examine, Opened};
use crate::error::Error;
use crate::folder::Folder;
use crate::imap::Requesting;
use crate::refusal_error::imap_command_error;
use crate::task::{Task, TaskStep};

/// How the folder was when it was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) exists: u32,
    pub(super) uid_next: Option<u32>,
}

impl Seen {
    /// Returns whether the folder has changed since.
    fn has_changed(self, now: &Opened) -> bool {
        let has_new = match (self.uid_next, now.uid_next) {
            (Some(before), Some(now)) => before != now,
            _ => false,
        };
        has_new || self.exists != now.exists
    }
}

/// Why the wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchEnd {
    /// The folder has changed, or IDLE has lasted its time.
    Sync,
    /// The folder has changed since it was synced, before the wait began.
    Missed,
    /// The server has no IDLE. The caller waits for some time.
    NoIdle,
    /// The server refuses NOTIFY. The caller watches one folder.
    NoNotify,
}

/// The task that opens the folder and waits for a change.
#[derive(Debug)]
pub(super) struct Watching {
    examine: Option<Requesting<Examine>>,
    /// `None` if it is not known, or if the last run began because of a missed change.
    seen: Option<Seen>,
    idle: Option<CommandId>,
}

impl Watching {
    pub(super) fn new(folder: Folder, seen: Option<Seen>) -> Self {
        let examine = Some(Requesting::new(Examine::new(folder)));
        Self { examine, seen, idle: None }
    }

    fn idle<C: Channel>(
        &mut self,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<WatchEnd>, Error> {
        let has = |name: &str| client.capabilities().is_some_and(|known| known.has(name));
        if !has("IDLE") && !has("IMAP4rev2") {
            return Ok(TaskStep::Done(WatchEnd::NoIdle));
        }
        self.idle = Some(client.idle(tx)?);
        Ok(TaskStep::Useful)
    }
}

impl<C: Channel> Task<Client<C>> for Watching {
    type Output = WatchEnd;

    fn ready(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<TaskStep<WatchEnd>, Error> {
        match &mut self.examine {
            Some(examine) => examine.ready(client, tx).map(|_| TaskStep::Waiting),
            None => Ok(TaskStep::Waiting),
        }
    }

    fn event(
        &mut self,
        event: Event<'_>,
        client: &mut Client<C>,
        tx: &mut SendBuffer,
    ) -> Result<TaskStep<WatchEnd>, Error> {
        if let Some(examine) = &mut self.examine {
            let TaskStep::Done(opened) = examine.event(event, client, tx)? else {
                return Ok(TaskStep::Waiting);
            };
            self.examine = None;
            return match self.seen {
                Some(seen) if seen.has_changed(&opened) => Ok(TaskStep::Done(WatchEnd::Missed)),
                _ => self.idle(client, tx),
            };
        }
        match event {
            Event::Completed { id, status } if self.idle == Some(id) => match status.condition {
                Condition::Ok => Ok(TaskStep::Done(WatchEnd::Sync)),
                _ => Err(imap_command_error(&status, "the server refused IDLE")),
            },
            Event::Idling(_) => Ok(TaskStep::Useful),
            Event::Data(
                Untagged::Exists(_)
                | Untagged::Expunge(_)
                | Untagged::Vanished { .. }
                | Untagged::MailboxStatus(_)
                | Untagged::List(_),
            )
            | Event::FetchEnd => {
                client.done(tx)?;
                Ok(TaskStep::Useful)
            }
            _ => Ok(TaskStep::Waiting),
        }
    }
}
