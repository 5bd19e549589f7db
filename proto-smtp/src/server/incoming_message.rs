//! A message that is being received, and where its bytes come from.

use crate::chunking::ChunkEnd;
use crate::command::Verb;
use crate::data::{DotUnstuffer, Stop, Unstuffed};
use crate::response::Response;

/// A message, or a part of one, that is being received.
#[derive(Debug)]
pub(super) struct IncomingMessage {
    pub(super) source: Source,
    /// What follows the content that was yielded last.
    pub(super) next: Stop,
    /// The size of the message so far, in bytes.
    pub(super) size: u64,
    pub(super) fate: Fate,
    /// The number of replies at the end: in LMTP one for each recipient.
    pub(super) replies: usize,
}

#[derive(Debug)]
pub(super) enum Source {
    Data(DotUnstuffer),
    Chunk {
        left: u64,
        end: ChunkEnd,
    },
    /// A part that is rejected and has no bytes here: a URL of BURL.
    Nothing {
        verb: Verb,
    },
}

/// Whether the message is passed to the application.
#[derive(Debug)]
pub(super) enum Fate {
    Accepted,
    /// It is rejected with this reply, and the rest is skipped.
    Rejected {
        response: Response<'static>,
        reset: ResetNotice,
    },
}

/// Whether the application must still be told that the transaction is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetNotice {
    Due,
    NotDue,
}

impl IncomingMessage {
    pub(super) const fn new(source: Source, replies: usize) -> Self {
        Self { source, next: Stop::More, size: 0, fate: Fate::Accepted, replies }
    }

    pub(super) fn rejected(self, response: Response<'static>, reset: ResetNotice) -> Self {
        Self { fate: Fate::Rejected { response, reset }, ..self }
    }

    pub(super) fn reject(&mut self, response: Response<'static>) {
        self.fate = Fate::Rejected { response, reset: ResetNotice::Due };
    }

    pub(super) const fn is_accepted(&self) -> bool {
        matches!(self.fate, Fate::Accepted)
    }
}

impl Source {
    /// Processes received bytes.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Unstuffed {
        match self {
            Self::Data(unstuffer) => unstuffer.unstuff(bytes),
            Self::Chunk { left, .. } => {
                let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= len as u64;
                Unstuffed {
                    content: 0..len,
                    consumed: len,
                    stop: if *left == 0 { Stop::End } else { Stop::More },
                }
            }
            Self::Nothing { .. } => Unstuffed { content: 0..0, consumed: 0, stop: Stop::End },
        }
    }

    pub(super) const fn verb(&self) -> Verb {
        match self {
            Self::Data(_) => Verb::Data,
            Self::Chunk { .. } => Verb::Bdat,
            Self::Nothing { verb } => *verb,
        }
    }
}
