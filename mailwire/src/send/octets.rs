//! The octets of a message while it waits for its turn, and when that has come.
//!
//! This file knows how to come by them again. A message that was found somewhere is read from there for each try behind
//! the first, so that of many messages that pause only a name is in memory, and no file is open.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use super::contents::Contents;
use super::source::Place;
use super::spool::{Facts, Spool};

/// What a message is made of, from its first octet to its last.
#[derive(Debug)]
pub(super) struct Octets {
    /// Where it is read again; `None`: it is only here.
    place: Option<Place>,
    digest: [u8; 32],
    octets: u64,
    at: u64,
    file: Copy,
}

/// The file that a message is in for a try.
#[derive(Debug, Clone, Default)]
pub(super) struct Copy(Arc<Mutex<Option<Contents>>>);

impl Copy {
    fn of(file: Contents) -> Self {
        Self(Arc::new(Mutex::new(Some(file))))
    }

    /// The try is over: the file is not needed in the pause behind it.
    pub(super) fn close(&self) {
        self.with(|file| *file = None);
    }

    fn with<T>(&self, with: impl FnOnce(&mut Option<Contents>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Octets {
    /// A message that came from where it cannot be read twice, or was made here.
    pub(super) fn kept(spool: Spool) -> Self {
        let Facts { digest, octets, .. } = spool.facts;
        Self { place: None, digest, octets, at: 0, file: Copy::of(spool.contents) }
    }

    /// The message that stands there, and was read from there now.
    pub(super) fn found(place: Place, spool: Spool) -> Self {
        Self { place: Some(place), ..Self::kept(spool) }
    }

    /// What can be closed between two tries: nothing, where the message is only here.
    pub(super) fn copy(&self) -> Copy {
        if self.place.is_some() { self.file.clone() } else { Copy::default() }
    }

    fn read_at(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.with(|file| {
            if let (None, Some(place)) = (&file, &self.place) {
                let spool = place.read().map_err(|failure| io::Error::other(failure.what))?;
                if spool.facts.digest != self.digest {
                    return Err(io::Error::other("it has changed since it was looked at first"));
                }
                *file = Some(spool.contents);
            }
            let file = file.as_mut().ok_or(io::ErrorKind::NotFound)?;
            file.seek(SeekFrom::Start(self.at))?;
            file.read(buffer)
        })
    }
}

impl Read for Octets {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = if self.at < self.octets { self.read_at(buffer)? } else { 0 };
        self.at = self.at.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for Octets {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.octets.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Sources;
    use super::*;

    const TEXT: &str = "Subject: x\r\n\r\nbody\r\n";

    fn all(octets: &mut Octets) -> io::Result<String> {
        let mut text = String::new();
        octets.rewind()?;
        octets.read_to_string(&mut text)?;
        Ok(text)
    }

    /// A message in a file, and one that is only here.
    fn both(path: &std::path::Path) -> [Octets; 2] {
        std::fs::write(path, "Subject: x\n\nbody\n").unwrap();
        let find = || Sources::find(&[path.to_owned()]).unwrap().next().unwrap();
        let ((place, spool), (_, other)) = (find(), find());
        [Octets::found(place, spool.unwrap()), Octets::kept(other.unwrap())]
    }

    #[test]
    fn a_message_can_be_read_as_often_as_one_likes_and_no_file_stays_open() {
        let folder = tempfile::tempdir().unwrap();
        for mut octets in both(&folder.path().join("a.eml")) {
            assert_eq!(octets.seek(SeekFrom::End(0)).unwrap(), TEXT.len() as u64);
            for _ in 0..2 {
                assert_eq!(all(&mut octets).unwrap(), TEXT);
                octets.copy().close();
                assert_eq!(octets.file.with(|file| file.is_some()), octets.place.is_none());
            }
            octets.seek(SeekFrom::End(-6)).unwrap();
            let mut end = [0; 4];
            octets.read_exact(&mut end).unwrap();
            assert_eq!(&end, b"body");
            assert_eq!(octets.stream_position().unwrap(), TEXT.len() as u64 - 2);
            assert!(octets.seek(SeekFrom::End(-100)).is_err());
        }
    }

    #[test]
    fn a_message_that_has_changed_between_two_tries_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.eml");
        let [mut octets, _] = both(&path);
        std::fs::write(&path, "Subject: x\n\nbady\n").unwrap();
        assert_eq!(all(&mut octets).unwrap(), TEXT);
        octets.copy().close();
        assert!(all(&mut octets).unwrap_err().to_string().contains("changed"));
        std::fs::remove_file(&path).unwrap();
        assert!(all(&mut octets).is_err());
    }
}
