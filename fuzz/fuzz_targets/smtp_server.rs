//! An SMTP server fed by a fuzzer that plays the client.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    mailwire_tests::harness::smtp_server(data);
});
