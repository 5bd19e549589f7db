//! Tests that the data derived from a message is bounded in memory and on disk, also for hostile messages.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use mailstore::mime::{self, Address, Part, Structure};
use mailstore::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The system's allocator, counting the bytes that each thread holds.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old block and the new one may be held at the same time.
        count(size as isize);
        count(-(layout.size() as isize));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Returns the most bytes that this thread held while `work` ran, in addition to those it held before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let value = work();
    (value, usize::try_from(PEAK.get() - before).unwrap())
}

const MEBIBYTE: usize = 1024 * 1024;

/// Returns text of about `size` bytes that repeats `piece`.
fn fill(size: usize, start: &str, piece: &str, end: &str) -> Vec<u8> {
    let mut text = String::with_capacity(size + start.len() + end.len());
    text.push_str(start);
    while text.len() < size {
        text.push_str(piece);
    }
    text.push_str(end);
    text.into_bytes()
}

fn nested_messages(size: usize) -> Vec<u8> {
    let each = size / 30;
    let mut text = String::new();
    for _ in 0..30 {
        let addresses = fill(each, "", "Somewhat Long Name <long.name@mail.example>,\r\n ", "");
        text.push_str("Content-Type: message/rfc822\r\nSubject: x\r\nTo: ");
        text.push_str(std::str::from_utf8(&addresses).unwrap());
        text.push_str("\r\n\r\n");
    }
    text.into_bytes()
}

fn deep_multiparts(size: usize) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < size {
        let name = format!("{}{}", "b".repeat(60), text.len());
        text.push_str(&format!("Content-Type: multipart/mixed; boundary={name}\r\n\r\n--{name}\r\n"));
    }
    text.into_bytes()
}

/// Every part has every field that a part can have.
fn rich_parts(size: usize) -> Vec<u8> {
    let long = "v".repeat(900);
    let part = format!(
        "--b\r\nContent-Type: application/x-{long}; name={long}; charset=\"{long}\"\r\n\
         Content-Disposition: attachment; filename=\"{long}\"\r\nContent-ID: <{long}>\r\n\
         Content-Description: {long}\r\nContent-Location: {long}\r\nContent-Language: a,b,c\r\n\r\nx\r\n"
    );
    fill(size, "Content-Type: multipart/mixed; boundary=b\r\n\r\n", &part, "--b--\r\n")
}

