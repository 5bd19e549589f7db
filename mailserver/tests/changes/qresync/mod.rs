//! QRESYNC (RFC 7162 §3.2), UIDONLY (RFC 9586) and UIDBATCHES (RFC 10022), over every store.

mod batches;
mod mirror;
mod random;

use std::sync::Arc;

use mailstore::{Expunge, Flags, MailboxId, Store, StoreMode, UidSet};

use super::pipe::Session;
use super::{append, login, select, with_stores};

fn inbox(store: &Arc<dyn Store>) -> MailboxId {
    let account = store.account("ann").unwrap().unwrap().id;
    store.mailbox(account, "INBOX").unwrap().id
}

fn expunge(store: &Arc<dyn Store>, uids: impl IntoIterator<Item = u32>) {
    let mut left: UidSet = uids.into_iter().collect();
    while !left.is_empty() {
        let which = Expunge::Exactly(left.clone());
        let expunged = store.expunge(inbox(store), &which, 5_000).unwrap();
        left = expunged.next.map(|next| left.starting_at(next)).unwrap_or_default();
    }
}

fn flag(store: &Arc<dyn Store>, uid: u32) {
    let flags = Flags::parse(["\\Flagged"]).unwrap();
    store.store_flags(inbox(store), &UidSet::one(uid), StoreMode::Add, &flags, None, 10).unwrap();
}

fn highest(store: &Arc<dyn Store>) -> u64 {
    store.status(inbox(store)).unwrap().highest_modseq
}

fn uid_validity(store: &Arc<dyn Store>) -> u32 {
    store.status(inbox(store)).unwrap().uid_validity
}

/// A session that has logged in and enabled these extensions.
fn enabled(context: &Arc<mailserver::ServerContext>, extensions: &str) -> Session {
    let mut session = login(context);
    let answer = session.exchange(&format!("b ENABLE {extensions}\r\n"), "b OK");
    assert!(answer.contains(&format!("* ENABLED {extensions}\r\n")), "{answer}");
    session
}

fn run(session: &mut Session, command: &str) -> String {
    session.exchange(&format!("x {command}\r\n"), "x OK")
}

/// The lines of an answer that begin with this, or contain it after the number.
fn lines<'a>(answer: &'a str, what: &str) -> Vec<&'a str> {
    answer.lines().filter(|line| line.contains(what)).collect()
}

#[test]
fn select_reports_what_has_changed_since_an_earlier_session() {
    with_stores(|context, store, _| {
        append(&**store, 9, 10);
        let (validity, before) = (uid_validity(store), highest(store));
        flag(store, 7);
        expunge(store, [2, 3, 9]);
        append(&**store, 2, 10);
        expunge(store, [11]);
        let mut session = enabled(context, "QRESYNC");
        let answer = run(&mut session, &format!("SELECT INBOX (QRESYNC ({validity} {before}))"));
        assert_eq!(lines(&answer, "VANISHED"), ["* VANISHED (EARLIER) 2:3,9,11"], "{answer}");
        let fetched = lines(&answer, " FETCH ");
        assert_eq!(fetched.len(), 2, "{answer}");
        assert!(fetched[0].starts_with("* 5 FETCH (UID 7 FLAGS (\\Flagged \\Recent) MODSEQ ("), "{answer}");
        assert!(fetched[1].starts_with("* 7 FETCH (UID 10 FLAGS ("), "{answer}");
        assert!(answer.find("VANISHED").unwrap() < answer.find(" FETCH ").unwrap());
        assert!(answer.contains(&format!("[HIGHESTMODSEQ {}]", highest(store))));
        assert!(answer.ends_with("x OK [READ-WRITE] select completed\r\n"), "{answer}");

        // Only the known UIDs, and only those after the last pair that is still true.
        let of = |known: &str| format!("EXAMINE INBOX (QRESYNC ({validity} {before} {known}))");
        let answer = run(&mut session, &of("3:7"));
        assert!(answer.starts_with("* OK [CLOSED]"), "{answer}");
        assert_eq!(lines(&answer, "VANISHED"), ["* VANISHED (EARLIER) 3"], "{answer}");
        assert_eq!(lines(&answer, " FETCH ").len(), 1, "{answer}");
        let answer = run(&mut session, &of("1:9 (1,2 1,4)"));
        assert_eq!(lines(&answer, "VANISHED"), ["* VANISHED (EARLIER) 9"], "{answer}");
        let answer = run(&mut session, &of("1:9 (1,7 1,7)"));
        assert_eq!(lines(&answer, "VANISHED"), ["* VANISHED (EARLIER) 2:3,9"], "{answer}");

        // Nothing has changed, and another mailbox is there.
        let now = highest(store);
        let answer = run(&mut session, &format!("SELECT INBOX (QRESYNC ({validity} {now}))"));
        assert!(!answer.contains("VANISHED") && !answer.contains(" FETCH "), "{answer}");
        let answer = run(&mut session, &format!("SELECT INBOX (QRESYNC ({} {before}))", validity + 1));
        assert!(!answer.contains("VANISHED") && !answer.contains(" FETCH "), "{answer}");
        // The client knows a mod-sequence that the mailbox does not have yet: it knows nothing.
        let answer = run(&mut session, &format!("SELECT INBOX (QRESYNC ({validity} {}))", now + 50));
        assert_eq!(lines(&answer, "VANISHED"), ["* VANISHED (EARLIER) 2:3,9,11"], "{answer}");
        assert_eq!(lines(&answer, " FETCH ").len(), 7, "{answer}");
    });
}

