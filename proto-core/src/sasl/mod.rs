//! SASL (RFC 4422): mechanisms, and the exchanges of both roles.
//!
//! This room knows what a mechanism says and in which order; it does not know how the octets travel (base64 lines
//! with `+` or `334`), which is the protocols' part. One file holds one mechanism, both roles. To add a mechanism,
//! add a file and a line in [`client`] and [`server`].

mod encoding;
mod login;
mod oauth;
mod plain;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use encoding::{decode, encode};

use crate::token::{AuthQuestion, AuthVerdict};
use crate::{Credentials, Secret};

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
}

impl Mechanism {
    /// Every mechanism that this crate speaks, strongest first.
    pub const ALL: [Self; 4] = [Self::OAuthBearer, Self::XOAuth2, Self::Plain, Self::Login];

    /// The registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }

    /// The mechanism of that name, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether whoever reads the exchange has the password or token.
    #[must_use]
    pub const fn reveals_password(self) -> bool {
        match self {
            Self::Plain | Self::Login | Self::XOAuth2 | Self::OAuthBearer => true,
        }
    }

    /// Whether this mechanism can prove these credentials.
    #[must_use]
    pub const fn takes(self, credentials: &Credentials) -> bool {
        match self {
            Self::Plain | Self::Login => matches!(credentials, Credentials::Password { .. }),
            Self::XOAuth2 | Self::OAuthBearer => matches!(credentials, Credentials::Bearer { .. }),
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
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
        self.iter().find(|mechanism| allowed.contains(*mechanism) && mechanism.takes(credentials))
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
    AfterTheEnd,
    /// The credentials cannot be written in this mechanism (a NUL in a name, say).
    Unwritable,
}

impl fmt::Display for SaslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a SASL message is not what its mechanism says",
            Self::AfterTheEnd => "a SASL message came after the mechanism's last one",
            Self::Unwritable => "the user name or password holds what this mechanism cannot carry",
        })
    }
}

impl core::error::Error for SaslError {}

/// A client's side of an exchange.
pub trait Exchange: fmt::Debug + Send {
    /// Which mechanism it speaks.
    fn mechanism(&self) -> Mechanism;

    /// The initial response, for a mechanism in which the client speaks first. Asked at most once, before
    /// [`step`](Self::step); a protocol that cannot carry it answers the server's first, empty challenge with it.
    ///
    /// # Errors
    /// The credentials cannot be written in this mechanism.
    fn initial(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError>;

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
    fn verdict(&mut self, verdict: AuthVerdict) -> ServerStep {
        match verdict {
            AuthVerdict::Accept => ServerStep::Accepted,
            AuthVerdict::Reject => ServerStep::Rejected,
            AuthVerdict::Unavailable => ServerStep::Unavailable,
        }
    }
}

/// The client's exchange for these credentials, or `None` if the mechanism cannot prove them.
#[must_use]
pub fn client(mechanism: Mechanism, credentials: Credentials) -> Option<Box<dyn Exchange>> {
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
        _ => None,
    }
}

/// The server's exchange for this mechanism.
#[must_use]
pub fn server(mechanism: Mechanism) -> Box<dyn ServerExchange> {
    match mechanism {
        Mechanism::Plain => Box::new(plain::Server),
        Mechanism::Login => Box::new(login::Server::default()),
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => Box::new(oauth::Server::new(mechanism)),
    }
}

