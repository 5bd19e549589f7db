//! FILTER: searches that the user has stored as metadata of the server (RFC 5466).

use io_common::Next;
use mailstore::{AccountId, Annotated, Store};
use proto_imap::search_query::{FilterError, SearchFilters};
use proto_imap::server::Reply;
use proto_imap::types::{
    Command, Condition, IString, LazyList, MultiSearchCommand, SearchCommand, SearchKey, SearchReturnOption,
};

use super::rejected_search::{RejectedSearch, check_charset};
use super::search_returns::SavesResult;
use super::{Session, Turn, reply_store_error};

/// The entries below which filters are stored.
const VALUES: &str = "/private/filters/values/";

/// The longest filter in bytes.
pub(super) const FILTER_LIMIT: usize = 8 * 1024;

/// What the searching commands have in common.
struct Parts<'c> {
    keys: LazyList<'c, SearchKey<'c>>,
    returns: Option<LazyList<'c, SearchReturnOption>>,
    charset: Option<IString<'c>>,
}

impl<'c> Parts<'c> {
    fn of(command: &Command<'c>) -> Self {
        match *command {
            Command::Search(SearchCommand { returns, charset, keys })
            | Command::UidSearch(SearchCommand { returns, charset, keys })
            | Command::Esearch(MultiSearchCommand {
                search: SearchCommand { returns, charset, keys }, ..
            }) => Self { keys, returns, charset },
            Command::Sort(sort) | Command::UidSort(sort) => {
                Self { keys: sort.keys, returns: sort.returns, charset: Some(sort.charset) }
            }
            Command::Thread(thread) | Command::UidThread(thread) => {
                Self { keys: thread.keys, returns: None, charset: Some(thread.charset) }
            }
            _ => Self { keys: LazyList::EMPTY, returns: None, charset: None },
        }
    }
}

/// Returns whether a command needs stored filters.
pub(super) fn uses_filters(command: &Command<'_>) -> bool {
    SearchFilters::are_used(Parts::of(command).keys)
}

/// Why a filter cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FilterFault {
    /// It is longer than [`FILTER_LIMIT`].
    TooLong,
    /// Its name or its value is invalid.
    Invalid(&'static str),
}

/// Checks an entry of the server's metadata, if it is a filter.
pub(super) fn check_filter(entry: &str, value: &[u8]) -> Result<(), FilterFault> {
    let Some(name) = entry.strip_prefix(VALUES) else { return Ok(()) };
    let as_key = format!("FILTER {name}");
    let names_one = SearchKey::parse_list(&as_key).is_ok_and(|keys| {
        matches!(keys.iter().next(), Some(SearchKey::Filter(_))) && keys.iter().count() == 1
    });
    if !names_one {
        return Err(FilterFault::Invalid("not the name of a filter"));
    }
    if value.len() > FILTER_LIMIT {
        return Err(FilterFault::TooLong);
    }
    match std::str::from_utf8(value) {
        Ok(criteria) if SearchKey::parse_list(criteria).is_ok() => Ok(()),
        _ => Err(FilterFault::Invalid("the value of a filter is a list of search keys")),
    }
}

/// Reads the filters that a search names.
fn read_filters(
    store: &dyn Store,
    account: AccountId,
    keys: LazyList<'_, SearchKey<'_>>,
) -> mailstore::Result<Result<SearchFilters, FilterError>> {
    let mut filters = SearchFilters::default();
    loop {
        let name = match filters.next_undefined(keys) {
            Ok(Some(name)) => name,
            Ok(None) => return Ok(Ok(filters)),
            Err(error) => return Ok(Err(error)),
        };
        let entry = format!("{VALUES}{name}");
        let behind = format!("{entry}\0");
        let page = store.metadata_page(account, Annotated::Server, &*entry..&*behind, FILTER_LIMIT as u64)?;
        let value = page.entries.into_iter().next().and_then(|entry| entry.value);
        let defined = value
            .and_then(|value| String::from_utf8(value).ok())
            .is_some_and(|criteria| filters.define(&name, &criteria).is_ok());
        if !defined {
            return Ok(Err(FilterError::TooDeep(name)));
        }
    }
}

impl Session {
    /// Reads the filters that a command names, then carries it out.
    pub(super) fn search_with_filters(
        &mut self,
        account: AccountId,
        reply: Reply,
        command: Command<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let asks = |returns: LazyList<'_, SearchReturnOption>| {
            returns.iter().any(|option| option == SearchReturnOption::Save)
        };
        let Parts { returns, charset, .. } = Parts::of(&command);
        let saves = SavesResult::new(returns.is_some_and(asks));
        if charset.is_some_and(|charset| check_charset(charset).is_err()) {
            return self.reject_search(reply, RejectedSearch::Charset(Condition::Bad), saves, turn);
        }
        let command = command.into_owned();
        self.run_job(
            turn,
            move |store| {
                let filters = read_filters(store, account, Parts::of(&command.view()).keys)?;
                Ok((command, filters))
            },
            move |session, read, turn| match read {
                Ok((command, Ok(filters))) => session.search(account, reply, command.view(), &filters, turn),
                Ok((_, Err(FilterError::TooDeep(name)))) => {
                    session.reject_search(reply, RejectedSearch::UndefinedFilter(name), saves, turn)
                }
                Ok((_, Err(_))) => session.reject_search(reply, RejectedSearch::TooManyFilters, saves, turn),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }
}
