//! Parameters of MAIL and RCPT (RFC 5321 §4.1.2 `esmtp-param`): the grammar, the table of keywords, and the parameters
//! that have no field of their own in [`Mail`](crate::types::Mail) and [`Rcpt`](crate::types::Rcpt).

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use core::fmt;

use nom::Parser;
use nom::bytes::complete::{take_while, take_while1};
use proto_mail::SendBuffer;

use crate::ascii;
use crate::encode;
use crate::syntax::{ParseFailure, Parsed, SyntaxError, SyntaxFault};

/// One `esmtp-param = esmtp-keyword ["=" esmtp-value]`, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'p> {
    /// The keyword, in any letter case.
    pub keyword: &'p str,
    /// The value, if there is one.
    pub value: Option<&'p str>,
}

/// The parameters of one MAIL or RCPT that are kept as text: those that this crate does not know, and those whose values
/// are parsed on demand.
#[derive(Clone)]
pub struct Parameters<'i> {
    /// Parameters separated by spaces. Those with a field of their own may be among them and are skipped.
    text: Cow<'i, str>,
    present: Present,
    table: ParameterTable,
}

/// Which command the parameters belong to, and so which keywords are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterTable {
    Mail,
    Rcpt,
}

/// Which deferred keywords of a [`ParameterTable`] are present, and whether any unknown one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Present(u8);

impl ParameterTable {
    /// The keywords whose values have a field of their own.
    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Mail => {
                &["SIZE", "BODY", "SMTPUTF8", "RET", "BY", "MT-PRIORITY", "REQUIRETLS", "CONPERM", "PRDR"]
            }
            Self::Rcpt => &["NOTIFY", "RRVS", "CONNEG"],
        }
    }

    /// The keywords whose values are checked when they are parsed, kept as text and parsed again on demand.
    const fn deferred(self) -> &'static [&'static str] {
        match self {
            Self::Mail => &["AUTH", "ENVID", "HOLDFOR", "HOLDUNTIL", "SOLICIT"],
            Self::Rcpt => &["ORCPT"],
        }
    }

    fn has_field(self, keyword: &str) -> bool {
        self.fields().iter().any(|known| known.eq_ignore_ascii_case(keyword))
    }

    fn deferred_bit(self, keyword: &str) -> Option<u8> {
        let place = self.deferred().iter().position(|known| known.eq_ignore_ascii_case(keyword))?;
        Some(1 << place)
    }
}

impl Present {
    const NONE: Self = Self(0);
    const UNKNOWN: u8 = 0x80;
}

impl<'i> Parameters<'i> {
    pub(crate) const fn none(table: ParameterTable) -> Self {
        Self { text: Cow::Borrowed(""), present: Present::NONE, table }
    }

    /// Whether there is a parameter that this crate does not know.
    #[must_use]
    pub const fn has_unknown(&self) -> bool {
        self.present.0 & Present::UNKNOWN != 0
    }