#[test]
fn parameters_are_rejected_before_enable() {
    with_stores(|context, store, _| {
        append(&**store, 1, 10);
        let mut session = select(context, "SELECT INBOX");
        for command in ["SELECT INBOX (QRESYNC (1 1))", "UID FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)"] {
            let answer = session.exchange(&format!("c {command}\r\n"), "\r\n");
            assert!(answer.starts_with("c BAD "), "{answer}");
        }
        // The mailbox is still selected.
        run(&mut session, "UID FETCH 1 (FLAGS)");
    });
}

#[test]
fn uid_fetch_reports_vanished_messages_of_the_set() {
    with_stores(|context, store, _| {
        append(&**store, 9, 10);
        let before = highest(store);
        flag(store, 7);
        expunge(store, [2, 3, 9]);
        let mut session = enabled(context, "QRESYNC");
        run(&mut session, "SELECT INBOX");
        let fetch =
            |set: &str, since: u64| format!("UID FETCH {set} (FLAGS) (CHANGEDSINCE {since} VANISHED)");
        let answer = run(&mut session, &fetch("1:*", before));
        assert_eq!(lines(&answer, "VANISHED"), ["* VANISHED (EARLIER) 2:3,9"], "{answer}");
        assert_eq!(lines(&answer, " FETCH ").len(), 1, "{answer}");
        let answer = run(&mut session, &fetch("3:6", before));
        assert_eq!(lines(&answer, "VANISHED"), ["* VANISHED (EARLIER) 3"], "{answer}");
        assert_eq!(lines(&answer, " FETCH ").len(), 0, "{answer}");
        let answer = run(&mut session, &fetch("1:*", highest(store)));
        assert!(!answer.contains("VANISHED") && !answer.contains(" FETCH "), "{answer}");
        // A message that is gone, but that the client still counts, is not reported as vanished earlier.
        expunge(store, [1]);
        let answer = run(&mut session, &fetch("1:*", before));
        assert_eq!(lines(&answer, "(EARLIER)"), ["* VANISHED (EARLIER) 2:3,9"], "{answer}");
        assert!(answer.find(" FETCH ").unwrap() < answer.find("* VANISHED 1\r\n").unwrap(), "{answer}");
        // Without VANISHED.
        let answer = run(&mut session, &format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before})"));
        assert_eq!((lines(&answer, "VANISHED").len(), lines(&answer, " FETCH ").len()), (0, 1), "{answer}");
    });
}

#[test]
fn vanished_takes_the_place_of_expunge() {
    with_stores(|context, store, _| {
        append(&**store, 9, 10);
        let mut other = select(context, "SELECT INBOX");
        let mut session = enabled(context, "QRESYNC");
        run(&mut session, "SELECT INBOX");
        run(&mut session, "CREATE other");
        run(&mut session, "UID STORE 2:3,5 +FLAGS.SILENT (\\Deleted)");
        let answer = run(&mut session, "UID EXPUNGE 2:3");
        assert!(answer.contains("* VANISHED 2:3\r\n") && !answer.contains("EXPUNGE\r\n"), "{answer}");
        let code = format!("x OK [HIGHESTMODSEQ {}] ", highest(store));
        assert!(answer.contains(&code), "{answer}");
        let answer = run(&mut session, "EXPUNGE");
        assert!(answer.contains("* VANISHED 5\r\n"), "{answer}");
        assert!(answer.contains(&format!("x OK [HIGHESTMODSEQ {}] ", highest(store))), "{answer}");
        let answer = run(&mut session, "UID MOVE 9 other");
        assert!(answer.find("COPYUID").unwrap() < answer.find("* VANISHED 9\r\n").unwrap(), "{answer}");
        assert!(answer.contains(&format!("x OK [HIGHESTMODSEQ {}] ", highest(store))), "{answer}");
        let answer = run(&mut other, "NOOP");
        assert_eq!(answer.matches(" EXPUNGE\r\n").count(), 4, "a session without QRESYNC: {answer}");

        // While sequence numbers must not change, VANISHED is held back.
        run(&mut other, "UID STORE 4 +FLAGS.SILENT (\\Deleted)");
        run(&mut other, "EXPUNGE");
        for command in ["FETCH 1 (UID)", "STORE 1 +FLAGS.SILENT (\\Seen)", "SEARCH ALL"] {
            assert!(!run(&mut session, command).contains("VANISHED"), "{command}");
        }
        assert!(run(&mut session, "UID SEARCH ALL").contains("* VANISHED 4\r\n"));
        // CLOSE tells neither what it removes nor the mod-sequence.
        run(&mut session, "UID STORE 6 +FLAGS.SILENT (\\Deleted)");
        let answer = run(&mut session, "CLOSE");
        assert_eq!(answer, "x OK close completed\r\n");
        // All messages vanish with their mailbox.
        run(&mut session, "SELECT other");
        run(&mut other, "DELETE other");
        assert!(run(&mut session, "NOOP").contains("* VANISHED 1\r\n"));
    });
}

