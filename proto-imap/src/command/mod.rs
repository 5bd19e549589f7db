//! The commands that a client can send (RFC 9051 §6), and the table that names them.
//!
//! The same [`Command`] is what a client sends and what a server receives. Its lists and strings borrow: from the
//! application's values in a client, from the received frame in a server.
//!
//! A command has no credentials: LOGIN, AUTHENTICATE and STARTTLS are not variants, and only the machines handle them.
//! APPEND streams its message, so [`AppendCommand`](crate::types::AppendCommand) holds only the arguments before it.
//! The states in which a command is allowed are in [`state`](crate::state).

pub(crate) mod encode;
pub(crate) mod parse;
pub(crate) mod raw;

use crate::acl::{MailboxIdentifier, SetAclCommand};
use crate::cancel_update::CancelUpdateCommand;
use crate::capability::CapabilityList;
use crate::command::raw::RawCommand;
use crate::command_name::CommandName;
use crate::copy::CopyCommand;
use crate::create::CreateCommand;
use crate::fetch_command::FetchCommand;
use crate::grammar::lazy_list::LazyList;
use crate::grammar::owned::owned_enum;
use crate::grammar::string::IString;
use crate::id::IdFields;
use crate::list::{ListCommand, LsubCommand};
use crate::mailbox_name::MailboxName;
use crate::metadata::{GetMetadataCommand, SetMetadataCommand};
use crate::multi_search::MultiSearchCommand;
use crate::notify::NotifyCommand;
use crate::quota::SetQuotaCommand;
use crate::rename::RenameCommand;
use crate::search::SearchCommand;
use crate::select::SelectCommand;
use crate::sequence_set::SequenceSet;
use crate::sort::SortCommand;
use crate::status::StatusCommand;
use crate::store::StoreCommand;
use crate::thread::ThreadCommand;
use crate::uid_batches::UidBatchesCommand;
use crate::url_auth::{ResetKeyCommand, UrlFetchItem, UrlRequest};

