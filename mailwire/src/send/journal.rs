//! The journal of a run on disk: which messages were sent to whom, so that a run after an interruption sends nothing
//! twice.
//!
//! The line `end` is written before the final bytes of a message are sent, and `taken` or `open` when the result is known.
//! A message whose last line is `end` is uncertain. A key identifies one message to one recipient. It is a salted hash,
//! so the file holds no address and no part of a message.
//!
//! # What is synced, and when
//!
//! A written line survives the death of the process, but not of the machine. A synced line survives both, but
//! `fdatasync` takes longer than sending a small message. One sync therefore covers several messages: before the first
//! of them ends, `ahead` lines for it and for some that follow are on disk. `end`, `taken` and `open` are written at
//! once and reach the disk with the next sync.
//!
//! Each run records the boot of the machine in which it ran. If the machine was not restarted, no line is missing, and
//! a message with only `ahead` was not sent. After a restart lines may be missing, and such a message is uncertain. A
//! killed process therefore leaves only messages uncertain that had ended. A power failure also leaves up to
//! [`MAX_AHEAD`] following messages uncertain.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use crate::command_error::{CommandError, ExitCode};
use crate::private_files;

/// The first line. Its number is the format version, which changes when keys are computed differently.
const HEADER: &str = "mailwire-journal 2 ";

/// The maximum number of messages that one sync announces besides the one that ends. It limits the unsent messages that
/// are uncertain after a power failure.
pub(super) const MAX_AHEAD: usize = 32;

/// The file with the identifier of the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Identifies one message to one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

/// The known result for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// The server has accepted the message.
    Accepted,
    /// The whole message may have been sent, and its result is unknown.
    Uncertain,
}

/// An open journal. This process locks it until the value is dropped.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    salt: [u8; 16],
    known: HashMap<Key, Known>,
    /// The keys that are on disk as `ahead` or later.
    announced: HashSet<Key>,
    /// Whether a write has failed. A later line might follow an incomplete one.
    is_broken: bool,
}

