//! Where many messages come from: mbox files, Maildirs, directories of `.eml` files, and single files.
//!
//! This file knows how each is recognised, and how a message is found again. One message is open at a time, and what
//! is kept of the others is their file names.
//!
//! Nothing outside of a directory is read for it: what is in it may come from another user. Each entry is opened relative
//! to the directory, without following a symbolic link, and only if it is a file; any other entry costs itself.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use super::mbox::{Begin, Mbox};
use super::spool::Spool;
use crate::failure::{Failure, Kind};

const BUFFER: usize = 64 * 1024;

/// A file, and the directory that it was found in.
#[derive(Debug, Clone)]
struct Entry {
    /// The whole path, to be shown.
    path: Arc<Path>,
    /// The directory, and the entry's name in it; none if the file itself was named.
    within: Option<(Arc<OwnedFd>, Arc<Path>)>,
}

impl Entry {
    fn named(path: &Path) -> Self {
        Self { path: path.into(), within: None }
    }

    /// Opens the file, which must be one. A pipe or device is not waited for.
    fn open(&self) -> Result<File, Failure> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = match &self.within {
            Some((directory, name)) => openat(directory, &**name, flags | OFlags::NOFOLLOW, Mode::empty()),
            // A link that was named is followed.
            None => openat(CWD, &*self.path, flags, Mode::empty()),
        };
        let file = opened.map_err(|error| match error {
            Errno::LOOP => self.refused("it is a symbolic link, which is not followed"),
            Errno::NXIO => self.refused(NO_FILE),
            error => Failure::file(&self.path, &error.into()),
        })?;
        let kind = fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind.map_err(|error| Failure::file(&self.path, &error.into()))? {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(self.refused(NO_FILE)),
        }
    }

    fn refused(&self, why: &str) -> Failure {
        Failure::new(Kind::Data, format!("{}: {why}", self.path.display()))
    }
}

const NO_FILE: &str = "it is no file, but a pipe, a socket, a device or a directory";

/// Where a message was found. It can be read from there again.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: Entry,
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
        let mut file = self.file.open()?;
        let Some(Within { begin, .. }) = self.within else { return Spool::read_file(&file) };
        file.seek(SeekFrom::Start(begin.offset())).map_err(|error| Failure::file(&self.file.path, &error))?;
        match Mbox::at(BufReader::with_capacity(BUFFER, file), begin).next() {
            Some((_, message)) => message,
            None => Err(Failure::new(Kind::Data, "the message is not there any more")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.path.display())?;
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
    mbox: Option<(Entry, u64, Mbox<BufReader<File>>)>,
    /// How many octets all of the files have.
    pub(super) octets: u64,
}

