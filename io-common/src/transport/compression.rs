//! The compression layer of a transport (COMPRESS=DEFLATE, RFC 4978): above TLS, below the machine's buffers.
//!
//! A machine marks in its buffers where compression starts, in each direction
//! ([`RecvBuffer::begin_compression`], [`SendBuffer::begin_compression`]). The layer sends earlier
//! output unchanged and compresses all later output. It flushes when the machine's output is empty, so that a peer never
//! waits for bytes in the compressor.
//!
//! Decompression is bounded: at most [`OUTPUT_PER_READ`] bytes for each read, and over the session at most
//! [`RATIO_LIMIT`] times what was received, once that is more than [`RATIO_FROM`].

use std::io;

use miniz_oxide::{
    DataFormat, MZError, MZFlush, MZStatus,
    deflate::{
        core::{CompressorOxide, create_comp_flags_from_zip_params},
        stream::deflate,
    },
    inflate::stream::{InflateState, inflate},
};
use proto_mail::{RecvBuffer, SendBuffer};

use crate::error::Error;

/// How many bytes one read decompresses at most: 64 KiB. The rest waits until the machine reads again.
pub const OUTPUT_PER_READ: usize = 64 * 1024;
/// How many times larger than what was received the decompressed bytes of a session may be: 400. DEFLATE reaches 1,032;
/// mail with long runs of one byte stays below 300.
pub const RATIO_LIMIT: u64 = 400;
/// Below this many decompressed bytes the ratio is not checked: 4 MiB.
pub const RATIO_FROM: u64 = 4 * 1024 * 1024;
/// How much compressed output may wait to be sent.
const OUTPUT_LIMIT: usize = 128 * 1024;
/// How much is compressed at once.
const PIECE: usize = 16 * 1024;
/// The effort, from 1 to 9. Higher values cost much time and gain little.
const LEVEL: i32 = 3;
/// A raw stream with a window of 32 KiB (RFC 4978 §4).
const WINDOW_BITS: i32 = -15;

/// Both directions of a compressed connection.
pub(super) struct Compression {
    inflate: Box<InflateState>,
    deflate: Box<CompressorOxide>,
    /// Compressed bytes that were received.
    pub(super) received: RecvBuffer,
    /// Bytes for the peer: what precedes the start, then compressed bytes.
    pub(super) output: SendBuffer,
    input: Direction,
    flushed: Flushed,
    /// Whether a read would give something without the socket.
    pub(super) is_pending: bool,
    compressed: u64,
    decompressed: u64,
}

/// Whether a direction has passed the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Plain,
    Compressed,
}

/// Whether the peer can decompress everything that was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flushed {
    Yes,
    No,
}

impl Compression {
    pub(super) fn new() -> Self {
        let flags = create_comp_flags_from_zip_params(LEVEL, WINDOW_BITS, 0);
        Self {
            inflate: InflateState::new_boxed(DataFormat::Raw),
            deflate: Box::new(CompressorOxide::new(flags)),
            received: RecvBuffer::new(),
            output: SendBuffer::new(),
            input: Direction::Plain,
            flushed: Flushed::Yes,
            is_pending: false,
            compressed: 0,
            decompressed: 0,
        }
    }

    /// Returns whether what is received is compressed.
    pub(super) const fn decompresses(&self) -> bool {
        matches!(self.input, Direction::Compressed)
    }

    /// Takes the compressed bytes that the machine has marked.
    pub(super) fn start_input(&mut self, rx: &mut RecvBuffer) {
        if let Some(bytes) = rx.take_compressed() {
            self.input = Direction::Compressed;
            self.received.extend(&bytes);
            // The machine waits for this step, even if there are no bytes.
            self.is_pending = true;
        }
    }

