//! The items of threads.

use crate::grammar::owned::{plain, plain_slice};

/// An item of [`Threads`](crate::types::Threads).
///
/// A list holds messages that follow each other, each the child of the one before it. Lists inside a list come last. They
/// are the branches: the first message of each is a child of the message before the branches. A list that begins with
/// lists is a thread whose first message is missing. `(3 6 (4 23)(44 7 96))` therefore means that 6 answers 3, 4 and
/// 44 answer 6, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadItem {
    /// `(`
    ListStart,
    /// The number of a message.
    Message(u32),
    /// `)`
    ListEnd,
}

plain!(ThreadItem);

plain_slice!(ThreadItem);
