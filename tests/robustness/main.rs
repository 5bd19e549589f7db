//! The four machines and their parts, against arbitrary bytes and almost valid conversations.
//!
//! The findings of fuzzers are in `corpus` and are replayed here.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its corpus must fail")]

mod adversary;
mod imap_peer;
mod smtp_peer;

use std::fs;

use mailwire_tests::corpus::{self, MACHINES, OTHERS};
use mailwire_tests::harness::Reached;
use proptest::prelude::*;

#[test]
fn replays_the_corpus() {
    for (name, _) in MACHINES.into_iter().chain(OTHERS) {
        assert!(!corpus::written(name).unwrap().is_empty(), "{name} has no corpus");
    }
    corpus::replay().unwrap();
}

/// These inputs hold proofs of a key, which no fuzzer guesses. If they no longer fit, nothing after SCRAM is reached.
#[test]
fn scram_conversations_of_the_corpus_succeed() {
    for (name, run) in MACHINES {
        for file in ["scram", "scram-plus"] {
            let path = corpus::folder().join(name).join(file);
            assert_eq!(run(&fs::read(path).unwrap()), Reached::Authenticated, "{name}/{file}");
        }
    }
}

/// A client logs in by a custom mechanism that its server offers, and by no other.
#[test]
fn custom_client_mechanisms_of_the_corpus_are_used() {
    for (name, run) in MACHINES.into_iter().filter(|(name, _)| name.ends_with("client")) {
        for (file, proves) in [
            ("custom-mechanism", true),
            ("custom-refused", false),
            ("custom-impostor", false),
            ("chosen", true),
        ] {
            let reached = run(&fs::read(corpus::folder().join(name).join(file)).unwrap());
            assert_eq!(reached == Reached::Authenticated, proves, "{name}/{file}: {reached:?}");
        }
    }
}

/// A careless custom mechanism authenticates no client that the application did not accept.
#[test]
fn custom_mechanism_conversations_of_the_corpus_succeed() {
    for (name, run) in MACHINES.into_iter().filter(|(name, _)| name.ends_with("server")) {
        for (file, proves) in
            [("own-accepted", true), ("own-refused", false), ("own-unasked", false), ("own-cancelled", false)]
        {
            let reached = run(&fs::read(corpus::folder().join(name).join(file)).unwrap());
            assert_eq!(reached == Reached::Authenticated, proves, "{name}/{file}: {reached:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn arbitrary_bytes_break_no_invariant(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for (name, run) in MACHINES.into_iter().chain(OTHERS) {
            // Arbitrary bytes cause few key derivations, which take long.
            if name != "sasl" {
                run(&bytes);
                run(&[b"00\n", bytes.as_slice()].concat());
            }
        }
    }

    /// Real conversations with pieces dropped, repeated, swapped and changed.
    #[test]
    fn almost_valid_conversations_break_no_invariant(
        which in 0..MACHINES.len() + OTHERS.len(),
        file in any::<prop::sample::Index>(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..6u8, any::<u8>()), 1..8),
        seed in any::<u8>(),
    ) {
        let (name, run) = MACHINES.into_iter().chain(OTHERS).nth(which).unwrap();
        let all = corpus::written(name).unwrap();
        let mut bytes = all[file.index(all.len())].clone();
        for (at, how, byte) in cuts {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                3 => bytes.truncate(at),
                4 => { let tail = bytes[at..].to_vec(); bytes.extend(tail); }
                _ => bytes.rotate_left(at),
            }
        }
        bytes.splice(..bytes.len().min(2), [seed, seed]);
        run(&bytes);
    }
}
