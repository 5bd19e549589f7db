//! Messages: reading them in pages, copying, moving, and removing them.
//!
//! Knows that copies share their octets and frees those that nobody refers to any more.

use super::append::NewMessage;
use super::{Aftermath, MailboxRow};
use crate::content::Body;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::types::{Columns, ContentId, Copied, Expunge, InternalDate, MailboxId, Message, Page, UidSet};
use rusqlite::{Connection, OptionalExtension, Row};
use std::path::Path;

/// A page with small bodies ends once it holds so many octets of them.
const PAGE_BODY_LIMIT: usize = 1024 * 1024;

const SUMMARY: &str =
    "m.uid, m.modseq, m.flags, m.keywords, m.seconds, m.offset_minutes, m.sent, m.size, m.content";

pub(super) fn uids(tx: &Connection, mailbox: MailboxId) -> Result<Vec<u32>> {
    MailboxRow::load(tx, mailbox)?;
    let mut statement = tx.prepare_cached("SELECT uid FROM messages WHERE mailbox = ?1 ORDER BY uid")?;
    let rows = statement.query_map([mailbox.0], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn fetch_page(
    tx: &Connection,
    mailbox: MailboxId,
    uids: &UidSet,
    columns: Columns,
    limit: usize,
) -> Result<Page> {
    MailboxRow::load(tx, mailbox)?;
    let mut statement = tx.prepare_cached(&page_query(columns))?;
    let mut page = Page::default();
    let mut octets = 0;
    for range in uids.ranges() {
        let mut rows = statement.query((mailbox.0, range.start(), range.end()))?;
        while let Some(row) = rows.next()? {
            if page.messages.len() >= limit || octets >= PAGE_BODY_LIMIT {
                page.next = Some(row.get(0)?);
                return Ok(page);
            }
            let mut message = read_summary(row)?;
            if columns.envelope {
                message.envelope = Some(from_json(row.get_ref(9)?.as_str().ok())?);
            }
            if columns.structure {
                message.structure = Some(from_json(row.get_ref(10)?.as_str().ok())?);
            }
            if columns.body {
                message.body = row.get(11)?;
                octets += message.body.as_ref().map_or(0, Vec::len);
            }
            page.messages.push(message);
        }
    }
    Ok(page)
}

pub(super) fn open_content(tx: &Connection, directory: &Path, content: ContentId) -> Result<Body> {
    let mut statement = tx.prepare_cached("SELECT size, file, body FROM contents WHERE id = ?1")?;
    let found = statement
        .query_row([content.0], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
        })
        .optional()?;
    match found.ok_or(Error::NotFound("message content"))? {
        (size, Some(file), _) => Body::from_file(&directory.join(file), size),
        (_, None, Some(octets)) => Ok(Body::from_octets(octets)),
        (_, None, None) => Err(Error::Corrupt("a message")),
    }
}

pub(super) fn copy(
    tx: &Connection,
    aftermath: &mut Aftermath,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
) -> Result<Copied> {
    MailboxRow::load(tx, from)?;
    let mut destination = MailboxRow::load(tx, to)?;
    let mut pairs = Vec::new();
    destination.modseq += 1;
    // Read first: the destination may be the source.
    for message in summaries(tx, from, uids)? {
        let uid = destination.take_uid()?;
        let copy = NewMessage {
            uid,
            flags: &message.flags,
            internal_date: message.internal_date,
            sent: message.sent_date,
            size: message.size,
            content: message.content,
        };
        copy.insert(tx, &destination)?;
        pairs.push((message.uid, uid));
    }
    if !pairs.is_empty() {
        destination.save(tx, aftermath)?;
    }
    Ok(Copied { uid_validity: destination.uid_validity, pairs })
}

pub(super) fn relocate(
    tx: &Connection,
    aftermath: &mut Aftermath,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
) -> Result<Copied> {
    let copied = copy(tx, aftermath, from, uids, to)?;
    let moved: UidSet = copied.pairs.iter().map(|(uid, _)| *uid).collect();
    expunge(tx, aftermath, from, &Expunge::Exactly(moved))?;
    Ok(copied)
}

pub(super) fn expunge(
    tx: &Connection,
    aftermath: &mut Aftermath,
    mailbox: MailboxId,
    which: &Expunge,
) -> Result<Vec<u32>> {
    let mut row = MailboxRow::load(tx, mailbox)?;
    let everything = UidSet::all();
    let (uids, bits) = match which {
        Expunge::Deleted => (&everything, Flags::DELETED),
        Expunge::DeletedAmong(uids) => (uids, Flags::DELETED),
        Expunge::Exactly(uids) => (uids, 0),
    };
    let doomed = doomed(tx, mailbox, uids, bits)?;
    if doomed.is_empty() {
        return Ok(Vec::new());
    }
    row.modseq += 1;
    let mut note =
        tx.prepare_cached("INSERT INTO expunged (mailbox, uid, modseq, created) VALUES (?1, ?2, ?3, ?4)")?;
    let mut delete = tx.prepare_cached("DELETE FROM messages WHERE mailbox = ?1 AND uid = ?2")?;
    for message in &doomed {
        note.execute((mailbox.0, message.uid, row.modseq, message.created))?;
        delete.execute((mailbox.0, message.uid))?;
        free_content(tx, aftermath, message.content)?;
    }
    row.save(tx, aftermath)?;
    Ok(doomed.into_iter().map(|message| message.uid).collect())
}

/// Frees octets that no message refers to.
fn free_content(tx: &Connection, aftermath: &mut Aftermath, content: i64) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "DELETE FROM contents WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM messages WHERE content = ?1) RETURNING file",
    )?;
    let freed: Option<Option<String>> = statement.query_row([content], |row| row.get(0)).optional()?;
    aftermath.freed_files.extend(freed.flatten());
    Ok(())
}

