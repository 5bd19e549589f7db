//! SEARCH, SORT and THREAD, by sequence numbers and by UIDs (RFC 9051 §6.4.4, RFC 4731, RFC 5182, RFC 5256, RFC 5267,
//! RFC 9394): checks the command, and runs the [`search`](super::search). See
//! [`search_response`](super::search_response) for the response.

use std::sync::Arc;

use io_common::{JobStep, Next};
use mailstore::{AccountId, UidSet};
use proto_imap::mailbox_view::UidBitmap;
use proto_imap::search_query::{NeededMatches, SearchFilters, SearchQuery};
use proto_imap::server::Reply;
use proto_imap::sort_order::SortOrder;
use proto_imap::types::{
    Command, Condition, IString, LazyList, NumberKind, PlainCode, ResponseCode, SearchCommand, SearchKey,
    SearchReturnOption, SortCommand, SortKey, StatusResponse, Text, ThreadCommand,
};

use super::filters::uses_filters;
use super::kept_results::ContextQuery;
use super::multi_search_job::search_options;
use super::rejected_search::{RejectedSearch, check_charset};
use super::scores::NeededScores;
use super::search::{Collector, Results, Search};
use super::search_contexts::KeptUpToDate;
use super::search_progress::{AfterResponse, ResponseForm, ResponseKind};
use super::search_returns::{Returns, SavesResult};
use super::sort_collector::SortCollector;
use super::stored_message::EmailIds;
use super::thread_collector::ThreadCollector;
use super::translate::uid_set;
use super::{
    Session, Turn, next_or_close, reply_bad, reply_limit, reply_no, reply_no_with_code, reply_ok,
    reply_store_error, translate,
};

/// Checks the charset of SEARCH or ESEARCH. After ENABLE UTF8=ACCEPT it is UTF-8 and must not be named (RFC 6855 §3).
pub(super) fn check_optional_charset(
    charset: Option<IString<'_>>,
    turn: &Turn<'_, '_>,
) -> Result<(), RejectedSearch> {
    match charset {
        None => Ok(()),
        Some(_) if turn.machine.is_enabled("UTF8=ACCEPT") => {
            Err(RejectedSearch::Bad("no charset may be named after ENABLE UTF8=ACCEPT".to_owned()))
        }
        Some(charset) => check_charset(charset),
    }
}

/// Checks the options of RETURN, if there is one.
pub(super) fn check_returns(
    returns: Option<LazyList<'_, SearchReturnOption>>,
) -> Result<Option<Returns>, RejectedSearch> {
    Ok(returns.map(Returns::new).transpose()?)
}

/// A searching command that was checked.
struct CheckedSearch {
    query: Arc<SearchQuery>,
    kind: ResponseKind,
    needed: NeededMatches,
    collector: Collector,
    /// The order of a SORT, if its result is kept up to date.
    order: Option<SortOrder>,
}

impl Session {
    /// Executes a command that searches, or ends the updates of a search.
    pub(super) fn searching_command(
        &mut self,
        account: AccountId,
        reply: Reply,
        command: Command<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        if uses_filters(&command) {
            return self.search_with_filters(account, reply, command, turn);
        }
        self.search(account, reply, command, &SearchFilters::default(), turn)
    }

    /// Executes a command that searches, with the filters that it names.
    pub(super) fn search(
        &mut self,
        account: AccountId,
        reply: Reply,
        command: Command<'_>,
        filters: &SearchFilters,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        const NUMBERS: NumberKind = NumberKind::SequenceNumbers;
        const UIDS: NumberKind = NumberKind::Uids;
        match command {
            Command::Search(arguments) => {
                self.plain_search((account, reply), arguments, NUMBERS, filters, turn)
            }
            Command::UidSearch(arguments) => {
                self.plain_search((account, reply), arguments, UIDS, filters, turn)
            }
            Command::Sort(arguments) => self.sort((account, reply), arguments, NUMBERS, filters, turn),
            Command::UidSort(arguments) => self.sort((account, reply), arguments, UIDS, filters, turn),
            Command::Thread(arguments) => self.thread((account, reply), arguments, NUMBERS, filters, turn),
            Command::UidThread(arguments) => self.thread((account, reply), arguments, UIDS, filters, turn),
            Command::Esearch(arguments) => self.esearch(account, reply, arguments, filters, turn),
            Command::CancelUpdate(arguments) => self.cancel_update(reply, arguments, turn),
            _ => reply_bad(reply, "unsupported command", turn),
        }
    }

