//! What the server says about a mailbox when it is selected.

use alloc::string::String;
use core::num::NonZeroU32;

use crate::types::{Condition, PlainCode, ResponseCode, StatusResponse};

/// The longest object identifier, in bytes (RFC 8474 §7 `objectid`).
const MAX_OBJECT_ID: usize = 255;

/// What the responses to SELECT say.
#[derive(Debug, Clone, Default)]
pub(super) struct SelectedMailbox {
    /// The number of messages. Kept up to date after SELECT.
    pub(super) exists: Option<u32>,
    pub(super) uid_validity: Option<NonZeroU32>,
    pub(super) uid_next: Option<NonZeroU32>,
    highest_mod_sequence: Option<u64>,
    /// MAILBOXID (RFC 8474).
    pub(super) mailbox_id: Option<String>,
    has_no_mod_sequences: bool,
    pub(super) is_read_only: bool,
    /// Data of messages arrived before UIDVALIDITY, and were ignored.
    pub(super) has_early_data: bool,
}

impl SelectedMailbox {
    /// Takes the code of a status response.
    pub(super) fn take(&mut self, status: &StatusResponse<'_>) {
        match status.code {
            // What came before belongs to the mailbox that was selected before.
            Some(ResponseCode::Plain(PlainCode::Closed)) => *self = Self::default(),
            Some(ResponseCode::Plain(PlainCode::NoModSeq)) => self.has_no_mod_sequences = true,
            Some(ResponseCode::Plain(PlainCode::ReadOnly)) => self.is_read_only = true,
            Some(ResponseCode::Plain(PlainCode::ReadWrite)) => self.is_read_only = false,
            Some(ResponseCode::UidValidity(value)) => self.uid_validity = NonZeroU32::new(value),
            Some(ResponseCode::UidNext(value)) => self.uid_next = value,
            // Later values are in the tagged responses to other commands. Not all changes up to those are known.
            Some(ResponseCode::HighestModSeq(value)) if status.condition == Condition::Ok => {
                self.highest_mod_sequence.get_or_insert(value);
            }
            Some(ResponseCode::MailboxId(id)) => {
                let text = String::from_utf8_lossy(&id.as_bytes()).into_owned();
                self.mailbox_id = Some(text).filter(|text| text.len() <= MAX_OBJECT_ID);
            }
            _ => {}
        }
    }

    /// Returns the highest mod-sequence, if the mailbox has mod-sequences.
    pub(super) fn highest_mod_sequence(&self) -> Option<u64> {
        self.highest_mod_sequence.filter(|value| is_valid(*value) && !self.has_no_mod_sequences)
    }

    /// Removes messages from the number that exist.
    pub(super) fn remove(&mut self, count: u32) {
        self.exists = self.exists.map(|exists| exists.saturating_sub(count));
    }
}

/// Returns whether a command can name this mod-sequence (RFC 7162 §7 `mod-sequence-value`).
pub(super) const fn is_valid(mod_sequence: u64) -> bool {
    0 < mod_sequence && mod_sequence < 1 << 63
}
