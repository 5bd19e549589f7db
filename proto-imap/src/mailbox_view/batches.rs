//! Batches of messages, for UIDBATCHES.

use core::num::NonZeroU32;

use super::view::MailboxView;
use crate::types::NumberRange;

impl MailboxView {
    /// Returns the batches of this many messages as ranges of UIDs, the highest UIDs first, as UIDBATCHES does (RFC 10022).
    /// Batch 1 has the highest UIDs. Batches that the mailbox does not have are left out.
    ///
    /// There is no gap between two ranges: a range ends before the next one begins, and the last one at UID 1. The
    /// iterator does a little work for each batch, and none for each message.
    ///
    /// ```
    /// use core::num::NonZeroU32;
    /// use proto_imap::mailbox_view::{MailboxView, UidBitmap};
    /// use proto_imap::types::NumberRange;
    ///
    /// let view = MailboxView::new(UidBitmap::from_iter([4, 7, 9, 12, 13]));
    /// let two = NonZeroU32::new(2).unwrap();
    /// let batches: Vec<_> = view.batches(two, NumberRange::new(1, 9)).collect();
    /// assert_eq!(batches, [(12, 13), (7, 11), (1, 6)].map(|(low, high)| NumberRange::new(low, high)));
    /// ```
    pub fn batches(&self, size: NonZeroU32, batches: NumberRange) -> impl Iterator<Item = NumberRange> + '_ {
        let all = self.exists().div_ceil(size.get());
        (batches.first().max(1)..=batches.last().min(all)).filter_map(move |batch| self.batch(size, batch))
    }

    /// Returns the range of one batch.
    fn batch(&self, size: NonZeroU32, batch: u32) -> Option<NumberRange> {
        let higher = (batch - 1).checked_mul(size.get())?;
        let rest = self.exists().checked_sub(higher)?;
        let high = match higher {
            0 => self.uid(rest)?,
            _ => self.uid(rest + 1)? - 1,
        };
        let low = if rest > size.get() { self.uid(rest - size.get() + 1)? } else { 1 };
        Some(NumberRange::new(low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid_bitmap::UidBitmap;
    use alloc::vec::Vec;

    /// The same, by counting all messages.
    fn counted(uids: &[u32], size: usize) -> Vec<NumberRange> {
        let descending: Vec<u32> = uids.iter().rev().copied().collect();
        let lows: Vec<u32> = descending.chunks(size).filter_map(|batch| batch.last().copied()).collect();
        let mut high = uids.last().copied().unwrap_or_default();
        let mut found = Vec::new();
        for (index, low) in lows.iter().enumerate() {
            let low = if index + 1 == lows.len() { 1 } else { *low };
            found.push(NumberRange::new(low, high));
            high = low - 1;
        }
        found
    }

    #[test]
    fn batches_are_those_of_counting_all_messages() {
        for count in [0, 1, 2, 3, 7, 10, 100] {
            let uids: Vec<u32> = (1..=count).map(|number| number * number + 3).collect();
            let view = MailboxView::new(uids.iter().copied().collect::<UidBitmap>());
            for size in [1, 2, 3, 5, 10, 99, 100, 101, u32::MAX] {
                let expected = counted(&uids, size as usize);
                let size = NonZeroU32::new(size).unwrap();
                let of = |first, last| view.batches(size, NumberRange::new(first, last)).collect::<Vec<_>>();
                assert_eq!(of(1, u32::MAX), expected, "{count} {size}");
                assert_eq!(of(2, 3), expected.iter().copied().skip(1).take(2).collect::<Vec<_>>());
                assert_eq!(of(u32::MAX, u32::MAX), []);
            }
        }
    }

    #[test]
    fn the_uid_space_has_no_gap() {
        let view = MailboxView::new([1, u32::MAX].into_iter().collect::<UidBitmap>());
        let one = NonZeroU32::MIN;
        let found: Vec<_> = view.batches(one, NumberRange::new(1, 9)).collect();
        assert_eq!(found, [NumberRange::new(u32::MAX, u32::MAX), NumberRange::new(1, u32::MAX - 1)]);
    }
}
