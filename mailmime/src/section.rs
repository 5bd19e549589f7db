//! Sections: the names of parts of a message, and the bytes that they name (RFC 9051 §6.4.5.1).
//!
//! Bodies are not read here. A section is a range of the message, or a subset of a header that the caller reads and
//! filters with [`header_fields`] or [`HeaderFilter`](crate::HeaderFilter).

use crate::header::{HeaderSubset, header_fields};
use crate::structure::{ByteRange, Part, Structure};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A section of a message, as in `BODY[1.2.MIME]`: the part and what of it.
///
/// Parsing accepts the text between the brackets, in any case. Field names may be quoted.
///
/// ```
/// use mailmime::{Section, SectionText};
///
/// let section: Section = "1.2.MIME".parse()?;
/// assert_eq!((section.path.as_slice(), section.text), (&[1, 2][..], SectionText::Mime));
/// # Ok::<(), mailmime::InvalidSection>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The part numbers, each from 1. An empty path is the message itself.
    pub path: Vec<u32>,
    /// What of the part or message.
    pub text: SectionText,
}

/// The section-text of a section, or the whole part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SectionText {
    /// `BODY[]` or `BODY[1.2]`: the whole message, or the body of the part.
    #[default]
    Whole,
    /// `HEADER`.
    Header,
    /// `HEADER.FIELDS (…)`.
    HeaderFields(Vec<String>),
    /// `HEADER.FIELDS.NOT (…)`.
    HeaderFieldsNot(Vec<String>),
    /// `TEXT`.
    Text,
    /// `MIME`.
    Mime,
}

impl FromStr for Section {
    type Err = InvalidSection;

    fn from_str(spec: &str) -> Result<Self, InvalidSection> {
        let mut path = Vec::new();
        let mut rest = spec;
        while rest.starts_with(|first: char| first.is_ascii_digit()) {
            let (number, more) =
                rest.split_once('.').map_or((rest, None), |(number, more)| (number, Some(more)));
            let is_number = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
            path.push(number.parse().ok().filter(|_| is_number).ok_or(InvalidSection)?);
            match more {
                None => rest = "",
                // Nothing follows the last point.
                Some("") => return Err(InvalidSection),
                Some(more) => rest = more,
            }
        }
        let text = SectionText::parse(rest).ok_or(InvalidSection)?;
        match text == SectionText::Mime && path.is_empty() {
            true => Err(InvalidSection),
            false => Ok(Self { path, text }),
        }
    }
}

impl SectionText {
    fn parse(text: &str) -> Option<Self> {
        let (name, list) = text.split_once(' ').map_or((text, None), |(name, list)| (name, Some(list)));
        Some(match (name.to_ascii_uppercase().as_str(), list) {
            ("", None) => Self::Whole,
            ("HEADER", None) => Self::Header,
            ("TEXT", None) => Self::Text,
            ("MIME", None) => Self::Mime,
            ("HEADER.FIELDS", Some(list)) => Self::HeaderFields(parse_names(list)?),
            ("HEADER.FIELDS.NOT", Some(list)) => Self::HeaderFieldsNot(parse_names(list)?),
            _ => return None,
        })
    }
}

/// Parses `(name "name" …)`.
fn parse_names(list: &str) -> Option<Vec<String>> {
    let names = list.strip_prefix('(')?.strip_suffix(')')?;
    let unquoted = |name: &str| {
        let name = match name.strip_prefix('"') {
            Some(inner) => inner.strip_suffix('"')?,
            None => name,
        };
        // The characters of a field name (RFC 5322 §2.2), without those that quote or group.
        let is_name =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b':' | b'"' | b'(' | b')' | b'\\');
        (!name.is_empty() && name.bytes().all(is_name)).then(|| name.to_owned())
    };
    names.split(' ').map(unquoted).collect()
}

/// A text that names no section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSection;

impl fmt::Display for InvalidSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a section: expected part numbers, a section text as HEADER or TEXT, or both, as in 1.2.MIME",
        )
    }
}

impl std::error::Error for InvalidSection {}

/// The place of a section in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionLocation<'a> {
    /// This range of the message.
    Range(ByteRange),
    /// A subset of the header in the range `header`: read it and pass it to [`header_fields`] or, in pieces, to a
    /// [`HeaderFilter`](crate::HeaderFilter).
    Fields {
        /// The range of the header.
        header: ByteRange,
        /// The requested field names.
        names: &'a [String],
        /// Whether the fields with these names are wanted, or all others.
        subset: HeaderSubset,
    },
}

