//! The sources of many messages: mbox files, Maildirs, directories of `.eml` files, and single files.
//!
//! Recognises the kind of each source and finds a message again for a retry. Only one message is open at a time; for the
//! others, only file names are in memory.
//!
//! The contents of a directory may come from another user, so nothing outside it is read: each entry is opened relative
//! to the directory, without following symbolic links, and only if it is a regular file. Any other entry is reported as a
//! failed message.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use super::mbox::{Mbox, MboxOffset};
use super::spool::Spool;
use crate::command_error::{CommandError, ExitCode};

/// The size of the read buffer in bytes.
const BUFFER: usize = 64 * 1024;

/// A file and the directory in which it was found.
#[derive(Debug, Clone)]
struct Entry {
    /// The whole path, for output.
    path: Arc<Path>,
    /// The directory and the file's name in it; `None` if the user named the file itself.
    directory: Option<(Arc<OwnedFd>, Arc<Path>)>,
}

impl Entry {
    fn named(path: &Path) -> Self {
        Self { path: path.into(), directory: None }
    }

    /// Opens the file. Rejects pipes and devices without waiting for them.
    fn open(&self) -> Result<File, CommandError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = match &self.directory {
            Some((directory, name)) => openat(directory, &**name, flags | OFlags::NOFOLLOW, Mode::empty()),
            // A symbolic link that the user named is followed.
            None => openat(CWD, &*self.path, flags, Mode::empty()),
        };
        let file = opened.map_err(|error| match error {
            Errno::LOOP => self.rejected("it is a symbolic link, which is not followed"),
            Errno::NXIO => self.rejected(NOT_A_FILE),
            error => CommandError::file(&self.path, &error.into()),
        })?;
        let kind = fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind.map_err(|error| CommandError::file(&self.path, &error.into()))? {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(self.rejected(NOT_A_FILE)),
        }
    }

    fn rejected(&self, why: &str) -> CommandError {
        CommandError::new(ExitCode::Data, format!("{}: {why}", self.path.display()))
    }
}

const NOT_A_FILE: &str = "it is not a file but a pipe, a socket, a device or a directory";

/// The location of a message, from which it can be read again.
#[derive(Debug, Clone)]
pub(super) struct MessageLocation {
    file: Entry,
    position: Option<MboxPosition>,
}

/// The position of a message in an mbox file.
#[derive(Debug, Clone, Copy)]
struct MboxPosition {
    /// Counted from 1.
    number: u64,
    offset: MboxOffset,
}

impl MessageLocation {
    /// Reads the message again.
    pub(super) fn read(&self) -> Result<Spool, CommandError> {
        let mut file = self.file.open()?;
        let Some(MboxPosition { offset, .. }) = self.position else { return Spool::read_file(&file) };
        file.seek(SeekFrom::Start(offset.bytes()))
            .map_err(|error| CommandError::file(&self.file.path, &error))?;
        match Mbox::at(BufReader::with_capacity(BUFFER, file), offset).next() {
            Some((_, message)) => message,
            None => Err(CommandError::new(ExitCode::Data, "the message is no longer there")),
        }
    }
}

impl fmt::Display for MessageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.path.display())?;
        match self.position {
            Some(MboxPosition { number, .. }) => write!(f, "#{number}"),
            None => Ok(()),
        }
    }
}

/// The messages of several sources, one after the other.
#[derive(Debug)]
pub(super) struct Sources {
    files: std::vec::IntoIter<SourceFile>,
    /// The current mbox file, and how many messages were read from it.
    mbox: Option<(Entry, u64, Mbox<BufReader<File>>)>,
    /// The size of all files in bytes.
    pub(super) total_bytes: u64,
}

/// A file with one message, or an mbox file.
#[derive(Debug)]
struct SourceFile {
    entry: Entry,
    size: u64,
    is_mbox: bool,
}

impl Sources {
    /// Finds the files at these paths. Does not read messages yet.
    pub(super) fn find(paths: &[PathBuf]) -> Result<Self, CommandError> {
        let mut files = Vec::new();
        for path in paths {
            let before = files.len();
            find(path, &mut files)?;
            if files.len() == before {
                return Err(CommandError::new(ExitCode::Data, format!("{}: there is no message", path.display()))
                    .advise(
                        "use an mbox file, a Maildir (with the folders new and cur), a directory of files whose names \
                         end in .eml, or a file with one message",
                    ));
            }
        }
        let total_bytes = files.iter().map(|file| file.size).sum();
        Ok(Self { files: files.into_iter(), mbox: None, total_bytes })
    }

    /// Returns the next message with its location. A message that cannot be read does not stop the others.
    pub(super) fn next(&mut self) -> Option<(MessageLocation, Result<Spool, CommandError>)> {
        loop {
            if let Some((file, number, mbox)) = &mut self.mbox {
                if let Some((offset, message)) = mbox.next() {
                    *number += 1;
                    let position = Some(MboxPosition { number: *number, offset });
                    return Some((MessageLocation { file: file.clone(), position }, message));
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
                        MessageLocation { file, position: None },
                        opened.and_then(|file| Spool::read_file(&file)),
                    ));
                }
            }
        }
    }

    /// Returns whether no message is left.
    pub(super) fn is_done(&self) -> bool {
        self.mbox.as_ref().is_none_or(|(_, _, mbox)| mbox.is_done()) && self.files.len() == 0
    }
}

