//! Tokens: the owned values with which an application answers a server's questions.
//!
//! A server hands out a token with each event that needs an answer, and takes it back with the answer. A token is owned
//! and `Send`: another thread may answer it later. At most one token of a session is open at a time, the newest one; a
//! token of another session, or one that was answered before, is refused as [`StaleToken`](crate::Misuse::StaleToken).
//!
//! # A dropped token
//! A token that is dropped without an answer never hangs its session. The next call of the server's `next_event`
//! answers the client with a temporary failure, and the session goes on:
//!
//! | dropped | SMTP | IMAP |
//! |---|---|---|
//! | the token of a command or message | `451 4.3.0` | `NO [SERVERBUG]` |
//! | an [`AuthRequest`] | `454 4.7.0` | `NO [UNAVAILABLE]` |
//! | a [`StartTlsRequest`] | `454 4.7.0` | `NO [UNAVAILABLE]` |
//!
//! If another thread drops the token, the driver must call `next_event` to notice.
//!
//! # For machines
//! A server keeps one [`TokenIssuer`] and puts a [`Token`] into each of its own token types. While an answer is owed, it
//! asks [`TokenIssuer::newest_is_gone`] at the start of `next_event`, and if so answers by itself. A session allocates
//! once, when its issuer is made; a token costs two atomic additions and no allocation.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::sasl::{ScramHash, ScramKeys};
use crate::{Credentials, Mechanism, Secret};

/// Issues the tokens of one session and notices when one is dropped. For machines.
pub struct TokenIssuer {
    /// The number of the newest token; 0 before the first.
    newest: u32,
    /// The number of the newest token that no longer exists.
    gone: Arc<AtomicU32>,
}

/// The right to one answer in one session. For machines: the part that every token type has inside.
pub struct Token {
    serial: u32,
    gone: Arc<AtomicU32>,
}

impl TokenIssuer {
    /// Creates the issuer of a new session.
    #[must_use]
    pub fn new() -> Self {
        Self { newest: 0, gone: Arc::new(AtomicU32::new(0)) }
    }

    /// Issues a token. It is the open one from now on; every older token is stale.
    #[must_use = "dropping the token answers with a temporary failure"]
    pub fn issue(&mut self) -> Token {
        self.newest = self.newest.wrapping_add(1);
        Token { serial: self.newest, gone: Arc::clone(&self.gone) }
    }

    /// Returns true if `token` is the newest token of this session.
    #[must_use]
    pub fn is_newest(&self, token: &Token) -> bool {
        token.serial == self.newest && Arc::ptr_eq(&token.gone, &self.gone)
    }

    /// Returns true if the newest token no longer exists. If its answer is still owed, the application dropped it.
    #[must_use]
    pub fn newest_is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire) == self.newest
    }
}

impl Default for TokenIssuer {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows the newest token's number only: an answered token is gone too.
impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer").field("serial", &self.newest).finish_non_exhaustive()
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        // A token of an earlier question never hides that the newest one is gone. Numbers may wrap around.
        let is_newer = |gone: u32| (self.serial.wrapping_sub(gone) as i32 > 0).then_some(self.serial);
        let _ = self.gone.fetch_update(Ordering::AcqRel, Ordering::Acquire, is_newer);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("serial", &self.serial).finish_non_exhaustive()
    }
}

/// A client's request to start TLS. Answer it with the server's `accept` or `refuse`; if it is dropped, the server
/// refuses (see the [module](self)).
#[derive(Debug)]
#[must_use = "the client waits: accept or refuse"]
pub struct StartTlsRequest {
    token: Token,
}

impl StartTlsRequest {
    /// Creates the request that `token` answers. For machines.
    pub const fn new(token: Token) -> Self {
        Self { token }
    }

    /// Returns the token that this request holds. For machines.
    #[must_use]
    pub const fn token(&self) -> &Token {
        &self.token
    }
}

