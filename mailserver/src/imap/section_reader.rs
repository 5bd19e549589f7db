//! Reads the bytes of a section, piece by piece.
//!
//! IMAP announces the size of a section before its bytes. A computed section (selected header fields, or a decoded
//! part) is therefore computed twice: once to count its bytes, and once to send them. Only a short result of the first
//! pass is kept. A decoded part is counted once per message, and slices of it are decoded from a nearby checkpoint.

use std::sync::Arc;

use bytes::Bytes;
use mailmime::{ByteRange, HeaderFilter, Part, TransferDecoder};
use mailstore::Body;

/// The number of bytes read from a message at a time.
pub(super) const CHUNK: usize = 64 * 1024;

/// The maximum size of a result that is kept after the first pass, in bytes.
const KEPT_RESULT_LIMIT: usize = 64 * 1024;

/// The minimum distance between checkpoints in bytes, and their maximum number.
const CHECKPOINT_BYTES: u64 = 256 * 1024;
const CHECKPOINTS: u64 = 512;

/// The content of a message, in memory or in a file.
#[derive(Debug)]
pub(super) enum MessageContent {
    Memory(Bytes),
    File(Body),
}

impl MessageContent {
    /// Reads up to [`CHUNK`] bytes from the start of a range.
    fn read(&self, range: ByteRange) -> mailstore::Result<Bytes> {
        let length = usize::try_from(range.len()).unwrap_or(usize::MAX).min(CHUNK);
        let bytes = match self {
            Self::Memory(bytes) => {
                let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let start = bound(range.start);
                bytes.slice(start..start.saturating_add(length).min(bytes.len()))
            }
            Self::File(body) => Bytes::from(body.read(range.start, length)?),
        };
        if bytes.is_empty() && !range.is_empty() {
            return Err(mailstore::Error::Corrupt("a message, which is shorter than its structure,"));
        }
        Ok(bytes)
    }
}

/// How the bytes of a range are transformed.
#[derive(Debug, Clone)]
pub(super) enum Transform {
    None,
    Fields(HeaderFilter),
    Decode(TransferDecoder),
}

/// The part does not conform to its transfer encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidEncoding;

impl Transform {
    /// Returns the transform that decodes the body of a part. Returns `None` if its transfer encoding is not known.
    pub(super) fn decoding(part: &Part) -> Option<Self> {
        if part.is_multipart() {
            return Some(Self::None);
        }
        let decoder = TransferDecoder::new(&part.encoding)?;
        Some(if decoder.is_identity() { Self::None } else { Self::Decode(decoder) })
    }

    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidEncoding> {
        match self {
            Self::None => out.extend_from_slice(piece),
            Self::Fields(filter) => filter.push(piece, out),
            Self::Decode(decoder) => decoder.push(piece, out).map_err(|_| InvalidEncoding)?,
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Fields(filter) => filter.finish(out),
            Self::Decode(decoder) => decoder.finish(out),
        }
    }
}

/// A range that is being transformed, from its start or from a checkpoint.
#[derive(Debug, Clone)]
pub(super) struct TransformedRange {
    rest: ByteRange,
    transform: Transform,
    is_finished: bool,
}

impl TransformedRange {
    pub(super) fn new(range: ByteRange, transform: Transform) -> Self {
        Self { rest: range, transform, is_finished: false }
    }

    /// Appends the next piece of the result to `out`. Returns false if there was none left.
    pub(super) fn step(
        &mut self,
        source: &MessageContent,
        out: &mut Vec<u8>,
    ) -> mailstore::Result<Result<bool, InvalidEncoding>> {
        if self.is_finished {
            return Ok(Ok(false));
        }
        if self.rest.is_empty() {
            self.transform.finish(out);
            self.is_finished = true;
            return Ok(Ok(true));
        }
        let piece = source.read(self.rest)?;
        self.rest.start += piece.len() as u64;
        Ok(self.transform.push(&piece, out).map(|()| true))
    }
}

/// The first pass: counts the bytes of the result.
#[derive(Debug)]
pub(super) struct SizeCounter {
    input: TransformedRange,
    size: u64,
    kept: Option<Vec<u8>>,
    checkpoints: Vec<Checkpoint>,
    spacing: u64,
    scratch: Vec<u8>,
}

