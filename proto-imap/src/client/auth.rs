//! Authentication from the client's side: AUTHENTICATE (RFC 9051 §6.2.2, RFC 4959) and LOGIN (§6.2.3).
//!
//! This file knows how a mechanism is chosen and how SASL messages travel. It does not know what they say; that is
//! [`proto_mail::sasl`]. The mechanism decides when it is done, not the server's OK.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proto_mail::sasl::{self, CleartextRisk, ClientExchange, SaslError};
use proto_mail::{Credentials, Error, Mechanism, Mechanisms, Misuse, PeerError, Secret, SendBuffer};

use super::capabilities::Capabilities;
use super::core::{Core, Knowledge, Trust};
use super::queue::{CommandId, Floor, Job, Outgoing, Privacy};
use crate::config::SaslIr;
use crate::frame::{LITERAL_MINUS, Sync};
use crate::state::State;

/// How an identity is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// By the strongest mechanism that the server offers, the configuration allows and the credentials fit; by the
    /// LOGIN command where there is none and the server does not forbid it.
    #[default]
    Strongest,
    /// By this mechanism, if the server offers it.
    Mechanism(Mechanism),
    /// By the first mechanism of this order that the server offers and the configuration allows; never by LOGIN the
    /// command.
    Order(&'static [Mechanism]),
}

/// A SASL exchange on its way.
#[derive(Debug)]
pub(super) struct Authentication {
    exchange: Box<dyn ClientExchange>,
    /// The initial response, when it did not go with the command.
    first: Option<Secret<Vec<u8>>>,
    /// The initial response that went with the command, until the server has said anything to it.
    sent: Option<Secret<Vec<u8>>>,
    /// Why it was cancelled.
    cancelled: Option<SaslError>,
}

impl Authentication {
    /// Whether the server's success can be believed.
    pub(super) fn is_done(&self) -> bool {
        self.cancelled.is_none() && self.first.is_none() && self.exchange.is_done()
    }

    /// Whether a server that finds the command wrong may mean its initial response.
    pub(super) fn is_unheard(&self) -> bool {
        self.sent.is_some()
    }

    /// What the mechanism learnt of a failure, or why we did not go on.
    pub(super) fn failure(&self) -> Option<String> {
        let ours = self.cancelled.map(|why| why.to_string());
        ours.or_else(|| self.exchange.failure().map(String::from))
    }
}

impl Core {
    /// Begins to prove an identity.
    pub(super) fn authenticate(
        &mut self,
        credentials: Credentials,
        choice: Choice,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        let capabilities = self.may_authenticate()?;
        let (offered, login_disabled) = (capabilities.mechanisms(), capabilities.login_disabled());
        let (order, allowed): (&[Mechanism], _) = match &choice {
            Choice::Strongest => (&Mechanism::ALL, self.config.mechanisms),
            Choice::Mechanism(only) => (core::slice::from_ref(only), Mechanisms::all()),
            Choice::Order(order) => (order, self.config.mechanisms),
        };
        match sasl::choose_mechanism(order, offered, allowed, &self.sasl, &credentials).into_result() {
            Ok(mechanism) => {
                let exchange = sasl::client_exchange(mechanism, credentials, &mut self.sasl, offered)
                    .ok_or(Misuse::WrongMechanism)?;
                self.begin_sasl(exchange, tx)
            }
            Err(_) if choice == Choice::Strongest && !login_disabled => self.login(&credentials, tx),
            Err(reasons) => Err(Misuse::NoMechanism(reasons).into()),
        }
    }

    /// Begins to prove an identity by a mechanism that the application has brought along.
    pub(super) fn authenticate_with(
        &mut self,
        exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        let capabilities = self.may_authenticate()?;
        let exchange = sasl::checked_exchange(exchange).ok_or(Misuse::WrongMechanism)?;
        let Mechanism::Custom(mechanism) = exchange.mechanism() else {
            return Err(Misuse::WrongMechanism.into());
        };
        let readable = self.trust == Trust::Cleartext && mechanism.cleartext_risk() != CleartextRisk::None;
        if readable || !capabilities.offers(mechanism.name()) {
            return Err(Misuse::WrongMechanism.into());
        }
        self.begin_sasl(exchange, tx)
    }

    /// What the server can do, if somebody may authenticate now.
    fn may_authenticate(&self) -> Result<&Capabilities, Error> {
        let free = self.state() == Some(State::NotAuthenticated)
            && self.queue.hoped(State::NotAuthenticated) == State::NotAuthenticated
            && self.queue.floor == Floor::Free;
        self.capabilities.as_ref().filter(|_| free).ok_or_else(|| Misuse::WrongState.into())
    }

    /// What the server can do counts until it says who somebody is (RFC 9051 §6.2).
    fn identity_asked(&mut self) {
        if self.knowledge == Knowledge::Known {
            self.knowledge = Knowledge::BeforeAuthentication;
        }
    }

