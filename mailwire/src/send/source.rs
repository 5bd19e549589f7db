//! Where many messages come from: mbox files, Maildirs, directories of `.eml` files, and single files.
//!
//! This file knows how each is recognised, and how a message is found again. One message is open at a time, and what
//! is kept of the others is their file names.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mbox::{Begin, Mbox};
use super::spool::Spool;
use crate::failure::{Failure, Kind};

const BUFFER: usize = 64 * 1024;

/// Where a message was found. It can be read from there again.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: Arc<Path>,
    within: Option<Within>,
}

/// Where in an mbox file.
#[derive(Debug, Clone, Copy)]
struct Within {
    /// Counted from 1.
    number: u64,
    begin: Begin,
}

impl Place {
    /// The message that stands there now.
    pub(super) fn read(&self) -> Result<Spool, Failure> {
        let mut file = open(&self.file)?;
        let Some(Within { begin, .. }) = self.within else { return Spool::read(file, None) };
        file.seek(SeekFrom::Start(begin.offset())).map_err(|error| Failure::file(&self.file, &error))?;
        match Mbox::at(BufReader::with_capacity(BUFFER, file), begin).next() {
            Some((_, message)) => message,
            None => Err(Failure::new(Kind::Data, "the message is not there any more")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.within {
            Some(Within { number, .. }) => write!(f, "#{number}"),
            None => Ok(()),
        }
    }
}

/// Every message of several places, one after the other.
#[derive(Debug)]
pub(super) struct Sources {
    files: std::vec::IntoIter<Found>,
    mbox: Option<(Arc<Path>, u64, Mbox<BufReader<File>>)>,
    /// How many octets all of the files have.
    pub(super) octets: u64,
}

#[derive(Debug)]
struct Found {
    path: PathBuf,
    octets: u64,
    is_mbox: bool,
}

impl Sources {
    /// Looks at what stands at these paths; no message is read yet.
    pub(super) fn find(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut files = Vec::new();
        for path in paths {
            let before = files.len();
            find(path, &mut files)?;
            if files.len() == before {
                return Err(Failure::new(Kind::Data, format!("{}: there is no message", path.display()))
                    .advise(
                        "an mbox file, a Maildir (with folders new and cur), a directory of files whose names \
                         end in .eml, or the file of one message",
                    ));
            }
        }
        let octets = files.iter().map(|found| found.octets).sum();
        Ok(Self { files: files.into_iter(), mbox: None, octets })
    }

    /// The next message. One that cannot be read costs nothing but itself.
    pub(super) fn next(&mut self) -> Option<(Place, Result<Spool, Failure>)> {
        loop {
            if let Some((file, number, mbox)) = &mut self.mbox {
                if let Some((begin, message)) = mbox.next() {
                    *number += 1;
                    let within = Some(Within { number: *number, begin });
                    return Some((Place { file: Arc::clone(file), within }, message));
                }
                self.mbox = None;
            }
            let found = self.files.next()?;
            let file: Arc<Path> = found.path.into();
            match open(&file) {
                Ok(opened) if found.is_mbox => {
                    self.mbox = Some((file, 0, Mbox::new(BufReader::with_capacity(BUFFER, opened))));
                }
                opened => {
                    return Some((
                        Place { file, within: None },
                        opened.and_then(|file| Spool::read(file, None)),
                    ));
                }
            }
        }
    }

    /// Whether no message is left.
    pub(super) fn is_done(&self) -> bool {
        self.mbox.as_ref().is_none_or(|(_, _, mbox)| mbox.is_done()) && self.files.len() == 0
    }
}

fn find(path: &Path, found: &mut Vec<Found>) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| Failure::file(path, &error);
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_file() {
        if metadata.len() > 0 {
            let is_mbox = begins_as_mbox(path)?;
            found.push(Found { path: path.to_owned(), octets: metadata.len(), is_mbox });
        }
        return Ok(());
    }
    if !metadata.is_dir() {
        return Err(Failure::new(
            Kind::Data,
            format!("{}: it is neither a file nor a directory", path.display()),
        ));
    }
    let begin = found.len();
    let (new, cur) = (path.join("new"), path.join("cur"));
    if new.is_dir() && cur.is_dir() {
        // Names are made of the time at which mail came; a dot in front means that it is no message.
        for folder in [new, cur] {
            list(&folder, |name| !name.starts_with('.'), found)?;
        }
        found[begin..].sort_by(|one, other| one.path.file_name().cmp(&other.path.file_name()));
    } else {
        list(path, |name| name.to_ascii_lowercase().ends_with(".eml"), found)?;
        found[begin..].sort_by(|one, other| one.path.cmp(&other.path));
    }
    Ok(())
}

fn list(folder: &Path, wanted: impl Fn(&str) -> bool, found: &mut Vec<Found>) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| Failure::file(folder, &error);
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // A file that is gone since was read by somebody else, and moved.
        let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
        if metadata.is_file() && wanted(&entry.file_name().to_string_lossy()) {
            found.push(Found { path: entry.path(), octets: metadata.len(), is_mbox: false });
        }
    }
    Ok(())
}

