//! The keywords of a mailbox by their numbers. A mailbox numbers its keywords from 1 in the order of their first use, and
//! never uses a number again.

use crate::error::{Error, Result};
use crate::flags::{MAILBOX_KEYWORD_BYTES_LIMIT, MAILBOX_KEYWORD_LIMIT};
use crate::types::KeywordsInUse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The keywords that were ever used in one mailbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeywordTable {
    /// Number 1 first.
    pub(crate) by_number: Vec<Arc<str>>,
    /// The numbers by name, in lower case.
    numbers: BTreeMap<String, u32>,
    /// The bytes of all names together.
    bytes: usize,
}

impl KeywordTable {
    /// Returns whether the mailbox has room for a new name.
    fn has_room(&self, name: &str) -> bool {
        self.by_number.len() < MAILBOX_KEYWORD_LIMIT && self.bytes + name.len() <= MAILBOX_KEYWORD_BYTES_LIMIT
    }

    /// Returns the number of a keyword, in any case.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(&name.to_ascii_lowercase()).copied()
    }

    /// Adds a name that the table lacks, and returns its number.
    ///
    /// # Errors
    /// `Limit` if the mailbox would have too many keywords.
    pub(crate) fn add(&mut self, name: &Arc<str>) -> Result<u32> {
        if !self.has_room(name) {
            return Err(Error::Limit("the number of keywords of a mailbox"));
        }
        Ok(self.push(Arc::clone(name)))
    }

    /// Adds a name that was stored before, and returns its number.
    pub(crate) fn push(&mut self, name: Arc<str>) -> u32 {
        let number = u32::try_from(self.by_number.len() + 1).unwrap_or(u32::MAX);
        self.bytes += name.len();
        self.numbers.insert(name.to_ascii_lowercase(), number);
        self.by_number.push(name);
        number
    }

    /// Checks whether the mailbox may have these keywords too: `limit` keywords in all.
    ///
    /// # Errors
    /// `OverQuota` over `limit`; `Limit` over the limits of any mailbox.
    pub(crate) fn check(&self, list: &[Arc<str>], limit: u64) -> Result<()> {
        let new = list.iter().filter(|keyword| self.number(keyword).is_none());
        let (new, bytes) = new.fold((0, self.bytes), |(new, bytes), name| (new + 1, bytes + name.len()));
        let known = self.by_number.len();
        if new > 0 && (known + new > MAILBOX_KEYWORD_LIMIT || bytes > MAILBOX_KEYWORD_BYTES_LIMIT) {
            return Err(Error::Limit("the number of keywords of a mailbox"));
        }
        if new > 0 && u64::try_from(known + new).unwrap_or(u64::MAX) > limit {
            return Err(Error::OverQuota { what: "the number of the mailbox's keywords", permanent: false });
        }
        Ok(())
    }

    /// Returns the keywords of a mailbox that may have `limit` of them.
    pub(crate) fn in_use(self, limit: u64) -> KeywordsInUse {
        let newest = u32::try_from(self.by_number.len()).unwrap_or(u32::MAX);
        let full = self.by_number.len() >= MAILBOX_KEYWORD_LIMIT
            || self.bytes >= MAILBOX_KEYWORD_BYTES_LIMIT
            || u64::from(newest) >= limit;
        KeywordsInUse { newest, names: self.by_number, full }
    }
}
