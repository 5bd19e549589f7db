//! The settings of a server: [`Settings`] can change while it runs, [`Options`] are fixed when it starts.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use io_common::{ConnectionLimits, Deadlines};
use mailstore::{AccountId, Appended, Quota};
use proto_mail::Limits;

use crate::dialect::Dialect;
use crate::failed_logins::FailedLoginLimits;
use crate::faults::Faults;
use crate::host_name::HostName;

/// The settings of a server. They can be replaced while it runs, and then apply to new sessions.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The limits of connections. Default: 4,000, of which 1,000 from one address and three quarters before login.
    pub connections: ConnectionLimits,
    /// The limits of each session: sizes, counts and errors. Default: as for a machine, and messages of 2 GiB, which are
    /// stored as they arrive.
    pub limits: Limits,
    /// The time limits of each session, among them 60 s for a client to log in.
    pub deadlines: Deadlines,
    /// The delays of failed logins.
    pub failed_logins: FailedLoginLimits,
    /// The quota of each account.
    pub quota: Quota,
    /// The most IMAP sessions that are compressed at the same time (COMPRESS=DEFLATE); 0 does not offer compression. Each
    /// takes about 0.4 MiB more than others. Default: 256.
    pub compressed_sessions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Self {
            connections: ConnectionLimits::default(),
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            failed_logins: FailedLoginLimits::default(),
            quota: Quota::default(),
            compressed_sessions: 256,
        };
        settings.connections.connections = 4000;
        settings.limits.message = 2 << 30;
        settings
    }
}

/// What is fixed when a server starts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The names of the server. The first host is its name in greetings and in Received; the machine's name if there is
    /// none. Mail for the domains of all names is local.
    pub names: Vec<HostName>,
    /// Delivers every message to the INBOX of this account, whatever its sender and recipients. For tests.
    pub catch_all: Option<AccountId>,
    /// Accepts any name and password, and logs in to this account. For tests.
    pub any_login: Option<AccountId>,
    /// Checks access tokens. With this, OAUTHBEARER and XOAUTH2 are offered.
    pub token_check: Option<TokenCheck>,
    /// Adds Return-Path and Received to messages. Without this, messages are stored byte for byte as they were sent.
    pub trace_fields: bool,
    /// Faults to inject, for tests of clients.
    pub faults: Faults,
    /// The server that IMAP sessions imitate, for tests of clients.
    pub behave_like: Option<Dialect>,
    /// The number of threads for the work of sessions on the store, at least 1. One account gets all but one of them. Default: 4.
    pub worker_threads: usize,
    /// Whether new messages are added to the store's index of texts, in the background, if it has one. Default: yes. Without
    /// it, a search for a text reads the messages that the index does not contain.
    pub search_index: bool,
    /// Whether the log has the client's address with each login, for programs that block addresses. Default: no.
    pub log_peers: bool,
    /// Called for each message that was accepted by submission or LMTP.
    pub on_message: Option<MessageCallback>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            catch_all: None,
            any_login: None,
            token_check: None,
            trace_fields: false,
            faults: Faults::default(),
            behave_like: None,
            worker_threads: 4,
            search_index: true,
            log_peers: false,
            on_message: None,
        }
    }
}

/// What a [`TokenCheck`] decided.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenVerdict {
    /// The token is valid for the account with this name.
    Account(String),
    /// The token is not valid, has expired, or belongs to another user.
    Rejected,
    /// The token cannot be checked now. The client may try again later.
    Unavailable,
}

/// A function that checks an access token (RFC 6750) of a login by OAUTHBEARER (RFC 7628) or XOAUTH2. It gets the name that
/// the client gave, which may be empty, and the token. It must compare tokens in constant time, or by a hash.
///
/// It runs on the threads that check passwords, so it may take some milliseconds; a slow call delays the logins of others. If it
/// panics, the login fails.
#[derive(Clone)]
pub struct TokenCheck(Arc<CheckToken>);

/// Checks the token of a user.
type CheckToken = dyn Fn(&str, &str) -> TokenVerdict + Send + Sync;

impl TokenCheck {
    /// Wraps a function.
    pub fn new(check: impl Fn(&str, &str) -> TokenVerdict + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Checks a token.
    pub(crate) fn check(&self, username: &str, token: &str) -> TokenVerdict {
        (self.0)(username, token)
    }
}

impl std::fmt::Debug for TokenCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenCheck")
    }
}

/// A function that is called for each accepted message, once the message is durable and before the client is told. It
/// runs on the thread of the server's sessions, so it must not block. If it panics, the client is told all the same.
#[derive(Clone)]
pub struct MessageCallback(Arc<dyn Fn(&AcceptedMessage<'_>) + Send + Sync>);

impl MessageCallback {
    /// Wraps a function.
    pub fn new(callback: impl Fn(&AcceptedMessage<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }

    /// Calls the function. A panic is logged: the message is durable, and its client is told so.
    pub(crate) fn call(&self, message: &AcceptedMessage<'_>) {
        if catch_unwind(AssertUnwindSafe(|| (self.0)(message))).is_err() {
            tracing::error!("the callback for accepted messages panicked");
        }
    }
}

impl fmt::Debug for MessageCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageCallback")
    }
}

/// A message that was accepted by submission or LMTP, with its envelope.
#[derive(Debug)]
#[non_exhaustive]
pub struct AcceptedMessage<'m> {
    /// The reverse-path of MAIL; empty for the null reverse-path.
    pub sender: &'m str,
    /// The recipients that the message was accepted for, as RCPT named them.
    pub recipients: &'m [String],
    /// Its size in bytes, as it is stored.
    pub size: u64,
    /// Where it is stored: once for each mailbox, even if several recipients share it.
    pub stored: &'m [Appended],
}
