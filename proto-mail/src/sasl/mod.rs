//! SASL (RFC 4422): mechanisms, and the exchanges of both roles.
//!
//! This room knows what a mechanism says and in which order; it does not know how the octets travel (base64 lines
//! with `+` or `334`), which is the protocols' part. One file holds one mechanism, both roles. To add a mechanism,
//! add a file and a line in [`client`] and [`server`]; an application brings along its own without that, as an
//! [`Exchange`] and a [`ServerMechanism`].

mod base64_text;
mod choice;
mod context;
mod custom;
mod external;
mod hash;
mod keys;
mod login;
mod oauth;
mod plain;
mod saslname;
mod scram;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use base64_text::{decode_base64, encode_base64};
pub use choice::{MechanismChoice, NoMechanism, RejectedMechanism, choose_mechanism};
pub use context::SaslContext;
pub use custom::{
    CleartextRisk, CustomMechanism, CustomMechanisms, MAX_MESSAGE_LEN, MAX_MESSAGES, ServerMechanism,
    checked_exchange,
};
pub use hash::ScramHash;
pub use keys::{MAX_ITERATIONS, MIN_ITERATIONS, ScramKeys};

use crate::token::{AuthQuestion, AuthVerdict};
use crate::{ChannelBinding, Credentials, Secret};

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mechanism {
    /// PLAIN (RFC 4616): name and password in one message.
    Plain,
    /// LOGIN: name and password in two messages; obsolete and everywhere.
    Login,
    /// XOAUTH2: an OAuth 2 access token, as Gmail and Microsoft 365 take it.
    XOAuth2,
    /// OAUTHBEARER (RFC 7628): an OAuth 2 access token.
    OAuthBearer,
    /// SCRAM-SHA-1 (RFC 5802): both sides prove that they know the password.
    ScramSha1,
    /// SCRAM-SHA-1-PLUS: bound to the TLS channel.
    ScramSha1Plus,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-256-PLUS: bound to the TLS channel.
    ScramSha256Plus,
    /// EXTERNAL (RFC 4422 §A): what the channel has proved.
    External,
    /// ANONYMOUS (RFC 4505): a visitor.
    Anonymous,
    /// One that the application has brought along. It is in no set of [`Mechanisms`].
    Custom(CustomMechanism),
}

impl Mechanism {
    /// Every mechanism that this crate speaks, strongest first.
    pub const ALL: [Self; 10] = [
        Self::External,
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::ScramSha1Plus,
        Self::ScramSha1,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::Plain,
        Self::Login,
        Self::Anonymous,
    ];

