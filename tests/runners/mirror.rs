//! Sync mirrors the server: random changes on the server, a sync after each few, and the comparison of both stores.

use std::sync::Arc;

use mailclient::blocking::{StopCheck, connector};
use mailclient::sync::{self, RemovalPolicy, SyncEnd, SyncEvent, SyncJob, local_account, remote_account_key};
use mailclient::{Endpoint, Error, ErrorKind};
use mailstore::{
    AccountId, Columns, Delivery, Expunge, Flags, InternalDate, Mailbox, MemoryStore, Store, StoreMode,
    SyncStore, Target, UidSet,
};

use crate::{PASSWORD, credentials, endpoint, server};

/// The capabilities that the client ignores, from everything to nothing but IMAP4rev1.
const MODES: [&[&str]; 4] = [
    &[],
    &["QRESYNC"],
    &["QRESYNC", "LIST-STATUS", "OBJECTID", "IMAP4rev2"],
    &["QRESYNC", "CONDSTORE", "LIST-STATUS", "LIST-EXTENDED", "ESEARCH", "OBJECTID", "IMAP4rev2"],
];

/// A message: its bytes, its date, and its flags in order.
type Content = (Vec<u8>, InternalDate, Vec<String>);

/// What an account has: each mailbox with its special use, its subscription and its messages in order.
type Contents = Vec<(String, Option<&'static str>, bool, Vec<Content>)>;

fn messages(store: &dyn Store, mailbox: &Mailbox) -> Vec<Content> {
    let (mut messages, mut from) = (Vec::new(), Some(1));
    while let Some(first) = from {
        let uids = UidSet::from_iter([first..=u32::MAX]);
        let page = store.fetch_page(mailbox.id, &uids, Columns::summary(), 100).unwrap();
        for message in page.messages {
            let length = usize::try_from(message.size).unwrap();
            let bytes = store.open_content(message.content).unwrap().read(0, length).unwrap();
            let mut flags: Vec<String> = message.flags.names().map(str::to_ascii_lowercase).collect();
            flags.sort();
            messages.push((bytes, message.internal_date, flags));
        }
        from = page.next;
    }
    messages.sort();
    messages
}

fn contents(store: &dyn Store, account: AccountId) -> Contents {
    let mailboxes = store.list(account).unwrap().into_iter().filter(|mailbox| !mailbox.no_select);
    let mut contents: Contents = mailboxes
        .map(|mailbox| {
            let special_use = mailbox.special_use.map(|special_use| special_use.attribute());
            let messages = messages(store, &mailbox);
            (mailbox.name, special_use, mailbox.subscribed, messages)
        })
        .collect();
    contents.sort();
    contents
}

/// One line for each mailbox and message, which a failed comparison prints.
fn shown(contents: &Contents) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, special_use, subscribed, messages) in contents {
        lines.push(format!("{name} {special_use:?} {subscribed}"));
        for (bytes, date, flags) in messages {
            lines.push(format!("{name} {:?} {} {flags:?}", String::from_utf8_lossy(bytes), date.seconds));
        }
    }
    lines
}

/// Random numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// The server's account, changed without a session.
struct Remote<'s> {
    store: &'s dyn Store,
    account: AccountId,
    random: Random,
    appended: u32,
}

