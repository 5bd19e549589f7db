//! The bytes of messages: uploads of new messages, and bodies of stored ones.
//!
//! An upload spools a message of any size in bounded memory, and scans its structure while it arrives. Up to
//! [`SMALL_LIMIT`] bytes stay in memory; a larger message becomes a file with a random name. The file is never
//! renamed: it belongs to a message once a database row names it, and the next start deletes files that no row names.

use crate::error::{Error, Result};
use crate::memory::{BudgetedBytes, MemoryBudget};
use crate::upload_owner::StoreId;
use mailmime::{Scanner, Structure, StructureRecord};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest message, in bytes, that is stored in the database instead of a file of its own.
pub const SMALL_LIMIT: usize = 64 * 1024;

/// The bytes read at a time when a message is read as a whole.
const READ_CHUNK: usize = 16 * 1024;

/// A message that is being uploaded. If it is dropped before it is appended, its file is deleted.
///
/// It belongs to the store whose [`upload`](crate::Store::upload) began it. The stores of this crate refuse an upload of
/// another store.
pub struct Upload {
    /// Where a large message becomes a file.
    directory: PathBuf,
    size: u64,
    spool: Spool,
    scanner: Scanner,
    /// What was derived from the message, once it is complete.
    record: Option<StructureRecord>,
    /// The store that began it. `None` if it was created directly.
    owner: Option<StoreId>,
}

/// Where the bytes of an upload are.
pub(crate) enum Spool {
    Memory(Vec<u8>),
    /// A message of any size, whose memory counts for a store's limit.
    Budgeted(BudgetedBytes),
    File(SpoolFile),
}

