//! Syntax errors: what is wrong with a line, where, and what was found there.

use core::fmt;

use nom::error::{ErrorKind, ParseError};
use proto_mail::SyntaxLocation;
use proto_mail::error::ErrorDetails;

use crate::ascii;

/// The most bytes that a [`SyntaxError`] keeps of what was found.
const EXCERPT: usize = SyntaxLocation::MAX_EXCERPT;

/// A line, a reply or a value that does not follow the grammar.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SyntaxError {
    offset: usize,
    fault: SyntaxFault,
    excerpt: Option<Excerpt>,
}

/// The first bytes of the input from the fault on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Excerpt {
    bytes: [u8; EXCERPT],
    len: u8,
}

impl Excerpt {
    fn of(found: &[u8]) -> Self {
        let found = found.get(..EXCERPT).unwrap_or(found);
        let mut bytes = [0; EXCERPT];
        bytes.iter_mut().zip(found).for_each(|(to, from)| *to = *from);
        Self { bytes, len: found.len() as u8 }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyntaxFault {
    /// A control character (CR, LF and NUL included) stands where none is allowed.
    Control,
    /// The bytes are not UTF-8.
    Encoding,
    /// An argument is missing.
    MissingArgument,
    /// The command takes no argument, or no further one.
    SurplusArgument,
    /// `FROM:` or `TO:` is missing.
    Colon,
    /// A path in angle brackets is missing.
    Path,
    /// The null path is not allowed as a recipient.
    NullRecipient,
    /// The local part of an address is not valid.
    LocalPart,
    /// The address has no domain.
    MissingDomain,
    /// The domain or address literal is not valid.
    Domain,
    /// The local part is longer than 64 bytes.
    LocalPartTooLong,
    /// The domain is longer than 255 bytes.
    DomainTooLong,
    /// The address is longer than 254 bytes.
    PathTooLong,
    /// The address holds characters outside US-ASCII, and SMTPUTF8 was not requested.
    NotAscii,
    /// The keyword of a parameter is not valid, or not allowed here.
    Parameter,
    /// A parameter is given twice.
    ParameterTwice,
    /// Two parameters are given that exclude each other.
    ParametersExclude,
    /// The value of a parameter is missing or not valid.
    Value,
    /// A number is missing, malformed or out of range.
    Number,
    /// An absolute URL is missing.
    Url,
    /// The name of a SASL mechanism is not valid.
    Mechanism,
    /// The reply code is not valid.
    Code,
    /// The lines of one reply have different codes.
    MixedCodes,
    /// The reply is not complete, or bytes follow it.
    Length,
}

impl SyntaxFault {
    /// Returns a description that fits into the text of a reply.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Control => "A control character is not allowed here",
            Self::Encoding => "The line is not UTF-8",
            Self::MissingArgument => "An argument is missing",
            Self::SurplusArgument => "No argument is allowed here",
            Self::Colon => "FROM: or TO: is expected",
            Self::Path => "An address in angle brackets is expected",
            Self::NullRecipient => "The null path cannot be a recipient",
            Self::LocalPart => "The local part is not valid",
            Self::MissingDomain => "The address has no domain",
            Self::Domain => "The domain is not valid",
            Self::LocalPartTooLong => "The local part is longer than 64 bytes",
            Self::DomainTooLong => "The domain is longer than 255 bytes",
            Self::PathTooLong => "The address is longer than 254 bytes",
            Self::NotAscii => "The address needs SMTPUTF8",
            Self::Parameter => "A parameter is not valid",
            Self::ParameterTwice => "A parameter is given twice",
            Self::ParametersExclude => "Two parameters exclude each other",
            Self::Value => "The value of a parameter is not valid",
            Self::Number => "A number is missing or out of range",
            Self::Url => "An absolute URL is expected",
            Self::Mechanism => "The name of a mechanism is expected",
            Self::Code => "A reply code is expected",
            Self::MixedCodes => "The lines of one reply have different codes",
            Self::Length => "Exactly one complete reply is expected",
        }
    }
}

impl SyntaxError {
    /// Creates an error without the bytes that were found: there is no input, or it may hold a secret.
    pub(crate) const fn new(offset: usize, fault: SyntaxFault) -> Self {
        Self { offset, fault, excerpt: None }
    }

    /// Creates an error at `rest`, the tail of `input`.
    pub(crate) fn at(input: &[u8], rest: &[u8], fault: SyntaxFault) -> Self {
        let offset = input.len().saturating_sub(rest.len());
        Self { offset, fault, excerpt: Some(Excerpt::of(rest)) }
    }

    /// Creates an error at this offset of `text`.
    pub(crate) fn in_text(text: &str, offset: usize, fault: SyntaxFault) -> Self {
        let rest = text.as_bytes().get(offset..).unwrap_or_default();
        Self { offset, fault, excerpt: Some(Excerpt::of(rest)) }
    }

    /// Moves the offset of an error in a part of a line to its place in the line, and keeps what was found there.
    pub(crate) fn inside(self, line: &[u8], part: &[u8]) -> Self {
        let offset = line.len().saturating_sub(part.len()) + self.offset;
        Self::at(line, line.get(offset..).unwrap_or_default(), self.fault)
    }

    /// Returns the same error without the bytes that were found: they may hold a secret.
    pub(crate) const fn redacted(self) -> Self {
        Self::new(self.offset, self.fault)
    }

    /// Returns the offset of the fault in the input, in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the place of the fault: its offset in the input, and up to 64 bytes from there.
    ///
    /// The bytes are redacted in AUTH, BURL, NOOP and HELP and in commands with an unknown verb, which may hold a secret.
    /// They are also left out if the value was not parsed from text.
    #[must_use]
    pub fn location(&self) -> SyntaxLocation {
        SyntaxLocation::excerpted(self.offset, self.excerpt.as_ref().map(Excerpt::as_bytes))
    }

