//! How strictly input is parsed, and which deviations were repaired.
//!
//! A repair is counted and not logged: the machine reports it, and the application decides what to do.

use core::cell::Cell;

/// How strictly the grammar is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// Accepts exactly the grammar of the RFCs. A server always uses it.
    #[default]
    Strict,
    /// Also accepts the known deviations of deployed servers, and records each one as a [`Repair`]. The default of a
    /// client. Input that the strict parser accepts gives the same result, without a repair.
    Tolerant,
}

macro_rules! repairs {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A deviation from the grammar that the parser understood nevertheless.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Repair {
            $($(#[$doc])* $name,)*
        }

        impl Repair {
            /// All repairs.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the repair's name in traces and in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        const COUNT: usize = Repair::ALL.len();
    };
}

repairs! {
    /// Spaces in a place that allows none, or more than one.
    ExtraSpace = "extra-space",
    /// A missing space between a message and its answers in a thread.
    MissingSpace = "missing-space",
    /// `NIL` or `()` instead of a string, a list, a number or an address.
    NilForValue = "nil-for-value",
    /// An atom instead of a string, or the reverse.
    StringForm = "string-form",
    /// A double quote inside a quoted string that is not escaped.
    BareQuote = "bare-quote",
    /// A backslash before the closing quote that escapes nothing.
    LoneBackslash = "lone-backslash",
    /// A literal that is longer than its announced size.
    LiteralSize = "literal-size",
    /// A negative number, read as 0.
    NegativeNumber = "negative-number",
    /// A number in exponent form.
    ExponentNumber = "exponent-number",
    /// A number greater than the grammar allows, clamped to the maximum.
    NumberTooLarge = "number-too-large",
    /// A 0 instead of a non-zero number.
    ZeroNumber = "zero-number",
    /// A body structure with the wrong fields for its kind: a childless multipart, a missing media type, or misplaced
    /// extension data.
    BodyShape = "body-shape",
    /// An envelope that does not have exactly ten fields.
    EnvelopeShape = "envelope-shape",
    /// An address list that is not a plain list of addresses, or an address with misplaced fields.
    AddressShape = "address-shape",
    /// A response code that does not follow its grammar, kept as raw text.
    ResponseCode = "response-code",
    /// A missing human-readable text.
    MissingText = "missing-text",
    /// A response code without the `* OK` before it.
    MissingStatus = "missing-status",
    /// A FETCH item, or a part of one, that could not be parsed and was skipped.
    SkippedItem = "skipped-item",
    /// Bytes above 127 that are not UTF-8, or in a place that allows only ASCII.
    EightBit = "eight-bit",
    /// A misplaced line end: a lone LF, or a CRLF after a literal.
    StrayLineEnd = "stray-line-end",
    /// A line that is neither `*` nor `+` nor a tagged status.
    StrayLine = "stray-line",
    /// NUL bytes, which were dropped.
    Nul = "nul",
    /// Characters that a flag, an attribute or a capability cannot have.
    FlagCharacter = "flag-character",
    /// A mailbox name with special characters that is not quoted.
    BareMailbox = "bare-mailbox",
    /// A hierarchy delimiter that is empty, or not one character.
    Delimiter = "delimiter",
    /// A date that does not exist or does not follow the grammar.
    Date = "date",
    /// A tagged `BYE` or `PREAUTH`, which is valid only as an untagged response.
    TaggedBye = "tagged-bye",
    /// A FETCH list that was closed before its last item.
    EarlyClose = "early-close",
    /// Data after the end of a response, which were skipped.
    TrailingData = "trailing-data",
}

/// The repairs made so far: the count of each, and those made since the last [`begin`](Self::begin).
///
/// Counters saturate at their maximum.
#[derive(Debug, Clone)]
pub struct Repairs {
    counts: [Cell<u32>; COUNT],
    recent: Cell<u32>,
}

const _: () = assert!(COUNT <= 32, "the set of recent repairs has 32 places");

impl Default for Repairs {
    fn default() -> Self {
        Self::new()
    }
}

impl Repairs {
    /// Creates an empty record of repairs.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [const { Cell::new(0) }; COUNT], recent: Cell::new(0) }
    }

    /// Records one repair.
    #[cold]
    pub fn note(&self, repair: Repair) {
        let index = repair as usize;
        self.recent.set(self.recent.get() | (1 << index));
        if let Some(count) = self.counts.get(index) {
            count.set(count.get().saturating_add(1));
        }
    }

    /// Returns how often `repair` was made.
    #[must_use]
    pub fn count(&self, repair: Repair) -> u32 {
        self.counts.get(repair as usize).map_or(0, Cell::get)
    }

    /// Returns how many repairs were made.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(count.get())).sum()
    }

    /// Starts a new message: [`recent`](Self::recent) becomes empty, the counters stay.
    pub fn begin(&self) {
        self.recent.set(0);
    }

    /// Returns the kinds of repairs made since [`begin`](Self::begin).
    #[must_use]
    pub fn recent(&self) -> RepairSet {
        RepairSet(self.recent.get())
    }

    /// Runs `parse`, and returns its result and the kinds of repairs that it has made.
    pub(crate) fn made_by<T>(&self, parse: impl FnOnce() -> T) -> (T, RepairSet) {
        let earlier = self.recent.replace(0);
        let result = parse();
        let made = self.recent.get();
        self.recent.set(earlier | made);
        (result, RepairSet(made))
    }

    pub(crate) fn restore(&self, earlier: &Self) {
        self.recent.set(earlier.recent.get());
        for (count, old) in self.counts.iter().zip(&earlier.counts) {
            count.set(old.get());
        }
    }
}

/// A set of repairs, without counts.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct RepairSet(u32);

impl RepairSet {
    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether `repair` is in the set.
    #[must_use]
    pub const fn contains(self, repair: Repair) -> bool {
        self.0 & (1 << repair as u32) != 0
    }

    /// Returns the repairs, in the order of [`Repair::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Repair> {
        Repair::ALL.iter().copied().filter(move |repair| self.contains(*repair))
    }

    /// Returns the union of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl core::fmt::Debug for RepairSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.iter().map(Repair::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_recent() {
        let repairs = Repairs::new();
        repairs.note(Repair::ExtraSpace);
        repairs.note(Repair::ExtraSpace);
        repairs.begin();
        repairs.note(Repair::TrailingData);
        assert_eq!(repairs.count(Repair::ExtraSpace), 2);
        assert_eq!(repairs.total(), 3);
        assert!(repairs.recent().contains(Repair::TrailingData));
        assert!(!repairs.recent().contains(Repair::ExtraSpace));
        assert_eq!(repairs.recent().iter().collect::<alloc::vec::Vec<_>>(), [Repair::TrailingData]);
    }

    #[test]
    fn names_are_unique() {
        let mut names: alloc::vec::Vec<_> = Repair::ALL.iter().map(|repair| repair.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COUNT);
    }
}