    /// The registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
            Self::Custom(mechanism) => mechanism.name(),
        }
    }

    /// The mechanism of [`ALL`](Self::ALL) of that name, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether whoever reads the exchange has the password or token.
    #[must_use]
    pub const fn reveals_credentials(self) -> bool {
        match self {
            Self::Plain | Self::Login | Self::XOAuth2 | Self::OAuthBearer => true,
            Self::Custom(mechanism) => {
                matches!(mechanism.cleartext_risk(), CleartextRisk::RevealsCredentials)
            }
            _ => false,
        }
    }

    /// Whether this mechanism can prove these credentials.
    #[must_use]
    pub const fn accepts(self, credentials: &Credentials) -> bool {
        match self {
            Self::Plain
            | Self::Login
            | Self::ScramSha1
            | Self::ScramSha1Plus
            | Self::ScramSha256
            | Self::ScramSha256Plus => matches!(credentials, Credentials::Password { .. }),
            Self::XOAuth2 | Self::OAuthBearer => matches!(credentials, Credentials::Bearer { .. }),
            Self::External => matches!(credentials, Credentials::External { .. }),
            Self::Anonymous => matches!(credentials, Credentials::Anonymous { .. }),
            Self::Custom(_) => false,
        }
    }

    /// The hash of a SCRAM mechanism.
    #[must_use]
    pub const fn hash(self) -> Option<ScramHash> {
        match self {
            Self::ScramSha1 | Self::ScramSha1Plus => Some(ScramHash::Sha1),
            Self::ScramSha256 | Self::ScramSha256Plus => Some(ScramHash::Sha256),
            _ => None,
        }
    }

    /// Whether it is bound to the channel (RFC 5802 §6).
    #[must_use]
    pub const fn uses_channel_binding(self) -> bool {
        matches!(self, Self::ScramSha1Plus | Self::ScramSha256Plus)
    }

    /// The form of a SCRAM mechanism that is bound to the channel.
    const fn plus(self) -> Option<Self> {
        match self.hash() {
            Some(ScramHash::Sha1) => Some(Self::ScramSha1Plus),
            Some(ScramHash::Sha256) => Some(Self::ScramSha256Plus),
            None => None,
        }
    }

    /// Its place in a set; none for one that the application has brought along.
    const fn bit(self) -> u32 {
        match self {
            Self::Plain => 1,
            Self::Login => 1 << 1,
            Self::XOAuth2 => 1 << 2,
            Self::OAuthBearer => 1 << 3,
            Self::ScramSha1 => 1 << 4,
            Self::ScramSha1Plus => 1 << 5,
            Self::ScramSha256 => 1 << 6,
            Self::ScramSha256Plus => 1 << 7,
            Self::External => 1 << 8,
            Self::Anonymous => 1 << 9,
            Self::Custom(_) => 0,
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of mechanisms: what a server offers, what a program allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mechanisms(u32);

impl Mechanisms {
    /// No mechanism.
    pub const NONE: Self = Self(0);

    /// Every mechanism that this crate speaks.
    #[must_use]
    pub fn all() -> Self {
        Mechanism::ALL.into_iter().collect()
    }

    /// Adds one.
    pub const fn insert(&mut self, mechanism: Mechanism) {
        self.0 |= mechanism.bit();
    }

    /// This set and one more.
    #[must_use]
    pub const fn with(self, mechanism: Mechanism) -> Self {
        Self(self.0 | mechanism.bit())
    }

    /// The mechanisms whose question is [`AuthQuestion::Verify`] of a password or token: what any server's application
    /// can answer that keeps passwords in whatever form.
    #[must_use]
    pub fn passing_credentials() -> Self {
        Mechanism::ALL.into_iter().filter(|mechanism| mechanism.reveals_credentials()).collect()
    }

    /// The mechanisms that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is in the set.
    #[must_use]
    pub const fn contains(self, mechanism: Mechanism) -> bool {
        self.0 & mechanism.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The mechanisms, strongest first.
    pub fn iter(self) -> impl Iterator<Item = Mechanism> {
        Mechanism::ALL.into_iter().filter(move |mechanism| self.contains(*mechanism))
    }

    /// The strongest mechanism of this set that `allowed` holds and that can prove these credentials.
    #[must_use]
    pub fn choose(self, allowed: Self, credentials: &Credentials) -> Option<Mechanism> {
        self.iter().find(|mechanism| allowed.contains(*mechanism) && mechanism.accepts(credentials))
    }
}

impl FromIterator<Mechanism> for Mechanisms {
    fn from_iter<I: IntoIterator<Item = Mechanism>>(mechanisms: I) -> Self {
        mechanisms.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Mechanisms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Why an exchange cannot go on. The session itself can: a client cancels with `*`, a server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslError {
    /// A message is not what the mechanism's grammar says.
    Malformed,
    /// A message came after the last one of the mechanism.
    AlreadyFinished,
    /// The credentials cannot be written in this mechanism (a NUL in a name, say, or what SASLprep forbids).
    UnencodableCredentials,
    /// The server's nonce does not begin with ours, or adds nothing: an old conversation is being replayed.
    NonceMismatch,
    /// Fewer iterations than [`MIN_ITERATIONS`] or more than [`MAX_ITERATIONS`].
    IterationCount,
    /// The server does not know the password: it is not the one that it should be.
    ServerNotVerified,
    /// The peer demands an extension that nobody here knows (`m=`).
    UnsupportedExtension,
    /// A message is longer than a mechanism needs, or there are more than it may say.
    TooLong,
}

impl fmt::Display for SaslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a SASL message is not what its mechanism says",
            Self::AlreadyFinished => "a SASL message came after the mechanism's last one",
            Self::UnencodableCredentials => "the user name or password holds what this mechanism cannot carry",
            Self::NonceMismatch => "the server's nonce does not extend ours: an old conversation may be replayed",
            Self::IterationCount => "the iteration count is below 4096 or above 1000000: try another mechanism",
            Self::ServerNotVerified => {
                "the server could not prove that it knows the password: it may not be the one that it says it is"
            }
            Self::UnsupportedExtension => "the peer demands an extension that is not known here",
            Self::TooLong => "a SASL message is longer than any that its mechanism needs, or there are too many",
        })
    }
}

impl core::error::Error for SaslError {}

/// A client's side of an exchange. An application that has one of its own, for a mechanism that this crate does not
/// speak, gives it to `authenticate_with` of either protocol's client.
///
/// ```
/// use proto_mail::sasl::{CleartextRisk, ClientExchange, CustomMechanism, Mechanism, SaslError};
/// use proto_mail::Secret;
///
/// const MIRROR: CustomMechanism = CustomMechanism::new("X-MIRROR", CleartextRisk::AllowsGuessing).unwrap();
///
/// /// Answers the one challenge with its octets reversed.
/// #[derive(Debug)]
/// struct Mirror { answered: bool }
///
/// impl ClientExchange for Mirror {
///     fn mechanism(&self) -> Mechanism {
///         Mechanism::Custom(MIRROR)
///     }
///     fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
///         Ok(None) // the server speaks first
///     }
///     fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
///         if std::mem::replace(&mut self.answered, true) {
///             return Err(SaslError::AlreadyFinished);
///         }
///         Ok(Secret::new(challenge.iter().rev().copied().collect()))
///     }
///     fn is_done(&self) -> bool {
///         self.answered
///     }
/// }
/// ```
pub trait ClientExchange: fmt::Debug + Send {
    /// Which mechanism it speaks.
    fn mechanism(&self) -> Mechanism;

    /// The initial response, for a mechanism in which the client speaks first. Asked at most once, before
    /// [`step`](Self::step); a protocol that cannot carry it answers the server's first, empty challenge with it.
    ///
    /// # Errors
    /// The credentials cannot be written in this mechanism.
    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError>;

    /// Answers a challenge, already decoded.
    ///
    /// # Errors
    /// The challenge makes no sense here: cancel.
    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError>;

    /// Whether the mechanism has run to its end, so that the server's success may be believed.
    fn is_done(&self) -> bool;

    /// What the server said of a failure inside the mechanism (the JSON of XOAUTH2 and OAUTHBEARER).
    fn failure(&self) -> Option<&str> {
        None
    }
}

/// What a server does after a client's message.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerStep {
    /// Send this challenge (not yet encoded).
    Challenge(Vec<u8>),
    /// Ask the application, then call [`ServerExchange::verdict`].
    Ask(AuthQuestion),
    /// It is over: the client is who it says.
    Accepted,
    /// It is over: the client is refused.
    Rejected,
    /// It is over: nobody could tell.
    Unavailable,
}