/// Messages of about `size` bytes for which as much data as possible is derived.
fn hostile(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let latin: Vec<u8> =
        fill(size, "To: ", "ab\u{a0},", "\r\n\r\nx").into_iter().filter(|b| *b != 0xc2).collect();
    vec![
        ("from a,a,a", fill(size, "From: ", "a,", "\r\n\r\nx")),
        ("from in all fields", fill(size, "", "From: a,b,c\r\nTo: d\r\nCc: e\r\nBcc: f\r\n", "\r\nx")),
        ("folded addresses", fill(size, "To: ", "Ann Lee <ann@mail.example>,\r\n ", "\r\n\r\nx")),
        ("groups", fill(size, "To: ", "g:a@b;", "\r\n\r\nx")),
        ("an open group", fill(size, "To: g:", "a@b.example, ", "\r\n\r\nx")),
        ("empty address fields", fill(size, "", "To:\r\nCc: ,\r\nBcc: <>\r\n", "\r\nx")),
        ("latin-1 addresses", latin),
        ("a long address", fill(size, "To: ", "aaaaaaaaaaaaaaaa", "@b, c@d\r\n\r\nx")),
        ("a long comment", fill(size, "To: a@b (", "((comment))", ")\r\n\r\nx")),
        ("a long quoted name", fill(size, "To: \"", "\\\"name", "\" <a@b>\r\n\r\nx")),
        ("a long subject", fill(size, "Subject: ", "=?utf-8?q?word?= ", "\r\n\r\nx")),
        ("a folded subject", fill(size, "Subject: a\r\n", " \r\n", "b\r\n\r\nx")),
        ("a long line", fill(size, "Subject: ", "\u{fc}", "")),
        (
            "long texts",
            fill(size, "", "Date: x\r\nMessage-ID: <a@b>\r\nIn-Reply-To: <c@d> <e@f>\r\n", "\r\nx"),
        ),
        ("many identifiers", fill(size, "In-Reply-To: ", "<0123456789@mail.example>\r\n ", "\r\n\r\nx")),
        ("parameters", fill(size, "Content-Type: text/plain", "; a=b", "\r\n\r\nx")),
        ("empty parameters", fill(size, "Content-Type: text/plain", ";", "\r\n\r\nx")),
        ("disposition parameters", fill(size, "Content-Disposition: inline", ";\r\n a=b", "\r\n\r\nx")),
        ("languages", fill(size, "Content-Language: ", "de, ", "\r\n\r\nx")),
        ("tiny fields", fill(size, "", "a: b\r\n", "\r\nx")),
        ("lines without a colon", fill(size, "", "x\n", "")),
        ("tiny parts", fill(size, mixed, "--b\n\nx\n", "--b--\n")),
        ("parts with parameters", fill(size, mixed, "--b\nContent-Type: a/b;c=d;e=f;g=h\n\nx\n", "--b--\n")),
        ("boundaries only", fill(size, mixed, "--b\n", "")),
        (
            "a digest",
            fill(size, "Content-Type: multipart/digest; boundary=b\r\n\r\n", "--b\n\nTo: a\n\nx\n", ""),
        ),
        ("enclosed messages", fill(size, mixed, "--b\nContent-Type: message/rfc822\n\nTo: a,b,c\n\nx\n", "")),
        ("deep multiparts", deep_multiparts(size)),
        ("nested messages with address lists", nested_messages(size)),
        ("rich parts", rich_parts(size)),
    ]
}

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

