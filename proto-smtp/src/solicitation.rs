//! NO-SOLICITING (RFC 3865): keywords for unwanted bulk mail, the value of `SOLICIT=`.

use alloc::borrow::Cow;
use core::fmt;

use crate::ascii;
use crate::syntax::{SyntaxError, SyntaxFault};

/// `Solicitation-keywords = word 0*("," word)`, at most 1000 bytes (RFC 3865 §2.2): the value of `SOLICIT=`, and the
/// EHLO parameter by which a server announces what it rejects.
///
/// A keyword is a reversed domain name and a class that its owner defines: `org.example:ADV`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Solicitation<'i>(Cow<'i, str>);

impl<'i> Solicitation<'i> {
    /// Parses keywords separated by commas.
    ///
    /// # Errors
    /// A keyword is empty, does not begin with a letter, or holds anything but letters, digits, `.`, `-`, `_` and `:`;
    /// or the text is longer than 1000 bytes.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        if text.len() <= 1000 && text.split(',').all(is_word) {
            Ok(Self(Cow::Borrowed(text)))
        } else {
            Err(SyntaxError::in_text(text, 0, SyntaxFault::Value))
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Iterates over the keywords, in their order.
    pub fn keywords(&self) -> impl Iterator<Item = &str> {
        self.0.split(',')
    }

    /// Whether the two lists share a keyword, in any letter case.
    #[must_use]
    pub fn intersects(&self, other: &Solicitation<'_>) -> bool {
        // A sorted set keeps the cost of two long lists low.
        let lower = |keyword: &str| keyword.to_ascii_lowercase();
        let others: alloc::collections::BTreeSet<_> = other.keywords().map(lower).collect();
        self.keywords().any(|keyword| others.contains(&lower(keyword)))
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Solicitation<'static> {
        Solicitation(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for Solicitation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `word = ALPHA 0*(wordchar)`
fn is_word(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word.bytes().all(|byte| ascii::is(byte, ascii::ALNUM) || b".-_:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_compares_keywords() {
        let message = Solicitation::parse("org.example:ADV:ADLT,net.example:ADV").unwrap();
        assert_eq!(message.keywords().count(), 2);
        assert!(message.intersects(&Solicitation::parse("com.example:x,NET.example:adv").unwrap()));
        assert!(!message.intersects(&Solicitation::parse("net.example").unwrap()));
        let long = "a".repeat(1001);
        for bad in ["", ",", "a,", "1a", "a b", "a,,b", "a\r\n", "a=b", "é", &long] {
            assert!(Solicitation::parse(bad).is_err(), "{bad:?}");
        }
    }
}