impl Journal {
    /// Opens and reads a journal, or creates one.
    pub(super) fn open(path: &Path) -> Result<Self, CommandError> {
        const ADVICE: &str = "use --journal FILE in a writable directory, or --no-journal";
        let unusable = |error: io::Error| {
            CommandError::new(ExitCode::Configuration, format!("the journal {}: {error}", path.display()))
                .advise(ADVICE)
        };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(unusable)?;
        }
        let mut file = private_files::open_file(path).map_err(|failure| failure.advise(ADVICE))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(CommandError::new(
                    ExitCode::Unavailable,
                    format!("another run is using the journal {}", path.display()),
                )
                .advise("wait for that run to end"));
            }
            Err(error) => return Err(unusable(error.into())),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(unusable)?;
        let whole = whole_lines(&mut text);
        let contents = std::str::from_utf8(&text).map_err(|_| damaged(path, "it is not a journal"))?;
        let boot = boot_id().map_err(unusable)?;
        let (salt, known) = match parse(contents, &boot).map_err(|why| damaged(path, &why))? {
            Some((salt, known)) => {
                // Cut off an incomplete line, which a power failure may leave.
                file.set_len(whole as u64).map_err(unusable)?;
                file.seek(SeekFrom::End(0)).map_err(unusable)?;
                (salt, known)
            }
            None => {
                let mut salt = [0; 16];
                getrandom::fill(&mut salt).map_err(|error| {
                    CommandError::new(
                        ExitCode::Unavailable,
                        format!("no random numbers are available: {error}"),
                    )
                })?;
                write_header(&mut file, path, salt).map_err(unusable)?;
                (salt, HashMap::new())
            }
        };
        let this = hash(&salt, &[&boot]);
        file.write_all(format!("boot {}\n", hex(&this.0)).as_bytes()).map_err(unusable)?;
        Ok(Self { file, path: path.to_owned(), salt, known, announced: HashSet::new(), is_broken: false })
    }

    /// Returns the key of a sequence of fields.
    pub(super) fn key(&self, fields: &[&[u8]]) -> Key {
        hash(&self.salt, fields)
    }

    /// Returns the known result, or `None` if the message was never sent or was refused.
    pub(super) fn known(&self, key: Key) -> Option<Known> {
        self.known.get(&key).copied()
    }

    /// Records that the final bytes of a message are about to be sent. If its keys were not announced before, they are on
    /// disk when this returns, and the keys in `ahead` are announced with them.
    pub(super) fn ending(&mut self, keys: &[Key], ahead: &[Key]) -> io::Result<()> {
        let is_announced = keys.iter().all(|key| self.announced.contains(key));
        if is_announced {
            self.append("end", keys)?;
        } else {
            let new: Vec<Key> =
                keys.iter().chain(ahead).filter(|key| !self.announced.contains(key)).copied().collect();
            self.append("ahead", &new)?;
            self.append("end", keys)?;
            self.file.sync_data().inspect_err(|_| self.is_broken = true)?;
            self.announced.extend(new);
        }
        self.known.extend(keys.iter().map(|key| (*key, Known::Uncertain)));
        Ok(())
    }

    /// Records that the server has accepted the message. Until this is on disk the message is uncertain, which also
    /// prevents sending it twice.
    pub(super) fn accepted(&mut self, key: Key) -> io::Result<()> {
        match self.known.insert(key, Known::Accepted) {
            Some(Known::Accepted) => Ok(()),
            _ => self.append("taken", &[key]),
        }
    }

    /// Records that the server has not accepted the message.
    pub(super) fn not_accepted(&mut self, key: Key) -> io::Result<()> {
        let was_announced = self.announced.remove(&key);
        match self.known.remove(&key) {
            None if !was_announced => Ok(()),
            _ => self.append("open", &[key]),
        }
    }

    /// Ends the run: records that announced messages were not sent, and writes everything to disk.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let known = &self.known;
        let unsent: Vec<Key> = self.announced.drain().filter(|key| !known.contains_key(key)).collect();
        self.append("open", &unsent)?;
        self.file.sync_data().inspect_err(|_| self.is_broken = true)
    }

    /// Deletes the journal.
    pub(super) fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    /// Returns whether a write has failed.
    pub(super) const fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn append(&mut self, verb: &str, keys: &[Key]) -> io::Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let lines: String = keys.iter().map(|key| format!("{verb} {}\n", hex(&key.0))).collect();
        if self.is_broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        self.file.write_all(lines.as_bytes()).inspect_err(|_| self.is_broken = true)
    }
}