impl Structure {
    /// Finds a section. See [`Part::locate`].
    pub fn locate<'a>(&self, section: &'a Section) -> Option<SectionLocation<'a>> {
        self.root.locate(&section.path, &section.text)
    }

    /// Returns the bytes of a section of a message in memory. `message` is the message that was scanned.
    ///
    /// Returns `None` as [`Part::locate`].
    pub fn section<'m>(&self, message: &'m [u8], section: &Section) -> Option<Cow<'m, [u8]>> {
        Some(match self.locate(section)? {
            SectionLocation::Range(range) => Cow::Borrowed(range.slice(message)),
            SectionLocation::Fields { header, names, subset } => {
                Cow::Owned(header_fields(header.slice(message), names, subset))
            }
        })
    }
}

impl Part {
    /// Returns the part with these part numbers, as in `BODY[1.2]`, or `None`. The empty path is the root. `self` is the
    /// root of a message.
    pub fn part(&self, path: &[u32]) -> Option<&Self> {
        match find(self, path)? {
            SectionOwner::Message => Some(self),
            SectionOwner::Part(part) => Some(part),
        }
    }

    /// Finds a section by its part numbers and text. `self` is the root of a message. Parts are numbered from 1; an empty
    /// path is the message itself.
    ///
    /// Returns `None` if the message has no such part, or the part no such text: `HEADER` of a part that is not a
    /// message, or `MIME` without a part number. IMAP answers NIL then.
    pub fn locate<'a>(&self, path: &[u32], text: &'a SectionText) -> Option<SectionLocation<'a>> {
        let (part, message) = match find(self, path)? {
            SectionOwner::Message => (self, Some(self)),
            SectionOwner::Part(part) => {
                (part, part.message.as_deref().map(|message: &Structure| &message.root))
            }
        };
        let range = match text {
            SectionText::Whole if path.is_empty() => {
                ByteRange { start: self.header.start, end: self.body.end }
            }
            SectionText::Whole => part.body,
            SectionText::Mime if path.is_empty() => return None,
            SectionText::Mime => part.header,
            SectionText::Text => message?.body,
            SectionText::Header => message?.header,
            SectionText::HeaderFields(names) => {
                return Some(SectionLocation::Fields {
                    header: message?.header,
                    names,
                    subset: HeaderSubset::Listed,
                });
            }
            SectionText::HeaderFieldsNot(names) => {
                let subset = HeaderSubset::NotListed;
                return Some(SectionLocation::Fields { header: message?.header, names, subset });
            }
        };
        Some(SectionLocation::Range(range))
    }
}

enum SectionOwner<'p> {
    Message,
    Part(&'p Part),
}

/// Follows the part numbers. A message that is not a multipart has one part, number 1, which is its body.
fn find<'p>(root: &'p Part, path: &[u32]) -> Option<SectionOwner<'p>> {
    let mut inside = Some(root);
    let mut found = SectionOwner::Message;
    for &number in path {
        let container = inside?;
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let part = match container.is_multipart() {
            true => container.children.get(index)?,
            false if index == 0 => container,
            false => return None,
        };
        inside = match &part.message {
            Some(message) => Some(&message.root),
            None => part.is_multipart().then_some(part),
        };
        found = SectionOwner::Part(part);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_section_names() {
        let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        for (spec, path, text) in [
            ("", &[][..], SectionText::Whole),
            ("1", &[1], SectionText::Whole),
            ("10.4294967295", &[10, u32::MAX], SectionText::Whole),
            ("header", &[], SectionText::Header),
            ("3.TEXT", &[3], SectionText::Text),
            ("1.2.Mime", &[1, 2], SectionText::Mime),
            ("header.fields (From \"X-A\")", &[], SectionText::HeaderFields(fields(&["From", "X-A"]))),
            ("4.HEADER.FIELDS.NOT (To)", &[4], SectionText::HeaderFieldsNot(fields(&["To"]))),
        ] {
            assert_eq!(spec.parse(), Ok(Section { path: path.to_vec(), text }), "{spec:?}");
        }
        for spec in [
            "0",
            "01",
            "1.",
            ".1",
            "1..2",
            "4294967296",
            "1x",
            "MIME",
            "1.HEADERS",
            "HEADER.FIELDS",
            "HEADER.FIELDS ()",
            "HEADER.FIELDS (a",
            "HEADER.FIELDS (a  b)",
            "HEADER.FIELDS (\"a)",
            "HEADER.FIELDS (a:)",
            "TEXT (a)",
            " 1",
            "1 ",
        ] {
            assert_eq!(spec.parse::<Section>(), Err(InvalidSection), "{spec:?}");
        }
    }
}
