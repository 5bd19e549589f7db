//! SASL (RFC 4422): mechanisms, and the exchanges of both roles.
//!
//! An exchange knows the messages of a mechanism and their order. How the messages are sent (base64 lines with `+` or
//! `334`) is the protocols' part.
//!
//! Each mechanism has one file with both roles. To add one, add a file, a variant of [`Mechanism`], and an arm in
//! [`client_exchange`] and [`server_exchange`]. An application can add a mechanism without changing this crate: as a
//! [`ClientExchange`] and a [`ServerMechanism`].

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
    /// PLAIN (RFC 4616): user name and password in one message.
    Plain,
    /// LOGIN: user name and password in two messages; obsolete but widely used.
    Login,
    /// XOAUTH2: an OAuth 2 access token, in the form of Gmail and Microsoft 365.
    XOAuth2,
    /// OAUTHBEARER (RFC 7628): an OAuth 2 access token.
    OAuthBearer,
    /// SCRAM-SHA-1 (RFC 5802): both sides prove that they know the password.
    ScramSha1,
    /// SCRAM-SHA-1-PLUS: SCRAM-SHA-1 bound to the TLS channel.
    ScramSha1Plus,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-256-PLUS: SCRAM-SHA-256 bound to the TLS channel.
    ScramSha256Plus,
    /// EXTERNAL (RFC 4422 §A): the identity that the channel has proved.
    External,
    /// ANONYMOUS (RFC 4505): no identity.
    Anonymous,
    /// A mechanism that the application implements. It is in no set of [`Mechanisms`].
    Custom(CustomMechanism),
}

impl Mechanism {
    /// Every mechanism that this crate implements, strongest first.
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

    /// Returns the registered name.
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

    /// Returns the mechanism of [`ALL`](Self::ALL) with this name, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Returns true if the exchange contains the password or token itself.
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

    /// Returns true if the mechanism can use these credentials.
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

    /// Returns the hash of a SCRAM mechanism.
    #[must_use]
    pub const fn hash(self) -> Option<ScramHash> {
        match self {
            Self::ScramSha1 | Self::ScramSha1Plus => Some(ScramHash::Sha1),
            Self::ScramSha256 | Self::ScramSha256Plus => Some(ScramHash::Sha256),
            _ => None,
        }
    }

    /// Returns true if the mechanism is bound to the channel (RFC 5802 §6).
    #[must_use]
    pub const fn uses_channel_binding(self) -> bool {
        matches!(self, Self::ScramSha1Plus | Self::ScramSha256Plus)
    }

    /// Returns the form of a SCRAM mechanism that is bound to the channel.
    const fn plus(self) -> Option<Self> {
        match self.hash() {
            Some(ScramHash::Sha1) => Some(Self::ScramSha1Plus),
            Some(ScramHash::Sha256) => Some(Self::ScramSha256Plus),
            None => None,
        }
    }

    /// The mechanism's bit in a set; none for a custom mechanism.
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

/// A set of mechanisms: those that a server offers, or that a program allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mechanisms(u32);

impl Mechanisms {
    /// No mechanism.
    pub const NONE: Self = Self(0);

    /// Returns every mechanism that this crate implements.
    #[must_use]
    pub fn all() -> Self {
        Mechanism::ALL.into_iter().collect()
    }

    /// Adds a mechanism.
    pub const fn insert(&mut self, mechanism: Mechanism) {
        self.0 |= mechanism.bit();
    }

    /// Returns this set and one more mechanism.
    #[must_use]
    pub const fn with(self, mechanism: Mechanism) -> Self {
        Self(self.0 | mechanism.bit())
    }

    /// Returns the mechanisms that pass the password or token itself to the server, which asks [`AuthQuestion::Verify`]:
    /// every application can answer that, in whatever form it stores passwords.
    #[must_use]
    pub fn passing_credentials() -> Self {
        Mechanism::ALL.into_iter().filter(|mechanism| mechanism.reveals_credentials()).collect()
    }

    /// Returns the mechanisms that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns true if the mechanism is in the set.
    #[must_use]
    pub const fn contains(self, mechanism: Mechanism) -> bool {
        self.0 & mechanism.bit() != 0
    }

    /// Returns true if the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the mechanisms, strongest first.
    pub fn iter(self) -> impl Iterator<Item = Mechanism> {
        Mechanism::ALL.into_iter().filter(move |mechanism| self.contains(*mechanism))
    }

    /// Returns the strongest mechanism that is in both sets and can use these credentials.
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

/// Why an exchange cannot continue. The session can: a client cancels the exchange with `*`, a server rejects the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslError {
    /// A message does not match the grammar of the mechanism.
    Malformed,
    /// A message came after the last one of the mechanism.
    AlreadyFinished,
    /// The mechanism cannot transmit the credentials, for example because of a NUL or of what SASLprep forbids.
    UnencodableCredentials,
    /// The server's nonce does not extend the client's nonce: an old exchange may be replayed.
    NonceMismatch,
    /// The iteration count is below [`MIN_ITERATIONS`] or above [`MAX_ITERATIONS`].
    IterationCount,
    /// The server did not prove that it knows the password: it may be an impostor.
    ServerNotVerified,
    /// The peer requires an unsupported SCRAM extension (`m=`).
    UnsupportedExtension,
    /// A message is longer than the limit, or there are too many messages.
    TooLong,
}

impl fmt::Display for SaslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a SASL message does not match the grammar of its mechanism",
            Self::AlreadyFinished => "a SASL message came after the mechanism's last one",
            Self::UnencodableCredentials => "the mechanism cannot transmit this user name or password",
            Self::NonceMismatch => {
                "the server's nonce does not extend the client's: an old exchange may be replayed"
            }
            Self::IterationCount => {
                "the iteration count is below 4096 or above 1000000: try another mechanism"
            }
            Self::ServerNotVerified => {
                "the server did not prove that it knows the password: it may be an impostor"
            }
            Self::UnsupportedExtension => "the peer requires an unsupported extension of the mechanism",
            Self::TooLong => "a SASL message is longer than the limit, or there are too many messages",
        })
    }
}

