//! A client and a server, joined by a wire that a fuzzer corrupts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mailwire_tests::harness::differential(data);
});
