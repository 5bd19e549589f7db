//! `BODY=`: which bytes a message is made of (8BITMIME, RFC 6152; BINARYMIME, RFC 3030).

use crate::ascii;
use crate::extension::Extension;
use crate::parameter::is_keyword;
use crate::syntax::SyntaxFault;

/// The value of `BODY=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyType {
    /// `7BIT`: US-ASCII in lines of at most 998 bytes.
    SevenBit,
    /// `8BITMIME`: any bytes in lines of at most 998 bytes.
    EightBitMime,
    /// `BINARYMIME`: any bytes at all. Sent by BDAT only.
    BinaryMime,
}

impl BodyType {
    /// Returns the value as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }

    /// The extension that the server must offer.
    pub(crate) const fn extension(self) -> Extension {
        match self {
            Self::BinaryMime => Extension::BinaryMime,
            Self::SevenBit | Self::EightBitMime => Extension::EightBitMime,
        }
    }

    /// `body-value = "7BIT" / "8BITMIME" / "BINARYMIME"` (RFC 6152 §2, RFC 3030 §3)
    pub(crate) fn parse(value: &[u8]) -> Result<Self, SyntaxFault> {
        const SEVEN_BIT: u64 = ascii::word(b"7BIT");
        const EIGHT_BIT_MIME: u64 = ascii::word(b"8BITMIME");
        match ascii::word(value) {
            // Only words of letters, digits and hyphens have a number of their own.
            SEVEN_BIT if is_keyword(value) => Ok(Self::SevenBit),
            EIGHT_BIT_MIME if is_keyword(value) => Ok(Self::EightBitMime),
            _ if value.eq_ignore_ascii_case(b"BINARYMIME") => Ok(Self::BinaryMime),
            _ => Err(SyntaxFault::Value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_values_in_any_letter_case() {
        for body in [BodyType::SevenBit, BodyType::EightBitMime, BodyType::BinaryMime] {
            assert_eq!(BodyType::parse(body.as_str().to_ascii_lowercase().as_bytes()), Ok(body));
        }
        for bad in ["", "9BIT", "7BITS", "\u{17}BIT"] {
            assert_eq!(BodyType::parse(bad.as_bytes()), Err(SyntaxFault::Value), "{bad:?}");
        }
    }
}
