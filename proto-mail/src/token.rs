//! Tokens that must be answered: an offer to begin TLS, and a question about somebody's identity.
//!
//! A token is owned and bound to one question of one session by a serial number; a worker thread may answer it
//! later. A token that is dropped leaves its session paused: a machine never guesses an answer.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::sasl::{ScramHash, ScramKeys};
use crate::{Credentials, Mechanism, Secret};

/// A client asks to begin TLS. Answer it with the server's `accept` or `refuse`.
#[derive(Debug)]
#[must_use = "the client waits: accept or refuse"]
pub struct StartTlsRequest {
    serial: u32,
}

impl StartTlsRequest {
    /// For a machine: the request with this serial number.
    pub const fn new(serial: u32) -> Self {
        Self { serial }
    }

    /// For a machine: which request this is.
    #[must_use]
    pub const fn serial(&self) -> u32 {
        self.serial
    }
}

/// A client wants to authenticate, and the application must say whether it may. Answer it with the server's
/// `verdict`.
#[derive(Debug)]
#[must_use = "the client waits: give a verdict"]
pub struct AuthRequest {
    serial: u32,
    mechanism: Mechanism,
    question: AuthQuestion,
}

/// What the application is asked about an authentication. What it does not know it answers with
/// [`AuthVerdict::Reject`].
///
/// `Debug` shows the kind only: a user name is personal data.
#[non_exhaustive]
pub enum AuthQuestion {
    /// Are these credentials good? For [`Credentials::External`]: may whoever the channel has proved have these rights?
    /// For [`Credentials::Anonymous`]: are visitors let in?
    Verify(Credentials),
    /// Which keys are kept of this user's password? The answer is [`AuthVerdict::Keys`], and for a user that is not
    /// known [`ScramKeys::decoy`], so that nobody can tell the two apart.
    Keys {
        /// The keys of which hash.
        hash: ScramHash,
        /// Who is authenticating, by SASLprep.
        username: String,
    },
    /// This user has proved to know the password: may they have these rights?
    Authorize {
        /// Whose rights are asked for; empty means those of `username`.
        authorization: String,
        /// Who has proved to be themselves.
        username: String,
    },
    /// What is stored of this user for this mechanism, one that the application has brought along? The answer is
    /// [`AuthVerdict::Stored`], and for a user that is not known something that looks and takes as long.
    Stored {
        /// Who is authenticating.
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

/// What the application says of an authentication.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuthVerdict {
    /// They are who they say they are.
    Accept,
    /// They are not, or there is no such user: the same answer for both.
    Reject,
    /// The keys that [`AuthQuestion::Keys`] asks for. To any other question this is [`Reject`](Self::Reject).
    Keys(Box<ScramKeys>),
    /// What [`AuthQuestion::Stored`] asks for. To any other question this is [`Reject`](Self::Reject).
    Stored(Secret<Vec<u8>>),
    /// It cannot be told now (the store is busy, the directory is away).
    Unavailable,
}

impl AuthRequest {
    /// For a machine: a question with this serial number.
    pub const fn new(serial: u32, mechanism: Mechanism, question: AuthQuestion) -> Self {
        Self { serial, mechanism, question }
    }

    /// For a machine: which question this is.
    #[must_use]
    pub const fn serial(&self) -> u32 {
        self.serial
    }

    /// The mechanism that the client uses; the IMAP LOGIN command counts as [`Mechanism::Login`].
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What is asked.
    #[must_use]
    pub const fn question(&self) -> &AuthQuestion {
        &self.question
    }

    /// For a machine: whether this verdict lets nobody in. A mechanism may have something more to say then, as OAuth has;
    /// however that ends, it was a failed attempt.
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
