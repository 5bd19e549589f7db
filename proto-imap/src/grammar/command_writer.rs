//! The pieces of commands: strings, mailboxes, sets, flags (RFC 9051 §9, RFC 7888).
//!
//! Unlike a server's responses, a command is refused as a whole where an argument cannot be written: nothing is left
//! out or replaced, and the error names the argument.

use crate::frame::{LITERAL_MINUS, Sync};
use crate::grammar::characters::is_atom_char;
use crate::grammar::sink::Sink;
use crate::grammar::string::IString;
use alloc::vec::Vec;
use core::fmt;
use proto_mail::error::ErrorDetails;

/// How mailbox names are written in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameEncoding {
    /// Modified UTF-7 (RFC 3501 §5.1.3): until another one is agreed upon.
    #[default]
    ModifiedUtf7,
    /// UTF-8: after `ENABLE IMAP4rev2` (RFC 9051 §5.1) or `ENABLE UTF8=ACCEPT` (RFC 6855).
    Utf8,
}

/// Longer strings than this go as literals: many servers limit lines, none literals that small.
const LONGEST_QUOTED: usize = 1024;

/// Where a command goes. A server must ask for a synchronising literal before its bytes are sent.
pub trait CommandSink: Sink {
    /// What was put so far can be sent; what follows waits until the server asks for it with `+`.
    fn pause(&mut self);
}

/// A command as bytes, with the places where a client waits to be asked for the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandBuffer {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Positions in `bytes`, ascending: the bytes after a position wait for a continuation request.
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
    /// `LITERAL-`: it waits to be asked for those of more than 4096 bytes.
    Minus,
    /// `LITERAL+`: it never waits.
    Plus,
}

impl LiteralMode {
    /// Returns whether a literal of this size waits for a continuation request.
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
    /// The encoding of mailbox names, and whether a quoted string may contain UTF-8.
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
    /// It is no atom, and only an atom is allowed there.
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

impl ErrorDetails for InvalidArgument {}

/// What every step of writing returns.
pub(crate) type Written = Result<(), InvalidArgument>;

pub(crate) const fn fault(argument: &'static str, fault: ArgumentFault) -> Written {
    Err(InvalidArgument { argument, fault })
}

/// Counts nothing, keeps nothing: finds what cannot be written.
pub(crate) struct NullSink;

impl Sink for NullSink {
    fn put(&mut self, _: &[u8]) {}
}

impl CommandSink for NullSink {
    fn pause(&mut self) {}
}

/// Writes the pieces of a command.
pub(crate) struct Writer<'s, S> {
    pub(crate) out: &'s mut S,
    pub(crate) options: Options,
    /// Bytes above 127 were written in a string.
    pub(crate) eight_bit: Option<EightBit>,
}

/// What strings with bytes above 127 are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EightBit {
    Utf8,
    /// One of them at least is something else.
    Other,
}

impl<'s, S: CommandSink> Writer<'s, S> {
    pub(crate) const fn new(out: &'s mut S, options: Options) -> Self {
        Self { out, options, eight_bit: None }
    }

    /// Writes what is known to be right.
    pub(crate) fn put(&mut self, text: &[u8]) {
        self.out.put(text);
    }

    pub(crate) fn number(&mut self, number: u64) {
        crate::grammar::sink::number(number, self.out);
    }

    /// A number of 63 bits.
    pub(crate) fn number64(&mut self, argument: &'static str, number: u64) -> Written {
        if i64::try_from(number).is_err() {
            return fault(argument, ArgumentFault::OutOfRange);
        }
        self.number(number);
        Ok(())
    }

    /// A number of 63 bits that is not 0.
    pub(crate) fn nz_number64(&mut self, argument: &'static str, number: u64) -> Written {
        if number == 0 { fault(argument, ArgumentFault::OutOfRange) } else { self.number64(argument, number) }
    }

    pub(crate) fn atom(&mut self, argument: &'static str, atom: &[u8]) -> Written {
        if atom.is_empty() || !atom.iter().copied().all(is_atom_char) {
            return fault(argument, ArgumentFault::NotAnAtom);
        }
        self.put(atom);
        Ok(())
    }

    /// `string = quoted / literal`
    pub(crate) fn string(&mut self, argument: &'static str, string: IString<'_>) -> Written {
        self.bytes(argument, &string.as_bytes())
    }

    /// Writes an `astring`: bare if every server reads it as an atom.
    pub(crate) fn astring(&mut self, argument: &'static str, string: IString<'_>) -> Written {
        let bytes = string.as_bytes();
        if is_plain(&bytes) {
            self.put(&bytes);
            return Ok(());
        }
        self.bytes(argument, &bytes)
    }

    pub(crate) fn bytes(&mut self, argument: &'static str, bytes: &[u8]) -> Written {
        if bytes.contains(&0) {
            return fault(argument, ArgumentFault::ForbiddenByte);
        }
        let mut quotable =
            bytes.len() <= LONGEST_QUOTED && !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
        if !bytes.is_ascii() {
            let is_utf8 = core::str::from_utf8(bytes).is_ok();
            quotable &= is_utf8 && self.options.names == NameEncoding::Utf8;
            let earlier = self.eight_bit.unwrap_or(EightBit::Utf8);
            self.eight_bit = Some(if is_utf8 { earlier } else { EightBit::Other });
        }
        if quotable {
            self.quoted(bytes);
        } else {
            self.literal_header(bytes.len() as u64, self.options.literals.sync(bytes.len() as u64));
            if self.options.literals.sync(bytes.len() as u64) == Sync::Synchronising {
                self.out.pause();
            }
            self.put(bytes);
        }
        Ok(())
    }

    pub(crate) fn quoted(&mut self, bytes: &[u8]) {
        self.put(b"\"");
        let mut rest = bytes;
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
    pub(crate) fn literal_header(&mut self, size: u64, sync: Sync) {
        self.put(b"{");
        self.number(size);
        self.put(if sync == Sync::NonSynchronising { b"+}\r\n" } else { b"}\r\n" });
    }

    /// `[item *(SP item)]`; returns how many there were.
    pub(crate) fn separated<T>(
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
    pub(crate) fn parenthesised<T>(
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
    pub(crate) fn one_or_more<T>(
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

/// Whether every server reads the string as an atom: letters, digits, and signs without a meaning.
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'@');
    !bytes.is_empty() && bytes.len() <= 128 && bytes.iter().all(plain) && !bytes.eq_ignore_ascii_case(b"NIL")
}
