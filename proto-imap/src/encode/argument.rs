//! The pieces of commands: strings, mailboxes, sets, flags (RFC 9051 §9, RFC 7888).
//!
//! Unlike a server's responses, a command is refused as a whole where an argument cannot be written: nothing is left
//! out or replaced, and the error names the argument.

use alloc::vec::Vec;
use core::fmt;

use super::Sink;
use super::primitive as write;
use crate::frame::{LITERAL_MINUS, Sync};
use crate::parse::primitive::is_atom_char;
use crate::types::date::MONTHS;
use crate::types::mailbox::NameEncoding;
use crate::types::{
    Date, Flag, FlagList, IString, ListPattern, MailboxName, PartialRange, SequenceNumber, SequenceRange,
    SequenceSet,
};

/// Longer strings than this go as literals: many servers limit lines, none literals that small.
const LONGEST_QUOTED: usize = 1024;

/// Where a command goes. A server must ask for a synchronising literal before its octets are sent.
pub trait CommandSink: Sink {
    /// What was put so far can be sent; what follows waits until the server asks for it with `+`.
    fn pause(&mut self);
}

/// A command as octets, with the places where a client waits to be asked for the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandBuffer {
    /// The octets.
    pub bytes: Vec<u8>,
    /// Positions in `bytes`, rising: what stands behind one waits to be asked for.
    pub pauses: Vec<usize>,
}

impl Sink for CommandBuffer {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

impl CommandSink for CommandBuffer {
    fn pause(&mut self) {
        self.pauses.push(self.bytes.len());
    }
}

/// How a client sends literals (RFC 7888).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LiteralMode {
    /// It waits to be asked for each.
    #[default]
    Synchronising,
    /// `LITERAL-`: it waits to be asked for those of more than 4096 octets.
    Minus,
    /// `LITERAL+`: it never waits.
    Plus,
}

impl LiteralMode {
    /// Whether a literal of so many octets waits.
    #[must_use]
    pub const fn sync(self, size: u64) -> Sync {
        match self {
            Self::Plus => Sync::NonSynchronising,
            Self::Minus if size <= LITERAL_MINUS => Sync::NonSynchronising,
            Self::Minus | Self::Synchronising => Sync::Synchronising,
        }
    }
}

/// What a server has agreed to: how commands are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// How literals are sent.
    pub literals: LiteralMode,
    /// How mailbox names are written, and whether UTF-8 can stand in quotes.
    pub names: NameEncoding,
}

/// An argument that cannot be written. Nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidArgument {
    /// Which argument.
    pub argument: &'static str,
    /// What is wrong with it.
    pub fault: ArgumentFault,
}

/// What is wrong with an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArgumentFault {
    /// CR, LF, NUL, or in a mailbox name another control character.
    ForbiddenByte,
    /// It is empty, and there must be one at least.
    Empty,
    /// It is no atom, and nothing else can stand there.
    NotAnAtom,
    /// A number is too small or too great.
    OutOfRange,
    /// It is nested more deeply than 32 levels.
    TooDeep,
    /// It is not UTF-8, and no charset is given.
    NotUtf8,
    /// It does not fit to the other arguments.
    Contradiction,
    /// Only a server can say that.
    ServerOnly,
}

impl fmt::Display for ArgumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForbiddenByte => "has a control character that cannot be sent: remove it",
            Self::Empty => "is empty: give one at least",
            Self::NotAnAtom => {
                "has characters that cannot stand there: use ASCII without spaces and specials"
            }
            Self::OutOfRange => "is out of range",
            Self::TooDeep => "is nested too deeply: 32 levels are the limit",
            Self::NotUtf8 => "is not UTF-8: give its charset",
            Self::Contradiction => "does not fit to the other arguments",
            Self::ServerOnly => "can only be said by a server",
        })
    }
}

impl fmt::Display for InvalidArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} {}", self.argument, self.fault)
    }
}

impl core::error::Error for InvalidArgument {}

/// What every step of writing returns.
pub(super) type Written = Result<(), InvalidArgument>;

pub(super) const fn fault(argument: &'static str, fault: ArgumentFault) -> Written {
    Err(InvalidArgument { argument, fault })
}

/// Counts nothing, keeps nothing: finds what cannot be written.
pub(super) struct NullSink;

impl Sink for NullSink {
    fn put(&mut self, _: &[u8]) {}
}

impl CommandSink for NullSink {
    fn pause(&mut self) {}
}

/// Writes the pieces of a command.
pub(super) struct Writer<'s, S> {
    pub(super) out: &'s mut S,
    pub(super) options: Options,
    /// Octets above 127 were written in a string.
    pub(super) eight_bit: Option<EightBit>,
}

/// What strings with octets above 127 are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EightBit {
    Utf8,
    /// One of them at least is something else.
    Other,
}

impl<'s, S: CommandSink> Writer<'s, S> {
    pub(super) const fn new(out: &'s mut S, options: Options) -> Self {
        Self { out, options, eight_bit: None }
    }

