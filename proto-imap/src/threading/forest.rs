//! Threads that are ready to be written.

use alloc::vec::Vec;
use core::borrow::Borrow;

use super::links::NONE;
use crate::types::ThreadItem;

/// Threads in the order of the response. Takes 12 bytes for each message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThreadForest {
    /// The number of each message; 0 for a missing one.
    numbers: Vec<u32>,
    roots: Vec<u32>,
    children: Children,
}

/// The children of each node, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Children {
    /// Where the children of each node begin; the last one is the end.
    begins: Vec<u32>,
    all: Vec<u32>,
}

impl Children {
    /// Sorts the nodes by their parents.
    pub(super) fn new(parents: &[u32]) -> Self {
        let mut begins = alloc::vec![0_u32; parents.len() + 1];
        for parent in parents {
            if let Some(count) = (*parent as usize).checked_add(1).and_then(|next| begins.get_mut(next)) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for begin in &mut begins {
            sum += *begin;
            *begin = sum;
        }
        let mut ends: Vec<u32> = begins.clone();
        let mut all = alloc::vec![NONE; sum as usize];
        for (index, parent) in (0_u32..).zip(parents) {
            let Some(at) = ends.get_mut(*parent as usize) else { continue };
            if let Some(slot) = all.get_mut(*at as usize) {
                *slot = index;
            }
            *at += 1;
        }
        Self { begins, all }
    }

    fn range(&self, index: u32) -> (u32, u32) {
        let at = |index: usize| self.begins.get(index).copied().unwrap_or(0);
        (at(index as usize), at((index as usize).saturating_add(1)))
    }

    pub(super) fn of(&self, index: u32) -> &[u32] {
        let (begin, end) = self.range(index);
        self.all.get(begin as usize..end as usize).unwrap_or_default()
    }

    fn sort_by<K: Ord>(&mut self, key: impl Fn(u32) -> K) {
        for pair in self.begins.windows(2) {
            if let [begin, end] = pair
                && let Some(siblings) = self.all.get_mut(*begin as usize..*end as usize)
            {
                siblings.sort_unstable_by_key(|index| key(*index));
            }
        }
    }
}

impl ThreadForest {
    /// Creates threads from the parents of all nodes. Threads are sorted by `root`, siblings by `sibling`.
    pub(super) fn new<R: Ord, S: Ord>(
        numbers: Vec<u32>,
        parents: &[u32],
        is_kept: impl Fn(u32) -> bool,
        root: impl Fn(u32) -> R,
        sibling: impl Fn(u32) -> S,
    ) -> Self {
        let mut children = Children::new(parents);
        children.sort_by(sibling);
        let first = (0_u32..).zip(parents).filter(|(index, parent)| **parent == NONE && is_kept(*index));
        let mut roots: Vec<u32> = first.map(|(index, _)| index).collect();
        roots.sort_by_key(|index| root(*index));
        Self { numbers, roots, children }
    }

    /// Returns the number of threads.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.roots.len()
    }

    /// Returns whether there are no threads.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Returns an iterator over the items of a THREAD response. Lists are nested at most `nesting` deep, because clients
    /// have limits: where a thread branches more often, the messages below the last branch follow each other in one list.
    /// 256 is the limit of this crate's client.
    #[must_use]
    pub const fn items(&self, nesting: usize) -> ForestItems<&Self> {
        ForestItems::new(self, nesting)
    }

    /// Like [`items`](Self::items), with an iterator that owns the threads: for a response that is written in several
    /// rounds of a loop.
    #[must_use]
    pub const fn into_items(self, nesting: usize) -> ForestItems<Self> {
        ForestItems::new(self, nesting)
    }

    /// Returns how many bytes of memory the threads take.
    #[must_use]
    pub const fn memory(&self) -> usize {
        let words = self.numbers.capacity()
            + self.roots.capacity()
            + self.children.begins.capacity()
            + self.children.all.capacity();
        words * size_of::<u32>()
    }
}

/// An iterator over the items of a [`ThreadForest`]. It allocates as many entries as lists are open.
#[derive(Debug, Clone)]
pub struct ForestItems<F> {
    forest: F,
    nesting: usize,
    next_root: usize,
    /// The siblings still to come, for each open list that has branches.
    levels: Vec<(u32, u32)>,
    /// The same below the last list that may be opened.
    flat: Vec<(u32, u32)>,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    NextRoot,
    /// The list of this node begins.
    Open(u32),
    /// The message of this node, if it is none that is missing.
    Message(u32),
    /// What comes below this node.
    Below(u32),
    /// The list of a node ends.
    Close,
    /// The next branch, or the end of the list around it.
    NextBranch,
    NextFlat,
}

impl<F: Borrow<ThreadForest>> Iterator for ForestItems<F> {
    type Item = ThreadItem;

    fn next(&mut self) -> Option<ThreadItem> {
        loop {
            match self.step {
                Step::NextRoot => {
                    let root = *self.forest.borrow().roots.get(self.next_root)?;
                    self.next_root += 1;
                    self.step = Step::Open(root);
                }
                Step::Open(node) => {
                    self.step = Step::Message(node);
                    return Some(ThreadItem::ListStart);
                }
                Step::Message(node) => {
                    self.step = Step::Below(node);
                    let number = self.forest.borrow().numbers.get(node as usize).copied().unwrap_or(0);
                    if number > 0 {
                        return Some(ThreadItem::Message(number));
                    }
                }
                Step::Below(node) => {
                    let (begin, end) = self.forest.borrow().children.range(node);
                    self.step = match end - begin {
                        _ if !self.flat.is_empty()
                            || (end - begin > 1 && self.levels.len() + 1 >= self.nesting) =>
                        {
                            self.flat.push((begin, end));
                            Step::NextFlat
                        }
                        0 => Step::Close,
                        1 => Step::Message(self.child(begin)),
                        _ => {
                            self.levels.push((begin, end));
                            Step::NextBranch
                        }
                    };
                }
                Step::Close => {
                    self.step = if self.levels.is_empty() { Step::NextRoot } else { Step::NextBranch };
                    return Some(ThreadItem::ListEnd);
                }
                Step::NextBranch => match self.levels.last_mut() {
                    Some((begin, end)) if *begin < *end => {
                        let at = *begin;
                        *begin += 1;
                        self.step = Step::Open(self.child(at));
                    }
                    _ => {
                        self.levels.pop();
                        self.step = Step::Close;
                    }
                },
                Step::NextFlat => match self.flat.last_mut() {
                    Some((begin, end)) if *begin < *end => {
                        let at = *begin;
                        *begin += 1;
                        self.step = Step::Message(self.child(at));
                    }
                    Some(_) => {
                        self.flat.pop();
                    }
                    None => self.step = Step::Close,
                },
            }
        }
    }
}

impl<F> ForestItems<F> {
    const fn new(forest: F, nesting: usize) -> Self {
        Self { forest, nesting, next_root: 0, levels: Vec::new(), flat: Vec::new(), step: Step::NextRoot }
    }
}

impl<F: Borrow<ThreadForest>> ForestItems<F> {
    fn child(&self, at: u32) -> u32 {
        self.forest.borrow().children.all.get(at as usize).copied().unwrap_or(NONE)
    }
}
