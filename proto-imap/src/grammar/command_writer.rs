//! Writes the parts of commands: strings, mailboxes, sets, flags (RFC 9051 §9, RFC 7888).
//!
//! Unlike a server's response, a command is rejected as a whole if an argument cannot be written. No part is left out
//! or replaced, and the error names the argument.

use crate::frame::{LITERAL_MINUS, Sync};
use crate::grammar::characters::is_atom_char;
use crate::grammar::sink::Sink;
use crate::grammar::string::IString;
use alloc::vec::Vec;
use core::fmt;
use proto_mail::error::ErrorDetails;

/// The encoding of mailbox names in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameEncoding {
    /// Modified UTF-7 (RFC 3501 §5.1.3), until the server has agreed to UTF-8.
    #[default]
    ModifiedUtf7,
    /// UTF-8: after `ENABLE IMAP4rev2` (RFC 9051 §5.1) or `ENABLE UTF8=ACCEPT` (RFC 6855).
    Utf8,
}

/// The maximum length of a quoted string in bytes. Longer strings are literals, because many servers limit lines but
/// not small literals.
const LONGEST_QUOTED: usize = 1024;

/// The output of a command encoder. A client must wait for the server's request before it sends a synchronising
/// literal.
pub trait CommandSink: Sink {
    /// Marks a pause: the bytes so far can be sent, the following bytes wait for a continuation request (`+`).
    fn pause(&mut self);

    /// Marks the place of a literal whose bytes the caller sends: a message of APPEND, or a part of one. Its
    /// announcement was written last.
    fn payload(&mut self, size: u64, sync: Sync) {
        let _ = (size, sync);
    }
}

/// An encoded command, with the places where the client waits for a continuation request.
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
    /// It waits before each literal.
    #[default]
    Synchronising,
    /// `LITERAL-`: it waits before literals of more than 4096 bytes.
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

/// How commands are written, which depends on what the server has agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// How literals are sent.
    pub literals: LiteralMode,
    /// The encoding of mailbox names, and whether a quoted string may contain UTF-8.
    pub names: NameEncoding,
}

/// The error for an argument that cannot be written. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidArgument {
    /// The argument's name.
    pub argument: &'static str,
    /// What is wrong with it.
    pub fault: ArgumentFault,
}

/// The fault of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArgumentFault {
    /// It contains CR, LF or NUL, or a mailbox name contains another control character.
    ForbiddenByte,
    /// It is empty, but at least one element is required.
    Empty,
    /// It is not an atom, but only an atom is allowed.
    NotAnAtom,
    /// A number is too small or too large.
    OutOfRange,
    /// It is nested more than 32 levels deep.
    TooDeep,
    /// It is not UTF-8, and no charset is given.
    NotUtf8,
    /// It contradicts the other arguments.
    Contradiction,
    /// Only a server can send it.
    ServerOnly,
}

impl fmt::Display for ArgumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForbiddenByte => "has a control character that cannot be sent: remove it",
            Self::Empty => "is empty: give at least one",
            Self::NotAnAtom => {
                "has characters that are not allowed there: use ASCII without spaces and special characters"
            }
            Self::OutOfRange => "is out of range",
            Self::TooDeep => "is nested too deeply: 32 levels are the limit",
            Self::NotUtf8 => "is not UTF-8: give its charset",
            Self::Contradiction => "contradicts the other arguments",
            Self::ServerOnly => "can only be sent by a server",
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

/// The result of each write.
pub(crate) type Written = Result<(), InvalidArgument>;

pub(crate) const fn fault(argument: &'static str, fault: ArgumentFault) -> Written {
    Err(InvalidArgument { argument, fault })
}

/// A sink that discards its input, to find arguments that cannot be written.
pub(crate) struct NullSink;

impl Sink for NullSink {
    fn put(&mut self, _: &[u8]) {}
}

impl CommandSink for NullSink {
    fn pause(&mut self) {}
}

/// Writes the parts of a command.
pub(crate) struct Writer<'s, S> {
    pub(crate) out: &'s mut S,
    pub(crate) options: Options,
    /// Whether a string with bytes above 127 was written, and its encoding.
    pub(crate) eight_bit: Option<EightBit>,
}

/// The encoding of strings with bytes above 127.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EightBit {
    Utf8,
    /// At least one of them is not UTF-8.
    Other,
}

impl<'s, S: CommandSink> Writer<'s, S> {
    pub(crate) const fn new(out: &'s mut S, options: Options) -> Self {
        Self { out, options, eight_bit: None }
    }

    /// Writes bytes that are known to be valid.
    pub(crate) fn put(&mut self, text: &[u8]) {
        self.out.put(text);
    }

    pub(crate) fn number(&mut self, number: u64) {
        crate::grammar::sink::number(number, self.out);
    }

    /// Writes a number of 63 bits.
    pub(crate) fn number64(&mut self, argument: &'static str, number: u64) -> Written {
        if i64::try_from(number).is_err() {
            return fault(argument, ArgumentFault::OutOfRange);
        }
        self.number(number);
        Ok(())
    }

    /// Writes a number of 63 bits that is not 0.
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

    /// Writes an `astring`: unquoted if every server parses it as an atom.
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
            self.literal(bytes);
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

    /// `"{" number64 ["+"] "}" CRLF *CHAR8`
    pub(crate) fn literal(&mut self, bytes: &[u8]) {
        let sync = self.options.literals.sync(bytes.len() as u64);
        self.literal_header(bytes.len() as u64, sync);
        if sync == Sync::Synchronising {
            self.out.pause();
        }
        self.put(bytes);
    }

    /// `"{" number64 ["+"] "}" CRLF`
    pub(crate) fn literal_header(&mut self, size: u64, sync: Sync) {
        self.put(b"{");
        self.number(size);
        self.put(if sync == Sync::NonSynchronising { b"+}\r\n" } else { b"}\r\n" });
    }

    /// Writes `[item *(SP item)]`; returns the number of items.
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

/// Returns whether every server parses the string as an atom: letters, digits, and punctuation without a special
/// meaning.
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'@');
    !bytes.is_empty() && bytes.len() <= 128 && bytes.iter().all(plain) && !bytes.eq_ignore_ascii_case(b"NIL")
}
