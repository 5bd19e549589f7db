//! STORE and EXPUNGE (RFC 9051 §6.4.3, §6.4.6, §6.4.9; RFC 7162 §3.1.3).
//!
//! Both commands process messages in slices. Each slice is one transaction, and its changes are sent before the next
//! slice begins. A client that does not read delays only its own STORE.

use bumpalo::Bump;
use io_mio::{JobStep, Next, Slice};
use mailstore::{Expunge, Flags, KeywordsInUse, MailboxId, MessageFlags, StoreMode, UidSet, WRITE_SLICE};
use proto_imap::Access;
use proto_imap::server::Reply;
use proto_imap::types::{FetchItem, NumberRange, Numbers, PlainCode, ResponseCode, SequenceSet};
use proto_imap::types::{StoreCommand, StoreResponse};
use roaring::RoaringBitmap;

use super::update::{is_enough, new_keywords};
use super::view::{self, Numbering};
use super::{Session, Turn, Work, bad, done, done_with, go_on, mailbox, refuse, refuse_for, translate};

/// The maximum number of ranges in MODIFIED.
const MODIFIED_RANGES: usize = 16_384;

/// What a STORE sends for each message: its flags, its mod-sequence, both or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    answer: StoreResponse,
    numbering: Numbering,
    modseq: bool,
}

/// A STORE whose responses are being written.
pub(super) struct Storing {
    reply: Reply,
    edit: Edit,
    page: std::vec::IntoIter<MessageFlags>,
}

/// The remaining work of a STORE, and its results so far.
struct Edit {
    mailbox: MailboxId,
    rest: UidSet,
    mode: StoreMode,
    flags: Flags,
    unchanged_since: Option<u64>,
    form: Form,
    known_keywords: u32,
    /// The messages that UNCHANGEDSINCE excluded (MODIFIED).
    modified: RoaringBitmap,
    /// The mod-sequences of changes that are not yet recorded as the session's own.
    own: Vec<u64>,
    keywords: Option<KeywordsInUse>,
    page: Vec<MessageFlags>,
}

impl Edit {
    /// Changes messages until there is something to send, nothing is left, or the slice is over. Returns whether it
    /// stopped for one of the first two reasons.
    fn run(&mut self, store: &dyn mailstore::Store, slice: &Slice) -> mailstore::Result<bool> {
        while self.page.is_empty() && !self.rest.is_empty() {
            if slice.is_over() {
                return Ok(false);
            }
            self.step(store)?;
        }
        Ok(true)
    }

    fn step(&mut self, store: &dyn mailstore::Store) -> mailstore::Result<()> {
        let since = self.unchanged_since;
        let stored =
            store.store_flags(self.mailbox, &self.rest, self.mode, &self.flags, since, WRITE_SLICE)?;
        self.rest = stored.next.map(|next| self.rest.starting_at(next)).unwrap_or_default();
        self.modified.extend(stored.modified);
        self.own.extend(stored.modseq);
        let flags = stored.changed.iter().map(|message| &message.flags);
        if let Some(keywords) = new_keywords(store, self.mailbox, self.known_keywords, flags)? {
            self.known_keywords = keywords.newest;
            self.keywords = Some(keywords);
        }
        if self.form.answer == StoreResponse::Flags {
            self.page = stored.changed;
            self.page.extend(stored.unchanged);
            self.page.sort_unstable_by_key(|message| message.uid);
        } else if self.form.modseq {
            self.page = stored.changed;
        }
        Ok(())
    }
}