/// Adds the files at a path.
fn find(path: &Path, found: &mut Vec<SourceFile>) -> Result<(), CommandError> {
    let unreadable = |error: std::io::Error| CommandError::file(path, &error);
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_file() {
        if metadata.len() > 0 {
            let entry = Entry::named(path);
            let is_mbox = begins_as_mbox(&entry)?;
            found.push(SourceFile { entry, size: metadata.len(), is_mbox });
        }
        return Ok(());
    }
    if !metadata.is_dir() {
        return Err(Entry::named(path).rejected("it is neither a file nor a directory"));
    }
    let begin = found.len();
    let directory = open_directory(CWD, path, OFlags::empty()).map_err(|error| unreadable(error.into()))?;
    let subdirectory = |name: &str| open_directory(&directory, Path::new(name), OFlags::NOFOLLOW);
    if let (Ok(new), Ok(cur)) = (subdirectory("new"), subdirectory("cur")) {
        // File names begin with the time of arrival. A name that begins with a dot is not a message.
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

/// Adds the entries of a directory that may be messages. Skips subdirectories. Other entries that are not regular files
/// are added, and rejected when they are read.
fn list(
    path: &Path,
    directory: OwnedFd,
    wanted: impl Fn(&str) -> bool,
    found: &mut Vec<SourceFile>,
) -> Result<(), CommandError> {
    let unreadable = |error: Errno| CommandError::file(path, &error.into());
    let directory = Arc::new(directory);
    for entry in Dir::read_from(&*directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = Path::new(std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()));
        if matches!(entry.file_name().to_bytes(), b"." | b"..") || !wanted(&name.to_string_lossy()) {
            continue;
        }
        // The file is gone: another program has read and moved it.
        let Ok(stat) = statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory {
            let parent = Some((Arc::clone(&directory), Arc::from(name)));
            let entry = Entry { path: path.join(name).into(), directory: parent };
            let size = if kind == FileType::RegularFile {
                u64::try_from(stat.st_size).unwrap_or_default()
            } else {
                0
            };
            found.push(SourceFile { entry, size, is_mbox: false });
        }
    }
    Ok(())
}

/// Returns whether a file is an mbox. The first line of a message never begins with `From `.
fn begins_as_mbox(file: &Entry) -> Result<bool, CommandError> {
    let mut begin = Vec::new();
    file.open()?.take(64).read_to_end(&mut begin).map_err(|error| CommandError::file(&file.path, &error))?;
    let line = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&begin);
    Ok(line.trim_ascii_start().starts_with(b"From "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(paths: &[PathBuf]) -> Vec<(String, Result<String, String>)> {
        let mut sources = Sources::find(paths).unwrap();
        let mut found = Vec::new();
        while let Some((location, message)) = sources.next() {
            let id = |message: Result<Spool, CommandError>| {
                message.map(|spool| spool.info.headers.message_id.unwrap_or_default()).map_err(|why| why.what)
            };
            let message = id(message);
            assert_eq!(id(location.read()), message);
            let name = location.to_string();
            found.push((name.rsplit_once('/').unwrap().1.to_owned(), message));
        }
        assert!(sources.is_done());
        found
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(name: &str, id: &str) -> (String, Result<String, String>) {
        (name.to_owned(), Ok(id.to_owned()))
    }

    #[test]
    fn recognises_each_kind_of_source_and_keeps_the_order() {
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
                read("1.x:2,S", "1"),
                read("2.x", "2"),
                ("3.x:2,S".to_owned(), Err("the message is empty".to_owned())),
                read("a.EML", "a"),
                read("b.eml", "b"),
                read("some.mbox#1", "m1"),
                read("some.mbox#2", "m2"),
                read("one", "one"),
            ]
        );
    }

    #[test]
    fn reads_nothing_outside_a_directory_and_rejects_special_files() {
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
        // A subdirectory that is a symbolic link is outside the directory.
        std::os::unix::fs::symlink(at("box"), at("linked")).unwrap();
        assert_eq!(shown(&["linked"]).len(), 4, "a symbolic link that the user named is followed");
        std::fs::create_dir(at("other")).unwrap();
        std::os::unix::fs::symlink(at("box/new"), at("other/new")).unwrap();
        std::os::unix::fs::symlink(at("box/cur"), at("other/cur")).unwrap();
        assert!(Sources::find(&[at("other")]).is_err());
        pipe("pipe");
        assert!(Sources::find(&[at("pipe")]).unwrap_err().what.contains("neither"));
    }

    #[test]
    fn a_source_without_messages_is_an_error_with_advice() {
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