/// A position in the result at which computing can resume.
#[derive(Debug, Clone)]
struct Checkpoint {
    /// The number of bytes of the result before this position.
    offset: u64,
    input: TransformedRange,
}

/// The result of the first pass.
#[derive(Debug, Clone)]
pub(super) struct CountedSection {
    pub(super) size: u64,
    /// The whole result, if it is short.
    kept: Option<Bytes>,
    checkpoints: Arc<[Checkpoint]>,
}

impl SizeCounter {
    pub(super) fn new(range: ByteRange, transform: Transform) -> Self {
        let spacing = CHECKPOINT_BYTES.max(range.len() / CHECKPOINTS);
        let input = TransformedRange::new(range, transform);
        let checkpoints = vec![Checkpoint { offset: 0, input: input.clone() }];
        Self { input, size: 0, kept: Some(Vec::new()), checkpoints, spacing, scratch: Vec::new() }
    }

    /// Counts a little further. Returns `None` while there is more to count.
    pub(super) fn step(
        &mut self,
        source: &MessageContent,
    ) -> mailstore::Result<Option<Result<CountedSection, InvalidEncoding>>> {
        self.scratch.clear();
        match self.input.step(source, &mut self.scratch)? {
            Err(broken) => return Ok(Some(Err(broken))),
            Ok(false) => return Ok(Some(Ok(self.counted()))),
            Ok(true) => {}
        }
        self.size += self.scratch.len() as u64;
        match &mut self.kept {
            Some(kept) if kept.len() + self.scratch.len() <= KEPT_RESULT_LIMIT => {
                kept.extend_from_slice(&self.scratch)
            }
            kept => *kept = None,
        }
        if self.checkpoints.last().is_none_or(|last| self.size - last.offset >= self.spacing) {
            self.checkpoints.push(Checkpoint { offset: self.size, input: self.input.clone() });
        }
        Ok(None)
    }

    fn counted(&mut self) -> CountedSection {
        CountedSection {
            size: self.size,
            kept: self.kept.take().map(Bytes::from),
            checkpoints: std::mem::take(&mut self.checkpoints).into(),
        }
    }
}

impl CountedSection {
    /// Returns a piece of the result if it was kept; otherwise the second pass that computes it.
    pub(super) fn piece(&self, partial: Option<(u64, u64)>) -> Result<Bytes, SectionReader> {
        let range = clip(ByteRange { start: 0, end: self.size }, partial);
        if let Some(kept) = &self.kept {
            let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(kept.len());
            return Ok(kept.slice(bound(range.start)..bound(range.end)));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let behind = self.checkpoints.partition_point(|checkpoint| checkpoint.offset <= range.start);
        match behind.checked_sub(1).and_then(|index| self.checkpoints.get(index)) {
            Some(Checkpoint { offset, input }) => {
                Err(SectionReader { input: input.clone(), skip: range.start - offset, left: range.len() })
            }
            None => Ok(Bytes::new()),
        }
    }
}

/// The second pass: reads the announced bytes.
#[derive(Debug)]
pub(super) struct SectionReader {
    input: TransformedRange,
    skip: u64,
    pub(super) left: u64,
}

impl SectionReader {
    /// Reads a range of the message without transforming it.
    pub(super) fn range(range: ByteRange) -> Self {
        Self { left: range.len(), skip: 0, input: TransformedRange::new(range, Transform::None) }
    }

    /// Returns the next bytes. They may be empty if the bytes read so far precede the requested piece.
    ///
    /// # Errors
    /// The message cannot be read, or it changed since the first pass.
    pub(super) fn step(&mut self, source: &MessageContent) -> mailstore::Result<Bytes> {
        if self.left == 0 {
            return Ok(Bytes::new());
        }
        let bytes = match self.input.transform {
            // Not copied.
            Transform::None => {
                let bytes = source.read(self.input.rest)?;
                self.input.rest.start += bytes.len() as u64;
                bytes
            }
            _ => {
                let mut out = Vec::new();
                match self.input.step(source, &mut out)? {
                    Ok(true) => Bytes::from(out),
                    Ok(false) | Err(InvalidEncoding) => {
                        return Err(mailstore::Error::Corrupt("a message, which changed while it was read,"));
                    }
                }
            }
        };
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        let end = usize::try_from(self.left).unwrap_or(usize::MAX).saturating_add(skipped).min(bytes.len());
        let bytes = bytes.slice(skipped..end);
        self.left -= bytes.len() as u64;
        Ok(bytes)
    }
}

/// Returns the part of a range that a partial FETCH requests.
pub(super) fn clip(range: ByteRange, partial: Option<(u64, u64)>) -> ByteRange {
    let Some((offset, length)) = partial else { return range };
    let start = range.start.saturating_add(offset).min(range.end);
    ByteRange { start, end: start.saturating_add(length).min(range.end) }
}

#[cfg(test)]
mod tests {
    use mailmime::HeaderSubset;

