//! The keywords of a mailbox. Each has a number, and a message stores one bit for each.
//!
//! Ninety long keywords of a message take twelve bytes in its row instead of twenty kilobytes. A number is never
//! reused while the mailbox exists, so a session that knows the keywords up to a number recognizes a new one.

use crate::error::{Error, Result};
use crate::flags::{Flags, KEYWORD_COUNT_LIMIT};
use crate::keyword_table::KeywordTable;
use crate::types::{KeywordsInUse, MailboxId};
use rusqlite::Connection;
use std::sync::Arc;

/// One bit per keyword: number 1 is the lowest bit of the first byte. Has no trailing zero bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u8>);

impl Bits {
    /// Reads the bits from a column.
    pub(super) fn from_column(column: Option<&[u8]>) -> Self {
        Self(column.map(<[u8]>::to_vec).unwrap_or_default())
    }

    /// Returns the value for the column.
    pub(super) fn column(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then_some(self.0.as_slice())
    }

    /// Returns the keywords of both sets.
    ///
    /// # Errors
    /// `Limit` if a message would have more than [`KEYWORD_COUNT_LIMIT`] keywords.
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

    /// Returns the keywords of this set that the other one lacks.
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

/// The keywords of one mailbox, loaded when they are first needed.
#[derive(Debug, Default)]
pub(super) struct Keywords {
    names: Option<KeywordTable>,
    /// The keywords that were read and written last: most messages of a mailbox have the same ones.
    last_read: Option<(Vec<u8>, List, u32)>,
    last_written: Option<(List, Bits)>,
}

fn load(tx: &Connection, mailbox: MailboxId) -> Result<KeywordTable> {
    let mut statement =
        tx.prepare_cached("SELECT name FROM mailbox_keywords WHERE mailbox = ?1 ORDER BY number")?;
    let mut rows = statement.query([mailbox.0])?;
    let mut table = KeywordTable::default();
    while let Some(row) = rows.next()? {
        table.push(Arc::from(row.get_ref(0)?.as_str().map_err(|_| Error::Corrupt("the database"))?));
    }
    Ok(table)
}

impl Keywords {
    fn names(&mut self, tx: &Connection, mailbox: MailboxId) -> Result<&mut KeywordTable> {
        let names = match self.names.take() {
            Some(names) => names,
            None => load(tx, mailbox)?,
        };
        Ok(self.names.insert(names))
    }

    /// Returns the flags of a message from its columns.
    pub(super) fn flags(
        &mut self,
        tx: &Connection,
        mailbox: MailboxId,
        system: u8,
        column: Option<&[u8]>,
    ) -> Result<Flags> {
        let Some(bits) = column else { return Ok(Flags::system(system)) };
        if let Some((known, list, newest)) = &self.last_read
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
        self.last_read = Some((bits.to_vec(), Arc::clone(&list), newest));
        Ok(Flags::stored(system, list, newest))
    }

    /// Returns the bits of the keywords of these flags. New keywords get numbers.
    ///
    /// # Errors
    /// `Limit` if the mailbox would have too many keywords.
    pub(super) fn bits(&mut self, tx: &Connection, mailbox: MailboxId, flags: &Flags) -> Result<Bits> {
        let list = flags.shared_keywords();
        if let Some((known, bits)) = &self.last_written
            && Arc::ptr_eq(known, list)
        {
            return Ok(bits.clone());
        }
        let mut bits = Bits::default();
        for keyword in list.iter() {
            let names = self.names(tx, mailbox)?;
            let number = match names.number(keyword) {
                Some(number) => number,
                None => {
                    let number = names.add(keyword)?;
                    tx.prepare_cached(
                        "INSERT INTO mailbox_keywords (mailbox, number, name) VALUES (?1, ?2, ?3)",
                    )?
                    .execute((mailbox.0, number, &**keyword))?;
                    number
                }
            };
            bits.set(number);
        }
        self.last_written = Some((Arc::clone(list), bits.clone()));
        Ok(bits)
    }

    /// Checks whether the mailbox may have the keywords of these flags: `limit` keywords in all.
    ///
    /// # Errors
    /// `OverQuota` over `limit`; `Limit` over the limits of any mailbox.
    pub(super) fn check(
        &mut self,
        tx: &Connection,
        mailbox: MailboxId,
        flags: &Flags,
        limit: u64,
    ) -> Result<()> {
        let list = flags.shared_keywords();
        if list.is_empty() || self.last_written.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, list)) {
            return Ok(());
        }
        self.names(tx, mailbox)?.check(list, limit)
    }

    /// Returns the bits of those keywords that the mailbox already has.
    pub(super) fn known_bits(&mut self, tx: &Connection, mailbox: MailboxId, flags: &Flags) -> Result<Bits> {
        let mut bits = Bits::default();
        for keyword in flags.keywords() {
            let names = self.names(tx, mailbox)?;
            if let Some(number) = names.number(keyword) {
                bits.set(number);
            }
        }
        Ok(bits)
    }
}

/// Returns the keywords ever used in a mailbox that may have `limit` of them.
pub(super) fn in_use(tx: &Connection, mailbox: MailboxId, limit: u64) -> Result<KeywordsInUse> {
    Ok(load(tx, mailbox)?.in_use(limit))
}

/// Converts keywords that version 2 stored as text in each row to bits.
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
    fn adds_and_removes_keyword_bits() {
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
