//! An index of texts that finds the messages that may contain a string, anywhere and of three bytes or more.
//!
//! Each message has one or more *signatures*: bitmaps of 8,192 bits with one bit set for each sequence of three bytes in a
//! part of its text. A message can contain a string only if one of its signatures has the bits of the string. The
//! caller then looks at the messages themselves, so a signature that has the bits by chance costs time and nothing else.
//!
//! A signature is full when a quarter of its bits are set. The next one begins 64 bytes earlier in the text, so that
//! a string of up to 64 bytes lies within one of them; of a longer one the first 64 bytes count.

use crate::error::Result;
use crate::types::{MailboxId, UidSet};
use std::ops::Range;

/// The index of the texts of all messages in a store. All methods block.
///
/// The index may lag behind: a server adds messages in the background. Until then they are found by every text.
pub trait TextIndex {
    /// Returns the first UID of a mailbox that the index does not contain.
    fn indexed_below(&self, mailbox: MailboxId) -> Result<u32>;

    /// Adds messages of a mailbox: all that have UIDs of this range, which begins at
    /// [`indexed_below`](Self::indexed_below). Does nothing if the index has them already. This is not synced: after a
    /// loss of power they may have to be added again.
    fn add(&self, mailbox: MailboxId, uids: Range<u32>, texts: &[(u32, TextSignatures)]) -> Result<()>;

    /// Returns the UIDs of all messages that may contain this text anywhere, with those that the index does not contain;
    /// `None` if the index does not help. The caller prepares the text as that of the messages. A message that contains
    /// the text is never left out; UIDs of expunged messages may be in the set.
    fn find(&self, mailbox: MailboxId, text: &str) -> Result<Option<UidSet>>;

    /// Removes what the index keeps of deleted mailboxes and of expunged messages, a part at a time. The first call has
    /// `None`; pass its result to the next one. Returns `None` at the end.
    fn prune(&self, after: Option<TextIndexPosition>) -> Result<Option<TextIndexPosition>>;
}

/// A position in a [`TextIndex`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextIndexPosition {
    pub(crate) mailbox: i64,
    pub(crate) segment: i64,
}

/// The number of bits in a signature.
pub(crate) const BITS: usize = 8_192;

/// The number of bits that are set in a full signature.
const FULL: u32 = 2_048;

/// The bytes that two signatures of one message share.
const OVERLAP: usize = 64;

/// The most signatures of one message. A message with a longer text has one signature with all bits.
const LIMIT: usize = 32;

/// The most sequences of a string that are looked up.
#[cfg(feature = "sqlite")]
const LOOKUPS: usize = 12;

/// The shortest string that can be looked up, in bytes.
const SHORTEST: usize = 3;

const WORDS: usize = BITS / 64;

type Signature = Box<[u64; WORDS]>;

/// The signatures of one message.
///
/// At most 32, of 1 KiB each: a text of 4 KiB usually has one, and one of about 128 KiB has them all. A message with a
/// longer text is found by every string.
#[derive(Clone, PartialEq, Eq)]
pub struct TextSignatures {
    complete: Vec<Signature>,
    current: Signature,
    /// The number of bits that are set in `current`.
    count: u32,
    /// The last bytes of the text.
    tail: Vec<u8>,
}

impl std::fmt::Debug for TextSignatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextSignatures").field("count", &(self.complete.len() + 1)).finish_non_exhaustive()
    }
}

impl Default for TextSignatures {
    fn default() -> Self {
        Self { complete: Vec::new(), current: Box::new([0; WORDS]), count: 0, tail: Vec::new() }
    }
}

impl TextSignatures {
    /// Creates the signatures of a message that every string finds: its text is not known.
    pub fn of_unknown_text() -> Self {
        Self { current: Box::new([u64::MAX; WORDS]), count: u32::MAX, ..Self::default() }
    }

