//! Messages: reading them in pages, copying, moving, and removing them.
//!
//! Knows that copies share their octets and frees those that nobody refers to any more.

use super::append::NewMessage;
use super::{Aftermath, MailboxRow};
use crate::content::Body;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::mime::{DERIVED_LIMIT, Envelope, Part, Scanner, Structure, record};
use crate::types::{Columns, ContentId, Copied, Expunge, InternalDate, MailboxId, Message, Page, UidSet};
use rusqlite::{Connection, OptionalExtension, Row};
use std::path::Path;

/// A page ends once what it holds takes so many bytes of memory, whatever is read: keywords, envelopes, structures,
/// bodies. The last message may exceed it.
const PAGE_LIMIT: usize = 512 * 1024;

/// The longest record of an envelope or a structure that is read. Earlier versions wrote longer ones: those messages
/// are scanned again.
const RECORD_LIMIT: usize = 4 * DERIVED_LIMIT;

/// What is read of a message at a time where it is scanned again, in bytes.
const SCAN_CHUNK: usize = 16 * 1024;

/// How many messages are read at a time to be copied.
const COPY_PAGE: usize = 1_000;

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
    directory: &Path,
    mailbox: MailboxId,
    uids: &UidSet,
    columns: Columns,
    limit: usize,
) -> Result<Page> {
    MailboxRow::load(tx, mailbox)?;
    let mut statement = tx.prepare_cached(&page_query(columns))?;
    let mut page = Page::default();
    let mut weight = 0;
    for range in uids.ranges() {
        let mut rows = statement.query((mailbox.0, range.start(), range.end()))?;
        while let Some(row) = rows.next()? {
            if page.messages.len() >= limit || weight >= PAGE_LIMIT {
                page.next = Some(row.get(0)?);
                return Ok(page);
            }
            let mut message = read_summary(row)?;
            weight += size_of::<Message>()
                + message.flags.keywords().iter().map(|keyword| keyword.len() + 32).sum::<usize>();
            if columns.envelope || columns.structure {
                read_records(tx, directory, row, columns, &mut message)?;
            }
            if columns.body {
                message.body = row.get(11)?;
            }
            weight += message.envelope.as_ref().map_or(0, Envelope::weight)
                + message.structure.as_ref().map_or(0, Part::weight)
                + message.body.as_ref().map_or(0, Vec::len);
            page.messages.push(message);
        }
    }
    Ok(page)
}

/// Reads the envelope and the structure of a row, as far as they are asked for.
fn read_records(
    tx: &Connection,
    directory: &Path,
    row: &Row<'_>,
    columns: Columns,
    message: &mut Message,
) -> Result<()> {
    let text = |at| row.get_ref(at).ok().and_then(|value| value.as_str().ok());
    let (envelope, structure) = (text(9), text(10));
    if [envelope, structure].into_iter().flatten().any(|record| record.len() > RECORD_LIMIT) {
        let body = open_content(tx, directory, message.content)?;
        let read = scan(&body)?;
        message.envelope = columns.envelope.then_some(read.envelope);
        message.structure = columns.structure.then_some(read.root);
        return Ok(());
    }
    if columns.envelope {
        message.envelope = Some(from_record(envelope, record::read_envelope)?);
    }
    if columns.structure {
        message.structure = Some(from_record(structure, record::read_part)?);
    }
    Ok(())
}

fn scan(body: &Body) -> Result<Structure> {
    let mut scanner = Scanner::new();
    let mut buffer = vec![0; SCAN_CHUNK];
    let mut offset = 0;
    loop {
        let length = body.read_at(offset, &mut buffer)?;
        if length == 0 {
            return Ok(scanner.finish());
        }
        scanner.push(buffer.get(..length).unwrap_or_default());
        offset += length as u64;
    }
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
    // The destination may be the source: what is copied now is not copied again.
    let mut rest = if from == to { uids.ending_before(destination.uid_next) } else { uids.clone() };
    while !rest.is_empty() {
        let page = fetch_page(tx, Path::new(""), from, &rest, Columns::summary(), COPY_PAGE)?;
        rest = page.next.map_or_else(UidSet::default, |next| rest.starting_at(next));
        for message in page.messages {
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

/// Reads a record, or the JSON of an earlier version.
fn from_record<T: serde::de::DeserializeOwned>(
    text: Option<&str>,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T> {
    let found = text.and_then(|text| match text.starts_with('{') {
        true => serde_json::from_str(text).ok(),
        false => read(text),
    });
    found.ok_or(Error::Corrupt("the summary of a message"))
}
