//! Malicious and meaningless input: no input panics or takes more than linear time, and every message is reported in
//! some form.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where something is wrong"
)]

use std::time::Duration;

use cpu_time::ThreadTime;
use proptest::prelude::*;
use proto_imap::parse::{Context, LiteralScan, fetch, response};
use proto_imap::types::{Repair, Response, Strictness, Untagged};

const SEEDS: &str = include_str!("data/quirks.jsonl");

/// Parses a frame in every way and traverses the results.
fn read_in_all_ways(frame: &[u8]) {
    for cx in [Context::strict(), Context::tolerant()] {
        let read = response(frame, &cx);
        let shown = format!("{read:?}");
        assert!(!shown.is_empty());
        if let Response::Unparsed(unparsed) = read {
            assert!(unparsed.offset <= unparsed.raw.len());
            assert!(!unparsed.expected.is_empty());
        }
        let mut out = Vec::new();
        proto_imap::encode::response(&read, &mut out);
        walk(frame, &cx);
        LiteralScan::new().is_section_contents(frame, cx.reading());
    }
}

fn walk(frame: &[u8], cx: &Context) {
    let Ok((_, mut at)) = fetch::start(frame, cx) else { return };
    let mut place = fetch::ItemPosition::First;
    for _ in 0..=frame.len() {
        let rest = frame.get(at..).expect("an offset inside of the frame");
        match fetch::next_item(rest, place, cx) {
            Ok((used, fetch::ParsedItem::Item(item))) => {
                assert!(used > 0, "an item takes bytes");
                assert!(!format!("{item:?}").is_empty());
                at += used;
            }
            Ok((used, fetch::ParsedItem::End | fetch::ParsedItem::LineEnd)) => {
                assert!(at + used <= frame.len());
                return;
            }
            Err(unparsed) => {
                assert!(unparsed.offset <= unparsed.raw.len());
                return;
            }
        }
        place = fetch::ItemPosition::Later;
    }
    panic!("a response has no more items than bytes");
}

fn seeds() -> Vec<Vec<u8>> {
    SEEDS
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = row["bytes"].as_str().unwrap();
            text.replace("\\r", "\r").replace("\\n", "\n").replace("\\\\", "\\").into_bytes()
        })
        .collect()
}

