//! Writes the results of searching commands: SEARCH, SORT, ESEARCH and THREAD responses (RFC 9051 §7.3.4, RFC 5256 §4,
//! RFC 5267 §4, RFC 7377 §2.1, RFC 9394 §3.1). Numbers and threads are written in pieces, as the client reads them.

use std::time::{Duration, Instant};

use io_common::Next;
use proto_imap::search_query::SearchMatch;
use proto_imap::server::SearchForm;
use proto_imap::types::{
    EsearchResponse, IString, LazyList, NumberKind, Numbers, PlainCode, SearchReturnData, SearchReturnOption,
    Threads, Untagged,
};
use proto_mail::Error;

use super::output_limits::HIGH_WATER;
use super::search::{Collected, Results, Unread};
use super::search_progress::{
    AfterResponse, NumberForm, NumbersLeft, ResponseForm, ResponseKind, SearchInProgress, ThreadInProgress,
};
use super::search_returns::{Listed, Returns};
use super::{InProgress, Session, Turn, next_or_close, no_status};

/// How long one session writes before it yields to the others.
const WRITE_TIME: Duration = Duration::from_millis(4);

impl Session {
    /// Starts to write a result.
    pub(super) fn start_search_response(
        &mut self,
        then: AfterResponse,
        found: Results,
        form: &ResponseForm,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        if let Err(error) = warn_unread(found.unread, turn) {
            return next_or_close(Err(error));
        }
        let begun = match &form.kind {
            ResponseKind::Thread => return self.start_thread_response(then, found, form.numbering, turn),
            ResponseKind::Search | ResponseKind::Sort => self.begin_list(then, found, form, turn),
            ResponseKind::Esearch(returns) if returns.is_silent() => return self.after_response(then, turn),
            ResponseKind::Esearch(returns) => self.begin_esearch(then, found, form, returns, turn),
        };
        match begun {
            Ok(()) => self.write_search(turn),
            Err(error) => next_or_close(Err(error)),
        }
    }

    fn begin_list(
        &mut self,
        then: AfterResponse,
        found: Results,
        form: &ResponseForm,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Error> {
        let begin = match form.kind {
            ResponseKind::Sort => SearchForm::Sort,
            _ => SearchForm::Search,
        };
        let modseq = form.modseq.then(|| Returns::default().mod_sequence(&found)).flatten();
        let tail = modseq.map(SearchReturnData::ModSeq).into_iter().collect();
        self.in_progress = InProgress::Search(Box::new(SearchInProgress {
            then,
            numbering: form.numbering,
            form: NumberForm::Singles,
            numbers: NumbersLeft::new(found, Listed::All),
            open_range: None,
            scores: None,
            tail,
        }));
        turn.machine.begin_search(&begin, turn.tx)
    }

    fn begin_esearch(
        &mut self,
        then: AfterResponse,
        mut found: Results,
        form: &ResponseForm,
        returns: &Returns,
        turn: &mut Turn<'_, '_>,
    ) -> Result<(), Error> {
        let asked = |option| returns.has(option);
        let number = |found: Option<SearchMatch>| {
            let uid = found?.uid;
            match (form.numbering, &self.selected) {
                (NumberKind::Uids, _) => Some(uid),
                (NumberKind::SequenceNumbers, selected) => selected.as_ref()?.view.sequence_number(uid),
            }
        };
        let min = number(found.first()).filter(|_| asked(SearchReturnOption::Min));
        let max = number(found.last()).filter(|_| asked(SearchReturnOption::Max));
        let head: Vec<_> =
            min.map(SearchReturnData::Min).into_iter().chain(max.map(SearchReturnData::Max)).collect();
        let mut tail = Vec::new();
        if asked(SearchReturnOption::Count) {
            tail.push(SearchReturnData::Count(found.matches.uids().len()));
        }
        if form.modseq {
            tail.extend(returns.mod_sequence(&found).map(SearchReturnData::ModSeq));
        }
        let head = EsearchResponse {
            tag: Some(IString::new(&form.tag)),
            mailbox: form.mailbox.as_ref().map(|mailbox| IString::new(&mailbox.name)),
            uid_validity: form.mailbox.as_ref().map(|mailbox| mailbox.uid_validity),
            number_kind: form.numbering,
            results: LazyList::new(&head),
        };
        let listed = returns.listed();
        let scores = asked(SearchReturnOption::Relevancy).then(|| found.take_scores(listed)).flatten();
        self.in_progress = InProgress::Search(Box::new(SearchInProgress {
            then,
            numbering: form.numbering,
            form: NumberForm::Ranges,
            numbers: NumbersLeft::new(found, listed),
            open_range: None,
            scores,
            tail,
        }));
        let begin = match listed {
            Listed::Page(page) => SearchForm::EsearchPage(head, page),
            Listed::All | Listed::Nothing => SearchForm::Esearch(head),
        };
        turn.machine.begin_search(&begin, turn.tx)
    }

    /// Writes as many numbers as the client accepts.
    pub(super) fn write_search(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::Search(progress) = &mut self.in_progress else { return Next::Close };
        let start = Instant::now();
        while !progress.numbers.is_empty() {
            if turn.tx.len() >= HIGH_WATER || start.elapsed() >= WRITE_TIME {
                return Next::More;
            }
            let piece = progress.piece(self.selected.as_ref().map(|selected| &selected.view));
            if let Err(error) = turn.machine.search_numbers(Numbers::new(&piece), turn.tx) {
                return next_or_close(Err(error));
            }
        }
        while let Some(piece) = progress.next_scores() {
            if let Err(error) = turn.machine.search_scores(&piece, turn.tx) {
                return next_or_close(Err(error));
            }
            if turn.tx.len() >= HIGH_WATER || start.elapsed() >= WRITE_TIME {
                return Next::More;
            }
        }
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::Search(progress) => match turn.machine.finish_search(&progress.tail, turn.tx) {
                Ok(()) => self.after_response(progress.then, turn),
                Err(error) => next_or_close(Err(error)),
            },
            _ => Next::Close,
        }
    }

