//! Messages whose header or structure is a list of a million elements: while they are received, on disk, and when
//! they are fetched and searched.

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use super::{Target, growth};
use crate::figures::Report;
use crate::fixtures::{ATTACKERS, PASSWORD};
use crate::server_process::StoreKind;
use crate::wire::Smtp;

/// The account that receives the messages.
const USER: &str = ATTACKERS[1];

/// How large each message is, in bytes.
const SIZE: usize = 1 << 20;

/// Sessions that send at the same time, by submission and by LMTP.
const SUBMISSIONS: usize = 12;
const DELIVERIES: usize = 8;

/// Sessions that fetch without reading, and that search.
const FETCHES: usize = 12;
const SEARCHES: usize = 4;

/// The memory of one session while it receives its message, and what the whole server may need beside.
const INCOMING: u64 = 256 << 10;
const SLACK: u64 = 32 << 20;

/// What a session may hold while it is answered.
const ANSWERING: u64 = (1 << 20) + (256 << 10);

/// The longest answers, in bytes. An envelope has 64 KiB, a structure 256 KiB.
const ENVELOPE: u64 = 66 << 10;
const STRUCTURE: u64 = 288 << 10;

pub(crate) fn run(target: &Target<'_>, report: &mut Report) {
    let before = used(target);
    let faults = send(target, report);
    report.faults("messages of one field: not delivered", faults);
    let (count, raw) = ((SUBMISSIONS + DELIVERIES) as u64, ((SUBMISSIONS + DELIVERIES) * SIZE) as u64);
    let (what, slack) = match target.store {
        // The write-ahead log of the database is empty or 16 MiB.
        StoreKind::Sqlite => ("disk", 16 << 20),
        // The sessions' passwords were computed a moment ago, and the server gives that memory back after 5 s.
        StoreKind::Memory => ("memory", SLACK),
    };
    let bound = raw + raw / 10 + count * (64 << 10) + slack;
    let grown = growth(before, used(target));
    report.bytes(format!("{what} for {count} messages of 1 MiB in the store"), grown, bound);
    fetch(target, report);
}

/// The bytes that the server uses where it keeps messages.
fn used(target: &Target<'_>) -> u64 {
    match target.store {
        StoreKind::Sqlite => disk_usage(target.directory),
        StoreKind::Memory => target.process.resident(),
    }
}

/// Sends all messages up to their last byte, measures, and ends them. Returns how many were refused.
fn send(target: &Target<'_>, report: &mut Report) -> usize {
    let (ready, full, measured) = (barrier(), barrier(), barrier());
    let mut faults = 0;
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SUBMISSIONS + DELIVERIES)
            .map(|number| {
                let (ready, full, measured) = (&ready, &full, &measured);
                scope.spawn(move || {
                    let session = session(target, number);
                    ready.wait();
                    let session = session.and_then(|mut session| {
                        session.wire.send(&message(number))?;
                        Ok(session)
                    });
                    full.wait();
                    measured.wait();
                    session.and_then(|mut session| session.end()).is_ok()
                })
            })
            .collect();
        ready.wait();
        let before = target.process.resident();
        target.process.forget_peak();
        full.wait();
        target.pause(Duration::from_millis(500));
        let (grown, sessions) = (growth(before, target.process.peak()), senders.len() as u64);
        report.bytes(
            format!("memory for {sessions} messages on their way in"),
            grown,
            // In memory, the messages themselves are there as well.
            sessions * INCOMING + SLACK + target.store.memory_of(sessions * SIZE as u64),
        );
        measured.wait();
        faults = senders.into_iter().map(|sender| sender.join().unwrap()).filter(|taken| !taken).count();
    });
    faults
}

fn barrier() -> Barrier {
    Barrier::new(SUBMISSIONS + DELIVERIES + 1)
}

