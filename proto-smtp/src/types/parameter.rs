//! Parameters of MAIL and RCPT (RFC 5321 §4.1.1.11), and the xtext that some of their values are written in.
//!
//! This file knows keywords and values. What the known ones mean stands with [`Mail`](super::Mail) and
//! [`Rcpt`](super::Rcpt).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::ascii;
use crate::parse::{SyntaxError, Why, parameter};

/// One `esmtp-param = esmtp-keyword ["=" esmtp-value]`, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'p> {
    /// The keyword, in any case.
    pub keyword: &'p str,
    /// The value, if there is one.
    pub value: Option<&'p str>,
}

/// The parameters that have no field of their own, kept as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra<'i> {
    /// Parameters, separated by spaces; those that are known stand there too and are passed over.
    text: Cow<'i, str>,
    known: &'static [&'static str],
    /// Whether there is any: most commands have none, and need no second look.
    any: bool,
}

impl<'i> Extra<'i> {
    /// No parameters; `known` have fields of their own.
    pub(crate) const fn none(known: &'static [&'static str]) -> Self {
        Self { text: Cow::Borrowed(""), known, any: false }
    }

    /// For the grammar: what was looked at already.
    pub(crate) const fn checked(text: &'i str, known: &'static [&'static str]) -> Self {
        Self { text: Cow::Borrowed(text), known, any: true }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.any
    }

    /// The parameters, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Parameter<'_>> {
        let text = if self.any { &*self.text } else { "" };
        text.split(' ').filter(|part| !part.is_empty()).filter_map(|part| {
            let parameter = match part.split_once('=') {
                Some((keyword, value)) => Parameter { keyword, value: Some(value) },
                None => Parameter { keyword: part, value: None },
            };
            let known = self.known.iter().any(|known| known.eq_ignore_ascii_case(parameter.keyword));
            (!known).then_some(parameter)
        })
    }

    /// The value of a keyword, in any case: `Some(None)` if it stands there without one.
    #[must_use]
    pub fn find(&self, keyword: &str) -> Option<Option<&str>> {
        self.iter()
            .find(|parameter| parameter.keyword.eq_ignore_ascii_case(keyword))
            .map(|parameter| parameter.value)
    }

    /// Adds one.
    ///
    /// # Errors
    /// The keyword or value holds what it may not, or the keyword has a field of its own.
    pub fn push(&mut self, keyword: &str, value: Option<&str>) -> Result<(), SyntaxError> {
        let known = self.known.iter().any(|known| known.eq_ignore_ascii_case(keyword));
        if known || !parameter::is_keyword(keyword.as_bytes()) {
            return Err(SyntaxError { at: 0, why: Why::Parameter });
        }
        if value.is_some_and(|value| !parameter::is_value(value.as_bytes())) {
            return Err(SyntaxError { at: keyword.len() + 1, why: Why::Value });
        }
        if !self.any {
            self.text = Cow::Borrowed("");
        }
        let text = self.text.to_mut();
        for part in [" ", keyword] {
            text.push_str(part);
        }
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
        self.any = true;
        Ok(())
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Extra<'static> {
        let text = if self.any { Cow::Owned(self.text.into_owned()) } else { Cow::Borrowed("") };
        Extra { text, known: self.known, any: self.any }
    }
}

/// `xtext` (RFC 3461 §4): printable octets for themselves, every other as `+` and two hexadecimal digits.
///
/// What it means holds no control character, and so cannot become a line of its own anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Xtext<'i>(Cow<'i, str>);

impl<'i> Xtext<'i> {
    /// Reads xtext as it stands on the wire.
    ///
    /// # Errors
    /// It is not xtext, or means something with a control character in it.
    pub fn parse(text: &'i str) -> Result<Self, SyntaxError> {
        if parameter::is_xtext(text.as_bytes()) {
            Ok(Self(Cow::Borrowed(text)))
        } else {
            Err(SyntaxError { at: 0, why: Why::Value })
        }
    }

    /// Writes `plain` as xtext.
    ///
    /// # Errors
    /// It is empty or holds a control character.
    pub fn encode(plain: &str) -> Result<Xtext<'static>, SyntaxError> {
        if plain.is_empty() || ascii::printable(plain.as_bytes()).is_none() {
            return Err(SyntaxError { at: 0, why: Why::Value });
        }
        let mut text = String::with_capacity(plain.len());
        // Nothing fails to be written into a string.
        let _ = Self::write(plain, &mut text);
        Ok(Xtext(Cow::Owned(text)))
    }

    /// Writes text in which no control character is.
    pub(crate) fn write(plain: &str, out: &mut impl fmt::Write) -> fmt::Result {
        plain.bytes().try_for_each(|octet| {
            if ascii::is(octet, ascii::XCHAR) {
                out.write_char(char::from(octet))
            } else {
                write!(out, "+{octet:02X}")
            }
        })
    }

    /// As it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it means: octets, UTF-8 by convention.
    #[must_use]
    pub fn decode(&self) -> Vec<u8> {
        parameter::xtext_octets(self.0.as_bytes()).collect()
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Xtext<'static> {
        Xtext(Cow::Owned(self.0.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_goes_there_and_back() {
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
    fn no_control_character_hides_in_xtext() {
        for bad in
            ["", "a b", "a=b", "a+", "a+4", "a+4g", "a+0D+0A", "x+00", "+7F", "a\r", "a+0a", "é", "+2b"]
        {
            assert!(Xtext::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["x\r\nRSET", "x\0", ""] {
            assert!(Xtext::encode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn unknown_parameters_are_kept_and_checked() {
        let mut extra = Extra::none(&["SIZE"]);
        extra.push("X-FOO", Some("bar")).unwrap();
        extra.push("X-BAR", None).unwrap();
        assert_eq!(extra.find("x-foo"), Some(Some("bar")));
        assert_eq!(extra.find("x-bar"), Some(None));
        assert_eq!(extra.iter().count(), 2);
        for (keyword, value) in [
            ("", None),
            ("-A", None),
            ("A B", None),
            ("A", Some("x y")),
            ("A", Some("x\r\nRSET")),
            ("size", Some("1")),
        ] {
            assert!(extra.push(keyword, value).is_err(), "{keyword} {value:?}");
        }
        assert_eq!(extra.iter().count(), 2);
    }
}
