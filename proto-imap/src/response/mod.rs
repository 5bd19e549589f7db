//! The responses that a server can send (RFC 9051 §7).

pub(crate) mod encode;
pub(crate) mod parse;

use crate::acl::{AclResponse, ListRightsResponse, MyRightsResponse};
use crate::capability::CapabilityList;
use crate::fetch::{FetchItem, FetchResponse};
use crate::flags::FlagList;
use crate::grammar::lazy_list::LazyList;
use crate::grammar::owned::{owned_enum, owned_struct};
use crate::grammar::string::IString;
use crate::grammar::unparsed::Unparsed;
use crate::id::IdFields;
use crate::language::ComparatorResponse;
use crate::list::ListResponse;
use crate::metadata::MetadataResponse;
use crate::namespace::Namespaces;
use crate::numbers::Numbers;
use crate::quota::{Quota, QuotaRoot};
use crate::search::{EsearchResponse, SearchResponse};
use crate::status::MailboxStatus;
use crate::status_response::{ResponseCode, StatusResponse, Text};
use crate::tag::Tag;
use crate::thread::ThreadResponse;
use crate::uid_batches::UidBatchesResponse;
use crate::url_auth::UrlData;
use crate::vanished::VanishedWhen;

/// One response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response<'i> {
    /// `+`: the server waits for the rest of a command.
    Continue(ContinuationRequest<'i>),
    /// `* …`: data, or a status that belongs to no command.
    Untagged(Untagged<'i>),
    /// `tag …`: the completion of a command.
    Tagged {
        /// The command's tag.
        tag: Tag<'i>,
        /// The status that the command ended with.
        status: StatusResponse<'i>,
    },
    /// A response that could not be parsed. Only this message is lost.
    Unparsed(Unparsed<'i>),
}

/// A continuation request (RFC 9051 §7.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContinuationRequest<'i> {
    /// The response code, if there is one.
    pub code: Option<ResponseCode<'i>>,
    /// The text after the code. In a SASL exchange, the challenge in base64.
    pub text: Text<'i>,
}

/// Untagged data or status (RFC 9051 §7.1 to §7.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Untagged<'i> {
    /// `OK`, `NO`, `BAD`, `PREAUTH`, `BYE`
    Status(StatusResponse<'i>),
    /// `CAPABILITY`
    Capability(CapabilityList<'i>),
    /// `ENABLED` (RFC 5161)
    Enabled(CapabilityList<'i>),
    /// `ID` (RFC 2971): identifies the server.
    Id(IdFields<'i>),
    /// `NAMESPACE` (RFC 2342)
    Namespace(Namespaces<'i>),
    /// `LIST`
    List(ListResponse<'i>),
    /// `LSUB` (RFC 3501)
    Lsub(ListResponse<'i>),
    /// `XLIST`: a predecessor of SPECIAL-USE.
    Xlist(ListResponse<'i>),
    /// `STATUS`
    MailboxStatus(MailboxStatus<'i>),
    /// `FLAGS`: the flags that are defined in the mailbox.
    Flags(FlagList<'i>),
    /// `SEARCH` (RFC 3501)
    Search(SearchResponse<'i>),
    /// `SORT` (RFC 5256)
    Sort(SearchResponse<'i>),
    /// `THREAD` (RFC 5256)
    Thread(ThreadResponse<'i>),
    /// `ESEARCH`
    Esearch(EsearchResponse<'i>),
    /// `UIDBATCHES` (RFC 10022), within the limit of a line.
    UidBatches(UidBatchesResponse<'i>),
    /// `EXISTS`: the number of messages in the mailbox.
    Exists(u32),
    /// `RECENT`: the number of recent messages (RFC 3501).
    Recent(u32),
    /// `EXPUNGE`: the message with this sequence number was expunged. 0 only from the tolerant parser.
    Expunge(u32),
    /// `VANISHED` (RFC 7162): the messages with these UIDs were expunged.
    Vanished {
        /// When they were expunged.
        when: VanishedWhen,
        /// Their UIDs.
        uids: Numbers<'i>,
    },
    /// `FETCH`: data of a message.
    Fetch(FetchResponse<'i>),
    /// `UIDFETCH` (RFC 9586): data of the message with this UID, after `ENABLE UIDONLY`.
    UidFetch {
        /// The UID.
        uid: u32,
        /// The items.
        items: LazyList<'i, FetchItem<'i>>,
    },
    /// `QUOTA` (RFC 9208)
    Quota(Quota<'i>),
    /// `QUOTAROOT` (RFC 9208)
    QuotaRoot(QuotaRoot<'i>),
    /// `METADATA` (RFC 5464)
    Metadata(MetadataResponse<'i>),
    /// `ACL` (RFC 4314)
    Acl(AclResponse<'i>),
    /// `LISTRIGHTS` (RFC 4314)
    ListRights(ListRightsResponse<'i>),
    /// `MYRIGHTS` (RFC 4314)
    MyRights(MyRightsResponse<'i>),
    /// `LANGUAGE` (RFC 5255): the language in use; or, after LANGUAGE without arguments, those that the server has.
    Language(LazyList<'i, IString<'i>>),
    /// `COMPARATOR` (RFC 5255)
    Comparator(ComparatorResponse<'i>),
    /// `JMAPACCESS` (RFC 9698): the URL of the session object for JMAP. The machine never opens it.
    JmapAccess(IString<'i>),
    /// `GENURLAUTH` (RFC 4467): the URLs with their tokens, which are secret.
    GenUrlAuth(LazyList<'i, IString<'i>>),
    /// `URLFETCH` (RFC 4467, RFC 5524): the contents of URLs, as far as they fit into the limit of a response.
    UrlFetch(LazyList<'i, UrlData<'i>>),
    /// An unknown response.
    Other {
        /// Its name, after the number if it has one: `7 CONVERTED`.
        name: IString<'i>,
        /// The data after the name, up to the end of the line.
        rest: IString<'i>,
    },
}

owned_enum!(Response { Continue(a), Untagged(a), Tagged { tag, status }, Unparsed(a) });

owned_struct!(ContinuationRequest { code, text });

owned_enum!(Untagged { Status(a), Capability(a), Enabled(a), Id(a), Namespace(a), List(a), Lsub(a), Xlist(a), MailboxStatus(a), Flags(a), Search(a), Sort(a), Thread(a), Esearch(a), UidBatches(a), Exists(a), Recent(a), Expunge(a), Vanished { when, uids }, Fetch(a), UidFetch { uid, items }, Quota(a), QuotaRoot(a), Metadata(a), Acl(a), ListRights(a), MyRights(a), Language(a), Comparator(a), JmapAccess(a), GenUrlAuth(a), UrlFetch(a), Other { name, rest } });
