//! The targets by name, and the inputs that belong to each.
//!
//! This file knows where inputs lie and no protocol. Fuzz targets, the tests, `fuzz/coverage` and `fuzz/miri` take the
//! same functions from here.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::harness::{self, Reached};

/// What a target does with an input.
pub type Target = fn(&[u8]) -> Reached;

/// The four machines. The first two bytes of an input choose how one is set up, and how the input is cut.
pub const MACHINES: [(&str, Target); 4] = [
    ("imap_client", harness::imap_client),
    ("imap_server", harness::imap_server),
    ("smtp_client", harness::smtp_client),
    ("smtp_server", harness::smtp_server),
];

/// What else is fuzzed.
pub const OTHERS: [(&str, Target); 4] = [
    ("parsers", harness::parsers),
    ("sasl", harness::sasl),
    ("proxy", harness::proxy),
    ("differential", harness::differential),
];

/// The inputs that somebody wrote down: what the application chooses, and the peer's side of the wire, as it came.
///
/// # Errors
/// The folder cannot be read.
pub fn written(target: &str) -> io::Result<Vec<Vec<u8>>> {
    files(&folder().join(target))
}

/// Those that a fuzzer has found, if it has found any.
///
/// # Errors
/// The folder cannot be read.
pub fn found(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let found = folder().join(target).join("found");
    if found.exists() { files(&found) } else { Ok(Vec::new()) }
}

/// What lies in a folder, without what lies in folders there; in the order of the names.
///
/// # Errors
/// The folder cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// Where the inputs lie.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Gives all inputs of all targets to them: what somebody wrote down for a machine in every configuration, and cut in some
/// other ways.
///
/// # Errors
/// A folder cannot be read.
pub fn replay() -> io::Result<()> {
    for (name, run) in MACHINES.into_iter().chain(OTHERS) {
        for bytes in written(name)?.into_iter().chain(found(name)?) {
            run(&bytes);
        }
    }
    for (name, run) in MACHINES {
        for bytes in written(name)? {
            for (config, seed) in [(0, 1), (1, 2), (2, 3), (3, 4), (5, 5), (8, 6), (16, 7)] {
                run(&[&[b'0' + config, seed], bytes.get(2..).unwrap_or_default()].concat());
            }
        }
    }
    Ok(())
}
