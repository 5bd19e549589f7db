//! Runs a fuzz target on inputs: `replay TARGET PATH...`, with files or folders; without a target every target on its
//! inputs in `tests/corpus`. Prints each path when it is done, and panics if an invariant is broken.
//!
//! It links no fuzzer and no test, so that it builds quickly with any instrumentation: see `fuzz/coverage`.

use std::path::Path;
use std::{env, fs, io};

use mailwire_tests::corpus::{MACHINES, OTHERS, files, replay};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let Some(name) = arguments.next() else { return replay() };
    let mut targets = MACHINES.into_iter().chain(OTHERS);
    let Some((_, run)) = targets.find(|(target, _)| *target == name) else {
        return Err(io::Error::other(format!("no target is called {name}: see fuzz/fuzz_targets")));
    };
    for path in arguments {
        let path = Path::new(&path);
        let inputs = if path.is_dir() { files(path)? } else { vec![fs::read(path)?] };
        inputs.iter().for_each(|bytes| _ = run(bytes));
        println!("{}", path.display());
    }
    Ok(())
}
