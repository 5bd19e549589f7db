//! Tests that a killed process loses no acknowledged message, and that a huge message needs little memory.
//!
//! Each test runs its own binary again, as the child process that it kills or measures.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use mailstore::*;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const DIRECTORY: &str = "MAILSTORE_TEST_DIRECTORY";

/// Runs one test of this binary as a child process.
fn child(test: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns the child's directory, if this process is a child.
fn child_directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

fn text(number: u32) -> Vec<u8> {
    // Every seventh message is large enough for a file of its own.
    let lines = if number.is_multiple_of(7) { 3_000 } else { 20 };
    let mut text = format!("Subject: {number}\r\n\r\n").into_bytes();
    (0..lines)
        .for_each(|line| text.extend_from_slice(format!("{number} line {line} .......\r\n").as_bytes()));
    text
}

fn append(store: &SqliteStore, mailbox: MailboxId, text: &[u8]) -> Appended {
    let mut upload = store.upload().unwrap();
    text.chunks(1_000).for_each(|chunk| upload.write(chunk).unwrap());
    let target = Target { mailbox, flags: Flags::new(), internal_date: InternalDate::default() };
    store.append(Delivery { upload, targets: vec![target] }).unwrap()[0]
}

fn append_until_killed(directory: &Path) {
    let store = SqliteStore::open(directory).unwrap();
    let account = store.account("ann").unwrap().unwrap();
    let inbox = store.mailbox(account.id, "INBOX").unwrap().id;
    let mut number = store.status(inbox).unwrap().uid_next;
    loop {
        append(&store, inbox, &text(number));
        println!("acknowledged {number}");
        std::io::stdout().flush().unwrap();
        number += 1;
    }
}

#[test]
fn acknowledged_messages_survive_sigkill() {
    if let Some(directory) = child_directory() {
        return append_until_killed(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let account = store.create_account("ann", b"password").unwrap();
    let inbox = store.mailbox(account.id, "INBOX").unwrap().id;
    drop(store);
    let mut acknowledged = 0;
    for round in 0..6 {
        let mut process = child("acknowledged_messages_survive_sigkill", directory.path());
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let enough = acknowledged + 15 + round * 11;
        let number = |line: String| line.strip_prefix("acknowledged ").and_then(|n| n.parse::<u32>().ok());
        while acknowledged < enough {
            acknowledged = number(lines.next().unwrap().unwrap()).unwrap_or(acknowledged);
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // Lines that were still in the pipe were acknowledged too.
        acknowledged = lines.map_while(|line| line.ok()).filter_map(number).last().unwrap_or(acknowledged);

        let store = SqliteStore::open(directory.path()).unwrap();
        let page =
            store.fetch_page(inbox, &UidSet::all(), Columns::summary().with_envelope(), 10_000).unwrap();
        assert!(page.messages.len() >= acknowledged as usize, "{} of {acknowledged}", page.messages.len());
        let mut large = 0;
        for (message, number) in page.messages.iter().zip(1..) {
            assert_eq!(message.uid, number);
            let expected = text(number);
            large += usize::from(expected.len() > SMALL_LIMIT);
            assert_eq!(store.open_content(message.content).unwrap().read(0, usize::MAX).unwrap(), expected);
            let subject = message.envelope.as_ref().and_then(|envelope| envelope.subject.clone());
            assert_eq!(subject, Some(number.to_string()));
        }
        let files = std::fs::read_dir(directory.path().join("messages")).unwrap().count();
        assert_eq!(files, large, "no unfinished file is left");
        assert_eq!(store.status(inbox).unwrap().messages as usize, page.messages.len());
        acknowledged = page.messages.len() as u32;
    }
}

const LINE: &[u8] = b"0123456789012345678901234567890123456789012345678901234567890123456789012345\r\n";

/// The size of the message: 256 MiB, or the value of `MAILSTORE_TEST_MEBIBYTES`.
fn mebibytes() -> u64 {
    std::env::var("MAILSTORE_TEST_MEBIBYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn append_and_read_huge(directory: &Path) {
    let store = SqliteStore::open(directory).unwrap();
    let account = store.create_account("ann", b"password").unwrap();
    let inbox = store.mailbox(account.id, "INBOX").unwrap().id;
    append(&store, inbox, b"warm up");
    let before = peak_kib();
    let mut upload = store.upload().unwrap();
    upload.write(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n").unwrap();
    let block = LINE.repeat(840);
    let blocks = mebibytes() * 1024 * 1024 / block.len() as u64;
    (0..blocks).for_each(|_| upload.write(&block).unwrap());
    upload.write(b"--b--\r\n").unwrap();
    let size = upload.size();
    let target = Target { mailbox: inbox, flags: Flags::new(), internal_date: InternalDate::default() };
    store.append(Delivery { upload, targets: vec![target] }).unwrap();
    let columns = Columns::summary().with_structure().with_small_bodies();
    let page = store.fetch_page(inbox, &UidSet::one(2), columns, 1).unwrap();
    let message = &page.messages[0];
    assert_eq!(message.size, size);
    let part = &message.structure.as_ref().unwrap().children[0];
    assert_eq!(part.lines, blocks * 840);
    let body = store.open_content(message.content).unwrap();
    let mut buffer = vec![0; block.len()];
    for n in 0..blocks {
        let length = body.read_at(part.body.start + n * block.len() as u64, &mut buffer).unwrap();
        assert!(length == block.len() && buffer == block);
    }
    println!("grown {}", peak_kib() - before);
}

#[test]
fn memory_is_bounded_for_a_huge_message() {
    if let Some(directory) = child_directory() {
        return append_and_read_huge(&directory);
    }
    let directory = tempfile::tempdir().unwrap();
    let output = child("memory_is_bounded_for_a_huge_message", directory.path()).wait_with_output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let grown = output.split("grown ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let grown: u64 = grown.expect("the child finishes").parse().unwrap();
    assert!(grown < 16 * 1024, "{grown} KiB for a message of {} MiB", mebibytes());
}