    /// Decompresses the next bytes into `rx`.
    ///
    /// # Errors
    /// The bytes are not a DEFLATE stream, it ends, or it grows beyond the limit.
    pub(super) fn decompress(&mut self, rx: &mut RecvBuffer) -> Result<(), Error> {
        let mut spare = [0; PIECE];
        let mut left = OUTPUT_PER_READ;
        loop {
            let room = spare.get_mut(..left.min(PIECE)).unwrap_or_default();
            let room_len = room.len();
            let step = inflate(&mut self.inflate, self.received.bytes(), room, MZFlush::None);
            self.received.consume(step.bytes_consumed);
            rx.extend(room.get(..step.bytes_written).unwrap_or_default());
            self.compressed = self.compressed.saturating_add(step.bytes_consumed as u64);
            self.decompressed = self.decompressed.saturating_add(step.bytes_written as u64);
            left -= step.bytes_written.min(left);
            match step.status {
                // More input is needed.
                Err(MZError::Buf) => {
                    self.is_pending = false;
                    break;
                }
                Ok(MZStatus::Ok) => {}
                Ok(_) => return Err(invalid("the peer has ended the compressed stream")),
                Err(_) => return Err(invalid("the peer sent bytes that are not compressed with DEFLATE")),
            }
            if step.bytes_written < room_len && self.received.is_empty() {
                self.is_pending = false;
                break;
            }
            if left == 0 {
                self.is_pending = true;
                break;
            }
        }
        if self.decompressed > RATIO_FROM && self.decompressed / RATIO_LIMIT > self.compressed {
            return Err(invalid("the peer sent compressed bytes that grow beyond the limit"));
        }
        Ok(())
    }

    /// Passes on what precedes the start of compression, then compresses what the machine has queued. Leaves the rest in
    /// `tx` while much output waits.
    ///
    /// # Errors
    /// The compressor failed.
    pub(super) fn compress(&mut self, tx: &mut SendBuffer, limit: OutputLimit) -> Result<(), Error> {
        if let Some(plain) = tx.uncompressed_len() {
            self.pass_on(tx, plain);
            tx.compression_started();
        }
        while !tx.is_empty() && (limit == OutputLimit::None || self.output.len() < OUTPUT_LIMIT) {
            let piece = tx.chunks().next().map_or(&b""[..], |chunk| chunk.bytes);
            let piece = piece.get(..PIECE).unwrap_or(piece).to_vec();
            self.flushed = Flushed::No;
            self.deflate(&piece, MZFlush::None)?;
            tx.sent(piece.len());
        }
        if tx.is_empty() && self.flushed == Flushed::No {
            self.deflate(&[], MZFlush::Sync)?;
            self.flushed = Flushed::Yes;
        }
        Ok(())
    }

    /// Moves the first `count` bytes to the output as they are.
    fn pass_on(&mut self, tx: &mut SendBuffer, count: usize) {
        let mut left = count.min(tx.len());
        while left > 0 {
            let Some(chunk) = tx.chunks().next() else { return };
            let bytes = chunk.bytes.get(..left).unwrap_or(chunk.bytes);
            if chunk.secret {
                self.output.put_secret(bytes)
            } else {
                self.output.put(bytes)
            }
            let moved = bytes.len();
            tx.sent(moved);
            left -= moved;
        }
    }

    fn deflate(&mut self, mut input: &[u8], flush: MZFlush) -> Result<(), Error> {
        let mut out = [0; PIECE];
        loop {
            let step = deflate(&mut self.deflate, input, &mut out, flush);
            input = input.get(step.bytes_consumed..).unwrap_or_default();
            self.output.put(out.get(..step.bytes_written).unwrap_or_default());
            match step.status {
                Ok(_) if step.bytes_written == out.len() || !input.is_empty() => {}
                Ok(_) | Err(MZError::Buf) => return Ok(()),
                Err(_) => return Err(invalid("the output cannot be compressed")),
            }
        }
    }
}

/// How much compressed output may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputLimit {
    /// 128 KiB.
    Usual,
    /// No limit: the connection is closed afterwards.
    None,
}

