//! A client and a server of ours, joined by a wire that a fuzzer bends.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mailwire_tests::harness::differential(data);
});
