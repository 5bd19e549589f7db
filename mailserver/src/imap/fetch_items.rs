//! The items that a FETCH requests.
//!
//! Each section is kept under the name that the response uses and under the name that the store uses. This module
//! reads no messages.

use std::fmt::Write as _;

use mailmime::SectionText;
use mailstore::Columns;
use proto_imap::types::{FetchAttribute, Partial, Section, SectionItem};

use super::previews::PreviewEffort;
use super::translate;

/// The maximum number of different items in one FETCH.
pub(super) const ITEM_LIMIT: usize = 256;

/// The items that a FETCH requests of each message.
#[derive(Debug, Clone)]
pub(super) struct FetchRequest {
    pub(super) items: Vec<Item>,
    pub(super) sets_seen: bool,
    /// How much may be done for previews, if they are requested.
    pub(super) preview: Option<PreviewEffort>,
}

/// One requested item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Flags,
    Uid,
    Size,
    InternalDate,
    Envelope,
    Body,
    BodyStructure,
    ModSeq,
    EmailId,
    ThreadId,
    SaveDate,
    Preview,
    Section(RequestedSection),
    BinarySize(RequestedSection),
}

/// A requested section, with its name in the response and its name in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestedSection {
    item: SectionItem,
    spec: String,
    pub(super) path: Vec<u32>,
    pub(super) text: SectionText,
    pub(super) partial: Option<(u64, u64)>,
}

/// Why a FETCH was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RejectedFetch {
    /// The server does not support an item.
    Unsupported,
    /// There are more than [`ITEM_LIMIT`] items.
    TooMany,
}

impl RequestedSection {
    /// Returns the requested section, or `None` if it has no name that a response could use.
    fn new(section: Section<'_>, partial: Option<Partial>) -> Option<Self> {
        let (path, text) = translate::section(section);
        let named = Self {
            item: section.item(),
            spec: response_spec(section, &path, &text)?,
            path,
            text,
            partial: partial.map(|partial| (partial.offset, partial.length)),
        };
        named.section()?;
        Some(named)
    }

    /// Returns whether this is a part without its Content-Transfer-Encoding (RFC 3516).
    pub(super) fn is_decoded(&self) -> bool {
        self.item == SectionItem::Binary && !self.path.is_empty()
    }

    /// Returns the name that the response uses.
    pub(super) fn section(&self) -> Option<Section<'_>> {
        match self.item {
            SectionItem::Body => Section::body(&self.spec).ok(),
            SectionItem::Binary => Section::binary(&self.spec).ok(),
            SectionItem::Rfc822 => Some(Section::RFC822),
            SectionItem::Rfc822Header => Some(Section::RFC822_HEADER),
            SectionItem::Rfc822Text => Some(Section::RFC822_TEXT),
        }
    }
}

impl FetchRequest {
    /// Collects the items that these attributes request.
    pub(super) fn new<'i>(
        attributes: impl Iterator<Item = FetchAttribute<'i>>,
    ) -> Result<Self, RejectedFetch> {
        let named =
            |section, partial| RequestedSection::new(section, partial).ok_or(RejectedFetch::Unsupported);
        let mut request = Self { items: Vec::new(), sets_seen: false, preview: None };
        for attribute in attributes {
            request.sets_seen |= attribute.sets_seen();
            let item = match attribute {
                FetchAttribute::Flags => Item::Flags,
                FetchAttribute::Uid => Item::Uid,
                FetchAttribute::Size => Item::Size,
                FetchAttribute::InternalDate => Item::InternalDate,
                FetchAttribute::Envelope => Item::Envelope,
                FetchAttribute::Body => Item::Body,
                FetchAttribute::BodyStructure => Item::BodyStructure,
                FetchAttribute::ModSeq => Item::ModSeq,
                FetchAttribute::EmailId => Item::EmailId,
                FetchAttribute::ThreadId => Item::ThreadId,
                FetchAttribute::SaveDate => Item::SaveDate,
                FetchAttribute::Preview => request.preview(PreviewEffort::Full),
                FetchAttribute::PreviewLazy => request.preview(PreviewEffort::Lazy),
                FetchAttribute::Section { section, partial, .. } => Item::Section(named(section, partial)?),
                FetchAttribute::BinarySize(section) => Item::BinarySize(named(section, None)?),
                _ => return Err(RejectedFetch::Unsupported),
            };
            request.add(item);
            if request.items.len() > ITEM_LIMIT {
                return Err(RejectedFetch::TooMany);
            }
        }
        Ok(request)
    }

    /// Notes that previews are requested.
    fn preview(&mut self, effort: PreviewEffort) -> Item {
        self.preview = self.preview.max(Some(effort));
        Item::Preview
    }

    /// Adds an item unless it is already present.
    pub(super) fn add(&mut self, item: Item) {
        if !self.items.contains(&item) {
            self.items.push(item);
        }
    }

    /// Returns whether the content of the messages is needed.
    pub(super) fn has_sections(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Section(_) | Item::BinarySize(_)))
    }

    pub(super) fn columns(&self) -> Columns {
        let mut columns = Columns::summary();
        for item in &self.items {
            columns = match item {
                Item::Envelope => columns.with_envelope(),
                Item::EmailId => columns.with_email_id(),
                Item::Preview => columns.with_preview(),
                Item::Body | Item::BodyStructure => columns.with_structure(),
                Item::Section(_) | Item::BinarySize(_) => columns.with_structure().with_small_bodies(),
                _ => columns,
            };
        }
        columns
    }
}

/// Returns the section as the response names it. Field names that the client sent as literals become atoms or quoted
/// strings. Returns `None` if a field name can be neither.
fn response_spec(section: Section<'_>, path: &[u32], text: &SectionText) -> Option<String> {
    if !section.spec().contains(&b'\n') {
        return Some(String::from_utf8_lossy(section.spec()).into_owned());
    }
    let (word, names) = match text {
        SectionText::HeaderFields(names) => ("HEADER.FIELDS", names),
        SectionText::HeaderFieldsNot(names) => ("HEADER.FIELDS.NOT", names),
        _ => return None,
    };
    let mut spec = String::new();
    for number in path {
        write!(spec, "{number}.").ok()?;
    }
    for (index, name) in names.iter().enumerate() {
        if !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return None;
        }
        if index == 0 {
            spec.push_str(word);
            spec.push_str(" (");
        } else {
            spec.push(' ');
        }
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            spec.push_str(name);
        } else {
            write!(spec, "\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")).ok()?;
        }
    }
    spec.push(')');
    Some(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_a_repeated_item_once() {
        let one = FetchAttribute::read(Section::FULL);
        let request = FetchRequest::new([one, FetchAttribute::Uid, one].into_iter()).unwrap();
        assert_eq!(request.items.len(), 2);
        assert!(request.sets_seen);
        let unsupported = FetchRequest::new([FetchAttribute::GmailMessageId].into_iter());
        assert_eq!(unsupported.unwrap_err(), RejectedFetch::Unsupported);
    }
}
