//! When a client is told of expunged messages because of NOTIFY (RFC 5465 §5.3).

use crate::state::Outcome;
use crate::types::{Command, Condition, PlainCode, ResponseCode, StatusResponse};

use super::expunges::Expunges;

/// What the client has asked for with NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Notify {
    /// Whether expunges may be sent while no command is in progress.
    between_commands: Expunges,
    /// The same after the NOTIFY in progress succeeds.
    requested: Option<Expunges>,
}

impl Default for Notify {
    fn default() -> Self {
        Self { between_commands: Expunges::HeldBack, requested: None }
    }
}

impl Notify {
    /// Returns whether expunges may be sent while no command is in progress.
    pub(super) const fn between_commands(&self) -> Expunges {
        self.between_commands
    }

    /// Records that the application gets this command.
    pub(super) fn begin(&mut self, command: &Command<'_>) {
        self.requested = match command {
            Command::Notify(notify) if notify.reports_expunges() => Some(Expunges::Allowed),
            Command::Notify(_) => Some(Expunges::HeldBack),
            _ => None,
        };
    }

    /// Records how the command has ended. Only a NOTIFY that succeeds replaces the one before.
    pub(super) const fn end(&mut self, outcome: Outcome) {
        if let (Some(requested), Outcome::Success) = (self.requested, outcome) {
            self.between_commands = requested;
        }
        self.requested = None;
    }

    /// Ends the notifications if the server says that there are too many: the same as NOTIFY NONE (RFC 5465 §5.8).
    pub(super) fn sent(&mut self, status: &StatusResponse<'_>) {
        let overflow = Some(ResponseCode::Plain(PlainCode::NotificationOverflow));
        if status.condition == Condition::Ok && status.code == overflow {
            *self = Self::default();
        }
    }
}
