//! Sections: from a part specifier to the octets it names (RFC 9051 §6.4.5.1).
//!
//! Knows the numbering of parts. Does not read bodies: a section is a range of the message, or a subset of a header
//! that the caller reads and then passes to [`header_fields`].

use super::header::{Subset, header_fields};
use super::structure::{ByteRange, Part, Structure};
use std::borrow::Cow;

/// section-text, and the whole part where none is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// `BODY[]` or `BODY[1.2]`: everything of the message, or the body of the part.
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

/// Where a section stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionLocation<'a> {
    /// These octets of the message.
    Range(ByteRange),
    /// A subset of the header that stands in `header`: read it and pass it to [`header_fields`].
    Fields {
        /// Where the header stands.
        header: ByteRange,
        /// The names asked for.
        names: &'a [String],
        /// Whether those or all others are wanted.
        subset: Subset,
    },
}

/// Finds a section by part numbers (counted from 1; none for the message itself) and text.
///
/// `None` where the message has no such part, or the part no such text (`HEADER` of a part that is no message,
/// `MIME` without a part number): IMAP answers NIL.
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
            return Some(SectionLocation::Fields { header: message?.header, names, subset: Subset::Listed });
        }
        SectionText::HeaderFieldsNot(names) => {
            return Some(SectionLocation::Fields {
                header: message?.header,
                names,
                subset: Subset::NotListed,
            });
        }
    };
    Some(SectionLocation::Range(range))
}

/// The octets of a section of a message that stands in memory.
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
    /// The part of that number path, as in BODY[1.2]; `None` where there is none. The empty path is the root.
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

/// Follows the numbers. A message that is no multipart has one part, 1, which is its body.
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