    /// Iterates over the parameters that this crate does not know, in their order.
    pub fn unknown(&self) -> impl Iterator<Item = Parameter<'_>> {
        let text = if self.has_unknown() { &*self.text } else { "" };
        parameters(text).filter(|parameter| {
            !self.table.has_field(parameter.keyword) && self.table.deferred_bit(parameter.keyword).is_none()
        })
    }

    /// Returns the value of an unknown parameter, by its keyword in any letter case: `Some(None)` if it has no value.
    #[must_use]
    pub fn find(&self, keyword: &str) -> Option<Option<&str>> {
        self.unknown()
            .find(|parameter| parameter.keyword.eq_ignore_ascii_case(keyword))
            .map(|parameter| parameter.value)
    }

    /// Adds an unknown parameter.
    ///
    /// # Errors
    /// The keyword or the value is not valid, or the keyword is known and set by a method of the command.
    pub fn push(&mut self, keyword: &str, value: Option<&str>) -> Result<(), SyntaxError> {
        let known = self.table.has_field(keyword) || self.table.deferred_bit(keyword).is_some();
        if known || !is_keyword(keyword.as_bytes()) {
            return Err(SyntaxError::new(0, SyntaxFault::Parameter));
        }
        if value.is_some_and(|value| !is_value(value.as_bytes())) {
            return Err(SyntaxError::new(keyword.len() + 1, SyntaxFault::Value));
        }
        self.append(keyword, value);
        self.present.0 |= Present::UNKNOWN;
        Ok(())
    }

    /// Whether a deferred parameter is present.
    pub(crate) fn contains(&self, keyword: &str) -> bool {
        self.present.0 != 0 && self.table.deferred_bit(keyword).is_some_and(|bit| self.present.0 & bit != 0)
    }

    /// The value of a deferred parameter.
    pub(crate) fn deferred(&self, keyword: &str) -> Option<&str> {
        if !self.contains(keyword) {
            return None;
        }
        parameters(&self.text).find(|parameter| parameter.keyword.eq_ignore_ascii_case(keyword))?.value
    }

    /// Sets or removes a deferred parameter. The value's type guarantees that it is one word.
    pub(crate) fn set_deferred(&mut self, keyword: &str, value: Option<&dyn fmt::Display>) {
        if self.contains(keyword) {
            let kept = parameters(&self.text).filter(|one| !one.keyword.eq_ignore_ascii_case(keyword));
            let mut rest = Self::none(self.table);
            kept.for_each(|one| rest.append(one.keyword, one.value));
            self.text = rest.text;
        }
        let bit = self.table.deferred_bit(keyword).unwrap_or_default();
        self.present.0 &= !bit;
        if let Some(value) = value {
            self.append(keyword, Some(&value.to_string()));
            self.present.0 |= bit;
        }
    }

    fn append(&mut self, keyword: &str, value: Option<&str>) {
        if self.present == Present::NONE && !matches!(self.text, Cow::Owned(_)) {
            self.text = Cow::Owned(String::new());
        }
        let text = self.text.to_mut();
        for part in [" ", keyword] {
            text.push_str(part);
        }
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }

    /// Writes the unknown parameters.
    pub(crate) fn encode_unknown(&self, tx: &mut SendBuffer) {
        for parameter in self.unknown() {
            tx.put(b" ");
            tx.put(parameter.keyword.as_bytes());
            if let Some(value) = parameter.value {
                tx.put(b"=");
                tx.put(value.as_bytes());
            }
        }
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Parameters<'static> {
        let text = if self.present == Present::NONE {
            Cow::Borrowed("")
        } else {
            Cow::Owned(self.text.into_owned())
        };
        Parameters { text, present: self.present, table: self.table }
    }

    /// The parameters that have no field of their own.
    fn kept(&self) -> impl Iterator<Item = Parameter<'_>> {
        let text = if self.present == Present::NONE { "" } else { &*self.text };
        parameters(text).filter(|parameter| !self.table.has_field(parameter.keyword))
    }
}

impl PartialEq for Parameters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table && self.kept().eq(other.kept())
    }
}

impl Eq for Parameters<'_> {}

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.kept().map(|parameter| (parameter.keyword, parameter.value))).finish()
    }
}

/// The parameters of a text that was checked when it was parsed or built.
fn parameters(text: &str) -> impl Iterator<Item = Parameter<'_>> {
    text.split(' ').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
        Some((keyword, value)) => Parameter { keyword, value: Some(value) },
        None => Parameter { keyword: word, value: None },
    })
}

/// `esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")`
pub(crate) fn is_keyword(text: &[u8]) -> bool {
    matches!(text.split_first(), Some((first, rest))
        if ascii::is(*first, ascii::ALNUM) && rest.iter().all(|&byte| is_keyword_byte(byte)))
}

fn is_keyword_byte(byte: u8) -> bool {
    ascii::is(byte, ascii::ALNUM) || byte == b'-'
}