    /// Adds the next piece of the text. The caller has removed the differences that a search ignores, such as case.
    pub fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.count == u32::MAX {
                return;
            }
            self.push(byte);
            if self.count >= FULL {
                self.begin_next();
            }
        }
    }

    /// Returns whether more text makes no difference, because every string finds the message.
    pub fn is_full(&self) -> bool {
        self.count == u32::MAX
    }

    fn push(&mut self, byte: u8) {
        if let [.., first, second] = self.tail[..] {
            self.set(bit_of([first, second, byte]));
        }
        // The tail is cut now and then, not at every byte.
        if self.tail.len() >= 2 * OVERLAP {
            self.tail.drain(..OVERLAP);
        }
        self.tail.push(byte);
    }

    fn set(&mut self, bit: usize) {
        if let Some(word) = self.current.get_mut(bit / 64) {
            let mask = 1 << (bit % 64);
            self.count += u32::from(*word & mask == 0);
            *word |= mask;
        }
    }

    fn begin_next(&mut self) {
        if self.complete.len() + 1 >= LIMIT {
            *self = Self::of_unknown_text();
            return;
        }
        self.complete.push(std::mem::replace(&mut self.current, Box::new([0; WORDS])));
        self.count = 0;
        let tail = std::mem::take(&mut self.tail);
        let shared = tail.get(tail.len().saturating_sub(OVERLAP)..).unwrap_or_default();
        shared.iter().for_each(|byte| self.push(*byte));
    }

    /// Returns the signatures as words of 64 bits.
    #[cfg(feature = "sqlite")]
    pub(crate) fn signatures(&self) -> impl Iterator<Item = &[u64]> {
        self.complete.iter().chain([&self.current]).map(|signature| &signature[..])
    }
}

/// Returns the bits that each signature of a string has, if the index can look it up.
#[cfg(feature = "sqlite")]
pub(crate) fn bits_of(text: &str) -> Option<Vec<usize>> {
    let bytes = text.as_bytes();
    let bytes = bytes.get(..bytes.len().min(OVERLAP))?;
    if bytes.len() < SHORTEST {
        return None;
    }
    let sequences = bytes.len() - SHORTEST + 1;
    let step = sequences.div_ceil(LOOKUPS);
    let mut bits: Vec<usize> = bytes
        .windows(SHORTEST)
        .step_by(step)
        .filter_map(|window| window.try_into().ok().map(bit_of))
        .collect();
    bits.sort_unstable();
    bits.dedup();
    Some(bits)
}

/// Returns the bit of three bytes.
fn bit_of(bytes: [u8; SHORTEST]) -> usize {
    let [a, b, c] = bytes;
    let number = u32::from_be_bytes([0, a, b, c]);
    // The multiplier is 2^32 divided by the golden ratio: it spreads similar numbers.
    (number.wrapping_mul(0x9E37_79B1) >> (32 - BITS.ilog2())) as usize
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    fn may_contain(signatures: &TextSignatures, text: &str) -> bool {
        let Some(bits) = bits_of(text) else { return true };
        let has = |signature: &[u64], bit: usize| signature[bit / 64] & (1 << (bit % 64)) != 0;
        signatures.signatures().any(|signature| bits.iter().all(|bit| has(signature, *bit)))
    }

    /// Words that do not repeat.
    fn text(words: usize) -> String {
        (0..words).map(|number| format!("{:x} ", number.wrapping_mul(0x9E37_79B9) % 0xFFFF_FFFF)).collect()
    }

    #[test]
    fn finds_every_part_of_a_text_that_comes_in_pieces() {
        let text = text(4_000);
        for piece in [1, 7, 4_096] {
            let mut signatures = TextSignatures::default();
            for start in (0..text.len()).step_by(piece) {
                signatures.add(&text[start..text.len().min(start + piece)]);
            }
            let count = signatures.signatures().count();
            assert!((5..LIMIT).contains(&count), "{count}");
            for length in [3, 4, 20, 64, 200] {
                for start in (0..text.len() - length).step_by(53) {
                    assert!(may_contain(&signatures, &text[start..start + length]), "{start} {length}");
                }
            }
            assert!(!may_contain(&signatures, "another text"));
        }
    }

    #[test]
    fn a_long_text_is_found_by_every_string() {
        let mut signatures = TextSignatures::default();
        signatures.add(&text(100_000));
        assert!(signatures.is_full());
        assert_eq!(signatures.signatures().count(), 1);
        assert!(may_contain(&signatures, "another text"));
        assert!(may_contain(&TextSignatures::of_unknown_text(), "anything"));
    }

    #[test]
    fn short_strings_are_not_looked_up() {
        assert_eq!(bits_of("ab"), None);
        assert_eq!(bits_of(""), None);
        let count = |text| bits_of(text).map(|bits| bits.len());
        assert_eq!(count("abc"), Some(1));
        assert!(count(&"abcdefghijklmnopqrstuvwxyz".repeat(9)).is_some_and(|count| count <= LOOKUPS));
        // Two letters of two bytes each.
        assert!(bits_of("éà").is_some());
    }
}
