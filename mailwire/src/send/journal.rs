//! What was sent to whom, kept on disk, so that a run that is interrupted at any point sends nothing twice.
//!
//! A line `end` is written before the last bytes of a message may leave, and `taken` or `open` when its fate is known.
//! The messages at `end` may have been sent. A key tells one message to one recipient apart; it is a salted hash, so
//! that no address, and nothing of a message, is in the file.
//!
//! # What is synced, and when
//!
//! Written lines survive the death of the process, but not that of the machine; a line on disk survives both, and costs
//! an `fdatasync` that takes longer than sending a small message. So one sync announces several messages: `ahead` lines,
//! for the message that ends now and for some that follow it, are on disk before the first of them ends. `end`, `taken`
//! and `open` are written at once and reach the disk with the next sync.
//!
//! Each run notes which boot of the machine it belongs to. If the machine is still up, every line is there, and a
//! message that is `ahead` and no more was not sent. If it was restarted, lines may be missing, and such a message is
//! uncertain. A killed process therefore leaves only those messages uncertain that had ended, and a power failure at most
//! the [`AHEAD`] that follow, too.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Kind};
use crate::private;

/// The number is that of the format; it changes when keys are made in another way.
const HEADER: &str = "mailwire-journal 2 ";

/// The most messages that one sync announces besides the one that ends. It also bounds the messages that are uncertain
/// after a power failure and were never sent.
pub(super) const AHEAD: usize = 32;

/// Where the system says which boot this is.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

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
    /// The keys that are on disk as `ahead`, or further.
    announced: HashSet<Key>,
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
        let mut file = private::open_file(path).map_err(|failure| {
            failure.advise("--journal FILE in a directory that can be written to, or --no-journal")
        })?;
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
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(unusable)?;
        let whole = whole_lines(&mut text);
        let contents = std::str::from_utf8(&text).map_err(|_| damaged(path, "it is no journal"))?;
        let boot = std::fs::read(BOOT).unwrap_or_default();
        let (salt, known) = match read(contents, &boot).map_err(|why| damaged(path, &why))? {
            Some((salt, known)) => {
                // A line that was being written when the power went is not there.
                file.set_len(whole as u64).map_err(unusable)?;
                file.seek(SeekFrom::End(0)).map_err(unusable)?;
                (salt, known)
            }
            None => {
                let mut salt = [0; 16];
                getrandom::fill(&mut salt).map_err(|error| {
                    Failure::new(Kind::Unavailable, format!("there is no randomness: {error}"))
                })?;
                begin(&mut file, path, salt).map_err(unusable)?;
                (salt, HashMap::new())
            }
        };
        let this = hashed(&salt, &[&boot]);
        file.write_all(format!("boot {}\n", hex(&this.0)).as_bytes()).map_err(unusable)?;
        Ok(Self { file, path: path.to_owned(), salt, known, announced: HashSet::new(), broken: false })
    }

    /// The key of these fields, together.
    pub(super) fn key(&self, fields: &[&[u8]]) -> Key {
        hashed(&self.salt, fields)
    }

    /// What is known of it; of what was never sent, or was refused, nothing.
    pub(super) fn known(&self, key: Key) -> Option<Known> {
        self.known.get(&key).copied()
    }

    /// The last bytes of a message may leave after this. If these keys were not announced before, that is on disk when
    /// this returns, and the keys `ahead` are announced with them.
    pub(super) fn ending(&mut self, keys: &[Key], ahead: &[Key]) -> io::Result<()> {
        let is_announced = keys.iter().all(|key| self.announced.contains(key));
        if is_announced {
            self.append("end", keys)?;
        } else {
            let new: Vec<Key> =
                keys.iter().chain(ahead).filter(|key| !self.announced.contains(key)).copied().collect();
            self.append("ahead", &new)?;
            self.append("end", keys)?;
            self.file.sync_data().inspect_err(|_| self.broken = true)?;
            self.announced.extend(new);
        }
        self.known.extend(keys.iter().map(|key| (*key, Known::Uncertain)));
        Ok(())
    }

    /// The server has taken it. Until that is on disk it counts as uncertain, which sends nothing twice either.
    pub(super) fn taken(&mut self, key: Key) -> io::Result<()> {
        match self.known.insert(key, Known::Taken) {
            Some(Known::Taken) => Ok(()),
            _ => self.append("taken", &[key]),
        }
    }

    /// The server does not have it.
    pub(super) fn open_again(&mut self, key: Key) -> io::Result<()> {
        let was_announced = self.announced.remove(&key);
        match self.known.remove(&key) {
            None if !was_announced => Ok(()),
            _ => self.append("open", &[key]),
        }
    }

    /// The run is over: what was announced and did not end was not sent, and everything is on disk.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let known = &self.known;
        let unsent: Vec<Key> = self.announced.drain().filter(|key| !known.contains_key(key)).collect();
        self.append("open", &unsent)?;
        self.file.sync_data().inspect_err(|_| self.broken = true)
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
        if keys.is_empty() {
            return Ok(());
        }
        let lines: String = keys.iter().map(|key| format!("{verb} {}\n", hex(&key.0))).collect();
        if self.broken {
            return Err(io::Error::other("it could not be written to before"));
        }
        self.file.write_all(lines.as_bytes()).inspect_err(|_| self.broken = true)
    }
}

