//! SCRAM (RFC 5802, RFC 7677): both sides prove that they know the password, and neither sends it.
//!
//! ```text
//! C: n,,n=user,r=nonce                      client-first
//! S: r=nonce+more,s=salt,i=4096             server-first
//! C: c=biws,r=nonce+more,p=proof            client-final
//! S: v=signature                            server-final; the client answers with an empty message
//! ```
//!
//! Optional extensions are ignored, as the RFC requires. A mandatory extension (`m=`) and a known attribute in a wrong
//! place are rejected.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::derivation::Derivation;
use super::hash::{ScramHash, constant_time_eq, xor};
use super::keys::{MAX_ITERATIONS, MAX_LEN, MIN_ITERATIONS, ScramKeys, number, prepare};
use super::scram_attributes::{Attributes, MAX_MESSAGE};
use super::text::readable;
use super::{
    ClientExchange, Mechanism, SaslError, ServerExchange, ServerStep, decode_base64, encode_base64, saslname,
};
use crate::token::{AuthQuestion, AuthVerdict};
use crate::{ChannelBinding, Secret};

/// The identity that authenticates, and its password.
pub(super) struct Identity {
    pub(super) authorization: String,
    pub(super) username: String,
    pub(super) password: Secret<Vec<u8>>,
}

/// The channel binding flag of client-first (RFC 5802 §7, `gs2-cbind-flag`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindingFlag {
    /// `n`: the client does not use a channel binding.
    Unbound,
    /// `y`: the client supports channel binding, and the server did not offer it. A server that did offer it detects
    /// that an attacker removed the offer.
    NotOffered,
    /// `p`: the client uses a channel binding.
    Bound,
}

pub(super) struct Client {
    mechanism: Mechanism,
    hash: ScramHash,
    nonce: String,
    /// The gs2-header and the channel binding: the value of `c=`.
    binding: Secret<Vec<u8>>,
    /// client-first-message-bare
    bare: Secret<Vec<u8>>,
    password: Secret<Vec<u8>>,
    state: ClientState,
}

enum ClientState {
    /// Nothing was sent. The value is client-first.
    Start(Result<Secret<Vec<u8>>, SaslError>),
    /// client-first was sent.
    First,
    /// server-first was received, and client-final is being computed.
    Deriving(Box<Proof>),
    /// client-final was sent. The value is the signature that the server must send.
    Final(Secret<Vec<u8>>),
    /// The server has proved that it knows the password.
    Proved,
    /// The server rejected the client, for this reason.
    Rejected(String),
    /// The exchange has failed.
    Failed,
}

/// What client-final is computed from.
struct Proof {
    derivation: Derivation,
    server_first: Secret<Vec<u8>>,
    /// The nonce of both sides.
    nonce: String,
}

impl Client {
    pub(super) fn new(
        (mechanism, hash): (Mechanism, ScramHash),
        identity: Identity,
        nonce: String,
        flag: BindingFlag,
        channel: &ChannelBinding,
    ) -> Self {
        let mut client = Self {
            mechanism,
            hash,
            nonce,
            binding: Secret::new(Vec::new()),
            bare: Secret::new(Vec::new()),
            password: Secret::new(Vec::new()),
            state: ClientState::Failed,
        };
        client.state = ClientState::Start(client.begin(identity, flag, channel));
        client
    }

    /// Creates client-first, and keeps what is needed of it.
    fn begin(
        &mut self,
        identity: Identity,
        flag: BindingFlag,
        channel: &ChannelBinding,
    ) -> Result<Secret<Vec<u8>>, SaslError> {
        let unwritable = |_| SaslError::UnencodableCredentials;
        let password = core::str::from_utf8(identity.password.expose()).map_err(unwritable)?;
        let password = prepare(password)?;
        self.password = Secret::from(password.expose().as_bytes());
        let username = prepare(&identity.username)?;
        let mut header = match (flag, channel.name()) {
            (BindingFlag::Unbound, _) => String::from("n,"),
            (BindingFlag::NotOffered, _) => String::from("y,"),
            (BindingFlag::Bound, Some(name)) => alloc::format!("p={name},"),
            (BindingFlag::Bound, None) => return Err(SaslError::UnencodableCredentials),
        };
        if !identity.authorization.is_empty() {
            header.push_str("a=");
            header.push_str(&saslname::escape(prepare(&identity.authorization)?.expose()));
        }
        header.push(',');
        self.bare = Secret::new(
            alloc::format!("n={},r={}", saslname::escape(username.expose()), self.nonce).into_bytes(),
        );
        let first = Secret::new([header.as_bytes(), self.bare.expose()].concat());
        let mut binding = header.into_bytes();
        if flag == BindingFlag::Bound {
            binding.extend_from_slice(channel.bytes());
        }
        self.binding = Secret::new(binding);
        Ok(first)
    }

