//! Writes the arguments and the response of THREAD.

use crate::grammar::command_writer::{CommandSink, Writer, Written};
use crate::grammar::sink::{Sink, number};
use crate::thread::item::ThreadItem;
use crate::thread::{ThreadCommand, ThreadResponse};

/// `[SP 1*thread-list]`. Nothing is written if the items are not complete lists.
pub(crate) fn thread_response(threads: &ThreadResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    let mut order = ThreadOrder::default();
    if !threads.threads.items().all(|item| order.accept(item)) || !order.is_between_threads() {
        return;
    }
    let mut order = ThreadOrder::default();
    for item in threads.threads.items() {
        order.write(item, out);
    }
}

/// The order of the items of a response, which may be written in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ThreadOrder {
    /// The open lists.
    depth: u32,
    before: Before,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Before {
    /// The word `THREAD`.
    #[default]
    Word,
    /// A complete thread.
    Thread,
    Open,
    Number,
    Close,
}

impl ThreadOrder {
    /// Returns whether no list is open.
    pub(crate) const fn is_between_threads(&self) -> bool {
        self.depth == 0
    }

    /// Takes the next item. Returns false if the grammar does not allow it there.
    pub(crate) const fn accept(&mut self, item: ThreadItem) -> bool {
        match (item, self.before) {
            (ThreadItem::ListStart, _) if self.depth < u32::MAX => {
                self.depth += 1;
                self.before = Before::Open;
            }
            (ThreadItem::Message(1..), Before::Open | Before::Number) => self.before = Before::Number,
            (ThreadItem::ListEnd, Before::Number | Before::Close) if self.depth > 0 => {
                self.depth -= 1;
                self.before = if self.depth == 0 { Before::Thread } else { Before::Close };
            }
            _ => return false,
        }
        true
    }

    /// Writes the next item, which the grammar allows there, and takes it.
    pub(crate) fn write(&mut self, item: ThreadItem, out: &mut (impl Sink + ?Sized)) {
        let before = self.before;
        self.accept(item);
        match item {
            ThreadItem::ListStart => {
                out.put(if matches!(before, Before::Word | Before::Number) {
                    b" ("
                } else {
                    b"(".as_slice()
                });
            }
            ThreadItem::Message(value) => {
                if before == Before::Number {
                    out.put(b" ");
                }
                number(value.into(), out);
            }
            ThreadItem::ListEnd => out.put(b")"),
        }
    }
}

impl<S: CommandSink> Writer<'_, S> {
    /// `thread-alg SP search-criteria`, after the word and the space
    pub(crate) fn thread(&mut self, thread: &ThreadCommand<'_>) -> Written {
        self.atom("threading algorithm", thread.algorithm.name().raw())?;
        self.put(b" ");
        self.search_criteria((thread.charset, thread.keys))
    }
}
