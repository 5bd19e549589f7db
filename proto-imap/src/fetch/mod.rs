//! FETCH responses: the data of one message, item by item (RFC 9051 §7.5.2).
//!
//! The contents of a section arrive either inline, as a string of the frame, or as a literal whose bytes follow the frame
//! and are streamed to the application.

pub(crate) mod encode;
pub(crate) mod literal_scan;
pub(crate) mod parse;

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
        /// The time; `None` if there is no such time.
        date: Option<DateTime>,
        /// The time as it came.
        raw: IString<'i>,
    },
    /// `ENVELOPE`. The envelope is parsed again when it is viewed, so that an item stays small.
    Envelope(LazyValue<'i, Envelope<'i>>),
    /// `BODY` without a section: the structure without its extension data.
    Body(LazyValue<'i, BodyStructure<'i>>),
    /// `BODYSTRUCTURE`
    BodyStructure(LazyValue<'i, BodyStructure<'i>>),
    /// The contents of a section, in the frame; `None`: there is no such section.
    Section {
        /// Which section.
        section: Section<'i>,
        /// Where the contents begin in the section, if the client had asked for a piece of it.
        origin: Option<u64>,
        /// The contents.
        value: Option<IString<'i>>,
    },
    /// The contents of a section follow as a literal. The frame ends here, and goes on behind the literal's bytes.
    SectionLiteral {
        /// Which section.
        section: Section<'i>,
        /// Where the contents begin in the section, if the client had asked for a piece of it.
        origin: Option<u64>,
        /// How many bytes follow.
        size: u64,
    },
    /// `BINARY.SIZE`: the decoded size of a section (RFC 3516), in bytes.
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

/// A whole FETCH response, all of whose contents are in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchResponse<'i> {
    /// The message's sequence number; 0 only if parsed tolerantly; no message has that number.
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

owned_enum!(FetchItem { Flags(a), Uid(a), Size(a), InternalDate { date, raw }, Envelope(a), Body(a), BodyStructure(a), Section { section, origin, value }, SectionLiteral { section, origin, size }, BinarySize { section, size }, ModSeq(a), EmailId(a), ThreadId(a), Preview(a), SaveDate(a), GmailMessageId(a), GmailThreadId(a), GmailLabels(a), Other { name, value }, Unparsed { name, unparsed } });

owned_struct!(FetchResponse { sequence, items });
