//! What a message advertises (NO-SOLICITING, RFC 3865).
//!
//! This file knows keywords that say so. Which of them are unwanted, the server's operator knows.

use alloc::borrow::Cow;
use core::fmt;

use crate::ascii;
use crate::parse::{SyntaxError, Why};

/// `Solicitation-keywords = word 0*("," word)`, at most 1000 octets (RFC 3865 §2.2): the value of `SOLICIT=`, and what
/// a server announces that it does not want.
///
/// A keyword is the name of a domain from behind and what its owner calls the class: `org.example:ADV`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Solicitation<'i>(Cow<'i, str>);

impl<'i> Solicitation<'i> {
    /// Reads keywords separated by commas.
    ///
    /// # Errors
    /// One of them is empty, does not begin with a letter or holds anything but letters, digits, `.`, `-`, `_` and `:`;
    /// or they are longer than 1000 octets.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        if text.len() <= 1000 && text.split(',').all(is_word) {
            Ok(Self(Cow::Borrowed(text)))
        } else {
            Err(SyntaxError { at: 0, why: Why::Value })
        }
    }

    /// As it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The keywords, in their order.
    pub fn keywords(&self) -> impl Iterator<Item = &str> {
        self.0.split(',')
    }

    /// Whether one of the keywords is among those of the other, in any case.
    #[must_use]
    pub fn meets(&self, other: &Solicitation<'_>) -> bool {
        // Sorted once, so that two long lists cost no more than their length asks for.
        let lower = |keyword: &str| keyword.to_ascii_lowercase();
        let others: alloc::collections::BTreeSet<_> = other.keywords().map(lower).collect();
        self.keywords().any(|keyword| others.contains(&lower(keyword)))
    }

    /// The same, kept.
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
        && word.bytes().all(|octet| ascii::is(octet, ascii::ALNUM) || b".-_:".contains(&octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_kept_and_compared() {
        let message = Solicitation::parse("org.example:ADV:ADLT,net.example:ADV").unwrap();
        assert_eq!(message.keywords().count(), 2);
        assert!(message.meets(&Solicitation::parse("com.example:x,NET.example:adv").unwrap()));
        assert!(!message.meets(&Solicitation::parse("net.example").unwrap()));
        let long = "a".repeat(1001);
        for bad in ["", ",", "a,", "1a", "a b", "a,,b", "a\r\n", "a=b", "é", &long] {
            assert!(Solicitation::parse(bad).is_err(), "{bad:?}");
        }
    }
}
