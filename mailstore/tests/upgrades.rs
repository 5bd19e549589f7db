//! Tests the store on SQLite: counters after an upgrade, identifiers after reopening, damaged files, the time of imports.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use mailstore::*;
use support::{downgrade, downgrade_to_5, downgrade_to_10, downgrade_to_11, downgrade_to_14};

struct Fixture {
    directory: tempfile::TempDir,
    store: SqliteStore,
    account: AccountId,
    inbox: MailboxId,
    trash: MailboxId,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let account = store.create_account("ann", b"password").unwrap().id;
    let (inbox, trash) =
        (store.mailbox(account, "INBOX").unwrap().id, store.mailbox(account, "Trash").unwrap().id);
    Fixture { directory, store, account, inbox, trash }
}

impl Fixture {
    fn append(&self, mailboxes: &[MailboxId], size: usize, flags: &[&str]) -> Result<Vec<Appended>> {
        let mut upload = self.store.upload()?;
        upload.write(&vec![b'x'; size])?;
        let flags = Flags::parse(flags.iter().copied())?;
        let target =
            |&mailbox| Target { mailbox, flags: flags.clone(), internal_date: InternalDate::default() };
        self.store.append(Delivery { upload, targets: mailboxes.iter().map(target).collect() })
    }
}

#[test]
fn adds_counters_when_upgrading_from_version_3() {
    let f = fixture();
    f.append(&[f.inbox, f.trash], 30, &["One"]).unwrap();
    f.store.select(f.trash, Access::ReadWrite).unwrap();
    f.append(&[f.inbox], 12, &["one", "Two"]).unwrap();
    f.store.remote_account(f.account, "imap:one").unwrap();
    let before = f.store.usage(f.account).unwrap();
    assert_eq!((before.messages, before.bytes, before.remote_accounts), (3, 72, 1));
    let Fixture { directory, store, account, inbox, trash } = f;
    drop(store);
    for _ in 0..2 {
        downgrade(directory.path());
        let store = SqliteStore::open(directory.path()).unwrap();
        assert_eq!(store.usage(account).unwrap(), before);
        assert_eq!((store.status(inbox).unwrap().recent, store.status(trash).unwrap().recent), (2, 0));
        assert_eq!(store.keywords(inbox).unwrap().names.len(), 2);
        store.copy(trash, &UidSet::all(), inbox, 100).unwrap();
        store
            .expunge(inbox, &Expunge::Exactly(UidSet::one(store.status(inbox).unwrap().uid_next - 1)), 100)
            .unwrap();
        assert_eq!(store.usage(account).unwrap(), before);
        assert_eq!(store.status(inbox).unwrap().messages, 2);
    }
}

#[test]
fn messages_of_version_5_have_no_saved_date() {
    let f = fixture();
    f.append(&[f.inbox], 30, &[]).unwrap();
    let Fixture { directory, store, inbox, trash, account } = f;
    let mailbox_id = store.mailbox_id(account, inbox);
    drop(store);
    downgrade_to_5(directory.path());
    let store = SqliteStore::open(directory.path()).unwrap();
    let message = |mailbox| {
        let columns = Columns::summary().with_preview();
        store.fetch_page(mailbox, &UidSet::all(), columns, 1).unwrap().messages.remove(0)
    };
    assert_eq!((message(inbox).saved_date, message(inbox).preview), (None, None));
    store.keep_previews(&[(message(inbox).content, "text".to_owned())]).unwrap();
    assert_eq!(message(inbox).preview.as_deref(), Some("text"));
    store.copy(inbox, &UidSet::all(), trash, 100).unwrap();
    assert!(message(trash).saved_date.is_some(), "a copy has one");
    assert_eq!(store.mailbox_id(account, inbox), mailbox_id);
}

