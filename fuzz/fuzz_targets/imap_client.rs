//! An IMAP client fed by a fuzzer that plays the server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mailwire_tests::harness::imap_client(data);
});