    use super::*;

    #[test]
    fn a_partial_fetch_stays_inside_its_section() {
        let range = ByteRange { start: 10, end: 20 };
        let clip = |offset, length| {
            let piece = clip(range, Some((offset, length)));
            (piece.start, piece.end)
        };
        assert_eq!(clip(0, 5), (10, 15));
        assert_eq!(clip(5, 100), (15, 20));
        assert_eq!(clip(10, 1), (20, 20));
        assert_eq!(clip(u64::MAX, u64::MAX), (20, 20));
    }

    fn count(
        source: &MessageContent,
        range: ByteRange,
        transform: Transform,
    ) -> Result<CountedSection, InvalidEncoding> {
        let mut count = SizeCounter::new(range, transform);
        loop {
            if let Some(counted) = count.step(source).unwrap() {
                return counted;
            }
        }
    }

    fn bytes(counted: &CountedSection, source: &MessageContent, partial: Option<(u64, u64)>) -> Vec<u8> {
        match counted.piece(partial) {
            Ok(bytes) => bytes.to_vec(),
            Err(mut sending) => {
                let mut all = Vec::new();
                while sending.left > 0 {
                    all.extend_from_slice(&sending.step(source).unwrap());
                }
                all
            }
        }
    }

    #[test]
    fn returns_exact_slices_of_a_large_decoded_part() {
        let decoded: Vec<u8> = (0..1_500_000_u32).map(|number| (number % 251) as u8).collect();
        let encoded: String = decoded.iter().map(|byte| format!("={byte:02X}")).collect();
        let source = MessageContent::Memory(Bytes::from(format!("xx{encoded}")));
        let range = ByteRange { start: 2, end: 2 + encoded.len() as u64 };
        let decoder = TransferDecoder::new("quoted-printable").unwrap();
        let counted = count(&source, range, Transform::Decode(decoder)).unwrap();
        assert_eq!(counted.size, 1_500_000);
        assert!(counted.checkpoints.len() > 4);
        for (offset, length) in [(0, 10), (262_143, 3), (700_001, 200_000), (1_499_999, 9), (1_500_000, 1)] {
            let end = (offset + length).min(decoded.len());
            let piece = bytes(&counted, &source, Some((offset as u64, length as u64)));
            assert!(piece == decoded[offset..end], "{offset} {length}");
        }
        assert!(bytes(&counted, &source, None) == decoded);
    }

    #[test]
    fn keeps_a_short_result_and_reports_an_invalid_encoding() {
        let header = b"A: 1\r\nB: 2\r\n\r\n";
        let source = MessageContent::Memory(Bytes::from_static(header));
        let range = ByteRange { start: 0, end: header.len() as u64 };
        let filter = HeaderFilter::new(&["b"], HeaderSubset::Listed);
        let counted = count(&source, range, Transform::Fields(filter)).unwrap();
        assert_eq!(counted.piece(None).unwrap(), &b"B: 2\r\n\r\n"[..]);
        assert_eq!(counted.piece(Some((3, 2))).unwrap(), &b"2\r"[..]);
        let decoder = TransferDecoder::new("base64").unwrap();
        assert_eq!(count(&source, range, Transform::Decode(decoder)).unwrap_err(), InvalidEncoding);
    }

    #[test]
    fn a_truncated_message_is_an_error() {
        let source = MessageContent::Memory(Bytes::from_static(b"short"));
        let mut sending = SectionReader::range(ByteRange { start: 0, end: 9 });
        assert_eq!(sending.step(&source).unwrap(), &b"short"[..]);
        assert!(sending.step(&source).is_err());
    }
}
