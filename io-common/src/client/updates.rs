//! Changes of the mailbox that arrive during other commands.

use std::collections::VecDeque;

use proto_imap::types::{Owned, Untagged};

/// The most changes that are kept.
const LIMIT: usize = 1024;

/// Changes of the mailbox that the server has reported during other commands, oldest first.
#[derive(Debug, Default)]
pub struct Updates {
    kept: VecDeque<Owned<Untagged<'static>>>,
    has_lost: bool,
}

impl Updates {
    pub(crate) fn add(&mut self, data: &Untagged<'_>) {
        if self.kept.len() < LIMIT {
            self.kept.push_back(data.into_owned());
        } else {
            self.has_lost = true;
        }
    }

    /// Returns false if there were more than could be kept: synchronise the mailbox then.
    #[must_use]
    pub const fn are_complete(&self) -> bool {
        !self.has_lost
    }
}

impl Iterator for Updates {
    type Item = Owned<Untagged<'static>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.kept.pop_front()
    }
}
