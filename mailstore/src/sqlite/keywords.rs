//! The keywords of a mailbox: each has a number, and a message keeps one bit for each.
//!
//! Ninety long keywords on a message are twelve bytes in its row, not twenty kilobytes. A number is never used again
//! while the mailbox exists, so a session that knows the keywords up to a number knows when a new one appears.

use crate::error::{Error, Result};
use crate::flags::{Flags, KEYWORD_COUNT_LIMIT, MAILBOX_KEYWORD_BYTES_LIMIT, MAILBOX_KEYWORD_LIMIT};
use crate::types::{KeywordsInUse, MailboxId};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One bit for each keyword, the lowest bit of the first byte for number 1. No zero bytes at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u8>);

impl Bits {
    /// The bits in a column.
    pub(super) fn from_column(column: Option<&[u8]>) -> Self {
        Self(column.map(<[u8]>::to_vec).unwrap_or_default())
    }

    /// The value of the column.
    pub(super) fn column(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then_some(self.0.as_slice())
    }

    /// All keywords of both.
    ///
    /// # Errors
    /// `Limit` where a message would have too many.
    pub(super) fn with(&self, other: &Self) -> Result<Self> {
        let mut bits = self.clone();
        bits.0.resize(self.0.len().max(other.0.len()), 0);
        bits.0.iter_mut().zip(&other.0).for_each(|(byte, more)| *byte |= more);
        let count: u32 = bits.0.iter().map(|byte| byte.count_ones()).sum();
        if count as usize > KEYWORD_COUNT_LIMIT {
            return Err(Error::Limit("the number of keywords of a message"));
        }
        Ok(bits)
    }

    /// The keywords of this that are not of the other.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut bits = self.clone();
        bits.0.iter_mut().zip(&other.0).for_each(|(byte, less)| *byte &= !less);
        let len = bits.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bits.0.truncate(len);
        bits
    }

    fn set(&mut self, number: u32) {
        let index = number.saturating_sub(1) as usize;
        if self.0.len() <= index / 8 {
            self.0.resize(index / 8 + 1, 0);
        }
        if let Some(byte) = self.0.get_mut(index / 8) {
            *byte |= 1 << (index % 8);
        }
    }

    fn numbers(bits: &[u8]) -> impl Iterator<Item = u32> {
        bits.iter().zip(0_u32..).flat_map(|(byte, index)| {
            (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| index * 8 + bit + 1)
        })
    }
}

type List = Arc<[Arc<str>]>;

/// The keywords of one mailbox, read when they are first needed.
#[derive(Debug, Default)]
pub(super) struct Keywords {
    names: Option<Names>,
    /// The last that were read and written: most messages of a mailbox have the same.
    read: Option<(Vec<u8>, List, u32)>,
    written: Option<(List, Bits)>,
}

#[derive(Debug, Default)]
struct Names {
    /// Number 1 first.
    by_number: Vec<Arc<str>>,
    /// By the name in lower case.
    numbers: BTreeMap<String, u32>,
    /// The length of all names.
    bytes: usize,
}

impl Names {
    fn load(tx: &Connection, mailbox: MailboxId) -> Result<Self> {
        let mut statement =
            tx.prepare_cached("SELECT name FROM mailbox_keywords WHERE mailbox = ?1 ORDER BY number")?;
        let mut rows = statement.query([mailbox.0])?;
        let mut names = Self::default();
        while let Some(row) = rows.next()? {
            names.push(Arc::from(row.get_ref(0)?.as_str().map_err(|_| Error::Corrupt("the database"))?));
        }
        Ok(names)
    }

    /// Whether a name that is new has room.
    fn has_room(&self, name: &str) -> bool {
        self.by_number.len() < MAILBOX_KEYWORD_LIMIT && self.bytes + name.len() <= MAILBOX_KEYWORD_BYTES_LIMIT
    }

    /// The number of a name that is new.
    fn push(&mut self, name: Arc<str>) -> u32 {
        let number = u32::try_from(self.by_number.len() + 1).unwrap_or(u32::MAX);
        self.bytes += name.len();
        self.numbers.insert(name.to_ascii_lowercase(), number);
        self.by_number.push(name);
        number
    }
}

impl Keywords {
    fn names(&mut self, tx: &Connection, mailbox: MailboxId) -> Result<&mut Names> {
        let names = match self.names.take() {
            Some(names) => names,
            None => Names::load(tx, mailbox)?,
        };
        Ok(self.names.insert(names))
    }

    /// The flags of a message, from its columns.
    pub(super) fn flags(
        &mut self,
        tx: &Connection,
        mailbox: MailboxId,
        system: u8,
        column: Option<&[u8]>,
    ) -> Result<Flags> {
        let Some(bits) = column else { return Ok(Flags::system(system)) };
        if let Some((known, list, newest)) = &self.read
            && known == bits
        {
            return Ok(Flags::stored(system, Arc::clone(list), *newest));
        }
        let names = &self.names(tx, mailbox)?.by_number;
        let mut newest = 0;
        let list: List = Bits::numbers(bits)
            .map(|number| {
                newest = number;
                names.get(number as usize - 1).cloned().ok_or(Error::Corrupt("the keywords of a mailbox"))
            })
            .collect::<Result<_>>()?;
        self.read = Some((bits.to_vec(), Arc::clone(&list), newest));
        Ok(Flags::stored(system, list, newest))
    }

