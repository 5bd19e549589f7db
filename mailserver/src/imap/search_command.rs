//! SEARCH and UID SEARCH (RFC 9051 §6.4.4, RFC 4731, RFC 5182): starts a [`search`], and writes the result as a SEARCH
//! or ESEARCH response.
//!
//! [`search`]: super::search

use std::time::{Duration, Instant};

use io_common::{JobStep, Next};
use mailstore::UidSet;
use proto_imap::mailbox_view::MailboxView;
use proto_imap::search_query::{NeededMatches, SearchLimits, SearchMatch, SearchQuery, SearchQueryError};
use proto_imap::server::{Reply, SearchForm};
use proto_imap::types::SearchCommand;
use proto_imap::types::{
    Condition, EsearchResponse, IString, LazyList, NumberKind, NumberRange, Numbers, PlainCode, ResponseCode,
    SearchReturnData, SearchReturnOption, StatusResponse, Text, Untagged,
};
use proto_mail::Error;

use super::command_state::{NumberForm, SearchInProgress};
use super::search::{Results, Search, Unread};
use super::stored_message::EmailIds;
use super::translate::uid_set;
use super::{
    InProgress, Selected, Session, Turn, next_or_close, no_status, reply_bad, reply_limit, reply_ok,
    reply_store_error, translate,
};

/// The maximum number of numbers or ranges written at a time.
const NUMBERS_PER_PIECE: usize = 2_048;

/// Once this many bytes of output are pending, no more numbers are written until the client reads.
const HIGH_WATER: usize = 128 * 1024;

/// How long one session writes before it yields to the others.
const WRITE_TIME: Duration = Duration::from_millis(4);

/// The form of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ResponseForm {
    numbering: NumberKind,
    /// The requested results; `None` for a SEARCH response.
    returns: Option<Vec<SearchReturnOption>>,
    tag: Option<Vec<u8>>,
    modseq: bool,
}

impl Session {
    pub(super) fn search(
        &mut self,
        reply: Reply,
        arguments: SearchCommand<'_>,
        numbering: NumberKind,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &self.selected else { return reply_bad(reply, "select a mailbox first", turn) };
        if arguments.charset.is_some() && turn.machine.is_enabled("UTF8=ACCEPT") {
            // RFC 6855 §3: the charset is UTF-8.
            return reply_bad(reply, "no charset may be named after ENABLE UTF8=ACCEPT", turn);
        }
        let known = |charset: IString<'_>| {
            [&b"UTF-8"[..], b"US-ASCII"].iter().any(|one| charset.eq_ignore_ascii_case(one))
        };
        if arguments.charset.is_some_and(|charset| !known(charset)) {
            let charsets = [IString::new(b"UTF-8"), IString::new(b"US-ASCII")];
            let status = StatusResponse::new(Condition::No, Text::first_line("unsupported charset"))
                .with_code(ResponseCode::BadCharset(LazyList::new(&charsets)));
            return next_or_close(turn.machine.reply(reply, &status, turn.tx));
        }
        let now = translate::now().seconds;
        let query = match SearchQuery::new(arguments.keys, &selected.view, now, &SearchLimits::default()) {
            Ok(query) => query,
            Err(error @ SearchQueryError::TooLarge) => return reply_limit(reply, &error.to_string(), turn),
            Err(error) => return reply_bad(reply, &error.to_string(), turn),
        };
        let returns: Option<Vec<_>> = arguments.returns.map(|returns| returns.iter().collect());
        let unknown = returns.iter().flatten().any(|wanted| {
            !matches!(
                wanted,
                SearchReturnOption::Min
                    | SearchReturnOption::Max
                    | SearchReturnOption::All
                    | SearchReturnOption::Count
                    | SearchReturnOption::Save
            )
        });
        if unknown {
            return reply_bad(reply, "unsupported result option", turn);
        }
        // IMAP4rev2 replaces the SEARCH response by ESEARCH (RFC 9051 Appendix E).
        let returns = returns.or_else(|| turn.machine.is_enabled("IMAP4rev2").then(Vec::new));
        let modseq = query.has_mod_sequence();
        let form = ResponseForm {
            numbering,
            returns,
            tag: turn.machine.tag().map(|tag| tag.as_bytes().to_vec()),
            modseq,
        };
        let email_ids = self.resolve_email_ids(&query);
        let among: UidSet = uid_set(selected.view.uid_range());
        let needed = NeededMatches::of(form.returns.as_deref());
        let search = Search::new(selected.mailbox, &among, query, email_ids, needed);
        if modseq && let Err(error) = self.enable_condstore(turn) {
            return next_or_close(Err(error));
        }
        self.run_search(reply, search, form, turn)
    }

    /// Looks up the EMAILIDs of a query.
    fn resolve_email_ids(&self, query: &SearchQuery) -> EmailIds {
        let find = |id: &str| self.account.and_then(|account| self.context.store.find_email_id(account, id));
        query.email_ids().into_iter().map(|id| (id.to_owned(), find(id))).collect()
    }

    fn run_search(
        &mut self,
        reply: Reply,
        search: Search,
        form: ResponseForm,
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
                Ok(found) => session.start_search_response(reply, found, &form, turn),
                Err(mailstore::Error::NotFound(_)) => reply_ok(reply, "the mailbox was deleted", turn),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    fn start_search_response(
        &mut self,
        reply: Reply,
        found: Results,
        form: &ResponseForm,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let Some(selected) = &mut self.selected else { return reply_ok(reply, "search completed", turn) };
        if let Err(error) = warn_unread(found.unread, turn) {
            return next_or_close(Err(error));
        }
        let needed = NeededMatches::of(form.returns.as_deref());
        if form.returns.as_ref().is_some_and(|returns| returns.contains(&SearchReturnOption::Save)) {
            selected.view.save(found.matches.saved(needed));
        }
        let first = found.matches.uids().first();
        let mod_sequence = form.modseq.then(|| found.matches.mod_sequence(needed)).flatten();
        let mod_sequence = mod_sequence.map(SearchReturnData::ModSeq);
        let mut progress = SearchInProgress {
            reply,
            numbering: form.numbering,
            form: NumberForm::Singles,
            found: found.matches,
            next: first,
            open_range: None,
            tail: mod_sequence.into_iter().collect(),
        };
        let begun = match &form.returns {
            None => turn.machine.begin_search(&SearchForm::Search, turn.tx),
            Some(returns) if returns[..] == [SearchReturnOption::Save] => {
                return self.finish_with_updates(progress.reply, "search completed", turn);
            }
            Some(returns) => {
                let head = esearch_head(&mut progress, returns, &selected.view);
                begin_esearch(form, &head, turn)
            }
        };
        match begun {
            Ok(()) => {
                self.in_progress = InProgress::Search(Box::new(progress));
                self.write_search(turn)
            }
            Err(error) => next_or_close(Err(error)),
        }
    }

    /// Writes as many numbers as the client accepts.
    pub(super) fn write_search(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let (InProgress::Search(progress), Some(selected)) = (&mut self.in_progress, &self.selected) else {
            return Next::Close;
        };
        let start = Instant::now();
        while progress.next.is_some() {
            if turn.tx.len() >= HIGH_WATER || start.elapsed() >= WRITE_TIME {
                return Next::More;
            }
            let piece = progress.piece(selected);
            if let Err(error) = turn.machine.search_numbers(Numbers::new(&piece), turn.tx) {
                return next_or_close(Err(error));
            }
        }
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::Search(progress) => match turn.machine.finish_search(&progress.tail, turn.tx) {
                Ok(()) => self.finish_with_updates(progress.reply, "search completed", turn),
                Err(error) => next_or_close(Err(error)),
            },
            _ => Next::Close,
        }
    }
}

