//! NOTIFY (RFC 5465), and unsolicited METADATA responses.

use std::sync::Arc;

use mailserver::ServerContext;
use mailstore::{AccountId, Annotated, MetadataChange, Store};

use super::{append, login, with_stores};
use crate::pipe::Session;

fn ok(session: &mut Session, command: &str) -> String {
    session.exchange(&format!("x {command}\r\n"), "x OK")
}

/// Waits for a response without sending anything.
fn told(session: &mut Session, end: &str) -> String {
    session.exchange("", end)
}

fn account(store: &Arc<dyn Store>) -> AccountId {
    store.account("ann").unwrap().unwrap().id
}

fn annotate(store: &Arc<dyn Store>, of: Annotated, name: &str) {
    let change = MetadataChange { name: name.into(), value: Some(b"x".to_vec()) };
    store.set_metadata(account(store), of, &[change]).unwrap();
}

fn deliver(store: &Arc<dyn Store>, mailbox: &str) {
    let mailbox = store.mailbox(account(store), mailbox).unwrap().id;
    let mut upload = store.upload().unwrap();
    upload
        .write(b"Subject: Re: good morning\r\nFrom: alice@example.org\r\nTo: bob@example.org\r\n\r\ntext")
        .unwrap();
    let (flags, internal_date) = Default::default();
    let target = mailstore::Target { mailbox, flags, internal_date };
    store.append(mailstore::Delivery { upload, targets: vec![target] }).unwrap();
}

/// The example of RFC 5465 §3.1, with the MessageExpunge that §5 requires and the parentheses of §8.
#[test]
fn example_of_the_rfc() {
    with_stores(|_, store, session| {
        for name in ["Lists/Lemonade", "Lists/Im2000", "misc"] {
            store.create_mailbox(account(store), name, None).unwrap();
        }
        let answer = ok(
            session,
            "notify set status (selected (MessageNew (uid body.peek[header.fields (from to subject)]) \
             MessageExpunge)) (subtree Lists (MessageNew MessageExpunge))",
        );
        let listed: Vec<&str> = answer.lines().filter(|line| line.starts_with("* STATUS")).collect();
        assert_eq!(listed.len(), 2, "{answer}");
        assert!(
            listed[0].starts_with("* STATUS Lists/Im2000 (MESSAGES 0 UIDNEXT 1 UIDVALIDITY "),
            "{answer}"
        );
        ok(session, "select inbox");
        deliver(store, "Lists/Lemonade");
        let answer = told(session, ")\r\n");
        assert!(answer.starts_with("* STATUS Lists/Lemonade (MESSAGES 1 UIDNEXT 2 "), "{answer}");
        deliver(store, "INBOX");
        let answer = told(session, "\r\n\r\n)\r\n");
        let fetched = "* 1 FETCH (UID 1 BODY[header.fields (from to subject)] {75}\r\n";
        assert!(answer.contains("* 1 EXISTS\r\n") && answer.contains(fetched), "{answer}");
        deliver(store, "misc");
        assert!(!ok(session, "NOOP").contains("misc"));
        ok(session, "notify none");
        deliver(store, "Lists/Im2000");
        deliver(store, "INBOX");
        let answer = ok(session, "NOOP");
        assert!(!answer.contains('*'), "{answer}");
    });
}

#[test]
fn reports_changes_of_names_subscriptions_and_metadata() {
    with_stores(|_, store, session| {
        let (account, store) = (account(store), store);
        ok(
            session,
            "NOTIFY SET (personal (MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange))",
        );
        store.create_mailbox(account, "a/b \"c\"", None).unwrap();
        let answer = told(
            session,
            "* LIST (\\NoSelect \\HasChildren) \"/\" a\r\n* LIST (\\HasNoChildren) \"/\" \"a/b \\\"c\\\"\"\r\n",
        );
        assert!(answer.starts_with("* LIST"), "{answer}");
        let _ = ok(session, "NOOP");
        store.rename_mailbox(account, "a/b \"c\"", "a/d").unwrap();
        told(session, "* LIST (\\HasNoChildren) \"/\" a/d (OLDNAME (\"a/b \\\"c\\\"\"))\r\n");
        store.subscribe(account, "a/d").unwrap();
        told(session, "* LIST (\\HasNoChildren \\Subscribed) \"/\" a/d\r\n");
        store.unsubscribe(account, "a/d").unwrap();
        told(session, "* LIST (\\HasNoChildren) \"/\" a/d\r\n");
        store.delete_mailbox(account, "a/d").unwrap();
        told(session, "* LIST (\\NonExistent) \"/\" a/d\r\n* LIST (\\NoSelect \\HasNoChildren) \"/\" a\r\n");
        let inbox = store.mailbox(account, "INBOX").unwrap().id;
        annotate(store, Annotated::Mailbox(inbox), "/Shared/comment");
        told(session, "* METADATA INBOX /shared/comment\r\n");
        annotate(store, Annotated::Server, "/private/comment");
        told(session, "* METADATA \"\" /private/comment\r\n");
        // Messages were not asked for.
        deliver(store, "Sent");
        assert!(!ok(session, "NOOP").contains("STATUS"));
    });
}

