//! Parses the arguments and the response of THREAD.

use crate::grammar::primitive::{atom, sp, spaces, taken};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::{Context, Parsed, expected};
use crate::numbers::parse::plain_nz_number;
use crate::sort::search_criteria;
use crate::thread::{ThreadAlgorithm, ThreadCommand, ThreadResponse, Threads};

/// `thread = "THREAD" SP thread-alg SP search-criteria`, after the word and the space
pub(crate) fn thread<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ThreadCommand<'i>> {
    let Ok((rest, name)) = atom(i) else { return expected(i, "a threading algorithm") };
    let (rest, (charset, keys)) = search_criteria(sp(rest, cx)?.0, cx)?;
    Ok((rest, ThreadCommand { algorithm: ThreadAlgorithm::from_name(IString::new(name)), charset, keys }))
}

/// `thread-data = "THREAD" [SP 1*thread-list]`, without the word
pub(crate) fn thread_response<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ThreadResponse<'i>> {
    let mut scan = ThreadScan::new(cx.thread_nesting());
    let Some((b' ', lists)) = i.split_first() else {
        return Ok((i, ThreadResponse { threads: Threads::EMPTY }));
    };
    let lists = spaces(lists, cx);
    let (rest, threads) = scan.threads(lists, cx)?;
    let is_line_end = matches!(rest.first(), None | Some(b'\r' | b'\n'));
    if threads.is_empty() && !(is_line_end && cx.repair(Repair::ExtraSpace)) {
        return expected(lists, "a thread");
    }
    if scan.is_between_threads() {
        Ok((rest, ThreadResponse { threads }))
    } else {
        expected(rest, "a closing parenthesis")
    }
}

/// Checks threads, which may come in pieces. It counts the open lists and does not store them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadScan {
    /// The open lists.
    depth: usize,
    limit: usize,
    before: Before,
}

/// What came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing, or a complete thread.
    Thread,
    /// `(`
    Open,
    /// A number.
    Number,
    /// A number and a space.
    Space,
    /// `)` of a list inside a list.
    Close,
}

/// The expected element in the error for lists that are nested too deeply.
const TOO_DEEP: &str = "fewer nested threads";

impl ThreadScan {
    /// Creates a scan that accepts this many open lists.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { depth: 0, limit, before: Before::Thread }
    }

    /// Returns whether no list is open.
    pub(crate) const fn is_between_threads(&self) -> bool {
        self.depth == 0
    }

    /// Parses as many items as there are, up to the first byte that is no part of a thread.
    ///
    /// Between two items a piece may end, but not inside a number. A list may hold a single list, although the grammar
    /// requires two. *Tolerant*: further or missing spaces; 0; an empty list.
    pub(crate) fn threads<'i>(&mut self, i: &'i [u8], cx: &Context) -> Parsed<'i, Threads<'i>> {
        let mut rest = i;
        while let Some((first, behind)) = rest.split_first() {
            match first {
                b'(' => {
                    if self.depth >= self.limit {
                        return expected(rest, TOO_DEEP);
                    }
                    if self.before == Before::Number && !cx.repair(Repair::MissingSpace) {
                        return expected(rest, "a space");
                    }
                    self.depth += 1;
                    (rest, self.before) = (behind, Before::Open);
                }
                b')' if self.depth > 0 => {
                    let repair = match self.before {
                        Before::Open => Some(Repair::NilForValue),
                        Before::Space => Some(Repair::ExtraSpace),
                        _ => None,
                    };
                    if repair.is_some_and(|repair| !cx.repair(repair)) {
                        return expected(rest, "a message number");
                    }
                    self.depth -= 1;
                    self.before = if self.depth == 0 { Before::Thread } else { Before::Close };
                    rest = behind;
                }
                b'0'..=b'9' if matches!(self.before, Before::Open | Before::Space) => {
                    (rest, _) = plain_nz_number(rest, cx)?;
                    self.before = Before::Number;
                }
                b' ' => {
                    if self.before == Before::Number {
                        self.before = Before::Space;
                    } else if !cx.repair(Repair::ExtraSpace) {
                        return expected(rest, "a thread");
                    }
                    rest = behind;
                }
                _ => break,
            }
        }
        Ok((rest, Threads::wire(taken(i, rest))))
    }
}
