//! Every parser alone, fed by a fuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mailwire_tests::harness::parsers(data);
});
