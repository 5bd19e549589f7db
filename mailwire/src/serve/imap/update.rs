//! What other sessions did: told with NOOP, while idle, and before the answer of each command that allows it.
//!
//! The hub says that something changed; the store says what, a page at a time, and only when the client has read what
//! was told before. A session that lags keeps its place in the changes and nothing of them.
//!
//! EXPUNGE changes sequence numbers, so it is told only where the client cannot be in the middle of using them (RFC
//! 9051 §7.5.1): the machine refuses it elsewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bumpalo::Bump;
use io_mio::Next;
use mailstore::{ChangeCursor, Changes, KeywordsInUse, MailboxId, Store};
use proto_imap::Access;
use proto_imap::server::Reply;
use proto_imap::types::{FetchItem, Untagged};
use roaring::RoaringBitmap;

use super::translate::{self, Recency};
use super::{Selected, Session, Turn, Work, done, go_on, mailbox};
use crate::serve::hub::Hub;

/// Above this much waiting output no more changes are told, in bytes.
const HIGH_WATER: usize = 128 * 1024;

/// How much is written before the other sessions have their turn, in bytes.
const PIECE: usize = 32 * 1024;

/// Whether enough was written for now, of which there was `before` already.
pub(super) fn is_enough(before: usize, now: usize) -> bool {
    now >= HIGH_WATER || now.saturating_sub(before) >= PIECE
}

/// The most messages of a page of changes.
const PAGE: usize = 250;

/// While idle, changes that come in quick succession are told together: the least time from one look at the store to
/// the next.
const COALESCE: Duration = Duration::from_millis(50);

/// What follows when everything was told.
type After = Box<dyn FnOnce(&mut Session, &mut Turn<'_, '_>) -> Next + Send>;

/// A page of changes on its way to the client.
pub(super) struct Telling {
    keywords: Option<KeywordsInUse>,
    /// Sessions that are at the same place share it.
    changes: Arc<Changes>,
    /// How many of the messages that went, and of those with other flags, were told.
    vanished: usize,
    changed: usize,
    new_told: bool,
    /// Of the new messages, those from this UID on are recent; `None`: this session has no recent messages.
    recent_from: Option<u32>,
    /// The mailbox was deleted: nothing is in it any more.
    deleted: bool,
    then: After,
}

/// A client that idles.
pub(super) struct Idling {
    reply: Reply,
    /// The client has ended it.
    done: bool,
    /// Not before this instant is the store asked again.
    next: Option<Instant>,
}

/// A page of changes, as a worker brings it.
struct Found {
    changes: Arc<Changes>,
    recent_from: Option<u32>,
    keywords: Option<KeywordsInUse>,
}

/// The changes that this session made and told with the answers of its own commands: the mod-sequences of the
/// transactions that made them. They are not told again.
#[derive(Debug, Default)]
pub(super) struct OwnChanges {
    /// Rising.
    ranges: Vec<(u64, u64)>,
}

impl OwnChanges {
    /// The most ranges that are remembered. A change that is forgotten is told again, which does no harm.
    const LIMIT: usize = 64;

    pub(super) fn insert(&mut self, modseq: u64) {
        match self.ranges.last_mut() {
            Some((_, last)) if modseq <= *last => {}
            Some((_, last)) if modseq == *last + 1 => *last = modseq,
            _ => {
                if self.ranges.len() >= Self::LIMIT {
                    self.ranges.remove(0);
                }
                self.ranges.push((modseq, modseq));
            }
        }
    }

    fn contains(&self, modseq: u64) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&modseq))
    }

    /// Moves a cursor behind the own changes that come next, and forgets those before it.
    fn skip(&mut self, cursor: &mut ChangeCursor) {
        for (first, last) in &self.ranges {
            if cursor.flags.1 == u32::MAX && *first <= cursor.flags.0 + 1 && cursor.flags.0 < *last {
                cursor.flags.0 = *last;
            }
        }
        self.ranges.retain(|(_, last)| *last > cursor.flags.0);
    }
}

impl Session {
    /// Tells what changed, then answers OK.
    pub(super) fn finish(&mut self, reply: Reply, text: &'static str, turn: &mut Turn<'_, '_>) -> Next {
        self.tell_then(turn, move |_, turn| done(reply, text, turn))
    }

