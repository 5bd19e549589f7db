//! The server's settings: those of `[serve]` in the configuration file, and defaults for the rest.

use mailserver::Settings;

use super::arguments::ServeArgs;
use super::file_descriptors;
use crate::command_error::CommandError;
use crate::config::{self, Serve};

/// Reads the settings.
pub(super) fn read(arguments: &ServeArgs) -> Result<Settings, CommandError> {
    Ok(from_file(&config::serve(arguments.config.as_deref())?, arguments.max_message))
}

fn from_file(file: &Serve, max_message: Option<u64>) -> Settings {
    let mut settings = Settings::default();
    let fit = file_descriptors::connections(file_descriptors::raise_limit());
    let wanted = file.sessions.map_or(settings.connections.connections, usize::from);
    if wanted > fit {
        tracing::warn!(wanted, sessions = fit, "too few file descriptors for all sessions: see ulimit -n");
    }
    let connections = &mut settings.connections;
    connections.connections = wanted.min(fit);
    set(&mut connections.connections_per_address, file.sessions_per_address.map(usize::from));
    connections.connections_before_login = file.sessions_before_login.map(usize::from);
    let limits = &mut settings.limits;
    set(&mut limits.message, max_message.or(file.max_message.map(u64::from)));
    set(&mut limits.recipients, file.recipients.map(usize::from));
    set(&mut limits.errors, file.errors.map(u32::from));
    set(&mut limits.auth_attempts, file.login_attempts.map(u32::from));
    let deadlines = &mut settings.deadlines;
    set(&mut deadlines.command, file.command_timeout.map(config::seconds));
    set(&mut deadlines.reply, file.message_timeout.map(config::seconds));
    set(&mut deadlines.tls, file.tls_timeout.map(config::seconds));
    set(&mut deadlines.login, file.login_timeout.map(config::seconds));
    set(&mut settings.failed_logins.free, file.failed_logins.map(u32::from));
    set(&mut settings.failed_logins.longest_delay, file.login_delay.map(config::seconds));
    set(&mut settings.compressed_sessions, file.compressed_sessions);
    let quota = &mut settings.quota;
    set(&mut quota.messages, file.quota_messages.map(u64::from));
    set(&mut quota.bytes, file.quota_bytes.map(u64::from));
    set(&mut quota.mailboxes, file.quota_mailboxes.map(u64::from));
    set(&mut quota.subscriptions, file.quota_subscriptions.map(u64::from));
    set(&mut quota.metadata, file.quota_metadata.map(u64::from));
    set(&mut quota.keywords, file.quota_keywords.map(u64::from));
    settings
}

/// Replaces a default by what was configured.
fn set<T>(value: &mut T, configured: Option<T>) {
    if let Some(configured) = configured {
        *value = configured;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mailstore::Quota;

    use super::*;

    #[test]
    fn keeps_defaults_and_prefers_the_command_line() {
        let (own, default) = (from_file(&Serve::default(), None), Settings::default().limits);
        assert_eq!(own.limits, default);
        assert_eq!((own.connections.connections, own.connections.connections_per_address), (4000, 1000));
        let text = "sessions = 7\nmax-message = 100\nerrors = 2\ncommand-timeout = 60\n";
        let file: Serve = toml::from_str(text).unwrap();
        let set = from_file(&file, None);
        assert_eq!((set.connections.connections, set.limits.message, set.limits.errors), (7, 100, 2));
        assert_eq!((set.deadlines.command, set.deadlines.tls), (Duration::from_secs(60), own.deadlines.tls));
        assert_eq!(from_file(&file, Some(5)).limits.message, 5);
        let file: Serve = toml::from_str("compressed-sessions = 0\n").unwrap();
        assert_eq!((from_file(&file, None).compressed_sessions, own.compressed_sessions), (0, 256));
        let file: Serve =
            toml::from_str("quota-messages = 3\nquota-bytes = 4\nquota-keywords = 5\n").unwrap();
        let quota = from_file(&file, None).quota;
        assert_eq!((quota.messages, quota.bytes, quota.keywords), (3, 4, 5));
        assert_eq!(quota.mailboxes, Quota::default().mailboxes);
    }
}
