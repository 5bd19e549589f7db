//! One message of a run, as the user and the journal identify it.

use super::journal::Key;
use super::message_reader::OpenContents;
use super::stop_control::Unanswered;

/// A message of a run.
#[derive(Debug)]
pub(super) struct Job {
    /// Where the message was found; `None` for a single message.
    pub(super) source: Option<String>,
    /// The journal's key for each recipient; empty without a journal.
    pub(super) keys: Vec<Key>,
    /// The open contents, which are closed between two attempts.
    pub(super) contents: OpenContents,
    /// Whether the whole message was sent and its reply has not come.
    pub(super) unanswered: Unanswered,
}

impl Job {
    pub(super) fn new(source: Option<String>, keys: Vec<Key>, contents: OpenContents) -> Self {
        Self { source, keys, contents, unanswered: Unanswered::default() }
    }
}
