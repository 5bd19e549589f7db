//! What FETCH returns: a message's data, item by item (RFC 9051 §7.5.2).
//!
//! The contents of sections come in one of two ways: inline, as a string of the frame, or as a literal whose octets
//! follow behind the frame and are never collected here.

use core::fmt;

use super::body::BodyStructure;
use super::date::DateTime;
use super::envelope::Envelope;
use super::flag::FlagList;
use super::string::IString;
use super::view::{LazyList, sealed::Sealed};
use crate::parse::unparsed::Unparsed;

/// One item of a FETCH response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchItem<'i> {
    /// `FLAGS`
    Flags(FlagList<'i>),
    /// `UID`
    Uid(u32),
    /// `RFC822.SIZE`, in octets.
    Size(u64),
    /// `INTERNALDATE`
    InternalDate {
        /// The time; `None` if there is no such time.
        date: Option<DateTime>,
        /// The time as it came.
        raw: IString<'i>,
    },
    /// `ENVELOPE`
    Envelope(Envelope<'i>),
    /// `BODY` without a section: the structure without its extension data.
    Body(BodyStructure<'i>),
    /// `BODYSTRUCTURE`
    BodyStructure(BodyStructure<'i>),
    /// The contents of a section, in the frame; `None`: there is no such section.
    Section {
        /// Which section.
        section: Section<'i>,
        /// Where the contents begin in the section, if the client had asked for a piece of it.
        origin: Option<u64>,
        /// The contents.
        value: Option<IString<'i>>,
    },
    /// The contents of a section follow as a literal. The frame ends here, and goes on behind the literal's octets.
    SectionLiteral {
        /// Which section.
        section: Section<'i>,
        /// Where the contents begin in the section, if the client had asked for a piece of it.
        origin: Option<u64>,
        /// How many octets follow.
        size: u64,
    },
    /// `BINARY.SIZE`: the decoded size of a section (RFC 3516), in octets.
    BinarySize {
        /// Which section.
        section: Section<'i>,
        /// Its size.
        size: u64,
    },
    /// `MODSEQ` (RFC 7162)
    ModSeq(u64),
    /// `EMAILID` (RFC 8474)
    EmailId(IString<'i>),
    /// `THREADID` (RFC 8474); `None`: the server has no threads.
    ThreadId(Option<IString<'i>>),
    /// `PREVIEW` (RFC 8970); `None`: not known yet.
    Preview(Option<IString<'i>>),
    /// `SAVEDATE` (RFC 8514); `None`: not known.
    SaveDate(Option<DateTime>),
    /// `X-GM-MSGID`
    GmailMessageId(u64),
    /// `X-GM-THRID`
    GmailThreadId(u64),
    /// `X-GM-LABELS`. A label that begins with a backslash is a system label.
    GmailLabels(LazyList<'i, IString<'i>>),
    /// An item that this library does not know.
    Other {
        /// The item's name, with its section if it has one.
        name: IString<'i>,
        /// Its value, as it came.
        value: IString<'i>,
    },
    /// A known item whose value could not be read; it was skipped. In the tolerant reading only.
    Unparsed {
        /// The item's name.
        name: IString<'i>,
        /// What is wrong with its value.
        unparsed: Unparsed<'i>,
    },
}

/// Which item the contents belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionItem {
    /// `BODY[…]`
    Body,
    /// `BINARY[…]` (RFC 3516) and `BINARY.SIZE[…]`: decoded.
    Binary,
    /// `RFC822`: the same as `BODY[]` (RFC 3501).
    Rfc822,
    /// `RFC822.HEADER` (RFC 3501)
    Rfc822Header,
    /// `RFC822.TEXT` (RFC 3501)
    Rfc822Text,
}

/// A section of a message, as the answer names it (RFC 9051 §6.4.5.1).
///
/// Two sections are equal if they name the same, whatever the case and the form of header names.
#[derive(Clone, Copy)]
pub struct Section<'i> {
    item: SectionItem,
    /// What stands between the brackets.
    spec: &'i [u8],
}

/// What of a part is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionText<'i> {
    /// All of it: of the message with its header, of a part its contents.
    Full,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS`: these fields of the header.
    HeaderFields(LazyList<'i, IString<'i>>),
    /// `HEADER.FIELDS.NOT`: the others.
    HeaderFieldsNot(LazyList<'i, IString<'i>>),
    /// `TEXT`: what is behind the header.
    Text,
    /// `MIME`: the header of a part.
    Mime,
    /// What this library does not know.
    Other(IString<'i>),
}

impl<'i> Section<'i> {
    pub(crate) const fn wire(item: SectionItem, spec: &'i [u8]) -> Self {
        Self { item, spec }
    }

    /// The item that it came with.
    #[must_use]
    pub const fn item(&self) -> SectionItem {
        self.item
    }

    /// What stands between the brackets, as it came.
    #[must_use]
    pub const fn spec(&self) -> &'i [u8] {
        self.spec
    }

    /// The numbers of the part: `1`, `2` in `BODY[1.2.MIME]`; none for the message itself.
    pub fn part(&self) -> impl Iterator<Item = u32> + use<'i> {
        self.spec.split(|octet| *octet == b'.').map_while(|piece| {
            let digits = core::str::from_utf8(piece).ok().filter(|text| !text.starts_with('+'))?;
            digits.parse().ok()
        })
    }

    /// What of the part is meant.
    #[must_use]
    pub fn text(&self) -> SectionText<'i> {
        match self.item {
            SectionItem::Rfc822Header => SectionText::Header,
            SectionItem::Rfc822Text => SectionText::Text,
            SectionItem::Rfc822 => SectionText::Full,
            SectionItem::Body | SectionItem::Binary => crate::parse::section::section_text(self.spec),
        }
    }
}

impl PartialEq for Section<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.item == other.item && self.part().eq(other.part()) && self.text() == other.text()
    }
}

impl Eq for Section<'_> {}

impl fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = alloc::string::String::from_utf8_lossy(self.spec);
        match self.item {
            SectionItem::Body => write!(f, "BODY[{spec}]"),
            SectionItem::Binary => write!(f, "BINARY[{spec}]"),
            SectionItem::Rfc822 => f.write_str("RFC822"),
            SectionItem::Rfc822Header => f.write_str("RFC822.HEADER"),
            SectionItem::Rfc822Text => f.write_str("RFC822.TEXT"),
        }
    }
}

/// A whole FETCH response, all of whose contents are in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchResponse<'i> {
    /// The message's sequence number; 0 only if read tolerantly, and then nobody's.
    pub sequence: u32,
    /// Its data.
    pub items: LazyList<'i, FetchItem<'i>>,
}

impl FetchResponse<'_> {
    /// The message's UID, if it is among the items.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.items.iter().find_map(|item| if let FetchItem::Uid(uid) = item { Some(uid) } else { None })
    }
}

impl Sealed for FetchItem<'_> {}