    fn plain_search(
        &mut self,
        (account, reply): (AccountId, Reply),
        arguments: SearchCommand<'_>,
        numbering: NumberKind,
        filters: &SearchFilters,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let checked = check_returns(arguments.returns).and_then(|returns| {
            check_optional_charset(arguments.charset, turn)?;
            // IMAP4rev2 replaces the SEARCH response by ESEARCH (RFC 9051 Appendix E).
            let returns = returns.or_else(|| turn.machine.is_enabled("IMAP4rev2").then(Returns::default));
            let needed = returns.as_ref().map_or(NeededMatches::All, Returns::needed);
            let scores = returns.as_ref().map_or(NeededScores::No, Returns::scores);
            let kind = returns.map_or(ResponseKind::Search, ResponseKind::Esearch);
            let query = self.query(arguments.keys, scores, filters)?;
            let collector = Collector::for_search(scores, || self.context.search_memory.reserve(account));
            Ok(CheckedSearch { query, kind, needed, collector, order: None })
        });
        self.start_search(account, reply, checked, arguments.returns, numbering, turn)
    }

    fn sort(
        &mut self,
        (account, reply): (AccountId, Reply),
        arguments: SortCommand<'_>,
        numbering: NumberKind,
        filters: &SearchFilters,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let checked = check_returns(arguments.returns).and_then(|returns| {
            check_charset(arguments.charset)?;
            let order = SortOrder::new(arguments.criteria, self.comparator)
                .map_err(|error| RejectedSearch::Bad(error.to_string()))?;
            let needed = returns.clone().unwrap_or_default().needed_order();
            let scores = returns.as_ref().map_or(NeededScores::No, Returns::scores);
            let uses_scores = order.uses(SortKey::Relevancy) || scores == NeededScores::Yes;
            let query = self.query(arguments.keys, NeededScores::new(uses_scores), filters)?;
            let kept = returns.as_ref().is_some_and(|returns| returns.has(SearchReturnOption::Update));
            let memory = self.context.search_memory.reserve(account);
            let kept_order = kept.then(|| order.clone());
            let collector = Collector::Sort(Box::new(SortCollector::new(order, needed, scores, memory)));
            let kind = returns.map_or(ResponseKind::Sort, ResponseKind::Esearch);
            Ok(CheckedSearch { query, kind, needed: NeededMatches::All, collector, order: kept_order })
        });
        self.start_search(account, reply, checked, arguments.returns, numbering, turn)
    }

    fn thread(
        &mut self,
        (account, reply): (AccountId, Reply),
        arguments: ThreadCommand<'_>,
        numbering: NumberKind,
        filters: &SearchFilters,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let checked = check_charset(arguments.charset).and_then(|()| {
            let memory = self.context.search_memory.reserve(account);
            let Some(collector) = ThreadCollector::new(arguments.algorithm, self.comparator, memory) else {
                return Err(RejectedSearch::Bad("unsupported threading algorithm".to_owned()));
            };
            let query = self.query(arguments.keys, NeededScores::No, filters)?;
            let collector = Collector::Thread(Box::new(collector));
            let kind = ResponseKind::Thread;
            Ok(CheckedSearch { query, kind, needed: NeededMatches::All, collector, order: None })
        });
        self.start_search(account, reply, checked, None, numbering, turn)
    }

    /// Prepares a search of the selected mailbox.
    fn query(
        &self,
        keys: LazyList<'_, SearchKey<'_>>,
        scores: NeededScores,
        filters: &SearchFilters,
    ) -> Result<Arc<SearchQuery>, RejectedSearch> {
        let Some(selected) = &self.selected else {
            return Err(RejectedSearch::Bad("select a mailbox first".to_owned()));
        };
        let now = translate::now().seconds;
        let options = search_options(self.comparator, filters);
        let query = SearchQuery::with_options(keys, &selected.view, now, &options)?;
        Ok(Arc::new(scores.prepare(query)?))
    }

