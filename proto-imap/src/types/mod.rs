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
pub use arguments::{
    AppendCommand, CopyCommand, CreateCommand, FetchCommand, FetchModifier, ListCommand, ListReturn,
    ListSelection, LsubCommand, QResync, RenameCommand, SearchCommand, SelectCommand, SelectParameter,
    StatusAttribute, StatusCommand, StoreAction, StoreCommand, StoreResponse,
};
pub use body::{
    BodyExtension, BodyPart, BodyStructure, Disposition, IdField, IdFields, Multipart, Parameter, Parameters,
    PartContent,
};
pub use capability::{Capability, CapabilityList};
pub use command::{Command, CommandName, RawCommand};
pub use date::{Date, DateTime};
pub use envelope::{Address, AddressList, Envelope};
pub use fetch::{FetchItem, FetchResponse, Section, SectionItem, SectionText};
pub use fetch_attribute::{FetchAttribute, Partial, Peek};
pub use flag::{Flag, FlagList, Keyword};
pub use mailbox::{ListPattern, MailboxName, NameEncoding};
pub use mailbox_data::{
    ExtendedItem, ListResponse, MailboxAttribute, MailboxStatus, Namespace, Namespaces, Quota, QuotaResource,
    QuotaRoot, StatusItem,
};
pub use number::{NumberRange, Numbers};
pub use owned::{OwnedBodyStructure, OwnedEnvelope};
pub use repair::{Repair, RepairSet, Repairs, Strictness};
pub use response::{ContinuationRequest, Response, Untagged, VanishedWhen};
pub use search::{EsearchResponse, NumberKind, PartialRange, SearchResponse, SearchReturnData};
pub use search_key::{SearchKey, SearchReturnOption};
pub use sequence::{SequenceNumber, SequenceRange, SequenceSet};
pub use status::{Condition, PlainCode, ResponseCode, StatusResponse, Text};
pub use string::{IString, StringForm};
pub use tag::Tag;
pub use view::{LazyList, LazyValue};
