//! SORT: the order of the messages that a search finds (RFC 5256 §3, RFC 5267 §3, RFC 5957).
//!
//! The search adds an entry for each match. They are sorted in runs of a few thousand, and the runs are merged at the
//! end, both in slices. If only the first and the last message are wanted, only these two entries are kept.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use io_common::Slice;
use mailmime::{Address, decode};
use mailstore::Message;
use proto_imap::search_query::SearchMatch;
use proto_imap::sort_order::{SortEntry, SortOrder, SortableMessage};
use proto_imap::types::{RelevancyScore, SortKey};

use super::scores::NeededScores;
use crate::search_memory::Reservation;

/// The number of entries that are sorted at a time.
const RUN: usize = 4_096;

/// The entries that are merged between two checks of the slice.
const MERGED_AT_ONCE: usize = 1_024;

/// The memory that an entry takes in addition to [`SortEntry::memory`]: its share of the allocations.
const ENTRY: usize = 16;

/// Which messages of the order are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NeededOrder {
    /// All, in their order.
    All,
    /// The first and the last.
    Ends,
}

/// Collects and sorts the matches of a search.
#[derive(Debug)]
pub(super) struct SortCollector {
    order: SortOrder,
    needed: NeededOrder,
    /// The entries that are not sorted yet.
    run: Vec<SortEntry>,
    runs: Vec<std::vec::IntoIter<SortEntry>>,
    /// The next entry of each run, once the runs are merged.
    heads: Option<BinaryHeap<Reverse<(SortEntry, usize)>>>,
    bytes: usize,
    memory: Reservation,
    sorted: SortedMatches,
    ends: Option<(Ended, Ended)>,
    /// The scores of all matches in the order of the mailbox, if the response has them.
    scores: Option<Vec<(u32, RelevancyScore)>>,
}

/// An entry at one end of the order, with the mod-sequence of its message.
type Ended = (SortEntry, u64);

/// The matches in the order of a SORT.
#[derive(Debug, Default)]
pub(super) struct SortedMatches {
    /// Their UIDs; empty if only the ends were needed.
    pub(super) uids: Vec<u32>,
    /// How well they match, if the response says so.
    pub(super) scores: Vec<RelevancyScore>,
    pub(super) first: Option<SearchMatch>,
    pub(super) last: Option<SearchMatch>,
}

impl SortCollector {
    pub(super) fn new(
        order: SortOrder,
        needed: NeededOrder,
        scores: NeededScores,
        memory: Reservation,
    ) -> Self {
        Self {
            order,
            needed,
            run: Vec::new(),
            runs: Vec::new(),
            heads: None,
            bytes: 0,
            memory,
            sorted: SortedMatches::default(),
            ends: None,
            scores: (scores == NeededScores::Yes).then(Vec::new),
        }
    }

    /// Returns whether the order needs the envelope.
    pub(super) fn needs_envelope(&self) -> bool {
        needs_envelope(&self.order)
    }

    /// Adds a message.
    pub(super) fn add(&mut self, message: &Message, score: RelevancyScore) -> mailstore::Result<()> {
        let entry = self.order.entry(&SortFields::new(message, score, &self.order));
        self.add_end(&entry, message.modseq);
        if self.needed == NeededOrder::Ends {
            return Ok(());
        }
        // The sorted UIDs exist beside the entries until the end.
        self.bytes += entry.memory() + ENTRY + 2 * size_of::<u32>();
        if let Some(scores) = &mut self.scores {
            scores.push((message.uid, score));
            self.bytes += 2 * size_of::<(u32, RelevancyScore)>() + 2;
        }
        self.memory.grow_to(self.bytes)?;
        self.run.push(entry);
        if self.run.len() >= RUN {
            self.end_run();
        }
        Ok(())
    }

    fn add_end(&mut self, entry: &SortEntry, modseq: u64) {
        match &mut self.ends {
            None => self.ends = Some(((entry.clone(), modseq), (entry.clone(), modseq))),
            Some((first, _)) if *entry < first.0 => *first = (entry.clone(), modseq),
            Some((_, last)) if *entry > last.0 => *last = (entry.clone(), modseq),
            Some(_) => {}
        }
    }

    fn end_run(&mut self) {
        let mut run = std::mem::take(&mut self.run);
        run.sort_unstable();
        self.runs.push(run.into_iter());
    }