    fn start_search(
        &mut self,
        account: AccountId,
        reply: Reply,
        checked: Result<CheckedSearch, RejectedSearch>,
        returns: Option<LazyList<'_, SearchReturnOption>>,
        numbering: NumberKind,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let asks = |option| returns.is_some_and(|returns| returns.iter().any(|one| one == option));
        let saves = SavesResult::new(asks(SearchReturnOption::Save));
        let CheckedSearch { query, kind, needed, collector, order } = match checked {
            Ok(checked) => checked,
            Err(rejected) => return self.reject_search(reply, rejected, saves, turn),
        };
        let Some(selected) = &self.selected else { return reply_bad(reply, "select a mailbox first", turn) };
        let tag = turn.machine.tag().map(|tag| tag.as_bytes().to_vec()).unwrap_or_default();
        let email_ids = self.resolve_email_ids(selected.owner, &query);
        let kept = if asks(SearchReturnOption::Update) {
            let memory = self.context.search_memory.reserve(account);
            let query = ContextQuery::new(&tag, numbering, &query, &email_ids, order, None);
            match KeptUpToDate::check(selected, query, memory) {
                Ok(kept) => Some(kept),
                Err(reason) => return reply_bad(reply, reason, turn),
            }
        } else {
            None
        };
        let modseq = query.has_mod_sequence();
        let form = ResponseForm { numbering, kind, tag, mailbox: None, modseq };
        let among: UidSet = uid_set(selected.view.uid_range());
        let search = Search::new(selected.mailbox, &among, query, email_ids, needed, collector);
        if modseq && let Err(error) = self.enable_condstore(turn) {
            return next_or_close(Err(error));
        }
        self.run_search(reply, search, form, kept, saves, turn)
    }

    /// Answers NO or BAD. After NO, a result that was to be saved is empty (RFC 5182 §2.1).
    pub(super) fn reject_search(
        &mut self,
        reply: Reply,
        rejected: RejectedSearch,
        saves: SavesResult,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        match rejected {
            RejectedSearch::Charset(condition) => {
                if condition == Condition::No {
                    self.clear_saved(saves);
                }
                let charsets = [IString::new(b"UTF-8"), IString::new(b"US-ASCII")];
                let status = StatusResponse::new(condition, Text::first_line("unsupported charset"))
                    .with_code(ResponseCode::BadCharset(LazyList::new(&charsets)));
                next_or_close(turn.machine.reply(reply, &status, turn.tx))
            }
            RejectedSearch::Limit(error) => reply_limit(reply, &error.to_string(), turn),
            RejectedSearch::UndefinedFilter(name) => {
                self.clear_saved(saves);
                let code = ResponseCode::UndefinedFilter(IString::from(&*name));
                reply_no_with_code(reply, code, "no such filter", turn)
            }
            RejectedSearch::TooManyFilters => {
                self.clear_saved(saves);
                reply_no(reply, PlainCode::Limit, "too many filters", turn)
            }
            RejectedSearch::Bad(reason) => reply_bad(reply, &reason, turn),
        }
    }

    fn clear_saved(&mut self, saves: SavesResult) {
        if let (SavesResult::Yes, Some(selected)) = (saves, &mut self.selected) {
            selected.view.save(UidBitmap::new());
        }
    }

    /// Looks up the EMAILIDs of a query.
    fn resolve_email_ids(&self, account: AccountId, query: &SearchQuery) -> EmailIds {
        let find = |id: &str| self.context.store.find_email_id(account, id);
        query.email_ids().into_iter().map(|id| (id.to_owned(), find(id))).collect()
    }

    fn run_search(
        &mut self,
        reply: Reply,
        search: Search,
        form: ResponseForm,
        kept: Option<KeptUpToDate>,
        saves: SavesResult,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let mut search = Some(search);
        self.run_in_slices(
            turn,
            move |store, slice| {
                let Some(mut running) = search.take() else { return JobStep::More };
                match running.run(store, slice) {
                    Ok(true) => JobStep::Done(Ok(running.into_results())),
                    Ok(false) => {
                        search = Some(running);
                        JobStep::More
                    }
                    Err(error) => JobStep::Done(Err(error)),
                }
            },
            move |session, searched, turn| match searched {
                Ok(found) => session.finish_search(reply, found, &form, kept, saves, turn),
                Err(mailstore::Error::NotFound(_)) => {
                    session.clear_saved(saves);
                    reply_ok(reply, "the mailbox was deleted", turn)
                }
                Err(error) => {
                    session.clear_saved(saves);
                    reply_store_error(reply, &error, turn)
                }
            },
        )
    }

    /// Saves the result and keeps it up to date, if the client asked for it, and writes the response.
    fn finish_search(
        &mut self,
        reply: Reply,
        found: Results,
        form: &ResponseForm,
        kept: Option<KeptUpToDate>,
        saves: SavesResult,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &mut self.selected else { return reply_ok(reply, "search completed", turn) };
        if let (SavesResult::Yes, ResponseKind::Esearch(returns)) = (saves, &form.kind) {
            selected.view.save(returns.saved(&found));
        }
        if let Some(kept) = kept
            && let Err(error) = kept.begin(selected, &found, turn)
        {
            return next_or_close(Err(error));
        }
        self.start_search_response(AfterResponse::Completed(reply), found, form, turn)
    }
}
