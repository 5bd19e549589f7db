//! REFERENCES and REFS, after the links between the messages are known (RFC 5256 §3, REFERENCES, steps 2 to 6).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::forest::ThreadForest;
use super::links::{NONE, Node};

/// How threads are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// By the date of their first message: REFERENCES, which merges threads with the same subject before.
    ByFirst,
    /// By the date of their newest message: REFS.
    ByNewest,
}

/// A date with the number that decides between equal dates.
pub(super) type DateKey = (i64, u32);

/// The key of a dummy until that of a child is known.
const LAST: DateKey = (i64::MAX, u32::MAX);

/// The threads without needless dummies.
#[derive(Debug)]
pub(super) struct Pruned {
    nodes: Vec<Node>,
    /// The parent of each message; [`NONE`] for the first ones of threads and for what is not kept.
    parents: Vec<u32>,
    kept: Vec<bool>,
}

impl Pruned {
    /// Steps 2 and 3: removes dummies. One stays only as the first of a thread with several children. The parents form no
    /// loop.
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        let top_down = top_down(&nodes);
        // Where the children of each node go: to itself, if it stays, or else to where it would go.
        let mut places = alloc::vec![NONE; nodes.len()];
        let mut parents = alloc::vec![NONE; nodes.len()];
        let mut children = alloc::vec![0_u32; nodes.len()];
        for index in &top_down {
            let Some(node) = nodes.get(*index as usize) else { continue };
            let parent = places.get(node.parent as usize).copied().unwrap_or(NONE);
            let is_root = node.parent == NONE;
            set(&mut places, *index, if node.is_dummy() && !is_root { parent } else { *index });
            if !node.is_dummy() {
                set(&mut parents, *index, parent);
                if let Some(count) = children.get_mut(parent as usize) {
                    *count += 1;
                }
            }
        }
        let kept: Vec<bool> = nodes
            .iter()
            .zip(&children)
            .map(|(node, children)| !node.is_dummy() || (node.parent == NONE && *children > 1))
            .collect();
        // The only child of a removed dummy is the first of its thread.
        for parent in &mut parents {
            if kept.get(*parent as usize) == Some(&false) {
                *parent = NONE;
            }
        }
        Self { nodes, parents, kept }
    }

    fn is_kept(&self, index: u32) -> bool {
        self.kept.get(index as usize).copied().unwrap_or(false)
    }

    fn date_key(&self, index: u32) -> DateKey {
        match self.nodes.get(index as usize) {
            Some(node) if !node.is_dummy() => (node.date, node.number),
            _ => LAST,
        }
    }

    /// Returns the keys by which threads are sorted: of their first message, of the first child of a dummy, or of the newest
    /// message.
    pub(super) fn root_keys(&self, order: Order) -> Vec<DateKey> {
        let mut keys: Vec<DateKey> =
            (0_u32..).zip(&self.nodes).map(|(index, _)| self.date_key(index)).collect();
        match order {
            Order::ByFirst => {
                self.spread(
                    &mut keys,
                    |node, child, parent| {
                        if node.is_dummy() { parent.min(child) } else { parent }
                    },
                )
            }
            Order::ByNewest => self.spread(&mut keys, |node, child, parent| {
                if node.is_dummy() && parent == LAST { child } else { parent.max(child) }
            }),
        }
        keys
    }

    /// Returns the threads, sorted by these keys.
    pub(super) fn into_threads(self, keys: &[DateKey]) -> ThreadForest {
        let numbers = self.nodes.iter().map(|node| node.number).collect();
        let root = |index: u32| keys.get(index as usize).copied().unwrap_or(LAST);
        let sibling = |index: u32| self.date_key(index);
        ThreadForest::new(numbers, &self.parents, |index| self.is_kept(index), root, sibling)
    }

    /// Combines the key of each node with those of its children, from the last messages up to the first.
    fn spread(&self, keys: &mut [DateKey], combine: impl Fn(&Node, DateKey, DateKey) -> DateKey) {
        for index in top_down_of(&self.parents).iter().rev() {
            let parent = self.parents.get(*index as usize).copied().unwrap_or(NONE);
            let (Some(node), true) = (self.nodes.get(parent as usize), self.is_kept(*index)) else {
                continue;
            };
            let child = keys.get(*index as usize).copied().unwrap_or(LAST);
            if let Some(key) = keys.get_mut(parent as usize) {
                *key = combine(node, child, *key);
            }
        }
    }

    /// Steps 4 and 5: merges threads with the same subject. `firsts` are the keys of threads by their first messages.
    pub(super) fn merge_subjects(&mut self, firsts: &[DateKey]) {
        // The first child of each dummy.
        let mut first_child = alloc::vec![NONE; self.nodes.len()];
        for (index, parent) in (0_u32..).zip(&self.parents) {
            let is_first = firsts.get(*parent as usize) == Some(&self.date_key(index));
            if is_first && self.nodes.get(*parent as usize).is_some_and(Node::is_dummy) {
                set(&mut first_child, *parent, index);
            }
        }
        let mut roots: Vec<u32> = (0_u32..)
            .zip(&self.parents)
            .filter(|(index, parent)| **parent == NONE && self.is_kept(*index))
            .map(|(index, _)| index)
            .collect();
        roots.sort_unstable_by_key(|root| firsts.get(*root as usize).copied().unwrap_or(LAST));
        let subject_of = |nodes: &[Node], root: u32| {
            let node = nodes.get(root as usize)?;
            let speaker =
                if node.is_dummy() { nodes.get(*first_child.get(root as usize)? as usize)? } else { node };
            Some(speaker.subject).filter(|subject| *subject != NONE)
        };
        let mut table = BTreeMap::new();
        for root in &roots {
            let Some(subject) = subject_of(&self.nodes, *root) else { continue };
            let current = self.nodes.get(*root as usize).copied().unwrap_or(Node::DUMMY);
            table
                .entry(subject)
                .and_modify(|entry: &mut u32| {
                    let listed = self.nodes.get(*entry as usize).copied().unwrap_or(Node::DUMMY);
                    if !listed.is_dummy() && (current.is_dummy() || (listed.is_reply && !current.is_reply)) {
                        *entry = *root;
                    }
                })
                .or_insert(*root);
        }
        let mut moved = BTreeMap::new();
        for root in roots {
            // It may have become a child of a dummy.
            let is_root = self.parents.get(root as usize) == Some(&NONE);
            let Some(subject) = subject_of(&self.nodes, root).filter(|_| is_root) else { continue };
            let Some(entry) = table.get_mut(&subject) else { continue };
            if *entry != root {
                self.merge(root, entry, &mut moved);
            }
        }
        // The children of dummies that were merged into others.
        for parent in &mut self.parents {
            if let Some(target) = moved.get(parent) {
                *parent = *target;
            }
        }
    }

    /// Step 5.C: merges a thread with the one in the subject table.
    fn merge(&mut self, current: u32, entry: &mut u32, moved: &mut BTreeMap<u32, u32>) {
        let of = |index: u32| self.nodes.get(index as usize).copied().unwrap_or(Node::DUMMY);
        let (one, listed) = (of(current), of(*entry));
        if one.is_dummy() && listed.is_dummy() {
            moved.insert(current, *entry);
            if let Some(kept) = self.kept.get_mut(current as usize) {
                *kept = false;
            }
        } else if listed.is_dummy() || (one.is_reply && !listed.is_reply) {
            set(&mut self.parents, current, *entry);
        } else {
            let dummy = u32::try_from(self.nodes.len()).unwrap_or(NONE);
            self.nodes.push(Node::DUMMY);
            self.parents.push(NONE);
            self.kept.push(true);
            set(&mut self.parents, current, dummy);
            set(&mut self.parents, *entry, dummy);
            *entry = dummy;
        }
    }
}

fn set(values: &mut [u32], index: u32, value: u32) {
    if let Some(slot) = values.get_mut(index as usize) {
        *slot = value;
    }
}

/// Returns all indices, parents before their children.
fn top_down(nodes: &[Node]) -> Vec<u32> {
    let parents: Vec<u32> = nodes.iter().map(|node| node.parent).collect();
    top_down_of(&parents)
}

fn top_down_of(parents: &[u32]) -> Vec<u32> {
    let children = super::forest::Children::new(parents);
    let roots = (0_u32..).zip(parents).filter(|(_, parent)| **parent == NONE);
    let mut order: Vec<u32> = roots.map(|(index, _)| index).collect();
    let mut next = 0;
    while let Some(index) = order.get(next).copied() {
        order.extend_from_slice(children.of(index));
        next += 1;
    }
    order
}
