//! The floor of the grammar: what every topic parses and writes with. Nothing here knows a command or a response.
//!
//! A message is framed first and parsed once: every function works on the contiguous bytes of one complete message, with
//! its literals embedded. Nothing is copied: what comes out borrows what went in. How tolerant the grammar is, and which
//! repairs it made, is in the [`Context`].

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

/// How deeply parentheses, body parts and attached messages may be nested.
pub(crate) const MAX_DEPTH: u8 = 32;

/// How strictly the grammar is applied, and the repairs made so far.
#[derive(Debug, Clone, Default)]
pub struct Context {
    reading: Strictness,
    /// Second attempt at a message: a backslash before what looks like the end of a quoted string escapes nothing.
    salvage: Cell<bool>,
    /// The repairs made.
    pub repairs: Repairs,
}

impl Context {
    /// A context with no repairs made.
    #[must_use]
    pub const fn new(reading: Strictness) -> Self {
        Self { reading, salvage: Cell::new(false), repairs: Repairs::new() }
    }

    /// Exactly the RFCs.
    #[must_use]
    pub const fn strict() -> Self {
        Self::new(Strictness::Strict)
    }

    /// What deployed servers send.
    #[must_use]
    pub const fn tolerant() -> Self {
        Self::new(Strictness::Tolerant)
    }

    /// How strictly it is read.
    #[must_use]
    pub const fn reading(&self) -> Strictness {
        self.reading
    }

    pub(crate) const fn is_tolerant(&self) -> bool {
        matches!(self.reading, Strictness::Tolerant)
    }

    /// Notes a repair and allows it, if repairs are made at all.
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

    /// For walking a view again that was read once: the repairs it needed were counted then.
    pub(crate) const fn again(attempt: Attempt) -> Self {
        Self {
            reading: Strictness::Tolerant,
            salvage: Cell::new(matches!(attempt, Attempt::Second)),
            repairs: Repairs::new(),
        }
    }

    pub(crate) fn attempt(&self) -> Attempt {
        if self.salvage.get() { Attempt::Second } else { Attempt::First }
    }

    /// Runs `parse`; in the tolerant reading, if it fails, once more with the rules of the second attempt. The
    /// repairs of an attempt that failed are forgotten.
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

/// In which of the tolerant reading's two attempts a view was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Attempt {
    #[default]
    First,
    Second,
}

/// What the grammar expected, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected<'i> {
    /// What was not read: the rest of the message from the place where it went wrong.
    pub rest: &'i [u8],
    /// The element of the grammar that was due.
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
        // Of two alternatives the one that came further tells more.
        if self.rest.len() < other.rest.len() { self } else { other }
    }
}

/// What a grammar function returns: the rest of the input and the value, or what it expected.
pub(crate) type Parsed<'i, T> = IResult<&'i [u8], T, Expected<'i>>;

/// Fails with: `what` was due here.
pub(crate) const fn expected<'i, T>(rest: &'i [u8], what: &'static str) -> Parsed<'i, T> {
    Err(nom::Err::Error(Expected { rest, what }))
}

/// Returns the [`Expected`] of a failed parse.
pub(crate) fn into_expected<'i>(error: nom::Err<Expected<'i>>) -> Expected<'i> {
    match error {
        nom::Err::Error(expected) | nom::Err::Failure(expected) => expected,
        // Nothing here works on partial input.
        nom::Err::Incomplete(_) => Expected { rest: b"", what: "more input" },
    }
}
