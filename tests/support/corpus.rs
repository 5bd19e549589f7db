//! The targets by name, and the inputs that belong to each.
//!
//! This file knows where inputs lie and no protocol. Fuzz targets, the tests, `fuzz/coverage` and `fuzz/miri` take the
//! same functions from here.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::harness::{self, Reached};

/// What a target does with an input.
pub type Target = fn(&[u8]) -> Reached;

/// Every target: what any octets are given to.
pub const TARGETS: [(&str, Target); 4] = [
    ("imap_client", harness::imap_client),
    ("imap_server", harness::imap_server),
    ("smtp_client", harness::smtp_client),
    ("smtp_server", harness::smtp_server),
];

/// The inputs that somebody wrote down: what the application chooses, and the peer's side of the wire, as it came.
///
/// # Errors
/// The folder cannot be read.
pub fn written(target: &str) -> io::Result<Vec<Vec<u8>>> {
    files(&folder().join(target))
}

/// Those that a fuzzer has found.
///
/// # Errors
/// The folder cannot be read.
pub fn found(target: &str) -> io::Result<Vec<Vec<u8>>> {
    files(&folder().join(target).join("found"))
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

/// Gives an input that somebody wrote down to its target, in every configuration, and cut in some other ways.
pub fn in_every_way(run: Target, octets: &[u8]) {
    run(octets);
    for (config, seed) in [(0, 1), (1, 2), (2, 3), (3, 4), (5, 5), (8, 6), (16, 7)] {
        run(&[&[b'0' + config, seed], octets.get(2..).unwrap_or_default()].concat());
    }
}
