//! ORDEREDSUBJECT: messages with the same base subject are a thread (RFC 5256 §3).

use alloc::vec::Vec;

use super::forest::ThreadForest;
use super::links::{NONE, Node};

/// Returns the threads: each message after the first of a thread is a child of the first.
pub(super) fn threads(nodes: &[Node]) -> ThreadForest {
    let mut order: Vec<u32> = (0_u32..).zip(nodes).map(|(index, _)| index).collect();
    // An empty base subject is a subject, too.
    let key = |index: &u32| nodes.get(*index as usize).map(|node| (node.subject, node.date, node.number));
    order.sort_unstable_by_key(key);
    let mut parents = alloc::vec![NONE; nodes.len()];
    let mut first: Option<(u32, u32)> = None;
    for index in order {
        let subject = nodes.get(index as usize).map_or(NONE, |node| node.subject);
        match first {
            Some((of_first, parent)) if of_first == subject => {
                if let Some(slot) = parents.get_mut(index as usize) {
                    *slot = parent;
                }
            }
            _ => first = Some((subject, index)),
        }
    }
    let numbers = nodes.iter().map(|node| node.number).collect();
    let date = |index: u32| nodes.get(index as usize).map_or((0, 0), |node| (node.date, node.number));
    ThreadForest::new(numbers, &parents, |_| true, date, date)
}