impl Remote<'_> {
    fn mailboxes(&self) -> Vec<Mailbox> {
        self.store.list(self.account).unwrap().into_iter().filter(|mailbox| !mailbox.no_select).collect()
    }

    fn append(&mut self, mailbox: &Mailbox) {
        self.appended += 1;
        let mut upload = self.store.upload().unwrap();
        // Some messages are equal.
        upload.write(format!("Subject: {}\r\n\r\ntext\r\n", self.appended / 2).as_bytes()).unwrap();
        let internal_date = InternalDate { seconds: i64::from(self.appended), offset_minutes: 60 };
        let target = Target { mailbox: mailbox.id, flags: self.flags(), internal_date };
        self.store.append(Delivery { upload, targets: vec![target] }).unwrap();
    }

    fn flags(&mut self) -> Flags {
        let all = ["\\Seen", "\\Flagged", "\\Deleted", "$Forwarded", "Work", "odd'keyword"];
        let chosen: Vec<&str> = all.into_iter().filter(|_| self.random.below(3) == 0).collect();
        Flags::parse(chosen).unwrap()
    }

    fn uids(&mut self, mailbox: &Mailbox) -> UidSet {
        let all = self.store.uid_page(mailbox.id, 1, u32::MAX, 10_000).unwrap().uids;
        let chosen: Vec<u32> = all.into_iter().filter(|_| self.random.below(4) == 0).collect();
        chosen.into_iter().collect()
    }

    /// Makes a random change.
    fn change(&mut self) {
        let mailboxes = self.mailboxes();
        let mailbox = self.random.one(&mailboxes).unwrap().clone();
        let name =
            format!("{}{}", ["A", "B/c", "Entwürfe", "A/x"][self.random.below(4)], self.random.below(3));
        match self.random.below(12) {
            0..=3 => self.append(&mailbox),
            4 | 5 => {
                let (uids, flags) = (self.uids(&mailbox), self.flags());
                self.store.store_flags(mailbox.id, &uids, StoreMode::Replace, &flags, None, 1000).unwrap();
            }
            6 => {
                let uids = self.uids(&mailbox);
                self.store.expunge(mailbox.id, &Expunge::Exactly(uids), 1000).unwrap();
            }
            7 => {
                let (uids, to) = (self.uids(&mailbox), self.random.one(&mailboxes).unwrap().id);
                if to != mailbox.id {
                    self.store.move_messages(mailbox.id, &uids, to, 1000).unwrap();
                }
            }
            8 => {
                if self.store.create_mailbox(self.account, &name, None).is_ok() && self.random.below(2) == 0 {
                    self.store.subscribe(self.account, &name).unwrap();
                }
            }
            9 => {
                let _ = self.store.rename_mailbox(self.account, &mailbox.name, &name);
            }
            10 => {
                let _ = self.store.delete_mailbox(self.account, &mailbox.name);
            }
            _ if mailbox.subscribed => self.store.unsubscribe(self.account, &mailbox.name).unwrap(),
            _ => self.store.subscribe(self.account, &mailbox.name).unwrap(),
        }
    }
}

/// A local store that follows the server.
struct Local {
    store: Arc<MemoryStore>,
    endpoint: Endpoint,
}

impl Local {
    fn new(server: &mailtest::Server, hidden: &[&str]) -> Self {
        let endpoint = endpoint("imaps", server.imaps(), server.tls().unwrap());
        let endpoint = endpoint.hide_capabilities(hidden.iter().copied());
        Self { store: Arc::new(MemoryStore::new().unwrap()), endpoint }
    }

    fn job(&self, removal: RemovalPolicy) -> SyncJob {
        let account = local_account(&*self.store, self.endpoint.url()).unwrap();
        let remote = self.store.remote_account(account, &remote_account_key(self.endpoint.url())).unwrap().id;
        let mut job = SyncJob::new(account, remote);
        job.removal = removal;
        job
    }

    fn run(&self, job: SyncJob, stop: &StopCheck) -> (SyncEnd, Vec<SyncEvent>) {
        let (connector, mut events) = (connector(&self.endpoint, |_| ()), Vec::new());
        let observer = &mut |event| events.push(event);
        let credentials = credentials(PASSWORD);
        let end = sync::run(&self.endpoint, &connector, &credentials, &*self.store, job, stop, observer);
        (end, events)
    }

    fn sync(&self, removal: RemovalPolicy) -> Vec<SyncEvent> {
        let (end, events) = self.run(self.job(removal), &StopCheck::new(|| Ok(())));
        assert_eq!(end, SyncEnd::Complete, "{events:?}");
        events
    }