/// A client's request to authenticate, with the question that the application must answer. Answer it with the server's
/// `answer_auth`; if it is dropped, the server answers [`Unavailable`](AuthVerdict::Unavailable) (see the
/// [module](self)).
#[derive(Debug)]
#[must_use = "the client waits: give a verdict"]
pub struct AuthRequest {
    token: Token,
    mechanism: Mechanism,
    question: AuthQuestion,
}

/// What a server asks its application about an authentication. To a question that it does not know, an application
/// answers [`AuthVerdict::Reject`].
///
/// `Debug` shows the kind of question only, because a user name is personal data.
#[non_exhaustive]
pub enum AuthQuestion {
    /// Are these credentials valid?
    ///
    /// With [`Credentials::External`]: may the identity that the channel has proved act as this user? With
    /// [`Credentials::Anonymous`]: are anonymous users allowed?
    Verify(Credentials),
    /// Which SCRAM keys are stored for this user? Answer with [`AuthVerdict::Keys`]; for an unknown user, answer with
    /// [`ScramKeys::decoy`], so that the client cannot find out which users exist.
    Keys {
        /// The hash that the keys must have.
        hash: ScramHash,
        /// The user who authenticates, prepared with SASLprep.
        username: String,
    },
    /// This user has proved to know the password: may the user act as `authorization`?
    Authorize {
        /// The user to act as; empty means `username`.
        authorization: String,
        /// The user who has authenticated.
        username: String,
    },
    /// What is stored for this user and this [custom mechanism](crate::sasl::CustomMechanism)? Answer with
    /// [`AuthVerdict::Stored`]; for an unknown user, answer with a value that looks the same and takes as long to find.
    Stored {
        /// The user who authenticates.
        username: String,
    },
}

impl fmt::Debug for AuthQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verify(credentials) => f.debug_tuple("Verify").field(credentials).finish(),
            Self::Keys { hash, .. } => f.debug_struct("Keys").field("hash", hash).finish_non_exhaustive(),
            Self::Authorize { .. } => f.debug_struct("Authorize").finish_non_exhaustive(),
            Self::Stored { .. } => f.debug_struct("Stored").finish_non_exhaustive(),
        }
    }
}

/// An application's answer to an [`AuthQuestion`].
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthVerdict {
    /// Yes: the client is who it claims to be, or may act as the user.
    Accept,
    /// No, or the user does not exist: both are answered alike.
    Reject,
    /// The keys that [`AuthQuestion::Keys`] asks for. To any other question this means [`Reject`](Self::Reject).
    Keys(Box<ScramKeys>),
    /// The value that [`AuthQuestion::Stored`] asks for. To any other question this means [`Reject`](Self::Reject).
    Stored(Secret<Vec<u8>>),
    /// The application cannot tell now, for example because its database is down. The client may try again later, and
    /// the attempt does not count as a failed one.
    Unavailable,
}

impl AuthRequest {
    /// Creates the request that `token` answers. For machines.
    pub const fn new(token: Token, mechanism: Mechanism, question: AuthQuestion) -> Self {
        Self { token, mechanism, question }
    }

    /// Returns the token that this request holds. For machines.
    #[must_use]
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// Returns the mechanism that the client uses. The IMAP command LOGIN counts as [`Mechanism::Login`].
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Returns the question to answer.
    #[must_use]
    pub const fn question(&self) -> &AuthQuestion {
        &self.question
    }

    /// Returns the verdict on a user name and a password, by the caller's check. `is_correct` gets both and should compare
    /// hashes. Every other question is rejected: offer only mechanisms that pass the password, as the default configuration
    /// does. A user who asks to act as another one is rejected, too.
    pub fn check_password(&self, is_correct: impl FnOnce(&str, &[u8]) -> bool) -> AuthVerdict {
        match &self.question {
            AuthQuestion::Verify(Credentials::Password { authorization, username, password })
                if (authorization.is_empty() || authorization == username)
                    && is_correct(username, password.expose()) =>
            {
                AuthVerdict::Accept
            }
            _ => AuthVerdict::Reject,
        }
    }

