//! Messages and the links between them: which message answers which (RFC 5256 §3, REFERENCES, step 1).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// The index of a message that does not exist.
pub(super) const NONE: u32 = u32::MAX;

/// A message, or a dummy for one that others refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// The message's number; 0 for a dummy.
    pub(super) number: u32,
    /// The index of the message that this one answers.
    pub(super) parent: u32,
    /// The sent date, in seconds since 1970.
    pub(super) date: i64,
    /// The index of the base subject; [`NONE`] if it is empty.
    pub(super) subject: u32,
    /// Whether the subject says that it is a reply or a forward.
    pub(super) is_reply: bool,
    pub(super) has_children: bool,
}

impl Node {
    pub(super) const DUMMY: Self =
        Self { number: 0, parent: NONE, date: 0, subject: NONE, is_reply: false, has_children: false };

    pub(super) const fn is_dummy(&self) -> bool {
        self.number == 0
    }
}

/// All messages.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) nodes: Vec<Node>,
    by_id: BTreeMap<String, u32>,
    /// The length of all identifiers.
    id_bytes: usize,
    /// How many steps were taken to look for loops.
    steps: usize,
}

impl Links {
    /// The steps that may be taken to look for loops, for each message. Only links between messages that both have
    /// relatives already take some, so that messages in their order take none.
    const STEPS: usize = 64;

    pub(super) fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    fn node_mut(&mut self, index: u32) -> Option<&mut Node> {
        self.nodes.get_mut(index as usize)
    }

    /// Adds a node. The caller limits how many there are.
    pub(super) fn push(&mut self, node: Node) -> u32 {
        let index = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(node);
        index
    }

    fn insert_id(&mut self, id: String, index: u32) {
        self.id_bytes += id.len();
        self.by_id.insert(id, index);
    }

    /// Returns the nodes, and the identifiers by which they were found.
    pub(super) fn into_parts(self) -> (Vec<Node>, BTreeMap<String, u32>) {
        (self.nodes, self.by_id)
    }

    /// Returns the number of identifiers.
    pub(super) fn identifiers(&self) -> usize {
        self.by_id.len()
    }

    /// Returns the length of all identifiers.
    pub(super) const fn identifier_bytes(&self) -> usize {
        self.id_bytes
    }

    /// Returns the message with this identifier, or a new dummy.
    pub(super) fn referred(&mut self, id: String) -> u32 {
        if let Some(index) = self.by_id.get(&id) {
            return *index;
        }
        let index = self.push(Node::DUMMY);
        self.insert_id(id, index);
        index
    }

    /// Adds a message: fills the dummy with its identifier, unless there is none or another message has it already.
    pub(super) fn message(&mut self, id: Option<String>, node: Node) -> u32 {
        let Some(id) = id else { return self.push(node) };
        if let Some(index) = self.by_id.get(&id).copied() {
            return match self.node_mut(index) {
                Some(dummy) if dummy.is_dummy() => {
                    *dummy = Node { parent: dummy.parent, has_children: dummy.has_children, ..node };
                    index
                }
                _ => self.push(node),
            };
        }
        let index = self.push(node);
        self.insert_id(id, index);
        index
    }

    /// Makes `parent` the parent of `child`, unless it has one, or that would be a loop (step 1.A).
    pub(super) fn link(&mut self, parent: u32, child: u32) {
        if self.node(child).is_some_and(|child| child.parent == NONE) && !self.is_below(parent, child) {
            self.set_parent(parent, child);
        }
    }

    /// Makes `parent` the only parent of `child`, unless that would be a loop (step 1.B).
    pub(super) fn relink(&mut self, parent: u32, child: u32) {
        if let Some(child) = self.node_mut(child) {
            child.parent = NONE;
        }
        if parent != NONE && !self.is_below(parent, child) {
            self.set_parent(parent, child);
        }
    }

    fn set_parent(&mut self, parent: u32, child: u32) {
        if let Some(child) = self.node_mut(child) {
            child.parent = parent;
        }
        if let Some(parent) = self.node_mut(parent) {
            parent.has_children = true;
        }
    }

    /// Returns whether `node` is `above` or below it. Also returns true when too many steps were taken: the link is then
    /// not made.
    fn is_below(&mut self, node: u32, above: u32) -> bool {
        if node == above {
            return true;
        }
        if self.node(above).is_some_and(|above| !above.has_children) {
            return false;
        }
        let limit = self.nodes.len().saturating_mul(Self::STEPS).saturating_add(1_000_000);
        let mut at = node;
        while let Some(next) = self.node(at).map(|node| node.parent).filter(|parent| *parent != NONE) {
            self.steps += 1;
            if next == above || self.steps > limit {
                return true;
            }
            at = next;
        }
        false
    }
}
