//! What was sent to whom, kept on disk, so that a run that is interrupted at any point sends nothing twice.
//!
//! A line is written and synced before the last octet of a message may leave (`end`), and one when its fate is known:
//! `taken` or `open`. Whoever stands at `end` may have the message. A key tells one message to one recipient apart; it
//! is a hash behind a salt, so that nobody's address, and nothing of a message, stands in the file.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Kind};

const HEADER: &str = "mailwire-journal 1 ";

/// One message to one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// The server has taken it.
    Taken,
    /// The whole message may have been sent, and no answer is known.
    Uncertain,
}

/// A journal that this process has to itself, as long as the value lives.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    salt: [u8; 16],
    known: HashMap<Key, Known>,
    /// Writing has failed: what stands behind that would not follow a whole line.
    broken: bool,
}

impl Journal {
    /// Reads a journal, or begins one.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let unusable = |error: io::Error| {
            Failure::new(Kind::Configuration, format!("the journal {}: {error}", path.display()))
                .advise("--journal FILE in a directory that can be written to, or --no-journal")
        };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(unusable)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Failure::new(
                    Kind::Unavailable,
                    format!("another run is using the journal {}", path.display()),
                )
                .advise("wait for it to end"));
            }
            Err(error) => return Err(unusable(error.into())),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unusable)?;
        match read(&text).map_err(|why| damaged(path, &why))? {
            Some((salt, known)) => {
                // A line that was being written when the power went is not there.
                let whole = text.rfind('\n').map_or(0, |end| end + 1);
                file.set_len(whole as u64).map_err(unusable)?;
                file.seek(SeekFrom::End(0)).map_err(unusable)?;
                Ok(Self { file, path: path.to_owned(), salt, known, broken: false })
            }
            None => {
                let mut salt = [0; 16];
                getrandom::fill(&mut salt).map_err(|error| {
                    Failure::new(Kind::Unavailable, format!("there is no randomness: {error}"))
                })?;
                begin(&mut file, path, salt).map_err(unusable)?;
                Ok(Self { file, path: path.to_owned(), salt, known: HashMap::new(), broken: false })
            }
        }
    }

    /// The key of these fields, together.
    pub(super) fn key(&self, fields: &[&[u8]]) -> Key {
        let mut digest = Sha256::new();
        digest.update(self.salt);
        for field in fields {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Key(key)
    }

    /// What is known of it; of what was never sent, or was refused, nothing.
    pub(super) fn known(&self, key: Key) -> Option<Known> {
        self.known.get(&key).copied()
    }

    /// The last octet may leave behind this: it is on disk when this returns.
    pub(super) fn ending(&mut self, keys: &[Key]) -> io::Result<()> {
        self.append("end", keys)?;
        self.file.sync_data().inspect_err(|_| self.broken = true)?;
        self.known.extend(keys.iter().map(|key| (*key, Known::Uncertain)));
        Ok(())
    }

    /// The server has taken it. Until that is on disk it counts as uncertain, which sends nothing twice either: the
    /// next [`ending`](Self::ending) brings it there.
    pub(super) fn taken(&mut self, key: Key) -> io::Result<()> {
        match self.known.insert(key, Known::Taken) {
            Some(Known::Taken) => Ok(()),
            _ => self.append("taken", &[key]),
        }
    }

    /// The server does not have it.
    pub(super) fn open_again(&mut self, key: Key) -> io::Result<()> {
        match self.known.remove(&key) {
            Some(_) => self.append("open", &[key]),
            None => Ok(()),
        }
    }

    /// Everything was taken: a journal that was only for this run has no use any more.
    pub(super) fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    /// Whether writing has failed.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }

    fn append(&mut self, verb: &str, keys: &[Key]) -> io::Result<()> {
        // One write for all, so that they come in front of one sync.
        let lines: String = keys.iter().map(|key| format!("{verb} {}\n", hex(&key.0))).collect();
        if self.broken {
            return Err(io::Error::other("it could not be written to before"));
        }
        self.file.write_all(lines.as_bytes()).inspect_err(|_| self.broken = true)
    }
}