#[test]
fn a_session_is_not_told_of_its_own_changes() {
    with_stores(|context, _, session| {
        let mut other = login(context);
        for one in [&mut *session, &mut other] {
            ok(one, "NOTIFY SET (personal (MailboxName SubscriptionChange MailboxMetadataChange))");
        }
        let mut answers = String::new();
        for command in
            ["CREATE a", "RENAME a b", "SUBSCRIBE b", "SETMETADATA b (/private/x \"1\")", "DELETE b"]
        {
            answers += &ok(session, command);
        }
        answers += &ok(session, "NOOP");
        assert!(!answers.contains('*'), "{answers}");
        let answer = told(&mut other, "* LIST (\\NonExistent \\Subscribed) \"/\" b\r\n");
        assert!(answer.contains(" \"/\" a\r\n") || answer.contains("\"/\" b"), "{answer}");
    });
}

#[test]
fn flag_changes_of_other_mailboxes_are_reported_to_those_who_want_them() {
    with_stores(|context, store, session| {
        let mut other = login(context);
        ok(session, "NOTIFY SET (mailboxes (inbox Sent) (MessageNew MessageExpunge FlagChange))");
        ok(&mut other, "NOTIFY SET (inboxes (MessageNew MessageExpunge))");
        append(&**store, 1, 10);
        for one in [&mut *session, &mut other] {
            told(one, "* STATUS INBOX (MESSAGES 1 UIDNEXT 2 ");
        }
        let inbox = store.mailbox(account(store), "INBOX").unwrap().id;
        let seen = mailstore::Flags::parse(["\\Seen"]).unwrap();
        let all = mailstore::UidSet::all();
        store.store_flags(inbox, &all, mailstore::StoreMode::Add, &seen, None, 10).unwrap();
        let answer = told(session, "UNSEEN 0");
        assert!(answer.contains("* STATUS INBOX (UIDVALIDITY "), "{answer}");
        assert!(!ok(&mut other, "NOOP").contains("STATUS"));
    });
}

#[test]
fn delayed_expunges_wait_for_a_command_and_immediate_ones_do_not() {
    with_stores(|context, store, session| {
        append(&**store, 3, 10);
        let mut other = login(context);
        for (one, which) in [(&mut *session, "selected"), (&mut other, "selected-delayed")] {
            ok(one, "SELECT INBOX");
            ok(one, &format!("NOTIFY SET ({which} (MessageNew (UID FLAGS) MessageExpunge))"));
        }
        append(&**store, 1, 10);
        for one in [&mut *session, &mut other] {
            told(one, "* 4 FETCH (UID 4 FLAGS (");
        }
        let inbox = store.mailbox(account(store), "INBOX").unwrap().id;
        let which = mailstore::Expunge::Exactly(mailstore::UidSet::one(2));
        store.expunge(inbox, &which, 10).unwrap();
        told(session, "* 2 EXPUNGE\r\n");
        assert!(!ok(&mut other, "FETCH 1 (UID)").contains("EXPUNGE"));
        assert!(ok(&mut other, "NOOP").contains("* 2 EXPUNGE\r\n"));
        // Flags were not asked for.
        ok(session, "UID STORE 1 +FLAGS.SILENT (\\Flagged)");
        assert!(!ok(&mut other, "NOOP").contains("FETCH"));
        ok(&mut other, "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))");
        ok(session, "UID STORE 1 +FLAGS.SILENT (\\Answered)");
        told(&mut other, "* 1 FETCH (UID 1 FLAGS (");
    });
}

#[test]
fn events_are_reported_while_idle_and_after_it() {
    with_stores(|_, store, session| {
        ok(session, "SELECT INBOX");
        ok(
            session,
            "NOTIFY SET (selected (MessageNew (UID) MessageExpunge)) (personal (MessageNew MessageExpunge))",
        );
        for _ in 0..2 {
            session.exchange("i IDLE\r\n", "+ ");
            deliver(store, "Sent");
            told(session, "* STATUS Sent ");
            deliver(store, "INBOX");
            told(session, "FETCH (UID ");
            session.exchange("DONE\r\n", "i OK");
            deliver(store, "INBOX");
            told(session, "FETCH (UID ");
            deliver(store, "Trash");
            told(session, "* STATUS Trash ");
        }
    });
}

/// RFC 5465 §3.1: without `selected`, nothing is reported of the selected mailbox, except what the client does itself.
#[test]
fn without_selected_the_mailbox_is_a_snapshot() {
    with_stores(|_, store, session| {
        append(&**store, 2, 10);
        ok(session, "SELECT INBOX");
        ok(session, "NOTIFY SET (personal (MailboxName))");
        append(&**store, 1, 10);
        let answer = ok(session, "NOOP");
        assert!(!answer.contains("EXISTS"), "{answer}");
        ok(session, "STORE 1 +FLAGS.SILENT (\\Deleted)");
        let answer = ok(session, "EXPUNGE");
        assert!(answer.contains("* 1 EXPUNGE\r\n"), "{answer}");
        append(&**store, 1, 10);
        // NOTIFY SET is a NOOP as well.
        assert!(ok(session, "NOTIFY SET (selected (MessageNew MessageExpunge))").contains("EXISTS"));
    });
}

