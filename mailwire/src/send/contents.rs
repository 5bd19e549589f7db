//! Where the bytes of a message are while it waits to be sent: a small one in memory, any other in a file without a name.
//!
//! All messages together take at most [`IN_ALL`] bytes of memory. What is beyond that goes to files, too.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The largest message that is held in memory, in bytes.
const IN_MEMORY: usize = 2 << 20;
/// The most memory that messages take together, in bytes.
const IN_ALL: usize = 16 << 20;

/// How much memory messages take now.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// The bytes of a message.
#[derive(Debug)]
pub(crate) enum Contents {
    /// In memory.
    Memory(Cursor<Vec<u8>>, Room),
    /// In a file without a name.
    File(File),
}

/// Memory that was set aside; given back on drop.
#[derive(Debug, Default)]
pub(crate) struct Room(usize);

impl Room {
    /// Sets aside so many bytes in all. False: there is not enough.
    fn grow(&mut self, to: usize) -> bool {
        let more = to.saturating_sub(self.0);
        let fits = |taken: usize| taken.checked_add(more).filter(|taken| *taken <= IN_ALL);
        let has_room = to <= IN_MEMORY
            && (more == 0 || TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok());
        if has_room {
            self.0 = self.0.max(to);
        }
        has_room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0, Ordering::Relaxed);
    }
}

impl Contents {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self::Memory(Cursor::new(Vec::new()), Room::default())
    }

    /// Adds bytes at the end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Self::Memory(held, room) = self {
            let length = held.get_ref().len() + bytes.len();
            // A vector grows by doubling.
            if room.grow(length.next_power_of_two()) {
                held.get_mut().extend_from_slice(bytes);
                return Ok(());
            }
            let mut file = tempfile::tempfile()?;
            file.write_all(held.get_ref())?;
            *self = Self::File(file);
        }
        match self {
            Self::File(file) => file.write_all(bytes),
            Self::Memory(..) => Ok(()),
        }
    }
}

impl Read for Contents {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(held, _) => held.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

impl Seek for Contents {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Memory(held, _) => held.seek(to),
            Self::File(file) => file.seek(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_and_too_many_small_ones_go_to_files() {
        let mut large = Contents::new();
        for _ in 0..3 * 16 {
            large.push(&[b'x'; 64 * 1024]).unwrap();
        }
        assert!(matches!(large, Contents::File(_)));
        assert_eq!(large.seek(SeekFrom::End(0)).unwrap(), 3 << 20);
        let mut small = Vec::new();
        for _ in 0..IN_ALL / (1 << 20) + 1 {
            let mut one = Contents::new();
            one.push(&[b'y'; 1 << 20]).unwrap();
            one.rewind().unwrap();
            let mut read = Vec::new();
            one.read_to_end(&mut read).unwrap();
            assert_eq!(read.len(), 1 << 20);
            small.push(one);
        }
        assert!(matches!(small.last(), Some(Contents::File(_))));
    }
}