    /// Parses server-first, and begins to compute client-final, which proves the password. Returns it if that takes one
    /// slice only, and nothing otherwise.
    fn begin_proof(&mut self, server_first: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        let (nonce, salt, iterations) = parse_server_first(server_first)?;
        if nonce.strip_prefix(self.nonce.as_str()).is_none_or(str::is_empty) {
            return Err(SaslError::NonceMismatch);
        }
        let derivation = Derivation::start(self.hash, self.password.expose(), salt.expose(), iterations);
        self.password = Secret::new(Vec::new());
        let server_first = Secret::from(server_first);
        self.continue_proof(Box::new(Proof { derivation, server_first, nonce: String::from(nonce) }))
            .map(|message| message.unwrap_or_else(|| Secret::new(Vec::new())))
    }

    /// Computes one slice, and client-final if that was the last one.
    fn continue_proof(&mut self, mut proof: Box<Proof>) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        let Some(salted) = proof.derivation.advance() else {
            self.state = ClientState::Deriving(proof);
            return Ok(None);
        };
        let (server_first, nonce) = (proof.server_first.expose(), &proof.nonce);
        let client_key = self.hash.hmac(salted.expose(), &[b"Client Key"]);
        let stored_key = self.hash.digest(client_key.expose());
        let server_key = self.hash.hmac(salted.expose(), &[b"Server Key"]);
        let mut message = Secret::new(
            [b"c=", encode_base64(self.binding.expose()).expose().as_slice(), b",r=", nonce.as_bytes()]
                .concat(),
        );
        let auth_message: [&[u8]; 5] =
            [self.bare.expose(), b",", server_first.as_slice(), b",", message.expose()];
        let proved = xor(client_key.expose(), self.hash.hmac(stored_key.expose(), &auth_message).expose());
        self.state = ClientState::Final(self.hash.hmac(server_key.expose(), &auth_message));
        message = Secret::new(
            [message.expose().as_slice(), b",p=", encode_base64(proved.expose()).expose().as_slice()]
                .concat(),
        );
        Ok(Some(message))
    }

    /// Parses server-final: the server proves that it knows the password, or rejects the client with a reason.
    fn check(&mut self, server_final: &[u8], signature: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        let mut attributes = Attributes::of(server_final)?;
        let (name, value) = attributes.next()?;
        match name {
            b'v' => {
                let value = decode_base64(value.as_bytes())?;
                attributes.only_extensions()?;
                if !constant_time_eq(value.expose(), signature) {
                    return Err(SaslError::ServerNotVerified);
                }
                self.state = ClientState::Proved;
            }
            b'e' => {
                self.state = ClientState::Rejected(readable(value));
            }
            _ => return Err(SaslError::Malformed),
        }
        Ok(Secret::new(Vec::new()))
    }
}

impl ClientExchange for Client {
    fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        match core::mem::replace(&mut self.state, ClientState::First) {
            ClientState::Start(Ok(first)) => Ok(Some(first)),
            ClientState::Start(Err(error)) => {
                self.state = ClientState::Failed;
                Err(error)
            }
            other => {
                self.state = other;
                Ok(None)
            }
        }
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        match core::mem::replace(&mut self.state, ClientState::Failed) {
            ClientState::Start(first) => {
                self.state = ClientState::First;
                first
            }
            ClientState::First => self.begin_proof(challenge),
            ClientState::Final(signature) => self.check(challenge, signature.expose()),
            _ => Err(SaslError::AlreadyFinished),
        }
    }

    fn is_computing(&self) -> bool {
        matches!(self.state, ClientState::Deriving(_))
    }

    fn compute(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        match core::mem::replace(&mut self.state, ClientState::Failed) {
            ClientState::Deriving(proof) => self.continue_proof(proof),
            other => {
                self.state = other;
                Ok(None)
            }
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.state, ClientState::Proved)
    }

    fn failure(&self) -> Option<&str> {
        match &self.state {
            ClientState::Rejected(reason) => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scram")
            .field("mechanism", &self.mechanism)
            .field("done", &self.is_done())
            .field("failure", &self.failure())
            .finish_non_exhaustive()
    }
}

/// `[m=…,] r=nonce, s=salt, i=iterations [, extensions]`
fn parse_server_first(message: &[u8]) -> Result<(&str, Secret<Vec<u8>>, u32), SaslError> {
    let mut attributes = Attributes::of(message)?;
    let nonce = attributes.nonce()?;
    let salt = decode_base64(attributes.named(b's')?.as_bytes())?;
    let iterations = number(attributes.named(b'i')?)?;
    attributes.only_extensions()?;
    if salt.expose().is_empty() || salt.expose().len() > MAX_LEN {
        return Err(SaslError::Malformed);
    }
    if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
        return Err(SaslError::IterationCount);
    }
    Ok((nonce, salt, iterations))
}

