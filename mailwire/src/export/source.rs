//! A folder that is exported, and what was exported of it.

use mailstore::Store;

use crate::command_error::CommandError;
use crate::interrupt::Interrupt;

/// A folder of the store.
pub(super) struct Source<'s> {
    pub(super) store: &'s dyn Store,
    pub(super) mailbox: mailstore::MailboxId,
    /// Its UIDVALIDITY, which is part of the names.
    pub(super) validity: u32,
    pub(super) interrupt: &'s Interrupt,
}

impl Source<'_> {
    /// Opens the bytes of a message. `None` if they cannot be read; another message can.
    pub(super) fn open(&self, message: &mailstore::Message) -> Result<Option<mailstore::Body>, CommandError> {
        self.interrupt.check()?;
        match self.store.open_content(message.content) {
            Ok(body) => Ok(Some(body)),
            Err(mailstore::Error::NotFound(_) | mailstore::Error::Corrupt(_) | mailstore::Error::Io(_)) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// How many messages of a folder were written, and how many were there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Exported {
    pub(super) written: u64,
    pub(super) present: u64,
    /// Messages that could not be read.
    pub(super) failed: u64,
}