    /// Tells what changed, then goes on.
    pub(super) fn tell_then(
        &mut self,
        turn: &mut Turn<'_, '_>,
        then: impl FnOnce(&mut Self, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        match &self.selected {
            Some(selected) if selected.watch.take_changed() => self.ask_for_changes(Box::new(then), turn),
            _ => then(self, turn),
        }
    }

    fn ask_for_changes(&mut self, then: After, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = &mut self.selected else { return then(self, turn) };
        selected.own.skip(&mut selected.cursor);
        let (mailbox, cursor, keywords) = (selected.mailbox, selected.cursor, selected.keywords);
        let recent = selected.recent_access(turn);
        let hub = Arc::clone(&self.site.hub);
        self.ask(
            turn,
            move |store| changes(store, &hub, mailbox, &cursor, keywords, recent),
            move |session, found, turn| session.tell(found, then, turn),
        )
    }

    fn tell(&mut self, found: mailstore::Result<Found>, then: After, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = &mut self.selected else { return then(self, turn) };
        let mut deleted = false;
        let found = match found {
            Ok(found) => found,
            Err(mailstore::Error::NotFound(_) | mailstore::Error::NoSelect) => {
                deleted = true;
                let changes = Changes { cursor: selected.cursor, ..Changes::default() };
                Found { changes: Arc::new(changes), recent_from: None, keywords: None }
            }
            Err(error) => {
                tracing::info!(session = self.number, %error, "changes could not be read");
                selected.watch.mark_changed();
                return then(self, turn);
            }
        };
        selected.cursor = found.changes.cursor;
        self.telling = Some(Box::new(Telling {
            keywords: found.keywords,
            changes: found.changes,
            vanished: 0,
            changed: 0,
            new_told: false,
            recent_from: found.recent_from,
            deleted,
            then,
        }));
        self.write_telling(turn)
    }

    /// Writes as much of the changes as the client takes.
    pub(super) fn write_telling(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let mut arena = Bump::new();
        let before = turn.tx.len();
        loop {
            let (Some(telling), Some(selected)) = (&mut self.telling, &mut self.selected) else {
                return Next::Close;
            };
            if is_enough(before, turn.tx.len()) {
                return Next::More;
            }
            match telling.write_next(selected, self.modseqs, &arena, turn) {
                Ok(true) => arena.reset(),
                Ok(false) => break,
                Err(error) => return go_on(Err(error)),
            }
        }
        let (Some(telling), Some(selected)) = (self.telling.take(), &mut self.selected) else {
            return Next::Close;
        };
        if telling.changes.more {
            return self.ask_for_changes(telling.then, turn);
        }
        let Selected { view, watch, .. } = &mut **selected;
        view.share(|uids| watch.share(uids));
        (telling.then)(self, turn)
    }

    pub(super) fn begin_idle(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        self.work = Work::Idle(Box::new(Idling { reply, done: false, next: None }));
        if let Some(selected) = &self.selected {
            selected.watch.begin_idle();
        }
        // What changed before this moment woke nobody.
        self.tell_idle(turn)
    }

    /// Tells an idle client what changed, and answers one that has ended idling.
    pub(super) fn tell_idle(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        if self.task.is_some() || self.telling.is_some() {
            return self.resting();
        }
        let Work::Idle(idling) = &mut self.work else { return Next::Continue };
        if idling.done {
            if let Some(selected) = &self.selected {
                selected.watch.end_idle();
            }
            return match std::mem::replace(&mut self.work, Work::None) {
                Work::Idle(idling) => self.finish(idling.reply, "idled", turn),
                _ => Next::Close,
            };
        }
        if !self.selected.as_ref().is_some_and(|selected| selected.watch.has_changed()) {
            return Next::Continue;
        }
        let now = turn.cx.now();
        if let Some(next) = idling.next.filter(|next| *next > now) {
            turn.cx.wake_after(next - now);
            return Next::Continue;
        }
        idling.next = now.checked_add(COALESCE);
        // What changes while the store is asked wakes nobody again: look once more behind it.
        self.tell_then(turn, |session, turn| session.tell_idle(turn))
    }

    pub(super) fn end_idle(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        if let Work::Idle(idling) = &mut self.work {
            idling.done = true;
        }
        self.tell_idle(turn)
    }
}

/// Reads a page of changes, on a worker.
fn changes(
    store: &dyn Store,
    hub: &Hub,
    mailbox: MailboxId,
    cursor: &ChangeCursor,
    known_keywords: u32,
    recent: Option<mailstore::Access>,
) -> mailstore::Result<Found> {
    let changes = match hub.page(mailbox, cursor) {
        Some(page) => page,
        None => {
            let page = Arc::new(store.changes_since(mailbox, cursor, PAGE)?);
            hub.keep_page(mailbox, *cursor, &page);
            page
        }
    };
    let recent_from = match recent {
        Some(access) if !changes.new.is_empty() => {
            Some(store.claim_recent(mailbox, changes.cursor.uid_next, access)?)
        }
        _ => None,
    };
    let flags = changes.changed.iter().map(|message| &message.flags);
    let keywords = new_keywords(store, mailbox, known_keywords, flags)?;
    Ok(Found { changes, recent_from, keywords })
}

/// The keywords of a mailbox, if these flags have one that the session was not told of.
pub(super) fn new_keywords<'f>(
    store: &dyn Store,
    mailbox: MailboxId,
    known: u32,
    flags: impl IntoIterator<Item = &'f mailstore::Flags>,
) -> mailstore::Result<Option<KeywordsInUse>> {
    let newest = flags.into_iter().map(mailstore::Flags::newest_keyword).max().unwrap_or(0);
    if newest > known { store.keywords(mailbox).map(Some) } else { Ok(None) }
}

