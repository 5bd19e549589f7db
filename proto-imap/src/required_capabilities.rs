//! The commands and arguments that belong to an extension, and the capabilities that announce it (RFC 9051 §6,
//! Appendix E).
//!
//! A client sends a command or an argument of this table only if the server lists the capability. A server accepts
//! the commands only if its configuration offers them. Commands and arguments that are not in the table are always
//! allowed.

use crate::types::{
    Capability, Command, CommandName, FetchAttribute, FetchCommand, FetchModifier, LazyList, ListCommand,
    ListReturn, ListSelection, MailboxName, NameEncoding, NotifyCommand, NotifyEvent, PartialRange,
    SearchCommand, SearchKey, SearchReturnOption, SectionItem, SelectCommand, SelectParameter, SequenceSet,
    SortCommand, SortKey, StatusAttribute, StoreCommand, ThreadAlgorithm,
};

/// A list of capabilities, any one of which is sufficient.
pub(crate) type AnyOf = &'static [&'static str];

/// The commands of extensions, each with the capabilities that announce it. Any one of them is sufficient.
const REQUIRED_CAPABILITIES: &[(CommandName, AnyOf)] = &[
    (CommandName::CancelUpdate, &["CONTEXT=SEARCH", "CONTEXT=SORT"]),
    (CommandName::Comparator, &["I18NLEVEL=2"]),
    (CommandName::Compress, &["COMPRESS=DEFLATE"]),
    (CommandName::DeleteAcl, ACL),
    (CommandName::Enable, &["ENABLE", "IMAP4rev2"]),
    (CommandName::Esearch, &["MULTISEARCH"]),
    (CommandName::GenUrlAuth, URLAUTH),
    (CommandName::GetAcl, ACL),
    (CommandName::GetJmapAccess, &["JMAPACCESS"]),
    (CommandName::GetMetadata, METADATA),
    (CommandName::GetQuota, QUOTA),
    (CommandName::GetQuotaRoot, QUOTA),
    (CommandName::Id, &["ID"]),
    (CommandName::Idle, &["IDLE", "IMAP4rev2"]),
    (CommandName::Language, &["LANGUAGE"]),
    (CommandName::ListRights, ACL),
    (CommandName::Move, &["MOVE", "IMAP4rev2"]),
    (CommandName::MyRights, ACL),
    (CommandName::Namespace, &["NAMESPACE", "IMAP4rev2"]),
    (CommandName::Notify, &["NOTIFY"]),
    (CommandName::Replace, &["REPLACE"]),
    (CommandName::ResetKey, URLAUTH),
    (CommandName::Rlist, &["MAILBOX-REFERRALS"]),
    (CommandName::Rlsub, &["MAILBOX-REFERRALS"]),
    (CommandName::SetAcl, ACL),
    (CommandName::SetMetadata, METADATA),
    (CommandName::SetQuota, &["QUOTASET"]),
    (CommandName::Sort, SORT),
    (CommandName::Thread, THREAD),
    (CommandName::UidBatches, &["UIDBATCHES"]),
    (CommandName::UidExpunge, &["UIDPLUS", "IMAP4rev2"]),
    (CommandName::UidMove, &["MOVE", "IMAP4rev2"]),
    (CommandName::UidReplace, &["REPLACE"]),
    (CommandName::UidSort, SORT),
    (CommandName::UidThread, THREAD),
    (CommandName::Unauthenticate, &["UNAUTHENTICATE"]),
    (CommandName::Unselect, &["UNSELECT", "IMAP4rev2"]),
    (CommandName::UrlFetch, URLAUTH),
];

const ANNOTATE: AnyOf = &["ANNOTATE-EXPERIMENT-1"];
const ACL: AnyOf = &["ACL"];
const URLAUTH: AnyOf = &["URLAUTH"];
const METADATA: AnyOf = &["METADATA", "METADATA-SERVER"];
/// RFC 9208 §3.1 for any resource, or RFC 2087.
const QUOTA: AnyOf = &["QUOTA=", "QUOTA"];
const SORT: AnyOf = &["SORT"];
/// With any algorithm.
const THREAD: AnyOf = &["THREAD="];
const CONDSTORE: AnyOf = &["CONDSTORE", "QRESYNC"];
const LIST_EXTENDED: AnyOf = &["LIST-EXTENDED", "IMAP4rev2"];
const OBJECT_ID: AnyOf = &["OBJECTID"];
const GMAIL: AnyOf = &["X-GM-EXT-1"];