/// The journal of a command that names none: the same command finds it again.
pub(super) fn path_in(data: &Path, fields: &[&[u8]]) -> PathBuf {
    let mut digest = Sha256::new();
    for field in fields {
        digest.update((field.len() as u64).to_be_bytes());
        digest.update(field);
    }
    let digest: [u8; 32] = digest.finalize().into();
    data.join("sending").join(format!("{}.journal", hex(&digest[..16])))
}

fn begin(file: &mut File, path: &Path, salt: [u8; 16]) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{HEADER}{}\n", hex(&salt)).as_bytes())?;
    file.sync_all()?;
    // Its name must be on disk, too.
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

type Contents = ([u8; 16], HashMap<Key, Known>);

/// What stands in a journal; `None` if it was not begun. What is no journal is never written to.
fn read(text: &str) -> Result<Option<Contents>, String> {
    let Some((whole, _)) = text.rsplit_once('\n') else {
        let torn = text.len() <= HEADER.len() + 32 && (HEADER.starts_with(text) || text.starts_with(HEADER));
        return if torn { Ok(None) } else { Err("it is no journal".to_owned()) };
    };
    let mut lines = whole.split('\n');
    let salt = lines.next().and_then(|line| unhex(line.strip_prefix(HEADER)?));
    let salt = salt.ok_or("it is no journal")?;
    let mut known = HashMap::new();
    for (number, line) in lines.enumerate() {
        let (verb, key) = line.split_once(' ').unwrap_or((line, ""));
        let key = unhex(key).map(Key).ok_or_else(|| format!("line {} cannot be read", number + 2))?;
        match verb {
            "end" => known.insert(key, Known::Uncertain),
            "taken" => known.insert(key, Known::Taken),
            "open" => known.remove(&key),
            _ => return Err(format!("line {} cannot be read", number + 2)),
        };
    }
    Ok(Some((salt, known)))
}

fn damaged(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::Data, format!("the journal {}: {why}", path.display()))
        .advise("another --journal FILE; without this one nobody knows what was sent already")
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut octets = [0; 16];
    if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (octet, at) in octets.iter_mut().zip((0..32).step_by(2)) {
        *octet = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    impl Journal {
        /// The same, on a disk that is full.
        pub(in crate::send) fn unwritable(mut self) -> Self {
            self.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
            self
        }
    }

    fn append(path: &Path, text: &str) {
        OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn what_was_written_is_known_to_the_next_run_and_says_nothing_of_anybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/some.journal");
        let keys =
            |journal: &Journal| ["one", "two", "three"].map(|to| journal.key(&[b"secret", to.as_bytes()]));
        let mut journal = Journal::open(&path).unwrap();
        assert!(Journal::open(&path).unwrap_err().to_string().contains("another run"));
        let [one, two, three] = keys(&journal);
        journal.ending(&[one, two, three]).unwrap();
        journal.taken(one).unwrap();
        journal.open_again(two).unwrap();
        drop(journal);
        // The power went in the middle of a line.
        append(&path, "taken 00112233");
        for _ in 0..2 {
            let journal = Journal::open(&path).unwrap();
            assert_eq!(keys(&journal), [one, two, three]);
            let known = [one, two, three].map(|key| journal.known(key));
            assert_eq!(known, [Some(Known::Taken), None, Some(Known::Uncertain)]);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("secret") && !text.contains("one"), "{text}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = Journal::open(&folder.path().join("other")).unwrap();
        assert_ne!(keys(&other)[0], one, "two journals have the same keys");
    }

    #[test]
    fn fields_are_told_apart_by_where_they_end() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("j")).unwrap();
        assert_ne!(journal.key(&[b"ab", b"c"]), journal.key(&[b"a", b"bc"]));
    }

    #[test]
    fn what_is_no_journal_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        drop(Journal::open(&path).unwrap());
        let header = std::fs::read_to_string(&path).unwrap();
        let damaged = ["From a\n\nmail\n", "diary", &format!("{header}end 00\n"), &format!("{header}\n")];
        for text in damaged {
            std::fs::write(&path, text).unwrap();
            assert!(Journal::open(&path).is_err(), "{text:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        for torn in ["", "mail", &header[..header.len() - 5]] {
            std::fs::write(&path, torn).unwrap();
            assert!(Journal::open(&path).is_ok(), "{torn:?}");
        }
    }
}
