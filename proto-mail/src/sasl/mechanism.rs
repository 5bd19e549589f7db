//! The mechanisms, sets of them, and the names that an application gives to mechanisms of its own.

use core::fmt;

use super::ScramHash;
use crate::Credentials;

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
    pub(super) const fn plus(self) -> Option<Self> {
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

    /// Returns the mechanisms that pass the password itself to the server: PLAIN and LOGIN. Every application that knows
    /// passwords, in whatever form it stores them, can answer them with
    /// [`AuthRequest::check_password`](crate::AuthRequest::check_password).
    #[must_use]
    pub const fn passing_passwords() -> Self {
        Self::NONE.with(Mechanism::Plain).with(Mechanism::Login)
    }

    /// Returns the mechanisms that pass the password or token itself to the server, which asks
    /// [`AuthQuestion::Verify`](crate::token::AuthQuestion::Verify): those of
    /// [`passing_passwords`](Self::passing_passwords), OAUTHBEARER and XOAUTH2.
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

/// What an attacker learns who reads an exchange on cleartext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CleartextRisk {
    /// The password, token or key itself.
    RevealsCredentials,
    /// Something with which a password can be guessed offline, or that can be replayed.
    AllowsGuessing,
    /// Nothing. The mechanism can be used on cleartext, with the calls that begin with `danger_`.
    None,
}

/// A mechanism that an application implements.
///
/// ```
/// use proto_mail::sasl::{CleartextRisk, CustomMechanism};
/// // An invalid name does not compile.
/// const KERBEROS: CustomMechanism = CustomMechanism::new("GS2-KRB5", CleartextRisk::AllowsGuessing).unwrap();
/// assert_eq!(KERBEROS.name(), "GS2-KRB5");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomMechanism {
    name: &'static str,
    cleartext_risk: CleartextRisk,
}

impl CustomMechanism {
    /// Creates a mechanism with this name: 1 to 20 upper-case letters, digits, `-` and `_` (RFC 4422 §3.1). Returns `None`
    /// for any other name, and for the names of [`Mechanism::ALL`], which this crate implements.
    #[must_use]
    pub const fn new(name: &'static str, cleartext_risk: CleartextRisk) -> Option<Self> {
        if is_name(name.as_bytes()) && !is_taken(name.as_bytes()) {
            Some(Self { name, cleartext_risk })
        } else {
            None
        }
    }

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Returns what an attacker learns who reads an exchange on cleartext.
    #[must_use]
    pub const fn cleartext_risk(self) -> CleartextRisk {
        self.cleartext_risk
    }
}

/// `sasl-mech` (RFC 4422 §3.1)
const fn is_name(mut name: &[u8]) -> bool {
    if name.len() > 20 || name.is_empty() {
        return false;
    }
    while let [byte, rest @ ..] = name {
        if !matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_') {
            return false;
        }
        name = rest;
    }
    true
}

const fn is_taken(name: &[u8]) -> bool {
    let mut known: &[Mechanism] = &Mechanism::ALL;
    while let [mechanism, rest @ ..] = known {
        if mechanism.name().as_bytes().eq_ignore_ascii_case(name) {
            return true;
        }
        known = rest;
    }
    false
}
