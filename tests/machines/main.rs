//! The four machines against any octets, and against conversations that went almost right.
//!
//! What a fuzzer once found lies in `corpus` and is replayed here.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its corpus must fail")]

use std::fs;
use std::path::Path;

use mailwire_tests::harness::{self, Reached};
use proptest::prelude::*;

type Harness = fn(&[u8]) -> Reached;

const MACHINES: [(&str, Harness); 4] = [
    ("imap_client", harness::imap_client),
    ("imap_server", harness::imap_server),
    ("smtp_client", harness::smtp_client),
    ("smtp_server", harness::smtp_server),
];

/// What lies in a folder beside this crate: what the application chooses, and the peer's side of the wire, as it came.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The conversations that somebody wrote down.
fn corpus(machine: &str) -> Vec<Vec<u8>> {
    files(&Path::new("corpus").join(machine))
}

/// Those that a fuzzer has found; and more of them, where somebody wants to know what those reach.
fn found(machine: &str) -> Vec<Vec<u8>> {
    let mut found = files(&Path::new("corpus").join(machine).join("found"));
    if let Some(folder) = std::env::var_os("MAILWIRE_CORPUS").filter(|folder| !folder.is_empty()) {
        found.extend(files(&Path::new("..").join(folder).join(machine)));
    }
    found
}

#[test]
fn the_corpus_is_replayed() {
    for (name, run) in MACHINES {
        let all = corpus(name);
        assert!(!all.is_empty(), "{name} has no corpus");
        for octets in found(name) {
            run(&octets);
        }
        for octets in all {
            run(&octets);
            // In every configuration, and cut in some other ways.
            for (config, seed) in [(0, 1), (1, 2), (2, 3), (3, 4), (5, 5), (8, 6), (16, 7)] {
                run(&[&[b'0' + config, seed], octets.get(2..).unwrap_or_default()].concat());
            }
        }
    }
}

/// They hold proofs of a key, which no fuzzer guesses: if they no longer fit, nothing behind SCRAM is reached.
#[test]
fn the_scram_conversations_of_the_corpus_succeed() {
    for (name, run) in MACHINES {
        for file in ["scram", "scram-plus"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name).join(file);
            assert_eq!(run(&fs::read(path).unwrap()), Reached::Proof, "{name}/{file}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        for (_, run) in MACHINES {
            run(&octets);
            run(&[b"00\n", octets.as_slice()].concat());
        }
    }

    /// Real conversations with pieces dropped, repeated, swapped and changed.
    #[test]
    fn almost_right(
        which in 0..4usize,
        file in any::<prop::sample::Index>(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..6u8, any::<u8>()), 1..8),
        seed in any::<u8>(),
    ) {
        let (name, run) = MACHINES[which];
        let all = corpus(name);
        let mut octets = all[file.index(all.len())].clone();
        for (at, how, octet) in cuts {
            if octets.is_empty() {
                break;
            }
            let at = at.index(octets.len());
            match how {
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                2 => { octets.remove(at); }
                3 => octets.truncate(at),
                4 => { let tail = octets[at..].to_vec(); octets.extend(tail); }
                _ => octets.rotate_left(at),
            }
        }
        octets.splice(..octets.len().min(2), [seed, seed]);
        run(&octets);
    }
}
