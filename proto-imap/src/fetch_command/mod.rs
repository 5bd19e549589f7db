//! `FETCH` and `UID FETCH`: the command and its attributes (RFC 9051 §6.4.5, and the extensions that add to it).
//!
//! ```text
//! fetch-att = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / … / "BODY" [".PEEK"] section [partial] /
//!             "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary
//! ```
//!
//! An attribute has the name of the item that answers it (see [`FetchItem`](crate::types::FetchItem)). To request any
//! other attribute, send a [`RawCommand`](crate::types::RawCommand).

pub(crate) mod encode;
pub(crate) mod parse;

use crate::annotation::AnnotationPattern;
use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::string::IString;
use crate::partial_range::PartialRange;
use crate::section::{Section, SectionItem};
use crate::sequence_set::SequenceSet;

/// `FETCH` and `UID FETCH` (RFC 9051 §6.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchCommand<'i> {
    /// The messages.
    pub messages: SequenceSet<'i>,
    /// The attributes to fetch, at least one. A macro is expanded.
    pub attributes: LazyList<'i, FetchAttribute<'i>>,
    /// The modifiers.
    pub modifiers: LazyList<'i, FetchModifier>,
}

/// A modifier of FETCH (RFC 4466 `fetch-modifier`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchModifier {
    /// `CHANGEDSINCE`: only messages with a greater mod-sequence (RFC 7162 §3.1.4.1). Not 0, below 2⁶³.
    ChangedSince(u64),
    /// `VANISHED`: also report the messages expunged since then. Only in UID FETCH with `CHANGEDSINCE` (RFC 7162
    /// §3.2.6).
    Vanished,
    /// `PARTIAL`: only a page of the messages (RFC 9394).
    Partial(PartialRange),
}

impl<'i> FetchCommand<'i> {
    /// Creates a FETCH of these attributes of these messages.
    #[must_use]
    pub const fn new(messages: SequenceSet<'i>, attributes: LazyList<'i, FetchAttribute<'i>>) -> Self {
        Self { messages, attributes, modifiers: LazyList::EMPTY }
    }
}

impl Sealed for FetchModifier {}

/// An attribute to fetch of each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchAttribute<'i> {
    /// `FLAGS`
    Flags,
    /// `UID`
    Uid,
    /// `RFC822.SIZE`, in bytes.
    Size,
    /// `INTERNALDATE`
    InternalDate,
    /// `ENVELOPE`
    Envelope,
    /// `BODY` without a section: the structure without its extension data.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// The contents of a section: `BODY[…]`, `BODY.PEEK[…]`, `BINARY[…]`, `BINARY.PEEK[…]`, `RFC822`, `RFC822.HEADER`
    /// or `RFC822.TEXT`. The section determines which of them it is.
    Section {
        /// The section.
        section: Section<'i>,
        /// The part of the section to fetch. `RFC822` and similar items allow none.
        partial: Option<Partial>,
        /// Whether the message stays unseen. `RFC822` and similar items have no `PEEK`.
        peek: Peek,
    },
    /// `BINARY.SIZE[…]`: the decoded size of a section (RFC 3516).
    BinarySize(Section<'i>),
    /// `MODSEQ` (RFC 7162)
    ModSeq,
    /// `EMAILID` (RFC 8474)
    EmailId,
    /// `THREADID` (RFC 8474)
    ThreadId,
    /// `PREVIEW` (RFC 8970)
    Preview,
    /// `PREVIEW (LAZY)`: only if the server already has it.
    PreviewLazy,
    /// `SAVEDATE` (RFC 8514)
    SaveDate,
    /// `ANNOTATION` (RFC 5257)
    Annotation {
        /// The entries to return, at least one.
        entries: LazyList<'i, AnnotationPattern<'i>>,
        /// The attributes to return of each, at least one: `value`, `size.priv`. Without `.priv` or `.shared`, both are
        /// returned.
        attributes: LazyList<'i, IString<'i>>,
    },
    /// `X-GM-MSGID`
    GmailMessageId,
    /// `X-GM-THRID`
    GmailThreadId,
    /// `X-GM-LABELS`
    GmailLabels,
}

/// A part of a section: `<offset.length>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// The offset of its first byte. Below 2⁶³.
    pub offset: u64,
    /// The maximum number of bytes. Not 0, below 2⁶³.
    pub length: u64,
}

/// Whether fetching a section leaves the message unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// `BODY.PEEK`, `BINARY.PEEK`: the flags stay as they are.
    Yes,
    /// `BODY`, `BINARY`: sets `\Seen`.
    No,
}

impl<'i> FetchAttribute<'i> {
    /// The attributes of the macro `FAST`.
    pub const FAST: &'static [FetchAttribute<'static>] =
        &[FetchAttribute::Flags, FetchAttribute::InternalDate, FetchAttribute::Size];
    /// The attributes of the macro `ALL`.
    pub const ALL: &'static [FetchAttribute<'static>] = &[
        FetchAttribute::Flags,
        FetchAttribute::InternalDate,
        FetchAttribute::Size,
        FetchAttribute::Envelope,
    ];
    /// The attributes of the macro `FULL`.
    pub const FULL: &'static [FetchAttribute<'static>] = &[
        FetchAttribute::Flags,
        FetchAttribute::InternalDate,
        FetchAttribute::Size,
        FetchAttribute::Envelope,
        FetchAttribute::Body,
    ];

    /// Fetches a whole section and leaves the message's flags unchanged: `BODY.PEEK[…]` or `BINARY.PEEK[…]`.
    #[must_use]
    pub const fn peek(section: Section<'i>) -> Self {
        Self::Section { section, partial: None, peek: Peek::Yes }
    }

    /// Fetches a whole section and sets `\Seen`: `BODY[…]` or `BINARY[…]`.
    #[must_use]
    pub const fn read(section: Section<'i>) -> Self {
        Self::Section { section, partial: None, peek: Peek::No }
    }

    /// Returns whether fetching the attribute sets `\Seen`.
    #[must_use]
    pub fn sets_seen(&self) -> bool {
        match self {
            Self::Section { section, peek, .. } => match section.item() {
                SectionItem::Body | SectionItem::Binary => *peek == Peek::No,
                SectionItem::Rfc822 | SectionItem::Rfc822Text => true,
                SectionItem::Rfc822Header => false,
            },
            _ => false,
        }
    }
}

impl<'i> LazyList<'i, FetchAttribute<'i>> {
    /// Returns whether fetching these attributes sets `\Seen`.
    #[must_use]
    pub fn sets_seen(&self) -> bool {
        self.iter().any(|attribute| attribute.sets_seen())
    }
}

impl Sealed for FetchAttribute<'_> {}

plain!(FetchModifier, Partial, Peek);

owned_struct!(FetchCommand { messages, attributes, modifiers });

owned_enum!(FetchAttribute { Flags, Uid, Size, InternalDate, Envelope, Body, BodyStructure, Section { section, partial, peek }, BinarySize(a), ModSeq, EmailId, ThreadId, Preview, PreviewLazy, SaveDate, Annotation { entries, attributes }, GmailMessageId, GmailThreadId, GmailLabels });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_attributes_set_seen() {
        assert!(!FetchAttribute::peek(Section::FULL).sets_seen());
        assert!(FetchAttribute::read(Section::FULL).sets_seen());
        assert!(!LazyList::new(FetchAttribute::FULL).sets_seen());
    }
}
