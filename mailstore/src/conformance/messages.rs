//! Messages: exact bytes, UIDs, pages, sharing of content.

use super::case::{Case, Feature};
use super::fixture::{ALL, DATE, Fixture, over};
use crate::default_copies::REPLACED_MESSAGE;
use crate::error::Error;
use crate::flags::Flags;
use crate::store::Store;
use crate::types::*;

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case {
        name: "returns_messages_exactly_as_appended",
        needs: &[],
        run: returns_messages_exactly_as_appended,
    },
    Case { name: "uids_ascend_and_are_never_reused", needs: &[], run: uids_ascend_and_are_never_reused },
    Case { name: "pages_continue_where_they_ended", needs: &[], run: pages_continue_where_they_ended },
    Case { name: "uid_pages_have_a_range_and_a_limit", needs: &[], run: uid_pages_have_a_range_and_a_limit },
    Case { name: "a_page_is_bounded_in_memory", needs: &[], run: a_page_is_bounded_in_memory },
    Case { name: "an_open_body_never_changes", needs: &[], run: an_open_body_never_changes },
    Case { name: "appends_to_all_targets_or_none", needs: &[], run: appends_to_all_targets_or_none },
    Case {
        name: "a_batch_has_a_result_for_each_delivery",
        needs: &[],
        run: a_batch_has_a_result_for_each_delivery,
    },
    Case { name: "appends_together_and_replaces_or_changes_nothing", needs: &[], run: appends_together },
    Case {
        name: "a_replacement_counts_only_what_it_adds_for_the_quota",
        needs: &[Feature::Quotas],
        run: replacement_and_quota,
    },
    Case { name: "parks_complete_uploads", needs: &[], run: parks_complete_uploads },
    Case { name: "missing_items_are_not_found", needs: &[], run: missing_items_are_not_found },
    Case {
        name: "copies_share_an_email_id_that_finds_them",
        needs: &[Feature::SharedContent, Feature::Accounts],
        run: copies_share_an_email_id_that_finds_them,
    },
    Case { name: "email_ids_find_their_messages", needs: &[], run: email_ids_find_their_messages },
    Case {
        name: "content_is_freed_with_its_last_message",
        needs: &[Feature::SharedContent],
        run: content_is_freed,
    },
    Case {
        name: "messages_are_recent_in_one_session",
        needs: &[Feature::Recent],
        run: recent_in_one_session,
    },
    Case {
        name: "recent_counts_unseen_arrivals_only",
        needs: &[Feature::Recent],
        run: recent_counts_arrivals,
    },
];