/// A name or password as text, as the mechanisms demand.
fn text(bytes: &[u8]) -> Result<String, SaslError> {
    core::str::from_utf8(bytes).map(String::from).map_err(|_| SaslError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs both sides against each other; what the server asks is given to `verdict`.
    fn converse(
        mechanism: Mechanism,
        credentials: Credentials,
        initial_response: bool,
        verdict: impl Fn(&AuthQuestion) -> AuthVerdict,
    ) -> (Box<dyn Exchange>, bool) {
        let mut client = client(mechanism, credentials).unwrap();
        let mut server = server(mechanism);
        let mut kept = client.initial().unwrap();
        let mut step = match (&kept, initial_response) {
            (Some(first), true) => server.step(Some(first.expose())).unwrap(),
            _ => server.step(None).unwrap(),
        };
        if initial_response {
            kept = None;
        }
        for _ in 0..8 {
            step = match step {
                ServerStep::Challenge(challenge) => {
                    let answer = match kept.take() {
                        Some(first) => first,
                        None => client.step(&challenge).unwrap(),
                    };
                    server.step(Some(answer.expose())).unwrap()
                }
                ServerStep::Ask(question) => server.verdict(verdict(&question)),
                ServerStep::Accepted => return (client, true),
                ServerStep::Rejected | ServerStep::Unavailable => return (client, false),
            };
        }
        panic!("{mechanism} does not end");
    }

    fn credentials(mechanism: Mechanism) -> Credentials {
        match mechanism {
            Mechanism::Plain | Mechanism::Login => Credentials::password("jürgen", "pass wörd".as_bytes()),
            Mechanism::XOAuth2 | Mechanism::OAuthBearer => {
                Credentials::bearer("a,l=ice@example.test", "ya29.abc")
            }
        }
    }

    fn expected(question: &AuthQuestion) -> AuthVerdict {
        let AuthQuestion::Verify(credentials) = question;
        let good = match credentials {
            Credentials::Password { username, password, .. } => {
                username == "jürgen" && password.expose() == "pass wörd".as_bytes()
            }
            Credentials::Bearer { username, token } => {
                username == "a,l=ice@example.test" && token.expose() == "ya29.abc"
            }
        };
        if good { AuthVerdict::Accept } else { AuthVerdict::Reject }
    }

    #[test]
    fn both_roles_agree_in_every_mechanism() {
        for mechanism in Mechanism::ALL {
            for initial_response in [false, true] {
                let (client, accepted) =
                    converse(mechanism, credentials(mechanism), initial_response, expected);
                assert!(accepted, "{mechanism} {initial_response}");
                assert!(client.is_done(), "{mechanism} {initial_response}");
            }
        }
    }

    #[test]
    fn a_refused_token_ends_with_the_servers_reason() {
        for mechanism in [Mechanism::XOAuth2, Mechanism::OAuthBearer] {
            let (client, accepted) =
                converse(mechanism, credentials(mechanism), true, |_| AuthVerdict::Reject);
            assert!(!accepted);
            assert!(client.failure().is_some_and(|reason| reason.contains("status")), "{client:?}");
        }
    }

    #[test]
    fn a_challenge_after_the_end_is_an_error_and_says_nothing() {
        for mechanism in Mechanism::ALL {
            let mut client = client(mechanism, credentials(mechanism)).unwrap();
            let _ = client.initial().unwrap();
            let mut refused = false;
            for _ in 0..4 {
                refused |= client.step(b"again").is_err();
            }
            assert!(refused, "{mechanism} answers for ever");
        }
    }

    #[test]
    fn a_nul_cannot_shift_the_fields() {
        let mut client = client(Mechanism::Plain, Credentials::password("al\0ice", &b"x"[..])).unwrap();
        assert_eq!(client.initial().unwrap_err(), SaslError::Unwritable);
        for bad in [&b"no-nul"[..], b"a\0b", b"a\0b\0c\0d", b"\0\0p", b"\0u\0"] {
            assert!(server(Mechanism::Plain).step(Some(bad)).is_err(), "{bad:?}");
        }
        let mut client = super::client(Mechanism::XOAuth2, Credentials::bearer("a\x01b", "t")).unwrap();
        assert_eq!(client.initial().unwrap_err(), SaslError::Unwritable);
    }

    #[test]
    fn debug_shows_no_secret() {
        for mechanism in Mechanism::ALL {
            let mut client = client(mechanism, credentials(mechanism)).unwrap();
            let mut server = server(mechanism);
            let first = client.initial().unwrap();
            let _ = server.step(None);
            let step = first.as_ref().map(|first| server.step(Some(first.expose())));
            let shown = alloc::format!("{client:?} {server:?} {first:?} {step:?}");
            for part in ["rgen", "pass", "ya29", "ice"] {
                assert!(!shown.contains(part), "{mechanism}: {shown}");
            }
        }
    }

    #[test]
    fn the_strongest_fitting_mechanism_is_chosen() {
        let offered = Mechanisms::NONE.with(Mechanism::Login).with(Mechanism::Plain).with(Mechanism::XOAuth2);
        let password = Credentials::password("u", &b"p"[..]);
        assert_eq!(offered.choose(Mechanisms::all(), &password), Some(Mechanism::Plain));
        let only_login = Mechanisms::NONE.with(Mechanism::Login);
        assert_eq!(offered.choose(only_login, &password), Some(Mechanism::Login));
        assert_eq!(only_login.choose(Mechanisms::all(), &Credentials::bearer("u", "t")), None);
    }
}
