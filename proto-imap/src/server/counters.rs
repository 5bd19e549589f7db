//! The counters of a session, for its limits and for the application.

use crate::state::Outcome;

/// How many commands were rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refusals {
    /// The commands that the application answered with BAD in the whole session.
    pub bad: u32,
    /// The commands that the application answered with NO or BAD since the last OK.
    pub in_a_row: u32,
    /// All commands that were answered with NO or BAD in the session, also failed logins, and those that the server
    /// rejects by itself.
    pub total: u32,
}

impl Refusals {
    pub(super) const fn count(&mut self, outcome: Outcome) {
        if matches!(outcome, Outcome::Success) {
            self.in_a_row = 0;
            return;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.total = self.total.saturating_add(1);
        if matches!(outcome, Outcome::Refused) {
            self.bad = self.bad.saturating_add(1);
        }
    }
}

/// The counters of a session.
#[derive(Clone, Copy, Default)]
pub(super) struct Counters {
    /// Commands that the machine has rejected with BAD.
    pub(super) errors: u32,
    /// Empty lines since the last command.
    pub(super) empty_lines: u32,
    /// Failed logins.
    pub(super) auth_failures: u32,
    /// Commands before authentication. UNAUTHENTICATE resets them.
    pub(super) commands_before_login: u32,
    /// Rejected commands.
    pub(super) refusals: Refusals,
}

/// Leaves out the refusals, because they do not affect behavior.
impl core::fmt::Debug for Counters {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { errors, empty_lines, auth_failures, commands_before_login, refusals: _ } = self;
        f.debug_struct("Counters")
            .field("errors", errors)
            .field("empty_lines", empty_lines)
            .field("auth_failures", auth_failures)
            .field("commands_before_login", commands_before_login)
            .finish()
    }
}

/// What the client knows of the selected mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MessageCounts {
    /// The number of messages in the selected mailbox.
    pub(super) selected: u32,
    /// The number of messages in the mailbox that SELECT or EXAMINE is about to select.
    pub(super) selecting: u32,
    /// Whether the selected mailbox has no mod-sequences (NOMODSEQ, RFC 7162 §3.1.2.2).
    pub(super) selected_without_modseq: bool,
    /// The same for the mailbox that is about to be selected.
    pub(super) selecting_without_modseq: bool,
}

impl MessageCounts {
    /// Records that SELECT or EXAMINE has begun.
    pub(super) const fn begin_select(&mut self) {
        self.selecting = 0;
        self.selecting_without_modseq = false;
    }

    /// Records that the mailbox was selected.
    pub(super) const fn select(&mut self) {
        self.selected = self.selecting;
        self.selected_without_modseq = self.selecting_without_modseq;
    }
}