fn returns_messages_exactly_as_appended(f: &Fixture) {
    let odd: Vec<u8> = (0..=255).chain([b'\r', b'\n', 0]).collect();
    let large = [b"Subject: large\r\n\r\n".to_vec(), vec![b'x'; 200_000]].concat();
    for text in [&b""[..], &odd, &large] {
        f.deliver(text, &[f.inbox], &["\\Seen", "$Work"]).unwrap();
    }
    let page = f.page(f.inbox);
    assert_eq!(page.iter().map(|message| message.uid).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(page[0].internal_date, DATE);
    assert_eq!(page[1].flags.to_string(), "\\Seen $Work");
    assert_eq!((page[0].body.as_deref(), page[1].body.as_deref()), (Some(&b""[..]), Some(odd.as_slice())));
    assert_eq!((page[2].body.as_deref(), page[2].size), (None, large.len() as u64));
    assert_eq!(page[2].envelope.as_ref().unwrap().subject.as_deref(), Some("large"));
    let body = f.store.open_content(page[2].content).unwrap();
    assert_eq!(body.read(0, usize::MAX).unwrap(), large);
    let text = page[2].structure.as_ref().unwrap().body;
    assert_eq!((text.start, text.end), (18, 200_018));
    f.deliver(b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\n", &[f.inbox], &[]).unwrap();
    let sent: Vec<_> = f.page(f.inbox).iter().map(|message| message.sent_date).collect();
    assert_eq!(sent, [None, None, None, Some(1_700_000_000)]);
    let summary = f.store.fetch_page(f.inbox, &UidSet::one(3), Columns::summary(), 1).unwrap();
    assert!(summary.messages[0].envelope.is_none() && summary.messages[0].structure.is_none());
    assert_eq!(f.status(f.inbox).size, 259 + 200_018 + 41);
}

fn uids_ascend_and_are_never_reused(f: &Fixture) {
    let mut last = 0;
    for round in 0..5 {
        let next = f.status(f.inbox).uid_next;
        let uid = f.append("x");
        assert!(uid > last && uid >= next && f.status(f.inbox).uid_next > uid);
        last = uid;
        if round % 2 == 0 {
            f.remove(f.inbox, [uid]);
        }
    }
    f.remove(f.inbox, [1, 2, 3, 4, 5, 6]);
    assert!(f.uids(f.inbox).is_empty());
    assert!(f.append("y") > last);
}

fn pages_continue_where_they_ended(f: &Fixture) {
    for n in 0..25 {
        f.append(&format!("Subject: {n}\r\n\r\n"));
    }
    let (mut set, mut seen): (UidSet, Vec<u32>) = ([2..=11, 20..=u32::MAX].into_iter().collect(), Vec::new());
    loop {
        let page = f.store.fetch_page(f.inbox, &set, Columns::summary(), 4).unwrap();
        assert!(page.messages.len() <= 4);
        seen.extend(page.messages.iter().map(|message| message.uid));
        let Some(next) = page.next else { break };
        set = set.starting_at(next);
    }
    assert_eq!(seen, (2..=11).chain(20..=25).collect::<Vec<_>>());
    let none = f.store.fetch_page(f.inbox, &[26..=99].into_iter().collect(), Columns::summary(), 4).unwrap();
    assert_eq!(none, Page::default());
}

fn uid_pages_have_a_range_and_a_limit(f: &Fixture) {
    for n in 0..10 {
        f.deliver(b"x", &[f.inbox], if n < 4 { &["\\Seen"] } else { &[] }).unwrap();
    }
    let (mut from, mut seen) = (2, Vec::new());
    loop {
        let page = f.store.uid_page(f.inbox, from, 9, 3).unwrap();
        assert!(page.uids.len() <= 3);
        assert_eq!(page.first_unseen, page.uids.iter().copied().find(|uid| *uid > 4));
        seen.extend(page.uids);
        let Some(next) = page.next else { break };
        from = next;
    }
    assert_eq!(seen, (2..9).collect::<Vec<_>>());
    assert_eq!(f.store.uid_page(f.inbox, 5, 5, 3).unwrap().uids, [0_u32; 0]);
    assert_eq!(f.store.uid_page(f.inbox, 1, u32::MAX, 0).unwrap().uids, [1], "a page has at least one UID");
}

fn a_page_is_bounded_in_memory(f: &Fixture) {
    let text = [b"Subject: x\r\n\r\n".to_vec(), vec![b'x'; 60_000]].concat();
    (0..20).for_each(|_| drop(f.deliver(&text, &[f.inbox], &[]).unwrap()));
    let (mut rest, mut count) = (UidSet::all(), 0);
    while !rest.is_empty() {
        let page = f.store.fetch_page(f.inbox, &rest, Columns::summary().with_small_bodies(), ALL).unwrap();
        let bytes: usize =
            page.messages.iter().filter_map(|message| Some(message.body.as_ref()?.len())).sum();
        assert!(bytes <= 512 * 1024 + text.len(), "{bytes} bytes in a page");
        count += page.messages.len();
        rest = page.next.map_or_else(UidSet::default, |next| rest.starting_at(next));
    }
    assert_eq!(count, 20);
}

fn an_open_body_never_changes(f: &Fixture) {
    for size in [100, 200_000] {
        let text = vec![b'y'; size];
        let appended = f.deliver(&text, &[f.inbox], &[]).unwrap()[0];
        let body = f.store.open_content(appended.content).unwrap();
        f.set_flags(f.inbox, &UidSet::all(), StoreMode::Add, &["\\Seen"]).unwrap();
        f.remove(f.inbox, [appended.uid]);
        f.deliver(&vec![b'z'; size], &[f.inbox], &[]).unwrap();
        assert_eq!((body.size(), body.read(0, usize::MAX).unwrap()), (size as u64, text));
        assert_eq!(body.read(size as u64 - 1, 10).unwrap(), b"y");
        assert_eq!(body.read(size as u64 + 1, 10).unwrap(), b"");
        assert!(matches!(f.store.open_content(appended.content), Err(Error::NotFound(_))));
    }
}

fn appends_to_all_targets_or_none(f: &Fixture) {
    let (one, two) = (f.create("one"), f.create("two"));
    let appended = f.deliver(b"x", &[one, two, one], &[]).unwrap();
    let found: Vec<_> = appended.iter().map(|appended| (appended.mailbox, appended.uid)).collect();
    assert_eq!(found, [(one, 1), (two, 1), (one, 2)]);
    assert_eq!(appended[1].uid_validity, f.status(two).uid_validity);
    assert!(matches!(f.deliver(b"x", &[one, MailboxId(999_999)], &[]), Err(Error::NotFound(_))));
    assert_eq!((f.uids(one), f.uids(two)), (vec![1, 2], vec![1]));
    assert!(f.deliver(b"x", &[], &[]).unwrap().is_empty());
}

fn a_batch_has_a_result_for_each_delivery(f: &Fixture) {
    let gone = MailboxId(999_999);
    let large = vec![1; 100_000];
    let batch = vec![
        f.delivery(&large, &[gone], &[]),
        f.delivery(b"a", &[f.inbox], &[]),
        f.delivery(b"b", &[], &[]),
        f.delivery(&large, &[f.inbox], &["\\Draft"]),
    ];
    let outcomes = f.store.append_batch(batch).unwrap();
    assert!(matches!(outcomes[0], Err(Error::NotFound("mailbox"))));
    assert!(matches!(&outcomes[2], Ok(none) if none.is_empty()));
    assert_eq!((outcomes[1].as_ref().unwrap()[0].uid, outcomes[3].as_ref().unwrap()[0].uid), (1, 2));
    assert_eq!(f.status(f.inbox).messages, 2);
    assert!(f.store.append_batch(Vec::new()).unwrap().is_empty());
}

fn missing_items_are_not_found(f: &Fixture) {
    let (mailbox, all) = (MailboxId(999_999), UidSet::all());
    assert!(matches!(f.store.status(mailbox), Err(Error::NotFound(_))));
    assert!(matches!(f.store.select(mailbox, Access::ReadWrite), Err(Error::NotFound(_))));
    assert!(matches!(f.store.fetch_page(mailbox, &all, Columns::summary(), 1), Err(Error::NotFound(_))));
    let flags = Flags::system(Flags::SEEN);
    let stored = f.store.store_flags(mailbox, &all, StoreMode::Add, &flags, None, 1);
    assert!(matches!(stored, Err(Error::NotFound(_))));
    assert!(matches!(f.store.expunge(mailbox, &Expunge::Deleted, 1), Err(Error::NotFound(_))));
    let changes = f.store.changes_since(mailbox, &ChangeCursor::default(), 1);
    assert!(matches!(changes, Err(Error::NotFound(_))));
    assert!(matches!(f.store.copy(f.inbox, &all, mailbox, 1), Err(Error::NotFound(_))));
    assert!(matches!(f.store.copy(mailbox, &all, f.inbox, 1), Err(Error::NotFound(_))));
    assert!(matches!(f.store.open_content(ContentId(999_999)), Err(Error::NotFound(_))));
    assert!(f.remove(f.inbox, [1, 2]).is_empty());
}

fn copies_share_an_email_id_that_finds_them(f: &Fixture) {
    let other = f.store.create_account("bob", b"password").unwrap().id;
    let theirs = f.store.mailbox(other, "INBOX").unwrap().id;
    let work = f.create("work");
    let appended = f.deliver(b"x", &[f.inbox, work, theirs], &[]).unwrap();
    f.store.copy(f.inbox, &UidSet::one(1), f.inbox, ALL).unwrap();
    f.append("x");
    let content = appended[0].content;
    assert!(appended.iter().all(|appended| appended.content == content));
    let id = f.store.email_id(f.account, content);
    assert_eq!(f.store.find_email_id(f.account, &id), Some(content));
    assert_eq!(f.store.find_email_id(other, &id), None);
    assert_ne!(f.store.email_id(other, content), id);
    assert_eq!(f.store.uids_of_content(f.inbox, content).unwrap().ranges(), [1..=2]);
}

fn email_ids_find_their_messages(f: &Fixture) {
    let uids = [f.append("a"), f.append("b")];
    let page = f.store.fetch_page(f.inbox, &UidSet::all(), Columns::summary().with_email_id(), ALL).unwrap();
    for (message, uid) in page.messages.iter().zip(uids) {
        let id = message.email_id.as_deref().unwrap();
        assert!(!id.is_empty() && id.len() <= 255);
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{id}");
        assert_eq!(id, f.store.email_id(f.account, message.content));
        let content = f.store.find_email_id(f.account, id).unwrap();
        assert_eq!(f.store.uids_of_content(f.inbox, content).unwrap(), UidSet::one(uid));
    }
    assert!(f.store.uids_of_content(f.inbox, ContentId(999_999)).unwrap().is_empty());
    for bad in ["", "1", "M1", "é", "!aaaaaaaaaaaaaaaaaaaaa"] {
        assert_eq!(f.store.find_email_id(f.account, bad), None, "{bad}");
    }
}

fn content_is_freed(f: &Fixture) {
    let (one, two) = (f.create("one"), f.create("two"));
    let content = f.deliver(&vec![b'y'; 100_000], &[one, two], &[]).unwrap()[0].content;
    assert_eq!(f.store.copy(one, &UidSet::all(), f.inbox, ALL).unwrap().pairs, [(1, 1)]);
    for mailbox in [one, two, f.inbox] {
        assert_eq!(f.store.open_content(content).unwrap().size(), 100_000);
        assert_eq!(f.remove(mailbox, [1]), [1]);
    }
    assert!(matches!(f.store.open_content(content), Err(Error::NotFound(_))));
}

fn recent_in_one_session(f: &Fixture) {
    f.append("a");
    f.append("b");
    let examined = f.store.select(f.inbox, Access::ReadOnly).unwrap();
    assert_eq!((examined.status.recent, examined.first_recent_uid), (2, 1));
    let first = f.store.select(f.inbox, Access::ReadWrite).unwrap();
    assert_eq!((first.first_recent_uid, first.status.recent), (1, 2));
    let second = f.store.select(f.inbox, Access::ReadWrite).unwrap();
    assert_eq!((second.first_recent_uid, second.status.recent), (3, 0));
    f.append("c");
    assert_eq!(f.store.claim_recent(f.inbox, 4, Access::ReadOnly).unwrap(), 3);
    assert_eq!(f.store.claim_recent(f.inbox, 4, Access::ReadWrite).unwrap(), 3);
    assert_eq!(f.store.claim_recent(f.inbox, 4, Access::ReadWrite).unwrap(), 4, "it was claimed");
}

fn recent_counts_arrivals(f: &Fixture) {
    f.append_many(4);
    let recent = || f.status(f.inbox).recent;
    f.store.select(f.inbox, Access::ReadOnly).unwrap();
    assert_eq!(recent(), 4);
    f.remove(f.inbox, [2]);
    assert_eq!(recent(), 3);
    f.store.select(f.inbox, Access::ReadWrite).unwrap();
    assert_eq!(recent(), 0);
    f.append("x");
    f.remove(f.inbox, [1]);
    assert_eq!(recent(), 1);
    f.store.copy(f.inbox, &UidSet::one(3), f.inbox, ALL).unwrap();
    assert_eq!(recent(), 2);
}

fn appends_together(f: &Fixture) {
    let trash = f.create("trash");
    let texts =
        |mailbox| vec![f.delivery(b"one", &[mailbox], &["\\Seen"]), f.delivery(b"two", &[mailbox], &[])];
    let appended = f.store.append_together(texts(f.inbox), None).unwrap();
    let uids: Vec<u32> = appended.iter().flatten().map(|appended| appended.uid).collect();
    assert_eq!((uids, f.uids(f.inbox)), (vec![1, 2], vec![1, 2]));
    assert_eq!(f.page(f.inbox)[0].flags.to_string(), "\\Seen");

    // In the same mailbox, and in another one.
    let cursor = f.store.select(f.inbox, Access::ReadOnly).unwrap().cursor();
    f.store.append_together(vec![f.delivery(b"new", &[f.inbox], &[])], Some((f.inbox, 1))).unwrap();
    let changes = f.store.changes_since(f.inbox, &cursor, ALL).unwrap();
    assert_eq!((changes.vanished, changes.new), (vec![1], vec![3]));
    f.store.append_together(vec![f.delivery(b"sent", &[trash], &[])], Some((f.inbox, 2))).unwrap();
    assert_eq!((f.uids(f.inbox), f.uids(trash)), (vec![3], vec![1]));

    // Nothing changes if one of them fails.
    let gone = f.create("gone");
    f.store.delete_mailbox(f.account, "gone").unwrap();
    let before = (f.store.usage(f.account).unwrap(), f.uids(f.inbox));
    let mixed = vec![f.delivery(b"one", &[f.inbox], &[]), f.delivery(b"two", &[gone], &[])];
    assert!(matches!(f.store.append_together(mixed, Some((f.inbox, 3))), Err(Error::NotFound(_))));
    let late = f.store.append_together(texts(f.inbox), Some((f.inbox, 1)));
    assert!(matches!(late, Err(Error::NotFound(REPLACED_MESSAGE))), "{late:?}");
    assert_eq!((f.store.usage(f.account).unwrap(), f.uids(f.inbox)), before);
    assert_eq!(f.store.append_together(Vec::new(), None).unwrap(), Vec::<Vec<Appended>>::new());
}

fn replacement_and_quota(f: &Fixture) {
    f.set_quota(|quota| (quota.messages, quota.bytes) = (2, 100));
    let sized = |size| vec![f.delivery(&vec![b'x'; size], &[f.inbox], &[])];
    f.store.append_together([sized(40), sized(50)].into_iter().flatten().collect(), None).unwrap();
    assert!(over(f.store.append_together(sized(1), None)));
    assert!(over(f.store.append_together(sized(51), Some((f.inbox, 1)))));
    f.store.append_together(sized(50), Some((f.inbox, 1))).unwrap();
    // Over the quota, a message may still be replaced by one that is not larger.
    f.set_quota(|quota| (quota.messages, quota.bytes) = (1, 60));
    assert!(over(f.store.append_together(sized(51), Some((f.inbox, 3)))));
    f.store.append_together(sized(50), Some((f.inbox, 3))).unwrap();
    assert_eq!((f.uids(f.inbox), f.store.usage(f.account).unwrap().bytes), (vec![2, 4], 100));
}

fn parks_complete_uploads(f: &Fixture) {
    let (small, large) = (b"Subject: small\r\n\r\nx".to_vec(), vec![b'y'; 200_000]);
    let deliveries = [&small, &large].map(|text| {
        let mut delivery = f.delivery(text, &[f.inbox], &[]);
        assert!(delivery.upload.complete() > 0);
        delivery.upload.park().unwrap();
        assert!(delivery.upload.complete() < 1_000, "the bytes are not in memory");
        delivery
    });
    f.store.append_together(deliveries.into(), None).unwrap();
    let page = f.page(f.inbox);
    for (message, text) in page.iter().zip([small, large]) {
        assert_eq!(f.store.open_content(message.content).unwrap().read(0, ALL).unwrap(), text);
    }
    assert_eq!(page[0].envelope.as_ref().unwrap().subject.as_deref(), Some("small"));
}