fn invalid(text: &'static str) -> Error {
    Error::io("compression")(io::Error::new(io::ErrorKind::InvalidData, text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
mod tests {
    use super::*;

    /// Two layers that talk to each other, each with a machine's buffers.
    struct Side {
        layer: Compression,
        rx: RecvBuffer,
        tx: SendBuffer,
    }

    impl Side {
        fn started() -> Self {
            let (mut layer, mut rx, mut tx) = (Compression::new(), RecvBuffer::new(), SendBuffer::new());
            rx.begin_compression();
            layer.start_input(&mut rx);
            tx.begin_compression();
            layer.decompress(&mut rx).unwrap();
            Self { layer, rx, tx }
        }

        fn wire(&mut self) -> Vec<u8> {
            self.layer.compress(&mut self.tx, OutputLimit::Usual).unwrap();
            self.layer.output.take()
        }

        /// Receives these bytes. Returns the sizes of the steps.
        fn receive(&mut self, bytes: &[u8]) -> Result<Vec<usize>, Error> {
            self.layer.received.extend(bytes);
            let mut steps = Vec::new();
            loop {
                let before = self.rx.len();
                self.layer.decompress(&mut self.rx)?;
                steps.push(self.rx.len() - before);
                if !self.layer.is_pending {
                    return Ok(steps);
                }
            }
        }
    }

    /// Bytes that compress badly.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        };
        (0..len).map(next).collect()
    }

    #[test]
    fn each_batch_arrives_at_once_in_whatever_pieces() {
        for size in [1, 2, 3, 7, 100, usize::MAX] {
            let (mut one, mut other) = (Side::started(), Side::started());
            for batch in
                [&b"a NOOP\r\n"[..], &noise(70_000), b"b NOOP\r\n", &[b'x'; 200_000], b"c LOGOUT\r\n"]
            {
                one.tx.put(batch);
                let mut wire = Vec::new();
                while !one.tx.is_empty() || wire.is_empty() {
                    wire.extend(one.wire());
                }
                for piece in wire.chunks(size) {
                    other.receive(piece).unwrap();
                }
                assert_eq!(other.rx.bytes(), batch, "in pieces of {size}");
                other.rx.consume(other.rx.len());
            }
            assert_eq!(one.wire(), b"", "nothing is flushed twice");
        }
    }

    #[test]
    fn what_was_queued_before_the_start_is_not_compressed() {
        let (mut layer, mut tx) = (Compression::new(), SendBuffer::new());
        tx.put(b"* 1 EXISTS\r\n");
        tx.put_secret(b"c OK DEFLATE active\r\n");
        tx.begin_compression();
        tx.put(b"* 2 EXISTS\r\n");
        layer.compress(&mut tx, OutputLimit::Usual).unwrap();
        let wire = layer.output.take();
        let compressed = wire.strip_prefix(b"* 1 EXISTS\r\nc OK DEFLATE active\r\n").unwrap();
        assert!(!compressed.starts_with(b"*") && tx.is_empty());
        let mut peer = Side::started();
        peer.receive(compressed).unwrap();
        assert_eq!(peer.rx.bytes(), b"* 2 EXISTS\r\n");
    }

    #[test]
    fn a_bomb_is_bounded_for_each_read_and_ends_the_session() {
        let mut bomb = Side::started();
        let zeros = vec![0; 1024 * 1024];
        let mut wire = Vec::new();
        for _ in 0..12 {
            bomb.tx.put(&zeros);
            while !bomb.tx.is_empty() {
                wire.extend(bomb.wire());
            }
        }
        assert!(wire.len() < 100_000, "{} bytes", wire.len());
        let mut victim = Side::started();
        victim.layer.received.extend(&wire);
        let mut total = 0_u64;
        let error = loop {
            let result = victim.layer.decompress(&mut victim.rx);
            assert!(victim.rx.len() <= OUTPUT_PER_READ);
            total += victim.rx.len() as u64;
            victim.rx.consume(victim.rx.len());
            match result {
                Ok(()) => assert!(victim.layer.is_pending, "it was not found"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("beyond the limit"), "{error}");
        assert!(total <= RATIO_FROM + OUTPUT_PER_READ as u64, "{total}");
    }

    #[test]
    fn repetitive_mail_is_no_bomb() {
        let (mut one, mut other) = (Side::started(), Side::started());
        let line = [&[b'-'; 76][..], b"\r\n"].concat().repeat(1000);
        for number in 0..80_u32 {
            one.tx.put(&number.to_le_bytes());
            one.tx.put(&noise(300));
            one.tx.put(&line);
            while !one.tx.is_empty() {
                let wire = one.wire();
                other.receive(&wire).unwrap();
                other.rx.consume(other.rx.len());
            }
        }
        assert!(other.layer.decompressed > RATIO_FROM);
    }

    #[test]
    fn rejects_what_is_no_stream_and_one_that_ends() {
        for (bytes, expected) in [
            (&b"\x07"[..], "not compressed"),
            (b"\x16\x03\x01\x02\x00", "not compressed"),
            (b"\x03\x00", "ended"),
        ] {
            let error = Side::started().receive(bytes).unwrap_err();
            assert!(error.to_string().contains(expected), "{bytes:?}: {error}");
        }
        let mut one = Side::started();
        one.tx.put(&noise(5000));
        let wire = one.wire();
        for at in (0..wire.len()).step_by(37) {
            let mut damaged = wire.clone();
            damaged[at] ^= 0x55;
            let mut other = Side::started();
            // Damage is found, or changes bytes; it never grows or panics.
            let _ = other.receive(&damaged);
            assert!(other.rx.len() <= 6000 * 300);
        }
    }
}
