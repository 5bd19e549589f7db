//! Replaces output before it is sent, for servers that imitate others.

use alloc::vec::Vec;

use super::{Segment, SendBuffer};
use crate::trace::TraceKind;

impl SendBuffer {
    /// Replaces the bytes that were queued from the position `from` on ([`queued_total`](Self::queued_total)) and not sent
    /// yet. `rewrite` gets them and appends what is sent instead. Costs time for everything that waits. A trace shows the
    /// replacement as [`Unknown`](TraceKind::Unknown).
    pub fn rewrite_queued(&mut self, from: u64, rewrite: impl FnOnce(&[u8], &mut Vec<u8>)) {
        let from = from.max(self.sent);
        if from >= self.queued {
            return;
        }
        let mut waiting = Vec::with_capacity(self.len());
        self.chunks().for_each(|chunk| waiting.extend_from_slice(chunk.bytes));
        let kept = usize::try_from(from - self.sent).unwrap_or(usize::MAX).min(waiting.len());
        let old = waiting.split_off(kept);
        rewrite(&old, &mut waiting);
        self.queued = self.sent.saturating_add(waiting.len() as u64);
        self.segments.clear();
        self.offset = 0;
        self.segments.push_back(Segment::Text(waiting));
        if let Some(writing) = &mut self.writing {
            writing.forget_marks(from);
            if from < self.queued {
                writing.mark(from, self.queued, TraceKind::Unknown);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_only_what_was_queued_after_the_position() {
        let mut tx = SendBuffer::new();
        tx.put(b"first ");
        tx.sent(2);
        let from = tx.queued_total();
        tx.put(b"second");
        tx.put_payload(bytes::Bytes::from_static(&[b'x'; 5000]));
        tx.rewrite_queued(from, |old, new| {
            assert_eq!(old.len(), 5006);
            new.extend_from_slice(b"other");
        });
        assert_eq!((tx.len(), tx.queued_total()), (9, 11));
        tx.rewrite_queued(tx.queued_total(), |_, _| unreachable!("nothing was queued"));
        assert_eq!(tx.take(), b"rst other");
        tx.put(b"!");
        tx.rewrite_queued(0, |_, _| {});
        assert!(tx.is_empty());
    }

    #[test]
    fn a_trace_shows_no_replaced_bytes() {
        let mut tx = SendBuffer::new();
        tx.trace(1024);
        tx.put(b"a");
        tx.put_secret(b"secret");
        tx.rewrite_queued(1, |_, new| new.extend_from_slice(b"replacement"));
        let _ = tx.take();
        let spans = alloc::format!("{:?}", tx.take_trace());
        assert!(!spans.contains("secret") && !spans.contains("replacement"), "{spans}");
        assert!(spans.contains("Unknown(11)"), "{spans}");
    }
}
