//! What a FETCH wants of each message.
//!
//! This file knows items and sections by the names that they are answered with, and by what the store calls them. It
//! reads nothing.

use mailstore::Columns;
use mailstore::mime::SectionText;
use proto_imap::types::{FetchAttribute, Partial, Section, SectionItem};

use super::translate;

/// The most different things that one FETCH may ask for.
pub(super) const ITEM_LIMIT: usize = 256;

/// What a FETCH wants of each message.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) items: Vec<Item>,
    pub(super) sets_seen: bool,
}

/// One thing that is wanted.
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
    Section(Named),
    BinarySize(Named),
}

/// A section, by the name that it is answered with and by what the store calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    item: SectionItem,
    spec: String,
    pub(super) path: Vec<u32>,
    pub(super) text: SectionText,
    pub(super) partial: Option<(u64, u64)>,
}

/// Why a FETCH cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unwanted {
    /// This server does not have it.
    Unsupported,
    /// It asks for more than [`ITEM_LIMIT`] things.
    TooMany,
}

impl Named {
    /// The section that the client asked for; `None` for one that cannot be named in an answer.
    fn new(section: Section<'_>, partial: Option<Partial>) -> Option<Self> {
        let (path, text) = translate::section(section);
        let named = Self {
            item: section.item(),
            spec: String::from_utf8_lossy(section.spec()).into_owned(),
            path,
            text,
            partial: partial.map(|partial| (partial.offset, partial.length)),
        };
        named.section()?;
        Some(named)
    }

    /// Whether it is a part with its Content-Transfer-Encoding undone (RFC 3516).
    pub(super) fn is_decoded(&self) -> bool {
        self.item == SectionItem::Binary && !self.path.is_empty()
    }

    /// The name to answer with.
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

impl Wanted {
    /// What these attributes ask for.
    pub(super) fn new<'i>(attributes: impl Iterator<Item = FetchAttribute<'i>>) -> Result<Self, Unwanted> {
        let named = |section, partial| Named::new(section, partial).ok_or(Unwanted::Unsupported);
        let mut wanted = Self { items: Vec::new(), sets_seen: false };
        for attribute in attributes {
            wanted.sets_seen |= attribute.sets_seen();
            wanted.add(match attribute {
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
                FetchAttribute::Section { section, partial, .. } => Item::Section(named(section, partial)?),
                FetchAttribute::BinarySize(section) => Item::BinarySize(named(section, None)?),
                _ => return Err(Unwanted::Unsupported),
            });
            if wanted.items.len() > ITEM_LIMIT {
                return Err(Unwanted::TooMany);
            }
        }
        Ok(wanted)
    }

    /// Adds an item, unless it is wanted already.
    pub(super) fn add(&mut self, item: Item) {
        if !self.items.contains(&item) {
            self.items.push(item);
        }
    }

    /// Whether the contents of messages are needed.
    pub(super) fn has_sections(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Section(_) | Item::BinarySize(_)))
    }

    pub(super) fn columns(&self) -> Columns {
        let mut columns = Columns::summary();
        for item in &self.items {
            columns = match item {
                Item::Envelope => columns.with_envelope(),
                Item::EmailId => columns.with_email_id(),
                Item::Body | Item::BodyStructure => columns.with_structure(),
                Item::Section(_) | Item::BinarySize(_) => columns.with_structure().with_small_bodies(),
                _ => columns,
            };
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_twice_is_answered_once() {
        let one = FetchAttribute::read(Section::FULL);
        let wanted = Wanted::new([one, FetchAttribute::Uid, one].into_iter()).unwrap();
        assert_eq!(wanted.items.len(), 2);
        assert!(wanted.sets_seen);
        let unsupported = Wanted::new([FetchAttribute::Preview].into_iter());
        assert_eq!(unsupported.unwrap_err(), Unwanted::Unsupported);
    }
}
