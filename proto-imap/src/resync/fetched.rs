//! The data of one message, collected from a FETCH response.

use super::types::ResyncedMessage;
use crate::types::{FetchItem, FlagList, Owned};

/// The items of a message that have arrived so far.
#[derive(Debug, Clone, Default)]
pub(super) struct FetchedMessage {
    uid: Option<u32>,
    flags: Option<Owned<FlagList<'static>>>,
    mod_sequence: Option<u64>,
}

/// What a FETCH response says about a message.
#[derive(Debug)]
pub(super) enum Fetched {
    Message(ResyncedMessage),
    /// The UID without the flags.
    Uid(u32),
    /// The flags have changed, but the response does not say which message it is.
    Unclear,
    /// Something else than the flags.
    Other,
}

impl FetchedMessage {
    /// Starts a UIDFETCH response, which begins with the UID.
    pub(super) fn with_uid(uid: u32) -> Self {
        Self { uid: Some(uid).filter(|uid| *uid != 0), ..Self::default() }
    }

    pub(super) fn take(&mut self, item: &FetchItem<'_>) {
        match item {
            FetchItem::Uid(uid) => self.uid = Some(*uid).filter(|uid| *uid != 0),
            FetchItem::Flags(flags) => self.flags = Some(flags.into_owned()),
            FetchItem::ModSeq(value) => self.mod_sequence = Some(*value),
            _ => {}
        }
    }

    pub(super) fn finish(self) -> Fetched {
        match self {
            Self { uid: Some(uid), flags: Some(flags), mod_sequence } => {
                Fetched::Message(ResyncedMessage { uid, flags, mod_sequence })
            }
            Self { uid: Some(uid), flags: None, .. } => Fetched::Uid(uid),
            Self { uid: None, flags: None, mod_sequence: None } => Fetched::Other,
            _ => Fetched::Unclear,
        }
    }
}
