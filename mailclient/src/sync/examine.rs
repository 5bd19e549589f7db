//! Opens a remote folder for reading.

use std::num::NonZeroU32;

use proto_imap::client::Event;
use proto_imap::types::{
    Capability, CapabilityList, Command, ResponseCode, SelectCommand, Untagged, VanishedWhen,
};

use crate::error::{Error, ErrorKind};
use crate::folder::Folder;
use crate::imap::Request;

/// A folder opened for reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Opened {
    pub(super) uid_validity: u32,
    pub(super) exists: u32,
    /// The lower bound for the next message's UID, if the server sent it.
    pub(super) uid_next: Option<u32>,
}

/// Opens a folder for reading.
#[derive(Debug)]
pub(super) struct Examine {
    folder: Folder,
    opened: Opened,
    uid_validity: Option<u32>,
}

impl Examine {
    pub(super) fn new(folder: Folder) -> Self {
        Self { folder, opened: Opened::default(), uid_validity: None }
    }
}

impl Request for Examine {
    type Output = Opened;

    fn with_command<T>(&self, send: impl FnOnce(&Command<'_>) -> Result<T, Error>) -> Result<T, Error> {
        send(&Command::Examine(SelectCommand::new(self.folder.mailbox())))
    }

    fn data(&mut self, event: Event<'_>) -> Result<bool, Error> {
        match event {
            Event::Status(status) => match status.code {
                Some(ResponseCode::UidValidity(value)) => self.uid_validity = Some(value),
                Some(ResponseCode::UidNext(value)) => self.opened.uid_next = value.map(NonZeroU32::get),
                _ => {}
            },
            Event::Data(Untagged::Exists(count)) => self.opened.exists = count,
            _ => {}
        }
        Ok(false)
    }

    fn finish(&mut self) -> Result<Opened, Error> {
        let uid_validity = self.uid_validity.ok_or_else(no_uid_validity)?;
        Ok(Opened { uid_validity, ..std::mem::take(&mut self.opened) })
    }
}

/// Returns the error for a folder without UIDVALIDITY.
pub(super) fn no_uid_validity() -> Error {
    Error::new(ErrorKind::Unavailable, "the server sends no UIDVALIDITY, so messages cannot be identified")
}

/// Checks that UIDVALIDITY has not changed since the folder was opened.
pub(super) fn check_uid_validity(event: &Event<'_>, uid_validity: u32) -> Result<(), Error> {
    match event {
        Event::Status(status) if matches!(status.code, Some(ResponseCode::UidValidity(now)) if now != uid_validity) => {
            Err(uid_validity_changed())
        }
        _ => Ok(()),
    }
}

/// Returns the error for a change of UIDVALIDITY.
pub(super) fn uid_validity_changed() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the server changed the UIDs of all messages during the sync (UIDVALIDITY)",
    )
    .remote()
}

/// Returns how many messages the event reports as removed.
pub(super) fn expunged(event: &Event<'_>) -> u64 {
    match event {
        Event::Data(Untagged::Expunge(_)) => 1,
        Event::Data(Untagged::Vanished { when: VanishedWhen::Now, uids }) => {
            uids.ranges().map(|range| u64::from(range.last() - range.first()) + 1).sum()
        }
        _ => 0,
    }
}

/// Enables QRESYNC (RFC 7162 §3.2.3).
#[derive(Debug)]
pub(super) struct EnableQResync;

impl Request for EnableQResync {
    type Output = ();

    fn with_command<T>(&self, send: impl FnOnce(&Command<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let names = [Capability::new("QRESYNC")];
        send(&Command::Enable(CapabilityList::new(&names)))
    }

    fn data(&mut self, _: Event<'_>) -> Result<bool, Error> {
        Ok(false)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
