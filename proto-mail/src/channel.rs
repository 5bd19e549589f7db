//! The channel: is TLS in place or not, as a type.
//!
//! This file knows the two channels and what may exist on each. It does not know how TLS works: a driver that
//! finished a handshake makes the [`Secure`] value and answers for it.

use alloc::vec::Vec;

use crate::Secret;

mod sealed {
    // Unnameable is the point.
    #[allow(unnameable_types)]
    pub trait Sealed {}
}

/// A type without values: what cannot exist on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {}

/// What a machine speaks over: [`Cleartext`] or [`Secure`]. Sealed: there are no others.
///
/// The two associated types say what can exist. On [`Cleartext`] the event that would hold credentials has no
/// value; on [`Secure`] the event that would ask for STARTTLS has none. A `match` on a concrete channel may leave
/// the impossible arm out.
pub trait Channel: sealed::Sealed + core::fmt::Debug + 'static {
    /// `T` on a secure channel, [`Never`] on cleartext.
    type Auth<T: core::fmt::Debug>: core::fmt::Debug;
    /// `T` on cleartext, [`Never`] on a secure channel.
    type StartTls<T: core::fmt::Debug>: core::fmt::Debug;

    /// Whether this is [`Secure`].
    const SECURE: bool;

    /// Lets something that holds credentials exist, where it can.
    fn auth<T: core::fmt::Debug>(value: T) -> Option<Self::Auth<T>>;

    /// Lets an offer to begin TLS exist, where it can.
    fn starttls<T: core::fmt::Debug>(value: T) -> Option<Self::StartTls<T>>;

    /// The evidence, on a secure channel.
    fn secure(&self) -> Option<&Secure>;
}

/// Octets travel as they are: anyone on the way can read, drop and insert them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleartext;

impl sealed::Sealed for Cleartext {}

impl Channel for Cleartext {
    type Auth<T: core::fmt::Debug> = Never;
    type StartTls<T: core::fmt::Debug> = T;

    const SECURE: bool = false;

    fn auth<T: core::fmt::Debug>(_: T) -> Option<Never> {
        None
    }

    fn starttls<T: core::fmt::Debug>(value: T) -> Option<T> {
        Some(value)
    }

    fn secure(&self) -> Option<&Secure> {
        None
    }
}

/// The evidence that octets travel where nobody can read or change them.
///
/// It is neither `Clone` nor `Default`: each session needs its own, and whoever makes one vouches for it.
#[derive(Debug)]
pub struct Secure {
    binding: ChannelBinding,
    /// Whether it is known who is at the other end.
    verified: bool,
    seed: Option<Secret<[u8; 32]>>,
}

impl Secure {
    /// TLS is in place: the handshake has finished and the peer's name was verified as the user wanted.
    ///
    /// Only a driver that has just finished that handshake should call this.
    #[must_use]
    pub const fn tls(binding: ChannelBinding) -> Self {
        Self { binding, verified: true, seed: None }
    }

    /// The channel needs no TLS: a unix socket, a pipe to a child process, or a test.
    #[must_use]
    pub const fn trusted_local() -> Self {
        Self { binding: ChannelBinding::None, verified: true, seed: None }
    }

    /// Anybody may be at the other end, since the user wanted nobody's name verified: what asks for more than a channel
    /// that nobody overhears (SMTP's REQUIRETLS, RFC 8689 §2) does without.
    #[must_use]
    pub fn unverified(mut self) -> Self {
        self.verified = false;
        self
    }

    /// Whether it is known who is at the other end.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.verified
    }

    /// With 32 octets from the operating system's source of randomness, used for this session alone: nonces are made
    /// of them. Without them mechanisms that need a nonce (SCRAM) are neither offered nor chosen.
    #[must_use]
    pub fn with_seed(mut self, seed: impl Into<Secret<[u8; 32]>>) -> Self {
        self.seed = Some(seed.into());
        self
    }

    /// What nonces are made of, if the driver gave it.
    #[must_use]
    pub(crate) const fn seed(&self) -> Option<&Secret<[u8; 32]>> {
        self.seed.as_ref()
    }

    /// What ties an authentication to this very channel.
    #[must_use]
    pub const fn binding(&self) -> &ChannelBinding {
        &self.binding
    }
}

impl sealed::Sealed for Secure {}

impl Channel for Secure {
    type Auth<T: core::fmt::Debug> = T;
    type StartTls<T: core::fmt::Debug> = Never;

    const SECURE: bool = true;

    fn auth<T: core::fmt::Debug>(value: T) -> Option<T> {
        Some(value)
    }

    fn starttls<T: core::fmt::Debug>(_: T) -> Option<Never> {
        None
    }

    fn secure(&self) -> Option<&Secure> {
        Some(self)
    }
}

/// What ties a SASL exchange to one TLS connection (RFC 5056).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ChannelBinding {
    /// Nothing to bind to.
    #[default]
    None,
    /// `tls-exporter` (RFC 9266): 32 octets of exported keying material, TLS 1.3.
    TlsExporter([u8; 32]),
    /// `tls-server-end-point` (RFC 5929 §4): the hash of the server's certificate.
    TlsServerEndPoint(Vec<u8>),
}

impl ChannelBinding {
    /// Its registered name, as it stands behind `p=` in SCRAM (RFC 5802 §7).
    #[must_use]
    pub const fn name(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::TlsExporter(_) => Some("tls-exporter"),
            Self::TlsServerEndPoint(_) => Some("tls-server-end-point"),
        }
    }

    /// What both ends see and nobody between them can choose.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::TlsExporter(bytes) => bytes,
            Self::TlsServerEndPoint(bytes) => bytes,
        }
    }
}