    /// The bits of these flags' keywords. Those that are new to the mailbox get numbers.
    ///
    /// # Errors
    /// `Limit` where the mailbox has too many.
    pub(super) fn bits(&mut self, tx: &Connection, mailbox: MailboxId, flags: &Flags) -> Result<Bits> {
        let list = flags.shared_keywords();
        if let Some((known, bits)) = &self.written
            && Arc::ptr_eq(known, list)
        {
            return Ok(bits.clone());
        }
        let mut bits = Bits::default();
        for keyword in list.iter() {
            let names = self.names(tx, mailbox)?;
            let number = match names.numbers.get(&keyword.to_ascii_lowercase()) {
                Some(number) => *number,
                None if !names.has_room(keyword) => {
                    return Err(Error::Limit("the number of keywords of a mailbox"));
                }
                None => {
                    let number = names.push(Arc::clone(keyword));
                    tx.prepare_cached(
                        "INSERT INTO mailbox_keywords (mailbox, number, name) VALUES (?1, ?2, ?3)",
                    )?
                    .execute((mailbox.0, number, &**keyword))?;
                    number
                }
            };
            bits.set(number);
        }
        self.written = Some((Arc::clone(list), bits.clone()));
        Ok(bits)
    }

    /// Whether the mailbox may have these flags' keywords: `limit` of them in all.
    ///
    /// # Errors
    /// `OverQuota`, and `Limit` beyond what any mailbox may have.
    pub(super) fn check(
        &mut self,
        tx: &Connection,
        mailbox: MailboxId,
        flags: &Flags,
        limit: u64,
    ) -> Result<()> {
        let list = flags.shared_keywords();
        if list.is_empty() || self.written.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, list)) {
            return Ok(());
        }
        let names = self.names(tx, mailbox)?;
        let new = list.iter().filter(|keyword| !names.numbers.contains_key(&keyword.to_ascii_lowercase()));
        let (new, bytes) = new.fold((0, names.bytes), |(new, bytes), name| (new + 1, bytes + name.len()));
        let known = names.by_number.len();
        if new > 0 && (known + new > MAILBOX_KEYWORD_LIMIT || bytes > MAILBOX_KEYWORD_BYTES_LIMIT) {
            return Err(Error::Limit("the number of keywords of a mailbox"));
        }
        if new > 0 && u64::try_from(known + new).unwrap_or(u64::MAX) > limit {
            return Err(Error::OverQuota { what: "the number of the mailbox's keywords", permanent: false });
        }
        Ok(())
    }

    /// The bits of these flags' keywords, as far as the mailbox has them.
    pub(super) fn known_bits(&mut self, tx: &Connection, mailbox: MailboxId, flags: &Flags) -> Result<Bits> {
        let mut bits = Bits::default();
        for keyword in flags.keywords() {
            let names = self.names(tx, mailbox)?;
            if let Some(number) = names.numbers.get(&keyword.to_ascii_lowercase()) {
                bits.set(*number);
            }
        }
        Ok(bits)
    }
}

/// All keywords that were used in a mailbox, which may have `limit` of them.
pub(super) fn in_use(tx: &Connection, mailbox: MailboxId, limit: u64) -> Result<KeywordsInUse> {
    let Names { by_number: names, bytes, .. } = Names::load(tx, mailbox)?;
    let newest = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let full = names.len() >= MAILBOX_KEYWORD_LIMIT
        || bytes >= MAILBOX_KEYWORD_BYTES_LIMIT
        || u64::from(newest) >= limit;
    Ok(KeywordsInUse { newest, names, full })
}

/// Turns keywords that stand as text in each row, as version 2 kept them, into bits.
pub(super) fn migrate(tx: &Connection) -> Result<()> {
    let mut statement = tx.prepare(
        "SELECT DISTINCT mailbox, keywords FROM messages WHERE keywords IS NOT NULL ORDER BY mailbox",
    )?;
    let mut update =
        tx.prepare("UPDATE messages SET keyword_bits = ?3 WHERE mailbox = ?1 AND keywords = ?2")?;
    let mut rows = statement.query([])?;
    let (mut current, mut keywords) = (MailboxId(0), Keywords::default());
    let mut found: Vec<(MailboxId, String)> = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((MailboxId(row.get(0)?), row.get(1)?));
    }
    for (mailbox, text) in found {
        if mailbox != current {
            (current, keywords) = (mailbox, Keywords::default());
        }
        let bits = keywords.bits(tx, mailbox, &Flags::parse(text.split(' '))?)?;
        update.execute((mailbox.0, &text, bits.column()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_added_and_removed() {
        let of = |numbers: &[u32]| {
            let mut bits = Bits::default();
            numbers.iter().for_each(|number| bits.set(*number));
            bits
        };
        let bits = of(&[1, 9, 100]);
        assert_eq!(Bits::numbers(&bits.0).collect::<Vec<_>>(), [1, 9, 100]);
        assert_eq!(bits.without(&of(&[100, 3])), of(&[1, 9]));
        assert_eq!(bits.with(&of(&[2])).unwrap(), of(&[1, 2, 9, 100]));
        assert_eq!(bits.without(&bits).column(), None);
        let many: Vec<u32> = (1..=100).collect();
        assert!(matches!(of(&many).with(&of(&[101])), Err(Error::Limit(_))));
    }
}
