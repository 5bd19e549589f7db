//! Measured figures, their bounds, and the table that shows both.

use std::fmt;
use std::time::Duration;

/// A measured figure and the most that it may be.
pub(crate) struct Figure {
    pub(crate) attack: &'static str,
    pub(crate) what: String,
    pub(crate) measured: Quantity,
    pub(crate) bound: Option<Quantity>,
}

/// A figure with its unit.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Quantity {
    Time(Duration),
    Bytes(u64),
    Count(u64),
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Time(time) if time < Duration::from_secs(10) => {
                format!("{:.1} ms", time.as_secs_f64() * 1e3)
            }
            Self::Time(time) => format!("{:.1} s", time.as_secs_f64()),
            Self::Bytes(bytes) if bytes < 1 << 20 => format!("{:.1} KiB", bytes as f64 / 1024.0),
            Self::Bytes(bytes) => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
            Self::Count(count) => count.to_string(),
        };
        f.pad(&text)
    }
}

impl Figure {
    pub(crate) fn exceeds(&self) -> bool {
        self.bound.is_some_and(|bound| self.measured > bound)
    }
}

/// Everything that one attack measured.
pub(crate) struct Report {
    attack: &'static str,
    pub(crate) figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(attack: &'static str) -> Self {
        Self { attack, figures: Vec::new() }
    }

    fn add(&mut self, what: impl Into<String>, measured: Quantity, bound: Option<Quantity>) {
        self.figures.push(Figure { attack: self.attack, what: what.into(), measured, bound });
    }

    /// Memory or disk, in bytes.
    pub(crate) fn bytes(&mut self, what: impl Into<String>, measured: u64, bound: u64) {
        self.add(what, Quantity::Bytes(measured), Some(Quantity::Bytes(bound)));
    }

    pub(crate) fn time(&mut self, what: impl Into<String>, measured: Duration, bound: Duration) {
        self.add(what, Quantity::Time(measured), Some(Quantity::Time(bound)));
    }

    /// How often something went wrong: never, if all is well.
    pub(crate) fn faults(&mut self, what: impl Into<String>, count: usize) {
        self.add(what, Quantity::Count(count as u64), Some(Quantity::Count(0)));
    }

    pub(crate) fn count(&mut self, what: impl Into<String>, measured: u64, bound: u64) {
        self.add(what, Quantity::Count(measured), Some(Quantity::Count(bound)));
    }

    /// A figure for the reader.
    pub(crate) fn note(&mut self, what: impl Into<String>, measured: Quantity) {
        self.add(what, measured, None);
    }

    /// The latencies of one kind of request: their median, their 99th percentile and the longest.
    pub(crate) fn latencies(
        &mut self,
        what: &str,
        mut took: Vec<Duration>,
        p99: Option<Duration>,
        worst: Duration,
    ) {
        took.sort_unstable();
        let at =
            |share: usize| took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied();
        let (Some(median), Some(high), Some(longest)) = (at(50), at(99), took.last().copied()) else {
            self.faults(format!("{what}: no answer at all"), 1);
            return;
        };
        self.note(format!("{what}: median of {}", took.len()), Quantity::Time(median));
        self.add(format!("{what}: p99"), Quantity::Time(high), p99.map(Quantity::Time));
        self.time(format!("{what}: worst"), longest, worst);
    }
}

/// The figures as a table in Markdown.
pub(crate) fn print(figures: &[Figure]) {
    println!("\n| attack | figure | measured | bound | |\n|---|---|---:|---:|---|");
    for figure in figures {
        let bound = figure.bound.map_or_else(String::new, |bound| bound.to_string());
        let verdict = if figure.exceeds() { "EXCEEDED" } else { "" };
        println!("| {} | {} | {} | {bound} | {verdict} |", figure.attack, figure.what, figure.measured);
    }
}