fn session(target: &Target<'_>, number: usize) -> std::io::Result<Smtp> {
    target.opened();
    let host = 10 + u8::try_from(number % 8).unwrap();
    let mut session = if number < SUBMISSIONS {
        target.endpoints.smtp(host, ATTACKERS[number % ATTACKERS.len()], PASSWORD)?
    } else {
        target.endpoints.lmtp(host)?
    };
    session.begin(USER)?;
    Ok(session)
}

/// Fetches and searches the messages, from sessions that do not read.
fn fetch(target: &Target<'_>, report: &mut Report) {
    let before = target.process.resident();
    target.process.forget_peak();
    std::thread::scope(|scope| {
        for number in 0..FETCHES {
            scope.spawn(move || {
                target.besiege(20, USER, |imap| {
                    imap.ask("SELECT INBOX")?.ok()?;
                    imap.begin("FETCH 1:* (ENVELOPE BODYSTRUCTURE)")?;
                    let pause = if number.is_multiple_of(2) {
                        Duration::from_secs(60)
                    } else {
                        Duration::from_millis(20)
                    };
                    target.read_slowly(imap, pause)
                });
            });
        }
        for _ in 0..SEARCHES {
            scope.spawn(|| {
                target.besiege(21, USER, |imap| {
                    imap.ask("SELECT INBOX")?.ok()?;
                    imap.ask("SEARCH FROM x")?.ok()?;
                    imap.ask("SEARCH OR TO y CC z")?.ok().map(drop)
                });
            });
        }
    });
    let bound = (FETCHES + SEARCHES) as u64 * ANSWERING + SLACK;
    report.bytes("memory for FETCH and SEARCH of them", growth(before, target.process.peak()), bound);
    lines(target, report);
}

/// The messages can be read, and their derived data is small.
fn lines(target: &Target<'_>, report: &mut Report) {
    let longest = |command: &str| -> std::io::Result<usize> {
        let mut imap = target.endpoints.imap(20, USER, PASSWORD)?;
        imap.ask("SELECT INBOX")?.ok()?;
        Ok(imap.ask(command)?.ok()?.longest)
    };
    for (what, command, bound) in [
        ("longest ENVELOPE", "FETCH 1:* ENVELOPE", ENVELOPE),
        ("longest BODYSTRUCTURE", "FETCH 1:* BODYSTRUCTURE", STRUCTURE),
        ("longest answer to BODY[]<0.100>", "FETCH 1:* BODY.PEEK[]<0.100>", 1 << 10),
    ] {
        match longest(command) {
            Ok(length) => report.bytes(what, length as u64, bound),
            Err(error) => report.faults(format!("{command}: {error}"), 1),
        }
    }
}

/// The message of one sender: six kinds of a long list.
fn message(number: usize) -> Vec<u8> {
    match number % 6 {
        0 => list("From: ", "a,"),
        1 => list("From: x@y.example\r\nTo: ", "g:a,b;,"),
        2 => list("From: x@y.example\r\nContent-Type: text/plain", ";\r\n a=b"),
        3 => list("From: x@y.example\r\nContent-Language: ", "a,"),
        4 => list("From: x@y.example\r\nReferences: ", "<a@b>"),
        _ => {
            list("From: x@y.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", "--b\r\n\r\n\r\n")
        }
    }
}

/// A beginning and repetitions of the same element up to the size, folded if the element has no line of its own.
fn list(begin: &str, element: &str) -> Vec<u8> {
    let mut message = begin.to_owned();
    let mut line = begin.len();
    while message.len() < SIZE {
        message.push_str(element);
        line += element.len();
        if line > 900 && !element.contains('\n') {
            message.push_str("\r\n ");
            line = 0;
        }
    }
    message.push_str("z\r\n\r\nbody");
    message.into_bytes()
}

/// The size of everything below a directory, in bytes.
fn disk_usage(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_usage(&entry.path()),
            Ok(metadata) => metadata.len(),
            // A temporary file that was removed meanwhile.
            Err(_) => 0,
        })
        .sum()
}