impl SearchInProgress {
    /// Returns the next numbers, as ranges if the form allows them. Messages that this session has not been told about
    /// are left out.
    fn piece(&mut self, selected: &Selected) -> Vec<NumberRange> {
        let mut piece: Vec<NumberRange> = self.open_range.take().into_iter().collect();
        let Some(from) = self.next.take() else { return piece };
        for (count, uid) in self.found.uids().iter_range(from..=u32::MAX).enumerate() {
            if count >= NUMBERS_PER_PIECE {
                self.next = Some(uid);
                // The next UID may extend this range.
                self.open_range = piece.pop();
                break;
            }
            let number = match self.numbering {
                NumberKind::Uids => uid,
                NumberKind::SequenceNumbers => match selected.view.sequence_number(uid) {
                    Some(number) => number,
                    None => continue,
                },
            };
            match piece.last_mut() {
                Some(last)
                    if self.form == NumberForm::Ranges && last.last().checked_add(1) == Some(number) =>
                {
                    *last = NumberRange::new(last.first(), number);
                }
                _ => piece.push(number.into()),
            }
        }
        piece
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

/// Prepares an ESEARCH response of these results. Returns those that precede the numbers.
fn esearch_head(
    progress: &mut SearchInProgress,
    returns: &[SearchReturnOption],
    view: &MailboxView,
) -> Vec<SearchReturnData<'static>> {
    let asked = |wanted| returns.contains(&wanted);
    progress.form = NumberForm::Ranges;
    if !asked(SearchReturnOption::All) && !returns.is_empty() {
        progress.next = None;
    }
    if asked(SearchReturnOption::Count) {
        progress.tail.insert(0, SearchReturnData::Count(progress.found.uids().len()));
    }
    let number = |found: Option<SearchMatch>| {
        let uid = found?.uid;
        match progress.numbering {
            NumberKind::Uids => Some(uid),
            NumberKind::SequenceNumbers => view.sequence_number(uid),
        }
    };
    let min = number(progress.found.first()).filter(|_| asked(SearchReturnOption::Min));
    let max = number(progress.found.last()).filter(|_| asked(SearchReturnOption::Max));
    min.map(SearchReturnData::Min).into_iter().chain(max.map(SearchReturnData::Max)).collect()
}

fn begin_esearch(
    form: &ResponseForm,
    head: &[SearchReturnData<'_>],
    turn: &mut Turn<'_, '_>,
) -> Result<(), Error> {
    let tag = form.tag.as_deref().map(IString::new);
    let esearch = EsearchResponse {
        tag,
        mailbox: None,
        uid_validity: None,
        number_kind: form.numbering,
        results: LazyList::new(head),
    };
    turn.machine.begin_search(&SearchForm::Esearch(esearch), turn.tx)
}