#[test]
fn parses_every_prefix_and_suffix() {
    for seed in seeds() {
        for at in 0..=seed.len() {
            read_in_all_ways(&seed[..at]);
            read_in_all_ways(&seed[at..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_in_all_ways(&bytes);
    }

    #[test]
    fn any_line_of_the_grammar_s_own_characters(text in r#"(\* |\+ |A1 )?[A-Z0-9(){}"\\ \[\]<>~*%:,\r\n+-]{0,120}(\r\n)?"#) {
        read_in_all_ways(text.as_bytes());
    }

    #[test]
    fn mutated_seeds(index in any::<prop::sample::Index>(), changes in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![Just(b'('), Just(b')'), Just(b'"'), Just(b'\\'), Just(b' '), Just(b'{'), Just(b'}'), Just(b'N'), Just(b'\r'), Just(b'\n'), Just(b'9'), Just(0), any::<u8>()]), 1..6)) {
        let seeds = seeds();
        let mut frame = seeds[index.index(seeds.len())].clone();
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        read_in_all_ways(&frame);
    }

    /// The encoder's output follows the grammar, even for values that were parsed tolerantly.
    #[test]
    fn what_is_written_is_strict(index in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let seeds = seeds();
        let mut frame = seeds[index.index(seeds.len())].clone();
        let at = at.index(frame.len());
        frame[at] = byte;
        let cx = Context::tolerant();
        let read = response(&frame, &cx);
        let mut out = Vec::new();
        proto_imap::encode::response(&read, &mut out);
        if !out.is_empty() {
            let mut again = response(&out, &Context::strict());
            if format!("{again:?}").contains("a FETCH item") {
                // An item of an extension. Only the tolerant parser accepts it, and this must be the only repair.
                let cx = Context::tolerant();
                again = response(&out, &cx);
                prop_assert_eq!(cx.repairs.total(), u64::from(cx.repairs.count(Repair::SkippedItem)), "{:?} {:?}", String::from_utf8_lossy(&out), cx.repairs.recent());
            }
            prop_assert!(!matches!(again, Response::Unparsed(_)), "{read:?} was written as {:?}: {again:?}", String::from_utf8_lossy(&out));
        }
    }
}

#[test]
fn a_list_of_capabilities_that_cannot_be_written_is_left_out() {
    let name = b"\x80MAP4rev1";
    for (before, after, written) in [
        (&b"* OK [CAPABILITY "[..], &b"] hello\r\n"[..], &b"* OK hello\r\n"[..]),
        (b"* CAPABILITY ", b"\r\n", b""),
        (b"* ENABLED ", b"\r\n", b"* ENABLED\r\n"),
    ] {
        let frame = [before, name, after].concat();
        let mut out = Vec::new();
        proto_imap::encode::response(&response(&frame, &Context::tolerant()), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(written));
    }
}

/// Compares the CPU time for an input and for one sixteen times as long. Quadratic work would take 256 times as long,
/// twice the limit, which leaves a margin for a busy machine.
fn assert_linear(name: &str, input: impl Fn(usize) -> Vec<u8>) {
    let time = |bytes: &[u8]| {
        let mut best = Duration::MAX;
        for _ in 0..10 {
            let begin = ThreadTime::now();
            for cx in [Context::strict(), Context::tolerant()] {
                std::hint::black_box(response(bytes, &cx));
                LiteralScan::new().is_section_contents(bytes, Strictness::Tolerant);
            }
            best = best.min(begin.elapsed());
        }
        best
    };
    let (small, large) = (time(&input(4_000)), time(&input(64_000)));
    let allowed = small * 16 * 8 + Duration::from_millis(10);
    assert!(large < allowed, "{name}: {small:?} for 4000, {large:?} for 64000");
}

#[test]
fn parses_in_linear_time() {
    let repeated = |begin: &'static str, piece: &'static str| {
        move |count: usize| {
            let mut frame = begin.as_bytes().to_vec();
            while frame.len() < count * 2 {
                frame.extend_from_slice(piece.as_bytes());
            }
            frame.extend_from_slice(b"\r\n");
            frame
        }
    };
    assert_linear("parentheses", repeated("* 1 FETCH (ENVELOPE ", "("));
    assert_linear("bodies", repeated("* 1 FETCH (BODYSTRUCTURE ", "("));
    assert_linear(
        "closed bodies",
        repeated("* 1 FETCH (BODYSTRUCTURE (", "(\"a\" \"b\" NIL NIL NIL \"7bit\" 1)"),
    );
    assert_linear(
        "messages in messages",
        repeated(
            "* 1 FETCH (BODYSTRUCTURE ",
            "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 1 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ",
        ),
    );
    assert_linear("childless", repeated("* 1 FETCH (BODYSTRUCTURE (", "(\"x\" (\"a\" \"b\") NIL NIL)"));
    assert_linear("quotes", repeated("* 1 FETCH (ENVELOPE (", "\""));
    assert_linear("backslashes", repeated("* 1 FETCH (ENVELOPE (\"", "\\\") "));
    assert_linear("spaces", repeated("* 1 FETCH (UID 1", " "));
    assert_linear("spaces in a list", repeated("* FLAGS (a", " "));
    assert_linear(
        "spaces between addresses",
        repeated("* 1 FETCH (ENVELOPE (NIL NIL (", "(NIL NIL \"a\" \"b\")  "),
    );
    assert_linear("NILs", repeated("* 1 FETCH (ENVELOPE (NIL NIL (", "NIL "));
    assert_linear("brackets", repeated("* OK ", "["));
    assert_linear("closed brackets", repeated("* OK [X ", "[]"));
    assert_linear("early closes", repeated("* 1 FETCH (UID 1", ") UID 1"));
    assert_linear("small literals", repeated("* 1 FETCH (X (", "{1}\r\na "));
    assert_linear("section", repeated("* 1 FETCH (BODY[", "\"a\" "));
    assert_linear("numbers", repeated("* SEARCH", " 1"));
    assert_linear("ranges", repeated("* VANISHED 1", ",1:4294967295"));
    assert_linear("sorted numbers", repeated("* SORT", " 1"));
    assert_linear("threads", repeated("* THREAD ", "(1)"));
    assert_linear("thread members", repeated("* THREAD (1", " 1"));
    assert_linear("nested threads", repeated("* THREAD ", "("));
    assert_linear("branches", repeated("* THREAD (1 ", "(2 3)"));
    assert_linear("added results", repeated("* ESEARCH ADDTO (1 1", " 1 1:4294967295"));
    assert_linear("scores", repeated("* ESEARCH RELEVANCY (1", " 100"));
    assert_linear("digits", repeated("* ", "9"));
    assert_linear("capabilities", repeated("* CAPABILITY", " A"));
    assert_linear("empty lists", repeated("* 1 FETCH (BODYSTRUCTURE (", "()"));
    assert_linear("parameters", repeated("* 1 FETCH (BODYSTRUCTURE (\"a\" \"b\" (", "(\"x\" "));
}

#[test]
fn bounds_nesting() {
    for depth in [10_usize, 31, 32, 33, 100, 100_000] {
        for (open, close) in [("(", ")"), ("(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 1 NIL ", " 1)")] {
            let text =
                format!("* 1 FETCH (BODYSTRUCTURE {}{} UID 1)\r\n", open.repeat(depth), close.repeat(depth));
            read_in_all_ways(text.as_bytes());
        }
    }
    let deep = format!("* 1 FETCH (X {}{} UID 1)\r\n", "(".repeat(33), ")".repeat(33));
    assert!(matches!(response(deep.as_bytes(), &Context::tolerant()), Response::Unparsed(_)));
    let less = format!("* 1 FETCH (X {}{} UID 1)\r\n", "(".repeat(32), ")".repeat(32));
    assert!(matches!(
        response(less.as_bytes(), &Context::tolerant()),
        Response::Untagged(Untagged::Fetch(fetch)) if fetch.uid() == Some(1)
    ));
}

#[test]
fn bounds_the_nesting_of_threads() {
    let nested = |depth: usize| {
        let text = format!("* THREAD {}{}\r\n", "(1 (2)".repeat(depth - 1) + "(3", ")".repeat(depth));
        read_in_all_ways(text.as_bytes());
        text
    };
    let of = |text: &str, cx: &Context| match response(text.as_bytes(), cx) {
        Response::Untagged(Untagged::Thread(threads)) => {
            Some(threads.threads.messages().map(|message| message.depth).max().unwrap_or(0))
        }
        Response::Unparsed(unparsed) => {
            assert_eq!(unparsed.expected, "fewer nested threads");
            None
        }
        other => panic!("{other:?}"),
    };
    for cx in [Context::strict(), Context::tolerant()] {
        assert_eq!(of(&nested(256), &cx), Some(255));
        for depth in [257, 1_000, 100_000] {
            assert_eq!(of(&nested(depth), &cx), None, "{depth}");
        }
        assert_eq!(of(&nested(1_000), &cx.clone().with_thread_nesting(1_000)), Some(999));
    }
    // A long thread without branches is not nested.
    let long = format!("* THREAD (1{})\r\n", " 2".repeat(100_000));
    assert_eq!(of(&long, &Context::strict()), Some(100_000));
}

#[test]
fn reads_threads_strictly_and_tolerantly() {
    for (text, strict, tolerant) in [
        ("* THREAD\r\n", Some(""), Some("")),
        (
            "* THREAD (2)(3 6 (4 23)(44 7 96))\r\n",
            Some("(2)(3 6 (4 23)(44 7 96))"),
            Some("(2)(3 6 (4 23)(44 7 96))"),
        ),
        ("* THREAD ((3)(5))\r\n", Some("((3)(5))"), Some("((3)(5))")),
        ("* THREAD \r\n", None, Some("")),
        ("* THREAD (1)  (2) \r\n", None, Some("(1)(2)")),
        ("* THREAD ( 1  2 )\r\n", None, Some("(1 2)")),
        ("* THREAD (1 ( 2)(3))\r\n", None, Some("(1 (2)(3))")),
        ("* THREAD (0)\r\n", None, Some("(0)")),
        ("* THREAD ()\r\n", None, Some("()")),
        ("* THREAD (1\r\n", None, None),
        ("* THREAD 1\r\n", None, None),
        ("* THREAD (1))\r\n", None, Some("(1)")),
        ("* THREAD (1 (2) 3)\r\n", None, None),
        ("* THREAD (1(2)(3))\r\n", None, Some("(1 (2)(3))")),
        ("* THREAD (x)\r\n", None, None),
        ("* THREAD (4294967296)\r\n", None, Some("(4294967295)")),
    ] {
        let read = |cx: Context| match response(text.as_bytes(), &cx) {
            Response::Untagged(Untagged::Thread(found)) => {
                assert_eq!(cx.repairs.total() > 0, strict.is_none(), "{text:?}");
                Some(format!("{:?}", found.threads))
            }
            Response::Unparsed(_) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(read(Context::strict()).as_deref(), strict, "{text:?}");
        assert_eq!(read(Context::tolerant()).as_deref(), tolerant, "{text:?}");
    }
}

#[test]
fn numbers_never_overflow() {
    let huge = "9".repeat(400);
    for text in [
        format!("* {huge} EXISTS\r\n"),
        format!("* SEARCH {huge}\r\n"),
        format!("* 1 FETCH (RFC822.SIZE {huge} UID {huge} MODSEQ ({huge}))\r\n"),
        format!("* 1 FETCH (RFC822.SIZE 1e{huge})\r\n"),
        format!("* 1 FETCH (RFC822.SIZE 1.{huge}e400)\r\n"),
        format!("* 1 FETCH (BODY[]<{huge}> {{{huge}}}\r\n"),
        format!("* 1 FETCH (BODY[{huge}.{huge}] NIL)\r\n"),
        format!("* ESEARCH ALL 1:{huge} PARTIAL (-{huge}:-1 NIL)\r\n"),
    ] {
        read_in_all_ways(text.as_bytes());
        assert!(
            matches!(response(text.as_bytes(), &Context::strict()), Response::Unparsed(_))
                || text.contains("BODY[9")
        );
    }
    assert_eq!(
        response(format!("* {huge} EXISTS\r\n").as_bytes(), &Context::tolerant()),
        Response::Untagged(Untagged::Exists(u32::MAX))
    );
}