impl Session {
    pub(super) fn store(
        &mut self,
        reply: Reply,
        arguments: StoreCommand<'_>,
        numbering: Numbering,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return bad(reply, "select a mailbox first", turn) };
        if selected.access == Access::ReadOnly {
            return refuse(reply, PlainCode::NoPerm, "the mailbox is read-only", turn);
        }
        let Ok(rest) = selected.resolve(arguments.messages, numbering) else {
            return bad(reply, "no message has that number", turn);
        };
        let (mailbox, known_keywords) = (selected.mailbox, selected.keywords);
        let flags = match translate::given_flags(arguments.flags) {
            Ok(flags) => flags,
            Err(refused) => return refused.answer(reply, turn),
        };
        if arguments.unchanged_since.is_some()
            && let Err(error) = self.enable_condstore(turn)
        {
            return go_on(Err(error));
        }
        let edit = Edit {
            mailbox,
            rest,
            mode: translate::store_mode(arguments.action),
            flags,
            unchanged_since: arguments.unchanged_since,
            form: Form { answer: arguments.answer, numbering, modseq: self.modseqs },
            known_keywords,
            modified: RoaringBitmap::new(),
            own: Vec::new(),
            keywords: None,
            page: Vec::new(),
        };
        self.store_on(reply, edit, turn)
    }

    fn store_on(&mut self, reply: Reply, edit: Edit, turn: &mut Turn<'_, '_>) -> Next {
        let mut edit = Some(edit);
        self.ask_in_slices(
            turn,
            move |store, slice| {
                let Some(mut going) = edit.take() else { return JobStep::More };
                match going.run(store, slice) {
                    Ok(true) => return JobStep::Done(Ok(going)),
                    Ok(false) => edit = Some(going),
                    Err(error) => return JobStep::Done(Err(error)),
                }
                JobStep::More
            },
            move |session, stored, turn| match stored {
                Ok(edit) => session.stored(reply, edit, turn),
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }

    /// Starts writing the messages that one slice changed.
    fn stored(&mut self, reply: Reply, mut edit: Edit, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = &mut self.selected else { return done(reply, "store completed", turn) };
        edit.own.drain(..).for_each(|modseq| selected.own.insert(modseq));
        if let Some(keywords) = edit.keywords.take()
            && let Err(error) = mailbox::put_keywords(selected, &keywords, turn)
        {
            return go_on(Err(error));
        }
        let page = std::mem::take(&mut edit.page).into_iter();
        self.work = Work::Store(Box::new(Storing { reply, edit, page }));
        self.write_store(turn)
    }

    /// Writes as much of the page as the client accepts, then continues with the next page.
    pub(super) fn write_store(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let mut arena = Bump::new();
        let before = turn.tx.len();
        loop {
            let (Work::Store(storing), Some(selected)) = (&mut self.work, &self.selected) else {
                return Next::Close;
            };
            if is_enough(before, turn.tx.len()) {
                return Next::More;
            }
            let Some(message) = storing.page.next() else { break };
            let Some(number) = selected.view.sequence(message.uid) else { continue };
            let form = storing.edit.form;
            let mut writer = match turn.machine.fetch(number, turn.tx) {
                Ok(writer) => writer,
                Err(error) => return go_on(Err(error)),
            };
            if form.numbering == Numbering::Uid {
                writer.item(&FetchItem::Uid(message.uid));
            }
            if form.modseq {
                writer.item(&FetchItem::ModSeq(message.modseq));
            }
            if form.answer == StoreResponse::Flags {
                let recency = selected.recency(message.uid);
                writer.item(&FetchItem::Flags(translate::flags(&arena, &message.flags, recency)));
            }
            // A silent change without CONDSTORE has no items: its response is discarded.
            let _ = writer.finish();
            arena.reset();
        }
        match std::mem::replace(&mut self.work, Work::None) {
            Work::Store(storing) if !storing.edit.rest.is_empty() => {
                let Storing { reply, edit, .. } = *storing;
                self.store_on(reply, edit, turn)
            }
            Work::Store(storing) => self.end_store(*storing, turn),
            _ => Next::Close,
        }
    }

    fn end_store(&mut self, storing: Storing, turn: &mut Turn<'_, '_>) -> Next {
        let Storing { reply, edit, .. } = storing;
        let Some(selected) = &self.selected else { return done(reply, "store completed", turn) };
        if !edit.modified.is_empty() {
            let numbers = edit.modified.iter().filter_map(|uid| match edit.form.numbering {
                Numbering::Uid => Some(uid),
                Numbering::Sequence => selected.view.sequence(uid),
            });
            let ranges = ranges(numbers);
            if ranges.len() > MODIFIED_RANGES {
                let text = "too many messages have changed: use smaller sets";
                return refuse(reply, PlainCode::Limit, text, turn);
            }
            return done_with(
                reply,
                ResponseCode::Modified(Numbers::new(&ranges)),
                "some messages have changed",
                turn,
            );
        }
        match edit.form.numbering {
            Numbering::Sequence => done(reply, "store completed", turn),
            Numbering::Uid => self.finish(reply, "store completed", turn),
        }
    }

    pub(super) fn expunge(
        &mut self,
        reply: Reply,
        among: Option<SequenceSet<'_>>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return bad(reply, "select a mailbox first", turn) };
        if selected.access == Access::ReadOnly {
            return refuse(reply, PlainCode::NoPerm, "the mailbox is read-only", turn);
        }
        let uids = match among.map(|set| selected.resolve(set, Numbering::Uid)) {
            None => UidSet::all(),
            Some(Ok(uids)) => uids,
            Some(Err(_)) => return bad(reply, "no message has that number", turn),
        };
        let mailbox = selected.mailbox;
        self.expunge_then(mailbox, uids, turn, |session, expunged, turn| match expunged {
            // The removed messages are reported like any other change.
            Ok(()) => session.finish(reply, "expunge completed", turn),
            Err(error) => refuse_for(reply, &error, turn),
        })
    }

    /// Removes the messages in `rest` that are marked `\Deleted`, then calls `then`.
    pub(super) fn expunge_then(
        &mut self,
        mailbox: MailboxId,
        mut rest: UidSet,
        turn: &mut Turn<'_, '_>,
        then: impl FnOnce(&mut Self, mailstore::Result<()>, &mut Turn<'_, '_>) -> Next + Send + 'static,
    ) -> Next {
        self.ask_in_slices(
            turn,
            move |store, slice| {
                while !rest.is_empty() {
                    if slice.is_over() {
                        return JobStep::More;
                    }
                    let which = Expunge::DeletedAmong(std::mem::take(&mut rest));
                    let expunged = match store.expunge(mailbox, &which, WRITE_SLICE) {
                        Ok(expunged) => expunged,
                        Err(error) => return JobStep::Done(Err(error)),
                    };
                    if let (Expunge::DeletedAmong(uids), Some(next)) = (which, expunged.next) {
                        rest = uids.starting_at(next);
                    }
                }
                JobStep::Done(Ok(()))
            },
            then,
        )
    }
}

/// Combines ascending numbers into ranges.
pub(super) fn ranges(numbers: impl IntoIterator<Item = u32>) -> Vec<NumberRange> {
    let mut ranges: Vec<NumberRange> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.last().checked_add(1) == Some(number) => {
                *last = NumberRange::new(last.first(), number);
            }
            _ => ranges.push(number.into()),
        }
    }
    ranges
}

/// Returns the ranges of a bitmap, in ascending order.
pub(super) fn runs(bitmap: &RoaringBitmap) -> Vec<NumberRange> {
    view::ranges(bitmap).map(|range| NumberRange::new(*range.start(), *range.end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combines_numbers_into_ranges() {
        let of = |numbers: &[u32]| ranges(numbers.iter().copied());
        assert_eq!(of(&[1, 2, 3, 7]), [NumberRange::new(1, 3), 7.into()]);
        assert!(of(&[]).is_empty());
    }
}