/// Checks that each group that starts also ends.
fn check_groups(envelope: &mime::Envelope) {
    for list in [&envelope.from, &envelope.to, &envelope.cc, &envelope.bcc] {
        let mut open = false;
        for address in list {
            if address.host.is_none() {
                assert_eq!(open, address.mailbox.is_none());
                open = !open;
            }
        }
        assert!(!open);
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
fn time_is_linear_in_the_size_of_a_message() {
    // Take the fastest of some runs, because a busy machine slows single runs down.
    let run = |message: &[u8]| {
        let once = |_| {
            let clock = Instant::now();
            Structure::of(message);
            clock.elapsed()
        };
        (0..4).map(once).min().unwrap_or_default()
    };
    for ((name, small), (_, large)) in hostile(40 * 1024).into_iter().zip(hostile(640 * 1024)) {
        let (short, long) = (run(&small).max(Duration::from_millis(2)), run(&large));
        assert!(long < short * 16 * 6, "{name}: {short:?} for 40 KiB, {long:?} for 640 KiB");
    }
}

#[test]
fn cuts_are_independent_of_chunk_size() {
    for (name, message) in hostile(90 * 1024) {
        let whole = Structure::of(&message);
        for length in [13, 4_093] {
            let mut scanner = mime::Scanner::new();
            message.chunks(length).for_each(|chunk| scanner.push(chunk));
            assert!(scanner.finish() == whole, "{name} in chunks of {length} bytes");
        }
    }
}

fn named(count: usize) -> String {
    (0..count).map(|n| format!("n{n}@d.example, ")).collect()
}

#[test]
fn cuts_address_lists_at_an_address_and_sets_truncated() {
    let envelope = |header: String| Structure::of(format!("{header}\r\n\r\nx").as_bytes()).envelope;
    let whole = envelope(format!("To: {}", named(mime::ADDRESS_LIMIT)));
    assert_eq!((whole.to.len(), whole.truncated), (1_000, false));
    let cut = envelope(format!("Subject: s\r\nTo: {}\r\nCc: last@x", named(mime::ADDRESS_LIMIT + 1)));
    assert_eq!((cut.to.len(), cut.cc.len(), cut.truncated), (1_000, 1, true));
    assert_eq!(cut.to[999].mailbox.as_deref(), Some("n999"));
    assert_eq!(cut.subject.as_deref(), Some("s"));

    let group = envelope(format!("To: team: {};", named(5_000)));
    assert_eq!((group.to.len(), group.truncated), (1_000, true));
    assert_eq!(group.to[999], Address::default(), "the group is ended");
    let groups = envelope(format!("To: {}", "g:a@b;".repeat(400)));
    assert_eq!((groups.to.len() % 3, groups.truncated), (0, true));

    let long = envelope(format!("To: a@b, {}@c, d@e", "x".repeat(2_000)));
    let mailboxes: Vec<_> = long.to.iter().filter_map(|one| one.mailbox.as_deref()).collect();
    assert_eq!((mailboxes, long.truncated), (vec!["a", "d"], true), "half an address would be another one");
    let wide = "A name that is rather long <with.a.long.local.part@and.a.long.domain.example>, ".repeat(900);
    let wide = envelope(format!("To: {wide}"));
    assert!(wide.truncated && wide.to.len() > 400);
    assert!(wide.to.iter().all(|one| one.host.as_deref() == Some("and.a.long.domain.example")));
}

#[test]
fn cuts_texts_between_words_and_identifiers() {
    let envelope = |header: &str| Structure::of(header.as_bytes()).envelope;
    let cut = envelope(&format!("Subject: {}\r\n\r\n", "=?utf-8?q?word?= ".repeat(1_000)));
    let subject = cut.subject.unwrap();
    assert!(cut.truncated && subject.len() > 7_000 && subject.ends_with("?="));
    let cut = envelope(&format!("In-Reply-To: {}\r\n\r\n", "<0123456789@d.example> ".repeat(1_000)));
    assert!(cut.truncated && cut.in_reply_to.unwrap().ends_with(".example>"));
    let cut = envelope(&format!("Message-ID: <{}@d>\r\n\r\n", "x".repeat(2_000)));
    assert_eq!((cut.message_id, cut.truncated), (None, true));
}

#[test]
fn cuts_parts_at_a_part_and_sets_truncated() {
    let message = |parts: usize| {
        let part = |n| format!("--b\r\nContent-Type: text/html; name=n{n}.html\r\n\r\n{n}\r\n");
        let parts: String = (0..parts).map(part).collect();
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n").into_bytes()
    };
    let whole = Structure::of(&message(900)).root;
    assert_eq!((whole.children.len(), whole.truncated), (900, false));
    let cut = Structure::of(&message(3_000)).root;
    assert!(cut.truncated && cut.children.len() < mime::PART_LIMIT && cut.children.len() >= 900);
    assert!(cut.children.iter().all(|part| part.media_subtype == "html" && part.parameters.len() == 1));

    let parameters: String = (0..1_000).map(|n| format!("; n{n}=v")).collect();
    let part = Structure::of(format!("Content-Type: text/plain{parameters}\r\n\r\nx").as_bytes()).root;
    assert_eq!((part.parameters.len(), part.truncated), (mime::PARAMETER_LIMIT, true));
    let part = Structure::of(format!("Content-Language: {}\r\n\r\nx", "de, ".repeat(100)).as_bytes()).root;
    assert_eq!((part.languages.len(), part.truncated), (mime::LANGUAGE_LIMIT, true));
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
    let expected = Structure::of(header);
    let json = serde_json::to_string(&expected.envelope).unwrap();
    let root = serde_json::to_string(&expected.root).unwrap();
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
    assert_eq!((envelope.from.len(), envelope.truncated), (mime::ADDRESS_LIMIT, true));
    assert!(page.messages[1].structure.as_ref().is_some_and(|root: &Part| !root.header.is_empty()));
}