#[test]
fn responses_with_mod_sequences_have_uids_as_well() {
    with_stores(|context, store, _| {
        append(&**store, 2, 10);
        let mut session = enabled(context, "CONDSTORE");
        run(&mut session, "SELECT INBOX");
        let answer = run(&mut session, "STORE 1 +FLAGS (\\Seen)");
        assert!(answer.contains("* 1 FETCH (UID 1 MODSEQ ("), "{answer}");
        let answer = run(&mut session, "FETCH 2 (BODY[])");
        assert!(answer.contains("UID 2") && answer.contains("MODSEQ ("), "{answer}");
    });
}

#[test]
fn a_session_with_uids_only_has_no_sequence_numbers() {
    with_stores(|context, store, _| {
        append(&**store, 4, 10);
        let before = highest(store);
        let mut other = select(context, "SELECT INBOX");
        let mut session = enabled(context, "UIDONLY QRESYNC");
        expunge(store, [1]);
        let answer = run(&mut session, &format!("SELECT INBOX (QRESYNC ({} {before}))", uid_validity(store)));
        assert!(answer.contains("* 3 EXISTS\r\n") && !answer.contains("UNSEEN"), "{answer}");
        assert_eq!(lines(&answer, "VANISHED"), ["* VANISHED (EARLIER) 1"], "{answer}");
        for command in ["FETCH 1 (FLAGS)", "STORE 1 FLAGS ()", "SEARCH ALL", "COPY 1 INBOX", "UID SEARCH 1"] {
            let answer = session.exchange(&format!("c {command}\r\n"), "\r\n");
            assert!(answer.starts_with("c BAD [UIDREQUIRED] "), "{command}: {answer}");
        }
        let answer = run(&mut session, "UID FETCH 2:3 (FLAGS BODY.PEEK[TEXT])");
        assert!(answer.contains("* 2 UIDFETCH (") && answer.contains("* 3 UIDFETCH ("), "{answer}");
        let answer = run(&mut session, "UID STORE 4 +FLAGS (\\Flagged)");
        assert!(answer.contains("* 4 UIDFETCH (") && answer.contains("\\Flagged"), "{answer}");
        assert!(!answer.contains(" FETCH "), "{answer}");
        run(&mut other, "UID STORE 3 +FLAGS.SILENT (\\Seen)");
        run(&mut other, "UID STORE 2 +FLAGS.SILENT (\\Deleted)");
        run(&mut other, "EXPUNGE");
        let answer = run(&mut session, "NOOP");
        assert!(answer.contains("* VANISHED 2\r\n") && answer.contains("* 3 UIDFETCH ("), "{answer}");
        assert_eq!(lines(&run(&mut session, "UID SEARCH ALL"), "* SEARCH"), ["* SEARCH 3 4"]);
    });
}

#[test]
fn qresync_that_is_enabled_in_a_selected_mailbox_changes_the_reports() {
    with_stores(|context, store, _| {
        append(&**store, 3, 10);
        let mut session = select(context, "SELECT INBOX");
        run(&mut session, "ENABLE QRESYNC");
        expunge(store, [2]);
        session.exchange("i IDLE\r\n", "* VANISHED 2\r\n");
        session.exchange("DONE\r\n", "i OK");
        let mut session = select(context, "SELECT INBOX");
        run(&mut session, "ENABLE QRESYNC");
        expunge(store, [3]);
        assert!(run(&mut session, "NOOP").contains("* VANISHED 3\r\n"));
    });
}

#[test]
fn vanished_messages_beyond_the_history_are_a_few_ranges() {
    with_stores(|context, store, _| {
        random::fill(store, 1);
        let (validity, before) = (uid_validity(store), highest(store));
        // More than a store in memory remembers.
        random::fill(store, 20_000);
        expunge(store, 1..20_000);
        let mut session = enabled(context, "QRESYNC");
        let answer = run(&mut session, &format!("SELECT INBOX (QRESYNC ({validity} {before}))"));
        assert_eq!(lines(&answer, "VANISHED"), ["* VANISHED (EARLIER) 1:19999"]);
        assert!(answer.len() < 1_000, "{answer}");
    });
}
