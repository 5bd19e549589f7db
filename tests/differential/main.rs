//! Our parsers of commands and replies against those of `smtp-proto`, on many generated lines, and our structure of
//! messages against that of `mail-parser` (`messages`).
//!
//! Both parse the same bytes into the same type, [`Meaning`]. Every difference must match one of the listed
//! differences; a listed difference that no longer occurs, or matches too often, fails the test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test stops")]

mod commands;
mod generate;
mod messages;
mod replies;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// A known difference: what each parser does, and why ours does so.
struct Difference<M: 'static> {
    why: &'static str,
    /// Whether this is the difference, given the bytes and both results.
    is: fn(&[u8], &M, &M) -> bool,
}

/// The results of two parsers on the same bytes.
#[derive(Default)]
struct Comparison {
    agreed: usize,
    explained: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Comparison {
    fn add<M: PartialEq + Debug>(&mut self, bytes: &[u8], ours: &M, theirs: &M, known: &[Difference<M>]) {
        if ours == theirs {
            self.agreed += 1;
        } else if let Some(difference) = known.iter().find(|known| (known.is)(bytes, ours, theirs)) {
            *self.explained.entry(difference.why).or_default() += 1;
        } else if self.unexplained.len() < 40 {
            let shown = String::from_utf8_lossy(bytes);
            self.unexplained.push(format!("{shown:?}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }

    /// Every difference must be listed, every listed difference must occur, and most results must agree.
    fn judge<M>(&self, known: &[Difference<M>], least_agreed: usize) {
        println!("agreed on {}", self.agreed);
        for (why, times) in &self.explained {
            println!("{times:>7}  {why}");
        }
        assert!(self.unexplained.is_empty(), "unexplained:\n{}", self.unexplained.join("\n"));
        let used: BTreeSet<_> = self.explained.keys().copied().collect();
        let unused: Vec<_> = known.iter().map(|known| known.why).filter(|why| !used.contains(why)).collect();
        assert!(unused.is_empty(), "differences that did not occur: {unused:?}");
        assert!(self.agreed >= least_agreed, "only {} results agreed", self.agreed);
    }
}
