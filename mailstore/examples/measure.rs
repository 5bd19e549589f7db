//! Measures the speed of the store on this disk: `cargo run --release -p mailstore --example measure [DIR]`.

use mailstore::*;
use std::time::Instant;

const COUNT: u32 = 10_000;

fn main() -> Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "target".into());
    let directory = std::path::Path::new(&directory).join(format!("measure-{}", std::process::id()));
    let outcome = measure(&directory);
    std::fs::remove_dir_all(&directory)?;
    outcome
}

fn measure(directory: &std::path::Path) -> Result<()> {
    let store = SqliteStore::open(directory)?;
    let account = store.create_account("ann", b"password")?.id;
    let mailbox = |name: &str| store.create_mailbox(account, name, None);
    let (single, batched, threaded) = (mailbox("single")?, mailbox("batched")?, mailbox("threaded")?);

    let clock = Instant::now();
    (0..1_000).try_for_each(|n| store.append(delivery(&store, single, n)?).map(drop))?;
    report("append one by one", 1_000, clock);

    let clock = Instant::now();
    for start in (0..COUNT).step_by(100) {
        let batch = (start..start + 100).map(|n| delivery(&store, batched, n)).collect::<Result<Vec<_>>>()?;
        store.append_batch(batch)?.into_iter().collect::<Result<Vec<_>>>()?;
    }
    report("append in batches of 100", COUNT, clock);

    let clock = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    (0..250).try_for_each(|n| store.append(delivery(&store, threaded, n)?).map(drop))
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(Error::Busy)))
    })?;
    report("append from 16 threads", 4_000, clock);

    for (name, columns) in [
        ("fetch summaries", Columns::summary()),
        ("fetch envelopes and structures", Columns::summary().with_envelope().with_structure()),
        ("fetch small bodies", Columns::summary().with_small_bodies()),
    ] {
        let clock = Instant::now();
        let (mut set, mut count) = (UidSet::all(), 0);
        while !set.is_empty() {
            let page = store.fetch_page(batched, &set, columns, 1_000)?;
            count += page.messages.len();
            set = page.next.map_or_else(UidSet::default, |next| set.starting_at(next));
        }
        report(name, u32::try_from(count).unwrap_or_default(), clock);
    }
    let clock = Instant::now();
    store.select(batched, Access::ReadWrite)?;
    report("select", COUNT, clock);
    let clock = Instant::now();
    store.store_flags(
        batched,
        &UidSet::all(),
        StoreMode::Add,
        &Flags::system(Flags::SEEN),
        None,
        usize::MAX,
    )?;
    report("store flags", COUNT, clock);
    let clock = Instant::now();
    store.copy(batched, &UidSet::all(), single, usize::MAX)?;
    report("copy", COUNT, clock);
    let clock = Instant::now();
    store.expunge(batched, &Expunge::Exactly(UidSet::all()), usize::MAX)?;
    report("expunge", COUNT, clock);
    measure_lookups(&store, account)?;
    for count in [1_000, 10_000, 100_000] {
        measure_import(&store, account, count)?;
    }
    let clock = Instant::now();
    store.verify_password("ann", b"password")?;
    report("verify a password", 1, clock);
    Ok(())
}

/// Measures the calls that a session makes for one message or mailbox. Their cost must not depend on the number of
/// messages.
fn measure_lookups(store: &SqliteStore, account: AccountId) -> Result<()> {
    let large = store.create_mailbox(account, "large", None)?;
    for start in (0..100_000).step_by(500) {
        let batch = (start..start + 500).map(|n| delivery(store, large, n)).collect::<Result<Vec<_>>>()?;
        store.append_batch(batch)?.into_iter().collect::<Result<Vec<_>>>()?;
    }
    let repeat = |name, call: &mut dyn FnMut(u32) -> Result<()>| {
        let clock = Instant::now();
        (1..=10_000).try_for_each(call)?;
        report(name, 10_000, clock);
        Result::Ok(())
    };
    let everything = Columns::summary().with_envelope().with_structure().with_small_bodies();
    repeat("one summary of 100,000", &mut |n| {
        store.fetch_page(large, &UidSet::one(n * 9), Columns::summary(), 1).map(drop)
    })?;
    repeat("one whole message of 100,000", &mut |n| {
        store.fetch_page(large, &UidSet::one(n * 9), everything, 1).map(drop)
    })?;
    repeat("ten UIDs of 100,000", &mut |n| {
        let set: UidSet = [n * 9..=n * 9 + 9].into_iter().collect();
        store.fetch_page(large, &set, Columns::summary(), 500).map(drop)
    })?;
    repeat("status of 100,000", &mut |_| store.status(large).map(drop))?;
    repeat("quota check", &mut |_| store.check_quota(large, 1_000))?;
    for n in 0..9_900 {
        store.create_mailbox(account, &format!("box {n}"), None)?;
    }
    let clock = Instant::now();
    let count = u32::try_from(store.list(account)?.len()).unwrap_or_default();
    report("list mailboxes", count, clock);
    Ok(())
}

fn measure_import(store: &SqliteStore, account: AccountId, count: u32) -> Result<()> {
    let name = format!("import {count}");
    let mailbox = store.create_mailbox(account, &name, None)?;
    let remote = store.remote_account(account, "imap:measure")?.id;
    let remote = store.remote_mailbox(remote, &name, mailbox, 7)?.id;
    let mut seconds = 0.0;
    for start in (0..count).step_by(100) {
        let messages: Vec<_> = (start..start + 100)
            .map(|n| {
                let Delivery { upload, .. } = delivery(store, mailbox, n)?;
                let (flags, internal_date) = (Flags::new(), InternalDate::default());
                Ok(RemoteMessage { uid: n + 1, upload, flags, internal_date })
            })
            .collect::<Result<_>>()?;
        let clock = Instant::now();
        store.record_imports(remote, messages)?;
        seconds += clock.elapsed().as_secs_f64();
    }
    println!(
        "{:32} {count:6} in {:8.1} ms, {:9.0} per second",
        "import",
        seconds * 1e3,
        f64::from(count) / seconds
    );
    Ok(())
}

fn delivery(store: &SqliteStore, mailbox: MailboxId, number: u32) -> Result<Delivery> {
    let mut upload = store.upload()?;
    let header = format!(
        "From: Ann <ann@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: number {number}\r\n\
         Date: Sat, 21 Nov 2026 05:00:00 +0000\r\nMessage-ID: <{number}@example.org>\r\n\r\n"
    );
    upload.write(header.as_bytes())?;
    upload
        .write(&b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n".repeat(25))?;
    let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
    Ok(Delivery { upload, targets: vec![target] })
}

fn report(name: &str, count: u32, clock: Instant) {
    let seconds = clock.elapsed().as_secs_f64();
    println!(
        "{name:32} {count:6} in {:8.1} ms, {:9.0} per second",
        seconds * 1e3,
        f64::from(count) / seconds
    );
}
