//! Runs the conformance suite over the stores of this crate.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mailstore::*;
use std::sync::Arc;

fn memory() -> MemoryStore {
    MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap()
}

#[test]
fn memory_store_conforms() {
    conformance::run_all(|| Arc::new(memory())).assert_passed();
    conformance::run_sync(|| Arc::new(memory())).assert_passed();
    conformance::run_client_accounts(|| Arc::new(memory())).assert_passed();
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_store_conforms() {
    let directories = std::cell::RefCell::new(Vec::new());
    let open = || {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
        directories.borrow_mut().push(directory);
        store
    };
    conformance::run_all(|| open()).assert_passed();
    conformance::run_sync(|| open()).assert_passed();
    conformance::run_client_accounts(open).assert_passed();
}

/// A store that implements the required methods only.
struct Plain(MemoryStore);

impl Accounts for Plain {
    fn accounts(&self) -> Result<Vec<Account>> {
        self.0.accounts()
    }

    fn account(&self, name: &str) -> Result<Option<Account>> {
        self.0.account(name)
    }

    fn verify_password(&self, name: &str, password: &[u8]) -> Result<Option<AccountId>> {
        self.0.verify_password(name, password)
    }
}

impl Store for Plain {
    fn list(&self, account: AccountId) -> Result<Vec<Mailbox>> {
        let list = self.0.list(account)?.into_iter();
        Ok(list.map(|mailbox| Mailbox { subscribed: true, ..mailbox }).collect())
    }

    fn create_mailbox(&self, account: AccountId, name: &str, used: Option<SpecialUse>) -> Result<MailboxId> {
        self.0.create_mailbox(account, name, used)
    }

    fn delete_mailbox(&self, account: AccountId, name: &str) -> Result<()> {
        self.0.delete_mailbox(account, name)?;
        while self.0.purge_deleted(account)? {}
        Ok(())
    }

    fn rename_mailbox(&self, account: AccountId, from: &str, to: &str) -> Result<()> {
        self.0.rename_mailbox(account, from, to)
    }

    fn status(&self, mailbox: MailboxId) -> Result<Status> {
        self.0.status(mailbox)
    }

    fn append(&self, delivery: Delivery) -> Result<Vec<Appended>> {
        // The store inside takes only uploads that it began.
        let Delivery { mut upload, targets } = delivery;
        let mut inner = self.0.upload()?;
        let mut written = Ok(());
        upload.for_each_chunk(|chunk| {
            written = std::mem::replace(&mut written, Ok(())).and(inner.write(chunk))
        })?;
        written?;
        self.0.append(Delivery { upload: inner, targets })
    }

    fn fetch_page(&self, mailbox: MailboxId, uids: &UidSet, columns: Columns, limit: usize) -> Result<Page> {
        let mut page = self.0.fetch_page(mailbox, uids, columns, limit)?;
        let account = self.0.account("ann@example.org")?.unwrap();
        for message in page.messages.iter_mut().filter(|message| message.email_id.is_some()) {
            message.email_id = Some(self.email_id(account.id, message.content));
        }
        Ok(page)
    }

    fn open_content(&self, content: ContentId) -> Result<Body> {
        self.0.open_content(content)
    }

    fn store_flags(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        mode: StoreMode,
        flags: &Flags,
        unchanged_since: Option<u64>,
        limit: usize,
    ) -> Result<Stored> {
        self.0.store_flags(mailbox, uids, mode, flags, unchanged_since, limit)
    }

    fn expunge(&self, mailbox: MailboxId, which: &Expunge, limit: usize) -> Result<Expunged> {
        self.0.expunge(mailbox, which, limit)
    }

    fn changes_since(&self, mailbox: MailboxId, since: &ChangeCursor, limit: usize) -> Result<Changes> {
        self.0.changes_since(mailbox, since, limit)
    }

    fn subscribe_changes(&self, callback: Arc<ChangeCallback>) -> ChangeSubscription {
        self.0.subscribe_changes(callback)
    }
}

fn plain() -> Plain {
    let store = memory();
    store.create_account("ann@example.org", b"right").unwrap();
    Plain(store)
}

#[test]
fn store_with_the_required_methods_only_conforms() {
    let report = conformance::run(&[], || Arc::new(plain()));
    report.assert_passed();
    assert!(report.passed.len() >= 40, "{} cases ran", report.passed.len());
}

#[test]
fn defaults_are_plain_but_consistent() {
    let store = plain();
    let account = store.account("ann@example.org").unwrap().unwrap().id;
    assert!(matches!(store.create_account("bob", b"x"), Err(Error::Refused(_))));
    assert!(matches!(store.set_password(account, b"x"), Err(Error::Refused(_))));
    assert_eq!(store.login_keys("ann@example.org", "x").unwrap(), None);
    // All mailboxes are subscribed, and nothing else can be.
    let names: Vec<String> = store.list(account).unwrap().into_iter().map(|mailbox| mailbox.name).collect();
    let page = |after: &str, limit| store.subscriptions_page(account, after, limit).unwrap();
    assert_eq!(page("", 100).into_iter().map(|one| one.name).collect::<Vec<_>>(), names);
    assert_eq!((page("Drafts", 2).len(), page("Drafts", 2)[0].name.as_str()), (2, "INBOX"));
    store.subscribe(account, "sent/").unwrap_err();
    store.subscribe(account, "Sent").unwrap();
    assert!(matches!(store.unsubscribe(account, "Sent"), Err(Error::Refused(_))));
    store.unsubscribe(account, "none").unwrap();
    for (selection, range, expected) in [
        (NameSelection::Subscribed, "INBOX".."INBOX\0", true),
        (NameSelection::SpecialUse, "INBOX".."INBOX\0", false),
        (NameSelection::SubscribedSpecialUse, "Junk".."Sent", true),
    ] {
        assert_eq!(store.has_selected_name(account, selection, range).unwrap(), expected);
    }
    // No message is recent.
    let inbox = store.mailbox(account, "inbox").unwrap().id;
    let mut upload = store.upload().unwrap();
    upload.write(&[b'x'; 100_000]).unwrap();
    let target = Target { mailbox: inbox, flags: Flags::new(), internal_date: InternalDate::default() };
    store.append(Delivery { upload, targets: vec![target] }).unwrap();
    assert_eq!(store.select(inbox, Access::ReadWrite).unwrap().first_recent_uid, 2);
    let usage = store.usage(account).unwrap();
    assert_eq!((usage.messages, usage.bytes, usage.mailboxes, usage.subscriptions), (1, 100_000, 6, 6));
}
