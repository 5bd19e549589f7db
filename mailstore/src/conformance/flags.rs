//! Flags, keywords and mod-sequences.

use super::case::{Case, Feature};
use super::fixture::{ALL, Fixture};
use crate::error::Error;
use crate::flags::{Flags, MAILBOX_KEYWORD_LIMIT};
use crate::store::Store;
use crate::types::*;

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case { name: "adds_removes_and_replaces_flags", needs: &[], run: adds_removes_and_replaces_flags },
    Case { name: "counters_follow_flags", needs: &[], run: counters_follow_flags },
    Case { name: "mod_sequences_only_grow", needs: &[], run: mod_sequences_only_grow },
    Case { name: "unchanged_since_protects_later_changes", needs: &[], run: unchanged_since_protects },
    Case { name: "says_the_mod_sequence_before_a_change", needs: &[], run: says_the_modseq_before_a_change },
    Case { name: "flag_changes_continue_after_each_slice", needs: &[], run: flag_changes_in_slices },
    Case { name: "limits_keywords_of_a_message", needs: &[], run: limits_keywords_of_a_message },
    Case { name: "keyword_numbers_only_grow", needs: &[Feature::Keywords], run: keyword_numbers_only_grow },
    Case {
        name: "limits_keywords_of_any_mailbox",
        needs: &[Feature::Keywords],
        run: limits_keywords_of_any_mailbox,
    },
    Case {
        name: "keyword_limit_fails_one_delivery_only",
        needs: &[Feature::Keywords],
        run: keyword_limit_fails_one_delivery_only,
    },
];

fn flags_of(f: &Fixture) -> Vec<String> {
    f.page(f.inbox).iter().map(|message| message.flags.to_string()).collect()
}

