//! Sync: the store's contents after whole runs, stopped runs and dropped runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mailclient::blocking::{StopCheck, connector};
use mailclient::sync::tokio::SyncRunner;
use mailclient::sync::{self, SyncEnd, SyncEvent, SyncJob, local_account, remote_account_key};
use mailclient::tokio::BlockingJobs;
use mailclient::{Endpoint, Error, ErrorKind};
use mailstore::{Columns, MemoryStore, Store, SyncStore, UidSet};
use tokio::sync::Notify;

use crate::{PASSWORD, Runner, credentials, endpoint, on_tokio, server, shared};

/// What a store has: each mailbox with its messages.
type Contents = Vec<(String, Vec<(u32, Vec<u8>)>)>;

/// A server with messages in three mailboxes. One message is larger than a job of the store.
fn filled_server() -> mailtest::Server {
    let server = server();
    for number in 0..30 {
        let mailbox = ["INBOX", "Archive", "Archive/2026"][number % 3];
        let size = if number == 7 { 700_000 } else { number * 300 };
        let message = format!("Subject: {number}\r\n\r\n{}\r\n", "x".repeat(size));
        server.append(mailbox, message.as_bytes()).unwrap();
    }
    server
}

fn contents(store: &dyn Store, endpoint: &Endpoint) -> Contents {
    let account = local_account(store, endpoint.url()).unwrap();
    let mut found = Vec::new();
    for mailbox in store.list(account).unwrap() {
        let (mut messages, mut from) = (Vec::new(), Some(1));
        while let Some(first) = from {
            let uids = UidSet::from_iter([first..=u32::MAX]);
            let page = store.fetch_page(mailbox.id, &uids, Columns::summary(), 100).unwrap();
            for message in page.messages {
                let length = usize::try_from(message.size).unwrap();
                let bytes = store.open_content(message.content).unwrap().read(0, length).unwrap();
                messages.push((message.uid, bytes));
            }
            from = page.next;
        }
        found.push((mailbox.name, messages));
    }
    found.sort();
    found
}

/// The contents without UIDs, which differ if a run was interrupted.
fn bodies(contents: &Contents) -> Vec<(String, Vec<Vec<u8>>)> {
    let of = |messages: &[(u32, Vec<u8>)]| {
        let mut bodies: Vec<_> = messages.iter().map(|(_, bytes)| bytes.clone()).collect();
        bodies.sort();
        bodies
    };
    contents.iter().map(|(name, messages)| (name.clone(), of(messages))).collect()
}

fn job(store: &dyn SyncStore, endpoint: &Endpoint) -> SyncJob {
    let account = local_account(store, endpoint.url()).unwrap();
    let remote = store.remote_account(account, &remote_account_key(endpoint.url())).unwrap().id;
    SyncJob::new(account, remote)
}

fn runner(store: &Arc<MemoryStore>, endpoint: &Endpoint) -> SyncRunner {
    SyncRunner::new(endpoint, shared(PASSWORD), store.clone())
}

/// Runs a whole sync.
fn sync_all(which: Runner, store: &Arc<MemoryStore>, endpoint: &Endpoint) -> (SyncEnd, Vec<SyncEvent>) {
    let (job, mut events) = (job(&**store, endpoint), Vec::new());
    let end = match which {
        Runner::Blocking => {
            let (connector, stop) = (connector(endpoint, |_| ()), StopCheck::new(|| Ok(())));
            let observer = &mut |event| events.push(event);
            sync::run(endpoint, &connector, &credentials(PASSWORD), &**store, job, &stop, observer)
        }
        Runner::Tokio => on_tokio(runner(store, endpoint).run(job, |event| events.push(event))),
    };
    (end, events)
}

/// Runs a sync, and stops it after this many events.
fn sync_part(which: Runner, store: &Arc<MemoryStore>, endpoint: &Endpoint, count: usize) -> SyncEnd {
    let (job, seen) = (job(&**store, endpoint), Arc::new(AtomicUsize::new(0)));
    match which {
        Runner::Blocking => {
            let counted = seen.clone();
            let stop = StopCheck::new(move || match counted.load(Ordering::SeqCst) >= count {
                true => Err(Error::new(ErrorKind::Stopped, "the sync was stopped")),
                false => Ok(()),
            });
            let connector = connector(endpoint, |_| ());
            let observer = &mut |_| {
                seen.fetch_add(1, Ordering::SeqCst);
            };
            sync::run(endpoint, &connector, &credentials(PASSWORD), &**store, job, &stop, observer)
        }
        Runner::Tokio => {
            let stop = Notify::new();
            let observer = |_| {
                if seen.fetch_add(1, Ordering::SeqCst) + 1 == count {
                    stop.notify_one();
                }
            };
            on_tokio(runner(store, endpoint).run_until(job, stop.notified(), observer))
        }
    }
}