    fn contents(&self) -> Contents {
        contents(&*self.store, local_account(&*self.store, self.endpoint.url()).unwrap())
    }
}

fn remote(server: &mailtest::Server, seed: u64) -> Remote<'_> {
    let account = server.store().account(server.user()).unwrap().unwrap().id;
    Remote { store: server.store(), account, random: Random(seed), appended: 0 }
}

#[test]
fn local_equals_remote_after_random_changes_in_each_mode() {
    for seed in 1..=2 {
        let server = server();
        let mut remote = remote(&server, seed);
        let locals = MODES.map(|hidden| Local::new(&server, hidden));
        // A local account begins with the mailboxes that the server may delete.
        locals.iter().for_each(|local| drop(local.sync(RemovalPolicy::Mirror)));
        for round in 0..10 {
            for _ in 0..8 {
                remote.change();
            }
            let expected = contents(remote.store, remote.account);
            for (local, hidden) in locals.iter().zip(MODES) {
                let events = local.sync(RemovalPolicy::Mirror);
                assert_eq!(
                    local.contents(),
                    expected,
                    "seed {seed}, round {round}, without {hidden:?}: {events:?}"
                );
            }
        }
    }
}

#[test]
fn a_sync_that_is_stopped_anywhere_loses_and_doubles_nothing() {
    let server = server();
    let mut remote = remote(&server, 7);
    let locals = [MODES[0], MODES[3]].map(|hidden| Local::new(&server, hidden));
    locals.iter().for_each(|local| drop(local.sync(RemovalPolicy::Mirror)));
    for stop_after in 1..40 {
        for _ in 0..3 {
            remote.change();
        }
        for local in &locals {
            let left = std::sync::atomic::AtomicUsize::new(stop_after);
            let stop = StopCheck::new(move || match left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) {
                0 | 1 => Err(Error::new(ErrorKind::Stopped, "stopped")),
                _ => Ok(()),
            });
            local.run(local.job(RemovalPolicy::Mirror), &stop);
        }
    }
    let expected = contents(remote.store, remote.account);
    for local in &locals {
        local.sync(RemovalPolicy::Mirror);
        assert_eq!(shown(&local.contents()), shown(&expected));
    }
}

#[test]
fn what_the_server_removes_stays_and_is_flagged_by_default() {
    let server = server();
    let mut remote = remote(&server, 1);
    let inbox = remote.store.mailbox(remote.account, "INBOX").unwrap();
    let other = remote.store.create_mailbox(remote.account, "Other", None).unwrap();
    let other = Mailbox { id: other, name: "Other".to_owned(), ..inbox.clone() };
    for mailbox in [&inbox, &inbox, &inbox, &other] {
        remote.append(mailbox);
    }
    let [kept, moved] = [MODES[0], MODES[3]].map(|hidden| Local::new(&server, hidden));
    kept.sync(RemovalPolicy::Never);
    moved.sync(RemovalPolicy::Trash);
    remote.store.expunge(inbox.id, &Expunge::Exactly(UidSet::one(2)), 10).unwrap();
    remote.store.delete_mailbox(remote.account, "Other").unwrap();
    for _ in 0..2 {
        kept.sync(RemovalPolicy::Never);
        moved.sync(RemovalPolicy::Trash);
        let count = |local: &Local, name: &str, only_removed: bool| {
            let contents = local.contents();
            let found = contents.iter().find(|(known, ..)| known == name);
            let is_counted = |(.., flags): &&Content| {
                !only_removed || flags.contains(&sync::REMOVED_KEYWORD.to_ascii_lowercase())
            };
            found.map(|(.., messages)| messages.iter().filter(is_counted).count())
        };
        assert_eq!((count(&kept, "INBOX", false), count(&kept, "INBOX", true)), (Some(3), Some(1)));
        assert_eq!((count(&kept, "Other", false), count(&kept, "Other", true)), (Some(1), Some(1)));
        assert_eq!((count(&moved, "INBOX", false), count(&moved, "Other", false)), (Some(2), None));
        assert_eq!(count(&moved, sync::REMOVED_MAILBOX, false), Some(2));
    }
}