fn adds_removes_and_replaces_flags(f: &Fixture) {
    f.deliver(b"a", &[f.inbox], &["\\Draft", "Work"]).unwrap();
    f.append("b");
    let all = UidSet::all();
    let stored = f.set_flags(f.inbox, &all, StoreMode::Add, &["\\Seen", "WORK"]).unwrap();
    assert_eq!((stored.changed.len(), stored.unchanged.len(), stored.next), (2, 0, None));
    assert_eq!(stored.changed[0].flags.to_string(), "\\Seen \\Draft Work");
    let stored = f.set_flags(f.inbox, &all, StoreMode::Remove, &["\\Draft", "work", "other"]).unwrap();
    assert_eq!(stored.changed.iter().map(|message| message.uid).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(flags_of(f), ["\\Seen", "\\Seen"]);
    let stored = f.set_flags(f.inbox, &UidSet::one(2), StoreMode::Replace, &["\\Answered", "x"]).unwrap();
    assert_eq!(stored.changed[0].flags.to_string(), "\\Answered x");
    assert_eq!(flags_of(f), ["\\Seen", "\\Answered x"]);
    let stored = f.set_flags(f.inbox, &[2, 99].into_iter().collect(), StoreMode::Add, &["X"]).unwrap();
    assert_eq!((stored.changed.len(), stored.unchanged.len(), stored.modseq), (0, 1, None));
    assert_eq!(stored.unchanged[0].flags.to_string(), "\\Answered x");
}

fn counters_follow_flags(f: &Fixture) {
    f.append_many(3);
    let status = f.status(f.inbox);
    assert_eq!((status.messages, status.unseen, status.deleted, status.size), (3, 3, 0, 3));
    f.set_flags(f.inbox, &[1, 2].into_iter().collect(), StoreMode::Add, &["\\Seen", "\\Deleted"]).unwrap();
    let status = f.status(f.inbox);
    assert_eq!((status.unseen, status.deleted, status.deleted_size), (1, 2, 2));
    f.set_flags(f.inbox, &UidSet::one(1), StoreMode::Replace, &["\\Deleted"]).unwrap();
    assert_eq!((f.status(f.inbox).unseen, f.status(f.inbox).deleted), (2, 2));
    f.set_flags(f.inbox, &UidSet::one(2), StoreMode::Remove, &["\\Deleted"]).unwrap();
    assert!(f.expunge(f.inbox, &Expunge::DeletedAmong(UidSet::one(2))).is_empty());
    assert_eq!(f.expunge(f.inbox, &Expunge::Deleted), [1]);
    assert!(f.expunge(f.inbox, &Expunge::Deleted).is_empty());
    let status = f.status(f.inbox);
    assert_eq!((status.messages, status.unseen, status.deleted, status.size), (2, 1, 0, 2));
    assert_eq!(status.deleted_size, 0);
}

fn mod_sequences_only_grow(f: &Fixture) {
    let work = f.create("work");
    let highest = || f.status(f.inbox).highest_modseq;
    let mut last = highest();
    assert!(last >= 1);
    let mut grown = |what: &str| {
        let now = highest();
        assert!(now > last, "{what}: {now} after {last}");
        assert!(f.page(f.inbox).iter().all(|message| message.modseq <= now), "{what}");
        last = now;
    };
    f.append("a");
    grown("append");
    f.append("b");
    grown("append");
    let stored = f.set_flags(f.inbox, &UidSet::all(), StoreMode::Add, &["\\Seen"]).unwrap();
    grown("flags");
    assert_eq!(stored.modseq, Some(highest()));
    assert!(stored.changed.iter().all(|message| Some(message.modseq) == stored.modseq));
    f.store.copy(f.inbox, &UidSet::one(1), f.inbox, ALL).unwrap();
    grown("copy");
    f.remove(f.inbox, [1]);
    grown("expunge");
    f.store.move_messages(f.inbox, &UidSet::one(2), work, ALL).unwrap();
    grown("move");
    let before = f.status(f.inbox);
    f.set_flags(f.inbox, &UidSet::all(), StoreMode::Add, &["\\Seen"]).unwrap();
    f.remove(f.inbox, [1, 2]);
    f.store.copy(f.inbox, &UidSet::one(99), f.inbox, ALL).unwrap();
    assert_eq!(f.status(f.inbox), before, "calls that change nothing");
}

fn unchanged_since_protects(f: &Fixture) {
    f.append_many(3);
    let known = f.status(f.inbox).highest_modseq;
    f.set_flags(f.inbox, &UidSet::one(2), StoreMode::Add, &["\\Seen"]).unwrap();
    let flagged = Flags::system(Flags::FLAGGED);
    let stored = f.store.store_flags(f.inbox, &UidSet::all(), StoreMode::Add, &flagged, Some(known), ALL);
    let stored = stored.unwrap();
    assert_eq!((stored.changed.len(), stored.modified.as_slice()), (2, &[2][..]));
    assert_eq!(flags_of(f), ["\\Flagged", "\\Seen", "\\Flagged"]);
    let stored =
        f.store.store_flags(f.inbox, &UidSet::all(), StoreMode::Add, &flagged, Some(0), ALL).unwrap();
    assert_eq!((stored.changed.len(), stored.modified.len()), (0, 3));
}

fn says_the_modseq_before_a_change(f: &Fixture) {
    f.append_many(3);
    let before: Vec<u64> = f.page(f.inbox).iter().map(|message| message.modseq).collect();
    let first = f.set_flags(f.inbox, &UidSet::one(2), StoreMode::Add, &["\\Flagged"]).unwrap();
    assert_eq!(first.changed[0].previous_modseq, before[1]);
    let since = first.modseq;
    let seen = Flags::system(Flags::SEEN);
    let second = f.store.store_flags(f.inbox, &UidSet::all(), StoreMode::Add, &seen, since, ALL).unwrap();
    let previous: Vec<u64> = second.changed.iter().map(|message| message.previous_modseq).collect();
    assert_eq!(previous, [before[0], first.modseq.unwrap(), before[2]]);
    assert!(second.changed.iter().all(|message| message.previous_modseq < message.modseq));
}

fn flag_changes_in_slices(f: &Fixture) {
    f.append_many(7);
    let flags = Flags::parse(["\\Deleted", "Later"]).unwrap();
    let (mut rest, mut changed) = (UidSet::all(), Vec::new());
    while !rest.is_empty() {
        let stored = f.store.store_flags(f.inbox, &rest, StoreMode::Add, &flags, None, 3).unwrap();
        assert!(stored.changed.len() <= 3);
        changed.extend(stored.changed.iter().map(|message| message.uid));
        rest = stored.next.map(|next| rest.starting_at(next)).unwrap_or_default();
    }
    assert_eq!(changed, (1..=7).collect::<Vec<_>>());
    f.set_flags(f.inbox, &UidSet::one(1), StoreMode::Remove, &["\\Deleted"]).unwrap();
    let (mut which, mut gone) = (UidSet::all(), Vec::new());
    while !which.is_empty() {
        let expunged = f.store.expunge(f.inbox, &Expunge::DeletedAmong(which.clone()), 4).unwrap();
        assert!(expunged.uids.len() <= 4);
        gone.extend(expunged.uids);
        which = expunged.next.map(|next| which.starting_at(next)).unwrap_or_default();
    }
    assert_eq!(gone, (2..=7).collect::<Vec<_>>());
}

fn limits_keywords_of_a_message(f: &Fixture) {
    let names: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    f.deliver(b"x", &[f.inbox], &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let more = f.set_flags(f.inbox, &UidSet::all(), StoreMode::Add, &["one", "\\Seen"]);
    assert!(matches!(more, Err(Error::Limit(_))));
    let message = &f.page(f.inbox)[0];
    assert_eq!((message.flags.keywords().len(), message.flags.contains(Flags::SEEN)), (100, false));
    f.set_flags(f.inbox, &UidSet::all(), StoreMode::Add, &["K7"]).unwrap();
}

fn keyword_numbers_only_grow(f: &Fixture) {
    f.deliver(b"a", &[f.inbox], &["One", "two"]).unwrap();
    f.deliver(b"b", &[f.inbox], &["TWO", "three"]).unwrap();
    let page = f.page(f.inbox);
    assert_eq!(page[1].flags.to_string(), "two three", "a mailbox has one spelling of a keyword");
    assert_eq!((page[0].flags.newest_keyword(), page[1].flags.newest_keyword()), (2, 3));
    let newest = |mode, keyword: &str| {
        let stored = f.set_flags(f.inbox, &UidSet::one(2), mode, &[keyword]).unwrap();
        let unchanged = stored.unchanged.first().map(|message| &message.flags);
        let flags = stored.changed.first().map(|message| &message.flags).or(unchanged).unwrap();
        assert_eq!(f.page(f.inbox)[1].flags.newest_keyword(), flags.newest_keyword());
        flags.newest_keyword()
    };
    assert_eq!((newest(StoreMode::Add, "one"), newest(StoreMode::Remove, "three")), (3, 2));
    assert_eq!((newest(StoreMode::Remove, "two"), newest(StoreMode::Remove, "one")), (1, 0));
    assert_eq!((newest(StoreMode::Add, "\\Seen"), newest(StoreMode::Replace, "THREE")), (0, 3));
    f.remove(f.inbox, [2]);
    let known = f.store.keywords(f.inbox).unwrap();
    assert_eq!(known.names.iter().map(|name| &**name).collect::<Vec<_>>(), ["One", "two", "three"]);
    assert_eq!((known.newest, known.is_full()), (3, false));
    assert_eq!(f.store.select(f.inbox, Access::ReadOnly).unwrap().keywords, known);
    let other = f.create("other");
    f.deliver(b"x", &[other], &["Two"]).unwrap();
    f.store.copy(f.inbox, &UidSet::one(1), other, ALL).unwrap();
    assert_eq!(
        f.page(other)[1].flags.to_string(),
        "Two One",
        "each mailbox has its own spelling and numbers"
    );
}

fn limits_keywords_of_any_mailbox(f: &Fixture) {
    f.append("x");
    let names: Vec<String> = (0..=MAILBOX_KEYWORD_LIMIT).map(|n| format!("k{n}")).collect();
    let set = |names: &[String]| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        f.set_flags(f.inbox, &UidSet::one(1), StoreMode::Replace, &names)
    };
    for some in names[..MAILBOX_KEYWORD_LIMIT].chunks(100) {
        set(some).unwrap();
    }
    assert!(f.store.keywords(f.inbox).unwrap().is_full());
    assert!(matches!(set(&names[MAILBOX_KEYWORD_LIMIT..]), Err(Error::Limit(_))));
    set(&names[..100]).unwrap();
    assert_eq!(f.page(f.inbox)[0].flags.keywords().len(), 100);
}

fn keyword_limit_fails_one_delivery_only(f: &Fixture) {
    let work = f.create("work");
    for chunk in (0..MAILBOX_KEYWORD_LIMIT).collect::<Vec<_>>().chunks(100) {
        let names: Vec<String> = chunk.iter().map(|n| format!("k{n}")).collect();
        f.deliver(b"x", &[f.inbox], &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    let delivery = |mailbox, keyword| f.delivery(b"x", &[mailbox], &[keyword]);
    let batch = vec![delivery(f.inbox, "new"), delivery(f.inbox, "k1"), delivery(work, "new")];
    let outcomes = f.store.append_batch(batch).unwrap();
    let refused: Vec<bool> = outcomes.iter().map(|outcome| matches!(outcome, Err(Error::Limit(_)))).collect();
    assert_eq!(refused, [true, false, false]);
}