#[test]
fn too_many_events_end_the_notifications() {
    with_stores(|_, store, session| {
        ok(session, "NOTIFY SET (personal (MailboxName MessageNew MessageExpunge))");
        for number in 0..300 {
            store.create_mailbox(account(store), &format!("box {number}"), None).unwrap();
        }
        let answer = ok(session, "NOOP");
        assert!(answer.contains("* OK [NOTIFICATIONOVERFLOW]") && !answer.contains("LIST"), "{answer}");
        store.create_mailbox(account(store), "one more", None).unwrap();
        assert!(!ok(session, "NOOP").contains('*'));
        let answer = ok(session, "NOTIFY SET STATUS (personal (MailboxName MessageNew MessageExpunge))");
        assert_eq!(answer.matches("* STATUS ").count(), 307);
        store.delete_mailbox(account(store), "one more").unwrap();
        told(session, "* LIST (\\NonExistent) \"/\" \"one more\"\r\n");
    });
}

#[test]
fn refuses_what_it_cannot_report() {
    with_stores(|context, _, session| {
        let answer =
            session.exchange("x NOTIFY SET (personal (MessageNew MessageExpunge Sunrise))\r\n", "x NO");
        assert!(answer.contains("[BADEVENT (MessageNew MessageExpunge FlagChange MailboxName "), "{answer}");
        let names = "abcdefghij ".repeat(5_000);
        let command = format!("x NOTIFY SET (mailboxes ({}) (MailboxName))\r\n", names.trim_end());
        assert!(session.exchange(&command, "x NO").contains("[NOTIFICATIONOVERFLOW]"));
        session.exchange("x NOTIFY SET (personal (MessageNew))\r\n", "x BAD");
        session.exchange("x NOTIFY SET (personal (FlagChange))\r\n", "x BAD");
        // A refused NOTIFY changes nothing: there is no NOTIFY so far.
        ok(session, "SELECT INBOX");
        let mut other = login(context);
        other.exchange("a APPEND INBOX {4}\r\n", "+ ");
        other.exchange("text\r\n", "a OK");
        assert!(ok(session, "NOOP").contains("* 1 EXISTS"));
    });
}

/// RFC 5464 §4.1, §4.4.2.
#[test]
fn enable_metadata_reports_the_changes_of_others() {
    with_stores(|context, store, session| {
        let mut other: Session = login(context);
        ok(session, "SETMETADATA INBOX (/shared/a \"1\")");
        assert!(!ok(&mut other, "NOOP").contains("METADATA"));
        assert!(ok(&mut other, "ENABLE METADATA").contains("* ENABLED METADATA"));
        ok(&mut other, "NOOP");
        ok(session, "SETMETADATA INBOX (/shared/a \"2\" /private/b NIL)");
        annotate(store, Annotated::Server, "/private/c");
        let answer = ok(&mut other, "NOOP");
        assert!(answer.contains("* METADATA INBOX /shared/a /private/b\r\n"), "{answer}");
        assert!(answer.contains("* METADATA \"\" /private/c\r\n"), "{answer}");
        ok(&mut other, "SETMETADATA INBOX (/shared/a \"3\")");
        assert!(!ok(&mut other, "NOOP").contains("METADATA"), "its own change");
    });
}

/// Other accounts are neither told nor woken, and a thousand sessions of one account are all told.
#[test]
fn a_thousand_watching_sessions_cost_others_nothing() {
    let memory = mailstore::MemoryStore::new().unwrap().with_password_cost(mailstore::PasswordCost::Minimal);
    let store: Arc<dyn Store> = Arc::new(memory.unwrap());
    let context: Arc<ServerContext> = super::context(Arc::clone(&store));
    store.create_account("bob", b"a password").unwrap();
    let mut sessions: Vec<Session> = (0..1_000).map(|_| login(&context)).collect();
    for session in &mut sessions {
        ok(session, "NOTIFY SET (personal (MailboxName MessageNew MessageExpunge FlagChange))");
    }
    let bob = store.account("bob").unwrap().unwrap().id;
    let (inbox, start) = (store.mailbox(bob, "INBOX").unwrap().id, std::time::Instant::now());
    for _ in 0..200 {
        let mut upload = store.upload().unwrap();
        upload.write(b"text").unwrap();
        let (flags, internal_date) = Default::default();
        let target = mailstore::Target { mailbox: inbox, flags, internal_date };
        store.append(mailstore::Delivery { upload, targets: vec![target] }).unwrap();
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
    let start = std::time::Instant::now();
    for _ in 0..200 {
        deliver(&store, "INBOX");
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    for session in &mut sessions {
        let answer = ok(session, "NOOP");
        assert!(answer.contains("* STATUS INBOX (MESSAGES 200 UIDNEXT 201 "), "{answer}");
        assert_eq!(answer.matches("STATUS").count(), 1, "{answer}");
    }
}
