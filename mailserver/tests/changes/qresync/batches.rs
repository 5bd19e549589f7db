//! UIDBATCHES (RFC 10022), over every store.

use std::sync::Arc;

use mailstore::{Delivery, Flags, InternalDate, Store, Target};

use super::super::{append, login, select, with_stores};
use super::{enabled, expunge, inbox, lines, run};
use crate::pipe::Session;

/// Stores many small messages in few transactions.
fn append_many(store: &Arc<dyn Store>, count: usize) {
    let mailbox = inbox(store);
    let mut left = count;
    while left > 0 {
        let now = left.min(200);
        left -= now;
        let deliveries = (0..now).map(|_| {
            let mut upload = store.upload().unwrap();
            upload.write(b"Subject: hello\r\n\r\nx").unwrap();
            let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
            Delivery { upload, targets: vec![target] }
        });
        for appended in store.append_batch(deliveries.collect()).unwrap() {
            appended.unwrap();
        }
    }
}

fn batches(session: &mut Session, arguments: &str) -> String {
    let answer = run(session, &format!("UIDBATCHES {arguments}"));
    let found = lines(&answer, "* UIDBATCHES ");
    let [line] = found[..] else { panic!("{answer}") };
    assert!(answer.starts_with(line), "{answer}");
    line.strip_prefix("* UIDBATCHES (TAG \"x\")").unwrap().to_owned()
}

#[test]
fn batches_have_the_requested_size_and_leave_no_gap() {
    with_stores(|context, store, _| {
        append_many(store, 1_205);
        expunge(store, 10..=14);
        expunge(store, [702, 1_205]);
        // 1,198 messages: 500 down to 704, 500 down to 203 (702 is gone), and 198.
        let mut session = enabled(context, "UIDONLY");
        run(&mut session, "SELECT INBOX");
        assert_eq!(batches(&mut session, "500"), " 1204:705,704:204,203:1");
        assert_eq!(batches(&mut session, "500 1:1"), " 1204:705");
        assert_eq!(batches(&mut session, "500 2:3"), " 704:204,203:1");
        assert_eq!(batches(&mut session, "500 4:200"), "");
        assert_eq!(batches(&mut session, "1198"), " 1204:1");
        assert_eq!(batches(&mut session, "4294967295"), " 1204:1");
        for (range, count) in [("705:1204", 500), ("204:704", 500), ("1:203", 198)] {
            let answer = run(&mut session, &format!("UID SEARCH RETURN (COUNT) UID {range}"));
            assert!(answer.contains(&format!("COUNT {count}\r\n")), "{range}: {answer}");
        }
    });
}

#[test]
fn batches_are_those_of_the_messages_that_the_client_knows() {
    with_stores(|context, store, _| {
        append(&**store, 3, 10);
        let mut session = select(context, "SELECT INBOX");
        run(&mut session, "UID SEARCH RETURN (SAVE) UID 2");
        append(&**store, 2, 10);
        expunge(store, [3]);
        let answer = run(&mut session, "UIDBATCHES 500");
        let told = ["* UIDBATCHES (TAG \"x\") 3:1\r\n", "* 3 EXPUNGE\r\n", "* 4 EXISTS\r\n", "x OK "];
        let places = told.map(|what| answer.find(what).unwrap_or_else(|| panic!("{what}: {answer}")));
        assert!(places.is_sorted(), "{answer}");
        assert_eq!(batches(&mut session, "500"), " 5:1");
        // The saved result is as it was.
        assert_eq!(lines(&run(&mut session, "UID FETCH $ (UID)"), " FETCH "), ["* 2 FETCH (UID 2)"]);
        expunge(store, 1..=5);
        run(&mut session, "NOOP");
        assert_eq!(batches(&mut session, "500"), "");
    });
}

#[test]
fn small_batches_and_too_many_messages_are_refused() {
    with_stores(|context, store, _| {
        append(&**store, 1, 10);
        let mut session = login(context);
        assert!(session.exchange("c UIDBATCHES 500\r\n", "\r\n").starts_with("c BAD "));
        run(&mut session, "EXAMINE INBOX");
        for (arguments, expected) in [
            ("1", "c NO [TOOFEW] "),
            ("499 1:1", "c NO [TOOFEW] "),
            ("500 1:201", "c NO [TOOMANY] "),
            ("100001 7:7", "c NO [TOOMANY] "),
            ("4294967295 1:4294967295", "c NO [TOOMANY] "),
            ("500 20:10", "c BAD "),
            ("500 0:1", "c BAD "),
            ("0", "c BAD "),
            ("500 1", "c BAD "),
            ("500 1:*", "c BAD "),
        ] {
            let answer = session.exchange(&format!("c UIDBATCHES {arguments}\r\n"), "\r\n");
            assert!(answer.starts_with(expected), "{arguments}: {answer}");
        }
        assert_eq!(batches(&mut session, "500 1:200"), " 1:1");
        assert_eq!(batches(&mut session, "100000 1:1"), " 1:1");
    });
}
