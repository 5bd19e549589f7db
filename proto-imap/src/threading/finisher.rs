//! Puts messages into threads step by step, so that a server can do other work in between.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::forest::ThreadForest;
use super::links::Node;
use super::references::{DateKey, Order, Pruned};
use super::subjects;

/// The identifiers and subjects that a step frees.
const FREED: usize = 16_384;

/// Puts the messages of a [`Threader`](super::Threader) into threads.
///
/// ```
/// use proto_imap::sort_order::Collation;
/// use proto_imap::threading::{ThreadLimits, Threader};
/// use proto_imap::types::ThreadAlgorithm;
///
/// let threader = Threader::new(ThreadAlgorithm::References, Collation::default(), ThreadLimits::default());
/// let mut finisher = threader.expect("a known algorithm").into_finisher();
/// let forest = loop {
///     if let Some(forest) = finisher.step() {
///         break forest;
///     }
/// };
/// assert!(forest.is_empty());
/// ```
#[derive(Debug)]
pub struct ThreadFinisher {
    /// What the messages were found by, which is not needed any more.
    identifiers: BTreeMap<String, u32>,
    subjects: BTreeMap<String, u32>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    BySubject(Vec<Node>),
    Prune(Vec<Node>, Order),
    FirstKeys(Pruned),
    Merge(Pruned, Vec<DateKey>),
    RootKeys(Pruned, Order),
    Sort(Pruned, Vec<DateKey>),
    Done,
}

impl ThreadFinisher {
    /// `order` is `None` for ORDEREDSUBJECT.
    pub(super) const fn new(
        nodes: Vec<Node>,
        order: Option<Order>,
        identifiers: BTreeMap<String, u32>,
        subjects: BTreeMap<String, u32>,
    ) -> Self {
        let stage = match order {
            None => Stage::BySubject(nodes),
            Some(order) => Stage::Prune(nodes, order),
        };
        Self { identifiers, subjects, stage }
    }

    /// Takes the next step. Returns the threads after the last one, and `None` before and after that. A step takes time in
    /// the order of n log n.
    pub fn step(&mut self) -> Option<ThreadForest> {
        if free(&mut self.identifiers) || free(&mut self.subjects) {
            return None;
        }
        self.stage = match core::mem::replace(&mut self.stage, Stage::Done) {
            Stage::BySubject(nodes) => return Some(subjects::threads(&nodes)),
            Stage::Prune(nodes, order) => {
                let pruned = Pruned::new(nodes);
                match order {
                    Order::ByFirst => Stage::FirstKeys(pruned),
                    Order::ByNewest => Stage::RootKeys(pruned, order),
                }
            }
            Stage::FirstKeys(pruned) => {
                let keys = pruned.root_keys(Order::ByFirst);
                Stage::Merge(pruned, keys)
            }
            Stage::Merge(mut pruned, keys) => {
                pruned.merge_subjects(&keys);
                Stage::RootKeys(pruned, Order::ByFirst)
            }
            Stage::RootKeys(pruned, order) => {
                let keys = pruned.root_keys(order);
                Stage::Sort(pruned, keys)
            }
            Stage::Sort(pruned, keys) => return Some(pruned.into_threads(&keys)),
            Stage::Done => Stage::Done,
        };
        None
    }

    /// Takes all steps.
    #[must_use]
    pub fn finish(mut self) -> ThreadForest {
        loop {
            if let Some(forest) = self.step() {
                return forest;
            }
        }
    }
}

/// Frees some entries. Returns false if there are none.
fn free(map: &mut BTreeMap<String, u32>) -> bool {
    let before = map.len();
    for _ in 0..FREED {
        if map.pop_first().is_none() {
            break;
        }
    }
    before > 0
}
