//! THREAD: the threads of the messages that a search finds (RFC 5256 §3, draft-ietf-morg-inthread).

use io_common::Slice;
use mailstore::Message;
use proto_imap::sort_order::Collation;
use proto_imap::threading::{
    ForestItems, ThreadFinisher, ThreadForest, ThreadLimits, ThreadableMessage, Threader,
};
use proto_imap::types::ThreadAlgorithm;

use super::sort_collector::subject_text;
use crate::search_memory::Reservation;

/// The lists that may be open in a response: the limit of this project's client.
const NESTING: usize = 256;

/// The most bytes of a References field that count. The last identifiers are the closest relatives.
const REFERENCES: usize = 16 * 1024;

/// Collects the matches of a search.
#[derive(Debug)]
pub(super) struct ThreadCollector {
    stage: Stage,
    references: NeededReferences,
    memory: Reservation,
}

/// How far the collector has come.
#[derive(Debug)]
enum Stage {
    /// `None` only while the stage changes.
    Collecting(Option<Box<Threader>>),
    Finishing(Box<ThreadFinisher>),
    Complete(Box<ThreadForest>),
}

/// Whether the algorithm reads the References field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NeededReferences {
    Yes,
    No,
}

/// Threads that are being written.
pub(super) type ThreadItemsLeft = ForestItems<ThreadForest>;

impl ThreadCollector {
    /// Creates a collector; `None` if the algorithm is not known.
    pub(super) fn new(
        algorithm: ThreadAlgorithm<'_>,
        comparator: Collation,
        memory: Reservation,
    ) -> Option<Self> {
        let references = match algorithm {
            ThreadAlgorithm::OrderedSubject => NeededReferences::No,
            _ => NeededReferences::Yes,
        };
        let threader = Threader::new(algorithm, comparator, ThreadLimits::default())?;
        Some(Self { stage: Stage::Collecting(Some(Box::new(threader))), references, memory })
    }

    pub(super) const fn references(&self) -> NeededReferences {
        self.references
    }

    /// Adds a message. `references` is the value of its References field.
    pub(super) fn add(&mut self, message: &Message, references: &str) -> mailstore::Result<()> {
        let envelope = message.envelope.as_ref();
        let id = |field: fn(&mailmime::Envelope) -> &Option<String>| {
            envelope.and_then(|envelope| field(envelope).as_deref()).unwrap_or_default()
        };
        // Nothing is added after the end.
        let Stage::Collecting(Some(threader)) = &mut self.stage else { return Ok(()) };
        let added = threader.add(&ThreadableMessage {
            number: message.uid,
            subject: &subject_text(message),
            date: message.sent_date.unwrap_or(message.internal_date.seconds),
            message_id: id(|envelope| &envelope.message_id),
            references: ending(references),
            in_reply_to: id(|envelope| &envelope.in_reply_to),
        });
        added.map_err(|_| mailstore::Error::Limit("too many messages to put into threads"))?;
        self.memory.grow_to(threader.memory())
    }

    /// Puts the messages into threads until the slice is over. Returns true once that is complete.
    pub(super) fn finish(&mut self, slice: &Slice) -> bool {
        loop {
            let finisher = match &mut self.stage {
                Stage::Collecting(threader) => {
                    let Some(threader) = threader.take() else { return true };
                    self.stage = Stage::Finishing(Box::new(threader.into_finisher()));
                    continue;
                }
                Stage::Finishing(finisher) => finisher,
                Stage::Complete(_) => return true,
            };
            if let Some(forest) = finisher.step() {
                self.stage = Stage::Complete(Box::new(forest));
                return true;
            }
            if slice.is_over() {
                return false;
            }
        }
    }

    /// Returns the threads with the memory that is reserved for them.
    pub(super) fn into_threads(self) -> (ThreadItemsLeft, Reservation) {
        let Self { stage, mut memory, .. } = self;
        let forest = match stage {
            Stage::Collecting(threader) => threader.map(|threader| threader.finish()).unwrap_or_default(),
            Stage::Finishing(finisher) => finisher.finish(),
            Stage::Complete(forest) => *forest,
        };
        memory.shrink_to(forest.memory());
        (forest.into_items(NESTING), memory)
    }
}

/// Returns the end of a long text.
fn ending(text: &str) -> &str {
    let mut start = text.len().saturating_sub(REFERENCES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default()
}