/// A command without its tag.
///
/// ```
/// use proto_imap::types::{Command, FetchAttribute, FetchCommand, LazyList, SequenceSet};
/// let command = Command::UidFetch(FetchCommand::new(
///     SequenceSet::from(1..=100),
///     LazyList::new(&[FetchAttribute::Flags, FetchAttribute::Envelope]),
/// ));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'i> {
    /// `CAPABILITY` (RFC 9051 §6.1.1)
    Capability,
    /// `NOOP` (§6.1.2)
    Noop,
    /// `LOGOUT` (§6.1.3)
    Logout,
    /// `ID` (RFC 2971): identifies the client; without parameters it is sent as `ID NIL`.
    Id(IdFields<'i>),
    /// `ENABLE` (§6.3.1)
    Enable(CapabilityList<'i>),
    /// `SELECT` (§6.3.2)
    Select(SelectCommand<'i>),
    /// `EXAMINE` (§6.3.3)
    Examine(SelectCommand<'i>),
    /// `CREATE` (§6.3.4, RFC 6154)
    Create(CreateCommand<'i>),
    /// `DELETE` (§6.3.5)
    Delete(MailboxName<'i>),
    /// `RENAME` (§6.3.6)
    Rename(RenameCommand<'i>),
    /// `SUBSCRIBE` (§6.3.7)
    Subscribe(MailboxName<'i>),
    /// `UNSUBSCRIBE` (§6.3.8)
    Unsubscribe(MailboxName<'i>),
    /// `LIST` (§6.3.9, RFC 5258)
    List(ListCommand<'i>),
    /// `LSUB` (RFC 3501 §6.3.9)
    Lsub(LsubCommand<'i>),
    /// `NAMESPACE` (§6.3.10)
    Namespace,
    /// `STATUS` (§6.3.11)
    Status(StatusCommand<'i>),
    /// `IDLE` (§6.3.13). It ends with a line `DONE`, which the machines handle.
    Idle,
    /// `CLOSE` (§6.4.1)
    Close,
    /// `UNSELECT` (§6.4.2)
    Unselect,
    /// `UNAUTHENTICATE` (RFC 8437): ends the login and keeps the connection. A client sends it only if the server
    /// lists the capability. A server accepts it only if the configuration lists the capability.
    Unauthenticate,
    /// `CHECK` (RFC 3501 §6.4.1)
    Check,
    /// `EXPUNGE` (§6.4.3)
    Expunge,
    /// `UID EXPUNGE` (§6.4.9)
    UidExpunge(SequenceSet<'i>),
    /// `SEARCH` (§6.4.4)
    Search(SearchCommand<'i>),
    /// `UID SEARCH` (§6.4.9)
    UidSearch(SearchCommand<'i>),
    /// `ESEARCH` (RFC 7377): searches several mailboxes.
    Esearch(MultiSearchCommand<'i>),
    /// `SORT` (RFC 5256 §3, RFC 5267 §3)
    Sort(SortCommand<'i>),
    /// `UID SORT`
    UidSort(SortCommand<'i>),
    /// `THREAD` (RFC 5256 §3)
    Thread(ThreadCommand<'i>),
    /// `UID THREAD`
    UidThread(ThreadCommand<'i>),
    /// `CANCELUPDATE` (RFC 5267 §4.3.5)
    CancelUpdate(CancelUpdateCommand<'i>),
    /// `FETCH` (§6.4.5)
    Fetch(FetchCommand<'i>),
    /// `UID FETCH` (§6.4.9)
    UidFetch(FetchCommand<'i>),
    /// `STORE` (§6.4.6)
    Store(StoreCommand<'i>),
    /// `UID STORE` (§6.4.9)
    UidStore(StoreCommand<'i>),
    /// `COPY` (§6.4.7)
    Copy(CopyCommand<'i>),
    /// `UID COPY` (§6.4.9)
    UidCopy(CopyCommand<'i>),
    /// `MOVE` (§6.4.8)
    Move(CopyCommand<'i>),
    /// `UID MOVE` (§6.4.9)
    UidMove(CopyCommand<'i>),
    /// `LANGUAGE` (RFC 5255 §3.2): the wanted languages, best first; none to list those of the server.
    Language(LazyList<'i, IString<'i>>),
    /// `COMPARATOR` (RFC 5255 §4.7): the wanted comparators, best first; none to ask for the active one.
    Comparator(LazyList<'i, IString<'i>>),
    /// `GETJMAPACCESS` (RFC 9698)
    GetJmapAccess,
    /// `RLIST` (RFC 2193 §5.1): LIST with mailboxes on other servers.
    Rlist(LsubCommand<'i>),
    /// `RLSUB` (RFC 2193 §5.2): LSUB with mailboxes on other servers.
    Rlsub(LsubCommand<'i>),
    /// `UIDBATCHES` (RFC 10022)
    UidBatches(UidBatchesCommand),
    /// `NOTIFY` (RFC 5465)
    Notify(NotifyCommand<'i>),
    /// `GETQUOTA` of a quota root (RFC 9208 §4.1.1)
    GetQuota(IString<'i>),
    /// `GETQUOTAROOT` of a mailbox (RFC 9208 §4.1.2)
    GetQuotaRoot(MailboxName<'i>),
    /// `SETQUOTA` (RFC 9208 §4.1.3)
    SetQuota(SetQuotaCommand<'i>),
    /// `GETMETADATA` (RFC 5464 §4.2)
    GetMetadata(GetMetadataCommand<'i>),
    /// `SETMETADATA` (RFC 5464 §4.3)
    SetMetadata(SetMetadataCommand<'i>),
    /// `SETACL` (RFC 4314 §3.1)
    SetAcl(SetAclCommand<'i>),
    /// `DELETEACL` (RFC 4314 §3.2)
    DeleteAcl(MailboxIdentifier<'i>),
    /// `GETACL` of a mailbox (RFC 4314 §3.3)
    GetAcl(MailboxName<'i>),
    /// `LISTRIGHTS` (RFC 4314 §3.4)
    ListRights(MailboxIdentifier<'i>),
    /// `MYRIGHTS` on a mailbox (RFC 4314 §3.5)
    MyRights(MailboxName<'i>),
    /// `GENURLAUTH` (RFC 4467): the URLs that the server shall authorize; at least one.
    GenUrlAuth(LazyList<'i, UrlRequest<'i>>),
    /// `RESETKEY` (RFC 4467)
    ResetKey(ResetKeyCommand<'i>),
    /// `URLFETCH` (RFC 4467, RFC 5524): the URLs whose contents are requested; at least one.
    UrlFetch(LazyList<'i, UrlFetchItem<'i>>),
    /// Any other command, as text.
    Raw(RawCommand<'i>),
}

impl Command<'_> {
    /// Returns the command's name.
    #[must_use]
    pub fn name(&self) -> CommandName {
        match self {
            Self::Capability => CommandName::Capability,
            Self::Noop => CommandName::Noop,
            Self::Logout => CommandName::Logout,
            Self::Id(_) => CommandName::Id,
            Self::Enable(_) => CommandName::Enable,
            Self::Select(_) => CommandName::Select,
            Self::Examine(_) => CommandName::Examine,
            Self::Create(_) => CommandName::Create,
            Self::Delete(_) => CommandName::Delete,
            Self::Rename(_) => CommandName::Rename,
            Self::Subscribe(_) => CommandName::Subscribe,
            Self::Unsubscribe(_) => CommandName::Unsubscribe,
            Self::List(_) => CommandName::List,
            Self::Lsub(_) => CommandName::Lsub,
            Self::Namespace => CommandName::Namespace,
            Self::Status(_) => CommandName::Status,
            Self::Idle => CommandName::Idle,
            Self::Close => CommandName::Close,
            Self::Unauthenticate => CommandName::Unauthenticate,
            Self::Unselect => CommandName::Unselect,
            Self::Check => CommandName::Check,
            Self::Expunge => CommandName::Expunge,
            Self::UidExpunge(_) => CommandName::UidExpunge,
            Self::Search(_) => CommandName::Search,
            Self::UidSearch(_) => CommandName::UidSearch,
            Self::Esearch(_) => CommandName::Esearch,
            Self::Sort(_) => CommandName::Sort,
            Self::UidSort(_) => CommandName::UidSort,
            Self::Thread(_) => CommandName::Thread,
            Self::UidThread(_) => CommandName::UidThread,
            Self::CancelUpdate(_) => CommandName::CancelUpdate,
            Self::Fetch(_) => CommandName::Fetch,
            Self::UidFetch(_) => CommandName::UidFetch,
            Self::Store(_) => CommandName::Store,
            Self::UidStore(_) => CommandName::UidStore,
            Self::Copy(_) => CommandName::Copy,
            Self::UidCopy(_) => CommandName::UidCopy,
            Self::Move(_) => CommandName::Move,
            Self::UidMove(_) => CommandName::UidMove,
            Self::Language(_) => CommandName::Language,
            Self::GenUrlAuth(_) => CommandName::GenUrlAuth,
            Self::ResetKey(_) => CommandName::ResetKey,
            Self::UrlFetch(_) => CommandName::UrlFetch,
            Self::Comparator(_) => CommandName::Comparator,
            Self::GetJmapAccess => CommandName::GetJmapAccess,
            Self::Rlist(_) => CommandName::Rlist,
            Self::Rlsub(_) => CommandName::Rlsub,
            Self::UidBatches(_) => CommandName::UidBatches,
            Self::Notify(_) => CommandName::Notify,
            Self::GetQuota(_) => CommandName::GetQuota,
            Self::GetQuotaRoot(_) => CommandName::GetQuotaRoot,
            Self::SetQuota(_) => CommandName::SetQuota,
            Self::GetMetadata(_) => CommandName::GetMetadata,
            Self::SetMetadata(_) => CommandName::SetMetadata,
            Self::SetAcl(_) => CommandName::SetAcl,
            Self::DeleteAcl(_) => CommandName::DeleteAcl,
            Self::GetAcl(_) => CommandName::GetAcl,
            Self::ListRights(_) => CommandName::ListRights,
            Self::MyRights(_) => CommandName::MyRights,
            Self::Raw(raw) => raw.name(),
        }
    }
}

owned_enum!(Command { Capability, Noop, Logout, Id(a), Enable(a), Select(a), Examine(a), Create(a), Delete(a), Rename(a), Subscribe(a), Unsubscribe(a), List(a), Lsub(a), Namespace, Status(a), Idle, Close, Unauthenticate, Unselect, Check, Expunge, UidExpunge(a), Search(a), UidSearch(a), Esearch(a), Sort(a), UidSort(a), Thread(a), UidThread(a), CancelUpdate(a), Fetch(a), UidFetch(a), Store(a), UidStore(a), Copy(a), UidCopy(a), Move(a), UidMove(a), Language(a), Comparator(a), GetJmapAccess, Rlist(a), Rlsub(a), UidBatches(a), Notify(a), GetQuota(a), GetQuotaRoot(a), SetQuota(a), GetMetadata(a), SetMetadata(a), SetAcl(a), DeleteAcl(a), GetAcl(a), ListRights(a), MyRights(a), GenUrlAuth(a), ResetKey(a), UrlFetch(a), Raw(a) });
