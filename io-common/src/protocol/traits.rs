//! What a driver needs to know of a protocol: its machines on both sides of the TLS gate, and how to pass the gate.

use std::{fmt, net::IpAddr};

use proto_mail::{
    Error, Machine, Secret, Secure, SendBuffer, StartTlsRequest, Upgrade, machine::StartTlsNegotiation,
};

/// One role (client or server) of one protocol: the machine on cleartext, the machine under TLS, and the TLS gate.
pub trait Protocol: Sized + 'static {
    /// The machine on cleartext. None of its events holds credentials.
    type Cleartext: Machine + Send;
    /// The machine under TLS.
    type Secure: Machine + Send;
    /// The state between an accepted STARTTLS and the end of the handshake.
    type Upgrade: Upgrade<Secured = Self::Secure> + Send;
    /// The machine's configuration; usually an `Arc`.
    type Config: Clone + Send + Sync;

    /// The protocol's name in logs and errors: `imap`, `smtp`.
    const NAME: &'static str;
    /// The protocol's port for implicit TLS, for hints: 993, 465.
    const IMPLICIT_TLS_PORT: u16;
    /// The protocol's port for STARTTLS, for hints: 143, 587.
    const STARTTLS_PORT: u16;
}

/// A protocol's server.
pub trait ServerProtocol: Protocol {
    /// The cleartext reply to a connection beyond the limits, before it is closed.
    const TOO_MANY_CONNECTIONS: &'static [u8];

    /// The reply to a client that did not log in in time, before its connection is closed.
    const LOGIN_TIMED_OUT: &'static [u8];

    /// Returns whether clients have to log in. If so, [`Deadlines::login`](crate::Deadlines::login) and
    /// [`connections_before_login`](crate::ConnectionLimits::connections_before_login) apply to a session until its client
    /// has. By default they have to.
    fn requires_login(config: &Self::Config) -> bool {
        let _ = config;
        true
    }

    /// Starts a session on cleartext and queues its greeting in `tx`.
    fn open(config: &Self::Config, tx: &mut SendBuffer) -> Self::Cleartext;

    /// Starts a session under implicit TLS and queues its greeting in `tx`.
    fn open_secure(config: &Self::Config, secure: Secure, tx: &mut SendBuffer) -> Self::Secure;

    /// Accepts STARTTLS and queues the last cleartext reply in `tx`.
    ///
    /// # Errors
    /// [`StaleToken`](proto_mail::Misuse::StaleToken) if the request is not the open one.
    fn accept(
        machine: Self::Cleartext,
        request: StartTlsRequest,
        tx: &mut SendBuffer,
    ) -> Result<Self::Upgrade, Error>;

    /// Queues the refusal of a connection beyond the limits, in place of the greeting. The session ends when it has been
    /// sent. By default this is [`TOO_MANY_CONNECTIONS`](Self::TOO_MANY_CONNECTIONS).
    fn refuse(config: &Self::Config, tx: &mut SendBuffer) {
        let _ = config;
        tx.put(Self::TOO_MANY_CONNECTIONS);
    }

    /// As [`refuse`](Self::refuse), under implicit TLS.
    fn refuse_secure(config: &Self::Config, secure: Secure, tx: &mut SendBuffer) {
        drop(secure);
        Self::refuse(config, tx);
    }

    /// Queues the announcement that the server shuts down (`421`, `* BYE`), if the protocol allows it now.
    fn shutdown(machine: MachineMut<'_, Self>, tx: &mut SendBuffer);
}

/// A protocol's client.
pub trait ClientProtocol: Protocol {
    /// A STARTTLS command that has been sent.
    type Negotiation: StartTlsNegotiation<Refused = Self::Cleartext, Ready = Self::Upgrade>;

    /// Starts a client on cleartext, which waits for the greeting.
    fn open(config: &Self::Config, tx: &mut SendBuffer) -> Self::Cleartext;

    /// As [`open`](Self::open), with randomness for nonces, so that a program that was told to log in on cleartext can use
    /// SCRAM. By default the randomness is not used.
    fn open_with_seed(config: &Self::Config, seed: Secret<[u8; 32]>, tx: &mut SendBuffer) -> Self::Cleartext {
        drop(seed);
        Self::open(config, tx)
    }

    /// Starts a client under implicit TLS, which waits for the greeting.
    fn open_secure(config: &Self::Config, secure: Secure, tx: &mut SendBuffer) -> Self::Secure;

    /// Returns the configuration for a connection from this local address. It differs if the protocol names the client.
    fn config_for_address(config: &Self::Config, local: IpAddr) -> Self::Config {
        let _ = local;
        config.clone()
    }

    /// Takes the events that precede STARTTLS (greeting; EHLO in SMTP) and returns whether STARTTLS can be sent.
    ///
    /// # Errors
    /// STARTTLS is not possible: it is not offered, or the server ended the session.
    fn prepare_starttls(
        event: <Self::Cleartext as Machine>::Event<'_>,
        machine: &mut Self::Cleartext,
        tx: &mut SendBuffer,
    ) -> Result<StartTlsReadiness, crate::error::Error>;

    /// Sends STARTTLS.
    ///
    /// # Errors
    /// [`StartTlsNotOffered`](proto_mail::PeerError::StartTlsNotOffered), or a call in a wrong state.
    fn starttls(machine: Self::Cleartext, tx: &mut SendBuffer) -> Result<Self::Negotiation, Error>;
}

/// Whether a client can send STARTTLS now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTlsReadiness {
    /// More events must come first.
    Continue,
    /// STARTTLS can be sent.
    Ready,
}

/// A session's machine, on cleartext or under TLS.
pub enum MachineMut<'m, P: Protocol> {
    /// On cleartext.
    Cleartext(&'m mut P::Cleartext),
    /// Under TLS.
    Secure(&'m mut P::Secure),
}

impl<P: Protocol> MachineMut<'_, P> {
    /// Borrows the same machine for a shorter time.
    pub fn reborrow(&mut self) -> MachineMut<'_, P> {
        match self {
            Self::Cleartext(machine) => MachineMut::Cleartext(&mut **machine),
            Self::Secure(machine) => MachineMut::Secure(&mut **machine),
        }
    }
}

impl<P: Protocol> fmt::Debug for MachineMut<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cleartext(_) => "MachineMut::Cleartext",
            Self::Secure(_) => "MachineMut::Secure",
        })
    }
}