/// Returns whether the capabilities include those that the command of this name requires. `lists` returns whether one
/// is listed; a name that ends with `=` stands for the capability with any value.
pub(crate) fn is_command_offered(name: CommandName, lists: impl Fn(&str) -> bool) -> bool {
    REQUIRED_CAPABILITIES
        .iter()
        .filter(|(command, _)| *command == name)
        .all(|(_, any_of)| any_of.iter().any(|capability| lists(capability)))
}

/// Returns whether the capabilities include those that the command and its arguments require. A raw command requires
/// none, on purpose: see [`RawCommand`](crate::types::RawCommand). `lists` returns whether a capability is listed; a
/// name that ends with `=` stands for the capability with any value. The encoder must have accepted the command,
/// because it limits how deep search keys are nested.
pub(crate) fn is_offered(command: &Command<'_>, names: NameEncoding, lists: impl Fn(&str) -> bool) -> bool {
    let check = &|any_of: AnyOf| any_of.iter().any(|capability| lists(capability));
    match command {
        Command::Raw(_) => true,
        Command::Create(create) if !can_be_created(create.mailbox, names) => false,
        Command::Rename(rename) if !can_be_created(rename.to, names) => false,
        Command::Enable(capabilities) if !capabilities.iter().all(|name| can_be_enabled(name, &lists)) => {
            false
        }
        Command::Thread(thread) | Command::UidThread(thread) => {
            is_algorithm_offered(&thread.algorithm, &lists)
                && thread.keys.iter().all(|key| is_key_offered(&key, check))
        }
        _ => is_command_offered(command.name(), &lists) && are_arguments_offered(command, check),
    }
}

/// Returns whether a mailbox may get this name. A name given as bytes that are not ASCII requires that UTF-8 is
/// enabled (RFC 6855 §3, RFC 9051 §6.3.1). Other commands send such a name unchecked: servers that list UTF-8 names
/// without being asked expect it (RFC 3501 §5.1).
fn can_be_created(name: MailboxName<'_>, names: NameEncoding) -> bool {
    names == NameEncoding::Utf8 || name.to_bytes(names).is_ascii()
}

/// Returns whether the client may enable this capability: the server must list it (RFC 5161 §3.1). `UTF8=ONLY` also
/// announces `UTF8=ACCEPT` (RFC 6855 §6).
fn can_be_enabled(name: Capability<'_>, lists: &impl Fn(&str) -> bool) -> bool {
    core::str::from_utf8(name.as_bytes()).is_ok_and(lists) || (name.is("UTF8=ACCEPT") && lists("UTF8=ONLY"))
}

/// Returns whether the server lists the threading algorithm: `THREAD=` and its name (RFC 5256 §3).
fn is_algorithm_offered(algorithm: &ThreadAlgorithm<'_>, lists: &impl Fn(&str) -> bool) -> bool {
    let name = algorithm.name();
    core::str::from_utf8(name.raw()).is_ok_and(|name| lists(&alloc::format!("THREAD={name}")))
}

fn are_arguments_offered(command: &Command<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    match command {
        Command::Select(select) | Command::Examine(select) => is_select_offered(select, check),
        Command::Create(create) => create.special_use.is_empty() || check(&["CREATE-SPECIAL-USE"]),
        Command::UrlFetch(items) => {
            items.iter().all(|item| item.parameters.is_none()) || check(&["URLAUTH=BINARY"])
        }
        Command::GetMetadata(get) => is_annotated(get.mailbox, check),
        Command::SetMetadata(set) => is_annotated(set.mailbox, check),
        Command::Notify(notify) => is_notify_offered(notify, check),
        Command::List(list) => is_list_offered(list, check),
        Command::Status(status) => {
            status.attributes.iter().all(|attribute| is_status_offered(attribute, check))
        }
        Command::Search(search) | Command::UidSearch(search) => is_search_offered(search, check),
        Command::Esearch(search) => {
            search
                .search
                .returns
                .is_none_or(|returns| are_results_offered(returns, &["CONTEXT=SEARCH"], check))
                && search.search.keys.iter().all(|key| is_key_offered(&key, check))
        }
        Command::Sort(sort) | Command::UidSort(sort) => is_sort_offered(sort, check),
        Command::Fetch(fetch) | Command::UidFetch(fetch) => is_fetch_offered(fetch, check),
        Command::Store(store) | Command::UidStore(store) => is_store_offered(store, check),
        Command::Copy(copy) | Command::UidCopy(copy) | Command::Move(copy) | Command::UidMove(copy) => {
            is_set_offered(&copy.messages, check)
        }
        Command::UidExpunge(messages) => is_set_offered(messages, check),
        _ => true,
    }
}

