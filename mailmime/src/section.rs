//! Sections: finds the bytes that a section specifier names (RFC 9051 §6.4.5.1).
//!
//! Bodies are not read here. A section is a range of the message, or a subset of a header that the caller reads and
//! filters with [`header_fields`].

use crate::header::{HeaderSubset, header_fields};
use crate::structure::{ByteRange, Part, Structure};
use std::borrow::Cow;

/// The section-text of a section, or the whole part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// `BODY[]` or `BODY[1.2]`: the whole message, or the body of the part.
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

/// The place of a section in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionLocation<'a> {
    /// This range of the message.
    Range(ByteRange),
    /// A subset of the header in the range `header`: read it and pass it to [`header_fields`].
    Fields {
        /// The range of the header.
        header: ByteRange,
        /// The requested field names.
        names: &'a [String],
        /// Whether the fields with these names are wanted, or all others.
        subset: HeaderSubset,
    },
}

/// Finds a section by its part numbers and text. Parts are numbered from 1; an empty path is the message itself.
///
/// Returns `None` if the message has no such part, or the part no such text: `HEADER` of a part that is not a message,
/// or `MIME` without a part number. IMAP answers NIL then.
pub fn locate_section<'a>(root: &Part, path: &[u32], text: &'a SectionText) -> Option<SectionLocation<'a>> {
    let (part, message) = match find(root, path)? {
        SectionOwner::Message => (root, Some(root)),
        SectionOwner::Part(part) => (part, part.message.as_deref().map(|message: &Structure| &message.root)),
    };
    let range = match text {
        SectionText::Whole if path.is_empty() => ByteRange { start: root.header.start, end: root.body.end },
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
            return Some(SectionLocation::Fields {
                header: message?.header,
                names,
                subset: HeaderSubset::NotListed,
            });
        }
    };
    Some(SectionLocation::Range(range))
}

/// Returns the bytes of a section of a message in memory, or `None` as [`locate_section`].
pub fn extract_section<'m>(
    message: &'m [u8],
    root: &Part,
    path: &[u32],
    text: &SectionText,
) -> Option<Cow<'m, [u8]>> {
    Some(match locate_section(root, path, text)? {
        SectionLocation::Range(range) => Cow::Borrowed(slice(message, range)),
        SectionLocation::Fields { header, names, subset } => {
            Cow::Owned(header_fields(slice(message, header), names, subset))
        }
    })
}

impl Part {
    /// Returns the part with these part numbers, as in `BODY[1.2]`, or `None`. The empty path is the root.
    pub fn part(&self, path: &[u32]) -> Option<&Self> {
        match find(self, path)? {
            SectionOwner::Message => Some(self),
            SectionOwner::Part(part) => Some(part),
        }
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

fn slice(message: &[u8], range: ByteRange) -> &[u8] {
    let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(message.len());
    message.get(bound(range.start)..bound(range.end)).unwrap_or_default()
}
