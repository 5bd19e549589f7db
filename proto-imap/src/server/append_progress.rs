//! How much of an APPEND or REPLACE was read, between two elements of the command.

use crate::append::elements::Place;
use crate::command_name::CommandName;
use crate::frame::{LiteralHeader, Sync};

/// How much of an APPEND or REPLACE was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AppendProgress {
    pub(super) command: CommandName,
    pub(super) place: Place,
    /// How many bytes of the received line were read.
    pub(super) at: usize,
    /// The line that was not read to its end.
    pub(super) line: Option<AppendLine>,
    /// How many messages and parts were announced.
    pub(super) parts: u32,
    /// How many bytes of the current message were announced.
    pub(super) size: u64,
}

/// A complete line in the receive buffer, with the URLs in it that are literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AppendLine {
    pub(super) end: usize,
    /// The literal that the line announces.
    pub(super) announced: Option<LiteralHeader>,
}

/// A message, part or URL that the application has not decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OfferedElement {
    pub(super) append: AppendProgress,
    /// Its literal.
    pub(super) literal: Option<LiteralHeader>,
    /// The literal that its line announces.
    pub(super) announced: Option<LiteralHeader>,
}

/// What was found behind a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFound {
    /// More bytes are needed.
    More,
    /// A line that ends at this offset.
    Line(usize, AppendProgress),
    /// A URL that is too large: the command was rejected.
    Rejected,
}

impl OfferedElement {
    /// Returns how many bytes the client sends although nothing was accepted; `None` if it waits.
    pub(super) fn unasked(&self) -> Option<u64> {
        self.announced.filter(|header| header.sync == Sync::NonSynchronising).map(|header| header.size)
    }
}
