//! The nouns of the protocol, one room for each part of it.
//!
//! Types that come out of the grammar are *views*: they borrow the octets of the message (`'i`), hold no memory of
//! their own, and walk their lists when asked to. Where an application wants to keep one beyond the message there
//! is an owned twin. The same types go into [`encode`](crate::encode).

pub mod arguments;
pub mod body;
pub mod capability;
pub mod command;
pub mod date;
pub mod envelope;
pub mod fetch;
pub mod fetch_attribute;
pub mod flag;
pub mod mailbox;
pub mod mailbox_data;
mod modified_utf7;
pub mod number;
pub mod owned;
pub mod repair;
pub mod response;
pub mod search;
pub mod search_key;
pub mod sequence;
pub mod status;
pub mod string;
pub mod tag;
pub mod view;

pub use crate::parse::unparsed::Unparsed;
pub use arguments::{FetchModifier, StatusAttribute};
pub use body::{
    BodyStructure, Content, Disposition, Extension, IdField, IdFields, Multipart, Parameter, Parameters, Part,
};
pub use capability::{Capability, CapabilityList};
pub use command::{Command, CommandName, RawCommand};
pub use date::{Date, DateTime};
pub use envelope::{Address, AddressList, Envelope};
pub use fetch::{Fetch, FetchItem, Section, SectionItem, SectionText};
pub use fetch_attribute::{FetchAttribute, Partial, Peek};
pub use flag::{Flag, FlagList, Keyword};
pub use mailbox::{ListPattern, Mailbox, NameEncoding};
pub use mailbox_data::{
    Attribute, ExtendedItem, ListedMailbox, MailboxStatus, Namespace, Namespaces, Quota, QuotaResource,
    QuotaRoot, StatusItem,
};
pub use number::{Numbers, RangeInclusiveU32};
pub use owned::{OwnedBodyStructure, OwnedEnvelope};
pub use repair::{Reading, Repair, RepairSet, Repairs};
pub use response::{Continue, Response, Untagged, Vanished};
pub use search::{Esearch, NumbersAre, Page, Search, SearchResult};
pub use search_key::{SearchKey, SearchReturn};
pub use sequence::{SequenceNumber, SequenceRange, SequenceSet};
pub use status::{Code, Condition, PlainCode, Status, Text};
pub use string::{Form, IString};
pub use tag::Tag;
pub use view::{List, Nested};