#[derive(Debug)]
struct Found {
    entry: Entry,
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
                    return Some((Place { file: file.clone(), within }, message));
                }
                self.mbox = None;
            }
            let found = self.files.next()?;
            let file = found.entry;
            match file.open() {
                Ok(opened) if found.is_mbox => {
                    self.mbox = Some((file, 0, Mbox::new(BufReader::with_capacity(BUFFER, opened))));
                }
                opened => {
                    return Some((
                        Place { file, within: None },
                        opened.and_then(|file| Spool::read_file(&file)),
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
            let entry = Entry::named(path);
            let is_mbox = begins_as_mbox(&entry)?;
            found.push(Found { entry, octets: metadata.len(), is_mbox });
        }
        return Ok(());
    }
    if !metadata.is_dir() {
        return Err(Entry::named(path).refused("it is neither a file nor a directory"));
    }
    let begin = found.len();
    let directory = open_directory(CWD, path, OFlags::empty()).map_err(|error| unreadable(error.into()))?;
    let within = |name: &str| open_directory(&directory, Path::new(name), OFlags::NOFOLLOW);
    if let (Ok(new), Ok(cur)) = (within("new"), within("cur")) {
        // Names are made of the time at which mail came; a dot in front means that it is no message.
        for (name, folder) in [("new", new), ("cur", cur)] {
            list(&path.join(name), folder, |name| !name.starts_with('.'), found)?;
        }
        found[begin..].sort_by(|one, other| one.entry.path.file_name().cmp(&other.entry.path.file_name()));
    } else {
        list(path, directory, |name| name.to_ascii_lowercase().ends_with(".eml"), found)?;
        found[begin..].sort_by(|one, other| one.entry.path.cmp(&other.entry.path));
    }
    Ok(())
}

fn open_directory(at: impl std::os::fd::AsFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(at, path, flags | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Adds the entries of a directory that may be messages. Directories in it are left alone; what is no file otherwise is
/// added, and refused when its turn comes.
fn list(
    path: &Path,
    directory: OwnedFd,
    wanted: impl Fn(&str) -> bool,
    found: &mut Vec<Found>,
) -> Result<(), Failure> {
    let unreadable = |error: Errno| Failure::file(path, &error.into());
    let directory = Arc::new(directory);
    for entry in Dir::read_from(&*directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = Path::new(std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()));
        if matches!(entry.file_name().to_bytes(), b"." | b"..") || !wanted(&name.to_string_lossy()) {
            continue;
        }
        // A file that is gone since was read by another program, and moved.
        let Ok(stat) = statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory {
            let within = Some((Arc::clone(&directory), Arc::from(name)));
            let entry = Entry { path: path.join(name).into(), within };
            let octets = if kind == FileType::RegularFile {
                u64::try_from(stat.st_size).unwrap_or_default()
            } else {
                0
            };
            found.push(Found { entry, octets, is_mbox: false });
        }
    }
    Ok(())
}

/// Whether a file is an mbox: the first line of a message is never like this.
fn begins_as_mbox(file: &Entry) -> Result<bool, Failure> {
    let mut begin = Vec::new();
    file.open()?.take(64).read_to_end(&mut begin).map_err(|error| Failure::file(&file.path, &error))?;
    let line = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&begin);
    Ok(line.trim_ascii_start().starts_with(b"From "))
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
    fn nothing_outside_of_a_directory_is_read_and_what_is_no_file_costs_itself() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("secret"), "Message-ID: <secret>\n\nx\n");
        write(&at("dir/a.eml"), "Message-ID: <a>\n\nx\n");
        write(&at("box/new/1"), "Message-ID: <1>\n\nx\n");
        std::fs::create_dir_all(at("box/cur")).unwrap();
        std::fs::create_dir(at("dir/folder.eml")).unwrap();
        let pipe = |name: &str| {
            rustix::fs::mknodat(CWD, at(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        };
        for directory in ["dir", "box/new"] {
            std::os::unix::fs::symlink(at("secret"), at(directory).join("9.eml")).unwrap();
            std::os::unix::fs::symlink("/dev/zero", at(directory).join("8.eml")).unwrap();
            pipe(&format!("{directory}/7.eml"));
        }
        let shown = |paths: &[&str]| {
            let found = all(&paths.iter().map(|name| at(name)).collect::<Vec<_>>());
            found
                .into_iter()
                .map(|(name, message)| match message {
                    Ok(id) => id,
                    Err(why) if why.contains("symbolic link") => format!("{name}: link"),
                    Err(why) if why.contains("pipe") => format!("{name}: pipe"),
                    Err(why) => panic!("{why}"),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(&["dir"]), ["7.eml: pipe", "8.eml: link", "9.eml: link", "a"]);
        assert_eq!(shown(&["box"]), ["1", "7.eml: pipe", "8.eml: link", "9.eml: link"]);
        // A directory that is a link belongs to somewhere else.
        std::os::unix::fs::symlink(at("box"), at("linked")).unwrap();
        assert_eq!(shown(&["linked"]).len(), 4, "a link that was named is followed");
        std::fs::create_dir(at("other")).unwrap();
        std::os::unix::fs::symlink(at("box/new"), at("other/new")).unwrap();
        std::os::unix::fs::symlink(at("box/cur"), at("other/cur")).unwrap();
        assert!(Sources::find(&[at("other")]).is_err());
        pipe("pipe");
        assert!(Sources::find(&[at("pipe")]).unwrap_err().what.contains("neither"));
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
