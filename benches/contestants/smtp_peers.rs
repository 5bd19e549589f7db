//! `smtp-proto`: a parser and a receiver of DATA, without a state machine.

use std::hint::black_box;

use smtp_proto::Request;
use smtp_proto::request::receiver::{DataReceiver, RequestReceiver};

/// Parses every command, in chunks.
pub(crate) fn commands(input: &[u8], chunk: usize) -> u64 {
    let mut receiver = RequestReceiver::default();
    let mut found = 0;
    for chunk in input.chunks(chunk) {
        let mut bytes = chunk.iter();
        while let Ok(request) = receiver.ingest(&mut bytes) {
            black_box(&request);
            found += 1;
        }
    }
    found
}

/// Receives one message, in chunks, copied into one vector as that interface does.
pub(crate) fn data(input: &[u8], chunk: usize) -> u64 {
    let mut receiver = DataReceiver::new();
    let mut message = Vec::with_capacity(input.len());
    for chunk in input.chunks(chunk) {
        if receiver.ingest(&mut chunk.iter(), &mut message) {
            break;
        }
    }
    black_box(&message);
    message.len() as u64
}

/// Parses every command of one contiguous input.
pub(crate) fn parse(input: &[u8]) -> u64 {
    let mut bytes = input.iter();
    let mut found = 0;
    while let Ok(request) = Request::parse(&mut bytes) {
        black_box(&request);
        found += 1;
    }
    found
}
