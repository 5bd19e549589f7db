//! How strictly input is parsed, and which deviations were repaired.
//!
//! A repair is counted, never logged: the machine reports it in its events, and the application decides.

use core::cell::Cell;

/// How strictly the grammar is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// Exactly what the RFCs say. The default of a server.
    #[default]
    Strict,
    /// Also what deployed servers are known to send instead, each deviation noted as a [`Repair`]. The default of
    /// a client. Whatever the strict reading accepts reads the same here, without a repair.
    Tolerant,
}

macro_rules! repairs {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A deviation from the grammar that was understood all the same.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Repair {
            $($(#[$doc])* $name,)*
        }

        impl Repair {
            /// Every repair there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The repair's name in traces and in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        const COUNT: usize = Repair::ALL.len();
    };
}

repairs! {
    /// Spaces where none are allowed, or more than one.
    ExtraSpace = "extra-space",
    /// `NIL` or `()` where a string, a list, a number or an address is due.
    NilForValue = "nil-for-value",
    /// An atom where a string is due, or the reverse.
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
    /// A number above the greatest that the grammar allows, cut to that.
    NumberTooLarge = "number-too-large",
    /// A 0 where the grammar wants a non-zero number.
    ZeroNumber = "zero-number",
    /// A body structure whose fields are not those of its kind: childless multiparts, missing media types, misplaced
    /// extension data.
    BodyShape = "body-shape",
    /// An envelope with more or fewer than its ten fields.
    EnvelopeShape = "envelope-shape",
    /// An address list that is not a plain list of addresses, or an address with misplaced fields.
    AddressShape = "address-shape",
    /// A response code that does not follow its own grammar, kept as raw text.
    ResponseCode = "response-code",
    /// No text where a human-readable text is due.
    MissingText = "missing-text",
    /// A response code without the `* OK` before it.
    MissingStatus = "missing-status",
    /// A FETCH item or a piece of it that could not be read and was skipped.
    SkippedItem = "skipped-item",
    /// Bytes above 127 that are not UTF-8, or where only ASCII is allowed.
    EightBit = "eight-bit",
    /// A line end where none belongs: a lone LF, or a CRLF behind a literal.
    StrayLineEnd = "stray-line-end",
    /// A line that is neither `*` nor `+` nor a tagged status.
    StrayLine = "stray-line",
    /// NUL bytes, dropped.
    Nul = "nul",
    /// Characters that a flag, an attribute or a capability cannot have.
    FlagCharacter = "flag-character",
    /// A mailbox name with special characters that is not quoted.
    BareMailbox = "bare-mailbox",
    /// A hierarchy delimiter that is empty, or not one character.
    Delimiter = "delimiter",
    /// A date that does not exist or is not in the form the grammar wants.
    Date = "date",
    /// A tagged `BYE` or `PREAUTH`, which can only be untagged.
    TaggedBye = "tagged-bye",
    /// A FETCH list that was closed before its last item.
    EarlyClose = "early-close",
    /// Something behind the end of a response, skipped.
    TrailingData = "trailing-data",
}

/// The repairs made so far: how often each, and which since the last [`begin`](Self::begin).
///
/// Counters stop at their greatest value.
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
    /// No repairs.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: [const { Cell::new(0) }; COUNT], recent: Cell::new(0) }
    }

    /// Notes one repair.
    #[cold]
    pub fn note(&self, repair: Repair) {
        let index = repair as usize;
        self.recent.set(self.recent.get() | (1 << index));
        if let Some(count) = self.counts.get(index) {
            count.set(count.get().saturating_add(1));
        }
    }

    /// How often `repair` was made.
    #[must_use]
    pub fn count(&self, repair: Repair) -> u32 {
        self.counts.get(repair as usize).map_or(0, Cell::get)
    }

    /// How many repairs were made.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(count.get())).sum()
    }

    /// Begins a new message: [`recent`](Self::recent) is empty, the counters stay.
    pub fn begin(&self) {
        self.recent.set(0);
    }

    /// The kinds of repairs made since [`begin`](Self::begin).
    #[must_use]
    pub fn recent(&self) -> RepairSet {
        RepairSet(self.recent.get())
    }

    pub(crate) fn restore(&self, earlier: &Self) {
        self.recent.set(earlier.recent.get());
        for (count, old) in self.counts.iter().zip(&earlier.counts) {
            count.set(old.get());
        }
    }
}

/// Some kinds of repairs, without counts.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct RepairSet(u32);

impl RepairSet {
    /// Whether nothing was repaired.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `repair` is among them.
    #[must_use]
    pub const fn contains(self, repair: Repair) -> bool {
        self.0 & (1 << repair as u32) != 0
    }

    /// The repairs, in the order of [`Repair::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Repair> {
        Repair::ALL.iter().copied().filter(move |repair| self.contains(*repair))
    }

    /// Both together.
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