impl Telling {
    /// Writes the next response; false: nothing is left of this page.
    fn write_next(
        &mut self,
        selected: &mut Selected,
        modseqs: bool,
        arena: &Bump,
        turn: &mut Turn<'_, '_>,
    ) -> Result<bool, proto_mail::Error> {
        if let Some(keywords) = self.keywords.take() {
            mailbox::put_keywords(selected, &keywords, turn)?;
            return Ok(true);
        }
        if self.deleted {
            let Some(number) = selected.view.remove_last() else { return Ok(false) };
            return turn.machine.data(&Untagged::Expunge(number), turn.tx).map(|()| true);
        }
        if let Some(&uid) = self.changes.vanished.get(self.vanished) {
            self.vanished += 1;
            selected.recent.remove(uid);
            if let Some(number) = selected.view.remove(uid) {
                turn.machine.data(&Untagged::Expunge(number), turn.tx)?;
            }
            return Ok(true);
        }
        if !std::mem::replace(&mut self.new_told, true) {
            let new = || self.changes.new.iter().copied();
            if let Some(first) = self.recent_from {
                selected.recent.extend(new().filter(|uid| *uid >= first));
            }
            if selected.view.extend(new()) {
                turn.machine.data(&Untagged::Exists(selected.view.exists()), turn.tx)?;
                if self.recent_from.is_some() {
                    turn.machine.data(&Untagged::Recent(count(&selected.recent)), turn.tx)?;
                }
            }
            return Ok(true);
        }
        let Some(message) = self.changes.changed.get(self.changed) else { return Ok(false) };
        self.changed += 1;
        if selected.own.contains(message.modseq) {
            return Ok(true);
        }
        let Some(number) = selected.view.sequence(message.uid) else { return Ok(true) };
        let recency = selected.recency(message.uid);
        let mut writer = turn.machine.fetch(number, turn.tx)?;
        writer.item(&FetchItem::Uid(message.uid));
        if modseqs {
            writer.item(&FetchItem::ModSeq(message.modseq));
        }
        writer.item(&FetchItem::Flags(translate::flags(arena, &message.flags, recency)));
        writer.finish().map(|()| true)
    }
}

impl Selected {
    /// Whether a message is recent in this session.
    pub(super) fn recency(&self, uid: u32) -> Recency {
        if self.recent.contains(uid) { Recency::Recent } else { Recency::Old }
    }

    /// With which access messages become recent in this session; IMAP4rev2 has no recent messages.
    pub(super) fn recent_access(&self, turn: &Turn<'_, '_>) -> Option<mailstore::Access> {
        (!turn.machine.is_enabled("IMAP4rev2")).then_some(match self.access {
            Access::ReadWrite => mailstore::Access::ReadWrite,
            Access::ReadOnly => mailstore::Access::ReadOnly,
        })
    }
}

/// RECENT.
pub(super) fn count(uids: &RoaringBitmap) -> u32 {
    u32::try_from(uids.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_changes_are_skipped_and_forgotten() {
        let mut own = OwnChanges::default();
        [5, 6, 7, 9].into_iter().for_each(|modseq| own.insert(modseq));
        assert!(own.contains(6) && own.contains(9) && !own.contains(8));
        let mut cursor = ChangeCursor { uid_next: 1, flags: (4, u32::MAX), expunged: (4, u32::MAX) };
        own.skip(&mut cursor);
        assert_eq!(cursor.flags, (7, u32::MAX), "what another session did at 8 is still to be told");
        assert!(own.contains(9) && !own.contains(5));
        cursor.flags = (8, 3);
        own.skip(&mut cursor);
        assert_eq!(cursor.flags, (8, 3), "a page ended among the messages of 8");
        for modseq in (100..1_000).step_by(2) {
            own.insert(modseq);
        }
        assert_eq!(own.ranges.len(), OwnChanges::LIMIT);
    }
}