#[test]
fn counts_removals_when_upgrading_from_version_5() {
    let f = fixture();
    (0..9).for_each(|_| drop(f.append(&[f.inbox], 30, &[]).unwrap()));
    let before = f.store.status(f.inbox).unwrap().highest_modseq;
    let which = Expunge::Exactly([2, 3, 7].into_iter().collect());
    f.store.expunge(f.inbox, &which, 100).unwrap();
    let Fixture { directory, store, inbox, .. } = f;
    drop(store);
    downgrade_to_5(directory.path());
    let store = SqliteStore::open(directory.path()).unwrap();
    let removals = store.removals(inbox, (before, u32::MAX), 100).unwrap().unwrap();
    assert_eq!(removals.uids, [2, 3, 7]);
    let database = rusqlite::Connection::open(directory.path().join("mail.db")).unwrap();
    let counted = database.query_row("SELECT sum(removals) FROM mailboxes", [], |row| row.get::<_, u32>(0));
    assert_eq!(counted, Ok(3));
}

#[test]
fn adds_metadata_when_upgrading_from_version_5() {
    let f = fixture();
    f.append(&[f.inbox], 30, &["\\Deleted"]).unwrap();
    let before = f.store.usage(f.account).unwrap();
    let Fixture { directory, store, account, inbox, trash } = f;
    drop(store);
    downgrade_to_5(directory.path());
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.usage(account).unwrap(), before);
    assert_eq!(store.status(inbox).unwrap().deleted_size, 30);
    let change = MetadataChange { name: "/private/comment".into(), value: Some(b"text".to_vec()) };
    store.set_metadata(account, Annotated::Mailbox(trash), &[change]).unwrap();
    assert_eq!(store.usage(account).unwrap().bytes, before.bytes + 20);
    store.delete_mailbox(account, "Trash").unwrap();
    assert_eq!((store.usage(account).unwrap().bytes, store.usage(account).unwrap().metadata), (30, 0));
}

#[test]
fn keeps_imported_messages_when_upgrading_from_version_10() {
    let f = fixture();
    let remote = f.store.remote_account(f.account, "imap:one").unwrap().id;
    let mailbox = f.store.remote_mailbox(remote, "INBOX", f.inbox, 7).unwrap().id;
    let mut upload = f.store.upload().unwrap();
    upload.write(b"Subject: a\r\n\r\n").unwrap();
    let (flags, internal_date) = (Flags::new(), InternalDate::default());
    f.store.record_imports(mailbox, vec![RemoteMessage { uid: 5, upload, flags, internal_date }]).unwrap();
    let state = RemoteState { highest_modseq: 9, ..RemoteState::default() };
    f.store.set_remote_state(mailbox, &state).unwrap();
    let Fixture { directory, store, inbox, .. } = f;
    drop(store);
    downgrade_to_10(directory.path());
    let store = SqliteStore::open(directory.path()).unwrap();
    let record = ImportRecord { uid_validity: 7, uid: 5, local_uid: 1 };
    assert_eq!(store.import_records(mailbox, &UidSet::all(), 9).unwrap(), [record]);
    let folder = store.remote_folders(remote).unwrap().remove(0);
    let name = "INBOX".to_owned();
    let state = RemoteState::default();
    assert_eq!(folder, RemoteFolder { id: mailbox, name, mailbox: inbox, uid_validity: 7, state });
}

#[test]
fn indexes_texts_again_when_upgrading_from_version_10() {
    let Fixture { directory, store, inbox, .. } = {
        let f = fixture();
        f.append(&[f.inbox], 30, &[]).unwrap();
        f
    };
    let mut texts = TextSignatures::default();
    texts.add("some text");
    let index = store.text_index().unwrap();
    index.add(inbox, 1..2, &[(1, texts)]).unwrap();
    assert_eq!(index.indexed_below(inbox).unwrap(), 2);
    assert!(!index.find(inbox, "other").unwrap().unwrap().contains(1));
    drop(store);
    downgrade_to_10(directory.path());
    let store = SqliteStore::open(directory.path()).unwrap();
    let index = store.text_index().unwrap();
    assert_eq!(index.indexed_below(inbox).unwrap(), 1);
    assert!(index.find(inbox, "other").unwrap().is_none_or(|found| found.contains(1)));
}