/// `esmtp-value = 1*(%d33-60 / %d62-126)`, and UTF-8 (RFC 6531 §3.3).
fn is_value(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|&byte| ascii::is(byte, ascii::VALUE))
        && ascii::printable(text).is_some()
}

/// A keyword and its value.
type KeywordValue<'i> = (&'i [u8], Option<&'i [u8]>);

/// `esmtp-param = esmtp-keyword ["=" esmtp-value]`, with the spaces in front. `None` at the end of the line.
fn esmtp_param(input: &[u8]) -> Parsed<'_, Option<KeywordValue<'_>>> {
    let (rest, spaces) = take_while(|byte| byte == b' ').parse(input)?;
    if rest.is_empty() {
        // Trailing spaces are tolerated (RFC 5321 §4.1.1).
        return Ok((rest, None));
    }
    if spaces.is_empty() {
        return ParseFailure::at(rest, SyntaxFault::SurplusArgument);
    }
    let (tail, keyword) = take_while1(is_keyword_byte).parse(rest)?;
    if keyword.first() == Some(&b'-') {
        return ParseFailure::at(rest, SyntaxFault::Parameter);
    }
    let Some(value) = tail.strip_prefix(b"=") else {
        return Ok((tail, Some((keyword, None))));
    };
    let (tail, value) = take_while1(|byte| ascii::is(byte, ascii::VALUE)).parse(value).map_err(
        |error: nom::Err<ParseFailure<'_>>| {
            error.map(|failure| ParseFailure { fault: SyntaxFault::Value, ..failure })
        },
    )?;
    Ok((tail, Some((keyword, Some(value)))))
}

/// What a command did with a parameter.
pub(crate) enum ParameterUse {
    /// Its value is stored in a field.
    Stored,
    /// Its value is valid and is kept as text.
    Deferred,
    /// Its keyword is not known.
    Unknown,
}

/// Parses the parameters of a command. `parse_one` stores or checks one of them.
pub(crate) fn parse_parameters<'i>(
    input: &'i [u8],
    table: ParameterTable,
    mut parse_one: impl FnMut(&'i [u8], Option<&'i [u8]>) -> Result<ParameterUse, SyntaxFault>,
) -> Parsed<'i, Parameters<'i>> {
    let mut rest = input;
    let mut present = Present::NONE;
    loop {
        let (tail, parameter) = esmtp_param(rest)?;
        let Some((keyword, value)) = parameter else { break };
        match parse_one(keyword, value) {
            Ok(ParameterUse::Stored) => {}
            Ok(ParameterUse::Unknown) => present.0 |= Present::UNKNOWN,
            Ok(ParameterUse::Deferred) => match note_deferred(&mut present, table, keyword) {
                Ok(()) => {}
                Err(fault) => return ParseFailure::at(rest, fault),
            },
            Err(fault) => return ParseFailure::at(rest, fault),
        }
        rest = tail;
    }
    if present == Present::NONE {
        return Ok((b"", Parameters::none(table)));
    }
    match ascii::printable(input) {
        Some(text) => Ok((b"", Parameters { text: Cow::Borrowed(text), present, table })),
        None => ParseFailure::at(input, SyntaxFault::Encoding),
    }
}

fn note_deferred(present: &mut Present, table: ParameterTable, keyword: &[u8]) -> Result<(), SyntaxFault> {
    let keyword = core::str::from_utf8(keyword).map_err(|_| SyntaxFault::Parameter)?;
    let bit = table.deferred_bit(keyword).ok_or(SyntaxFault::Parameter)?;
    if present.0 & bit != 0 {
        return Err(SyntaxFault::ParameterTwice);
    }
    present.0 |= bit;
    // `HOLDFOR=` and `HOLDUNTIL=` exclude each other (RFC 4865 §4).
    let held = |keyword| table.deferred_bit(keyword).is_some_and(|bit| present.0 & bit != 0);
    if held("HOLDFOR") && held("HOLDUNTIL") { Err(SyntaxFault::ParametersExclude) } else { Ok(()) }
}