/// Returns whether the server has entries for this mailbox. An empty name stands for the server, whose entries both
/// capabilities announce (RFC 5464 §1).
fn is_annotated(mailbox: MailboxName<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    mailbox.to_bytes(NameEncoding::Utf8).is_empty() || check(&["METADATA"])
}

/// Checks `$`, the saved result of a search (RFC 5182).
fn is_set_offered(set: &SequenceSet<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    !set.is_saved() || check(&["SEARCHRES", "IMAP4rev2"])
}

fn is_select_offered(select: &SelectCommand<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    select.parameters.iter().all(|parameter| {
        check(match parameter {
            SelectParameter::CondStore => CONDSTORE,
            SelectParameter::QResync(_) => &["QRESYNC"],
            SelectParameter::Annotate => ANNOTATE,
        })
    })
}

fn is_list_offered(list: &ListCommand<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    (list.patterns.iter().nth(1).is_none() || check(LIST_EXTENDED))
        && list.selection.iter().all(|selection| {
            check(LIST_EXTENDED) && (selection != ListSelection::SpecialUse || check(&["SPECIAL-USE"]))
        })
        && list.returns.iter().all(|returned| match returned {
            ListReturn::Subscribed | ListReturn::Children => check(LIST_EXTENDED),
            ListReturn::SpecialUse => check(LIST_EXTENDED) && check(&["SPECIAL-USE"]),
            ListReturn::Status(attributes) => {
                check(&["LIST-STATUS", "IMAP4rev2"])
                    && attributes.iter().all(|attribute| is_status_offered(attribute, check))
            }
            ListReturn::Metadata(_) => check(&["LIST-METADATA"]),
            ListReturn::MyRights => check(&["LIST-MYRIGHTS"]),
        })
}

fn is_status_offered(attribute: StatusAttribute, check: &dyn Fn(AnyOf) -> bool) -> bool {
    match attribute {
        StatusAttribute::Size => check(&["STATUS=SIZE", "IMAP4rev2"]),
        StatusAttribute::HighestModSeq => check(CONDSTORE),
        StatusAttribute::MailboxId => check(OBJECT_ID),
        StatusAttribute::AppendLimit => check(&["APPENDLIMIT", "APPENDLIMIT="]),
        StatusAttribute::Deleted => check(&["QUOTA=RES-MESSAGE", "IMAP4rev2"]),
        StatusAttribute::DeletedStorage => check(&["QUOTA=RES-STORAGE"]),
        StatusAttribute::Messages
        | StatusAttribute::Recent
        | StatusAttribute::UidNext
        | StatusAttribute::UidValidity
        | StatusAttribute::Unseen => true,
    }
}

fn is_search_offered(search: &SearchCommand<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    search.returns.is_none_or(|returns| {
        check(&["ESEARCH", "IMAP4rev2"]) && are_results_offered(returns, &["CONTEXT=SEARCH"], check)
    }) && search.keys.iter().all(|key| is_key_offered(&key, check))
}

fn is_sort_offered(sort: &SortCommand<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    sort.returns.is_none_or(|returns| {
        check(&["ESORT", "CONTEXT=SORT"]) && are_results_offered(returns, &["CONTEXT=SORT"], check)
    }) && sort.criteria.iter().all(|criterion| match criterion.key {
        SortKey::DisplayFrom | SortKey::DisplayTo => check(&["SORT=DISPLAY"]),
        SortKey::Relevancy => check(&["SEARCH=FUZZY"]),
        _ => true,
    }) && sort.keys.iter().all(|key| is_key_offered(&key, check))
}

