//! Reads the bytes of a message for each delivery attempt.
//!
//! A message with a location is closed between attempts and read again for the next one. Waiting messages therefore take
//! little memory and no open file.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use super::contents::Contents;
use super::source::MessageLocation;
use super::spool::{MessageInfo, Spool};

/// A reader over the bytes of a message, which can be read any number of times.
#[derive(Debug)]
pub(super) struct MessageReader {
    /// Where to read the message again; `None` if only this reader holds it.
    location: Option<MessageLocation>,
    digest: [u8; 32],
    size: u64,
    offset: u64,
    contents: OpenContents,
}

/// The contents of a message while they are open. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenContents(Arc<Mutex<Option<Contents>>>);

impl OpenContents {
    fn new(contents: Contents) -> Self {
        Self(Arc::new(Mutex::new(Some(contents))))
    }

    /// Closes the contents after an attempt.
    pub(super) fn close(&self) {
        self.with(|contents| *contents = None);
    }

    fn with<T>(&self, with: impl FnOnce(&mut Option<Contents>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MessageReader {
    /// Creates a reader that holds the message.
    pub(super) fn held(spool: Spool) -> Self {
        let MessageInfo { digest, size, .. } = spool.info;
        Self { location: None, digest, size, offset: 0, contents: OpenContents::new(spool.contents) }
    }

    /// Creates a reader for a message that can be read again from its location.
    pub(super) fn located(location: MessageLocation, spool: Spool) -> Self {
        Self { location: Some(location), ..Self::held(spool) }
    }

    /// Returns the contents to close between two attempts. Empty if only this reader holds the message.
    pub(super) fn closable(&self) -> OpenContents {
        if self.location.is_some() { self.contents.clone() } else { OpenContents::default() }
    }

    fn read_at(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.contents.with(|contents| {
            if let (None, Some(location)) = (&contents, &self.location) {
                let spool = location.read().map_err(|failure| io::Error::other(failure.what))?;
                if spool.info.digest != self.digest {
                    return Err(io::Error::other("the message has changed since it was first read"));
                }
                *contents = Some(spool.contents);
            }
            let contents = contents.as_mut().ok_or(io::ErrorKind::NotFound)?;
            contents.seek(SeekFrom::Start(self.offset))?;
            contents.read(buffer)
        })
    }
}

impl Read for MessageReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = if self.offset < self.size { self.read_at(buffer)? } else { 0 };
        self.offset = self.offset.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for MessageReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let offset = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.offset.checked_add_signed(offset),
        };
        self.offset = offset.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::source::Sources;

    const TEXT: &str = "Subject: x\r\n\r\nbody\r\n";

    fn all(reader: &mut MessageReader) -> io::Result<String> {
        let mut text = String::new();
        reader.rewind()?;
        reader.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Returns a reader with a location and one that holds the message.
    fn both(path: &std::path::Path) -> [MessageReader; 2] {
        std::fs::write(path, "Subject: x\n\nbody\n").unwrap();
        let find = || Sources::find(&[path.to_owned()]).unwrap().next().unwrap();
        let ((location, spool), (_, other)) = (find(), find());
        [MessageReader::located(location, spool.unwrap()), MessageReader::held(other.unwrap())]
    }

    #[test]
    fn reads_a_message_repeatedly_and_leaves_no_file_open() {
        let folder = tempfile::tempdir().unwrap();
        for mut reader in both(&folder.path().join("a.eml")) {
            assert_eq!(reader.seek(SeekFrom::End(0)).unwrap(), TEXT.len() as u64);
            for _ in 0..2 {
                assert_eq!(all(&mut reader).unwrap(), TEXT);
                reader.closable().close();
                assert_eq!(reader.contents.with(|contents| contents.is_some()), reader.location.is_none());
            }
            reader.seek(SeekFrom::End(-6)).unwrap();
            let mut end = [0; 4];
            reader.read_exact(&mut end).unwrap();
            assert_eq!(&end, b"body");
            assert_eq!(reader.stream_position().unwrap(), TEXT.len() as u64 - 2);
            assert!(reader.seek(SeekFrom::End(-100)).is_err());
        }
    }

    #[test]
    fn rejects_a_message_that_changed_between_two_attempts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.eml");
        let [mut reader, _] = both(&path);
        std::fs::write(&path, "Subject: x\n\nbady\n").unwrap();
        assert_eq!(all(&mut reader).unwrap(), TEXT);
        reader.closable().close();
        assert!(all(&mut reader).unwrap_err().to_string().contains("changed"));
        std::fs::remove_file(&path).unwrap();
        assert!(all(&mut reader).is_err());
    }
}
