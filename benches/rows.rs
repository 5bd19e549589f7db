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

/// A chunk as a socket gives it.
const CHUNK: usize = 16 * 1024;

/// Every row.
pub(crate) fn all(scale: Scale) -> Vec<Bench> {
    vec![flags(scale), structure(scale), body(scale), commands(scale), data(scale), dots(scale)]
}

fn flags(scale: Scale) -> Bench {
    let items = scale.of(100_000);
    let input = Rc::new(workloads::fetch_flags(items));
    let expected = items as u64;
    let run = |name, run: fn(&[u8]) -> u64| {
        let input = Rc::clone(&input);
        Contestant::new(name, expected, move || run(&input))
    };
    Bench {
        name: "P1s-fetch-flags",
        item: "response",
        items,
        contestants: vec![
            run("mailwire-parse", ours::imap_parse),
            run("mailwire-grammar", ours::imap_validate),
            run("imap-next", |input| imap_peers::next_session(input, CHUNK)),
            run("imap-codec-parse", imap_peers::codec_parse),
            run("imap-proto-parse", imap_peers::proto_parse),
        ],
    }
}

fn structure(scale: Scale) -> Bench {
    let items = scale.of(10_000);
    let input = Rc::new(workloads::fetch_structure(items));
    let expected = items as u64;
    let run = |name, run: fn(&[u8]) -> u64| {
        let input = Rc::clone(&input);
        Contestant::new(name, expected, move || run(&input))
    };
    Bench {
        name: "P2-structure",
        item: "response",
        items,
        contestants: vec![
            run("mailwire-parse", ours::imap_parse),
            run("mailwire-grammar", ours::imap_validate),
            run("imap-next", |input| imap_peers::next_session(input, CHUNK)),
            run("imap-codec-parse", imap_peers::codec_parse),
            run("imap-proto-parse", imap_peers::proto_parse),
            run("imap-proto-owned", imap_peers::proto_parse_owned),
        ],
    }
}

fn body(scale: Scale) -> Bench {
    let octets = scale.of(25 << 20);
    let input = Rc::new(workloads::fetch_body(octets));
    let session = Rc::clone(&input);
    Bench {
        name: "P6-body-25MiB",
        item: "MiB",
        items: (octets >> 20).max(1),
        contestants: vec![Contestant::new("imap-next", 1, move || imap_peers::next_session(&session, CHUNK))],
    }
}

fn commands(scale: Scale) -> Bench {
    let items = scale.of(1_000_000);
    let input = Rc::new(workloads::smtp_commands(items));
    let (own, parse, chunks) = (Rc::clone(&input), Rc::clone(&input), Rc::clone(&input));
    Bench {
        name: "P10-smtp-commands",
        item: "command",
        items,
        contestants: vec![
            Contestant::new("mailwire-parse", items as u64, move || ours::smtp_parse(&own)),
            Contestant::new("smtp-proto-parse", items as u64, move || smtp_peers::parse(&parse)),
            Contestant::new("smtp-proto-chunks", items as u64, move || smtp_peers::commands(&chunks, CHUNK)),
        ],
    }
}

fn data(scale: Scale) -> Bench {
    message("P12-data-typical", workloads::data_typical(scale.of(100 << 20).max(1 << 20) / 16))
}

fn dots(scale: Scale) -> Bench {
    message("P12w-data-dots", workloads::data_dots(scale.of(100 << 20).max(1 << 20) / 16))
}

fn message(name: &'static str, input: Vec<u8>) -> Bench {
    let expected = workloads::unstuffed_len(&input);
    let input = Rc::new(input);
    let peer = Rc::clone(&input);
    Bench {
        name,
        item: "KiB",
        items: input.len() >> 10,
        contestants: vec![Contestant::new("smtp-proto", expected, move || smtp_peers::data(&peer, CHUNK))],
    }
}
