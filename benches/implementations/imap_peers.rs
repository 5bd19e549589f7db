//! `imap-next` (a session), `imap-codec` and `imap-proto` (parsers).

use std::hint::black_box;

use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder;
use imap_next::client::{Client, Options};
use imap_next::{Interrupt, Io, State};

/// Responses through `imap-next`'s client in chunks; returns their number.
pub(crate) fn next_session(input: &[u8], chunk: usize) -> u64 {
    let mut options = Options::default();
    options.max_response_size = u32::MAX;
    let mut client = Client::new(options);
    let mut found = 0u64;
    let mut chunks = std::iter::once(&b"* PREAUTH ready\r\n"[..]).chain(input.chunks(chunk));
    loop {
        match client.next() {
            Ok(event) => {
                black_box(&event);
                found += 1;
            }
            Err(Interrupt::Io(Io::NeedMoreInput)) => match chunks.next() {
                Some(chunk) => client.enqueue_input(chunk),
                None => return found - 1,
            },
            Err(_) => return u64::MAX,
        }
    }
}

/// Every response of one contiguous input through `imap-codec`.
pub(crate) fn codec_parse(mut input: &[u8]) -> u64 {
    let codec = ResponseCodec::default();
    let mut found = 0;
    while let Ok((rest, response)) = codec.decode(input) {
        black_box(&response);
        found += 1;
        input = rest;
    }
    found
}

/// Every response of one contiguous input through `imap-proto`, borrowed.
pub(crate) fn proto_parse(mut input: &[u8]) -> u64 {
    let mut found = 0;
    while let Ok((rest, response)) = imap_proto::Response::parse(input) {
        black_box(&response);
        found += 1;
        input = rest;
    }
    found
}

/// The same, converted to owned values.
pub(crate) fn proto_parse_owned(mut input: &[u8]) -> u64 {
    let mut found = 0;
    while let Ok((rest, response)) = imap_proto::Response::parse(input) {
        black_box(&response.into_owned());
        found += 1;
        input = rest;
    }
    found
}
