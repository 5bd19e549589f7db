//! COPY and MOVE.

use super::case::{Case, Feature};
use super::fixture::{ALL, Fixture, over};
use crate::store::Store;
use crate::types::*;

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case { name: "copies_keep_flags_dates_and_bytes", needs: &[], run: copies_keep_flags_dates_and_bytes },
    Case { name: "copies_within_a_mailbox_once", needs: &[], run: copies_within_a_mailbox_once },
    Case { name: "moves_messages", needs: &[], run: moves_messages },
    Case { name: "copies_and_moves_continue_after_each_slice", needs: &[], run: copies_and_moves_in_slices },
    Case { name: "failed_copy_copies_nothing", needs: &[Feature::Quotas], run: failed_copy_copies_nothing },
    Case {
        name: "undoes_unfinished_copies",
        needs: &[Feature::UnfinishedCopies],
        run: undoes_unfinished_copies,
    },
    Case { name: "keeps_a_forgotten_copy", needs: &[Feature::UnfinishedCopies], run: keeps_a_forgotten_copy },
];

fn copies_keep_flags_dates_and_bytes(f: &Fixture) {
    let work = f.create("work");
    let large = [b"Subject: large\r\n\r\n".to_vec(), vec![b'x'; 200_000]].concat();
    f.deliver(b"Subject: small\r\n\r\nx", &[f.inbox], &["\\Seen", "Later"]).unwrap();
    f.deliver(&large, &[f.inbox], &["\\Deleted"]).unwrap();
    let copied = f.store.copy(f.inbox, &UidSet::all(), work, ALL).unwrap();
    assert_eq!((copied.pairs.as_slice(), copied.next), (&[(1, 1), (2, 2)][..], None));
    assert_eq!(copied.uid_validity, f.status(work).uid_validity);
    for (original, copy) in f.page(f.inbox).iter().zip(&f.page(work)) {
        assert_eq!((&copy.flags, copy.internal_date), (&original.flags, original.internal_date));
        assert_eq!((copy.size, &copy.body), (original.size, &original.body));
        assert_eq!((&copy.envelope, copy.sent_date), (&original.envelope, original.sent_date));
        let bytes = |message: &Message| f.store.open_content(message.content).unwrap().read(0, ALL).unwrap();
        assert!(bytes(copy) == bytes(original));
    }
    f.set_flags(work, &UidSet::all(), StoreMode::Replace, &[]).unwrap();
    f.remove(work, [1]);
    assert_eq!(f.page(f.inbox)[0].flags.to_string(), "\\Seen Later", "a copy has flags of its own");
    assert_eq!(f.page(f.inbox)[0].body.as_deref(), Some(&b"Subject: small\r\n\r\nx"[..]));
}

fn copies_within_a_mailbox_once(f: &Fixture) {
    f.append("a");
    f.append("b");
    assert_eq!(f.store.copy(f.inbox, &UidSet::all(), f.inbox, ALL).unwrap().pairs, [(1, 3), (2, 4)]);
    assert_eq!(f.uids(f.inbox), [1, 2, 3, 4]);
    let moved = f.store.move_messages(f.inbox, &UidSet::one(1), f.inbox, ALL).unwrap();
    assert_eq!((moved.pairs.as_slice(), f.uids(f.inbox)), (&[(1, 5)][..], vec![2, 3, 4, 5]));
    assert_eq!(f.page(f.inbox)[3].body.as_deref(), Some(&b"a"[..]));
}

fn moves_messages(f: &Fixture) {
    f.append_many(3);
    let work = f.create("work");
    let moved = f.store.move_messages(f.inbox, &[1, 3, 77].into_iter().collect(), work, ALL).unwrap();
    assert_eq!(moved.pairs, [(1, 1), (3, 2)]);
    assert_eq!((f.uids(f.inbox), f.uids(work)), (vec![2], vec![1, 2]));
    let none = f.store.move_messages(f.inbox, &UidSet::one(99), work, ALL).unwrap();
    assert!(none.pairs.is_empty() && none.next.is_none());
    assert_eq!(f.page(work)[1].body.as_deref(), Some(&b"x"[..]));
}