/// The file of a large message. It is deleted on drop, unless a row names it.
pub(crate) struct SpoolFile {
    /// The open file; `None` once it is synced and closed.
    file: Option<File>,
    pub(crate) path: PathBuf,
    pub(crate) kept: bool,
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if !self.kept {
            // No row refers to the file. If this fails, the next start deletes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Upload {
    /// Creates an upload that spools to files in `directory`. For implementations of [`Store`](crate::Store).
    pub fn new(directory: &Path) -> Self {
        Self::with(directory.to_owned(), Spool::Memory(Vec::new()))
    }

    /// Creates an upload that keeps all bytes in memory.
    pub(crate) fn in_memory(bytes: BudgetedBytes) -> Self {
        Self::with(PathBuf::new(), Spool::Budgeted(bytes))
    }

    fn with(directory: PathBuf, spool: Spool) -> Self {
        Self { directory, size: 0, spool, scanner: Scanner::default(), record: None, owner: None }
    }

    /// Marks it as an upload of this store, which takes no other.
    pub(crate) fn of(self, owner: StoreId) -> Self {
        Self { owner: Some(owner), ..self }
    }

    pub(crate) fn is_of(&self, store: StoreId) -> bool {
        self.owner == Some(store)
    }

    /// Appends the next bytes of the message.
    ///
    /// # Errors
    /// `Full`, `Unavailable` or `Io`. The upload can't be used after an error.
    pub fn write(&mut self, chunk: &[u8]) -> Result<()> {
        match &mut self.spool {
            Spool::File(spool) => spool.open()?.write_all(chunk)?,
            Spool::Budgeted(bytes) => bytes.extend(chunk)?,
            Spool::Memory(bytes) => {
                let length = bytes.len() + chunk.len();
                if length <= SMALL_LIMIT {
                    if length > bytes.capacity() {
                        // At most double, and never more than a small message needs.
                        let wanted = (2 * bytes.capacity()).clamp(length, SMALL_LIMIT);
                        bytes.reserve_exact(wanted - bytes.len());
                    }
                    bytes.extend_from_slice(chunk);
                } else {
                    let bytes = std::mem::take(bytes);
                    let mut spool = SpoolFile::create(&self.directory)?;
                    let file = spool.open()?;
                    file.write_all(&bytes)?;
                    file.write_all(chunk)?;
                    self.spool = Spool::File(spool);
                }
            }
        }
        self.size += chunk.len() as u64;
        self.scanner.push(chunk);
        Ok(())
    }

    /// Returns the number of bytes written.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Declares that the message is complete, and derives its structure from it. Returns the bytes of memory that the
    /// upload takes until it is appended; those of a store in memory are counted by the store instead. No byte may be
    /// written afterwards.
    pub fn complete(&mut self) -> usize {
        let scanner = &mut self.scanner;
        let record = self.record.get_or_insert_with(|| std::mem::take(scanner).finish_record());
        let bytes = match &self.spool {
            Spool::Memory(bytes) => bytes.capacity(),
            Spool::Budgeted(_) | Spool::File(_) => 0,
        };
        bytes + record.envelope.capacity() + record.root.capacity()
    }

    /// Moves the bytes to a file that is synced and closed, so that the upload takes neither much memory nor a file
    /// descriptor while it waits. Does nothing in a store in memory.
    ///
    /// # Errors
    /// `Full`, `Unavailable` or `Io`. The upload can't be used after an error.
    pub fn park(&mut self) -> Result<()> {
        if let Spool::Memory(bytes) = &mut self.spool {
            let bytes = std::mem::take(bytes);
            let mut spool = SpoolFile::create(&self.directory)?;
            spool.open()?.write_all(&bytes)?;
            self.spool = Spool::File(spool);
        }
        match &mut self.spool {
            Spool::File(spool) => spool.sync(),
            Spool::Memory(_) | Spool::Budgeted(_) => Ok(()),
        }
    }

    /// Reads the whole upload back in chunks.
    ///
    /// # Errors
    /// `Io`.
    pub fn for_each_chunk(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        match &mut self.spool {
            Spool::Memory(bytes) => each(bytes),
            Spool::Budgeted(bytes) => each(bytes.as_ref()),
            Spool::File(spool) => {
                let file = spool.open()?;
                file.seek(SeekFrom::Start(0))?;
                let mut buffer = vec![0; READ_CHUNK];
                loop {
                    let length = file.read(&mut buffer)?;
                    if length == 0 {
                        break;
                    }
                    each(buffer.get(..length).unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// Returns the whole message in memory. For implementations of [`Storage`](crate::Storage) that keep it there; read
    /// a message of any size with [`for_each_chunk`](Self::for_each_chunk).
    ///
    /// # Errors
    /// `Io`.
    pub fn into_bytes(mut self) -> Result<Vec<u8>> {
        if let Spool::Memory(bytes) = self.spool {
            return Ok(bytes);
        }
        let mut all = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default());
        self.for_each_chunk(|chunk| all.extend_from_slice(chunk))?;
        Ok(all)
    }

    /// Returns the bytes of an upload that counts for this budget, or another upload as it is.
    pub(crate) fn into_budgeted(
        self,
        budget: &MemoryBudget,
    ) -> std::result::Result<BudgetedBytes, Box<Self>> {
        match self.spool {
            Spool::Budgeted(bytes) if bytes.counts_for(budget) => Ok(bytes),
            _ => Err(Box::new(self)),
        }
    }

    /// Returns what was derived from the message, once.
    pub(crate) fn take_record(&mut self) -> StructureRecord {
        self.complete();
        self.record.take().unwrap_or_default()
    }

    /// Ends the upload and returns its parts: the number of bytes, what was derived from them, and the bytes.
    #[cfg(feature = "sqlite")]
    pub(crate) fn into_parts(mut self) -> (u64, StructureRecord, Spool) {
        (self.size, self.take_record(), self.spool)
    }
}

impl SpoolFile {
    fn create(directory: &Path) -> Result<Self> {
        let path = directory.join(random_name()?);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file: Some(file), path, kept: false })
    }

    /// Returns the file, and opens it again at its end if it was closed.
    fn open(&mut self) -> Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().read(true).append(true).open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }

    /// Syncs the bytes and closes the file.
    pub(crate) fn sync(&mut self) -> Result<()> {
        // A closed file is synced.
        self.file.take().map_or(Ok(()), |file| Ok(file.sync_all()?))
    }
}

/// The bytes of a stored message, open for reading. It stays readable after the message is expunged.
pub struct Body {
    size: u64,
    source: BodySource,
}

enum BodySource {
    Memory(Vec<u8>),
    Shared(Arc<dyn AsRef<[u8]> + Send + Sync>),
    File(File),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Body {
    /// Creates a body from bytes in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { size: bytes.len() as u64, source: BodySource::Memory(bytes) }
    }

    /// Creates a body from bytes that are shared with the store. They must never change.
    pub fn from_shared(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        Self { size: (*bytes).as_ref().len() as u64, source: BodySource::Shared(bytes) }
    }

    /// Creates a body from an open file, whose first `size` bytes are the message. They must never change.
    pub fn from_file(file: File, size: u64) -> Self {
        Self { size, source: BodySource::File(file) }
    }

    /// Returns the number of bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns all bytes if they are in memory, and `None` if they are in a file.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.source {
            BodySource::Memory(bytes) => Some(bytes),
            BodySource::Shared(bytes) => Some((**bytes).as_ref()),
            BodySource::File(_) => None,
        }
    }

    /// Reads bytes from `offset` into `into` and returns their number, which is less than `into.len()` only at the end
    /// of the message.
    ///
    /// # Errors
    /// `Io`.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = into.len().min(left);
        let Some(into) = into.get_mut(..length) else { return Ok(0) };
        match self.as_bytes() {
            Some(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                if let Some(from) = bytes.get(start..start.saturating_add(length)) {
                    into.copy_from_slice(from);
                }
            }
            None => {
                if let BodySource::File(file) = &self.source {
                    file.read_exact_at(into, offset)?;
                }
            }
        }
        Ok(length)
    }

    /// Returns at most `length` bytes from `offset` on.
    ///
    /// # Errors
    /// `Io`.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(left)];
        let read = self.read_at(offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

impl Body {
    /// Derives the structure of the message, in constant memory.
    pub(crate) fn scan(&self) -> Result<Structure> {
        self.scanner().map(Scanner::finish)
    }

    /// Derives the records of the message, in constant memory.
    pub(crate) fn record(&self) -> Result<StructureRecord> {
        self.scanner().map(Scanner::finish_record)
    }

    fn scanner(&self) -> Result<Scanner> {
        let mut scanner = Scanner::default();
        let mut buffer = vec![0; READ_CHUNK];
        let mut offset = 0;
        loop {
            let length = self.read_at(offset, &mut buffer)?;
            if length == 0 {
                return Ok(scanner);
            }
            scanner.push(buffer.get(..length).unwrap_or_default());
            offset += length as u64;
        }
    }
}

fn random_name() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| Error::Crypto)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