struct Doomed {
    uid: u32,
    created: u64,
    content: i64,
}

fn doomed(tx: &Connection, mailbox: MailboxId, uids: &UidSet, bits: u8) -> Result<Vec<Doomed>> {
    let mut statement = tx.prepare_cached(
        "SELECT uid, created, content FROM messages
         WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 AND flags & ?4 = ?4 ORDER BY uid",
    )?;
    let mut doomed = Vec::new();
    for range in uids.ranges() {
        let rows = statement.query_map((mailbox.0, range.start(), range.end(), bits), |row| {
            Ok(Doomed { uid: row.get(0)?, created: row.get(1)?, content: row.get(2)? })
        })?;
        for row in rows {
            doomed.push(row?);
        }
    }
    Ok(doomed)
}

fn summaries(tx: &Connection, mailbox: MailboxId, uids: &UidSet) -> Result<Vec<Message>> {
    Ok(fetch_page(tx, mailbox, uids, Columns::summary(), usize::MAX)?.messages)
}

/// Columns that were not asked for are NULL, so that their numbers stay the same.
fn page_query(columns: Columns) -> String {
    let pick = |wanted: bool, column: &'static str| if wanted { column } else { "NULL" };
    let join = match columns == Columns::summary() {
        true => "",
        false => "JOIN contents c ON c.id = m.content",
    };
    format!(
        "SELECT {SUMMARY}, {}, {}, {} FROM messages m {join}
         WHERE m.mailbox = ?1 AND m.uid BETWEEN ?2 AND ?3 ORDER BY m.uid",
        pick(columns.envelope, "c.envelope"),
        pick(columns.structure, "c.structure"),
        pick(columns.body, "c.body"),
    )
}

fn read_summary(row: &Row<'_>) -> rusqlite::Result<Message> {
    let keywords = row.get_ref(3)?;
    Ok(Message {
        uid: row.get(0)?,
        modseq: row.get(1)?,
        flags: Flags::from_columns(row.get(2)?, keywords.as_str_or_null()?),
        internal_date: InternalDate { seconds: row.get(4)?, offset_minutes: row.get(5)? },
        sent_date: row.get(6)?,
        size: row.get(7)?,
        content: ContentId(row.get(8)?),
        envelope: None,
        structure: None,
        body: None,
    })
}

fn from_json<T: serde::de::DeserializeOwned>(text: Option<&str>) -> Result<T> {
    let text = text.ok_or(Error::Corrupt("the summary of a message"))?;
    serde_json::from_str(text).map_err(|_| Error::Corrupt("the summary of a message"))
}