    /// Writes what is known to be right.
    pub(super) fn put(&mut self, text: &[u8]) {
        self.out.put(text);
    }

    pub(super) fn number(&mut self, number: u64) {
        write::number(number, self.out);
    }

    /// A number of 63 bits.
    pub(super) fn number64(&mut self, argument: &'static str, number: u64) -> Written {
        if i64::try_from(number).is_err() {
            return fault(argument, ArgumentFault::OutOfRange);
        }
        self.number(number);
        Ok(())
    }

    /// A number of 63 bits that is not 0.
    pub(super) fn nz_number64(&mut self, argument: &'static str, number: u64) -> Written {
        if number == 0 { fault(argument, ArgumentFault::OutOfRange) } else { self.number64(argument, number) }
    }

    pub(super) fn atom(&mut self, argument: &'static str, atom: &[u8]) -> Written {
        if atom.is_empty() || !atom.iter().copied().all(is_atom_char) {
            return fault(argument, ArgumentFault::NotAnAtom);
        }
        self.put(atom);
        Ok(())
    }

    /// `string = quoted / literal`
    pub(super) fn string(&mut self, argument: &'static str, string: IString<'_>) -> Written {
        self.octets(argument, &string.as_bytes())
    }

    /// `astring`: bare if it is so plain that nobody can misread it.
    pub(super) fn astring(&mut self, argument: &'static str, string: IString<'_>) -> Written {
        let octets = string.as_bytes();
        if is_plain(&octets) {
            self.put(&octets);
            return Ok(());
        }
        self.octets(argument, &octets)
    }

    fn octets(&mut self, argument: &'static str, octets: &[u8]) -> Written {
        if octets.contains(&0) {
            return fault(argument, ArgumentFault::ForbiddenByte);
        }
        let mut quotable =
            octets.len() <= LONGEST_QUOTED && !octets.iter().any(|octet| matches!(octet, b'\r' | b'\n'));
        if !octets.is_ascii() {
            let is_utf8 = core::str::from_utf8(octets).is_ok();
            quotable &= is_utf8 && self.options.names == NameEncoding::Utf8;
            let earlier = self.eight_bit.unwrap_or(EightBit::Utf8);
            self.eight_bit = Some(if is_utf8 { earlier } else { EightBit::Other });
        }
        if quotable {
            self.quoted(octets);
        } else {
            self.literal_header(octets.len() as u64, self.options.literals.sync(octets.len() as u64));
            if self.options.literals.sync(octets.len() as u64) == Sync::Synchronising {
                self.out.pause();
            }
            self.put(octets);
        }
        Ok(())
    }

