//! Ours.

use std::hint::black_box;

use proto_imap::parse::{self, Context};
use proto_imap::types::{BodyStructure, FetchItem, Response, Untagged};

/// Every response of one contiguous input, each frame read once and every view of it walked.
pub(crate) fn imap_parse(mut input: &[u8]) -> u64 {
    let cx = Context::tolerant();
    let mut found = 0;
    while let Some(end) = input.windows(2).position(|window| window == b"\r\n") {
        let (frame, rest) = input.split_at(end + 2);
        input = rest;
        let Response::Untagged(Untagged::Fetch(fetch)) = parse::response(frame, &cx) else { continue };
        for item in fetch.items.iter() {
            match item {
                FetchItem::Envelope(envelope) => {
                    for address in envelope.from.iter().chain(envelope.to.iter()).chain(envelope.cc.iter()) {
                        black_box(&address);
                    }
                }
                FetchItem::BodyStructure(structure) => {
                    black_box(parts(&structure));
                }
                other => {
                    black_box(&other);
                }
            }
        }
        found += 1;
    }
    found
}

fn parts(structure: &BodyStructure<'_>) -> usize {
    1 + structure.parts().iter().map(|part| parts(&part)).sum::<usize>()
}