/// A server's side of an exchange.
pub trait ServerExchange: fmt::Debug + Send {
    /// Which mechanism it speaks.
    fn mechanism(&self) -> Mechanism;

    /// Takes the client's message; `None` when the client gave no initial response.
    ///
    /// # Errors
    /// The message is not what the mechanism's grammar says: refuse.
    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError>;

    /// Takes the application's answer to [`ServerStep::Ask`].
    fn answer(&mut self, verdict: AuthVerdict) -> ServerStep {
        match verdict {
            AuthVerdict::Accept => ServerStep::Accepted,
            AuthVerdict::Unavailable => ServerStep::Unavailable,
            AuthVerdict::Reject | AuthVerdict::Keys(_) | AuthVerdict::Stored(_) => ServerStep::Rejected,
        }
    }
}

/// The client's exchange for these credentials, or `None` if the mechanism cannot prove them, or not in this session.
/// `offered` is what the server offers: a client that could bind itself and was not offered to says so, and a server
/// that did offer it then knows that somebody took it away.
#[must_use]
pub fn client_exchange(
    mechanism: Mechanism,
    credentials: Credentials,
    session: &mut SaslContext,
    offered: Mechanisms,
) -> Option<Box<dyn ClientExchange>> {
    match (mechanism, credentials) {
        (Mechanism::Plain, Credentials::Password { authorization, username, password }) => {
            Some(Box::new(plain::Client::new(authorization, username, password)))
        }
        (Mechanism::Login, Credentials::Password { username, password, .. }) => {
            Some(Box::new(login::Client::new(username, password)))
        }
        (Mechanism::XOAuth2 | Mechanism::OAuthBearer, Credentials::Bearer { username, token }) => {
            Some(Box::new(oauth::Client::new(mechanism, username, token)))
        }
        (Mechanism::External, Credentials::External { authorization: message })
        | (Mechanism::Anonymous, Credentials::Anonymous { trace: message }) => {
            Some(Box::new(external::Client::new(mechanism, message)))
        }
        (_, Credentials::Password { authorization, username, password }) => {
            let (hash, plus) = (mechanism.hash()?, mechanism.plus()?);
            let flag = if mechanism.uses_channel_binding() {
                scram::Flag::Bound
            } else if *session.binding() == ChannelBinding::None || offered.contains(plus) {
                scram::Flag::Unbound
            } else {
                scram::Flag::NotOffered
            };
            if !session.usable_mechanisms().contains(mechanism) {
                return None;
            }
            let nonce = session.next_nonce()?;
            let who = scram::Who { authorization, username, password };
            Some(Box::new(scram::Client::new((mechanism, hash), who, nonce, flag, session.binding())))
        }
        _ => None,
    }
}

