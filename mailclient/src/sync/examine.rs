//! Opens a remote folder for reading. With QRESYNC (RFC 7162 §3.2.5), the response tells what has changed since the last
//! sync.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use mailstore::{Flags, UidSet};
use proto_imap::client::Event;
use proto_imap::types::{
    Capability, CapabilityList, Command, FetchItem, LazyList, QResync, ResponseCode, SelectCommand,
    SelectParameter, Untagged,
};

use super::flag_changes::local_flags;
use crate::error::{Error, ErrorKind};
use crate::folder::Folder;
use crate::imap::Request;

/// The most changed messages, and the most ranges of removed ones, that the response to EXAMINE may have. Beyond them, the
/// changes are requested anew.
const MAX_CHANGED: usize = 20_000;
const MAX_VANISHED_RANGES: usize = 100_000;

/// How to learn what has changed in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum ResyncMode {
    /// By listing all UIDs and flags.
    #[default]
    Full,
    /// By the mod-sequences of CONDSTORE.
    CondStore,
    /// By QRESYNC.
    QResync,
}

/// A folder opened for reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Opened {
    pub(super) uid_validity: u32,
    pub(super) exists: u32,
    /// The lower bound for the next message's UID, if the server sent it.
    pub(super) uid_next: Option<u32>,
    /// The highest mod-sequence, if the server has CONDSTORE (RFC 7162 §3.1.2.1).
    pub(super) highest_mod_seq: Option<u64>,
    /// MAILBOXID (RFC 8474), if the server sent it.
    pub(super) object_id: Option<String>,
}

/// What has changed since the last sync, as QRESYNC tells it.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// New messages and messages with other flags.
    pub(super) changed: Vec<(u32, Flags)>,
    vanished: Vec<RangeInclusive<u32>>,
    /// Whether there was more than the limits allow.
    is_cut: bool,
    uid: Option<u32>,
    flags: Option<Flags>,
}

impl Resumed {
    /// Returns the UIDs of removed messages, and those of changed ones with their flags. `None` if not all were kept.
    pub(super) fn into_changes(self) -> Option<(UidSet, Vec<(u32, Flags)>)> {
        (!self.is_cut).then(|| (self.vanished.into_iter().collect(), self.changed))
    }

    fn take(&mut self, event: &Event<'_>) -> bool {
        match event {
            Event::FetchStart { .. } => (self.uid, self.flags) = (None, None),
            Event::FetchItem(FetchItem::Uid(uid)) => self.uid = Some(*uid),
            Event::FetchItem(FetchItem::Flags(flags)) => self.flags = Some(local_flags(flags)),
            Event::FetchEnd => {
                let (Some(uid), Some(flags)) = (self.uid.take(), self.flags.take()) else { return false };
                self.is_cut |= self.changed.len() >= MAX_CHANGED;
                if !self.is_cut {
                    self.changed.push((uid, flags));
                }
            }
            Event::Data(Untagged::Vanished { uids, .. }) => {
                let ranges = uids.ranges().map(|range| range.first()..=range.last());
                let room = MAX_VANISHED_RANGES.saturating_sub(self.vanished.len());
                self.vanished.extend(ranges.take(room + 1));
                self.is_cut |= self.vanished.len() > MAX_VANISHED_RANGES;
            }
            _ => return false,
        }
        true
    }
}

/// Opens a folder for reading.
#[derive(Debug)]
pub(super) struct Examine {
    folder: Folder,
    mode: ResyncMode,
    /// UIDVALIDITY and mod-sequence of the last sync, for QRESYNC.
    since: Option<(NonZeroU32, u64)>,
    opened: Opened,
    uid_validity: Option<u32>,
    resumed: Resumed,
}

impl Examine {
    /// Opens the folder. `since` is what the last sync has recorded: UIDVALIDITY and mod-sequence.
    pub(super) fn new(folder: Folder, mode: ResyncMode, since: Option<(u32, u64)>) -> Self {
        let valid = |(validity, mod_seq): (u32, u64)| Some((NonZeroU32::new(validity)?, mod_seq));
        let since = since.filter(|(_, mod_seq)| *mod_seq != 0 && mode == ResyncMode::QResync).and_then(valid);
        let (opened, resumed) = (Opened::default(), Resumed::default());
        Self { folder, mode, since, opened, uid_validity: None, resumed }
    }

    /// Returns whether it asks for the changes since the last sync.
    pub(super) const fn resumes(&self) -> bool {
        self.since.is_some()
    }
}

impl Request for Examine {
    type Output = (Opened, Option<Resumed>);

    fn with_command<T>(&self, send: impl FnOnce(&Command<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let parameter = match (self.mode, self.since) {
            (ResyncMode::Full, _) => None,
            (_, Some((uid_validity, mod_sequence))) => Some(SelectParameter::QResync(QResync {
                uid_validity,
                mod_sequence,
                known_uids: None,
                known_pairs: None,
            })),
            (ResyncMode::CondStore | ResyncMode::QResync, None) => Some(SelectParameter::CondStore),
        };
        let mut select = SelectCommand::new(self.folder.mailbox());
        select.parameters = LazyList::new(parameter.as_slice());
        send(&Command::Examine(select))
    }

    fn data(&mut self, event: Event<'_>) -> Result<bool, Error> {
        match event {
            Event::Status(status) => match status.code {
                Some(ResponseCode::UidValidity(value)) => self.uid_validity = Some(value),
                Some(ResponseCode::UidNext(value)) => self.opened.uid_next = value.map(NonZeroU32::get),
                Some(ResponseCode::HighestModSeq(value)) => self.opened.highest_mod_seq = Some(value),
                Some(ResponseCode::MailboxId(id)) => {
                    self.opened.object_id = Some(String::from_utf8_lossy(&id.as_bytes()).into_owned());
                }
                _ => {}
            },
            Event::Data(Untagged::Exists(count)) => self.opened.exists = count,
            event if self.since.is_some() => return Ok(self.resumed.take(&event)),
            _ => {}
        }
        Ok(false)
    }

    fn finish(&mut self) -> Result<Self::Output, Error> {
        let uid_validity = self.uid_validity.ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "the server sends no UIDVALIDITY, so messages cannot be identified",
            )
        })?;
        let opened = Opened { uid_validity, ..std::mem::take(&mut self.opened) };
        // Under another UIDVALIDITY, the server ignores QRESYNC.
        let is_same = self.since.is_some_and(|(validity, _)| validity.get() == uid_validity);
        let resumed =
            (is_same && opened.highest_mod_seq.is_some()).then(|| std::mem::take(&mut self.resumed));
        Ok((opened, resumed))
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
