//! An SMTP client fed by a fuzzer that plays the server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mailwire_tests::harness::smtp_client(data);
});