/// Whether a file is an mbox: the first line of a message is never like this.
fn begins_as_mbox(path: &Path) -> Result<bool, Failure> {
    let mut begin = Vec::new();
    open(path)?.take(64).read_to_end(&mut begin).map_err(|error| Failure::file(path, &error))?;
    let line = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&begin);
    Ok(line.trim_ascii_start().starts_with(b"From "))
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::file(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(paths: &[PathBuf]) -> Vec<(String, Result<String, String>)> {
        let mut sources = Sources::find(paths).unwrap();
        let mut found = Vec::new();
        while let Some((place, message)) = sources.next() {
            let id = |message: Result<Spool, Failure>| {
                message
                    .map(|spool| spool.facts.headers.message_id.unwrap_or_default())
                    .map_err(|why| why.what)
            };
            let message = id(message);
            assert_eq!(id(place.read()), message);
            let name = place.to_string();
            found.push((name.rsplit_once('/').unwrap().1.to_owned(), message));
        }
        assert!(sources.is_done());
        found
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn taken(name: &str, id: &str) -> (String, Result<String, String>) {
        (name.to_owned(), Ok(id.to_owned()))
    }

    #[test]
    fn each_kind_is_recognised_and_messages_keep_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("box/new/2.x"), "Message-ID: <2>\n\nx\n");
        write(&at("box/new/.hidden"), "Message-ID: <hidden>\n\nx\n");
        write(&at("box/cur/1.x:2,S"), "Message-ID: <1>\n\nx\n");
        write(&at("box/cur/3.x:2,S"), "");
        write(&at("box/tmp/0.x"), "Message-ID: <unfinished>\n\nx\n");
        write(&at("dir/b.eml"), "Message-ID: <b>\n\nFrom x\n");
        write(&at("dir/a.EML"), "Message-ID: <a>\r\n\r\nx");
        write(&at("dir/notes.txt"), "no message\n");
        write(&at("some.mbox"), "From a\nMessage-ID: <m1>\n\nx\n\nFrom b\nMessage-ID: <m2>\n\nx\n");
        write(&at("one"), "Message-ID: <one>\n\nx\n");
        let found = all(&["box", "dir", "some.mbox", "one"].map(at));
        assert_eq!(
            found,
            [
                taken("1.x:2,S", "1"),
                taken("2.x", "2"),
                ("3.x:2,S".to_owned(), Err("the message is empty".to_owned())),
                taken("a.EML", "a"),
                taken("b.eml", "b"),
                taken("some.mbox#1", "m1"),
                taken("some.mbox#2", "m2"),
                taken("one", "one"),
            ]
        );
    }

    #[test]
    fn where_there_is_no_message_that_is_told_with_what_could_be() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), "").unwrap();
        for name in ["", "empty"] {
            let failure = Sources::find(&[folder.path().join(name)]).unwrap_err();
            assert!(failure.to_string().contains("mbox"), "{failure}");
        }
        assert!(Sources::find(&[folder.path().join("absent")]).is_err());
        assert!(Sources::find(&[PathBuf::from("/dev/null")]).is_err());
    }
}
