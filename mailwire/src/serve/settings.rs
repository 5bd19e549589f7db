//! The server's limits: those of `[serve]` in the configuration file, and defaults for the rest.

use std::time::Duration;

use io_mio::{ConnectionLimits, Deadlines};
use mailstore::Quota;
use proto_mail::Limits;

use super::failed_logins::FailedLoginLimits;
use super::file_descriptors;

use super::arguments::ServeArgs;
use crate::command_error::CommandError;
use crate::config::{self, Serve};

/// The default maximum number of sessions, in total and from one address.
const SESSIONS: usize = 4000;
const SESSIONS_PER_ADDRESS: usize = 1000;

/// The default time that a client has to log in.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of a server.
pub(super) struct Settings {
    /// The limits of connections.
    pub(super) reactor: ConnectionLimits,
    /// The limits of each session.
    pub(super) limits: Limits,
    /// The time limits of each session.
    pub(super) deadlines: Deadlines,
    /// The delays of failed logins.
    pub(super) failed_logins: FailedLoginLimits,
    /// The quota of each account.
    pub(super) quota: Quota,
}

impl Settings {
    pub(super) fn read(arguments: &ServeArgs) -> Result<Self, CommandError> {
        Ok(Self::of(&config::serve(arguments.config.as_deref())?, arguments.max_message))
    }

    fn of(file: &Serve, max_message: Option<u64>) -> Self {
        let mut reactor = ConnectionLimits::default();
        let fit = file_descriptors::connections(file_descriptors::raise_limit());
        let wanted = file.sessions.map_or(SESSIONS, usize::from);
        if wanted > fit {
            tracing::warn!(
                wanted,
                sessions = fit,
                "too few file descriptors for all sessions: see ulimit -n"
            );
        }
        reactor.connections = wanted.min(fit);
        reactor.connections_per_address = file.sessions_per_address.map_or(SESSIONS_PER_ADDRESS, usize::from);
        // A quarter is reserved for clients that have logged in.
        let before_login = (reactor.connections - reactor.connections / 4).max(1);
        reactor.connections_before_login = file.sessions_before_login.map_or(before_login, usize::from);
        let mut limits = Limits::default();
        limits.message = max_message.or(file.max_message.map(u64::from)).unwrap_or(limits.message);
        limits.recipients = file.recipients.map_or(limits.recipients, usize::from);
        limits.errors = file.errors.map_or(limits.errors, u32::from);
        limits.auth_attempts = file.login_attempts.map_or(limits.auth_attempts, u32::from);
        let mut deadlines = Deadlines::default();
        deadlines.command = file.command_timeout.map_or(deadlines.command, config::seconds);
        deadlines.reply = file.message_timeout.map_or(deadlines.reply, config::seconds);
        deadlines.tls = file.tls_timeout.map_or(deadlines.tls, config::seconds);
        deadlines.login = file.login_timeout.map_or(LOGIN_TIMEOUT, config::seconds);
        let mut failed_logins = FailedLoginLimits::default();
        failed_logins.free = file.failed_logins.map_or(failed_logins.free, u32::from);
        failed_logins.longest_delay = file.login_delay.map_or(failed_logins.longest_delay, config::seconds);
        let mut quota = Quota::default();
        quota.messages = file.quota_messages.map_or(quota.messages, u64::from);
        quota.bytes = file.quota_bytes.map_or(quota.bytes, u64::from);
        quota.mailboxes = file.quota_mailboxes.map_or(quota.mailboxes, u64::from);
        quota.subscriptions = file.quota_subscriptions.map_or(quota.subscriptions, u64::from);
        quota.keywords = file.quota_keywords.map_or(quota.keywords, u64::from);
        Self { reactor, limits, deadlines, failed_logins, quota }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keeps_defaults_and_prefers_the_command_line() {
        let (own, default) = (Settings::of(&Serve::default(), None), Limits::default());
        assert_eq!(own.limits, default);
        assert_eq!((own.reactor.connections, own.reactor.connections_per_address), (4000, 1000));
        let text = "sessions = 7\nmax-message = 100\nerrors = 2\ncommand-timeout = 60\n";
        let file: Serve = toml::from_str(text).unwrap();
        let set = Settings::of(&file, None);
        assert_eq!((set.reactor.connections, set.limits.message, set.limits.errors), (7, 100, 2));
        assert_eq!((set.deadlines.command, set.deadlines.tls), (Duration::from_secs(60), own.deadlines.tls));
        assert_eq!(Settings::of(&file, Some(5)).limits.message, 5);
        let file: Serve =
            toml::from_str("quota-messages = 3\nquota-bytes = 4\nquota-keywords = 5\n").unwrap();
        let quota = Settings::of(&file, None).quota;
        assert_eq!((quota.messages, quota.bytes, quota.keywords), (3, 4, 5));
        assert_eq!(quota.mailboxes, Quota::default().mailboxes);
    }
}