    /// Merges the runs until the slice is over. Returns true once all are merged.
    pub(super) fn finish(&mut self, slice: &Slice) -> bool {
        let heads = match &mut self.heads {
            Some(heads) => heads,
            None => {
                self.end_run();
                let first = self
                    .runs
                    .iter_mut()
                    .enumerate()
                    .filter_map(|(run, entries)| Some((entries.next()?, run)));
                self.heads.insert(first.map(Reverse).collect())
            }
        };
        while let Some(Reverse((entry, run))) = heads.pop() {
            let uid = entry.sequence();
            self.sorted.uids.push(uid);
            if let Some(scores) = &self.scores
                && let Ok(place) = scores.binary_search_by_key(&uid, |(uid, _)| *uid)
                && let Some((_, score)) = scores.get(place)
            {
                self.sorted.scores.push(*score);
            }
            if let Some(next) = self.runs.get_mut(run).and_then(Iterator::next) {
                heads.push(Reverse((next, run)));
            }
            if self.sorted.uids.len().is_multiple_of(MERGED_AT_ONCE) && slice.is_over() {
                return false;
            }
        }
        true
    }

    /// Returns the sorted matches, and the memory that is reserved for them.
    pub(super) fn into_sorted(self) -> (SortedMatches, Reservation) {
        let Self { mut sorted, ends, mut memory, .. } = self;
        if let Some((first, last)) = ends {
            let found = |(entry, mod_sequence): &Ended| {
                Some(SearchMatch { uid: entry.sequence(), mod_sequence: *mod_sequence })
            };
            (sorted.first, sorted.last) = (found(&first), found(&last));
        }
        memory.shrink_to(sorted.uids.capacity() * size_of::<u32>() + sorted.scores.capacity());
        (sorted, memory)
    }
}

/// What a message is sorted by: its attributes, and the texts that the order uses.
pub(super) struct SortFields<'m> {
    message: &'m Message,
    score: RelevancyScore,
    texts: Vec<(SortKey, String)>,
}

impl<'m> SortFields<'m> {
    pub(super) fn new(message: &'m Message, score: RelevancyScore, order: &SortOrder) -> Self {
        let texts = SortKey::ALL.iter().filter(|key| order.uses(**key));
        let texts = texts.filter_map(|key| Some((*key, sort_text(message, *key)?))).collect();
        Self { message, score, texts }
    }
}

impl SortableMessage for SortFields<'_> {
    fn sequence(&self) -> u32 {
        self.message.uid
    }

    fn internal_date(&self) -> i64 {
        self.message.internal_date.seconds
    }

    fn sent_date(&self) -> Option<i64> {
        self.message.sent_date
    }

    fn size(&self) -> u64 {
        self.message.size
    }

    fn relevancy(&self) -> u8 {
        self.score.value()
    }

    fn text(&self, key: SortKey) -> &str {
        self.texts.iter().find(|(of, _)| *of == key).map_or("", |(_, text)| text)
    }
}

/// Returns whether the order needs the envelope.
pub(super) fn needs_envelope(order: &SortOrder) -> bool {
    [SortKey::Subject, SortKey::From, SortKey::To, SortKey::Cc, SortKey::DisplayFrom, SortKey::DisplayTo]
        .into_iter()
        .any(|key| order.uses(key))
}

/// Returns the text of a message that belongs to a key, decoded; `None` if it has none.
fn sort_text(message: &Message, key: SortKey) -> Option<String> {
    let envelope = message.envelope.as_ref()?;
    match key {
        SortKey::Subject => Some(subject_text(message)),
        SortKey::From => mailbox_of(&envelope.from),
        SortKey::To => mailbox_of(&envelope.to),
        SortKey::Cc => mailbox_of(&envelope.cc),
        SortKey::DisplayFrom => display_text(&envelope.from),
        SortKey::DisplayTo => display_text(&envelope.to),
        _ => None,
    }
}

/// Returns the decoded subject. It is empty if the message has no subject.
pub(super) fn subject_text(message: &Message) -> String {
    let subject = message.envelope.as_ref().and_then(|envelope| envelope.subject.as_deref());
    subject.map(|subject| decode::encoded_words(subject.as_bytes())).unwrap_or_default()
}

/// Returns the mailbox of the first address, as ENVELOPE shows it (RFC 5256 §3).
fn mailbox_of(addresses: &[Address]) -> Option<String> {
    addresses.first()?.envelope_mailbox().map(str::to_owned)
}

/// Returns the display value of the first address (RFC 5957 §3).
fn display_text(addresses: &[Address]) -> Option<String> {
    let address = addresses.first()?;
    if let Some(name) = address.decoded_name().filter(|name| !name.is_empty()) {
        return Some(name);
    }
    let mailbox = address.envelope_mailbox()?;
    Some(match address.envelope_host() {
        Some(host) => format!("{mailbox}@{host}"),
        None => mailbox.to_owned(),
    })
}
