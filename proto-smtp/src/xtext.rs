//! `xtext`: the encoding of parameter values that may hold any character (RFC 3461 §4).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::ascii;
use crate::syntax::{SyntaxError, SyntaxFault};

/// Text encoded as `xtext` (RFC 3461 §4): printable characters stand for themselves, every other byte is written as
/// `+` and two hexadecimal digits.
///
/// The decoded text never holds a control character, so that it cannot start a line of its own elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Xtext<'i>(Cow<'i, str>);

impl<'i> Xtext<'i> {
    /// Parses xtext as sent on the wire.
    ///
    /// # Errors
    /// The text is not xtext, or a control character is encoded in it.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        if is_xtext(text.as_bytes()) {
            Ok(Self(Cow::Borrowed(text)))
        } else {
            Err(SyntaxError::in_text(text, 0, SyntaxFault::Value))
        }
    }

    /// Encodes `plain` as xtext.
    ///
    /// # Errors
    /// `plain` is empty or holds a control character.
    pub fn encode(plain: &str) -> Result<Xtext<'static>, SyntaxError> {
        if plain.is_empty() || ascii::printable(plain.as_bytes()).is_none() {
            return Err(SyntaxError::new(0, SyntaxFault::Value));
        }
        let mut text = String::with_capacity(plain.len());
        // Writing to a `String` cannot fail.
        let _ = Self::write(plain, &mut text);
        Ok(Xtext(Cow::Owned(text)))
    }

    /// Writes text that holds no control character.
    pub(crate) fn write(plain: &str, out: &mut impl fmt::Write) -> fmt::Result {
        plain.bytes().try_for_each(|byte| {
            if ascii::is(byte, ascii::XCHAR) {
                out.write_char(char::from(byte))
            } else {
                write!(out, "+{byte:02X}")
            }
        })
    }

    /// Returns the encoded text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the decoded bytes, UTF-8 by convention.
    #[must_use]
    pub fn decode(&self) -> Vec<u8> {
        decoded(self.0.as_bytes()).collect()
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Xtext<'static> {
        Xtext(Cow::Owned(self.0.into_owned()))
    }
}

/// Whether the bytes are `xtext = *( xchar / hexchar )`, not empty, and decode to no control character.
pub(crate) fn is_xtext(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if ascii::is(byte, ascii::XCHAR) {
            continue;
        }
        match (byte, rest) {
            (b'+', [high, low, tail @ ..]) => {
                let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low)) else { return false };
                let decoded = high << 4 | low;
                if decoded < b' ' || decoded == 0x7f {
                    return false;
                }
                rest = tail;
            }
            _ => return false,
        }
    }
    !text.is_empty()
}

/// Decodes bytes that [`is_xtext`] has accepted.
pub(crate) fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text.iter().copied();
    core::iter::from_fn(move || match rest.next()? {
        b'+' => Some(hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)?),
        byte => Some(byte),
    })
}

/// A digit of `hexchar = "+" 2(%x30-39 / %x41-46)`: upper case only.
const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_and_decodes_xtext() {
        for (plain, wire) in [
            ("QQ314159", "QQ314159"),
            ("a+b=c d", "a+2Bb+3Dc+20d"),
            ("jürgen", "j+C3+BCrgen"),
            ("e=mc2@example.com", "e+3Dmc2@example.com"),
        ] {
            let encoded = Xtext::encode(plain).unwrap();
            assert_eq!(encoded.as_str(), wire);
            assert_eq!(encoded.decode(), plain.as_bytes());
            assert_eq!(Xtext::parse(wire).unwrap(), encoded);
        }
    }

    #[test]
    fn rejects_control_characters_and_malformed_xtext() {
        for bad in
            ["", "a b", "a=b", "a+", "a+4", "a+4g", "a+0D+0A", "x+00", "+7F", "a\r", "a+0a", "é", "+2b"]
        {
            assert!(Xtext::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["x\r\nRSET", "x\0", ""] {
            assert!(Xtext::encode(bad).is_err(), "{bad:?}");
        }
    }
}
