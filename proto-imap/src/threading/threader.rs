//! Collects messages, and puts them into threads.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use proto_mail::error::ErrorDetails;

use super::finisher::ThreadFinisher;
use super::forest::ThreadForest;
use super::links::{Links, NONE, Node};
use super::message_id::message_ids;
use super::references::Order;
use crate::sort_order::{BaseSubject, Collation};
use crate::types::ThreadAlgorithm;

/// What of a message decides about its place in a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadableMessage<'a> {
    /// The number to report: a sequence number or a UID, not 0.
    pub number: u32,
    /// The whole subject, decoded (RFC 2047).
    pub subject: &'a str,
    /// The sent date in seconds since 1970; the internal date where there is none (RFC 5256 §2.2).
    pub date: i64,
    /// The value of the Message-ID field, or empty.
    pub message_id: &'a str,
    /// The value of the References field, or empty.
    pub references: &'a str,
    /// The value of the In-Reply-To field, or empty.
    pub in_reply_to: &'a str,
}

/// The limits of one THREAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadLimits {
    /// The maximum number of messages, including those that others only refer to. The default is 4,000,000; each takes
    /// 32 bytes, its identifier and a part of its subject.
    pub messages: usize,
    /// The maximum number of references of one message; of more, the last ones count. The default is 100.
    pub references: usize,
    /// The maximum length of an identifier in bytes; a longer one is ignored. The default is 1,000.
    pub identifier: usize,
    /// The maximum memory in bytes, as [`Threader::memory`] counts it. The default is no limit.
    pub memory: usize,
}

impl Default for ThreadLimits {
    fn default() -> Self {
        Self { messages: 4_000_000, references: 100, identifier: 1_000, memory: usize::MAX }
    }
}

/// A THREAD has more messages than [`ThreadLimits::messages`], or takes more memory than [`ThreadLimits::memory`]. The
/// server answers `NO [LIMIT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyMessages;

impl fmt::Display for TooManyMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many messages to put into threads")
    }
}

impl core::error::Error for TooManyMessages {}

impl ErrorDetails for TooManyMessages {}

/// Collects the messages of one THREAD.
#[derive(Debug)]
pub struct Threader {
    algorithm: Algorithm,
    collation: Collation,
    limits: ThreadLimits,
    links: Links,
    subjects: BTreeMap<String, u32>,
    /// The length of all subjects.
    subject_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    OrderedSubject,
    References,
    Refs,
}

impl Threader {
    /// Creates a threader; `None` if the algorithm is not known. Subjects are compared in this collation.
    #[must_use]
    pub fn new(algorithm: ThreadAlgorithm<'_>, collation: Collation, limits: ThreadLimits) -> Option<Self> {
        let algorithm = match algorithm {
            ThreadAlgorithm::OrderedSubject => Algorithm::OrderedSubject,
            ThreadAlgorithm::References => Algorithm::References,
            ThreadAlgorithm::Refs => Algorithm::Refs,
            ThreadAlgorithm::Other(_) => return None,
        };
        Some(Self {
            algorithm,
            collation,
            limits,
            links: Links::default(),
            subjects: BTreeMap::new(),
            subject_bytes: 0,
        })
    }

    /// Adds a message. Messages must be added in the order of the mailbox.
    ///
    /// # Errors
    /// [`TooManyMessages`]: this message and its references were not added.
    pub fn add(&mut self, message: &ThreadableMessage<'_>) -> Result<(), TooManyMessages> {
        let uses_references = self.algorithm != Algorithm::OrderedSubject;
        let worst = if uses_references { self.limits.references.saturating_add(1) } else { 1 };
        let limit = self.limits.messages.min(NONE as usize);
        if self.links.nodes.len().saturating_add(worst) > limit
            && self.links.nodes.len() + 1 + self.count_references(message) > limit
        {
            return Err(TooManyMessages);
        }
        // The text of one message is small beside the limit: it may exceed it once.
        if self.memory() > self.limits.memory {
            return Err(TooManyMessages);
        }
        let base = BaseSubject::new(message.subject);
        let node = Node {
            number: message.number,
            date: message.date,
            subject: self.subject(&base),
            is_reply: base.is_reply(),
            ..Node::DUMMY
        };
        if !uses_references {
            self.links.push(node);
            return Ok(());
        }
        let mut last = NONE;
        let skipped = self.count_references(message).saturating_sub(self.limits.references);
        for id in self.references(message).skip(skipped) {
            let referred = self.links.referred(id);
            if last != NONE {
                self.links.link(last, referred);
            }
            last = referred;
        }
        let id = message_ids(message.message_id).next().filter(|id| id.len() <= self.limits.identifier);
        let index = self.links.message(id, node);
        self.links.relink(last, index);
        Ok(())
    }

    /// Returns the references of a message: those of References, or else the first of In-Reply-To.
    fn references<'a>(&self, message: &ThreadableMessage<'a>) -> impl Iterator<Item = String> + use<'a> {
        let limit = self.limits.identifier;
        let (references, in_reply_to) = (message.references, message.in_reply_to);
        let has_references = message_ids(references).next().is_some();
        let (field, count) = if has_references { (references, usize::MAX) } else { (in_reply_to, 1) };
        message_ids(field).take(count).filter(move |id| id.len() <= limit)
    }

    fn count_references(&self, message: &ThreadableMessage<'_>) -> usize {
        if self.algorithm == Algorithm::OrderedSubject { 0 } else { self.references(message).count() }
    }

    /// Returns the index of a base subject.
    fn subject(&mut self, base: &BaseSubject) -> u32 {
        if base.text().is_empty() || self.algorithm == Algorithm::Refs {
            return NONE;
        }
        let next = u32::try_from(self.subjects.len()).unwrap_or(NONE);
        let key = self.collation.key(base.text());
        self.subject_bytes += key.len() * usize::from(!self.subjects.contains_key(&key));
        *self.subjects.entry(key).or_insert(next)
    }

    /// Returns about how many bytes of memory the messages take, with what [`finish`](Self::finish) needs in addition.
    #[must_use]
    pub fn memory(&self) -> usize {
        /// An entry of a map: its key, its value, and its share of the allocations.
        const ENTRY: usize = 64;
        /// The working memory for each message when the threads are made, with twice the size of a growing list.
        const NODE: usize = 2 * size_of::<Node>() + 64;
        self.links.nodes.len() * NODE
            + (self.links.identifiers() + self.subjects.len()) * ENTRY
            + self.links.identifier_bytes()
            + self.subject_bytes
    }

    /// Puts the messages into threads. Takes time in the order of n log n; see [`into_finisher`](Self::into_finisher).
    #[must_use]
    pub fn finish(self) -> ThreadForest {
        self.into_finisher().finish()
    }

    /// Returns what puts the messages into threads step by step.
    #[must_use]
    pub fn into_finisher(self) -> ThreadFinisher {
        let order = match self.algorithm {
            Algorithm::OrderedSubject => None,
            Algorithm::References => Some(Order::ByFirst),
            Algorithm::Refs => Some(Order::ByNewest),
        };
        let (nodes, identifiers) = self.links.into_parts();
        ThreadFinisher::new(nodes, order, identifiers, self.subjects)
    }
}
