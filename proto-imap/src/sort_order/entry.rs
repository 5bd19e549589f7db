//! The order that a client has chosen, and what each message is sorted by.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use proto_mail::error::ErrorDetails;

use super::base_subject::BaseSubject;
use super::collation::Collation;
use crate::types::{LazyList, SortCriterion, SortDirection, SortKey};

/// The attributes that a message is sorted by. Texts are decoded (RFC 2047).
pub trait SortableMessage {
    /// Returns the sequence number, which decides where all criteria are equal. A UID is as good: both have the order of
    /// the mailbox.
    fn sequence(&self) -> u32;

    /// Returns the internal date, in seconds since 1970.
    fn internal_date(&self) -> i64;

    /// Returns the date and time of the Date field in seconds since 1970; `None` if there is none, or it cannot be parsed.
    /// Then the internal date counts (RFC 5256 §2.2).
    fn sent_date(&self) -> Option<i64>;

    /// Returns the size in bytes.
    fn size(&self) -> u64;

    /// Returns the text that belongs to this key; empty if there is none.
    ///
    /// * `Subject`: the whole subject; the order uses its base subject.
    /// * `From`, `To`, `Cc`: the mailbox (local part) of the first address of the field.
    /// * `DisplayFrom`, `DisplayTo`: of the first address, the display name; without one `mailbox@host`; without a host
    ///   the mailbox (RFC 5957 §3).
    fn text(&self, key: SortKey) -> &str;

    /// Returns how well the message matches, from 1 to 100 (RFC 6203 §4). The default is 100.
    fn relevancy(&self) -> u8 {
        100
    }
}

/// The order that a client has chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortOrder {
    criteria: Vec<SortCriterion>,
    collation: Collation,
}

/// A SORT has more than [`SortOrder::MAX_CRITERIA`] criteria. The server answers BAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyCriteria;

impl fmt::Display for TooManyCriteria {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too many sort criteria: {} are the limit", SortOrder::MAX_CRITERIA)
    }
}

impl core::error::Error for TooManyCriteria {}

impl ErrorDetails for TooManyCriteria {}

impl SortOrder {
    /// The most criteria of one order: all keys once, with room for a repetition.
    pub const MAX_CRITERIA: usize = 16;

    /// The bytes of a text that count; later ones are ignored. This limits the memory that a message takes.
    pub const TEXT_LENGTH: usize = 512;

    /// Creates an order with these criteria.
    ///
    /// # Errors
    /// [`TooManyCriteria`]
    pub fn new(criteria: LazyList<'_, SortCriterion>, collation: Collation) -> Result<Self, TooManyCriteria> {
        let criteria: Vec<_> = criteria.iter().take(Self::MAX_CRITERIA + 1).collect();
        if criteria.len() > Self::MAX_CRITERIA {
            Err(TooManyCriteria)
        } else {
            Ok(Self { criteria, collation })
        }
    }

    /// Returns whether the order depends on this key, so that a server reads only what it needs.
    #[must_use]
    pub fn uses(&self, key: SortKey) -> bool {
        self.criteria.iter().any(|criterion| criterion.key == key)
    }

    /// Returns what the message is sorted by.
    pub fn entry(&self, message: &impl SortableMessage) -> SortEntry {
        let mut key = Vec::new();
        for criterion in &self.criteria {
            let begin = key.len();
            self.write(criterion.key, message, &mut key);
            if criterion.direction == SortDirection::Reverse {
                key.iter_mut().skip(begin).for_each(|byte| *byte = !*byte);
            }
        }
        SortEntry { key: key.into(), sequence: message.sequence() }
    }

    /// Writes bytes that have the order of the values. None is the beginning of another.
    fn write(&self, key: SortKey, message: &impl SortableMessage, out: &mut Vec<u8>) {
        let date = |seconds: i64, out: &mut Vec<u8>| {
            // The sign bit is inverted, so that times before 1970 come first.
            out.extend_from_slice(&(seconds.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        };
        match key {
            SortKey::Arrival => date(message.internal_date(), out),
            SortKey::Date => date(message.sent_date().unwrap_or_else(|| message.internal_date()), out),
            SortKey::Size => out.extend_from_slice(&message.size().to_be_bytes()),
            // The most relevant message comes first.
            SortKey::Relevancy => out.push(!message.relevancy()),
            SortKey::Subject => self.text(BaseSubject::new(message.text(key)).text(), out),
            _ => self.text(message.text(key), out),
        }
    }

    fn text(&self, text: &str, out: &mut Vec<u8>) {
        let key = self.collation.key(beginning(text));
        for byte in key.bytes().take(Self::TEXT_LENGTH) {
            match byte {
                0 | 1 => out.extend_from_slice(&[1, byte + 1]),
                byte => out.push(byte),
            }
        }
        out.push(0);
    }
}

/// Returns the beginning of a text, so that a long one is not mapped as a whole.
fn beginning(text: &str) -> &str {
    let mut end = SortOrder::TEXT_LENGTH.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// What a message is sorted by. The entries of one [`SortOrder`] have the order of the messages in the result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortEntry {
    key: Box<[u8]>,
    sequence: u32,
}

impl SortEntry {
    /// Returns the number of the message.
    #[must_use]
    pub const fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Returns how many bytes of memory the entry takes.
    #[must_use]
    pub const fn memory(&self) -> usize {
        size_of::<Self>() + self.key.len()
    }
}
