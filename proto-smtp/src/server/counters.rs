//! What the server counts against its limits.

use proto_mail::{Limit, Limits};

use crate::config::Config;

/// The counters of one session. They survive a restart of the session by XCLIENT.
#[derive(Debug, Default)]
pub(super) struct Counters {
    errors: u32,
    failed_logins: u32,
    commands_before_login: u32,
    /// The commands since the last that made progress.
    idle_commands: u32,
    mails: u32,
}

impl Counters {
    /// Counts a command of a client that must authenticate first.
    pub(super) fn note_command_before_login(&mut self, limits: &Limits) -> Result<(), Limit> {
        self.commands_before_login = self.commands_before_login.saturating_add(1);
        if self.commands_before_login > limits.commands_before_auth {
            return Err(Limit::CommandsBeforeAuth);
        }
        Ok(())
    }

    /// Counts a command as idle until [`note_progress`](Self::note_progress).
    pub(super) fn note_command(&mut self, config: &Config) -> Result<(), Limit> {
        self.idle_commands = self.idle_commands.saturating_add(1);
        if self.idle_commands > config.max_idle_commands { Err(Limit::IdleCommands) } else { Ok(()) }
    }

    /// Notes progress: an accepted RCPT, a message part with bytes, or an authentication.
    pub(super) const fn note_progress(&mut self) {
        self.idle_commands = 0;
    }

    /// Takes the last command out of the idle ones: an accepted MAIL is no progress yet, and not idle either.
    pub(super) const fn forget_command(&mut self) {
        self.idle_commands = self.idle_commands.saturating_sub(1);
    }

    pub(super) fn note_error(&mut self, limits: &Limits) -> Result<(), Limit> {
        self.errors = self.errors.saturating_add(1);
        if self.errors >= limits.errors { Err(Limit::Errors) } else { Ok(()) }
    }

    pub(super) fn note_failed_login(&mut self, limits: &Limits) -> Result<(), Limit> {
        self.failed_logins = self.failed_logins.saturating_add(1);
        if self.failed_logins >= limits.auth_attempts { Err(Limit::AuthAttempts) } else { Ok(()) }
    }

    /// Counts MAIL, which counts whether it is accepted or not (RFC 9422 §4.1). Returns whether it is within `max`.
    pub(super) fn note_mail(&mut self, max: Option<u32>) -> bool {
        let is_allowed = max.is_none_or(|max| self.mails < max);
        self.mails = self.mails.saturating_add(1);
        is_allowed
    }
}
