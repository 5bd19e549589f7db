//! Shared by all measurements: the clock, the allocation counter, the inputs and the tables.
//!
//! Time is this thread's CPU time. One pass is one sample, and implementations run in turn, so that a noisy machine
//! disturbs all of them alike; only ratios within one run are meaningful. Allocations are counted exactly.
//! Instructions are counted from outside, by running `once` under callgrind.

mod count;
pub mod workloads;

use cpu_time::ThreadTime;

pub use count::{Counting, allocations, held, peak, reset};

/// A workload, and its implementations.
pub struct Bench {
    /// The row's name, as in baselines.
    pub name: &'static str,
    /// What one item is ("response", "command", "MiB").
    pub item: &'static str,
    /// The number of items in the input.
    pub items: usize,
    /// All implementations, Mailwire first.
    pub implementations: Vec<Implementation>,
}

/// One program under measurement.
pub struct Implementation {
    /// Its name.
    pub name: &'static str,
    /// The line of Mailwire that does the same work, with which this one is compared.
    pub against: &'static str,
    /// Runs the workload once and returns its result, for comparison with `expected`.
    pub run: Box<dyn FnMut() -> u64>,
    /// The right result.
    pub expected: u64,
}

impl Implementation {
    /// An implementation whose result must be `expected`.
    pub fn new(
        name: &'static str,
        against: &'static str,
        expected: u64,
        run: impl FnMut() -> u64 + 'static,
    ) -> Self {
        Self { name, against, run: Box::new(run), expected }
    }
}

/// The measured values of one implementation.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// Nanoseconds of CPU time per item: the median of all rounds.
    pub nanoseconds: f64,
    /// Allocations per item.
    pub allocations: f64,
    /// The most memory held at once during a pass, beyond what was held before, in bytes.
    pub peak: usize,
}

/// Runs every implementation `rounds` times in turn.
///
/// # Errors
/// An implementation with a wrong result, since its time would be meaningless.
pub fn measure(bench: &mut Bench, rounds: usize) -> Result<Vec<Figure>, String> {
    let mut times = vec![Vec::new(); bench.implementations.len()];
    let mut counts = vec![(0, 0); bench.implementations.len()];
    for round in 0..=rounds {
        for (index, implementation) in bench.implementations.iter_mut().enumerate() {
            reset();
            let start = ThreadTime::now();
            let found = (implementation.run)();
            let time = start.elapsed();
            counts[index] = (allocations(), peak());
            if found != implementation.expected {
                return Err(format!(
                    "{}: {} found {found}, and {} is right",
                    bench.name, implementation.name, implementation.expected
                ));
            }
            // The first round warms up.
            if round > 0 {
                times[index].push(time);
            }
        }
    }
    let items = bench.items.max(1) as f64;
    Ok(times
        .into_iter()
        .zip(counts)
        .map(|(mut times, (allocations, peak))| {
            times.sort();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            Figure {
                nanoseconds: median.as_nanos() as f64 / items,
                allocations: allocations as f64 / items,
                peak,
            }
        })
        .collect())
}
