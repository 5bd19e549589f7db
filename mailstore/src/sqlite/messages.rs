//! Reads messages in pages, copies, moves and removes them.
//!
//! Copies share their content. It is freed together with the last message that refers to it.

use super::after_commit::AfterCommit;
use super::files::open_body;
use super::json_record;
use super::mailbox_row::MailboxRow;
use super::new_message::NewMessage;
use super::quota;
use super::removals;
use crate::content::Body;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::limits::{PAGE_LIMIT, RANGE_LIMIT, ROWS_LIMIT, SCAN_LIMIT};
use crate::types::{
    Columns, ContentId, Copied, Expunge, Expunged, InternalDate, MailboxId, Message, Page, Quota, UidPage,
    UidSet,
};
use mailmime::{Envelope, InvalidRecord, Limits, Part, Structure};
use rusqlite::{Connection, OptionalExtension, Row};
use std::path::Path;

/// The longest record of an envelope or a structure that is read, in bytes. Earlier versions wrote longer ones; those
/// messages are scanned again.
const RECORD_LIMIT: usize = 128 * 1024;
const _: () = assert!(RECORD_LIMIT > Limits::DEFAULT.record, "a record that is written can be read");

/// The number of messages read at a time when copying.
const COPY_PAGE: usize = 1_000;

const SUMMARY: &str = "m.uid, m.modseq, m.flags, m.keyword_bits, m.seconds, m.offset_minutes, m.sent, m.size, m.content, m.saved";

/// Returns at most `limit` UIDs in `from..below`.
pub(super) fn uid_page(
    tx: &Connection,
    mailbox: MailboxId,
    from: u32,
    below: u32,
    limit: usize,
) -> Result<UidPage> {
    let limit = limit.clamp(1, ROWS_LIMIT);
    let mut statement = tx.prepare_cached(
        "SELECT uid, flags & 1 FROM messages WHERE mailbox = ?1 AND uid >= ?2 AND uid < ?3 ORDER BY uid LIMIT ?4",
    )?;
    let mut rows = statement.query((mailbox.0, from, below, limit))?;
    let mut page = UidPage::default();
    while let Some(row) = rows.next()? {
        let uid = row.get(0)?;
        if page.first_unseen.is_none() && row.get::<_, u8>(1)? == 0 {
            page.first_unseen = Some(uid);
        }
        page.uids.push(uid);
    }
    if page.uids.len() >= limit {
        page.next = page.uids.last().and_then(|last| last.checked_add(1));
    }
    Ok(page)
}

pub(super) fn fetch_page(
    tx: &Connection,
    directory: &Path,
    mailbox: MailboxId,
    uids: &UidSet,
    columns: Columns,
    limit: usize,
) -> Result<Page> {
    let mut mailbox = MailboxRow::load(tx, mailbox)?;
    let mut statement = tx.prepare_cached(&page_query(columns))?;
    let mut page = Page::default();
    let mut page_size = 0;
    for (index, range) in uids.ranges().iter().enumerate() {
        if index >= RANGE_LIMIT {
            page.next = Some(*range.start());
            break;
        }
        let mut rows = statement.query((mailbox.id.0, range.start(), range.end()))?;
        while let Some(row) = rows.next()? {
            if page.messages.len() >= limit || page_size >= PAGE_LIMIT {
                page.next = Some(row.get(0)?);
                return Ok(page);
            }
            let mut message = read_summary(tx, &mut mailbox, row)?;
            // Keywords are shared, so a message holds only references.
            page_size += size_of::<Message>() + message.flags.keywords().len() * 16;
            if columns.envelope || columns.structure {
                read_records(tx, directory, row, columns, &mut message)?;
            }
            if columns.body {
                message.body = row.get(12)?;
            }
            if columns.preview {
                message.preview = row.get(13)?;
            }
            page_size += message.envelope.as_ref().map_or(0, Envelope::memory_size)
                + message.structure.as_ref().map_or(0, Part::memory_size)
                + message.body.as_ref().map_or(0, Vec::len)
                + message.preview.as_ref().map_or(0, String::len);
            page.messages.push(message);
        }
    }
    Ok(page)
}

