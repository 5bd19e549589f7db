//! The MAIL command: who a message is from, and what is asked for it (RFC 5321 §4.1.1.2).
//!
//! This file knows the parameters of SIZE (RFC 1870), 8BITMIME (RFC 6152), BINARYMIME (RFC 3030), SMTPUTF8
//! (RFC 6531), AUTH (RFC 4954 §5) and DSN (RFC 3461). Others are kept in [`Mail::extra`].

use super::{Extra, ReversePath, Xtext};

/// `MAIL FROM:<reverse-path> [parameters]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mail<'i> {
    /// Where reports go.
    pub from: ReversePath<'i>,
    /// `SIZE=`: how many octets the message has, as the client thinks (RFC 1870 §6).
    pub size: Option<u64>,
    /// `BODY=`: which octets the message is made of.
    pub body: Option<BodyType>,
    /// `SMTPUTF8`: the envelope or the header holds UTF-8.
    pub utf8: bool,
    /// `AUTH=`: who handed the message in first; `<>` means nobody knows.
    pub auth: Option<Xtext<'i>>,
    /// `RET=`: how much of the message a report should hold.
    pub ret: Option<Return>,
    /// `ENVID=`: a name for this sending that reports repeat.
    pub envid: Option<Xtext<'i>>,
    /// The parameters that have no field here.
    pub extra: Extra<'i>,
}

/// The values of `BODY=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyType {
    /// `7BIT`: US-ASCII in lines of at most 998 octets.
    SevenBit,
    /// `8BITMIME`: any octets in such lines.
    EightBitMime,
    /// `BINARYMIME`: any octets at all; BDAT only.
    BinaryMime,
}

/// The values of `RET=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Return {
    /// The whole message.
    Full,
    /// The header alone.
    Headers,
}

/// Every keyword that has a field in [`Mail`].
pub(crate) const KNOWN: &[&str] = &["SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID"];

impl<'i> Mail<'i> {
    /// A message from there, with nothing asked for it.
    #[must_use]
    pub fn new(from: impl Into<ReversePath<'i>>) -> Self {
        Self {
            from: from.into(),
            size: None,
            body: None,
            utf8: false,
            auth: None,
            ret: None,
            envid: None,
            extra: Extra::none(KNOWN),
        }
    }

    /// Announces how many octets the message has.
    #[must_use]
    pub const fn with_size(mut self, octets: u64) -> Self {
        self.size = Some(octets);
        self
    }

    /// Says which octets the message is made of.
    #[must_use]
    pub const fn with_body(mut self, body: BodyType) -> Self {
        self.body = Some(body);
        self
    }

    /// Asks for SMTPUTF8.
    #[must_use]
    pub const fn with_utf8(mut self) -> Self {
        self.utf8 = true;
        self
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Mail<'static> {
        Mail {
            from: self.from.into_owned(),
            size: self.size,
            body: self.body,
            utf8: self.utf8,
            auth: self.auth.map(Xtext::into_owned),
            ret: self.ret,
            envid: self.envid.map(Xtext::into_owned),
            extra: self.extra.into_owned(),
        }
    }
}

impl BodyType {
    /// The value as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }
}

impl Return {
    /// The value as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}