impl core::error::Error for SaslError {}

/// A client's side of an exchange. An application that implements a mechanism of its own passes its exchange to
/// `authenticate_with` of either protocol's client.
///
/// ```
/// use proto_mail::sasl::{CleartextRisk, ClientExchange, CustomMechanism, Mechanism, SaslError};
/// use proto_mail::Secret;
///
/// const MIRROR: CustomMechanism = CustomMechanism::new("X-MIRROR", CleartextRisk::AllowsGuessing).unwrap();
///
/// /// Answers the one challenge with its bytes reversed.
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
    /// Returns the mechanism.
    fn mechanism(&self) -> Mechanism;

    /// Returns the initial response of a mechanism in which the client sends the first message. Called at most once,
    /// before [`step`](Self::step). A protocol that cannot send an initial response sends it as the answer to the
    /// server's first, empty challenge.
    ///
    /// # Errors
    /// The mechanism cannot transmit the credentials.
    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError>;

    /// Returns the answer to a challenge. Neither is base64 here.
    ///
    /// # Errors
    /// The challenge is invalid: the client cancels the exchange.
    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError>;

    /// Returns true if the exchange is complete, so that a success reported by the server can be trusted.
    fn is_done(&self) -> bool;

    /// Returns the reason that the server gave for a failure inside the mechanism (the JSON of XOAUTH2 and OAUTHBEARER).
    fn failure(&self) -> Option<&str> {
        None
    }
}

/// What a server does next in an exchange.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerStep {
    /// Send this challenge, which is not base64 yet.
    Challenge(Vec<u8>),
    /// Ask the application, then call [`ServerExchange::answer`].
    Ask(AuthQuestion),
    /// The exchange is over: the client is authenticated.
    Accepted,
    /// The exchange is over: the client is rejected.
    Rejected,
    /// The exchange is over: the application could not tell.
    Unavailable,
}

/// A server's side of an exchange.
pub trait ServerExchange: fmt::Debug + Send {
    /// Returns the mechanism.
    fn mechanism(&self) -> Mechanism;

    /// Processes the client's next message; `None` if the client sent no initial response.
    ///
    /// # Errors
    /// The message does not match the grammar of the mechanism: the server rejects the client.
    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError>;

    /// Processes the application's answer to [`ServerStep::Ask`].
    fn answer(&mut self, verdict: AuthVerdict) -> ServerStep {
        match verdict {
            AuthVerdict::Accept => ServerStep::Accepted,
            AuthVerdict::Unavailable => ServerStep::Unavailable,
            AuthVerdict::Reject | AuthVerdict::Keys(_) | AuthVerdict::Stored(_) => ServerStep::Rejected,
        }
    }
}

/// Creates the client's exchange for these credentials. Returns `None` if the mechanism cannot use them, or needs a nonce
/// or channel binding that `context` does not have.
///
/// `offered` are the mechanisms that the server offers. A client that supports channel binding tells the server if it was
/// not offered; a server that did offer it detects that an attacker removed the offer.
#[must_use]
pub fn client_exchange(
    mechanism: Mechanism,
    credentials: Credentials,
    context: &mut SaslContext,
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
                scram::BindingFlag::Bound
            } else if *context.binding() == ChannelBinding::None || offered.contains(plus) {
                scram::BindingFlag::Unbound
            } else {
                scram::BindingFlag::NotOffered
            };
            if !context.usable_mechanisms().contains(mechanism) {
                return None;
            }
            let nonce = context.next_nonce()?;
            let identity = scram::Identity { authorization, username, password };
            Some(Box::new(scram::Client::new((mechanism, hash), identity, nonce, flag, context.binding())))
        }
        _ => None,
    }
}

/// Creates the server's exchange for the mechanism with this name, in any case. Returns `None` if it is neither in
/// `offered` nor in `custom`.
#[must_use]
pub fn server_exchange_named(
    name: &[u8],
    context: &mut SaslContext,
    offered: Mechanisms,
    custom: &CustomMechanisms,
) -> Option<Box<dyn ServerExchange>> {
    match Mechanism::from_name(name) {
        Some(mechanism) if offered.contains(mechanism) => server_exchange(mechanism, context, offered),
        Some(_) => None,
        None => custom.begin(name, context),
    }
}

/// Creates the server's exchange for this mechanism. Returns `None` if it needs a nonce or channel binding that `context`
/// does not have. `offered` are the mechanisms that the server offers in this session.
#[must_use]
pub fn server_exchange(
    mechanism: Mechanism,
    context: &mut SaslContext,
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
            if !context.usable_mechanisms().contains(mechanism) {
                return None;
            }
            let plus_offered = if offered.intersection(context.usable_mechanisms()).contains(plus) {
                scram::PlusOffered::Yes
            } else {
                scram::PlusOffered::No
            };
            let nonce = context.next_nonce()?;
            Box::new(scram::Server::new((mechanism, hash), nonce, context.binding(), plus_offered))
        }
        Mechanism::Custom(_) => return None,
    })
}

/// Decodes UTF-8, which the mechanisms require for names and passwords.
fn text(bytes: &[u8]) -> Result<String, SaslError> {
    core::str::from_utf8(bytes).map(String::from).map_err(|_| SaslError::Malformed)
}

#[cfg(test)]
mod tests;