#[test]
fn a_dry_run_reports_the_changes_and_makes_none() {
    let server = server();
    let mut remote = remote(&server, 1);
    let inbox = remote.store.mailbox(remote.account, "INBOX").unwrap();
    (0..3).for_each(|_| remote.append(&inbox));
    for hidden in MODES {
        let local = Local::new(&server, hidden);
        let mut first = local.job(RemovalPolicy::Mirror);
        first.dry_run = true;
        let (end, events) = local.run(first, &StopCheck::new(|| Ok(())));
        assert_eq!(end, SyncEnd::Complete, "{events:?}");
        assert!(local.contents().iter().all(|(.., messages)| messages.is_empty()));
        local.sync(RemovalPolicy::Mirror);
        let before = local.contents();
        remote.append(&inbox);
        let first = remote.store.uid_page(inbox.id, 1, u32::MAX, 10).unwrap().uids;
        remote.store.expunge(inbox.id, &Expunge::Exactly(UidSet::one(first[0])), 10).unwrap();
        let flags = Flags::parse(["$Changed", hidden.first().copied().unwrap_or("x")]).unwrap();
        remote.store.store_flags(inbox.id, &UidSet::one(first[1]), StoreMode::Add, &flags, None, 10).unwrap();
        for dry_run in [true, true, false] {
            let mut job = local.job(RemovalPolicy::Mirror);
            job.dry_run = dry_run;
            let (end, events) = local.run(job, &StopCheck::new(|| Ok(())));
            assert_eq!(end, SyncEnd::Complete);
            assert!(events.contains(&SyncEvent::Changed { flags: 1, removed: 1 }), "{hidden:?}: {events:?}");
            assert!(events.contains(&SyncEvent::Planned { missing: 1, known: 2 }), "{hidden:?}: {events:?}");
            assert_eq!(local.contents() == before, dry_run);
        }
        assert_eq!(shown(&local.contents()), shown(&contents(remote.store, remote.account)));
    }
}

#[test]
fn a_message_that_the_server_moved_or_has_again_is_not_kept_twice() {
    for hidden in [MODES[0], MODES[3]] {
        let server = server();
        let mut remote = remote(&server, 1);
        let mailbox = |name: &str| remote_mailbox(&server, name);
        let inbox = mailbox("INBOX");
        for name in ["A", "Z"] {
            remote.store.create_mailbox(remote.account, name, None).unwrap();
        }
        (0..3).for_each(|_| remote.append(&inbox));
        let local = Local::new(&server, hidden);
        local.sync(RemovalPolicy::Trash);
        let counts = || {
            local.sync(RemovalPolicy::Trash);
            let contents = local.contents();
            ["INBOX", "A", "Z", sync::REMOVED_MAILBOX].map(|name| {
                contents.iter().find(|(known, ..)| known == name).map_or(0, |(.., messages)| messages.len())
            })
        };
        // Moved to folders that are synced after and before the one that loses it.
        remote.store.move_messages(inbox.id, &UidSet::one(1), mailbox("Z").id, 10).unwrap();
        assert_eq!(counts(), [2, 0, 1, 0], "{hidden:?}");
        remote.store.move_messages(mailbox("Z").id, &UidSet::all(), mailbox("A").id, 10).unwrap();
        assert_eq!(counts(), [2, 1, 0, 0], "{hidden:?}");
        remote.store.expunge(mailbox("A").id, &Expunge::Exactly(UidSet::all()), 10).unwrap();
        assert_eq!(counts(), [2, 0, 0, 1], "{hidden:?}");
        // The server has it again, and removes it again.
        remote.appended = 0;
        remote.append(&inbox);
        assert_eq!(counts(), [3, 0, 0, 0], "{hidden:?}");
        remote.store.expunge(inbox.id, &Expunge::Exactly(UidSet::one(4)), 10).unwrap();
        assert_eq!(counts(), [2, 0, 0, 1], "{hidden:?}");
        assert_eq!(counts(), [2, 0, 0, 1], "{hidden:?}");
    }
}

