//! The rows: which input, how much of it, and who runs it.

use std::rc::Rc;

use mailwire_benches::workloads;
use mailwire_benches::{Bench, Contestant};

use crate::contestants::{imap_peers, ours, smtp_peers};

/// How much of each input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// As much as a measurement needs.
    Full,
    /// A twentieth: callgrind is slow.
    Callgrind,
    /// A hundredth: only the results matter.
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

/// A contestant's name, and what it does with the input.
type Entry = (&'static str, fn(&[u8]) -> u64);

/// A chunk as a socket gives it.
const CHUNK: usize = 16 * 1024;

/// Every row.
pub(crate) fn all(scale: Scale) -> Vec<Bench> {
    vec![flags(scale), structure(scale), body(scale), commands(scale), data(scale), dots(scale)]
}

fn flags(scale: Scale) -> Bench {
    let items = scale.of(100_000);
    let all: [Entry; 7] = [
        ("mailwire", |input| ours::imap_session(input, CHUNK)),
        ("mailwire-1KiB", |input| ours::imap_session(input, 1024)),
        ("mailwire-whole", |input| ours::imap_session(input, usize::MAX)),
        ("mailwire-parse", ours::imap_parse),
        ("imap-next", |input| imap_peers::next_session(input, CHUNK)),
        ("imap-codec-parse", imap_peers::codec_parse),
        ("imap-proto-parse", imap_peers::proto_parse),
    ];
    bench("P1s-fetch-flags", "response", items, workloads::fetch_flags(items), items as u64, &all)
}

fn structure(scale: Scale) -> Bench {
    let items = scale.of(10_000);
    let all: [Entry; 7] = [
        ("mailwire-parse", ours::imap_parse),
        ("mailwire", |input| ours::imap_session(input, CHUNK)),
        ("mailwire-walk", ours::imap_walk),
        ("imap-next", |input| imap_peers::next_session(input, CHUNK)),
        ("imap-codec-parse", imap_peers::codec_parse),
        ("imap-proto-parse", imap_peers::proto_parse),
        ("imap-proto-owned", imap_peers::proto_parse_owned),
    ];
    bench("P2-structure", "response", items, workloads::fetch_structure(items), items as u64, &all)
}

fn body(scale: Scale) -> Bench {
    let octets = scale.of(25 << 20);
    let ours: [Entry; 3] = [
        ("mailwire", |input| ours::imap_body(input, CHUNK)),
        ("mailwire-1KiB", |input| ours::imap_body(input, 1024)),
        ("mailwire-whole", |input| ours::imap_body(input, usize::MAX)),
    ];
    let input = workloads::fetch_body(octets);
    let mut bench = bench("P6-body-25MiB", "MiB", (octets >> 20).max(1), input, octets as u64, &ours);
    let input = workloads::fetch_body(octets);
    // The peer hands the body out as one event, whole.
    bench.contestants.push(Contestant::new("imap-next", 1, move || imap_peers::next_session(&input, CHUNK)));
    bench
}

fn commands(scale: Scale) -> Bench {
    let items = scale.of(1_000_000);
    let all: [Entry; 6] = [
        ("mailwire-parse", ours::smtp_parse),
        ("mailwire-session", |input| ours::smtp_session(input, CHUNK)),
        ("mailwire-session-1KiB", |input| ours::smtp_session(input, 1024)),
        ("mailwire-session-whole", |input| ours::smtp_session(input, usize::MAX)),
        ("smtp-proto-parse", smtp_peers::parse),
        ("smtp-proto-chunks", |input| smtp_peers::commands(input, CHUNK)),
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
        ("mailwire", |input| ours::smtp_data_copied(input, CHUNK)),
        ("mailwire-streamed", |input| ours::smtp_data_streamed(input, CHUNK)),
        ("mailwire-streamed-1KiB", |input| ours::smtp_data_streamed(input, 1024)),
        ("mailwire-streamed-whole", |input| ours::smtp_data_streamed(input, usize::MAX)),
        ("smtp-proto", |input| smtp_peers::data(input, CHUNK)),
    ];
    bench(name, "KiB", input.len() >> 10, input, expected, &all)
}

/// A row in which everybody has the same input and must find the same.
fn bench(
    name: &'static str,
    item: &'static str,
    items: usize,
    input: Vec<u8>,
    expected: u64,
    all: &[Entry],
) -> Bench {
    let input = Rc::new(input);
    let contestant = |(name, run): &Entry| {
        let (input, run) = (Rc::clone(&input), *run);
        Contestant::new(name, expected, move || run(&input))
    };
    Bench { name, item, items, contestants: all.iter().map(contestant).collect() }
}
