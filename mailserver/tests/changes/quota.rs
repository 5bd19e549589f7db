//! Quotas as clients see them (RFC 9208).

use super::with_stores;
use mailstore::Quota;

#[test]
fn reports_usage_and_limits_of_the_account() {
    with_stores(|_, store, session| {
        let account = store.account("ann").unwrap().unwrap().id;
        let answer = session.exchange("c CAPABILITY\r\n", "c OK");
        for word in ["QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "QUOTA=RES-MAILBOX"] {
            assert!(answer.split_ascii_whitespace().any(|offered| offered == word), "{answer}");
        }
        // Bytes are not limited by default.
        let answer = session.exchange("d GETQUOTA \"User quota\"\r\n", "d OK");
        assert!(
            answer.contains("* QUOTA \"User quota\" (MESSAGE 0 10000000 MAILBOX 6 10000)\r\n"),
            "{answer}"
        );
        let mut quota = Quota::default();
        (quota.bytes, quota.messages, quota.mailboxes) = (5_000, 3, 8);
        store.set_quota(quota);
        super::append(&**store, 2, 1_000);
        let answer = session.exchange("e GETQUOTAROOT inbox\r\n", "e OK");
        assert!(answer.contains("* QUOTAROOT INBOX \"User quota\"\r\n"), "{answer}");
        assert!(
            answer.contains("* QUOTA \"User quota\" (STORAGE 2 5 MESSAGE 2 3 MAILBOX 6 8)\r\n"),
            "{answer}"
        );
        assert!(
            session
                .exchange("f GETQUOTAROOT not/there\r\n", "f OK")
                .contains("QUOTAROOT not/there \"User quota\"")
        );
        assert!(session.exchange("g GETQUOTA other\r\n", "g NO").contains("[NONEXISTENT]"));
        session.exchange("h SETQUOTA \"User quota\" (STORAGE 1)\r\n", "h BAD");
        assert_eq!(store.usage(account).unwrap().messages, 2);
    });
}

#[test]
fn refuses_what_exceeds_the_quota_with_overquota() {
    with_stores(|_, store, session| {
        super::append(&**store, 2, 1_000);
        let mut quota = Quota::default();
        quota.messages = 2;
        store.set_quota(quota);
        session.exchange("s SELECT INBOX\r\n", "s OK");
        for command in ["COPY 1 Trash", "APPEND INBOX {4}"] {
            assert!(
                session.exchange(&format!("c {command}\r\n"), "c NO").contains("[OVERQUOTA]"),
                "{command}"
            );
        }
        session.exchange("m MOVE 1 Trash\r\n", "m OK");
        let answer = session.exchange("t STATUS INBOX (DELETED DELETED-STORAGE)\r\n", "t OK");
        assert!(answer.contains("(DELETED 0 DELETED-STORAGE 0)"), "{answer}");
        session.exchange("u STORE 1 +FLAGS.SILENT (\\Deleted)\r\n", "u OK");
        let answer = session.exchange("v STATUS INBOX (DELETED DELETED-STORAGE)\r\n", "v OK");
        assert!(answer.contains("(DELETED 1 DELETED-STORAGE 1018)"), "{answer}");
    });
}
