//! `smtp-proto`: a parser and a receiver of DATA, without a state machine.
//!
//! A chunk is copied to a buffer first, as a socket read puts it there; Mailwire's benches do the same.

use std::hint::black_box;

use smtp_proto::Request;
use smtp_proto::request::receiver::{DataReceiver, RequestReceiver};

/// Parses every command, in chunks.
pub(crate) fn commands(input: &[u8], chunk: usize) -> u64 {
    let mut receiver = RequestReceiver::default();
    let mut found = 0;
    let mut buffer = vec![0; chunk];
    for chunk in input.chunks(chunk) {
        buffer[..chunk.len()].copy_from_slice(chunk);
        let mut bytes = buffer[..chunk.len()].iter();
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
    let mut buffer = vec![0; chunk];
    for chunk in input.chunks(chunk) {
        buffer[..chunk.len()].copy_from_slice(chunk);
        if receiver.ingest(&mut buffer[..chunk.len()].iter(), &mut message) {
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
