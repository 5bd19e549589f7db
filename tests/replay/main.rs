//! Gives inputs to fuzz targets: `replay TARGET [PATH...]`, files or folders of them; without a path what lies in
//! `tests/corpus`; without a target every one of them. Ends with a panic where a law is broken.
//!
//! No fuzzer and no test is linked in, so that it is built soon with whatever measures: see `fuzz/coverage`.

use std::path::Path;
use std::{env, fs, io};

use mailwire_tests::corpus::{TARGETS, Target, files, found, in_every_way, written};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let Some(name) = arguments.next() else {
        return TARGETS.into_iter().try_for_each(|(name, run)| corpus(name, run));
    };
    let Some((_, run)) = TARGETS.into_iter().find(|(target, _)| *target == name) else {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        return Err(io::Error::other(format!("no target {name}; there are {}", names.join(", "))));
    };
    let paths: Vec<_> = arguments.collect();
    if paths.is_empty() {
        return corpus(&name, run);
    }
    for path in paths.iter().map(Path::new) {
        let inputs = if path.is_dir() { files(path)? } else { vec![fs::read(path)?] };
        inputs.iter().for_each(|octets| _ = run(octets));
    }
    Ok(())
}

fn corpus(name: &str, run: Target) -> io::Result<()> {
    written(name)?.iter().for_each(|octets| in_every_way(run, octets));
    found(name)?.iter().for_each(|octets| _ = run(octets));
    Ok(())
}
