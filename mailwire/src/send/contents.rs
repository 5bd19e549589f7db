//! Holds the bytes of a message until it is sent: a small message in memory, a large one in an unnamed file.
//!
//! All messages together take at most [`MAX_BYTES_IN_MEMORY`] bytes of memory. Messages beyond that go to files as well.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The largest message that is held in memory, in bytes.
const MAX_MESSAGE_BYTES_IN_MEMORY: usize = 2 << 20;
/// The most memory that all messages take together, in bytes.
const MAX_BYTES_IN_MEMORY: usize = 16 << 20;

/// How much memory all messages take now, in bytes.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// The bytes of a message. They are written first, then [rewound](Seek::rewind) and read.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The whole message, or what was added since the last [`settle`](Self::settle) if there is a file.
    memory: Vec<u8>,
    reservation: Reservation,
    file: Option<File>,
    /// The offset of the next read from memory.
    offset: usize,
}

/// A share of [`MAX_BYTES_IN_MEMORY`]; released on drop.
#[derive(Debug, Default)]
struct Reservation(usize);

impl Reservation {
    /// Raises the share to `bytes` in all. Returns false if there is not enough left, and changes nothing then.
    fn raise(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.0);
        let fits = |taken: usize| taken.checked_add(more).filter(|taken| *taken <= MAX_BYTES_IN_MEMORY);
        let raised = bytes <= MAX_MESSAGE_BYTES_IN_MEMORY
            && (more == 0 || TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok());
        if raised {
            self.0 = self.0.max(bytes);
        }
        raised
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0, Ordering::Relaxed);
    }
}

impl Contents {
    /// Returns an empty message and reserves memory for `expected` bytes if the limits allow it. A wrong number only
    /// costs time.
    pub(crate) fn expecting(expected: u64) -> Self {
        let mut contents = Self::default();
        if let Ok(expected) = usize::try_from(expected)
            && contents.reservation.raise(expected)
        {
            contents.memory.reserve_exact(expected);
        }
        contents
    }

    /// Adds bytes at the end. Memory has no limit until [`settle`](Self::settle) is called.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.memory.extend_from_slice(bytes);
    }

    /// Returns the bytes that are in memory.
    pub(crate) fn in_memory(&self) -> &[u8] {
        &self.memory
    }

    /// Applies the limits to what was pushed: moves it to the file unless it may stay in memory.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        if self.file.is_none() && self.reservation.raise(self.memory.capacity()) {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.write_all(&self.memory)?;
        // A message that began in memory may have left a large buffer behind.
        if self.reservation.0 > 0 {
            self.memory = Vec::new();
            self.reservation = Reservation::default();
        }
        self.memory.clear();
        Ok(())
    }
}

impl Read for Contents {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            return file.read(buffer);
        }
        let count = self.memory.get(self.offset..).unwrap_or_default().read(buffer)?;
        self.offset += count;
        Ok(count)
    }
}

impl Seek for Contents {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if let Some(file) = &mut self.file {
            return file.seek(to);
        }
        let mut cursor = io::Cursor::new(&self.memory);
        cursor.set_position(self.offset as u64);
        let offset = cursor.seek(to)?;
        self.offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(byte: u8, mebibytes: usize) -> Contents {
        let mut contents = Contents::expecting(1 << 20);
        for _ in 0..mebibytes * 16 {
            contents.push(&[byte; 64 * 1024]);
            contents.settle().unwrap();
        }
        contents.rewind().unwrap();
        contents
    }

    #[test]
    fn large_messages_and_too_many_small_ones_go_to_files() {
        let mut large = filled(b'x', 3);
        assert!(large.file.is_some() && large.memory.capacity() < 256 * 1024);
        assert_eq!(large.seek(SeekFrom::End(0)).unwrap(), 3 << 20);
        let mut small = Vec::new();
        for _ in 0..MAX_BYTES_IN_MEMORY / (1 << 20) + 1 {
            let mut one = filled(b'y', 1);
            let mut read = Vec::new();
            one.read_to_end(&mut read).unwrap();
            assert_eq!(read, vec![b'y'; 1 << 20]);
            one.seek(SeekFrom::End(-3)).unwrap();
            read.clear();
            assert_eq!(one.read_to_end(&mut read).unwrap(), 3);
            small.push(one);
        }
        assert!(small.first().is_some_and(|first| first.file.is_none()));
        assert!(small.last().is_some_and(|last| last.file.is_some()));
    }

    #[test]
    fn a_length_that_is_announced_reserves_no_more_than_may_be_held() {
        for expected in [MAX_MESSAGE_BYTES_IN_MEMORY as u64 + 1, u64::MAX] {
            assert_eq!(Contents::expecting(expected).memory.capacity(), 0);
        }
    }
}