/// Runs a sync on tokio, and drops its future after this many events. Returns whether it was dropped.
fn sync_and_drop(store: &Arc<MemoryStore>, endpoint: &Endpoint, count: usize) -> bool {
    let (job, runner) = (job(&**store, endpoint), runner(store, endpoint));
    let (cut, mut seen) = (Notify::new(), 0);
    let observer = |_| {
        seen += 1;
        if seen == count {
            cut.notify_one();
        }
    };
    on_tokio(async {
        tokio::select! {
            biased;
            () = cut.notified() => true,
            _ = runner.run(job, observer) => false,
        }
    })
}

#[test]
fn a_sync_reports_and_stores_the_same() {
    let server = filled_server();
    for (scheme, address) in [("imaps", server.imaps()), ("imap", server.imap())] {
        let endpoint = endpoint(scheme, address, server.tls().unwrap());
        let [blocking, tokio] = Runner::BOTH.map(|which| {
            let store = Arc::new(MemoryStore::new().unwrap());
            let (end, events) = sync_all(which, &store, &endpoint);
            assert_eq!(end, SyncEnd::Complete);
            let (again, nothing) = sync_all(which, &store, &endpoint);
            assert_eq!(again, SyncEnd::Complete);
            (events, nothing, contents(&*store, &endpoint))
        });
        assert_eq!(blocking, tokio);
        let messages: usize = tokio.2.iter().map(|(_, messages)| messages.len()).sum();
        assert_eq!(messages, 30);
    }
}

#[test]
fn a_stopped_sync_keeps_what_came_and_the_other_runner_continues_it() {
    let server = filled_server();
    let endpoint = endpoint("imaps", server.imaps(), server.tls().unwrap());
    let whole = Arc::new(MemoryStore::new().unwrap());
    sync_all(Runner::Blocking, &whole, &endpoint);
    let whole = bodies(&contents(&*whole, &endpoint));
    for count in [1, 3, 4, 7, 12, 20, 33] {
        for (first, second) in [(Runner::Blocking, Runner::Tokio), (Runner::Tokio, Runner::Blocking)] {
            let store = Arc::new(MemoryStore::new().unwrap());
            let end = sync_part(first, &store, &endpoint, count);
            let SyncEnd::Stopped(error) = end else { panic!("{first:?} {count}: {end:?}") };
            assert_eq!(error.kind(), ErrorKind::Stopped, "{first:?} {count}: {error}");
            let (end, _) = sync_all(second, &store, &endpoint);
            assert_eq!(end, SyncEnd::Complete, "{first:?} {count}");
            assert_eq!(bodies(&contents(&*store, &endpoint)), whole, "{first:?} {count}");
        }
    }
}

#[test]
fn a_dropped_sync_leaves_whole_messages_and_the_next_one_continues() {
    let server = filled_server();
    let endpoint = endpoint("imaps", server.imaps(), server.tls().unwrap());
    let whole = Arc::new(MemoryStore::new().unwrap());
    sync_all(Runner::Blocking, &whole, &endpoint);
    let whole = bodies(&contents(&*whole, &endpoint));
    let known: Vec<&Vec<u8>> = whole.iter().flat_map(|(_, bodies)| bodies).collect();
    for count in [1, 2, 4, 5, 9, 14, 15, 16, 17, 28, 40] {
        let store = Arc::new(MemoryStore::new().unwrap());
        assert!(sync_and_drop(&store, &endpoint, count), "{count}");
        for (_, messages) in contents(&*store, &endpoint) {
            assert!(messages.iter().all(|(_, bytes)| known.contains(&bytes)), "{count}: a part of a message");
        }
        let (end, _) = sync_all(Runner::Tokio, &store, &endpoint);
        assert_eq!(
            (end, bodies(&contents(&*store, &endpoint))),
            (SyncEnd::Complete, whole.clone()),
            "{count}"
        );
    }
}

/// The limit holds for all syncs that share it, and counts jobs whose future was dropped.
#[test]
fn jobs_that_block_are_limited() {
    on_tokio(async {
        let (jobs, running, most) = (BlockingJobs::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        let (running, most) = (Arc::new(running), Arc::new(most));
        let work = || {
            let (running, most) = (running.clone(), most.clone());
            jobs.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(30));
                running.fetch_sub(1, Ordering::SeqCst);
            })
        };
        // Begins, and is dropped.
        let dropped = tokio::time::timeout(Duration::from_millis(5), work()).await;
        assert!(dropped.is_err());
        let (a, b, c, d) = tokio::join!(work(), work(), work(), work());
        assert!([a, b, c, d].iter().all(Result::is_ok));
        assert_eq!(most.load(Ordering::SeqCst), 2);
        let panicked = jobs.run(|| panic!("the test wants it")).await;
        assert_eq!(panicked.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(work().await.is_ok(), "the panic has released its place");
    });
}
