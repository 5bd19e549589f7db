//! Gives inputs to a fuzz target: `replay TARGET PATH...`, files or folders of them; without a target to each what lies
//! in `tests/corpus`. Names each path when it is done with it, and ends with a panic where a invariant is broken.
//!
//! No fuzzer and no test is linked in, so that it is built soon with whatever measures: see `fuzz/coverage`.

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
