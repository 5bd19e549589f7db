//! The parser of PROXY protocol headers, fed by a fuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mailwire_tests::harness::proxy(data);
});
