//! Measures the machines beside their peers.
//!
//! ```text
//! mailwire-bench list                        every row and contestant
//! mailwire-bench smoke                       each row once, small: does everybody find the right thing?
//! mailwire-bench run [ROUNDS] [ROW]          times, allocations and ratios (9 rounds unless told)
//! mailwire-bench once ROW CONTESTANT         one pass, for callgrind
//! ```

mod contestants;
mod rows;

use mailwire_benches::{Bench, Counting, measure};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => {
            for bench in rows::all(rows::Scale::Smoke) {
                for contestant in &bench.contestants {
                    println!("{}\t{}", bench.name, contestant.name);
                }
            }
            Ok(())
        }
        ["smoke"] => smoke(),
        ["once", row, name] => once(row, name),
        ["run", rest @ ..] | rest => {
            let rounds = rest.iter().find_map(|word| word.parse().ok()).unwrap_or(9);
            let row = rest.iter().find(|word| word.parse::<usize>().is_err()).copied();
            run(rounds, row)
        }
    }
}

/// What setting a session up may allocate; what comes then may not.
const SETTING_UP: f64 = 100.0;

/// Each row once: everybody must find the right thing, and ours must keep the promises that no clock is needed for.
fn smoke() -> Result<(), String> {
    let mut passed = 0;
    for mut bench in rows::all(rows::Scale::Smoke) {
        let figures = measure(&mut bench, 1)?;
        for (contestant, figure) in bench.contestants.iter().zip(&figures) {
            let allocations = figure.allocations * bench.items as f64;
            if contestant.name.starts_with("mailwire") && allocations > SETTING_UP {
                return Err(format!(
                    "{} {}: {allocations} allocations for {} of {}, and none per {} are promised",
                    bench.name, contestant.name, bench.items, bench.item, bench.item
                ));
            }
        }
        passed += bench.contestants.len();
    }
    println!("{passed} passed, 0 failed");
    Ok(())
}

fn once(row: &str, name: &str) -> Result<(), String> {
    let bench = rows::all(rows::Scale::Callgrind).into_iter().find(|bench| bench.name == row);
    let mut bench = bench.ok_or("no such row: see list")?;
    let contestant = bench.contestants.iter_mut().find(|contestant| contestant.name == name);
    let contestant = contestant.ok_or("no such contestant: see list")?;
    let found = measured_region(contestant);
    println!("{} items {found}", bench.items);
    if found == contestant.expected {
        Ok(())
    } else {
        Err(format!("found {found}, not {}", contestant.expected))
    }
}

/// What callgrind counts: `--toggle-collect='*measured_region*'`.
#[inline(never)]
fn measured_region(contestant: &mut mailwire_benches::Contestant) -> u64 {
    (contestant.run)()
}

fn run(rounds: usize, row: Option<&str>) -> Result<(), String> {
    println!("| row | contestant | ns/item | ratio to ours | allocations/item | peak KiB |");
    println!("|---|---|---|---|---|---|");
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
    let ours = figures.first().map_or(1.0, |figure| figure.nanoseconds);
    for (contestant, figure) in bench.contestants.iter().zip(&figures) {
        println!(
            "| {} | {} | {:.1} per {} | {:.2} | {:.3} | {} |",
            bench.name,
            contestant.name,
            figure.nanoseconds,
            bench.item,
            figure.nanoseconds / ours,
            figure.allocations,
            figure.peak / 1024
        );
    }
    Ok(())
}