    fn quoted(&mut self, octets: &[u8]) {
        self.put(b"\"");
        let mut rest = octets;
        while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
            let (before, special) = rest.split_at(at);
            self.put(before);
            self.put(b"\\");
            let (special, behind) = special.split_at(1.min(special.len()));
            self.put(special);
            rest = behind;
        }
        self.put(rest);
        self.put(b"\"");
    }

    /// `"{" number64 ["+"] "}" CRLF`
    pub(super) fn literal_header(&mut self, size: u64, sync: Sync) {
        self.put(b"{");
        self.number(size);
        self.put(if sync == Sync::NonSynchronising { b"+}\r\n" } else { b"}\r\n" });
    }

    pub(super) fn mailbox(&mut self, mailbox: MailboxName<'_>) -> Written {
        if mailbox.is_inbox() {
            self.put(b"INBOX");
            return Ok(());
        }
        let octets = self.name_octets("mailbox name", mailbox)?;
        if is_plain(&octets) {
            self.put(&octets);
            return Ok(());
        }
        self.octets("mailbox name", &octets)
    }

    /// `list-mailbox`, always as a string.
    pub(super) fn pattern(&mut self, pattern: ListPattern<'_>) -> Written {
        let octets = self.name_octets("pattern", pattern.as_mailbox())?;
        self.octets("pattern", &octets)
    }

    fn name_octets<'i>(
        &self,
        argument: &'static str,
        name: MailboxName<'i>,
    ) -> Result<alloc::borrow::Cow<'i, [u8]>, InvalidArgument> {
        let refused = InvalidArgument { argument, fault: ArgumentFault::ForbiddenByte };
        if name.given().is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(refused);
        }
        let octets = name.to_bytes(self.options.names);
        if memchr::memchr3(b'\r', b'\n', 0, &octets).is_some() { Err(refused) } else { Ok(octets) }
    }

    /// `sequence-set`: ascending, no range overlapping another, since some servers read no other.
    pub(super) fn set(&mut self, set: SequenceSet<'_>) -> Written {
        if set.is_saved() {
            self.put(b"$");
            return Ok(());
        }
        let zero = |range: SequenceRange| [range.first, range.last].contains(&SequenceNumber::Number(0));
        if set.ranges().any(zero) {
            return fault("sequence set", ArgumentFault::OutOfRange);
        }
        let mut last = None;
        let rising = set.ranges().map(SequenceRange::ascending).all(|range| {
            let rises = last.is_none_or(|last| order(last) < order(range.first));
            last = Some(range.last);
            rises
        });
        match last {
            None => return fault("sequence set", ArgumentFault::Empty),
            Some(_) if rising => self.ranges(set.ranges()),
            Some(_) => self.ranges(sorted(set).into_iter()),
        }
        Ok(())
    }

    fn ranges(&mut self, ranges: impl Iterator<Item = SequenceRange>) {
        for (index, range) in ranges.map(SequenceRange::ascending).enumerate() {
            if index > 0 {
                self.put(b",");
            }
            self.end_of_range(range.first);
            if range.first != range.last {
                self.put(b":");
                self.end_of_range(range.last);
            }
        }
    }

    fn end_of_range(&mut self, end: SequenceNumber) {
        match end {
            SequenceNumber::Number(number) => self.number(u64::from(number)),
            SequenceNumber::Largest => self.put(b"*"),
        }
    }

    /// `flag-list`, of flags that a client can set.
    pub(super) fn flags(&mut self, flags: FlagList<'_>) -> Written {
        self.parenthesised(flags, |writer, flag| match flag {
            Flag::Recent | Flag::Any => fault("flag", ArgumentFault::ServerOnly),
            flag => {
                if flag.has_backslash() {
                    writer.put(b"\\");
                }
                writer.atom("flag", flag.name())
            }
        })
    }

    /// `date-text`
    pub(super) fn date(&mut self, date: Date) {
        let month = usize::from(date.month()).checked_sub(1).and_then(|month| MONTHS.get(month));
        self.number(u64::from(date.day()));
        self.put(b"-");
        self.put(month.map_or(b"Jan", |month| *month));
        self.put(b"-");
        let year = u64::from(date.year());
        for digit in [year / 1000, year / 100 % 10, year / 10 % 10, year % 10] {
            self.number(digit);
        }
    }

    /// `partial-range` (RFC 9394)
    pub(super) fn page(&mut self, page: PartialRange) -> Written {
        let (sign, range): (&[u8], _) = match page {
            PartialRange::FromFirst(range) => (b"", range),
            PartialRange::FromLast(range) => (b"-", range),
        };
        if range.first() == 0 {
            return fault("page", ArgumentFault::OutOfRange);
        }
        self.put(sign);
        self.number(u64::from(range.first()));
        self.put(b":");
        self.put(sign);
        self.number(u64::from(range.last()));
        Ok(())
    }

    /// `[item *(SP item)]`; returns how many there were.
    pub(super) fn separated<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        item: impl Fn(&mut Self, T) -> Written,
    ) -> Result<usize, InvalidArgument> {
        let mut count = 0;
        for one in items {
            if count > 0 {
                self.put(b" ");
            }
            item(self, one)?;
            count += 1;
        }
        Ok(count)
    }

    /// `"(" [item *(SP item)] ")"`
    pub(super) fn parenthesised<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        item: impl Fn(&mut Self, T) -> Written,
    ) -> Written {
        self.put(b"(");
        self.separated(items, item)?;
        self.put(b")");
        Ok(())
    }

    /// `"(" item *(SP item) ")"`
    pub(super) fn one_or_more<T>(
        &mut self,
        argument: &'static str,
        items: impl IntoIterator<Item = T>,
        item: impl Fn(&mut Self, T) -> Written,
    ) -> Written {
        self.put(b"(");
        if self.separated(items, item)? == 0 {
            return fault(argument, ArgumentFault::Empty);
        }
        self.put(b")");
        Ok(())
    }
}

/// Whether a string is an atom to everyone: letters, digits, and signs that nobody gives a meaning.
fn is_plain(octets: &[u8]) -> bool {
    let plain =
        |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_' | b'/' | b'@');
    !octets.is_empty()
        && octets.len() <= 128
        && octets.iter().all(plain)
        && !octets.eq_ignore_ascii_case(b"NIL")
}

/// A place in the order of numbers; `*` is behind all.
const fn order(number: SequenceNumber) -> u64 {
    match number {
        SequenceNumber::Number(number) => number as u64,
        SequenceNumber::Largest => u64::MAX,
    }
}

/// The ranges ascending, those that overlap made one.
fn sorted(set: SequenceSet<'_>) -> Vec<SequenceRange> {
    let mut ranges: Vec<_> = set.ranges().map(SequenceRange::ascending).collect();
    ranges.sort_unstable_by_key(|range| order(range.first));
    ranges.dedup_by(|next, kept| {
        let overlaps = order(next.first) <= order(kept.last);
        if overlaps && order(next.last) > order(kept.last) {
            kept.last = next.last;
        }
        overlaps
    });
    ranges
}