/// Stores a value in a field that must be empty.
pub(crate) fn store<T>(field: &mut Option<T>, value: T) -> Result<ParameterUse, SyntaxFault> {
    match field.replace(value) {
        None => Ok(ParameterUse::Stored),
        Some(_) => Err(SyntaxFault::ParameterTwice),
    }
}

/// Stores a parameter that has no value.
pub(crate) fn store_flag(field: &mut bool, value: Option<&[u8]>) -> Result<ParameterUse, SyntaxFault> {
    match value {
        Some(_) => Err(SyntaxFault::Value),
        None if *field => Err(SyntaxFault::ParameterTwice),
        None => {
            *field = true;
            Ok(ParameterUse::Stored)
        }
    }
}

/// Parses a value by the function of its type.
pub(crate) fn parse_value<'i, T>(
    value: Option<&'i [u8]>,
    parse: impl FnOnce(&'i str) -> Result<T, SyntaxError>,
) -> Result<T, SyntaxFault> {
    let text = core::str::from_utf8(value.ok_or(SyntaxFault::Value)?).map_err(|_| SyntaxFault::Encoding)?;
    parse(text).map_err(|error| error.fault())
}

/// Checks a value by the function of its type, and keeps it as text.
pub(crate) fn defer<'i, T>(
    value: Option<&'i [u8]>,
    parse: impl FnOnce(&'i str) -> Result<T, SyntaxError>,
) -> Result<ParameterUse, SyntaxFault> {
    parse_value(value, parse).map(|_| ParameterUse::Deferred)
}

/// Writes a parameter whose value has its wire format as `Display`. No such type can hold a byte that ends a word or a
/// line.
pub(crate) fn encode_value(keyword: &str, value: Option<&impl fmt::Display>, tx: &mut SendBuffer) {
    let Some(value) = value else { return };
    for part in [" ", keyword, "="] {
        tx.put(part.as_bytes());
    }
    encode::display(value, tx);
}

/// Writes a parameter that has no value.
pub(crate) fn encode_flag(keyword: &str, tx: &mut SendBuffer) {
    tx.put(b" ");
    tx.put(keyword.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_and_checks_unknown_parameters() {
        let mut extra = Parameters::none(ParameterTable::Mail);
        extra.push("X-FOO", Some("bar")).unwrap();
        extra.push("X-BAR", None).unwrap();
        assert_eq!(extra.find("x-foo"), Some(Some("bar")));
        assert_eq!(extra.find("x-bar"), Some(None));
        assert_eq!(extra.unknown().count(), 2);
        for (keyword, value) in [
            ("", None),
            ("-A", None),
            ("A B", None),
            ("A", Some("x y")),
            ("A", Some("x\r\nRSET")),
            ("size", Some("1")),
            ("AUTH", Some("<>")),
        ] {
            assert!(extra.push(keyword, value).is_err(), "{keyword} {value:?}");
        }
        assert_eq!(extra.unknown().count(), 2);
    }

    #[test]
    fn replaces_and_removes_deferred_parameters() {
        let mut parameters = Parameters::none(ParameterTable::Mail);
        parameters.push("X-A", Some("1")).unwrap();
        parameters.set_deferred("ENVID", Some(&"one"));
        parameters.set_deferred("AUTH", Some(&"<>"));
        parameters.set_deferred("ENVID", Some(&"two"));
        assert_eq!((parameters.deferred("ENVID"), parameters.deferred("AUTH")), (Some("two"), Some("<>")));
        assert_eq!(parameters.unknown().count(), 1);
        parameters.set_deferred("ENVID", None);
        assert_eq!((parameters.deferred("ENVID"), parameters.deferred("AUTH")), (None, Some("<>")));
        assert_eq!(parameters.clone().into_owned(), parameters);
    }
}