fn remote_mailbox(server: &mailtest::Server, name: &str) -> Mailbox {
    let account = server.store().account(server.user()).unwrap().unwrap().id;
    server.store().mailbox(account, name).unwrap()
}

#[test]
fn a_renamed_folder_is_recognised_by_its_uidvalidity_without_a_mailboxid() {
    let server = server();
    let mut remote = remote(&server, 1);
    remote.store.create_mailbox(remote.account, "Old", None).unwrap();
    let old = remote_mailbox(&server, "Old");
    (0..4).for_each(|_| remote.append(&old));
    for hidden in [&["OBJECTID"][..], MODES[3]] {
        let local = Local::new(&server, hidden);
        local.sync(RemovalPolicy::Mirror);
        remote.store.rename_mailbox(remote.account, "Old", "New").unwrap();
        let events = local.sync(RemovalPolicy::Mirror);
        let renamed = SyncEvent::FolderRenamed { from: "Old".into(), to: "New".into() };
        assert!(events.contains(&renamed), "{hidden:?}: {events:?}");
        assert!(!events.contains(&SyncEvent::Received), "{hidden:?}: nothing is fetched again: {events:?}");
        assert_eq!(shown(&local.contents()), shown(&contents(remote.store, remote.account)));
        remote.store.rename_mailbox(remote.account, "New", "Old").unwrap();
    }
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    let server = server();
    let mut remote = remote(&server, 5);
    let locals = [MODES[0], MODES[3]].map(|hidden| Local::new(&server, hidden));
    locals.iter().for_each(|local| drop(local.sync(RemovalPolicy::Mirror)));
    for _ in 0..6 {
        for _ in 0..6 {
            remote.change();
        }
        for local in &locals {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| local.run(local.job(RemovalPolicy::Mirror), &StopCheck::new(|| Ok(()))));
                }
            });
        }
    }
    for local in &locals {
        local.sync(RemovalPolicy::Mirror);
        assert_eq!(shown(&local.contents()), shown(&contents(remote.store, remote.account)));
    }
}

#[test]
fn watching_follows_all_folders_in_one_session() {
    let server = server();
    let mut remote = remote(&server, 1);
    remote.store.create_mailbox(remote.account, "Other", None).unwrap();
    let other = remote_mailbox(&server, "Other");
    let local = Local::new(&server, &[]);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let is_over = Arc::new(is_over);
    let stop = Arc::clone(&is_over);
    let stop = StopCheck::new(move || match stop.load(std::sync::atomic::Ordering::SeqCst) {
        true => Err(Error::new(ErrorKind::Stopped, "stopped")),
        false => Ok(()),
    });
    std::thread::scope(|scope| {
        let mut job = local.job(RemovalPolicy::Mirror);
        job.watch = true;
        let run = scope.spawn(|| local.run(job, &stop));
        // Far less than the time after which the folders are listed anyway.
        let follows = |remote: &Remote<'_>| {
            let begun = std::time::Instant::now();
            while shown(&local.contents()) != shown(&contents(remote.store, remote.account)) {
                if begun.elapsed() > std::time::Duration::from_secs(20) {
                    return false;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            true
        };
        let mut followed = Vec::new();
        for change in 0..4 {
            match change {
                0 | 1 => remote.append(&other),
                2 => drop(remote.store.expunge(other.id, &Expunge::Exactly(UidSet::one(1)), 10).unwrap()),
                _ => remote.store.rename_mailbox(remote.account, "Other", "Renamed").unwrap(),
            }
            followed.push(follows(&remote));
        }
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        let (end, events) = run.join().unwrap();
        assert_eq!(followed, [true; 4], "{end:?} {events:?}");
        let connections = events.iter().filter(|event| **event == SyncEvent::Connected).count();
        assert_eq!(connections, 1, "{events:?}");
    });
}