/// The server's exchange for the mechanism of this name, in any case, or `None` if it is not offered: neither in the set
/// nor one of `others`.
#[must_use]
pub fn server_exchange_named(
    name: &[u8],
    session: &mut SaslContext,
    offered: Mechanisms,
    others: &CustomMechanisms,
) -> Option<Box<dyn ServerExchange>> {
    match Mechanism::from_name(name) {
        Some(mechanism) if offered.contains(mechanism) => server_exchange(mechanism, session, offered),
        Some(_) => None,
        None => others.begin(name, session),
    }
}

/// The server's exchange for this mechanism, or `None` if it cannot be spoken in this session. `offered` is what was
/// offered in this session.
#[must_use]
pub fn server_exchange(
    mechanism: Mechanism,
    session: &mut SaslContext,
    offered: Mechanisms,
) -> Option<Box<dyn ServerExchange>> {
    Some(match mechanism {
        Mechanism::Plain => Box::new(plain::Server),
        Mechanism::Login => Box::new(login::Server::default()),
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => Box::new(oauth::Server::new(mechanism)),
        Mechanism::External | Mechanism::Anonymous => Box::new(external::Server::new(mechanism)),
        Mechanism::ScramSha1
        | Mechanism::ScramSha1Plus
        | Mechanism::ScramSha256
        | Mechanism::ScramSha256Plus => {
            let (hash, plus) = (mechanism.hash()?, mechanism.plus()?);
            if !session.usable_mechanisms().contains(mechanism) {
                return None;
            }
            let plus_offered = if offered.intersection(session.usable_mechanisms()).contains(plus) {
                scram::PlusOffered::Yes
            } else {
                scram::PlusOffered::No
            };
            let nonce = session.next_nonce()?;
            Box::new(scram::Server::new((mechanism, hash), nonce, session.binding(), plus_offered))
        }
        Mechanism::Custom(_) => return None,
    })
}

/// A name or password as text, as the mechanisms demand.
fn text(bytes: &[u8]) -> Result<String, SaslError> {
    core::str::from_utf8(bytes).map(String::from).map_err(|_| SaslError::Malformed)
}

#[cfg(test)]
mod tests;
