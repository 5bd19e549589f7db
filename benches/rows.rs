//! The rows: their inputs, sizes and implementations.

use std::rc::Rc;

use mailwire_benches::workloads;
use mailwire_benches::{Bench, Implementation};

use crate::implementations::{gates, imap_peers, ours, smtp_peers};

/// The size of the inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// The size for measurements.
    Full,
    /// A twentieth, since callgrind is slow.
    Callgrind,
    /// A hundredth: only the results are checked.
    Smoke,
}

impl Scale {
    const fn of(self, full: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Callgrind => full / 20,
            Self::Smoke => full / 100,
        }
    }
}

/// An implementation's name, the line of Mailwire that it is compared with, and its function.
type Entry = (&'static str, &'static str, fn(&[u8]) -> u64);

/// A typical socket read, a short one, and the whole input.
const CHUNK: usize = 16 * 1024;
const SHORT: usize = 1024;
const WHOLE: usize = usize::MAX;

/// Every row.
pub(crate) fn all(scale: Scale) -> Vec<Bench> {
    let [client, server, replies] = at_the_gates(scale);
    vec![
        flags(scale),
        structure(scale),
        body(scale),
        commands(scale),
        data(scale),
        dots(scale),
        client,
        server,
        replies,
    ]
}

/// The rows in which each item passes a check.
fn at_the_gates(scale: Scale) -> [Bench; 3] {
    let items = scale.of(200_000);
    let row = |name, item, input: Vec<u8>, run: fn(&[u8]) -> u64| {
        bench(name, item, items, input, items as u64, &[("mailwire", "mailwire", run)])
    };
    [
        row("G1-imap-client", "completion", workloads::imap_completions(items), gates::imap_client),
        row("G2-imap-server", "command", workloads::imap_commands(items), |input| {
            gates::imap_server(input, CHUNK)
        }),
        row("G3-smtp-client", "reply", workloads::smtp_replies(items), gates::smtp_client),
    ]
}

fn flags(scale: Scale) -> Bench {
    let items = scale.of(100_000);
    let all: [Entry; 7] = [
        ("mailwire", "mailwire", |input| ours::imap_session(input, CHUNK)),
        ("mailwire-1KiB", "mailwire", |input| ours::imap_session(input, SHORT)),
        ("mailwire-whole", "mailwire", |input| ours::imap_session(input, WHOLE)),
        ("imap-next", "mailwire", |input| imap_peers::next_session(input, CHUNK)),
        ("mailwire-parse", "mailwire-parse", ours::imap_parse),
        ("imap-codec-parse", "mailwire-parse", imap_peers::codec_parse),
        ("imap-proto-parse", "mailwire-parse", imap_peers::proto_parse),
    ];
    bench("P1s-fetch-flags", "response", items, workloads::fetch_flags(items), items as u64, &all)
}

fn structure(scale: Scale) -> Bench {
    let items = scale.of(10_000);
    let all: [Entry; 9] = [
        ("mailwire-parse", "mailwire-parse", ours::imap_parse),
        ("mailwire-access-all", "mailwire-parse", ours::imap_access_all),
        ("imap-codec-parse", "mailwire-parse", imap_peers::codec_parse),
        ("imap-proto-parse", "mailwire-parse", imap_peers::proto_parse),
        ("imap-proto-owned", "mailwire-parse", imap_peers::proto_parse_owned),
        ("mailwire-session", "mailwire-session", |input| ours::imap_session(input, CHUNK)),
        ("mailwire-session-1KiB", "mailwire-session", |input| ours::imap_session(input, SHORT)),
        ("mailwire-session-whole", "mailwire-session", |input| ours::imap_session(input, WHOLE)),
        ("imap-next", "mailwire-session", |input| imap_peers::next_session(input, CHUNK)),
    ];
    bench("P2-structure", "response", items, workloads::fetch_structure(items), items as u64, &all)
}

fn body(scale: Scale) -> Bench {
    let bytes = scale.of(25 << 20);
    let ours: [Entry; 3] = [
        ("mailwire", "mailwire", |input| ours::imap_body(input, CHUNK)),
        ("mailwire-1KiB", "mailwire", |input| ours::imap_body(input, SHORT)),
        ("mailwire-whole", "mailwire", |input| ours::imap_body(input, WHOLE)),
    ];
    let input = workloads::fetch_body(bytes);
    let mut bench = bench("P6-body-25MiB", "MiB", (bytes >> 20).max(1), input, bytes as u64, &ours);
    let input = workloads::fetch_body(bytes);
    // The peer returns the body as one event.
    let next = move || imap_peers::next_session(&input, CHUNK);
    bench.implementations.push(Implementation::new("imap-next", "mailwire", 1, next));
    bench
}

fn commands(scale: Scale) -> Bench {
    let items = scale.of(1_000_000);
    let all: [Entry; 6] = [
        ("mailwire-parse", "mailwire-parse", ours::smtp_parse),
        ("smtp-proto-parse", "mailwire-parse", smtp_peers::parse),
        ("mailwire-session", "mailwire-session", |input| ours::smtp_session(input, CHUNK)),
        ("mailwire-session-1KiB", "mailwire-session", |input| ours::smtp_session(input, SHORT)),
        ("mailwire-session-whole", "mailwire-session", |input| ours::smtp_session(input, WHOLE)),
        // It answers nothing and keeps no state, so it does less.
        ("smtp-proto-chunks", "mailwire-session", |input| smtp_peers::commands(input, CHUNK)),
    ];
    bench("P10-smtp-commands", "command", items, workloads::smtp_commands(items), items as u64, &all)
}

fn data(scale: Scale) -> Bench {
    message("P12-data-typical", workloads::data_typical(scale.of(100 << 20).max(1 << 20) / 16))
}

fn dots(scale: Scale) -> Bench {
    message("P12w-data-dots", workloads::data_dots(scale.of(100 << 20).max(1 << 20) / 16))
}

fn message(name: &'static str, input: Vec<u8>) -> Bench {
    let expected = workloads::unstuffed_len(&input);
    let all: [Entry; 5] = [
        ("mailwire", "mailwire", |input| ours::smtp_data_copied(input, CHUNK)),
        ("smtp-proto", "mailwire", |input| smtp_peers::data(input, CHUNK)),
        ("mailwire-streamed", "mailwire", |input| ours::smtp_data_streamed(input, CHUNK)),
        ("mailwire-streamed-1KiB", "mailwire", |input| ours::smtp_data_streamed(input, SHORT)),
        ("mailwire-streamed-whole", "mailwire", |input| ours::smtp_data_streamed(input, WHOLE)),
    ];
    bench(name, "KiB", input.len() >> 10, input, expected, &all)
}

/// A row whose implementations have the same input and must find the same result.
fn bench(
    name: &'static str,
    item: &'static str,
    items: usize,
    input: Vec<u8>,
    expected: u64,
    all: &[Entry],
) -> Bench {
    let input = Rc::new(input);
    let implementation = |(name, against, run): &Entry| {
        let (input, run) = (Rc::clone(&input), *run);
        Implementation::new(name, against, expected, move || run(&input))
    };
    Bench { name, item, items, implementations: all.iter().map(implementation).collect() }
}
