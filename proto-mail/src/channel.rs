//! The channel: whether TLS is in place, as a type.
//!
//! TLS itself is the driver's part: after a handshake it creates the [`Secure`] value and vouches for it.

use alloc::vec::Vec;

use crate::Secret;

mod sealed {
    // A trait that other crates cannot name is one that they cannot implement.
    #[allow(unnameable_types)]
    pub trait Sealed {}
}

/// A type without values, for what cannot exist on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {}

/// The channel of a machine: [`Cleartext`] or [`Secure`]. The trait is sealed; there are no others.
///
/// The two associated types say what can exist. On [`Cleartext`] the event that would hold credentials has no value;
/// on [`Secure`] the event that would ask for STARTTLS has none. A `match` on a concrete channel may omit the
/// impossible arm.
pub trait Channel: sealed::Sealed + core::fmt::Debug + 'static {
    /// `T` on a secure channel, [`Never`] on cleartext.
    type Auth<T: core::fmt::Debug>: core::fmt::Debug;
    /// `T` on cleartext, [`Never`] on a secure channel.
    type StartTls<T: core::fmt::Debug>: core::fmt::Debug;

    /// True for [`Secure`].
    const SECURE: bool;

    /// Returns `value`, which holds credentials, if it can exist on this channel.
    fn auth<T: core::fmt::Debug>(value: T) -> Option<Self::Auth<T>>;

    /// Returns `value`, which starts TLS, if it can exist on this channel.
    fn starttls<T: core::fmt::Debug>(value: T) -> Option<Self::StartTls<T>>;

    /// Returns the evidence of TLS on a secure channel.
    fn secure(&self) -> Option<&Secure>;
}

/// A channel without TLS: an attacker on the network can read, drop and insert bytes.
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

/// The evidence that no attacker can read or change what is sent.
///
/// It is neither `Clone` nor `Default`: each session needs its own, and the code that creates it vouches for it.
#[derive(Debug)]
pub struct Secure {
    binding: ChannelBinding,
    /// Whether the peer's identity was verified.
    verified: bool,
    seed: Option<Secret<[u8; 32]>>,
}

impl Secure {
    /// Vouches that TLS is in place: the handshake has finished and the peer's name was verified as the user wanted.
    ///
    /// Only a driver that has just finished that handshake should call this.
    #[must_use]
    pub const fn tls(binding: ChannelBinding) -> Self {
        Self { binding, verified: true, seed: None }
    }

    /// Vouches that the channel needs no TLS: a Unix socket, a pipe to a child process, or a test.
    #[must_use]
    pub const fn trusted_local() -> Self {
        Self { binding: ChannelBinding::None, verified: true, seed: None }
    }

    /// States that the peer's identity was not verified, because the user asked for that. What needs a verified peer
    /// (SMTP's REQUIRETLS, RFC 8689 §2) is not available then.
    #[must_use]
    pub fn unverified(mut self) -> Self {
        self.verified = false;
        self
    }

    /// Returns true if the peer's identity was verified.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.verified
    }

    /// Adds 32 bytes from the operating system's random number generator, for this session alone. Nonces are derived
    /// from them. Without them, mechanisms that need a nonce (SCRAM) are neither offered nor chosen.
    #[must_use]
    pub fn with_seed(mut self, seed: impl Into<Secret<[u8; 32]>>) -> Self {
        self.seed = Some(seed.into());
        self
    }

    /// Returns the seed of the nonces, if the driver gave one.
    #[must_use]
    pub(crate) const fn seed(&self) -> Option<&Secret<[u8; 32]>> {
        self.seed.as_ref()
    }

    /// Returns what binds an authentication to this channel.
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

/// What binds a SASL exchange to one TLS connection (RFC 5056).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ChannelBinding {
    /// Nothing to bind to.
    #[default]
    None,
    /// `tls-exporter` (RFC 9266): 32 bytes of exported keying material, TLS 1.3.
    TlsExporter([u8; 32]),
    /// `tls-server-end-point` (RFC 5929 §4): the hash of the server's certificate.
    TlsServerEndPoint(Vec<u8>),
}

impl ChannelBinding {
    /// Returns the registered name, as SCRAM sends it after `p=` (RFC 5802 §7).
    #[must_use]
    pub const fn name(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::TlsExporter(_) => Some("tls-exporter"),
            Self::TlsServerEndPoint(_) => Some("tls-server-end-point"),
        }
    }

    /// Returns the bytes that both ends compute and an attacker between them cannot choose.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::TlsExporter(bytes) => bytes,
            Self::TlsServerEndPoint(bytes) => bytes,
        }
    }
}