/// Reads the envelope and the structure of a row, if they were requested.
fn read_records(
    tx: &Connection,
    directory: &Path,
    row: &Row<'_>,
    columns: Columns,
    message: &mut Message,
) -> Result<()> {
    let text = |at| row.get_ref(at).ok().and_then(|value| value.as_str().ok());
    let (envelope, structure) = (text(10), text(11));
    if (columns.envelope && envelope.is_none()) || (columns.structure && structure.is_none()) {
        let read = match open_content(tx, directory, message.content) {
            Ok(body) => body.scan()?,
            // The message was expunged or is damaged. The caller learns that when it reads the content.
            Err(Error::NotFound(_) | Error::Corrupt(_)) => Structure::parse(b""),
            Err(error) => return Err(error),
        };
        message.envelope = columns.envelope.then_some(read.envelope);
        message.structure = columns.structure.then_some(read.root);
        return Ok(());
    }
    if columns.envelope {
        message.envelope = Some(read_record(envelope, Envelope::from_record, json_record::envelope)?);
    }
    if columns.structure {
        message.structure = Some(read_record(structure, Part::from_record, json_record::part)?);
    }
    Ok(())
}

/// Returns whether this content has a row.
pub(super) fn has_content(tx: &Connection, content: ContentId) -> Result<bool> {
    Ok(tx.prepare_cached("SELECT 1 FROM contents WHERE id = ?1")?.exists([content.0])?)
}

/// Keeps the previews of contents that exist.
pub(super) fn keep_previews(tx: &Connection, previews: &[(ContentId, String)]) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "INSERT OR IGNORE INTO previews (content, text) SELECT id, ?2 FROM contents WHERE id = ?1",
    )?;
    for (content, text) in previews {
        statement.execute((content.0, text))?;
    }
    Ok(())
}

pub(super) fn uids_of_content(tx: &Connection, mailbox: MailboxId, content: ContentId) -> Result<UidSet> {
    let text = "SELECT uid FROM messages INDEXED BY messages_content WHERE content = ?1 AND mailbox = ?2";
    let mut statement = tx.prepare_cached(text)?;
    let rows = statement.query_map((content.0, mailbox.0), |row| row.get::<_, u32>(0))?;
    Ok(rows.collect::<rusqlite::Result<Vec<u32>>>()?.into_iter().collect())
}

pub(super) fn open_content(tx: &Connection, directory: &Path, content: ContentId) -> Result<Body> {
    let mut statement = tx.prepare_cached("SELECT size, file, body FROM contents WHERE id = ?1")?;
    let found = statement
        .query_row([content.0], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
        })
        .optional()?;
    match found.ok_or(Error::NotFound("message content"))? {
        (size, Some(file), _) => open_body(&directory.join(file), size),
        (_, None, Some(bytes)) => Ok(Body::from_bytes(bytes)),
        (_, None, None) => Err(Error::Corrupt("a message")),
    }
}

pub(super) fn copy(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    limit: usize,
) -> Result<Copied> {
    let copied = copy_all(tx, after_commit, quota, from, uids, to, limit)?;
    if !copied.pairs.is_empty() {
        quota::check_after(tx, quota, MailboxRow::load(tx, to)?.account)?;
    }
    Ok(copied)
}

fn copy_all(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    limit: usize,
) -> Result<Copied> {
    let mut destination = MailboxRow::load(tx, to)?;
    let (mut pairs, mut next) = (Vec::new(), None);
    destination.modseq += 1;
    let saved = InternalDate::now().seconds;
    // If source and destination are the same mailbox, the new copies must not be copied again.
    let mut rest = if from == to { uids.ending_before(destination.uid_next) } else { uids.clone() };
    while !rest.is_empty() && pairs.len() < limit.max(1) {
        let most = (limit.max(1) - pairs.len()).min(COPY_PAGE);
        let page = fetch_page(tx, Path::new(""), from, &rest, Columns::summary(), most)?;
        next = page.next;
        rest = next.map_or_else(UidSet::default, |next| rest.starting_at(next));
        for message in page.messages {
            destination.keywords.check(tx, to, &message.flags, quota.keywords)?;
            let uid = destination.take_uid()?;
            let copy = NewMessage {
                uid,
                flags: &message.flags,
                internal_date: message.internal_date,
                sent: message.sent_date,
                saved,
                size: message.size,
                content: message.content,
            };
            copy.insert(tx, &mut destination)?;
            pairs.push((message.uid, uid));
        }
    }
    if !pairs.is_empty() {
        destination.save(tx, after_commit)?;
    }
    Ok(Copied { uid_validity: destination.uid_validity, pairs, next, unfinished: None })
}

