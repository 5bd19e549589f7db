//! Both roles of every SASL mechanism, joined through a fuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mailwire_tests::harness::sasl(data);
});
