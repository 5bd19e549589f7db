//! MAILBOXIDs, saved dates and previews.

use super::case::{Case, Feature};
use super::fixture::{ALL, Fixture};
use crate::store::Store;
use crate::types::*;
use std::collections::BTreeSet;

pub(super) const CASES: &[Case<dyn Store>] = &[
    Case {
        name: "a_mailbox_id_stays_when_the_mailbox_is_renamed",
        needs: &[],
        run: a_mailbox_id_stays_when_the_mailbox_is_renamed,
    },
    Case { name: "a_mailbox_id_is_never_used_again", needs: &[], run: a_mailbox_id_is_never_used_again },
    Case {
        name: "each_copy_has_its_own_saved_date",
        needs: &[Feature::SavedDates],
        run: each_copy_has_its_own_saved_date,
    },
    Case {
        name: "a_kept_preview_belongs_to_its_content",
        needs: &[],
        run: a_kept_preview_belongs_to_its_content,
    },
];

fn mailbox_id(f: &Fixture, name: &str) -> String {
    let mailbox = f.store.mailbox(f.account, name).unwrap();
    let id = f.store.mailbox_id(f.account, mailbox.id);
    assert!(!id.is_empty() && id.len() <= 255);
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{id}");
    id
}

fn a_mailbox_id_stays_when_the_mailbox_is_renamed(f: &Fixture) {
    f.create("old/child");
    let before = [mailbox_id(f, "old"), mailbox_id(f, "old/child")];
    f.store.rename_mailbox(f.account, "old", "new").unwrap();
    assert_eq!([mailbox_id(f, "new"), mailbox_id(f, "new/child")], before);
    // INBOX stays, and its messages go to another mailbox.
    let inbox = mailbox_id(f, "INBOX");
    f.store.rename_mailbox(f.account, "INBOX", "archive").unwrap();
    assert_eq!(mailbox_id(f, "INBOX"), inbox);
    assert_ne!(mailbox_id(f, "archive"), inbox);
}

fn a_mailbox_id_is_never_used_again(f: &Fixture) {
    let mut seen: BTreeSet<String> = f.names().iter().map(|name| mailbox_id(f, name)).collect();
    let mut take = |name: &str| assert!(seen.insert(mailbox_id(f, name)), "{name}");
    for _ in 0..3 {
        f.create("work");
        take("work");
        f.store.delete_mailbox(f.account, "work").unwrap();
    }
    // A mailbox whose children stay.
    f.create("a");
    f.create("a/b");
    take("a");
    f.store.delete_mailbox(f.account, "a").unwrap();
    f.create("a");
    take("a");
}

fn each_copy_has_its_own_saved_date(f: &Fixture) {
    let work = f.create("work");
    let start = InternalDate::now().seconds;
    f.append_many(3);
    f.store.copy(f.inbox, &UidSet::one(1), work, ALL).unwrap();
    f.store.move_messages(f.inbox, &UidSet::one(2), work, ALL).unwrap();
    let end = InternalDate::now().seconds;
    let messages: Vec<Message> = [f.page(f.inbox), f.page(work)].concat();
    assert_eq!(messages.len(), 4);
    for message in messages {
        let saved = message.saved_date.unwrap();
        // A clock may be set back a little.
        assert!((start - 5..=end + 5).contains(&saved), "{saved} is not between {start} and {end}");
        assert_ne!(saved, message.internal_date.seconds);
    }
}

fn a_kept_preview_belongs_to_its_content(f: &Fixture) {
    let work = f.create("work");
    let content = f.deliver(b"one", &[f.inbox, work], &[]).unwrap()[0].content;
    f.append("two");
    let previews = |mailbox| -> Vec<Option<String>> {
        let columns = Columns::summary().with_preview().with_small_bodies();
        let page = f.store.fetch_page(mailbox, &UidSet::all(), columns, ALL).unwrap();
        page.messages.into_iter().map(|message| message.preview).collect()
    };
    assert_eq!(previews(f.inbox), [None, None]);
    // A store may keep none.
    f.store.keep_previews(&[(content, "Grüße".to_owned()), (ContentId(999_999), "x".to_owned())]).unwrap();
    let kept = previews(f.inbox);
    assert!(kept[0].as_deref().is_none_or(|kept| kept == "Grüße") && kept[1].is_none(), "{kept:?}");
    f.remove(f.inbox, [1, 2]);
    f.remove(work, [1]);
    f.store.keep_previews(&[(content, "gone".to_owned())]).unwrap();
    f.append("three");
    assert_eq!(previews(f.inbox), [None]);
}
