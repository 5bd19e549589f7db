//! `FETCH` and `UID FETCH`: the command and its attributes (RFC 9051 §6.4.5, and the extensions that add to it).
//!
//! ```text
//! fetch-att = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / … / "BODY" [".PEEK"] section [partial] /
//!             "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary
//! ```
//!
//! An attribute has the name of the item that answers it (see [`FetchItem`](crate::types::FetchItem)). To ask for an
//! attribute that is not listed here, send a [`RawCommand`](crate::types::RawCommand).

pub(crate) mod encode;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::{owned_enum, owned_struct, plain};
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

/// How to fetch (RFC 4466 `fetch-modifier`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchModifier {
    /// `CHANGEDSINCE`: only messages with a greater mod-sequence (RFC 7162 §3.1.4.1). Not 0, below 2⁶³.
    ChangedSince(u64),
    /// `VANISHED`: tell also which have gone since; only in UID FETCH with `CHANGEDSINCE` (RFC 7162 §3.2.6).
    Vanished,
    /// `PARTIAL`: only a page of them (RFC 9394).
    Partial(PartialRange),
}

impl<'i> FetchCommand<'i> {
    /// A FETCH of these attributes of these messages.
    #[must_use]
    pub const fn new(messages: SequenceSet<'i>, attributes: LazyList<'i, FetchAttribute<'i>>) -> Self {
        Self { messages, attributes, modifiers: LazyList::EMPTY }
    }
}

impl Sealed for FetchModifier {}

/// One thing to be fetched of each message.
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
    /// `BODY[…]`, `BODY.PEEK[…]`, `BINARY[…]`, `BINARY.PEEK[…]`, `RFC822`, `RFC822.HEADER`, `RFC822.TEXT`: the contents
    /// of a section. Which of them it is, the section says.
    Section {
        /// Which section.
        section: Section<'i>,
        /// Which piece of it. `RFC822` and its kin have none.
        partial: Option<Partial>,
        /// Whether the message stays unseen. `RFC822` and its kin have no choice.
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
    /// `PREVIEW (LAZY)`: only if the server has it already.
    PreviewLazy,
    /// `SAVEDATE` (RFC 8514)
    SaveDate,
    /// `X-GM-MSGID`
    GmailMessageId,
    /// `X-GM-THRID`
    GmailThreadId,
    /// `X-GM-LABELS`
    GmailLabels,
}

/// A piece of a section: `<offset.length>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// Where it begins, in bytes. Below 2⁶³.
    pub offset: u64,
    /// How many bytes it has at most. Not 0, below 2⁶³.
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

    /// All of a section, the message's flags staying as they are: `BODY.PEEK[…]` or `BINARY.PEEK[…]`.
    #[must_use]
    pub const fn peek(section: Section<'i>) -> Self {
        Self::Section { section, partial: None, peek: Peek::Yes }
    }

    /// All of a section, the message becoming `\Seen`: `BODY[…]` or `BINARY[…]`.
    #[must_use]
    pub const fn read(section: Section<'i>) -> Self {
        Self::Section { section, partial: None, peek: Peek::No }
    }

    /// Whether fetching it sets `\Seen`.
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
    /// Whether fetching these sets `\Seen`.
    #[must_use]
    pub fn sets_seen(&self) -> bool {
        self.iter().any(|attribute| attribute.sets_seen())
    }
}

impl Sealed for FetchAttribute<'_> {}

plain!(FetchModifier, Partial, Peek);

owned_struct!(FetchCommand { messages, attributes, modifiers });

owned_enum!(FetchAttribute { Flags, Uid, Size, InternalDate, Envelope, Body, BodyStructure, Section { section, partial, peek }, BinarySize(a), ModSeq, EmailId, ThreadId, Preview, PreviewLazy, SaveDate, GmailMessageId, GmailThreadId, GmailLabels });

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
