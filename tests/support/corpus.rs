//! The fuzz targets by name, and their inputs.
//!
//! This module knows where inputs are stored, but no protocol. Fuzz targets, tests, `fuzz/coverage` and `fuzz/miri`
//! call its functions.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::harness::{self, Reached};

/// Runs a target on an input.
pub type Target = fn(&[u8]) -> Reached;

/// The four machines. The first two bytes of an input choose the configuration and how the input is split.
pub const MACHINES: [(&str, Target); 4] = [
    ("imap_client", harness::imap_client),
    ("imap_server", harness::imap_server),
    ("smtp_client", harness::smtp_client),
    ("smtp_server", harness::smtp_server),
];

/// The other targets.
pub const OTHERS: [(&str, Target); 5] = [
    ("parsers", harness::parsers),
    ("sasl", harness::sasl),
    ("proxy", harness::proxy),
    ("differential", harness::differential),
    ("message", harness::message),
];

/// Reads the handwritten inputs: the application's choices, and the peer's side of the wire.
///
/// # Errors
/// The folder cannot be read.
pub fn written(target: &str) -> io::Result<Vec<Vec<u8>>> {
    files(&folder().join(target))
}

/// Reads the inputs that a fuzzer has found; empty if there are none.
///
/// # Errors
/// The folder cannot be read.
pub fn found(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let found = folder().join(target).join("found");
    if found.exists() { files(&found) } else { Ok(Vec::new()) }
}

/// Reads the files of a folder, without its subfolders, in the order of their names.
///
/// # Errors
/// The folder cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// The folder of the inputs.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Runs every target on all its inputs: a machine on its handwritten inputs in every configuration and with several
/// splits.
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
