//! What other sessions did: told with NOOP, while idle, and before the answer of each command that allows it.
//!
//! The hub says that something changed; the store says what. EXPUNGE changes sequence numbers, so it is told only where
//! the client cannot be in the middle of using them (RFC 9051 §7.5.1): the machine refuses it elsewhere.

use bumpalo::Bump;
use io_mio::Next;
use mailstore::Changes;
use proto_imap::server::Reply;
use proto_imap::types::{FetchItem, Untagged};

use super::translate::{self, Recency};
use super::{Session, Turn, Work, done, go_on};

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
        let Some(selected) = &self.selected else { return then(self, turn) };
        if !selected.watch.take_changed() {
            return then(self, turn);
        }
        let (mailbox, cursor) = (selected.mailbox, selected.cursor);
        self.ask(
            turn,
            move |store| store.changes_since(mailbox, &cursor, usize::MAX),
            move |session, changes, turn| match session.tell(changes, turn) {
                Ok(()) => then(session, turn),
                Err(error) => go_on(Err(error)),
            },
        )
    }

    fn tell(
        &mut self,
        changes: mailstore::Result<Changes>,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), proto_core::Error> {
        let Some(selected) = &mut self.selected else { return Ok(()) };
        let changes = match changes {
            Ok(mut changes) => {
                changes.vanished.sort_unstable();
                changes
            }
            Err(mailstore::Error::NotFound(_)) => {
                // The mailbox was deleted: nothing is in it any more.
                Changes {
                    vanished: selected.view.uids().to_vec(),
                    cursor: selected.cursor,
                    ..Changes::default()
                }
            }
            Err(error) => {
                tracing::warn!(session = self.number, %error, "changes could not be read");
                selected.watch.mark_changed();
                return Ok(());
            }
        };
        selected.cursor = changes.cursor;
        for number in selected.view.remove(&changes.vanished) {
            turn.machine.data(&Untagged::Expunge(number), turn.tx)?;
        }
        if selected.view.extend(changes.new.iter().copied()) {
            turn.machine.data(&Untagged::Exists(selected.view.exists()), turn.tx)?;
        }
        let mut arena = Bump::new();
        for message in &changes.changed {
            let known = selected.told.remove(&message.uid);
            let Some(number) = selected.view.sequence(message.uid) else { continue };
            if known == Some(message.modseq) {
                continue;
            }
            let recency = recency(message.uid, selected.first_recent);
            let mut writer = turn.machine.fetch(number, turn.tx)?;
            writer.item(&FetchItem::Uid(message.uid));
            if self.modseqs {
                writer.item(&FetchItem::ModSeq(message.modseq));
            }
            writer.item(&FetchItem::Flags(translate::flags(&arena, &message.flags, recency)));
            writer.finish();
            arena.reset();
        }
        selected.told.clear();
        Ok(())
    }

    pub(super) fn begin_idle(&mut self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        self.work = Work::Idle(reply);
        if let Some(selected) = &self.selected {
            selected.watch.begin_idle();
        }
        // What changed before this moment woke nobody.
        self.tell_idle(turn)
    }

    pub(super) fn tell_idle(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let changed = self.selected.as_ref().is_some_and(|selected| selected.watch.has_changed());
        if !changed {
            return Next::Continue;
        }
        // What changes while the store is asked wakes nobody again: look once more behind it.
        self.tell_then(turn, |session, turn| session.tell_idle(turn))
    }

    pub(super) fn end_idle(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        if let Some(selected) = &self.selected {
            selected.watch.end_idle();
        }
        match std::mem::replace(&mut self.work, Work::None) {
            // The worker's answer, if one is still to come, is told by the next command.
            Work::Idle(reply) => {
                if self.task.take().is_some()
                    && let Some(selected) = &self.selected
                {
                    selected.watch.mark_changed();
                }
                self.finish(reply, "idled", turn)
            }
            other => {
                self.work = other;
                Next::Continue
            }
        }
    }
}

/// Whether a message is recent in this session.
pub(super) const fn recency(uid: u32, first_recent: u32) -> Recency {
    if uid >= first_recent { Recency::Recent } else { Recency::Old }
}