pub(super) fn move_messages(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    quota: &Quota,
    from: MailboxId,
    uids: &UidSet,
    to: MailboxId,
    limit: usize,
) -> Result<Copied> {
    // A move adds nothing to the account, so it is allowed over quota.
    let copied = copy_all(tx, after_commit, quota, from, uids, to, limit)?;
    let moved: Vec<u32> = copied.pairs.iter().map(|(uid, _)| *uid).collect();
    remove(tx, after_commit, from, &moved, 0)?;
    Ok(copied)
}

/// Finds at most `limit` messages to remove, without changing anything. Also returns the flags that they must still
/// have when they are removed.
pub(super) fn find_to_delete(
    tx: &Connection,
    mailbox: MailboxId,
    which: &Expunge,
    limit: usize,
) -> Result<(Expunged, u8)> {
    MailboxRow::load(tx, mailbox)?;
    let everything = UidSet::all();
    let (uids, bits) = match which {
        Expunge::Deleted => (&everything, Flags::DELETED),
        Expunge::DeletedAmong(uids) => (uids, Flags::DELETED),
        Expunge::Exactly(uids) => (uids, 0),
    };
    let mut found = Expunged::default();
    if bits != 0 && !has_deleted(tx, mailbox)? {
        return Ok((found, bits));
    }
    let mut statement = tx.prepare_cached(
        "SELECT uid, flags & ?4 = ?4 FROM messages WHERE mailbox = ?1 AND uid BETWEEN ?2 AND ?3 ORDER BY uid",
    )?;
    let mut looked_at = 0;
    for range in uids.ranges() {
        let mut rows = statement.query((mailbox.0, range.start(), range.end(), bits))?;
        while let Some(row) = rows.next()? {
            if found.uids.len() >= limit.max(1) || looked_at >= SCAN_LIMIT {
                found.next = Some(row.get(0)?);
                return Ok((found, bits));
            }
            looked_at += 1;
            if row.get(1)? {
                found.uids.push(row.get(0)?);
            }
        }
    }
    Ok((found, bits))
}

fn has_deleted(tx: &Connection, mailbox: MailboxId) -> Result<bool> {
    Ok(tx.prepare_cached("SELECT 1 FROM mailboxes WHERE id = ?1 AND deleted > 0")?.exists([mailbox.0])?)
}

