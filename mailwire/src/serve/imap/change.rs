//! STORE, COPY, MOVE and EXPUNGE (RFC 9051 §6.4.3, §6.4.6 to §6.4.9; RFC 7162 §3.1.3).

use bumpalo::Bump;
use io_mio::Next;
use mailstore::{AccountId, Copied, Expunge, MessageFlags, Stored};
use proto_imap::Access;
use proto_imap::server::Reply;
use proto_imap::types::arguments::{Copy, Store, StoreAnswer};
use proto_imap::types::{Code, FetchItem, Numbers, PlainCode, RangeInclusiveU32, SequenceSet, Untagged};

use super::update::recency;
use super::view::Numbering;
use super::{
    Session, Turn, bad, done, done_with, go_on, name, no, no_name, refuse, refuse_for, target_code_of,
    translate,
};

/// Whether messages stay where they are, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    Copy,
    Move,
}

/// Whether STORE tells the flags, and the mod-sequence with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Telling {
    answer: StoreAnswer,
    numbering: Numbering,
    modseq: bool,
}

impl Session {
    pub(super) fn store(
        &mut self,
        reply: Reply,
        arguments: Store<'_>,
        numbering: Numbering,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return bad(reply, "select a mailbox first", turn) };
        if selected.access == Access::ReadOnly {
            return refuse(reply, PlainCode::NoPerm, "the mailbox was opened read-only", turn);
        }
        let Ok(uids) = selected.resolve(arguments.messages, numbering) else {
            return bad(reply, "there is no message with that number", turn);
        };
        let flags = match translate::given_flags(arguments.flags) {
            Ok(flags) => flags,
            Err(error) => return refuse_for(reply, &error, turn),
        };
        let (mailbox, mode, since) =
            (selected.mailbox, translate::store_mode(arguments.action), arguments.unchanged_since);
        self.modseqs |= since.is_some();
        let telling = Telling { answer: arguments.answer, numbering, modseq: self.modseqs };
        self.ask(
            turn,
            move |store| store.store_flags(mailbox, &uids, mode, &flags, since, usize::MAX),
            move |session, stored, turn| match stored {
                Ok(stored) => session.stored(reply, &stored, telling, turn),
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }

    fn stored(&mut self, reply: Reply, stored: &Stored, telling: Telling, turn: &mut Turn<'_, '_>) -> Next {
        let Some(selected) = &mut self.selected else { return done(reply, "stored", turn) };
        for message in &stored.changed {
            selected.told.insert(message.uid, message.modseq);
        }
        let mut told: Vec<&MessageFlags> = stored.changed.iter().collect();
        if telling.answer == StoreAnswer::Flags {
            told.extend(&stored.unchanged);
            told.sort_unstable_by_key(|message| message.uid);
        } else if !telling.modseq {
            told.clear();
        }
        let mut arena = Bump::new();
        for message in told {
            let Some(number) = selected.view.sequence(message.uid) else { continue };
            let written = (|| {
                let mut writer = turn.machine.fetch(number, turn.tx)?;
                if telling.numbering == Numbering::Uid {
                    writer.item(&FetchItem::Uid(message.uid));
                }
                if telling.modseq {
                    writer.item(&FetchItem::ModSeq(message.modseq));
                }
                if telling.answer == StoreAnswer::Flags {
                    let recency = recency(message.uid, selected.first_recent);
                    writer.item(&FetchItem::Flags(translate::flags(&arena, &message.flags, recency)));
                }
                writer.finish();
                Ok(())
            })();
            if let Err(error) = written {
                return go_on(Err(error));
            }
            arena.reset();
        }
        if !stored.modified.is_empty() {
            let numbers = stored.modified.iter().filter_map(|uid| match telling.numbering {
                Numbering::Uid => Some(*uid),
                Numbering::Sequence => selected.view.sequence(*uid),
            });
            let ranges = ranges(numbers);
            return done_with(
                reply,
                Code::Modified(Numbers::new(&ranges)),
                "some were changed meanwhile",
                turn,
            );
        }
        match telling.numbering {
            Numbering::Sequence => done(reply, "stored", turn),
            Numbering::Uid => self.finish(reply, "stored", turn),
        }
    }

    pub(super) fn copy(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: Copy<'_>,
        numbering: Numbering,
        transfer: Transfer,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(to) = name(arguments.mailbox, turn) else { return no_name(reply, turn) };
        let Some(selected) = &self.selected else { return bad(reply, "select a mailbox first", turn) };
        if transfer == Transfer::Move && selected.access == Access::ReadOnly {
            return refuse(reply, PlainCode::NoPerm, "the mailbox was opened read-only", turn);
        }
        let Ok(uids) = selected.resolve(arguments.messages, numbering) else {
            return bad(reply, "there is no message with that number", turn);
        };
        let from = selected.mailbox;
        self.ask(
            turn,
            move |store| {
                let to = store.mailbox(account, &to)?;
                match transfer {
                    Transfer::Copy => store.copy(from, &uids, to.id, usize::MAX),
                    Transfer::Move => store.move_messages(from, &uids, to.id, usize::MAX),
                }
            },
            move |session, copied, turn| match copied {
                Ok(copied) => session.copied(reply, copied, transfer, turn),
                Err(error) => {
                    let text = error.to_string();
                    go_on(turn.machine.reply(reply, &no(target_code_of(&error), &text), turn.tx))
                }
            },
        )
    }

    fn copied(&mut self, reply: Reply, copied: Copied, transfer: Transfer, turn: &mut Turn<'_, '_>) -> Next {
        // Nothing was there to be copied: UIDs need not exist.
        if copied.pairs.is_empty() {
            return self.finish(reply, "nothing to do", turn);
        }
        match transfer {
            Transfer::Copy => self.tell_then(turn, move |_, turn| {
                with_copy_uid(&copied, |code| done_with(reply, code, "copied", turn))
            }),
            Transfer::Move => {
                // COPYUID comes first, untagged: the client must know where they went when they vanish (RFC 6851 §4.3).
                let told = with_copy_uid(&copied, |code| {
                    let status = super::ok("moved").with_code(code);
                    turn.machine.data(&Untagged::Status(status), turn.tx)
                });
                match told {
                    Ok(()) => self.finish(reply, "moved", turn),
                    Err(error) => go_on(Err(error)),
                }
            }
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
            return refuse(reply, PlainCode::NoPerm, "the mailbox was opened read-only", turn);
        }
        let which = match among {
            None => Expunge::Deleted,
            Some(set) => match selected.resolve(set, Numbering::Uid) {
                Ok(uids) => Expunge::DeletedAmong(uids),
                Err(_) => return bad(reply, "there is no message with that number", turn),
            },
        };
        let mailbox = selected.mailbox;
        self.ask(
            turn,
            move |store| store.expunge(mailbox, &which, usize::MAX),
            move |session, expunged, turn| match expunged {
                // Which ones went is told like any other change.
                Ok(_) => session.finish(reply, "expunged", turn),
                Err(error) => refuse_for(reply, &error, turn),
            },
        )
    }
}

fn with_copy_uid<T>(copied: &Copied, then: impl FnOnce(Code<'_>) -> T) -> T {
    // In the same order on both sides: a run is a range only where it is one on both.
    let (mut source, mut target): (Vec<RangeInclusiveU32>, Vec<RangeInclusiveU32>) = (Vec::new(), Vec::new());
    for &(from, to) in &copied.pairs {
        let follows = |ranges: &[RangeInclusiveU32], uid: u32| {
            ranges.last().is_some_and(|range| range.last().checked_add(1) == Some(uid))
        };
        if follows(&source, from) && follows(&target, to) {
            for (ranges, uid) in [(&mut source, from), (&mut target, to)] {
                if let Some(last) = ranges.last_mut() {
                    *last = RangeInclusiveU32::new(last.first(), uid);
                }
            }
        } else {
            source.push(from.into());
            target.push(to.into());
        }
    }
    then(Code::CopyUid {
        uid_validity: copied.uid_validity,
        source: Numbers::new(&source),
        target: Numbers::new(&target),
    })
}

/// Rising numbers as ranges.
pub(super) fn ranges(numbers: impl IntoIterator<Item = u32>) -> Vec<RangeInclusiveU32> {
    let mut ranges: Vec<RangeInclusiveU32> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.last().checked_add(1) == Some(number) => {
                *last = RangeInclusiveU32::new(last.first(), number);
            }
            _ => ranges.push(number.into()),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_ranges() {
        let of = |numbers: &[u32]| ranges(numbers.iter().copied());
        assert_eq!(of(&[1, 2, 3, 7]), [RangeInclusiveU32::new(1, 3), 7.into()]);
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn both_sides_of_copyuid_have_the_same_order() {
        let copied = Copied { uid_validity: 9, pairs: vec![(1, 4), (2, 5), (4, 6)], next: None };
        with_copy_uid(&copied, |code| {
            let Code::CopyUid { source, target, .. } = code else { panic!() };
            assert_eq!(source.iter().collect::<Vec<_>>(), [1, 2, 4]);
            assert_eq!(target.iter().collect::<Vec<_>>(), [4, 5, 6]);
        });
    }
}
