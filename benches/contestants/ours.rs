//! Ours.

use std::hint::black_box;

use proto_imap::parse::{self, Context};
use proto_imap::types::{BodyStructure, FetchItem, Response, Untagged};

/// Every response of one contiguous input, each frame read once and every view of it walked.
pub(crate) fn imap_parse(mut input: &[u8]) -> u64 {
    let cx = Context::tolerant();
    let mut found = 0;
    while let Some(end) = memchr::memchr(b'\n', input) {
        let (frame, rest) = input.split_at(end + 1);
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

/// The same without walking the views: the grammar alone.
pub(crate) fn imap_validate(mut input: &[u8]) -> u64 {
    let cx = Context::tolerant();
    let mut found = 0;
    while let Some(end) = memchr::memchr(b'\n', input) {
        let (frame, rest) = input.split_at(end + 1);
        input = rest;
        if matches!(black_box(parse::response(frame, &cx)), Response::Untagged(Untagged::Fetch(_))) {
            found += 1;
        }
    }
    found
}

fn parts(structure: &BodyStructure<'_>) -> usize {
    1 + structure.parts().iter().map(|part| parts(&part)).sum::<usize>()
}

/// Every SMTP command of one contiguous input.
pub(crate) fn smtp_parse(mut input: &[u8]) -> u64 {
    let mut found = 0;
    while let Some(end) = memchr::memchr(b'\n', input) {
        let (line, rest) = input.split_at(end + 1);
        input = rest;
        if let Some(Ok(command)) = line.strip_suffix(b"\r\n").map(proto_smtp::parse::command) {
            black_box(&command);
            found += 1;
        }
    }
    found
}