pub(super) struct Server {
    mechanism: Mechanism,
    hash: ScramHash,
    /// The server's part of the nonce.
    nonce: String,
    channel: ChannelBinding,
    plus_offered: PlusOffered,
    state: ServerState,
}

/// Whether the server offered the `-PLUS` form of the mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlusOffered {
    Yes,
    No,
}

enum ServerState {
    Start,
    /// The application is asked for the keys.
    KeysAsked(ClientFirst),
    /// server-first was sent.
    First(ClientFirst, ScramKeys, Vec<u8>),
    /// The client has proved that it knows the password; the application is asked to authorize it. The value is
    /// server-final.
    Proved(Vec<u8>),
    /// server-final was sent.
    Final,
    /// The exchange is over.
    Ended,
}

/// What the server needs of client-first.
struct ClientFirst {
    header: Vec<u8>,
    bound: bool,
    authorization: String,
    username: String,
    bare: Vec<u8>,
    /// The whole nonce.
    nonce: String,
}

impl Server {
    pub(super) fn new(
        (mechanism, hash): (Mechanism, ScramHash),
        nonce: String,
        channel: &ChannelBinding,
        plus_offered: PlusOffered,
    ) -> Self {
        Self { mechanism, hash, nonce, channel: channel.clone(), plus_offered, state: ServerState::Start }
    }

    /// Parses client-first.
    fn first(&mut self, message: &[u8]) -> Result<ServerStep, SaslError> {
        if message.len() > MAX_MESSAGE {
            return Err(SaslError::TooLong);
        }
        let message = core::str::from_utf8(message).map_err(|_| SaslError::Malformed)?;
        let mut parts = message.splitn(3, ',');
        let (Some(flag), Some(authorization), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SaslError::Malformed);
        };
        let bound = match flag {
            "n" => false,
            "y" => {
                if self.plus_offered == PlusOffered::Yes {
                    // The client did not see the offer: an attacker has removed it (RFC 5802 §6).
                    return Ok(self.reject());
                }
                false
            }
            _ => {
                let name = flag.strip_prefix("p=").ok_or(SaslError::Malformed)?;
                if self.channel.name() != Some(name) {
                    return Ok(self.reject());
                }
                true
            }
        };
        if bound != self.mechanism.uses_channel_binding() {
            return Ok(self.reject());
        }
        let authorization = match authorization {
            "" => String::new(),
            named => saslname::unescape(named.strip_prefix("a=").ok_or(SaslError::Malformed)?)?,
        };
        let mut attributes = Attributes::of(bare.as_bytes())?;
        let username = saslname::unescape(attributes.named(b'n')?)?;
        let nonce = attributes.nonce()?;
        attributes.only_extensions()?;
        let username = prepare(&username).map_err(|_| SaslError::Malformed)?.expose().clone();
        let header = message.len() - bare.len();
        self.state = ServerState::KeysAsked(ClientFirst {
            header: message.as_bytes().get(..header).unwrap_or_default().into(),
            bound,
            authorization,
            username: username.clone(),
            bare: bare.as_bytes().into(),
            nonce: alloc::format!("{nonce}{}", self.nonce),
        });
        Ok(ServerStep::Ask(AuthQuestion::Keys { hash: self.hash, username }))
    }

    /// Parses client-final and verifies the proof.
    fn proof(
        &mut self,
        first: ClientFirst,
        keys: &ScramKeys,
        server_first: &[u8],
        message: &[u8],
    ) -> Result<ServerStep, SaslError> {
        // `p=` is the last attribute; everything before it is signed.
        let at = memchr::memmem::rfind(message, b",p=").ok_or(SaslError::Malformed)?;
        let (signed, proof) = message.split_at(at);
        let mut attributes = Attributes::of(signed)?;
        let binding = decode_base64(attributes.named(b'c')?.as_bytes())?;
        let nonce = attributes.nonce()?;
        attributes.only_extensions()?;
        let proof = decode_base64(proof.get(3..).unwrap_or_default())?;
        let channel = if first.bound { self.channel.bytes() } else { &[] };
        let expected = [first.header.as_slice(), channel].concat();
        let auth_message: [&[u8]; 5] = [&first.bare, b",", server_first, b",", signed];
        let signature = self.hash.hmac(keys.stored_key.expose(), &auth_message);
        let client_key = xor(proof.expose(), signature.expose());
        // Everything is computed, whichever part is wrong, so that the time tells nothing.
        let right = constant_time_eq(binding.expose(), &expected)
            & constant_time_eq(nonce.as_bytes(), first.nonce.as_bytes())
            & (proof.expose().len() == self.hash.output_len())
            & constant_time_eq(self.hash.digest(client_key.expose()).expose(), keys.stored_key.expose())
            & !keys.decoy;
        let signature = self.hash.hmac(keys.server_key.expose(), &auth_message);
        if !right {
            return Ok(self.reject());
        }
        let server_final = [b"v=", encode_base64(signature.expose()).expose().as_slice()].concat();
        self.state = ServerState::Proved(server_final);
        Ok(ServerStep::Ask(AuthQuestion::Authorize {
            authorization: first.authorization,
            username: first.username,
        }))
    }

    fn reject(&mut self) -> ServerStep {
        self.state = ServerState::Ended;
        ServerStep::Rejected
    }
}

