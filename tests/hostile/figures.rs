//! Measured figures, their bounds, and the table that shows both.

use std::time::Duration;

/// A measured figure and its bound.
pub(crate) struct Figure {
    attack: &'static str,
    what: String,
    measured: String,
    bound: String,
    is_exceeded: bool,
}

impl Figure {
    pub(crate) const fn is_exceeded(&self) -> bool {
        self.is_exceeded
    }
}

/// How long requests of one kind took.
#[derive(Default)]
pub(crate) struct Latencies {
    pub(crate) took: Vec<Duration>,
    /// Requests that were refused or got no answer.
    pub(crate) failed: usize,
}

/// The bounds of latencies.
#[derive(Clone, Copy)]
pub(crate) struct LatencyBounds {
    pub(crate) p99: Duration,
    pub(crate) worst: Duration,
}

/// Everything that one attack measured.
pub(crate) struct Report {
    attack: &'static str,
    pub(crate) figures: Vec<Figure>,
}

impl Report {
    pub(crate) const fn new(attack: &'static str) -> Self {
        Self { attack, figures: Vec::new() }
    }

    fn add(&mut self, what: impl Into<String>, measured: String, bound: String, is_exceeded: bool) {
        let what = what.into().replace(['\r', '\n', '|'], " ");
        self.figures.push(Figure { attack: self.attack, what, measured, bound, is_exceeded });
    }

    /// Memory or disk, in bytes.
    pub(crate) fn bytes(&mut self, what: impl Into<String>, measured: u64, bound: u64) {
        self.add(what, size(measured), size(bound), measured > bound);
    }

    /// Memory or disk without a bound, in bytes.
    pub(crate) fn size(&mut self, what: impl Into<String>, measured: u64) {
        self.add(what, size(measured), String::new(), false);
    }

    pub(crate) fn time(&mut self, what: impl Into<String>, measured: Duration, bound: Duration) {
        self.add(what, milliseconds(measured), milliseconds(bound), measured > bound);
    }

    pub(crate) fn count(&mut self, what: impl Into<String>, measured: u64, bound: u64) {
        self.add(what, measured.to_string(), bound.to_string(), measured > bound);
    }

    /// The number of faults, which must be zero.
    pub(crate) fn faults(&mut self, what: impl Into<String>, count: usize) {
        self.count(what, count as u64, 0);
    }

    /// A count without a bound.
    pub(crate) fn note(&mut self, what: impl Into<String>, count: usize) {
        self.add(what, count.to_string(), String::new(), false);
    }

    /// The median, the 99th percentile and the longest of some latencies. There must be at least one, and none may
    /// have failed.
    pub(crate) fn latencies(&mut self, what: &str, latencies: Latencies, bounds: LatencyBounds) {
        let Latencies { mut took, failed } = latencies;
        took.sort_unstable();
        let at = |percent: usize| {
            took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied()
        };
        let (median, p99, worst) = (at(50), at(99), took.last().copied());
        let shown =
            [median, p99, worst].map(|time| time.map_or_else(|| "-".to_owned(), milliseconds)).join(" / ");
        self.add(
            format!("{what}: median / p99 / worst of {}, {failed} failed", took.len()),
            shown,
            format!("- / {} / {}, 0 failed", milliseconds(bounds.p99), milliseconds(bounds.worst)),
            failed > 0 || took.is_empty() || p99 > Some(bounds.p99) || worst > Some(bounds.worst),
        );
    }
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{:.1} KiB", bytes as f64 / 1024.0)
    } else {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Prints the figures as a table in Markdown.
pub(crate) fn print(figures: &[Figure]) {
    println!("\n| attack | figure | measured | bound | |\n|---|---|---:|---:|---|");
    for Figure { attack, what, measured, bound, is_exceeded } in figures {
        let verdict = if *is_exceeded { "EXCEEDED" } else { "" };
        println!("| {attack} | {what} | {measured} | {bound} | {verdict} |");
    }
}