/// A hash of these fields, together, behind a salt.
fn hashed(salt: &[u8; 16], fields: &[&[u8]]) -> Key {
    let mut digest = Sha256::new();
    digest.update(salt);
    for field in fields {
        digest.update((field.len() as u64).to_be_bytes());
        digest.update(field);
    }
    let digest: [u8; 32] = digest.finalize().into();
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    Key(key)
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

/// Cuts what a power failure may leave behind the last whole line: part of a line, or zeros.
fn whole_lines(text: &mut Vec<u8>) -> usize {
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    text.truncate(end);
    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// What a line says of a key, as long as its run lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Ahead,
    Known(Known),
}

/// What is in a journal; `None` if it was not begun. What is no journal is never written to. `boot`: which boot of the
/// machine this is; empty if that is not known.
fn read(text: &str, boot: &[u8]) -> Result<Option<Contents>, String> {
    let Some((whole, _)) = text.rsplit_once('\n') else {
        let torn = text.len() <= HEADER.len() + 32 && (HEADER.starts_with(text) || text.starts_with(HEADER));
        return if torn { Ok(None) } else { Err("it is no journal".to_owned()) };
    };
    let mut lines = whole.split('\n');
    let salt = lines.next().and_then(|line| unhex(line.strip_prefix(HEADER)?));
    let salt = salt.ok_or_else(|| match whole.starts_with("mailwire-journal ") {
        true => "it was written by another version of mailwire",
        false => "it is no journal",
    })?;
    let mut found: HashMap<Key, Line> = HashMap::new();
    let mut booted = None;
    for (number, line) in lines.enumerate() {
        let unreadable = || format!("line {} cannot be read", number + 2);
        let (verb, key) = line.split_once(' ').unwrap_or((line, ""));
        let key = unhex(key).map(Key).ok_or_else(unreadable)?;
        match verb {
            "ahead" => {
                found.entry(key).or_insert(Line::Ahead);
            }
            "end" => drop(found.insert(key, Line::Known(Known::Uncertain))),
            "taken" => drop(found.insert(key, Line::Known(Known::Taken))),
            "open" => drop(found.remove(&key)),
            "boot" => {
                end_run(&mut found, booted == Some(key));
                booted = Some(key);
            }
            _ => return Err(unreadable()),
        }
    }
    end_run(&mut found, !boot.is_empty() && booted == Some(hashed(&salt, &[boot])));
    let known = found.into_iter().filter_map(|(key, line)| match line {
        Line::Known(known) => Some((key, known)),
        Line::Ahead => None,
    });
    Ok(Some((salt, known.collect())))
}

/// A run has ended in the same boot of the machine as the next one, or in another.
fn end_run(found: &mut HashMap<Key, Line>, is_same_boot: bool) {
    if is_same_boot {
        found.retain(|_, line| *line != Line::Ahead);
    } else {
        found
            .values_mut()
            .filter(|line| **line == Line::Ahead)
            .for_each(|line| *line = Line::Known(Known::Uncertain));
    }
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
    use std::fs::OpenOptions;
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
        journal.ending(&[one, two, three], &[]).unwrap();
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
    fn messages_that_were_only_announced_are_uncertain_after_a_restart_of_the_machine_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path).unwrap();
        let [one, two, three] = [b"1", b"2", b"3"].map(|field| journal.key(&[field]));
        journal.ending(&[one], &[two, three]).unwrap();
        journal.taken(one).unwrap();
        journal.ending(&[two], &[]).unwrap();
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("ahead").count(), 3, "{text}");
        let known = |path: &Path| {
            let journal = Journal::open(path).unwrap();
            [one, two, three].map(|key| journal.known(key))
        };
        let other = folder.path().join("other");
        let boot = text.lines().nth(1).unwrap();
        std::fs::write(&other, text.replace(boot, &format!("boot {}", "0".repeat(32)))).unwrap();
        for _ in 0..2 {
            assert_eq!(known(&path), [Some(Known::Taken), Some(Known::Uncertain), None]);
            assert_eq!(known(&other), [Some(Known::Taken), Some(Known::Uncertain), Some(Known::Uncertain)]);
        }
        // Zeros are what a file system may leave where lines were not yet on disk.
        append(&path, "end 0011\0\0\0");
        assert_eq!(known(&path), [Some(Known::Taken), Some(Known::Uncertain), None]);
    }

    #[test]
    fn a_run_that_ends_in_order_leaves_nothing_announced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path).unwrap();
        let [one, two] = [b"1", b"2"].map(|field| journal.key(&[field]));
        journal.ending(&[one], &[two]).unwrap();
        journal.close().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with(&format!("open {}\n", hex(&two.0))), "{text}");
    }

    #[test]
    fn a_journal_is_private_and_no_link_is_followed_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("j"), folder.path().join("link"));
        drop(Journal::open(&path).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        drop(Journal::open(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Journal::open(&link).unwrap_err().what.contains("symbolic link"));
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
