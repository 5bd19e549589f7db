//! Calls of several threads at the same time.

use super::case::Case;
use super::fixture::{ALL, Fixture};
use crate::error::Error;
use crate::flags::Flags;
use crate::store::Store;
use crate::types::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case { name: "threads_append_and_read_at_the_same_time", needs: &[], run: threads_append_and_read },
    Case { name: "threads_change_a_mailbox_at_the_same_time", needs: &[], run: threads_change_a_mailbox },
    Case { name: "only_one_thread_creates_a_mailbox", needs: &[], run: only_one_thread_creates_a_mailbox },
];

fn threads_append_and_read(f: &Fixture) {
    let (threads, each) = (8, 25);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for n in 0..each {
                    let text = format!("Subject: {thread}-{n}\r\n\r\n");
                    let uid = f.append(&text);
                    let columns = Columns::summary().with_small_bodies();
                    let page = f.store.fetch_page(f.inbox, &UidSet::one(uid), columns, 1).unwrap();
                    assert_eq!(page.messages[0].body.as_deref(), Some(text.as_bytes()));
                }
            });
        }
    });
    assert_eq!(f.uids(f.inbox), (1..=threads * each).collect::<Vec<_>>());
    let status = f.status(f.inbox);
    assert_eq!((status.messages, status.unseen), (threads * each, threads * each));
}

fn threads_change_a_mailbox(f: &Fixture) {
    let work = f.create("work");
    f.append_many(40);
    let all = UidSet::all();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..20 {
                let mode = if round % 2 == 0 { StoreMode::Add } else { StoreMode::Remove };
                let flags = Flags::parse(["\\Seen", "Work"]).unwrap();
                f.store.store_flags(f.inbox, &all, mode, &flags, None, 7).unwrap();
            }
        });
        scope.spawn(|| {
            (0..10).for_each(|n| drop(f.store.copy(f.inbox, &UidSet::one(20 + n), work, ALL).unwrap()))
        });
        scope.spawn(|| (1..=10).for_each(|uid| drop(f.remove(f.inbox, [uid]))));
        scope.spawn(|| {
            (11..=15)
                .for_each(|uid| drop(f.store.move_messages(f.inbox, &UidSet::one(uid), work, 1).unwrap()));
        });
        scope.spawn(|| {
            for _ in 0..20 {
                let (messages, status) = (f.page(f.inbox).len(), f.status(f.inbox));
                assert!((25..=40).contains(&messages) && status.unseen <= status.messages);
            }
        });
    });
    let messages = f.page(f.inbox);
    let status = f.status(f.inbox);
    let unseen = messages.iter().filter(|message| !message.flags.contains(Flags::SEEN)).count();
    assert_eq!((status.messages as usize, status.unseen as usize), (25, unseen));
    assert_eq!((messages.len(), f.uids(work).len()), (25, 15));
    let known: BTreeSet<u32> = messages.iter().map(|message| message.uid).collect();
    assert_eq!(known, (16..=40).collect());
}

fn only_one_thread_creates_a_mailbox(f: &Fixture) {
    let created = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| match f.store.create_mailbox(f.account, "shared/box", None) {
                Ok(_) => drop(created.fetch_add(1, Ordering::SeqCst)),
                Err(Error::Exists(_)) => {}
                Err(error) => panic!("{error}"),
            });
        }
    });
    assert_eq!(created.load(Ordering::SeqCst), 1);
    assert_eq!(f.names().iter().filter(|name| name.starts_with("shared")).count(), 2);
}