#[test]
fn adds_access_control_lists_when_upgrading_from_version_11() {
    let f = fixture();
    f.append(&[f.inbox], 30, &[]).unwrap();
    let Fixture { directory, store, account, inbox, trash } = f;
    drop(store);
    downgrade_to_11(directory.path());
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.status(inbox).unwrap().messages, 1);
    let entry = AclEntry::new("bob", Rights::READ);
    for mailbox in [inbox, trash] {
        assert!(store.acl(account, mailbox).unwrap().is_empty());
        store.set_acl(account, mailbox, "Bob", AclChange::Replace, entry.rights).unwrap();
    }
    store.delete_mailbox(account, "Trash").unwrap();
    drop(store);
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.acl(account, inbox).unwrap(), [entry]);
    assert!(matches!(store.acl(account, trash), Err(Error::NotFound(_))));
}

#[test]
fn email_ids_are_the_same_after_reopening() {
    let f = fixture();
    let content = f.append(&[f.inbox], 5, &[]).unwrap()[0].content;
    let id = f.store.email_id(f.account, content);
    let Fixture { directory, store, account, .. } = f;
    drop(store);
    assert_eq!(
        SqliteStore::open(directory.path()).unwrap().email_id(account, content),
        id,
        "the same after reopening"
    );
}

#[test]
fn distinguishes_unreadable_files_from_expunged_messages() {
    let f = fixture();
    let content = f.append(&[f.inbox], 200_000, &[]).unwrap()[0].content;
    let messages = f.directory.path().join("messages");
    let file = std::fs::read_dir(&messages).unwrap().next().unwrap().unwrap().path();
    let hidden = f.directory.path().join("hidden");
    std::fs::rename(&file, &hidden).unwrap();
    assert!(matches!(f.store.open_content(content), Err(Error::Corrupt(_))), "the row is there");
    std::os::unix::fs::symlink(&file, &file).unwrap();
    assert!(matches!(f.store.open_content(content), Err(Error::Io(_))), "a loop of links");
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&hidden, &file).unwrap();
    assert_eq!(f.store.open_content(content).unwrap().size(), 200_000);
    f.store.expunge(f.inbox, &Expunge::Exactly(UidSet::all()), 100).unwrap();
    assert!(matches!(f.store.open_content(content), Err(Error::NotFound(_))));
}

#[test]
fn imports_equal_messages_in_linear_time() {
    let f = fixture();
    let remote = f.store.remote_account(f.account, "imap:one").unwrap().id;
    let import = |validity: u32, from: u32, count: u32| {
        let mailbox = f.store.remote_mailbox(remote, "INBOX", f.inbox, validity).unwrap();
        let clock = std::time::Instant::now();
        for start in (from..from + count).step_by(100) {
            let message = |uid| {
                let mut upload = f.store.upload().unwrap();
                upload.write(b"Subject: the same\r\n\r\n").unwrap();
                let (flags, internal_date) = (Flags::new(), InternalDate::default());
                RemoteMessage { uid, upload, flags, internal_date }
            };
            f.store.record_imports(mailbox.id, (start..start + 100).map(message).collect()).unwrap();
        }
        clock.elapsed()
    };
    let first = import(7, 1, 500);
    import(7, 501, 3_500);
    let last = import(7, 4_001, 500);
    assert!(last < first * 6, "{first:?} for the first 500, {last:?} for those after 4,000 equal ones");
    // Under another UIDVALIDITY each message is assigned once.
    import(8, 1, 4_500);
    assert_eq!(f.store.status(f.inbox).unwrap().messages, 4_500);
}

#[test]
fn adds_client_accounts_when_upgrading_from_version_14() {
    let Fixture { directory, store, account, .. } = fixture();
    drop(store);
    downgrade_to_14(directory.path());
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.accounts().unwrap()[0].id, account);
    assert!(store.client_accounts().unwrap().is_empty() && store.secret_key().unwrap().is_none());
    let added = store.add_client_account("ann", "{}", "unset").unwrap();
    assert_eq!(store.client_account("ann").unwrap().unwrap().id, added);
}