    /// Returns what is wrong.
    #[must_use]
    pub const fn fault(&self) -> SyntaxFault {
        self.fault
    }

    /// Returns the bytes that were found; none at the end of the input and where they are redacted.
    fn found(&self) -> &[u8] {
        self.excerpt.as_ref().map(Excerpt::as_bytes).unwrap_or_default()
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {}", self.fault.text(), self.offset)?;
        match self.found() {
            b"" => f.write_str(")"),
            found => write!(f, ": \"{}\")", found.escape_ascii()),
        }
    }
}

impl fmt::Debug for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyntaxError")
            .field("offset", &self.offset)
            .field("fault", &self.fault)
            .field("found", &format_args!("\"{}\"", self.found().escape_ascii()))
            .finish()
    }
}

impl core::error::Error for SyntaxError {}

impl ErrorDetails for SyntaxError {}

/// The result of a grammar rule: the rest of the input and the value.
pub(crate) type Parsed<'i, T> = nom::IResult<&'i [u8], T, ParseFailure<'i>>;

/// The error of a grammar rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParseFailure<'i> {
    /// The input from the fault on.
    pub(crate) rest: &'i [u8],
    pub(crate) fault: SyntaxFault,
}

impl<'i> ParseFailure<'i> {
    /// A failure at the beginning of `rest`.
    pub(crate) const fn at<T>(rest: &'i [u8], fault: SyntaxFault) -> Parsed<'i, T> {
        Err(nom::Err::Error(Self { rest, fault }))
    }

    fn in_input(self, input: &[u8]) -> SyntaxError {
        SyntaxError::at(input, self.rest, self.fault)
    }
}

impl<'i> ParseError<&'i [u8]> for ParseFailure<'i> {
    fn from_error_kind(rest: &'i [u8], _: ErrorKind) -> Self {
        Self { rest, fault: SyntaxFault::Parameter }
    }

    fn append(_: &'i [u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Converts the result of a grammar rule that was applied to the tail of `input`.
#[inline]
pub(crate) fn finish<'i, T>(input: &'i [u8], parsed: Parsed<'i, T>) -> Result<(&'i [u8], T), SyntaxError> {
    parsed.map_err(|error| match error {
        nom::Err::Error(failure) | nom::Err::Failure(failure) => failure.in_input(input),
        // The rules work on complete input and never ask for more.
        nom::Err::Incomplete(_) => SyntaxError::at(input, b"", SyntaxFault::MissingArgument),
    })
}

/// Applies a rule that must consume the whole input.
pub(crate) fn whole<'i, T>(
    input: &'i [u8],
    rule: impl FnOnce(&'i [u8]) -> Parsed<'i, T>,
) -> Result<T, SyntaxError> {
    match finish(input, rule(input))? {
        ([], value) if ascii::classed(input).is_some() => Ok(value),
        ([], _) => Err(SyntaxError::at(input, input, SyntaxFault::Encoding)),
        (rest, _) => Err(SyntaxError::at(input, rest, SyntaxFault::SurplusArgument)),
    }
}

/// Returns the text without the spaces in front.
pub(crate) fn skip_spaces(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b" ") {
        text = rest;
    }
    text
}

/// Returns the text without the spaces at both ends.
pub(crate) fn trim_spaces(text: &[u8]) -> &[u8] {
    let mut text = skip_spaces(text);
    while let Some(rest) = text.strip_suffix(b" ") {
        text = rest;
    }
    text
}

/// Parses the end of a command that takes no argument. Trailing spaces are tolerated (RFC 5321 §4.1.1).
pub(crate) fn no_argument(line: &[u8], rest: &[u8]) -> Result<(), SyntaxError> {
    match skip_spaces(rest) {
        [] => Ok(()),
        surplus => Err(SyntaxError::at(line, surplus, SyntaxFault::SurplusArgument)),
    }
}

/// Parses printable text, which may be empty.
pub(crate) fn optional_text<'i>(line: &[u8], rest: &'i [u8]) -> Result<&'i str, SyntaxError> {
    let text = trim_spaces(rest);
    ascii::printable(text).ok_or_else(|| SyntaxError::at(line, text, SyntaxFault::Control))
}

/// Parses printable text that must not be empty.
pub(crate) fn required_text<'i>(line: &[u8], rest: &'i [u8]) -> Result<&'i str, SyntaxError> {
    match optional_text(line, rest)? {
        "" => Err(SyntaxError::at(line, b"", SyntaxFault::MissingArgument)),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn keeps_at_most_64_bytes_of_what_was_found() {
        let line = [&b"MAIL FROM:"[..], &[b'\xff'; 100]].concat();
        let error = SyntaxError::at(&line, line.get(10..).unwrap(), SyntaxFault::Path);
        assert_eq!(error.location(), SyntaxLocation::new(&line, 10));
        assert_eq!(error.location().excerpt(), Some(&[0xff; 64][..]));
        let short = SyntaxError::at(b"a<b\n", b"<b\n", SyntaxFault::Path);
        assert_eq!(short.to_string(), "An address in angle brackets is expected (at byte 1: \"<b\\n\")");
        assert_eq!(short.redacted().location(), SyntaxLocation::redacted(1));
        assert_eq!(short.redacted().to_string(), "An address in angle brackets is expected (at byte 1)");
        let end = SyntaxError::in_text("ab", 2, SyntaxFault::Path);
        assert_eq!((end.location().offset(), end.location().excerpt()), (2, Some(&b""[..])));
        assert_eq!(
            SyntaxError::new(0, SyntaxFault::Url).to_string(),
            "An absolute URL is expected (at byte 0)"
        );
    }
}