    fn begin_sasl(
        &mut self,
        mut exchange: Box<dyn ClientExchange>,
        tx: &mut SendBuffer,
    ) -> Result<CommandId, Error> {
        let mechanism = exchange.mechanism();
        let mut first = exchange.initial_response().map_err(|_| Misuse::UnencodableCredentials)?;
        let at_once = self.config.sasl_ir == SaslIr::Auto && self.offers("SASL-IR") && !self.initial_refused;
        let id = self.queue.next_id();
        let mut bytes = alloc::format!("{id} AUTHENTICATE {mechanism}").into_bytes();
        let mut privacy = Privacy::Public;
        let sent = if at_once { first.take() } else { None };
        if let Some(first) = &sent {
            privacy = Privacy::Secret { behind: bytes.len() };
            bytes.push(b' ');
            let encoded = sasl::encode_base64(first.expose());
            // An empty message is "=" (RFC 4959 §3).
            bytes.reserve_exact(encoded.expose().len() + 3);
            bytes.extend_from_slice(if encoded.expose().is_empty() { b"=" } else { encoded.expose() });
        }
        bytes.extend_from_slice(b"\r\n");
        self.authentication = Some(Authentication { exchange, first, sent, cancelled: None });
        self.say(
            Outgoing { id, job: Job::Authenticate, bytes, pauses: Vec::new(), privacy, payload: None },
            tx,
        );
        self.identity_asked();
        Ok(id)
    }

    /// The LOGIN command: name and password as strings, each a literal where it cannot be quoted.
    fn login(&mut self, credentials: &Credentials, tx: &mut SendBuffer) -> Result<CommandId, Error> {
        let Credentials::Password { authorization, username, password } = credentials else {
            return Err(Misuse::WrongMechanism.into());
        };
        if !authorization.is_empty() && authorization != username {
            return Err(Misuse::WrongMechanism.into());
        }
        let id = self.queue.next_id();
        let mut line = Line {
            bytes: alloc::format!("{id} LOGIN ").into_bytes(),
            pauses: Vec::new(),
            unasked: self.unasked_literal(),
        };
        // The memory is never moved while it holds the password.
        line.bytes.reserve_exact(2 * (username.len() + password.expose().len()) + 64);
        let behind = line.bytes.len();
        line.string(username.as_bytes())?;
        line.bytes.push(b' ');
        line.string(password.expose())?;
        line.bytes.extend_from_slice(b"\r\n");
        let Line { bytes, pauses, .. } = line;
        self.say(
            Outgoing {
                id,
                job: Job::Login,
                bytes,
                pauses,
                privacy: Privacy::Secret { behind },
                payload: None,
            },
            tx,
        );
        self.identity_asked();
        Ok(id)
    }

    /// The greatest literal that may be sent without being asked for (RFC 7888).
    pub(super) fn unasked_literal(&self) -> u64 {
        if self.offers("LITERAL+") {
            u64::MAX
        } else if self.offers("LITERAL-") || self.offers("IMAP4rev2") {
            LITERAL_MINUS
        } else {
            0
        }
    }

    /// How a literal of this size is announced.
    pub(super) fn literal_sync(&self, size: u64) -> Sync {
        if size <= self.unasked_literal() { Sync::NonSynchronising } else { Sync::Synchronising }
    }

    /// The server sent a challenge, base64 as it came.
    pub(super) fn challenge(&mut self, id: CommandId, text: &[u8], tx: &mut SendBuffer) -> Result<(), Error> {
        let Some(authentication) = &mut self.authentication else {
            return Err(PeerError::UnexpectedContinuation.into());
        };
        if authentication.cancelled.is_some() {
            // It had its `*`; only the completion may follow.
            return Err(PeerError::UnexpectedContinuation.into());
        }
        let answer = answer(authentication, text);
        match answer {
            Ok(message) => {
                let encoded = sasl::encode_base64(message.expose());
                tx.put_secret(encoded.expose());
                tx.put(b"\r\n");
            }
            Err(why) => {
                authentication.cancelled = Some(why);
                tx.put(b"*\r\n");
            }
        }
        self.queue.said(id, tx);
        self.stepped();
        Ok(())
    }
}

/// The answer to a challenge, or why to cancel.
fn answer(authentication: &mut Authentication, text: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
    let challenge = sasl::decode_base64(text)?;
    if let Some(first) = authentication.first.take() {
        // The client speaks first: whatever stands in this challenge says nothing (RFC 4422 §3.1 wants it empty;
        // some servers write a prompt).
        return Ok(first);
    }
    if let Some(sent) = authentication.sent.take()
        && challenge.expose().is_empty()
        && !matches!(authentication.exchange.mechanism(), Mechanism::Custom(_))
    {
        // No server of ours begins so: this one has not looked at the initial response, and asks for it.
        return Ok(sent);
    }
    authentication.exchange.step(challenge.expose())
}

/// A command line that is being written.
struct Line {
    bytes: Vec<u8>,
    pauses: Vec<usize>,
    unasked: u64,
}

impl Line {
    /// `string = quoted / literal`.
    fn string(&mut self, octets: &[u8]) -> Result<(), Error> {
        if octets.contains(&0) {
            return Err(Misuse::ForbiddenByte.into());
        }
        if octets.iter().all(|octet| matches!(octet, 0x20..=0x7e)) && octets.len() <= 1024 {
            self.bytes.push(b'"');
            for &octet in octets {
                if matches!(octet, b'"' | b'\\') {
                    self.bytes.push(b'\\');
                }
                self.bytes.push(octet);
            }
            self.bytes.push(b'"');
            return Ok(());
        }
        let plus = if octets.len() as u64 <= self.unasked { "+" } else { "" };
        self.bytes.extend_from_slice(alloc::format!("{{{}{plus}}}\r\n", octets.len()).as_bytes());
        if plus.is_empty() {
            self.pauses.push(self.bytes.len());
        }
        self.bytes.extend_from_slice(octets);
        Ok(())
    }
}
