//! FETCH responses: the data of one message, item by item (RFC 9051 §7.5.2).
//!
//! The contents of a section arrive in one of two forms. They are a string inside the frame, or a literal whose bytes
//! follow the frame and are streamed to the application.

pub(crate) mod encode;
pub(crate) mod literal_scan;
pub(crate) mod parse;

use crate::annotation::AnnotationEntries;
use crate::body_structure::BodyStructure;
use crate::date_time::DateTime;
use crate::envelope::Envelope;
use crate::flags::FlagList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{LazyList, LazyValue};
use crate::grammar::owned::{owned_enum, owned_struct};
use crate::grammar::string::IString;
use crate::grammar::unparsed::Unparsed;
use crate::section::Section;

/// One item of a FETCH response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchItem<'i> {
    /// `FLAGS`
    Flags(FlagList<'i>),
    /// `UID`
    Uid(u32),
    /// `RFC822.SIZE`, in bytes.
    Size(u64),
    /// `INTERNALDATE`
    InternalDate {
        /// The time; `None` if it does not exist in the calendar.
        date: Option<DateTime>,
        /// The time as received.
        raw: IString<'i>,
    },
    /// `ENVELOPE`. The envelope is parsed again when it is viewed, which keeps an item small.
    Envelope(LazyValue<'i, Envelope<'i>>),
    /// `BODY` without a section: the structure without its extension data.
    Body(LazyValue<'i, BodyStructure<'i>>),
    /// `BODYSTRUCTURE`
    BodyStructure(LazyValue<'i, BodyStructure<'i>>),
    /// The contents of a section, inside the frame.
    Section {
        /// The section.
        section: Section<'i>,
        /// The offset of the contents in the section, in bytes, if the client requested only a part.
        origin: Option<u64>,
        /// The contents; `None` if the server has no such section.
        value: Option<IString<'i>>,
    },
    /// The contents of a section follow as a literal. The frame ends here and continues after the literal's bytes.
    SectionLiteral {
        /// The section.
        section: Section<'i>,
        /// The offset of the contents in the section, in bytes, if the client requested only a part.
        origin: Option<u64>,
        /// The number of bytes that follow.
        size: u64,
    },
    /// `BINARY.SIZE`: the decoded size of a section (RFC 3516), in bytes.
    BinarySize {
        /// The section.
        section: Section<'i>,
        /// Its decoded size in bytes.
        size: u64,
    },
    /// `MODSEQ` (RFC 7162)
    ModSeq(u64),
    /// `EMAILID` (RFC 8474)
    EmailId(IString<'i>),
    /// `THREADID` (RFC 8474); `None` if the server has no threads.
    ThreadId(Option<IString<'i>>),
    /// `PREVIEW` (RFC 8970); `None` if it is not known yet.
    Preview(Option<IString<'i>>),
    /// `SAVEDATE` (RFC 8514); `None` if it is not known.
    SaveDate(Option<DateTime>),
    /// `ANNOTATION` (RFC 5257)
    Annotation(AnnotationEntries<'i>),
    /// `X-GM-MSGID`
    GmailMessageId(u64),
    /// `X-GM-THRID`
    GmailThreadId(u64),
    /// `X-GM-LABELS`. A label that begins with a backslash is a system label.
    GmailLabels(LazyList<'i, IString<'i>>),
    /// An unknown item.
    Other {
        /// The item's name, with its section if it has one.
        name: IString<'i>,
        /// Its value, as received.
        value: IString<'i>,
    },
    /// A known item whose value could not be parsed; it was skipped. From the tolerant parser only.
    Unparsed {
        /// The item's name.
        name: IString<'i>,
        /// What is wrong with its value.
        unparsed: Unparsed<'i>,
    },
}

/// A complete FETCH response, with all contents inside the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchResponse<'i> {
    /// The message's sequence number. The tolerant parser also accepts 0, which is no message's number.
    pub sequence: u32,
    /// Its data.
    pub items: LazyList<'i, FetchItem<'i>>,
}

impl FetchResponse<'_> {
    /// Returns the message's UID, if it is among the items.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.items.iter().find_map(|item| if let FetchItem::Uid(uid) = item { Some(uid) } else { None })
    }
}

impl Sealed for FetchItem<'_> {}

owned_enum!(FetchItem { Flags(a), Uid(a), Size(a), InternalDate { date, raw }, Envelope(a), Body(a), BodyStructure(a), Section { section, origin, value }, SectionLiteral { section, origin, size }, BinarySize { section, size }, ModSeq(a), EmailId(a), ThreadId(a), Preview(a), SaveDate(a), Annotation(a), GmailMessageId(a), GmailThreadId(a), GmailLabels(a), Other { name, value }, Unparsed { name, unparsed } });

owned_struct!(FetchResponse { sequence, items });
