//! The content of a message, and what is derived from it.

use super::storage::Storage;
use crate::error::{Error, Result};
use crate::types::ContentId;
use mailmime::{Envelope, Limits, Part, Structure, StructureRecord, decode};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The longest records of a message that the index keeps, in bytes. Longer ones are derived again when they are needed.
const KEPT_RECORDS: usize = 1024;

/// The content of a message. The messages of all mailboxes that share it share this value.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) id: ContentId,
    pub(crate) size: u64,
    /// The number of accounts that use it. Content that no account uses is freed.
    accounts: AtomicUsize,
    derived: OnceLock<Derived>,
}

#[derive(Debug)]
struct Derived {
    sent_date: Option<i64>,
    /// The records of the envelope and the structure, if they are short.
    records: Option<Box<StructureRecord>>,
}

impl Derived {
    fn new(record: &StructureRecord) -> Self {
        let short = record.envelope.len() + record.root.len() <= KEPT_RECORDS;
        Self {
            sent_date: record.date.as_deref().and_then(decode::date),
            records: short.then(|| Box::new(record.clone())),
        }
    }
}

impl Content {
    /// Creates the content of a message that is read when something derived from it is needed.
    pub(crate) fn new(id: ContentId, size: u64) -> Self {
        Self { id, size, accounts: AtomicUsize::new(0), derived: OnceLock::new() }
    }

    pub(crate) fn with_record(self, record: &StructureRecord) -> Self {
        Self { derived: OnceLock::from(Derived::new(record)), ..self }
    }

    /// An account begins to use the content. Accounts get it with a new message, or from each other while both are locked.
    pub(crate) fn begin_use(&self) {
        self.accounts.fetch_add(1, Ordering::AcqRel);
    }

    /// An account no longer uses the content. Returns whether it was the last one.
    pub(crate) fn end_use(&self) -> bool {
        self.accounts.fetch_sub(1, Ordering::AcqRel) == 1
    }

    fn derived(&self, storage: &impl Storage) -> Result<&Derived> {
        if let Some(derived) = self.derived.get() {
            return Ok(derived);
        }
        let derived = match storage.open(self.id).and_then(|body| body.record()) {
            Ok(record) => Derived::new(&record),
            Err(Error::NotFound(_) | Error::Corrupt(_)) => Derived { sent_date: None, records: None },
            Err(error) => return Err(error),
        };
        Ok(self.derived.get_or_init(|| derived))
    }

    /// Returns the time of the Date field, in seconds since 1970.
    pub(crate) fn sent_date(&self, storage: &impl Storage) -> Result<Option<i64>> {
        Ok(self.derived(storage)?.sent_date)
    }

    /// Returns the envelope and the tree of parts. Those of a message that was expunged meanwhile, or is damaged, are
    /// empty: the caller learns that when it reads the content.
    pub(crate) fn structure(&self, storage: &impl Storage) -> Result<(Envelope, Part)> {
        if let Some(records) = &self.derived(storage)?.records {
            let read = records.decode(&Limits::DEFAULT);
            let read = read.map_err(|_| Error::Corrupt("the structure of a message"))?;
            return Ok((read.envelope, read.root));
        }
        let structure = match storage.open(self.id).and_then(|body| body.scan()) {
            Err(Error::NotFound(_) | Error::Corrupt(_)) => Structure::parse(b""),
            read => read?,
        };
        Ok((structure.envelope, structure.root))
    }
}
