//! Tests that the data derived from a message is bounded in memory and on disk, also for hostile messages.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use mailmime::{Part, Structure};
use mailstore::*;
use mailwire_fixtures::allocator::{Counting, peak};
use mailwire_fixtures::messages::{MEBIBYTE, check_groups, fill, hostile, named};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn store() -> (tempfile::TempDir, SqliteStore, MailboxId) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let account = store.create_account("ann", b"password").unwrap().id;
    let inbox = store.mailbox(account, "INBOX").unwrap().id;
    (directory, store, inbox)
}

fn append(store: &SqliteStore, mailbox: MailboxId, message: &[u8]) -> Appended {
    let mut upload = store.upload().unwrap();
    message.chunks(4_096).for_each(|chunk| upload.write(chunk).unwrap());
    let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
    store.append(Delivery { upload, targets: vec![target] }).unwrap()[0]
}

/// Returns the size of the records of the last appended content.
fn derived(directory: &std::path::Path) -> usize {
    let database = rusqlite::Connection::open(directory.join("mail.db")).unwrap();
    let sizes = "SELECT length(CAST(envelope AS BLOB)) + length(CAST(structure AS BLOB)) FROM contents \
                 ORDER BY id DESC LIMIT 1";
    database.query_row(sizes, [], |row| row.get(0)).unwrap()
}

#[test]
fn memory_and_derived_data_are_bounded_for_hostile_messages() {
    let (directory, store, inbox) = store();
    append(&store, inbox, b"Subject: warm up\r\n\r\nx");
    let columns = Columns::summary().with_envelope().with_structure();
    for size in [60 * 1024, 600 * 1024] {
        for (name, message) in hostile(size) {
            let (appended, peak_in) = peak(|| append(&store, inbox, &message));
            assert!(peak_in <= 256 * 1024, "{name} of {size}: {peak_in} bytes of memory while it comes in");
            let derived = derived(directory.path());
            let allowed = message.len() / 10 + 64 * 1024;
            assert!(derived <= allowed, "{name} of {size}: {derived} bytes are derived");

            let set = UidSet::one(appended.uid);
            let (page, peak_out) = peak(|| store.fetch_page(inbox, &set, columns, 1).unwrap());
            assert!(peak_out <= 3 * MEBIBYTE / 2, "{name} of {size}: {peak_out} bytes of memory to read it");
            let read = &page.messages[0];
            check_groups(read.envelope.as_ref().unwrap());
            let body = store.open_content(read.content).unwrap();
            assert_eq!(body.read(0, usize::MAX).unwrap(), message, "{name}");
        }
    }
}

#[test]
fn memory_is_bounded_for_a_header_of_17_mebibytes() {
    let (_directory, store, inbox) = store();
    append(&store, inbox, b"Subject: warm up\r\n\r\nx");
    for piece in ["X-Filler: some text that is of no interest\r\n", "To: a@b.example, c@d.example\r\n", "x"] {
        let message = fill(17 * MEBIBYTE, "", piece, "");
        let (appended, peak) = peak(|| append(&store, inbox, &message));
        assert!(peak <= 256 * 1024, "{piece:?}: {peak}");
        assert_eq!(store.status(inbox).unwrap().uid_next, appended.uid + 1);
    }
}

#[test]
fn page_ends_at_its_memory_limit() {
    let (_directory, store, inbox) = store();
    let message = format!("To: {}\r\n\r\nx", named(1_000)).into_bytes();
    for _ in 0..30 {
        append(&store, inbox, &message);
    }
    let columns = Columns::summary().with_envelope().with_structure();
    let (mut rest, mut count) = (UidSet::all(), 0);
    while !rest.is_empty() {
        let (page, peak) = peak(|| store.fetch_page(inbox, &rest, columns, 500).unwrap());
        assert!(peak <= MEBIBYTE, "{peak} bytes for a page");
        count += page.messages.len();
        rest = page.next.map_or_else(UidSet::default, |next| rest.starting_at(next));
    }
    assert_eq!(count, 30);
}

#[test]
fn reads_records_of_earlier_versions_in_bounded_memory() {
    let (directory, store, inbox) = store();
    let header = b"From: Ann <a@b>\r\nContent-Type: text/html; charset=x\r\n\r\nbody";
    let small = append(&store, inbox, header);
    let large = append(&store, inbox, &fill(300 * 1024, "From: ", "a,", "\r\n\r\nx"));
    let expected = Structure::parse(header);
    let ann = r#"[{"n":"Ann","m":"a","h":"b"}]"#;
    let json = format!(r#"{{"f":{ann},"n":{ann},"r":{ann}}}"#);
    let (start, end) = (header.len() - 4, header.len());
    let root = format!(
        r#"{{"t":"text","s":"html","p":[["charset","x"]],"e":"7bit","n":1,"h":[0,{start}],"b":[{start},{end}]}}"#
    );
    let huge = format!("{{\"f\":[{}{{}}]}}", "{\"m\":\"a\",\"h\":\"\"},".repeat(1_000_000));
    let database = rusqlite::Connection::open(directory.path().join("mail.db")).unwrap();
    let update = "UPDATE contents SET envelope = ?2, structure = ?3 WHERE id = ?1";
    database.execute(update, (small.content.0, json, root)).unwrap();
    let root: String = database
        .query_row("SELECT structure FROM contents WHERE id = ?1", [large.content.0], |row| row.get(0))
        .unwrap();
    database.execute(update, (large.content.0, huge, root)).unwrap();
    let columns = Columns::summary().with_envelope().with_structure();
    let (page, peak) = peak(|| store.fetch_page(inbox, &UidSet::all(), columns, 10).unwrap());
    assert!(peak <= 2 * MEBIBYTE, "{peak}");
    assert_eq!(page.messages[0].envelope.as_ref(), Some(&expected.envelope));
    assert_eq!(page.messages[0].structure.as_ref(), Some(&expected.root));
    let envelope = page.messages[1].envelope.as_ref().unwrap();
    assert_eq!((envelope.from.len(), envelope.truncated), (1_000, true));
    assert!(page.messages[1].structure.as_ref().is_some_and(|root: &Part| !root.header.is_empty()));
}

#[test]
fn memory_of_a_store_in_memory_is_what_it_counts() {
    let typical = "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nFrom: Ann Example <ann@example.org>\r\n\
        To: Bob <bob@example.net>, Carol <carol@example.com>\r\nMessage-ID: <0123456789abcdef@mail.example.org>\r\n\
        Subject: a subject of ordinary length\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ntext\r\n";
    for message in
        [b"".to_vec(), typical.as_bytes().to_vec(), format!("To: {}\r\n\r\nx", named(12)).into_bytes()]
    {
        let (store, held) = peak(|| {
            let store = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
            let account = store.create_account("ann", b"password").unwrap().id;
            let inbox = store.mailbox(account, "INBOX").unwrap().id;
            for _ in 0..3_000 {
                let mut upload = store.upload().unwrap();
                upload.write(&message).unwrap();
                let targets = vec![Target {
                    mailbox: inbox,
                    flags: Flags::new(),
                    internal_date: InternalDate::default(),
                }];
                store.append(Delivery { upload, targets }).unwrap();
            }
            store.copy(inbox, &UidSet::all(), inbox, 1_000).unwrap();
            store
        });
        let (held, counted) = (held as u64, store.storage().used());
        assert!(held < counted + MEBIBYTE as u64, "{held} bytes are held and {counted} counted");
    }
}
