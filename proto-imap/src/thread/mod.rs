//! `THREAD` and `UID THREAD`: the command and the response (RFC 5256 §3, §4).
//!
//! A response is a sequence of numbers and parentheses, and is read and written as one ([`ThreadItem`]). It is never
//! turned into a tree, so a thread of any size takes no memory here, and can arrive or leave in pieces.

pub(crate) mod encode;
pub(crate) mod item;
pub(crate) mod messages;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::owned::{owned_enum, owned_struct, view_enum};
use crate::grammar::string::IString;
use crate::search_key::SearchKey;
use crate::thread::item::ThreadItem;
use crate::thread::messages::{ThreadMessage, ThreadMessages};
use core::fmt;

/// `THREAD` and `UID THREAD`: a search whose results are in threads (RFC 5256 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadCommand<'i> {
    /// How the messages are put into threads.
    pub algorithm: ThreadAlgorithm<'i>,
    /// The charset of the texts in the keys.
    pub charset: IString<'i>,
    /// The search keys. A message must match all of them; at least one is required.
    pub keys: LazyList<'i, SearchKey<'i>>,
}

impl<'i> ThreadCommand<'i> {
    /// Creates a command for the threads of the messages that match all of these keys. The texts of the keys are UTF-8.
    #[must_use]
    pub const fn new(algorithm: ThreadAlgorithm<'i>, keys: &'i [SearchKey<'i>]) -> Self {
        Self { algorithm, charset: IString::new(b"UTF-8"), keys: LazyList::new(keys) }
    }
}

/// How messages are put into threads (RFC 5256 `thread-alg`). The capability is `THREAD=` and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadAlgorithm<'i> {
    /// `ORDEREDSUBJECT`: by base subject.
    OrderedSubject,
    /// `REFERENCES`: by the Message-IDs in References and In-Reply-To, then by base subject.
    References,
    /// `REFS`: like `REFERENCES`, without the subjects; threads are sorted by their newest message
    /// (draft-ietf-morg-inthread).
    Refs,
    /// Another algorithm.
    Other(IString<'i>),
}

impl<'i> ThreadAlgorithm<'i> {
    /// Returns the algorithm with this name. Case is ignored.
    #[must_use]
    pub fn from_name(name: IString<'i>) -> Self {
        let known = [Self::OrderedSubject, Self::References, Self::Refs];
        known.into_iter().find(|one| name.eq_ignore_ascii_case(one.name().raw())).unwrap_or(Self::Other(name))
    }

    /// Returns the name on the wire.
    #[must_use]
    pub const fn name(&self) -> IString<'i> {
        match self {
            Self::OrderedSubject => IString::new(b"ORDEREDSUBJECT"),
            Self::References => IString::new(b"REFERENCES"),
            Self::Refs => IString::new(b"REFS"),
            Self::Other(name) => *name,
        }
    }
}

/// `THREAD`: the messages found, in threads (RFC 5256 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadResponse<'i> {
    /// The threads, with sequence numbers or UIDs, depending on the command.
    pub threads: Threads<'i>,
}

/// Threads of messages, or a piece of them, as a sequence of [items](ThreadItem). It is parsed when it is iterated.
#[derive(Clone, Copy)]
pub struct Threads<'i>(Source<'i>);

#[derive(Clone, Copy)]
enum Source<'i> {
    /// Digits, parentheses and spaces, which the grammar has checked.
    Wire(&'i [u8]),
    Given(&'i [ThreadItem]),
}

impl<'i> Threads<'i> {
    /// No threads.
    pub const EMPTY: Threads<'static> = Threads(Source::Given(&[]));

    /// Creates threads from these items.
    #[must_use]
    pub const fn new(items: &'i [ThreadItem]) -> Self {
        Self(Source::Given(items))
    }

    pub(crate) const fn wire(text: &'i [u8]) -> Self {
        Self(Source::Wire(text))
    }

    /// Returns an iterator over the items.
    #[must_use]
    pub const fn items(&self) -> ThreadItems<'i> {
        ThreadItems(self.0)
    }

    /// Returns an iterator over the messages: each with its depth and the message that it answers. For threads that
    /// arrive in pieces, use [`ThreadMessages`], which continues from one piece to the next.
    pub fn messages(&self) -> impl Iterator<Item = ThreadMessage> + use<'i> {
        let mut messages = ThreadMessages::default();
        self.items().filter_map(move |item| messages.next(item))
    }

    /// Returns whether there are no threads.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items().next().is_none()
    }
}

impl PartialEq for Threads<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.items().eq(other.items())
    }
}

impl Eq for Threads<'_> {}

/// Shows the threads as on the wire.
impl fmt::Debug for Threads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = ThreadItem::ListStart;
        for item in self.items() {
            if matches!(before, ThreadItem::Message(_)) && item != ThreadItem::ListEnd {
                f.write_str(" ")?;
            }
            match item {
                ThreadItem::ListStart => f.write_str("(")?,
                ThreadItem::Message(number) => fmt::Display::fmt(&number, f)?,
                ThreadItem::ListEnd => f.write_str(")")?,
            }
            before = item;
        }
        Ok(())
    }
}

/// An iterator over the items of [`Threads`].
#[derive(Clone)]
pub struct ThreadItems<'i>(Source<'i>);

impl fmt::Debug for ThreadItems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Threads(self.0).fmt(f)
    }
}

impl Iterator for ThreadItems<'_> {
    type Item = ThreadItem;

    fn next(&mut self) -> Option<ThreadItem> {
        match &mut self.0 {
            Source::Given(items) => {
                let (first, rest) = items.split_first()?;
                *items = rest;
                Some(*first)
            }
            Source::Wire(rest) => {
                let (item, behind) = next_item(rest)?;
                *rest = behind;
                Some(item)
            }
        }
    }
}

/// Returns the first item of checked text, and the rest.
fn next_item(text: &[u8]) -> Option<(ThreadItem, &[u8])> {
    let mut rest = text;
    loop {
        let (first, behind) = rest.split_first()?;
        match first {
            b' ' => rest = behind,
            b'(' => return Some((ThreadItem::ListStart, behind)),
            b')' => return Some((ThreadItem::ListEnd, behind)),
            _ => {
                let number = crate::numbers::take_number(&mut rest)?;
                return Some((ThreadItem::Message(number), rest));
            }
        }
    }
}

view_enum!(Source { Wire(a), Given(a) });

owned_struct!(Threads { 0 });

owned_struct!(ThreadResponse { threads });

owned_struct!(ThreadCommand { algorithm, charset, keys });

owned_enum!(ThreadAlgorithm { OrderedSubject, References, Refs, Other(a) });