    /// Returns true if `verdict` rejects the client. For machines: the mechanism may have more messages then, as OAuth
    /// has, but the attempt counts as failed however it ends.
    #[must_use]
    pub const fn is_rejected_by(&self, verdict: &AuthVerdict) -> bool {
        !matches!(
            (&self.question, verdict),
            (_, AuthVerdict::Unavailable)
                | (AuthQuestion::Verify(_) | AuthQuestion::Authorize { .. }, AuthVerdict::Accept)
                | (AuthQuestion::Keys { .. }, AuthVerdict::Keys(_))
                | (AuthQuestion::Stored { .. }, AuthVerdict::Stored(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_accepted_for_its_own_user_only() {
        let verdict = |authorization: &str, credentials| {
            let question = match credentials {
                Credentials::Password { username, password, .. } => {
                    Credentials::Password { authorization: authorization.into(), username, password }
                }
                other => other,
            };
            let token = TokenIssuer::new().issue();
            AuthRequest::new(token, Mechanism::Plain, AuthQuestion::Verify(question))
                .check_password(|user, password| user == "alice" && password == b"secret")
        };
        let is_accepted = |verdict| matches!(verdict, AuthVerdict::Accept);
        assert!(is_accepted(verdict("", Credentials::password("alice", "secret"))));
        assert!(is_accepted(verdict("alice", Credentials::password("alice", "secret"))));
        assert!(!is_accepted(verdict("bob", Credentials::password("alice", "secret"))));
        assert!(!is_accepted(verdict("", Credentials::password("alice", "other"))));
        assert!(!is_accepted(verdict("", Credentials::external())));
    }

    #[test]
    fn only_the_newest_token_of_its_own_session_is_open() {
        let (mut session, mut other) = (TokenIssuer::new(), TokenIssuer::new());
        let first = session.issue();
        assert!(session.is_newest(&first));
        assert!(!other.is_newest(&first));
        let same_number = other.issue();
        assert!(other.is_newest(&same_number) && !session.is_newest(&same_number));
        let second = session.issue();
        assert!(session.is_newest(&second) && !session.is_newest(&first));
    }

    #[test]
    fn notices_a_dropped_token() {
        let mut session = TokenIssuer::new();
        let token = session.issue();
        assert!(!session.newest_is_gone());
        drop(token);
        assert!(session.newest_is_gone());
        let next = session.issue();
        assert!(!session.newest_is_gone(), "a new token is open");
        drop(next);
        assert!(session.newest_is_gone());
    }

    #[test]
    fn dropping_a_stale_token_does_not_hide_the_newest() {
        let mut session = TokenIssuer::new();
        let stale = session.issue();
        let newest = session.issue();
        drop(newest);
        drop(stale);
        assert!(session.newest_is_gone());
        let newest = session.issue();
        let stale = session.issue();
        let kept = session.issue();
        drop((newest, stale));
        assert!(!session.newest_is_gone());
        drop(kept);
    }

    #[test]
    fn notices_a_dropped_token_when_numbers_wrap_around() {
        let mut session = TokenIssuer { newest: u32::MAX - 1, gone: Arc::new(AtomicU32::new(u32::MAX - 1)) };
        for _ in 0..4 {
            let token = session.issue();
            assert!(!session.newest_is_gone() && session.is_newest(&token));
            drop(token);
            assert!(session.newest_is_gone());
        }
    }

    #[test]
    fn a_token_can_be_sent_to_another_thread() {
        const fn is_send<T: Send + Sync>(_: &T) {}
        let mut session = TokenIssuer::new();
        is_send(&session.issue());
        assert_eq!(alloc::format!("{session:?}"), "TokenIssuer { serial: 1, .. }");
    }
}