    fn after_response(&mut self, then: AfterResponse, turn: &mut Turn<'_, '_>) -> Next {
        match then {
            AfterResponse::Completed(reply) => self.finish_with_updates(reply, "search completed", turn),
            AfterResponse::NextMailbox(reply, search) => self.run_multi_search(reply, search, turn),
        }
    }

    fn start_thread_response(
        &mut self,
        then: AfterResponse,
        found: Results,
        numbering: NumberKind,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let (AfterResponse::Completed(reply), Collected::Threads(items, memory)) = (then, found.collected)
        else {
            return Next::Close;
        };
        self.in_progress = InProgress::Thread(Box::new(ThreadInProgress {
            reply,
            numbering,
            items,
            is_complete: false,
            _memory: memory,
        }));
        match turn.machine.begin_thread(turn.tx) {
            Ok(()) => self.write_threads(turn),
            Err(error) => next_or_close(Err(error)),
        }
    }

    /// Writes as many threads as the client accepts.
    pub(super) fn write_threads(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let (InProgress::Thread(progress), Some(selected)) = (&mut self.in_progress, &self.selected) else {
            return Next::Close;
        };
        let start = Instant::now();
        while !progress.is_complete {
            if turn.tx.len() >= HIGH_WATER || start.elapsed() >= WRITE_TIME {
                return Next::More;
            }
            let piece = progress.piece(&selected.view);
            if let Err(error) = turn.machine.thread_items(Threads::new(&piece), turn.tx) {
                return next_or_close(Err(error));
            }
        }
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::Thread(progress) => match turn.machine.finish_thread(turn.tx) {
                Ok(()) => self.finish_with_updates(progress.reply, "thread completed", turn),
                Err(error) => next_or_close(Err(error)),
            },
            _ => Next::Close,
        }
    }
}

/// Reports messages that could not be read. An untagged NO is a warning: the command continues without them (RFC 9051
/// §7.1.2).
fn warn_unread(unread: Unread, turn: &mut Turn<'_, '_>) -> Result<(), Error> {
    if unread.count == 0 {
        return Ok(());
    }
    let text = match unread.count {
        1 => "1 message could not be read and was not searched".to_owned(),
        count => format!("{count} messages could not be read and were not searched"),
    };
    turn.machine.data(&Untagged::Status(no_status(PlainCode::ServerBug, &text)), turn.tx)
}
