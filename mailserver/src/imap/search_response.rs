//! Writes the results of searching commands: SEARCH, SORT, ESEARCH and THREAD responses (RFC 9051 §7.3.4, RFC 5256 §4,
//! RFC 5267 §4, RFC 7377 §2.1, RFC 9394 §3.1). Numbers and threads are written in pieces, as the client reads them.

use std::time::{Duration, Instant};

use io_common::Next;
use proto_imap::mailbox_view::UidBitmap;
use proto_imap::search_query::SearchMatch;
use proto_imap::server::{Reply, SearchForm};
use proto_imap::types::{
    EsearchResponse, IString, LazyList, NumberKind, NumberRange, Numbers, PlainCode, SearchReturnData,
    SearchReturnOption, ThreadItem, Threads, Untagged,
};
use proto_mail::Error;

use super::multi_search::MultiSearch;
use super::search::{Collected, Results, Unread};
use super::search_returns::{Listed, Returns};
use super::thread_collector::ThreadItemsLeft;
use super::{InProgress, Selected, Session, Turn, next_or_close, no_status};
use crate::search_memory::Reservation;

/// The maximum number of numbers, ranges or thread items written at a time.
const PER_PIECE: usize = 2_048;

/// Once this many bytes of output are pending, nothing more is written until the client reads.
const HIGH_WATER: usize = 128 * 1024;

/// How long one session writes before it yields to the others.
const WRITE_TIME: Duration = Duration::from_millis(4);

/// The form of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResponseForm {
    pub(super) numbering: NumberKind,
    pub(super) kind: ResponseKind,
    pub(super) tag: Vec<u8>,
    /// The mailbox that was searched, if the response names it (RFC 7377 §2.1).
    pub(super) mailbox: Option<MailboxCorrelator>,
    /// Whether the highest mod-sequence is a part of the response.
    pub(super) modseq: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResponseKind {
    Search,
    Sort,
    Esearch(Returns),
    Thread,
}

/// A mailbox in an ESEARCH response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MailboxCorrelator {
    /// The name, as the client's encoding has it.
    pub(super) name: Vec<u8>,
    pub(super) uid_validity: u32,
}

/// What follows the response.
#[derive(Debug)]
pub(super) enum AfterResponse {
    /// The tagged OK.
    Completed(Reply),
    /// The search of the next mailbox.
    NextMailbox(Reply, Box<MultiSearch>),
}

/// A search whose result is being written.
#[derive(Debug)]
pub(super) struct SearchInProgress {
    then: AfterResponse,
    numbering: NumberKind,
    form: NumberForm,
    numbers: NumbersLeft,
    /// The last range, which the next number may extend.
    open_range: Option<NumberRange>,
    /// The results written after the numbers.
    tail: Vec<SearchReturnData<'static>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumberForm {
    Singles,
    Ranges,
}

/// The UIDs that are still to be written.
#[derive(Debug)]
enum NumbersLeft {
    None,
    /// In the order of the mailbox: this many from `next` on.
    Set {
        uids: UidBitmap,
        next: Option<u32>,
        left: u32,
    },
    /// In another order.
    List {
        uids: std::vec::IntoIter<u32>,
        left: usize,
        _memory: Reservation,
    },
}

/// Threads that are being written.
#[derive(Debug)]
pub(super) struct ThreadInProgress {
    reply: Reply,
    numbering: NumberKind,
    items: Box<ThreadItemsLeft>,
    is_complete: bool,
    _memory: Reservation,
}

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
            tail,
        }));
        turn.machine.begin_search(&begin, turn.tx)
    }

    fn begin_esearch(
        &mut self,
        then: AfterResponse,
        found: Results,
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
        self.in_progress = InProgress::Search(Box::new(SearchInProgress {
            then,
            numbering: form.numbering,
            form: NumberForm::Ranges,
            numbers: NumbersLeft::new(found, listed),
            open_range: None,
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
            let piece = progress.piece(self.selected.as_deref());
            if let Err(error) = turn.machine.search_numbers(Numbers::new(&piece), turn.tx) {
                return next_or_close(Err(error));
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
            let piece = progress.piece(selected);
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

impl NumbersLeft {
    fn new(found: Results, listed: Listed) -> Self {
        let count = found.matches.uids().len();
        let places = match listed {
            Listed::Nothing => return Self::None,
            Listed::All => 0..count,
            Listed::Page(page) => page.places(count),
        };
        match found.collected {
            Collected::Sorted(sorted, memory) => {
                let mut uids = sorted.uids.into_iter();
                if let Some(before) = places.start.checked_sub(1) {
                    uids.nth(before as usize);
                }
                Self::List { uids, left: places.len(), _memory: memory }
            }
            Collected::Set | Collected::Threads(..) => {
                let uids = found.matches.into_uids();
                Self::Set {
                    next: uids.nth(places.start),
                    left: places.end.saturating_sub(places.start),
                    uids,
                }
            }
        }
    }

    const fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::Set { next, left, .. } => next.is_none() || *left == 0,
            Self::List { left, .. } => *left == 0,
        }
    }

    /// Takes the next UIDs, at most [`PER_PIECE`].
    fn take(&mut self) -> Vec<u32> {
        match self {
            Self::None => Vec::new(),
            Self::Set { uids, next, left } => {
                let Some(first) = *next else { return Vec::new() };
                let mut rest = uids.iter_range(first..=u32::MAX);
                let taken: Vec<u32> = rest.by_ref().take(PER_PIECE.min(*left as usize)).collect();
                *next = rest.next();
                *left = left.saturating_sub(u32::try_from(taken.len()).unwrap_or(u32::MAX));
                taken
            }
            Self::List { uids, left, .. } => {
                let taken: Vec<u32> = uids.take(PER_PIECE.min(*left)).collect();
                *left = if taken.is_empty() { 0 } else { left.saturating_sub(taken.len()) };
                taken
            }
        }
    }
}

impl SearchInProgress {
    /// Returns the next numbers, as ranges if the form allows them. Messages that this session has not been told about
    /// are left out.
    fn piece(&mut self, selected: Option<&Selected>) -> Vec<NumberRange> {
        let mut piece: Vec<NumberRange> = self.open_range.take().into_iter().collect();
        for uid in self.numbers.take() {
            let number = match self.numbering {
                NumberKind::Uids => Some(uid),
                NumberKind::SequenceNumbers => {
                    selected.and_then(|selected| selected.view.sequence_number(uid))
                }
            };
            let Some(number) = number else { continue };
            match piece.last_mut() {
                Some(last)
                    if self.form == NumberForm::Ranges && last.last().checked_add(1) == Some(number) =>
                {
                    *last = NumberRange::new(last.first(), number);
                }
                _ => piece.push(number.into()),
            }
        }
        if self.form == NumberForm::Ranges && !self.numbers.is_empty() {
            // The next number may extend this range.
            self.open_range = piece.pop();
        }
        piece
    }
}

impl ThreadInProgress {
    /// Returns the next items. The view has not changed since the search began, so it has every message.
    fn piece(&mut self, selected: &Selected) -> Vec<ThreadItem> {
        let piece: Vec<ThreadItem> = self.items.by_ref().take(PER_PIECE).collect();
        self.is_complete = piece.len() < PER_PIECE;
        let number = |uid: u32| match self.numbering {
            NumberKind::Uids => Some(uid),
            NumberKind::SequenceNumbers => selected.view.sequence_number(uid),
        };
        let item = |item| match item {
            ThreadItem::Message(uid) => number(uid).map(ThreadItem::Message),
            other => Some(other),
        };
        piece.into_iter().filter_map(item).collect()
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
