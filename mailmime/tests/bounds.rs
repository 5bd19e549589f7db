//! Tests that the data derived from a message is bounded, also for hostile messages.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use cpu_time::ThreadTime;
use mailmime::{Address, Limits, Scanner, Structure};
use mailwire_fixtures::allocator::{Counting, peak};
use mailwire_fixtures::messages::{MEBIBYTE, check_groups, fill, hostile, named};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn memory_and_records_are_bounded_for_hostile_messages() {
    for size in [60 * 1024, 600 * 1024] {
        for (name, message) in hostile(size) {
            let ((), peak_in) = peak(|| {
                let mut scanner = Scanner::default();
                message.chunks(4_096).for_each(|chunk| scanner.push(chunk));
                let record = scanner.finish_record();
                let length = record.envelope.len() + record.root.len();
                let allowed = (message.len() / 10 + 48 * 1024).min(Limits::default().record);
                assert!(length <= allowed, "{name} of {size}: the record takes {length} bytes");
            });
            assert!(peak_in <= 224 * 1024, "{name} of {size}: {peak_in} bytes of memory");
            let (structure, peak_out) = peak(|| Structure::parse(&message));
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
            let mut scanner = Scanner::default();
            (0..pieces).for_each(|_| scanner.push(&piece));
            scanner.finish_record()
        };
        peak(run).1
    };
    let (small, large) = (scan(16), scan(512));
    assert!(large <= small + 1_024 && large <= 224 * 1024, "{small} bytes for 1 MiB, {large} for 32 MiB");
}

#[test]
fn time_is_linear_in_the_size_of_a_message() {
    // The time of this thread, and the fastest of some runs, because a busy machine slows single runs down.
    let run = |message: &[u8]| {
        let once = |_| {
            let clock = ThreadTime::now();
            Structure::parse(message);
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
        let whole = Structure::parse(&message);
        for length in [13, 4_093] {
            let mut scanner = Scanner::default();
            message.chunks(length).for_each(|chunk| scanner.push(chunk));
            assert!(scanner.finish() == whole, "{name} in chunks of {length} bytes");
        }
    }
}

#[test]
fn cuts_address_lists_at_an_address_and_sets_truncated() {
    let envelope = |header: String| Structure::parse(format!("{header}\r\n\r\nx").as_bytes()).envelope;
    let whole = envelope(format!("To: {}", named(1_000)));
    assert_eq!((whole.to.len(), whole.truncated), (1_000, false));
    let cut = envelope(format!("Subject: s\r\nTo: {}\r\nCc: last@x", named(1_000 + 1)));
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
    let envelope = |header: &str| Structure::parse(header.as_bytes()).envelope;
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
    let whole = Structure::parse(&message(900)).root;
    assert_eq!((whole.children.len(), whole.truncated), (900, false));
    let cut = Structure::parse(&message(3_000)).root;
    assert!(cut.truncated && cut.children.len() < 1_000 && cut.children.len() >= 900);
    assert!(cut.children.iter().all(|part| part.media_subtype == "html" && part.parameters.len() == 1));

    let parameters: String = (0..1_000).map(|n| format!("; n{n}=v")).collect();
    let part = Structure::parse(format!("Content-Type: text/plain{parameters}\r\n\r\nx").as_bytes()).root;
    assert_eq!((part.parameters.len(), part.truncated), (64, true));
    let part = Structure::parse(format!("Content-Language: {}\r\n\r\nx", "de, ".repeat(100)).as_bytes()).root;
    assert_eq!((part.languages.len(), part.truncated), (32, true));
}

#[test]
fn extreme_limits_are_kept_in_range() {
    let with = |value: usize| {
        let mut limits = Limits::default();
        (limits.parts, limits.depth, limits.texts) = (value, value, value);
        (limits.parameters, limits.languages, limits.word) = (value, value, value);
        (limits.addresses, limits.envelope_addresses) = (value, value);
        (limits.address_field, limits.field) = (value, value);
        (limits.envelope, limits.record_base, limits.record) = (value, value, value);
        limits
    };
    let scan = |message: &[u8], limits: Limits| {
        let mut scanner = Scanner::new(limits);
        scanner.push(message);
        scanner.finish()
    };
    for (name, message) in hostile(60 * 1024) {
        let nothing = scan(&message, with(0));
        assert!(nothing.root.children.is_empty() && nothing.root.parameters.len() <= 1, "{name}");
        assert!(nothing.envelope.from.is_empty() && nothing.envelope.to.is_empty(), "{name}");
        assert_eq!(nothing.root.body.end, message.len() as u64, "{name}");
        let everything = scan(&message, with(usize::MAX));
        if name == "tiny parts" {
            assert!(everything.root.children.len() > 5_000 && !everything.root.truncated);
        }
    }
    let mut deep = String::new();
    (0..200).for_each(|_| deep.push_str("Content-Type: message/rfc822\r\n\r\n"));
    let mut parts = scan(deep.as_bytes(), with(usize::MAX)).numbered_parts().count();
    assert_eq!(parts, Limits::MAX_DEPTH);
    parts = scan(deep.as_bytes(), Limits::default()).numbered_parts().count();
    assert_eq!(parts, Limits::default().depth);
}
