//! What can be wrong with a line, and where.

use core::fmt;

use nom::error::{ErrorKind, ParseError};

/// Why a line cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SyntaxError {
    /// How many octets of the input were good.
    pub at: usize,
    /// What is wrong there.
    pub why: Why,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// A CR, LF, NUL or other control character stands there.
    Control,
    /// Something that is not UTF-8 stands there.
    Encoding,
    /// An argument is missing.
    MissingArgument,
    /// The command takes no argument, or none more.
    SurplusArgument,
    /// `FROM:` or `TO:` is missing.
    Colon,
    /// A path in angle brackets is missing.
    Path,
    /// The null path cannot be a recipient.
    NullRecipient,
    /// The local part of an address is not one.
    LocalPart,
    /// There is no domain.
    MissingDomain,
    /// A domain or address literal is not one.
    Domain,
    /// The local part is longer than 64 octets.
    LocalPartTooLong,
    /// The domain is longer than 255 octets.
    DomainTooLong,
    /// The address is longer than 254 octets.
    PathTooLong,
    /// Characters outside US-ASCII, without SMTPUTF8.
    NotAscii,
    /// A parameter is not one.
    Parameter,
    /// A parameter stands there twice.
    ParameterTwice,
    /// Two parameters stand there that exclude each other.
    ParametersExclude,
    /// A parameter's value is not one of those that it may have.
    Value,
    /// A number is none, or too large.
    Number,
    /// An absolute URL is missing.
    Url,
    /// A mechanism's name is not one.
    Mechanism,
    /// A reply code is not one.
    Code,
    /// The lines of one reply bear different codes.
    MixedCodes,
    /// The reply is not complete, or more follows it.
    Length,
}

impl Why {
    /// What is wrong, in words that fit into a reply.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Control => "A control character stands where none may",
            Self::Encoding => "The line is not UTF-8",
            Self::MissingArgument => "An argument is missing",
            Self::SurplusArgument => "No argument is allowed here",
            Self::Colon => "FROM: or TO: is expected",
            Self::Path => "An address in angle brackets is expected",
            Self::NullRecipient => "The null path cannot be a recipient",
            Self::LocalPart => "The local part is not valid",
            Self::MissingDomain => "The address has no domain",
            Self::Domain => "The domain is not valid",
            Self::LocalPartTooLong => "The local part is longer than 64 octets",
            Self::DomainTooLong => "The domain is longer than 255 octets",
            Self::PathTooLong => "The address is longer than 254 octets",
            Self::NotAscii => "The address needs SMTPUTF8",
            Self::Parameter => "A parameter is not valid",
            Self::ParameterTwice => "A parameter is given twice",
            Self::ParametersExclude => "Two parameters exclude each other",
            Self::Value => "A parameter has a value that it cannot have",
            Self::Number => "A number is expected, and one that fits",
            Self::Url => "An absolute URL is expected",
            Self::Mechanism => "The name of a mechanism is expected",
            Self::Code => "A reply code is expected",
            Self::MixedCodes => "The lines of one reply bear different codes",
            Self::Length => "Exactly one complete reply is expected",
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at octet {})", self.why.text(), self.at)
    }
}

impl core::error::Error for SyntaxError {}

/// The result of a grammar function.
pub(crate) type Parsed<'i, T> = nom::IResult<&'i [u8], T, Fault<'i>>;

/// What the grammar functions fail with: where, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault<'i> {
    /// What was left when it failed.
    pub(crate) rest: &'i [u8],
    pub(crate) why: Why,
}

impl<'i> Fault<'i> {
    /// A failure at the beginning of `rest`.
    pub(crate) const fn at<T>(rest: &'i [u8], why: Why) -> Parsed<'i, T> {
        Err(nom::Err::Error(Self { rest, why }))
    }

    /// Where that is in the input.
    pub(crate) const fn in_input(self, input: &[u8]) -> SyntaxError {
        SyntaxError { at: input.len().saturating_sub(self.rest.len()), why: self.why }
    }
}

impl<'i> ParseError<&'i [u8]> for Fault<'i> {
    fn from_error_kind(rest: &'i [u8], _: ErrorKind) -> Self {
        Self { rest, why: Why::Parameter }
    }

    fn append(_: &'i [u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Turns what a grammar function said of a whole input into a result.
pub(crate) fn finish<'i, T>(input: &'i [u8], parsed: Parsed<'i, T>) -> Result<(&'i [u8], T), SyntaxError> {
    parsed.map_err(|error| match error {
        nom::Err::Error(fault) | nom::Err::Failure(fault) => fault.in_input(input),
        // Complete input only: it never asks for more.
        nom::Err::Incomplete(_) => SyntaxError { at: input.len(), why: Why::MissingArgument },
    })
}