/// Hashes a sequence of fields with a salt.
fn hash(salt: &[u8], fields: &[&[u8]]) -> Key {
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

/// Returns the path of an automatic journal in the data directory. The same fields give the same path.
pub(super) fn path_in(data: &Path, fields: &[&[u8]]) -> PathBuf {
    data.join("sending").join(format!("{}.journal", hex(&hash(&[], fields).0)))
}

fn write_header(file: &mut File, path: &Path, salt: [u8; 16]) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{HEADER}{}\n", hex(&salt)).as_bytes())?;
    file.sync_all()?;
    // The directory entry must be on disk, too.
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// Returns what identifies the current boot of the machine. Where the system does not tell, each run counts as a boot of its
/// own.
fn boot_id() -> io::Result<Vec<u8>> {
    if let Ok(id) = std::fs::read(BOOT_ID)
        && !id.is_empty()
    {
        return Ok(id);
    }
    let mut id = vec![0; 16];
    getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(id)
}

type Contents = ([u8; 16], HashMap<Key, Known>);

/// Removes trailing zeros, which a power failure may leave. Returns the length of the complete lines.
fn whole_lines(text: &mut Vec<u8>) -> usize {
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    text.truncate(end);
    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// The last line of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Ahead,
    Known(Known),
}

/// Parses a journal. Returns `None` if it has no complete header. Returns an error if the file is not a journal, which
/// is then never written to. `boot` identifies the current boot.
fn parse(text: &str, boot: &[u8]) -> Result<Option<Contents>, String> {
    let Some((whole, _)) = text.rsplit_once('\n') else {
        let is_incomplete =
            text.len() <= HEADER.len() + 32 && (HEADER.starts_with(text) || text.starts_with(HEADER));
        return if is_incomplete { Ok(None) } else { Err("it is not a journal".to_owned()) };
    };
    let mut lines = whole.split('\n');
    let salt = lines.next().and_then(|line| unhex(line.strip_prefix(HEADER)?));
    let salt = salt.ok_or_else(|| match whole.starts_with("mailwire-journal ") {
        true => "it was written by another version of mailwire",
        false => "it is not a journal",
    })?;
    let mut found: HashMap<Key, Line> = HashMap::new();
    let mut booted = None;
    for (number, line) in lines.enumerate() {
        let invalid = || format!("line {} cannot be parsed", number + 2);
        let (verb, key) = line.split_once(' ').unwrap_or((line, ""));
        let key = unhex(key).map(Key).ok_or_else(invalid)?;
        match verb {
            "ahead" => {
                found.entry(key).or_insert(Line::Ahead);
            }
            "end" => drop(found.insert(key, Line::Known(Known::Uncertain))),
            "taken" => drop(found.insert(key, Line::Known(Known::Accepted))),
            "open" => drop(found.remove(&key)),
            "boot" => {
                end_run(&mut found, booted == Some(key));
                booted = Some(key);
            }
            _ => return Err(invalid()),
        }
    }
    end_run(&mut found, booted == Some(hash(&salt, &[boot])));
    let known = found.into_iter().filter_map(|(key, line)| match line {
        Line::Known(known) => Some((key, known)),
        Line::Ahead => None,
    });
    Ok(Some((salt, known.collect())))
}

/// Handles the end of a run in the journal. After a restart of the machine, announced messages are uncertain.
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

fn damaged(path: &Path, why: &str) -> CommandError {
    CommandError::new(ExitCode::Data, format!("the journal {}: {why}", path.display()))
        .advise("use another --journal FILE; without this journal, it is unknown what was sent already")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    impl Journal {
        /// Returns the same journal on a full disk.
        pub(in crate::send) fn unwritable(mut self) -> Self {
            self.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
            self
        }
    }

    fn append(path: &Path, text: &str) {
        OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_next_run_reads_the_results_and_the_file_holds_no_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/some.journal");
        let keys =
            |journal: &Journal| ["one", "two", "three"].map(|to| journal.key(&[b"secret", to.as_bytes()]));
        let mut journal = Journal::open(&path).unwrap();
        assert!(Journal::open(&path).unwrap_err().to_string().contains("another run"));
        let [one, two, three] = keys(&journal);
        journal.ending(&[one, two, three], &[]).unwrap();
        journal.accepted(one).unwrap();
        journal.not_accepted(two).unwrap();
        drop(journal);
        // A power failure in the middle of a line.
        append(&path, "taken 00112233");
        for _ in 0..2 {
            let journal = Journal::open(&path).unwrap();
            assert_eq!(keys(&journal), [one, two, three]);
            let known = [one, two, three].map(|key| journal.known(key));
            assert_eq!(known, [Some(Known::Accepted), None, Some(Known::Uncertain)]);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("secret") && !text.contains("one"), "{text}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = Journal::open(&folder.path().join("other")).unwrap();
        assert_ne!(keys(&other)[0], one, "two journals have the same keys");
    }

    #[test]
    fn announced_messages_are_uncertain_only_after_a_restart_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path).unwrap();
        let [one, two, three] = [b"1", b"2", b"3"].map(|field| journal.key(&[field]));
        journal.ending(&[one], &[two, three]).unwrap();
        journal.accepted(one).unwrap();
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
            assert_eq!(known(&path), [Some(Known::Accepted), Some(Known::Uncertain), None]);
            assert_eq!(
                known(&other),
                [Some(Known::Accepted), Some(Known::Uncertain), Some(Known::Uncertain)]
            );
        }
        // A file system may leave zeros where lines were not on disk yet.
        append(&path, "end 0011\0\0\0");
        assert_eq!(known(&path), [Some(Known::Accepted), Some(Known::Uncertain), None]);
    }

    #[test]
    fn closing_leaves_no_announced_messages() {
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
    fn a_journal_is_private_and_not_opened_through_a_link() {
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
    fn keys_depend_on_field_boundaries() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("j")).unwrap();
        assert_ne!(journal.key(&[b"ab", b"c"]), journal.key(&[b"a", b"bc"]));
    }

    #[test]
    fn leaves_a_file_that_is_not_a_journal_unchanged() {
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
