//! The gate between uncompressed and compressed bytes of a connection, for machines and drivers (COMPRESS, RFC 4978).
//!
//! A machine knows at which byte compression begins in each direction, and the driver compresses. The machine marks the
//! byte in the buffers:
//!
//! * [`RecvBuffer::begin_compression`]: everything that is not consumed is compressed. The driver takes these bytes with
//!   [`RecvBuffer::take_compressed`], and adds only decompressed bytes afterwards. Until then the machine reads nothing.
//! * [`SendBuffer::begin_compression`]: everything that is queued from now on must be compressed. The driver first sends
//!   the [bytes before](SendBuffer::uncompressed_len), and then calls [`SendBuffer::compression_started`].
//!
//! So no byte before the gate is decompressed, and no byte behind it is parsed or sent uncompressed.

use alloc::vec::Vec;

use super::{InputCompression, RecvBuffer, SendBuffer};

impl RecvBuffer {
    /// Marks everything that is not consumed, and everything that is received later, as compressed. For machines.
    pub const fn begin_compression(&mut self) {
        self.compression = InputCompression::Due;
    }

    /// Returns whether the driver has to take the compressed bytes. Until then a machine must read nothing.
    #[must_use]
    pub const fn is_compression_due(&self) -> bool {
        matches!(self.compression, InputCompression::Due)
    }

    /// Removes the compressed bytes and returns them; `None` if no machine has marked any. Everything that the driver
    /// adds afterwards must be decompressed.
    #[must_use]
    pub fn take_compressed(&mut self) -> Option<Vec<u8>> {
        if !self.is_compression_due() {
            return None;
        }
        self.compression = InputCompression::Settled;
        let bytes = self.bytes().to_vec();
        self.consume(bytes.len());
        Some(bytes)
    }
}

impl SendBuffer {
    /// Marks everything that is queued from now on as to be compressed. For machines.
    pub const fn begin_compression(&mut self) {
        self.compress_from = Some(self.queued);
    }

    /// Returns how many of the waiting bytes must be sent uncompressed before compression starts; `None` if no machine
    /// has marked a start, or compression has started.
    #[must_use]
    pub fn uncompressed_len(&self) -> Option<usize> {
        let from = self.compress_from?;
        Some(usize::try_from(from.saturating_sub(self.sent)).unwrap_or(usize::MAX))
    }

    /// Records that the driver compresses from now on. It must have sent the bytes before the start.
    pub const fn compression_started(&mut self) {
        self.compress_from = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_behind_the_gate_is_taken_once() {
        let mut rx = RecvBuffer::new();
        rx.extend(b"c OK active\r\n\x01\x02");
        assert_eq!(rx.take_compressed(), None);
        rx.consume(13);
        rx.begin_compression();
        rx.extend(b"\x03");
        assert!(rx.is_compression_due());
        assert_eq!(rx.take_compressed(), Some(b"\x01\x02\x03".to_vec()));
        assert!(!rx.is_compression_due() && rx.is_empty());
        assert_eq!((rx.take_compressed(), rx.received_total()), (None, 16));
    }

    #[test]
    fn output_before_the_gate_stays_uncompressed() {
        let mut tx = SendBuffer::new();
        tx.put(b"* 1 EXISTS\r\n");
        assert_eq!(tx.uncompressed_len(), None);
        tx.put(b"c OK active\r\n");
        tx.begin_compression();
        tx.put(b"* 2 EXISTS\r\n");
        assert_eq!(tx.uncompressed_len(), Some(25));
        tx.sent(20);
        assert_eq!(tx.uncompressed_len(), Some(5));
        tx.sent(5);
        assert_eq!(tx.uncompressed_len(), Some(0));
        tx.compression_started();
        assert_eq!((tx.uncompressed_len(), tx.len()), (None, 12));
    }
}
