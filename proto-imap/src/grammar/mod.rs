//! The basic elements that every part of the grammar parses and writes with. This module knows no commands or
//! responses.
//!
//! A message is framed first and parsed once: every function works on the contiguous bytes of one complete message,
//! with its literals embedded. Nothing is copied: values borrow from the input. The [`Context`] holds how tolerant
//! the parser is, and the repairs it has made.

pub(crate) mod characters;
pub(crate) mod command_writer;
pub(crate) mod delimiter;
pub(crate) mod encoded;
pub(crate) mod lazy_list;
pub(crate) mod number;
pub(crate) mod owned;
pub(crate) mod primitive;
pub(crate) mod repair;
pub(crate) mod sink;
pub(crate) mod string;
pub(crate) mod unparsed;
pub(crate) mod value;
pub(crate) mod words;

use crate::grammar::repair::{Repair, Repairs, Strictness};
use core::cell::Cell;
use nom::IResult;
use nom::error::{ErrorKind, ParseError};

/// The maximum nesting depth of parentheses, body parts and attached messages.
pub(crate) const MAX_DEPTH: u8 = 32;

/// How strictly the grammar is applied, and the repairs made so far.
#[derive(Debug, Clone)]
pub struct Context {
    reading: Strictness,
    /// Set for the second attempt at a message: a backslash before the apparent end of a quoted string escapes
    /// nothing.
    salvage: Cell<bool>,
    /// Set for parsing a view again that needed no repair.
    is_flawless: bool,
    /// How deep the lists of a THREAD response may nest.
    thread_nesting: usize,
    /// The repairs made so far.
    pub repairs: Repairs,
}

impl Default for Context {
    fn default() -> Self {
        Self::new(Strictness::default())
    }
}

impl Context {
    /// Creates a context without repairs.
    #[must_use]
    pub const fn new(reading: Strictness) -> Self {
        Self {
            reading,
            salvage: Cell::new(false),
            is_flawless: false,
            thread_nesting: proto_mail::Limits::DEFAULT_THREAD_NESTING,
            repairs: Repairs::new(),
        }
    }

    /// Sets how deep the lists of a THREAD response may nest. The default is that of
    /// [`Limits::thread_nesting`](proto_mail::Limits::thread_nesting).
    #[must_use]
    pub const fn with_thread_nesting(mut self, lists: usize) -> Self {
        self.thread_nesting = lists;
        self
    }

    pub(crate) const fn thread_nesting(&self) -> usize {
        self.thread_nesting
    }

    /// Creates a context that accepts exactly the grammar of the RFCs.
    #[must_use]
    pub const fn strict() -> Self {
        Self::new(Strictness::Strict)
    }

    /// Creates a context that also accepts the deviations of deployed servers.
    #[must_use]
    pub const fn tolerant() -> Self {
        Self::new(Strictness::Tolerant)
    }

    /// Returns how strictly the grammar is applied.
    #[must_use]
    pub const fn reading(&self) -> Strictness {
        self.reading
    }

    pub(crate) const fn is_tolerant(&self) -> bool {
        matches!(self.reading, Strictness::Tolerant)
    }

    /// Records a repair and allows it; returns false in strict parsing.
    pub(crate) fn repair(&self, repair: Repair) -> bool {
        if self.is_tolerant() {
            self.repairs.note(repair);
            true
        } else {
            false
        }
    }

    pub(crate) fn is_salvaging(&self) -> bool {
        self.salvage.get()
    }

    /// Creates a context for parsing a view again. Its repairs were already counted.
    pub(crate) const fn again(attempt: Attempt) -> Self {
        Self {
            salvage: Cell::new(matches!(attempt, Attempt::Second)),
            is_flawless: matches!(attempt, Attempt::Flawless),
            ..Self::new(Strictness::Tolerant)
        }
    }

    pub(crate) fn attempt(&self) -> Attempt {
        match (self.salvage.get(), self.is_flawless) {
            (true, _) => Attempt::Second,
            (false, true) => Attempt::Flawless,
            (false, false) => Attempt::First,
        }
    }

    /// Returns whether this parses a view again that needed no repair. Then a list in it can be skipped without
    /// parsing its elements, because parentheses and strings alone tell where it ends.
    pub(crate) const fn is_flawless(&self) -> bool {
        self.is_flawless
    }

    /// Runs `parse`. If it fails and the context is tolerant, runs it once more with the rules of the second attempt.
    /// Discards the repairs of a failed attempt.
    pub(crate) fn attempts<T, E>(&self, mut parse: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        if !self.is_tolerant() || self.is_salvaging() {
            return parse();
        }
        let before = self.repairs.clone();
        let first = parse();
        if first.is_ok() {
            return first;
        }
        let after = self.repairs.clone();
        self.repairs.restore(&before);
        self.salvage.set(true);
        let second = parse();
        self.salvage.set(false);
        if second.is_ok() {
            return second;
        }
        self.repairs.restore(&after);
        first
    }
}

/// The attempt of the tolerant parser in which a view was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Attempt {
    #[default]
    First,
    Second,
    /// The first attempt, which needed no repair.
    Flawless,
}

/// The element that the grammar expected, and its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected<'i> {
    /// The bytes that were not parsed: the rest of the message, from the position of the error.
    pub rest: &'i [u8],
    /// The element of the grammar that was expected.
    pub what: &'static str,
}

impl<'i> Expected<'i> {
    /// Returns the offset of the error in `message`, in bytes.
    #[must_use]
    pub(crate) const fn offset_in(&self, message: &[u8]) -> usize {
        message.len().saturating_sub(self.rest.len())
    }
}

impl<'i> ParseError<&'i [u8]> for Expected<'i> {
    fn from_error_kind(rest: &'i [u8], _: ErrorKind) -> Self {
        Expected { rest, what: "another element" }
    }

    fn append(_: &'i [u8], _: ErrorKind, other: Self) -> Self {
        other
    }

    fn or(self, other: Self) -> Self {
        // Of two alternatives, the one that parsed more bytes gives the more useful error.
        if self.rest.len() < other.rest.len() { self } else { other }
    }
}

/// The result of a grammar function: the rest of the input and the value, or the expected element.
pub(crate) type Parsed<'i, T> = IResult<&'i [u8], T, Expected<'i>>;

/// Fails because `what` was expected here.
pub(crate) const fn expected<'i, T>(rest: &'i [u8], what: &'static str) -> Parsed<'i, T> {
    Err(nom::Err::Error(Expected { rest, what }))
}

/// Returns the [`Expected`] of a failed parse.
pub(crate) fn into_expected<'i>(error: nom::Err<Expected<'i>>) -> Expected<'i> {
    match error {
        nom::Err::Error(expected) | nom::Err::Failure(expected) => expected,
        // No parser works on partial input.
        nom::Err::Incomplete(_) => Expected { rest: b"", what: "more input" },
    }
}
