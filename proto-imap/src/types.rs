//! All types of the grammar, each at its only public path. The source has one module for each part of the protocol.
//!
//! Types that the parser returns are *views*: they borrow the bytes of the message (`'i`), allocate nothing, and
//! parse their lists when they are iterated. Each has an owned form that outlives the message. The functions in
//! [`encode`](crate::encode) write the same types.

pub use crate::acl::{
    AclEntry, AclResponse, InvalidRights, ListRightsResponse, MailboxIdentifier, MyRightsResponse, Rights,
    RightsChange, SetAclCommand,
};
pub use crate::annotation::{
    AnnotationAccess, AnnotationAttribute, AnnotationEntries, AnnotationEntry, AnnotationPattern,
    AnnotationSupport,
};
pub use crate::append::{
    AppendCommand, AppendData, AppendForm, AppendMessage, CatenatePart, MAX_APPEND_PARTS, ReplaceCommand,
    ReplacedMessage,
};
pub use crate::body_structure::encoded::EncodedBodyStructure;
pub use crate::body_structure::{
    BodyExtension, BodyPart, BodyStructure, Disposition, Multipart, Parameter, Parameters, PartContent,
};
pub use crate::cancel_update::CancelUpdateCommand;
pub use crate::capability::{Capability, CapabilityList};
pub use crate::command::Command;
pub use crate::command::raw::{InvalidCommand, RawCommand};
pub use crate::command_name::CommandName;
pub use crate::copy::CopyCommand;
pub use crate::create::CreateCommand;
pub use crate::date_time::{Date, DateTime};
pub use crate::envelope::encoded::EncodedEnvelope;
pub use crate::envelope::{Address, AddressList, Envelope};
pub use crate::fetch::{FetchItem, FetchResponse};
pub use crate::fetch_command::{FetchAttribute, FetchCommand, FetchModifier, Partial, Peek};
pub use crate::flags::{Flag, FlagList, InvalidKeyword, Keyword};
pub use crate::grammar::command_writer::NameEncoding;
pub use crate::grammar::encoded::InvalidWire;
pub use crate::grammar::lazy_list::{Element, LazyList, LazyListIter, LazyValue};
pub use crate::grammar::owned::{Owned, Stored, View};
pub use crate::grammar::repair::{Repair, RepairSet, Repairs, Strictness};
pub use crate::grammar::string::{IString, StringForm};
pub use crate::grammar::unparsed::Unparsed;
pub use crate::grammar::value::ExtendedItem;
pub use crate::id::{IdField, IdFields};
pub use crate::imap_url::{ImapUrl, ImapUrlServer, InvalidImapUrl, UrlAuthorization};
pub use crate::language::ComparatorResponse;
pub use crate::list::pattern::ListPattern;
pub use crate::list::{ListCommand, ListResponse, ListReturn, ListSelection, LsubCommand, MailboxAttribute};
pub use crate::mailbox_filter::MailboxFilter;
pub use crate::mailbox_name::{InvalidMailboxName, MailboxName};
pub use crate::metadata::{
    GetMetadataCommand, MetadataDepth, MetadataEntries, MetadataEntry, MetadataResponse, SetMetadataCommand,
};
pub use crate::multi_search::MultiSearchCommand;
pub use crate::namespace::{Namespace, Namespaces};
pub use crate::notify::{EventGroup, NotifyCommand, NotifyEvent};
pub use crate::numbers::{NumberRange, Numbers, Ranges};
pub use crate::partial_range::PartialRange;
pub use crate::quota::{Quota, QuotaLimit, QuotaResource, QuotaRoot, SetQuotaCommand};
pub use crate::rename::RenameCommand;
pub use crate::response::{ContinuationRequest, Response, Untagged};
pub use crate::search::pieces::{SearchHead, SearchPiece};
pub use crate::search::{
    ContextChange, EsearchResponse, NumberKind, RelevancyScore, SearchCommand, SearchResponse,
    SearchReturnData, SearchReturnOption,
};
pub use crate::search_key::{EntryKind, InvalidSearchKeys, ModSeqEntry, SearchKey};
pub use crate::section::{InvalidSection, Section, SectionItem, SectionText};
pub use crate::select::{QResync, SelectCommand, SelectParameter};
pub use crate::sequence_set::{
    InvalidSequenceSet, SequenceNumber, SequenceRange, SequenceRanges, SequenceSet,
};
pub use crate::sort::{SortCommand, SortCriterion, SortDirection, SortKey};
pub use crate::status::{MailboxStatus, StatusAttribute, StatusCommand, StatusItem};
pub use crate::status_response::{
    Condition, InvalidText, PlainCode, Progress, ResponseCode, StatusResponse, Text,
};
pub use crate::store::{StoreAction, StoreCommand, StoreResponse};
pub use crate::tag::{InvalidTag, Tag};
pub use crate::thread::item::ThreadItem;
pub use crate::thread::messages::{ThreadMessage, ThreadMessages};
pub use crate::thread::{ThreadAlgorithm, ThreadCommand, ThreadItems, ThreadResponse, Threads};
pub use crate::uid_batches::{UidBatchesCommand, UidBatchesResponse};
pub use crate::url_auth::{
    ResetKeyCommand, UrlContents, UrlData, UrlFetchItem, UrlMetadata, UrlParameter, UrlRequest,
};
pub use crate::vanished::VanishedWhen;
