//! The messages of threads, each with its depth and its parent.

use crate::thread::item::ThreadItem;
use alloc::vec::Vec;

/// A message of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThreadMessage {
    /// The message's number: a sequence number or a UID, depending on the command.
    pub number: u32,
    /// The depth in the thread: 0 for its first message. A missing first message counts, so that its answers have the
    /// depth 1.
    pub depth: u32,
    /// The message that this one answers; `None` if it is the first of its thread, or the one before it is missing.
    pub parent: Option<u32>,
}

/// Turns the items of threads into messages. Items may come in pieces: call [`next`](Self::next) for each.
///
/// Holds 12 bytes for each open list. The client's machine accepts at most [`Limits::thread_nesting`] of them.
///
/// ```
/// use proto_imap::types::{ThreadItem, ThreadMessages};
/// let mut messages = ThreadMessages::default();
/// let items = [ThreadItem::ListStart, ThreadItem::Message(3), ThreadItem::Message(6), ThreadItem::ListEnd];
/// let found: Vec<_> = items.into_iter().filter_map(|item| messages.next(item)).collect();
/// assert_eq!((found[1].number, found[1].depth, found[1].parent), (6, 1, Some(3)));
/// ```
///
/// [`Limits::thread_nesting`]: proto_mail::Limits::thread_nesting
#[derive(Debug, Clone, Default)]
pub struct ThreadMessages {
    /// The open lists, the innermost last.
    lists: Vec<OpenList>,
}

/// An open list.
#[derive(Debug, Clone, Copy)]
struct OpenList {
    /// The depth of the next message in this list.
    depth: u32,
    /// The message before it; 0 if there is none.
    parent: u32,
    /// Whether the list has no message and no other list yet.
    is_empty: bool,
}

impl OpenList {
    const THREAD: Self = Self { depth: 0, parent: 0, is_empty: true };
}

impl ThreadMessages {
    /// Takes the next item. Returns the message, if it is one.
    pub fn next(&mut self, item: ThreadItem) -> Option<ThreadMessage> {
        match item {
            ThreadItem::ListStart => {
                let list = match self.lists.last_mut() {
                    None => OpenList::THREAD,
                    Some(outer) => {
                        // Answers to a missing message are one level below it.
                        if core::mem::replace(&mut outer.is_empty, false) {
                            outer.depth = outer.depth.saturating_add(1);
                        }
                        OpenList { is_empty: true, ..*outer }
                    }
                };
                self.lists.push(list);
                None
            }
            ThreadItem::ListEnd => {
                self.lists.pop();
                None
            }
            ThreadItem::Message(number) => {
                let mut outside = OpenList::THREAD;
                let list = self.lists.last_mut().unwrap_or(&mut outside);
                let parent = Some(list.parent).filter(|parent| *parent > 0);
                let message = ThreadMessage { number, depth: list.depth, parent };
                *list = OpenList { depth: list.depth.saturating_add(1), parent: number, is_empty: false };
                Some(message)
            }
        }
    }

    /// Returns how many lists are open. Between two threads it is 0.
    #[must_use]
    pub const fn open_lists(&self) -> usize {
        self.lists.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::Threads;

    fn shape(text: &str) -> Vec<(u32, u32, Option<u32>)> {
        let threads = Threads::wire(text.as_bytes());
        threads.messages().map(|message| (message.number, message.depth, message.parent)).collect()
    }

    #[test]
    fn messages_have_the_depth_and_parent_of_the_rfc() {
        // RFC 5256 §4, the examples of THREAD.
        assert_eq!(
            shape("(2)(3 6 (4 23)(44 7 96))"),
            [
                (2, 0, None),
                (3, 0, None),
                (6, 1, Some(3)),
                (4, 2, Some(6)),
                (23, 3, Some(4)),
                (44, 2, Some(6)),
                (7, 3, Some(44)),
                (96, 4, Some(7)),
            ]
        );
        assert_eq!(shape("((3)(5 6))"), [(3, 1, None), (5, 1, None), (6, 2, Some(5))]);
        assert_eq!(shape("(((1)(2))(3))"), [(1, 2, None), (2, 2, None), (3, 1, None)]);
        assert_eq!(shape(""), []);
    }
}
