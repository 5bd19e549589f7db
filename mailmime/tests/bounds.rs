//! Tests that the data derived from a message is bounded, also for hostile messages.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use mailmime::{Address, Scanner, Structure};
use support::{MEBIBYTE, check_groups, fill, hostile, named, peak};

#[test]
fn memory_and_records_are_bounded_for_hostile_messages() {
    for size in [60 * 1024, 600 * 1024] {
        for (name, message) in hostile(size) {
            let ((), peak_in) = peak(|| {
                let mut scanner = Scanner::new();
                message.chunks(4_096).for_each(|chunk| scanner.push(chunk));
                let record = scanner.finish_summary();
                let length = record.envelope.len() + record.structure.len();
                let allowed = (message.len() / 10 + 48 * 1024).min(mailmime::DERIVED_LIMIT);
                assert!(length <= allowed, "{name} of {size}: the record takes {length} bytes");
            });
            assert!(peak_in <= 224 * 1024, "{name} of {size}: {peak_in} bytes of memory");
            let (structure, peak_out) = peak(|| Structure::of(&message));
            assert!(peak_out <= 3 * MEBIBYTE / 2, "{name} of {size}: {peak_out} bytes of memory");
            check_groups(&structure.envelope);
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_message() {
    let piece = fill(64 * 1024, "", "To: a@b.example, c@d.example\r\nX-Filler: text\r\n", "");
    let scan = |pieces: usize| {
        let run = || {
            let mut scanner = Scanner::new();
            (0..pieces).for_each(|_| scanner.push(&piece));
            scanner.finish_summary()
        };
        peak(run).1
    };
    let (small, large) = (scan(16), scan(512));
    assert!(large <= small + 1_024 && large <= 224 * 1024, "{small} bytes for 1 MiB, {large} for 32 MiB");
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
            let mut scanner = Scanner::new();
            message.chunks(length).for_each(|chunk| scanner.push(chunk));
            assert!(scanner.finish() == whole, "{name} in chunks of {length} bytes");
        }
    }
}

#[test]
fn cuts_address_lists_at_an_address_and_sets_truncated() {
    let envelope = |header: String| Structure::of(format!("{header}\r\n\r\nx").as_bytes()).envelope;
    let whole = envelope(format!("To: {}", named(mailmime::ADDRESS_LIMIT)));
    assert_eq!((whole.to.len(), whole.truncated), (1_000, false));
    let cut = envelope(format!("Subject: s\r\nTo: {}\r\nCc: last@x", named(mailmime::ADDRESS_LIMIT + 1)));
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
    assert!(cut.truncated && cut.children.len() < mailmime::PART_LIMIT && cut.children.len() >= 900);
    assert!(cut.children.iter().all(|part| part.media_subtype == "html" && part.parameters.len() == 1));

    let parameters: String = (0..1_000).map(|n| format!("; n{n}=v")).collect();
    let part = Structure::of(format!("Content-Type: text/plain{parameters}\r\n\r\nx").as_bytes()).root;
    assert_eq!((part.parameters.len(), part.truncated), (mailmime::PARAMETER_LIMIT, true));
    let part = Structure::of(format!("Content-Language: {}\r\n\r\nx", "de, ".repeat(100)).as_bytes()).root;
    assert_eq!((part.languages.len(), part.truncated), (mailmime::LANGUAGE_LIMIT, true));
}
