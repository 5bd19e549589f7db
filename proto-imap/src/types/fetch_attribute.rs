//! What a FETCH asks for (RFC 9051 §6.4.5, and the extensions that add to it).
//!
//! ```text
//! fetch-att = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / … / "BODY" [".PEEK"] section [partial] /
//!             "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary
//! ```
//!
//! An attribute has the name of the item that answers it (see [`FetchItem`](super::FetchItem)). An attribute that this
//! library doesn't know can be asked for with a [`RawCommand`](super::command::RawCommand).

use core::fmt;

use super::fetch::{Section, SectionItem};
use super::view::{LazyList, sealed::Sealed};
use crate::parse;

/// One thing to be fetched of each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchAttribute<'i> {
    /// `FLAGS`
    Flags,
    /// `UID`
    Uid,
    /// `RFC822.SIZE`, in octets.
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
    /// `PREVIEW (LAZY)`: if it is at hand.
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
    /// Where it begins, in octets. Below 2⁶³.
    pub offset: u64,
    /// How many octets it has at most. Not 0, below 2⁶³.
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
    /// What the macro `FAST` stands for.
    pub const FAST: &'static [FetchAttribute<'static>] =
        &[FetchAttribute::Flags, FetchAttribute::InternalDate, FetchAttribute::Size];
    /// What the macro `ALL` stands for.
    pub const ALL: &'static [FetchAttribute<'static>] = &[
        FetchAttribute::Flags,
        FetchAttribute::InternalDate,
        FetchAttribute::Size,
        FetchAttribute::Envelope,
    ];
    /// What the macro `FULL` stands for.
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

/// Why a text is no section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSection;

impl fmt::Display for InvalidSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section is like 1.2, HEADER, 3.TEXT, 1.MIME or HEADER.FIELDS (FROM \"TO\"), or empty")
    }
}

impl core::error::Error for InvalidSection {}

impl<'i> Section<'i> {
    /// The whole message.
    pub const FULL: Section<'static> = Section::wire(SectionItem::Body, b"");
    /// The message's header.
    pub const HEADER: Section<'static> = Section::wire(SectionItem::Body, b"HEADER");
    /// The message without its header.
    pub const TEXT: Section<'static> = Section::wire(SectionItem::Body, b"TEXT");
    /// `RFC822`: the whole message, as RFC 3501 calls it.
    pub const RFC822: Section<'static> = Section::wire(SectionItem::Rfc822, b"");
    /// `RFC822.HEADER`
    pub const RFC822_HEADER: Section<'static> = Section::wire(SectionItem::Rfc822Header, b"");
    /// `RFC822.TEXT`
    pub const RFC822_TEXT: Section<'static> = Section::wire(SectionItem::Rfc822Text, b"");

    /// The section that stands between the brackets of `BODY[…]`: `1.2.HEADER.FIELDS (FROM TO)`.
    ///
    /// # Errors
    /// [`InvalidSection`] if nothing can stand there that looks so.
    pub fn body(spec: &'i str) -> Result<Self, InvalidSection> {
        Self::of(SectionItem::Body, spec)
    }

    /// The section that stands between the brackets of `BINARY[…]`: `1.2`.
    ///
    /// # Errors
    /// [`InvalidSection`] if it has more than numbers.
    pub fn binary(spec: &'i str) -> Result<Self, InvalidSection> {
        Self::of(SectionItem::Binary, spec)
    }

    fn of(item: SectionItem, spec: &'i str) -> Result<Self, InvalidSection> {
        parse::fetch_attribute::section_spec(spec.as_bytes(), item).ok_or(InvalidSection)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_section_can_stand_between_the_brackets() {
        for good in
            ["", "1", "1.2.3", "HEADER", "1.header", "TEXT", "3.TEXT", "1.MIME", "HEADER.FIELDS (a \"b c\")"]
        {
            assert!(Section::body(good).is_ok(), "{good}");
        }
        for bad in [
            "0",
            "1.",
            ".1",
            "1..2",
            "1.0",
            "01",
            "MIME",
            "1HEADER",
            "HEADER.FIELDS",
            "HEADER.FIELDS ()",
            "TEXT]",
            "] (",
            "1 2",
            "HEADER.FIELDS ({1}\r\na)",
            "HEADER.FIELDS (a)\r\n",
            "4294967296",
            "FOO",
            "1.2.",
            "HEADER.FIELDS (a) b",
            " 1",
            "1 ",
        ] {
            assert_eq!(Section::body(bad), Err(InvalidSection), "{bad}");
        }
        assert!(Section::binary("1.2").is_ok());
        assert!(Section::binary("1.TEXT").is_err());
    }

    #[test]
    fn what_sets_seen() {
        assert!(!FetchAttribute::peek(Section::FULL).sets_seen());
        assert!(FetchAttribute::read(Section::FULL).sets_seen());
        assert!(!LazyList::new(FetchAttribute::FULL).sets_seen());
    }
}
