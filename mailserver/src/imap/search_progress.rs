//! The state of a searching command whose response is being written: what is left of it, and what follows.

use proto_imap::mailbox_view::{MailboxView, UidBitmap};
use proto_imap::server::Reply;
use proto_imap::types::{NumberKind, NumberRange, RelevancyScore, SearchReturnData, ThreadItem};

use super::multi_search_job::MultiSearch;
use super::scores::ScoresLeft;
use super::search::{Collected, Results};
use super::search_returns::{Listed, Returns};
use super::thread_collector::ThreadItemsLeft;
use crate::search_memory::Reservation;

/// The maximum number of numbers, ranges or thread items written at a time.
const PER_PIECE: usize = 2_048;

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
    pub(super) then: AfterResponse,
    pub(super) numbering: NumberKind,
    pub(super) form: NumberForm,
    pub(super) numbers: NumbersLeft,
    /// The last range, which the next number may extend.
    pub(super) open_range: Option<NumberRange>,
    /// The scores written after the numbers.
    pub(super) scores: Option<ScoresLeft>,
    /// The results written after the numbers and the scores.
    pub(super) tail: Vec<SearchReturnData<'static>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberForm {
    Singles,
    Ranges,
}

/// The UIDs that are still to be written.
#[derive(Debug)]
pub(super) enum NumbersLeft {
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
    pub(super) reply: Reply,
    pub(super) numbering: NumberKind,
    pub(super) items: Box<ThreadItemsLeft>,
    pub(super) is_complete: bool,
    pub(super) _memory: Reservation,
}

impl Results {
    /// Returns the places of the listed messages in the result.
    fn places(&self, listed: Listed) -> std::ops::Range<u32> {
        let count = self.matches.uids().len();
        match listed {
            Listed::Nothing => 0..0,
            Listed::All => 0..count,
            Listed::Page(page) => page.places(count),
        }
    }

    /// Takes the scores of the listed messages.
    pub(super) fn take_scores(&mut self, listed: Listed) -> Option<ScoresLeft> {
        let places = self.places(listed);
        if let Collected::Sorted(sorted, _) = &mut self.collected {
            return Some(ScoresLeft::new(std::mem::take(&mut sorted.scores), None, places));
        }
        match std::mem::replace(&mut self.collected, Collected::Set) {
            Collected::Scores(scores) => Some(ScoresLeft::of(*scores, places)),
            other => {
                self.collected = other;
                None
            }
        }
    }
}

impl NumbersLeft {
    pub(super) fn new(found: Results, listed: Listed) -> Self {
        if listed == Listed::Nothing {
            return Self::None;
        }
        let places = found.places(listed);
        match found.collected {
            Collected::Sorted(sorted, memory) => {
                let mut uids = sorted.uids.into_iter();
                if let Some(before) = places.start.checked_sub(1) {
                    uids.nth(before as usize);
                }
                Self::List { uids, left: places.len(), _memory: memory }
            }
            Collected::Set | Collected::Scores(_) | Collected::Threads(..) => {
                let uids = found.matches.into_uids();
                Self::Set {
                    next: uids.nth(places.start),
                    left: places.end.saturating_sub(places.start),
                    uids,
                }
            }
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
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
    /// Takes the next scores. Returns `None` at the end.
    pub(super) fn next_scores(&mut self) -> Option<Vec<RelevancyScore>> {
        self.scores.as_mut().map(|scores| scores.take(PER_PIECE)).filter(|piece| !piece.is_empty())
    }

    /// Returns the next numbers, as ranges if the form allows them. Messages that this session has not been told about
    /// are left out.
    pub(super) fn piece(&mut self, view: Option<&MailboxView>) -> Vec<NumberRange> {
        let mut piece: Vec<NumberRange> = self.open_range.take().into_iter().collect();
        for uid in self.numbers.take() {
            let number = match self.numbering {
                NumberKind::Uids => Some(uid),
                NumberKind::SequenceNumbers => view.and_then(|view| view.sequence_number(uid)),
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
    pub(super) fn piece(&mut self, view: &MailboxView) -> Vec<ThreadItem> {
        let piece: Vec<ThreadItem> = self.items.by_ref().take(PER_PIECE).collect();
        self.is_complete = piece.len() < PER_PIECE;
        let number = |uid: u32| match self.numbering {
            NumberKind::Uids => Some(uid),
            NumberKind::SequenceNumbers => view.sequence_number(uid),
        };
        let item = |item| match item {
            ThreadItem::Message(uid) => number(uid).map(ThreadItem::Message),
            other => Some(other),
        };
        piece.into_iter().filter_map(item).collect()
    }
}