/// Removes those messages that exist and have the flags `bits`. Returns their UIDs.
pub(super) fn remove(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    mailbox: MailboxId,
    uids: &[u32],
    bits: u8,
) -> Result<Vec<u32>> {
    let mut row = MailboxRow::load(tx, mailbox)?;
    row.modseq += 1;
    let mut note =
        tx.prepare_cached("INSERT INTO expunged (mailbox, uid, modseq, created) VALUES (?1, ?2, ?3, ?4)")?;
    let mut delete = tx.prepare_cached(
        "DELETE FROM messages WHERE mailbox = ?1 AND uid = ?2 AND flags & ?3 = ?3 RETURNING created, content",
    )?;
    let mut removed = Vec::with_capacity(uids.len());
    for &uid in uids {
        let gone: Option<(u64, i64)> =
            delete.query_row((mailbox.0, uid, bits), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((created, content)) = gone else { continue };
        note.execute((mailbox.0, uid, row.modseq, created))?;
        free_content(tx, after_commit, content)?;
        removed.push(uid);
    }
    if !removed.is_empty() {
        removals::note(tx, mailbox, removed.len())?;
        row.save(tx, after_commit)?;
    }
    Ok(removed)
}

/// Removes at most `limit` messages of a deleted mailbox, and then the mailbox itself. Returns whether messages are
/// left.
pub(super) fn purge(
    tx: &Connection,
    after_commit: &mut AfterCommit,
    mailbox: MailboxId,
    limit: usize,
) -> Result<bool> {
    let mut statement = tx.prepare_cached(
        "DELETE FROM messages WHERE mailbox = ?1 AND uid IN
            (SELECT uid FROM messages WHERE mailbox = ?1 ORDER BY uid LIMIT ?2) RETURNING content",
    )?;
    let contents: Vec<i64> =
        statement.query_map((mailbox.0, limit), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for content in &contents {
        free_content(tx, after_commit, *content)?;
    }
    if contents.len() >= limit {
        return Ok(true);
    }
    let expunged = tx
        .prepare_cached(
            "DELETE FROM expunged WHERE mailbox = ?1 AND uid IN
                (SELECT uid FROM expunged WHERE mailbox = ?1 ORDER BY uid LIMIT ?2)",
        )?
        .execute((mailbox.0, limit))?;
    if expunged >= limit {
        return Ok(true);
    }
    tx.execute("DELETE FROM mailbox_keywords WHERE mailbox = ?1", [mailbox.0])?;
    tx.execute("DELETE FROM mailboxes WHERE id = ?1", [mailbox.0])?;
    Ok(false)
}

/// Deletes content that no message refers to.
fn free_content(tx: &Connection, after_commit: &mut AfterCommit, content: i64) -> Result<()> {
    let mut statement = tx.prepare_cached(
        "DELETE FROM contents WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM messages WHERE content = ?1) RETURNING file",
    )?;
    let freed: Option<Option<String>> = statement.query_row([content], |row| row.get(0)).optional()?;
    after_commit.freed_files.extend(freed.flatten());
    Ok(())
}

/// The statement of a page. Columns that were not requested are NULL, so that the column numbers stay the same.
pub(super) fn page_query(columns: Columns) -> String {
    let pick = |wanted: bool, column: &'static str| if wanted { column } else { "NULL" };
    // SQLite knows the length without reading the text, so a record that is too long is never loaded.
    let record = |wanted: bool, column: &str| match wanted {
        true => format!("CASE WHEN octet_length({column}) <= {RECORD_LIMIT} THEN {column} END"),
        false => "NULL".to_owned(),
    };
    let join = match columns.envelope || columns.structure || columns.body {
        true => "JOIN contents c ON c.id = m.content",
        false => "",
    };
    let previews = match columns.preview {
        true => "LEFT JOIN previews p ON p.content = m.content",
        false => "",
    };
    format!(
        "SELECT {SUMMARY}, {}, {}, {}, {} FROM messages m {join} {previews}
         WHERE m.mailbox = ?1 AND m.uid BETWEEN ?2 AND ?3 ORDER BY m.uid",
        record(columns.envelope, "c.envelope"),
        record(columns.structure, "c.structure"),
        pick(columns.body, "c.body"),
        pick(columns.preview, "p.text"),
    )
}

fn read_summary(tx: &Connection, mailbox: &mut MailboxRow, row: &Row<'_>) -> Result<Message> {
    let bits = row.get_ref(3)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    Ok(Message {
        uid: row.get(0)?,
        modseq: row.get(1)?,
        flags: mailbox.keywords.flags(tx, mailbox.id, row.get(2)?, bits)?,
        internal_date: InternalDate { seconds: row.get(4)?, offset_minutes: row.get(5)? },
        sent_date: row.get(6)?,
        saved_date: row.get(9)?,
        size: row.get(7)?,
        content: ContentId(row.get(8)?),
        email_id: None,
        preview: None,
        envelope: None,
        structure: None,
        body: None,
    })
}

/// Reads a record, or the JSON of an earlier version.
fn read_record<T>(
    text: Option<&str>,
    read: impl FnOnce(&str, &Limits) -> std::result::Result<T, InvalidRecord>,
    read_json: impl FnOnce(&str) -> Option<T>,
) -> Result<T> {
    let found = text.and_then(|text| match text.starts_with('{') {
        true => read_json(text),
        false => read(text, &Limits::DEFAULT).ok(),
    });
    found.ok_or(Error::Corrupt("the summary of a message"))
}
