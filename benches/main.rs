//! Measures the machines and their peers.
//!
//! ```text
//! mailwire-bench list                        every row and implementation
//! mailwire-bench smoke                       small inputs: are all results right, and does Mailwire allocate nothing
//! per item?
//! mailwire-bench run [ROUNDS] [ROW]          times, allocations and ratios (default: 9 rounds)
//! mailwire-bench drivers [ROUNDS] [MESSAGES] CPU time per message on io-mio and io-tokio (default: 5 rounds of 5,000)
//! mailwire-bench idle [SESSIONS]             memory per idle session on each driver (default: 5,000)
//! mailwire-bench once ROW IMPLEMENTATION     one pass, for callgrind
//! ```

mod drivers;
mod implementations;
mod rows;
mod steady;

use mailwire_benches::{Bench, Counting, measure};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => {
            for bench in rows::all(rows::Scale::Smoke) {
                for implementation in &bench.implementations {
                    println!("{}\t{}", bench.name, implementation.name);
                }
            }
            Ok(())
        }
        ["smoke"] => smoke(),
        ["drivers", rest @ ..] => {
            let number = |index: usize| rest.get(index).and_then(|word| word.parse::<u32>().ok());
            drivers::compare(number(0).unwrap_or(5) as usize, number(1).unwrap_or(5000).into())
        }
        ["idle", rest @ ..] => drivers::idle(rest.first().and_then(|word| word.parse().ok()).unwrap_or(5000)),
        // The server process of the two above.
        ["serve", driver, port, connections] => drivers::serve(driver, port, connections),
        ["once", row, name] => once(row, name),
        ["run", rest @ ..] | rest => {
            let rounds = rest.iter().find_map(|word| word.parse().ok()).unwrap_or(9);
            let row = rest.iter().find(|word| word.parse::<usize>().is_err()).copied();
            run(rounds, row)
        }
    }
}

/// Runs each row once: every result must be right, and Mailwire must keep the promises that need no clock.
fn smoke() -> Result<(), String> {
    let mut passed = steady::check()?;
    for mut bench in rows::all(rows::Scale::Smoke) {
        measure(&mut bench, 1)?;
        passed += bench.implementations.len();
    }
    passed += drivers::check(50)?;
    println!("{passed} passed, 0 failed");
    Ok(())
}

fn once(row: &str, name: &str) -> Result<(), String> {
    let bench = rows::all(rows::Scale::Callgrind).into_iter().find(|bench| bench.name == row);
    let mut bench = bench.ok_or("no such row: see list")?;
    let implementation = bench.implementations.iter_mut().find(|implementation| implementation.name == name);
    let implementation = implementation.ok_or("no such implementation: see list")?;
    let found = measured_region(implementation);
    println!("{} items {found}", bench.items);
    if found == implementation.expected {
        Ok(())
    } else {
        Err(format!("found {found}, not {}", implementation.expected))
    }
}

/// What callgrind counts: `--toggle-collect='*measured_region*'`.
#[inline(never)]
fn measured_region(implementation: &mut mailwire_benches::Implementation) -> u64 {
    (implementation.run)()
}

fn run(rounds: usize, row: Option<&str>) -> Result<(), String> {
    println!("| row | implementation | ns/item | ratio | to | chunk cost | allocations/item | peak KiB |");
    println!("|---|---|---|---|---|---|---|---|");
    for mut bench in rows::all(rows::Scale::Full) {
        if row.is_some_and(|row| !bench.name.starts_with(row)) {
            continue;
        }
        table(&mut bench, rounds)?;
    }
    Ok(())
}

fn table(bench: &mut Bench, rounds: usize) -> Result<(), String> {
    let figures = measure(bench, rounds)?;
    let time = |name: &str| {
        let index = bench.implementations.iter().position(|implementation| implementation.name == name)?;
        figures.get(index).map(|figure| figure.nanoseconds)
    };
    for (implementation, figure) in bench.implementations.iter().zip(&figures) {
        let ours = time(implementation.against).ok_or("an implementation refers to a missing line")?;
        println!(
            "| {} | {} | {:.1} per {} | {:.2} | {} | {} | {:.3} | {} |",
            bench.name,
            implementation.name,
            figure.nanoseconds,
            bench.item,
            figure.nanoseconds / ours,
            implementation.against,
            chunk_cost(implementation.name, figure.nanoseconds, time),
            figure.allocations,
            figure.peak / 1024
        );
    }
    Ok(())
}

/// Compares a line with the one that takes the input whole: in chunks it must cost the same, within 15 %. A lower
/// cost is fine, since whole input also pays for the memory that holds it. This is printed and not enforced, since
/// times on a shared machine prove nothing; `benches/instructions chunks` does.
fn chunk_cost(name: &str, nanoseconds: f64, time: impl Fn(&str) -> Option<f64>) -> String {
    let base = name.strip_suffix("-1KiB").unwrap_or(name);
    let Some(whole) = time(&format!("{base}-whole")) else { return String::new() };
    let ratio = nanoseconds / whole;
    let verdict = match ratio {
        ..0.85 => "cheaper",
        ..=1.15 => "holds",
        _ => "BROKEN",
    };
    format!("{verdict} ({ratio:.2} of whole)")
}