/// Checks the return options. `context` is the capability of RFC 5267 for the command.
fn are_results_offered(
    returns: LazyList<'_, SearchReturnOption>,
    context: AnyOf,
    check: &dyn Fn(AnyOf) -> bool,
) -> bool {
    returns.iter().all(|option| match option {
        SearchReturnOption::Save => check(&["SEARCHRES", "IMAP4rev2"]),
        SearchReturnOption::Partial(PartialRange::FromFirst(_)) => check(&["PARTIAL"]) || check(context),
        // RFC 5267 knows no pages that are counted from the last result.
        SearchReturnOption::Partial(PartialRange::FromLast(_)) => check(&["PARTIAL"]),
        SearchReturnOption::Update | SearchReturnOption::Context => check(context),
        SearchReturnOption::Relevancy => check(&["SEARCH=FUZZY"]),
        _ => true,
    })
}

fn is_key_offered(key: &SearchKey<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    match key {
        SearchKey::SavedBefore(_)
        | SearchKey::SavedOn(_)
        | SearchKey::SavedSince(_)
        | SearchKey::SaveDateSupported => check(&["SAVEDATE"]),
        SearchKey::Older(_) | SearchKey::Younger(_) => check(&["WITHIN"]),
        SearchKey::ModSeq { .. } => check(CONDSTORE),
        SearchKey::EmailId(_) | SearchKey::ThreadId(_) => check(OBJECT_ID),
        SearchKey::Filter(_) => check(&["FILTERS"]),
        SearchKey::GmailRaw(_)
        | SearchKey::GmailLabel(_)
        | SearchKey::GmailMessageId(_)
        | SearchKey::GmailThreadId(_) => check(GMAIL),
        SearchKey::Sequence(set) | SearchKey::Uid(set) => is_set_offered(set, check),
        SearchKey::Not(key) => key.view().is_none_or(|key| is_key_offered(&key, check)),
        SearchKey::Or(one, other) => {
            [one, other].iter().all(|key| key.view().is_none_or(|key| is_key_offered(&key, check)))
        }
        SearchKey::And(keys) => keys.iter().all(|key| is_key_offered(&key, check)),
        SearchKey::Fuzzy(key) => {
            check(&["SEARCH=FUZZY"]) && key.view().is_none_or(|key| is_key_offered(&key, check))
        }
        _ => true,
    }
}

fn is_fetch_offered(fetch: &FetchCommand<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    let is_modifier_offered = |modifier| match modifier {
        FetchModifier::ChangedSince(_) => check(CONDSTORE),
        FetchModifier::Vanished => check(&["QRESYNC"]),
        FetchModifier::Partial(_) => check(&["PARTIAL"]),
    };
    is_set_offered(&fetch.messages, check)
        && fetch.attributes.iter().all(|attribute| is_attribute_offered(attribute, check))
        && fetch.modifiers.iter().all(is_modifier_offered)
}

fn is_attribute_offered(attribute: FetchAttribute<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    const BINARY: AnyOf = &["BINARY", "IMAP4rev2"];
    match attribute {
        FetchAttribute::Section { section, .. } => section.item() != SectionItem::Binary || check(BINARY),
        FetchAttribute::BinarySize(_) => check(BINARY),
        FetchAttribute::ModSeq => check(CONDSTORE),
        FetchAttribute::EmailId | FetchAttribute::ThreadId => check(OBJECT_ID),
        FetchAttribute::Preview | FetchAttribute::PreviewLazy => check(&["PREVIEW"]),
        FetchAttribute::Annotation { .. } => check(ANNOTATE),
        FetchAttribute::SaveDate => check(&["SAVEDATE"]),
        FetchAttribute::GmailMessageId | FetchAttribute::GmailThreadId | FetchAttribute::GmailLabels => {
            check(GMAIL)
        }
        _ => true,
    }
}

/// Checks the attributes that NOTIFY returns for new messages.
fn is_notify_offered(notify: &NotifyCommand<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    notify.groups().iter().flat_map(|group| group.events).all(|event| match event {
        NotifyEvent::MessageNew(attributes) => {
            attributes.iter().all(|attribute| is_attribute_offered(attribute, check))
        }
        _ => true,
    })
}

fn is_store_offered(store: &StoreCommand<'_>, check: &dyn Fn(AnyOf) -> bool) -> bool {
    is_set_offered(&store.messages, check) && (store.unchanged_since.is_none() || check(CONDSTORE))
}
