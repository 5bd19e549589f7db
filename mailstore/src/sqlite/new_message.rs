//! A new row of the table `messages`.

use super::mailbox_row::MailboxRow;
use crate::error::Result;
use crate::flags::Flags;
use crate::types::{ContentId, InternalDate};
use rusqlite::Connection;

/// A new row of the table `messages`.
pub(super) struct NewMessage<'a> {
    pub(super) uid: u32,
    pub(super) flags: &'a Flags,
    pub(super) internal_date: InternalDate,
    pub(super) sent: Option<i64>,
    pub(super) saved: i64,
    pub(super) size: u64,
    pub(super) content: ContentId,
}

impl NewMessage<'_> {
    /// Inserts the row with the current mod-sequence of `mailbox`.
    pub(super) fn insert(&self, tx: &Connection, mailbox: &mut MailboxRow) -> Result<()> {
        let bits = mailbox.keywords.bits(tx, mailbox.id, self.flags)?;
        tx.prepare_cached(
            "INSERT INTO messages (mailbox, uid, modseq, created, flags, keyword_bits, seconds, offset_minutes,
                sent, saved, size, content) VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute((
            mailbox.id.0,
            self.uid,
            mailbox.modseq,
            self.flags.system_bits(),
            bits.column(),
            self.internal_date.seconds,
            self.internal_date.offset_minutes,
            self.sent,
            self.saved,
            self.size,
            self.content.0,
        ))?;
        Ok(())
    }
}
