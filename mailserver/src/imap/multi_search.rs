//! ESEARCH: a search in several mailboxes (RFC 7377).
//!
//! The mailboxes are searched one after the other, in the order of their names. The response for one is written before
//! the next one is searched, so a session holds one result at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use io_common::{JobStep, Next};
use mailstore::AccountId;
use proto_imap::mailbox_view::MailboxView;
use proto_imap::search_query::{SearchFilters, SearchQuery};
use proto_imap::server::Reply;
use proto_imap::types::{MailboxName, MultiSearchCommand, NumberKind, SearchReturnOption};

use super::kept_results::ContextQuery;
use super::multi_search_job::{Found, MultiSearch, Progress, Sources, needs_view, search_options};
use super::search_command::{check_optional_charset, check_returns};
use super::search_contexts::KeptUpToDate;
use super::search_progress::{AfterResponse, MailboxCorrelator, ResponseForm, ResponseKind};
use super::search_returns::SavesResult;
use super::{
    Session, Turn, encoding, next_or_close, reply_bad, reply_invalid_name, reply_store_error, translate,
};

impl Session {
    pub(super) fn esearch(
        &mut self,
        account: AccountId,
        reply: Reply,
        arguments: MultiSearchCommand<'_>,
        filters: &SearchFilters,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let selected = self.selected.as_ref().map(|selected| (selected.mailbox, selected.view.clone()));
        let now = translate::now().seconds;
        let asks =
            |option| arguments.search.returns.is_some_and(|returns| returns.iter().any(|one| one == option));
        let saves = SavesResult::new(asks(SearchReturnOption::Save));
        // The keys are checked once for the selected mailbox, so that an error is found before the first response.
        let checked = check_returns(arguments.search.returns).and_then(|returns| {
            check_optional_charset(arguments.search.charset, turn)?;
            let empty = MailboxView::default();
            let view = selected.as_ref().map_or(&empty, |(_, view)| view);
            let returns = returns.unwrap_or_default();
            let options = search_options(self.comparator, filters);
            let query = SearchQuery::with_options(arguments.search.keys, view, now, &options)?;
            let query = returns.scores().prepare(query)?;
            Ok((returns, query.has_mod_sequence()))
        });
        let (returns, modseq) = match checked {
            Ok(checked) => checked,
            Err(rejected) => return self.reject_search(reply, rejected, saves, turn),
        };
        let Some(sources) = Sources::new(arguments.sources, encoding(turn.machine)) else {
            return reply_invalid_name(reply, turn);
        };
        if modseq && let Err(error) = self.enable_condstore(turn) {
            return next_or_close(Err(error));
        }
        let search = MultiSearch {
            account,
            memory: Arc::clone(&self.context.search_memory),
            needs_view: needs_view(arguments.search.keys),
            command: arguments.search.into_owned(),
            comparator: self.comparator,
            filters: filters.clone(),
            returns,
            tag: turn.machine.tag().map(|tag| tag.as_bytes().to_vec()).unwrap_or_default(),
            saves,
            sources,
            selected,
            now,
            after: String::new(),
            are_all_read: false,
            shared_after: None,
            mailboxes: VecDeque::new(),
            current: None,
        };
        self.run_multi_search(reply, Box::new(search), turn)
    }

    /// Searches the next mailbox, up to one with matches.
    pub(super) fn run_multi_search(
        &mut self,
        reply: Reply,
        search: Box<MultiSearch>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let mut search = Some(search);
        self.run_in_slices(
            turn,
            move |store, slice| {
                let Some(mut running) = search.take() else { return JobStep::More };
                match running.run(store, slice) {
                    Ok(Progress::More) => {
                        search = Some(running);
                        JobStep::More
                    }
                    Ok(Progress::Found(found)) => JobStep::Done(Ok((running, Some(found)))),
                    Ok(Progress::Complete) => JobStep::Done(Ok((running, None))),
                    Err(error) => JobStep::Done(Err(error)),
                }
            },
            |session, searched, turn| match searched {
                Ok((search, Some(found))) => session.write_found(reply, search, *found, turn),
                Ok((_, None)) => session.finish_with_updates(reply, "search completed", turn),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    fn write_found(
        &mut self,
        reply: Reply,
        search: Box<MultiSearch>,
        found: Found,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let name = MailboxName::new(&found.mailbox.name).to_bytes(encoding(turn.machine)).into_owned();
        let correlator = MailboxCorrelator { name, uid_validity: found.uid_validity };
        let Found { mailbox, results, query, email_ids, .. } = found;
        let is_selected = self.selected.as_ref().is_some_and(|selected| selected.mailbox == mailbox.id);
        if let Some(selected) = self.selected.as_mut().filter(|_| is_selected) {
            if search.saves == SavesResult::Yes {
                selected.view.save(search.returns.saved(&results));
            }
            if search.returns.has(SearchReturnOption::Update) {
                let memory = self.context.search_memory.reserve(search.account);
                let tag = &search.tag;
                let query = ContextQuery::new(
                    tag,
                    NumberKind::Uids,
                    &query,
                    &email_ids,
                    None,
                    Some(correlator.clone()),
                );
                let begun = match KeptUpToDate::check(selected, query, memory) {
                    Ok(kept) => kept.begin(selected, &results, turn),
                    Err(reason) => return reply_bad(reply, reason, turn),
                };
                if let Err(error) = begun {
                    return next_or_close(Err(error));
                }
            }
        }
        // There is no response for a mailbox without matches (RFC 7377 §2.1).
        if results.matches.uids().is_empty() && results.unread.count == 0 {
            return self.run_multi_search(reply, search, turn);
        }
        let form = ResponseForm {
            numbering: NumberKind::Uids,
            kind: ResponseKind::Esearch(search.returns.clone()),
            tag: search.tag.clone(),
            mailbox: Some(correlator),
            modseq: query.has_mod_sequence(),
        };
        self.start_search_response(AfterResponse::NextMailbox(reply, search), results, &form, turn)
    }
}
