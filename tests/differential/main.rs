//! Our reading of commands and replies beside that of `smtp-proto`, on many generated lines.
//!
//! Both read the same bytes into the same shape, [`Meaning`]. Where they disagree, one of the listed differences must
//! say why; a difference that no longer occurs, or that would explain too much, fails the test as well.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where something is wrong"
)]

mod commands;
mod generate;
mod replies;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// A known disagreement: who does what, and why ours is as it is.
struct Difference<M: 'static> {
    why: &'static str,
    /// Whether it is this one: the bytes, ours and theirs.
    is: fn(&[u8], &M, &M) -> bool,
}

/// How two readers fared on the same bytes.
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

    /// Everything must be explained, every explanation used, and agreement must be the rule.
    fn judge<M>(&self, known: &[Difference<M>], least_agreed: usize) {
        println!("agreed on {}", self.agreed);
        for (why, times) in &self.explained {
            println!("{times:>7}  {why}");
        }
        assert!(self.unexplained.is_empty(), "unexplained:\n{}", self.unexplained.join("\n"));
        let used: BTreeSet<_> = self.explained.keys().copied().collect();
        let unused: Vec<_> = known.iter().map(|known| known.why).filter(|why| !used.contains(why)).collect();
        assert!(unused.is_empty(), "these differences did not occur: {unused:?}");
        assert!(self.agreed >= least_agreed, "they agreed on {} only", self.agreed);
    }
}
