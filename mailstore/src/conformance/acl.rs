//! Access control lists.

use super::case::{Case, Feature};
use super::fixture::Fixture;
use crate::error::Error;
use crate::rights::*;
use crate::store::Store;
use crate::types::*;

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case { name: "keeps_access_control_lists", needs: &[Feature::Acl], run: keeps_access_control_lists },
    Case { name: "rights_follow_their_mailbox", needs: &[Feature::Acl], run: rights_follow_their_mailbox },
    Case {
        name: "lists_what_others_share",
        needs: &[Feature::Acl, Feature::Accounts],
        run: lists_what_others_share,
    },
    Case { name: "limits_access_control_lists", needs: &[Feature::Acl], run: limits_access_control_lists },
];

fn rights(letters: &str) -> Rights {
    letters.chars().fold(Rights::NONE, |all, letter| all.or(Rights::from_letter(letter).unwrap()))
}

fn set(f: &Fixture, mailbox: MailboxId, identifier: &str, letters: &str) -> crate::Result<()> {
    f.store.set_acl(f.account, mailbox, identifier, AclChange::Replace, rights(letters))
}

/// The entries, as `identifier rights`.
fn entries(f: &Fixture, mailbox: MailboxId) -> Vec<String> {
    let entries = f.store.acl(f.account, mailbox).unwrap().into_iter();
    entries.map(|entry| format!("{} {}", entry.identifier, entry.rights.letters())).collect()
}

fn keeps_access_control_lists(f: &Fixture) {
    assert!(entries(f, f.inbox).is_empty());
    set(f, f.inbox, "Bob", "lr").unwrap();
    set(f, f.inbox, "-bob", "w").unwrap();
    set(f, f.inbox, "anyone", "l").unwrap();
    let change = |change, letters| f.store.set_acl(f.account, f.inbox, "BOB", change, rights(letters));
    change(AclChange::Add, "ta").unwrap();
    assert_eq!(entries(f, f.inbox), ["-bob w", "anyone l", "bob lrta"]);
    change(AclChange::Remove, "lrx").unwrap();
    assert_eq!(entries(f, f.inbox), ["-bob w", "anyone l", "bob ta"]);
    change(AclChange::Remove, "ta").unwrap();
    change(AclChange::Remove, "ta").unwrap();
    set(f, f.inbox, "-bob", "").unwrap();
    assert_eq!(entries(f, f.inbox), ["anyone l"]);
    for bad in ["", "-", "--bob", "a\nb"] {
        assert!(matches!(set(f, f.inbox, bad, "l"), Err(Error::InvalidName(_))), "{bad:?}");
    }
}

fn rights_follow_their_mailbox(f: &Fixture) {
    let parent = f.create("work");
    set(f, parent, "bob", "lr").unwrap();
    let child = f.create("work/child");
    assert_eq!(entries(f, child), ["bob lr"], "of its parent");
    set(f, child, "bob", "l").unwrap();
    f.store.rename_mailbox(f.account, "work", "play").unwrap();
    assert_eq!((entries(f, parent), entries(f, child)), (vec!["bob lr".into()], vec!["bob l".into()]));
    f.store.delete_mailbox(f.account, "play").unwrap();
    let place_holder = f.store.mailbox(f.account, "play").unwrap();
    assert!(place_holder.no_select && entries(f, place_holder.id).is_empty());
    f.store.delete_mailbox(f.account, "play/child").unwrap();
    f.store.delete_mailbox(f.account, "play").unwrap();
    for gone in [child, MailboxId(i64::MAX)] {
        assert!(matches!(f.store.acl(f.account, gone), Err(Error::NotFound(_))));
        assert!(matches!(set(f, gone, "bob", "l"), Err(Error::NotFound(_))));
    }
    let again = f.create("play/child");
    assert!(entries(f, again).is_empty());
}

fn lists_what_others_share(f: &Fixture) {
    let [bob, carol] = ["bob", "carol"].map(|name| f.store.create_account(name, b"password").unwrap());
    let (work, play) = (f.create("work"), f.create("play"));
    set(f, work, "bob", "lr").unwrap();
    set(f, work, "-bob", "r").unwrap();
    set(f, play, "anyone", "l").unwrap();
    set(f, f.inbox, "dave", "l").unwrap();
    let inbox = f.store.mailbox(bob.id, "INBOX").unwrap().id;
    f.store.set_acl(bob.id, inbox, "carol", AclChange::Replace, rights("lr")).unwrap();

    let owners = |with: &Account, after| -> Vec<AccountId> {
        let accounts = f.store.sharing_accounts(with, after, 9).unwrap().into_iter();
        accounts.map(|account| account.id).collect()
    };
    let none = AccountId(0);
    assert_eq!((owners(&bob, none), owners(&carol, none)), (vec![f.account], vec![f.account, bob.id]));
    assert!(owners(&bob, f.account).is_empty());
    assert_eq!(f.store.sharing_accounts(&carol, none, 1).unwrap().len(), 1);
    let ann = f.store.account_by_id(f.account).unwrap();
    assert!(owners(&ann, none).is_empty(), "what is its own is not shared with it");
    let shared = |with: &Account| -> Vec<(String, String)> {
        let mailboxes = f.store.shared_mailboxes(f.account, with).unwrap().into_iter();
        mailboxes.map(|(mailbox, rights)| (mailbox.name, rights.letters())).collect()
    };
    assert_eq!(shared(&bob), [("play".into(), "l".into()), ("work".into(), "l".into())]);
    assert_eq!(shared(&carol), [("play".into(), "l".into())]);
    // Another account's mailbox can't be shared by its identifier.
    assert!(matches!(f.store.acl(bob.id, work), Err(Error::NotFound(_))));
    let stolen = f.store.set_acl(bob.id, work, "bob", AclChange::Replace, Rights::ALL);
    assert!(matches!(stolen, Err(Error::NotFound(_))), "{stolen:?}");
    f.store.delete_mailbox(f.account, "play").unwrap();
    assert!(shared(&carol).is_empty());
    assert_eq!(owners(&carol, none), [bob.id]);
}

fn limits_access_control_lists(f: &Fixture) {
    for number in 0..ACL_ENTRY_LIMIT {
        set(f, f.inbox, &format!("user{number}"), "l").unwrap();
    }
    assert!(matches!(set(f, f.inbox, "another", "l"), Err(Error::Limit(_))));
    set(f, f.inbox, "user1", "lr").unwrap();
    set(f, f.inbox, "user2", "").unwrap();
    set(f, f.inbox, "another", "l").unwrap();
    let long = "x".repeat(ACL_IDENTIFIER_LIMIT + 1);
    assert!(matches!(set(f, f.inbox, &long, "l"), Err(Error::Limit(_))));
    let mut left = ACL_ACCOUNT_LIMIT - ACL_ENTRY_LIMIT;
    for number in 0..=ACL_ACCOUNT_LIMIT / ACL_ENTRY_LIMIT {
        let mailbox = f.create(&format!("mailbox {number}"));
        for user in 0..ACL_ENTRY_LIMIT.min(left) {
            set(f, mailbox, &format!("user{user}"), "l").unwrap();
        }
        left = left.saturating_sub(ACL_ENTRY_LIMIT);
        if left == 0 {
            break;
        }
    }
    let last = f.create("last");
    assert!(matches!(set(f, last, "bob", "l"), Err(Error::Limit(_))));
    assert!(entries(f, last).is_empty());
}