impl ServerExchange for Server {
    fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        match (core::mem::replace(&mut self.state, ServerState::Ended), message) {
            (ServerState::Start, None) => {
                self.state = ServerState::Start;
                Ok(ServerStep::Challenge(Vec::new()))
            }
            (ServerState::Start, Some(message)) => self.first(message),
            (ServerState::First(first, keys, server_first), Some(message))
                if message.len() <= MAX_MESSAGE =>
            {
                self.proof(first, &keys, &server_first, message)
            }
            (ServerState::First(..), Some(_)) => Err(SaslError::TooLong),
            (ServerState::Final, Some(b"")) => Ok(ServerStep::Accepted),
            (ServerState::Final, _) => Err(SaslError::Malformed),
            _ => Err(SaslError::AlreadyFinished),
        }
    }

    fn answer(&mut self, verdict: AuthVerdict) -> ServerStep {
        match (core::mem::replace(&mut self.state, ServerState::Ended), verdict) {
            (_, AuthVerdict::Unavailable) => ServerStep::Unavailable,
            (ServerState::KeysAsked(first), AuthVerdict::Keys(keys)) if keys.hash == self.hash => {
                let salt = encode_base64(&keys.salt);
                let salt = String::from_utf8_lossy(salt.expose());
                let server_first =
                    alloc::format!("r={},s={salt},i={}", first.nonce, keys.iterations).into_bytes();
                self.state = ServerState::First(first, *keys, server_first.clone());
                ServerStep::Challenge(server_first)
            }
            (ServerState::Proved(server_final), AuthVerdict::Accept) => {
                self.state = ServerState::Final;
                ServerStep::Challenge(server_final)
            }
            _ => ServerStep::Rejected,
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scram").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replays an exchange of an RFC: client-first, server-first, client-final, server-final.
    fn replay(mechanism: Mechanism, hash: ScramHash, (nonce, more): (&str, &str), lines: [&str; 4]) {
        let identity = Identity {
            authorization: String::new(),
            username: "user".into(),
            password: Secret::from(&b"pencil"[..]),
        };
        let channel = ChannelBinding::None;
        let mut client =
            Client::new((mechanism, hash), identity, nonce.into(), BindingFlag::Unbound, &channel);
        let mut server = Server::new((mechanism, hash), more.into(), &channel, PlusOffered::No);
        assert_eq!(client.initial_response().unwrap().unwrap().expose(), lines[0].as_bytes());
        assert!(matches!(server.step(Some(lines[0].as_bytes())), Ok(ServerStep::Ask(_))));
        let salt = lines[1].split_once("s=").unwrap().1.split_once(',').unwrap().0;
        let salt = decode_base64(salt.as_bytes()).unwrap();
        let keys = ScramKeys::derive(hash, "pencil", salt.expose(), 4096).unwrap();
        let challenge = |step: ServerStep| match step {
            ServerStep::Challenge(text) => String::from_utf8(text).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(challenge(server.answer(AuthVerdict::Keys(alloc::boxed::Box::new(keys)))), lines[1]);
        assert_eq!(client.step(lines[1].as_bytes()).unwrap().expose(), lines[2].as_bytes());
        assert!(matches!(server.step(Some(lines[2].as_bytes())), Ok(ServerStep::Ask(_))));
        assert_eq!(challenge(server.answer(AuthVerdict::Accept)), lines[3]);
        assert!(client.step(lines[3].as_bytes()).unwrap().expose().is_empty() && client.is_done());
        assert!(matches!(server.step(Some(b"")), Ok(ServerStep::Accepted)));
    }

    #[test]
    fn replays_the_example_of_rfc_5802() {
        replay(
            Mechanism::ScramSha1,
            ScramHash::Sha1,
            ("fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j"),
            [
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ],
        );
    }

    #[test]
    fn replays_the_example_of_rfc_7677() {
        replay(
            Mechanism::ScramSha256,
            ScramHash::Sha256,
            ("rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"),
            [
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ],
        );
    }
}