fn copies_and_moves_in_slices(f: &Fixture) {
    let (work, other) = (f.create("work"), f.create("other"));
    for n in 0..9 {
        f.append(&format!("{n}"));
    }
    let (mut rest, mut pairs) = (UidSet::all(), Vec::new());
    while !rest.is_empty() {
        let copied = f.store.copy(f.inbox, &rest, work, 4).unwrap();
        assert!(copied.pairs.len() <= 4);
        pairs.extend(copied.pairs);
        rest = copied.next.map(|next| rest.starting_at(next)).unwrap_or_default();
    }
    assert_eq!(pairs, (1..=9).map(|uid| (uid, uid)).collect::<Vec<_>>());
    let mut rest = UidSet::all();
    while !rest.is_empty() {
        let moved = f.store.move_messages(f.inbox, &rest, other, 4).unwrap();
        assert_eq!(f.status(f.inbox).messages + f.status(other).messages, 9);
        rest = moved.next.map(|next| rest.starting_at(next)).unwrap_or_default();
    }
    let bodies: Vec<_> = f.page(other).into_iter().filter_map(|message| message.body).collect();
    assert_eq!(bodies, (0..9).map(|n| format!("{n}").into_bytes()).collect::<Vec<_>>());
}

fn failed_copy_copies_nothing(f: &Fixture) {
    let work = f.create("work");
    f.append_many(4);
    f.set_quota(|quota| quota.messages = 6);
    let before = (f.status(work), f.store.usage(f.account).unwrap());
    assert!(over(f.store.copy(f.inbox, &UidSet::all(), work, ALL)));
    assert_eq!(f.status(work).messages, 0);
    assert_eq!(f.store.usage(f.account).unwrap(), before.1);
    assert!(f.page(work).is_empty());
    f.store.copy(f.inbox, &[1, 2].into_iter().collect(), work, ALL).unwrap();
}

fn undoes_unfinished_copies(f: &Fixture) {
    f.append_many(25);
    let (cut, whole, deleted) = (f.create("cut"), f.create("whole"), f.create("deleted"));
    f.deliver(b"before", &[cut], &[]).unwrap();
    let part = |to, from: u32, part_of| {
        f.store.copy_part(f.inbox, &UidSet::all().starting_at(from), to, 10, part_of).unwrap()
    };
    // Two interleaved copies: one is finished, the other is not.
    let (first, second) = (part(cut, 1, None), part(whole, 1, None));
    assert!(first.unfinished.is_some() && first.unfinished != second.unfinished);
    f.deliver(b"between", &[cut], &[]).unwrap();
    let going_on = part(cut, first.next.unwrap(), first.unfinished);
    assert_eq!(going_on.unfinished, first.unfinished);
    let going_on = part(whole, second.next.unwrap(), second.unfinished);
    let last = part(whole, going_on.next.unwrap(), going_on.unfinished);
    assert_eq!((last.next, last.unfinished), (None, None));
    part(deleted, 1, None);
    f.store.delete_mailbox(f.account, "deleted").unwrap();
    assert_eq!(f.store.undo_unfinished_copies().unwrap(), 20);
    assert_eq!((f.uids(cut), f.uids(f.inbox).len(), f.uids(whole).len()), (vec![1, 12], 25, 25));
    assert_eq!(f.store.undo_unfinished_copies().unwrap(), 0);
}

fn keeps_a_forgotten_copy(f: &Fixture) {
    f.append_many(3);
    let copied = f.store.copy_part(f.inbox, &UidSet::all(), f.inbox, 2, None).unwrap();
    f.store.forget_copy(copied.unfinished.unwrap()).unwrap();
    assert_eq!(f.store.undo_unfinished_copies().unwrap(), 0);
    assert_eq!(f.status(f.inbox).messages, 5);
    let copy = || f.store.copy_part(f.inbox, &UidSet::all(), f.inbox, 2, None).unwrap().unfinished.unwrap();
    let (first, second) = (copy(), copy());
    assert_eq!(f.store.undo_copy(first).unwrap(), 2, "one copy of several is undone");
    assert_eq!((f.store.undo_copy(first).unwrap(), f.status(f.inbox).messages), (0, 7));
    assert_eq!(f.store.undo_copy(second).unwrap(), 2);
    let one = f.store.copy_part(f.inbox, &UidSet::one(1), f.inbox, 2, None).unwrap();
    assert_eq!(one.unfinished, None, "a copy of one part is not recorded");
}
