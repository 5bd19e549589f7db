//! What the driver must know of a protocol: which machines it has on which side of the TLS gate, and how one moves
//! through it.
//!
//! This file names types and moves. It knows no command, no reply and no socket: everything that a session does
//! besides moving bytes is decided by a machine or by the application.

use std::{fmt, net::IpAddr};

use proto_mail::{
    Error, Machine, Secure, SendBuffer, StartTlsRequest, Upgrade, machine::StartTlsNegotiation,
};

/// One role of one protocol: the machine on cleartext, the machine under TLS, and the gate between them.
pub trait Protocol: Sized + 'static {
    /// The machine before TLS. No value of it holds a credential.
    type Cleartext: Machine + Send;
    /// The machine under TLS.
    type Secure: Machine + Send;
    /// The moment between an agreed STARTTLS and a finished handshake.
    type Upgrade: Upgrade<Secured = Self::Secure> + Send;
    /// What a machine is configured with; usually an `Arc`.
    type Config: Clone + Send + Sync;

    /// The protocol's name in logs and errors: `imap`, `smtp`.
    const NAME: &'static str;
    /// The port of the protocol under implicit TLS, for advice: 993, 465.
    const IMPLICIT_TLS_PORT: u16;
    /// The port of the protocol with STARTTLS, for advice: 143, 587.
    const STARTTLS_PORT: u16;
}

/// The serving role.
pub trait ServerProtocol: Protocol {
    /// What is said in cleartext to a connection that is one too many, before it is closed.
    const TOO_MANY_CONNECTIONS: &'static [u8];

    /// What is said to a client that did not log in in time, before its connection is closed.
    const LOGIN_TIMED_OUT: &'static [u8];

    /// A new session on cleartext; its greeting goes to `tx`.
    fn open(config: &Self::Config, tx: &mut SendBuffer) -> Self::Cleartext;

    /// A new session under implicit TLS; its greeting goes to `tx`.
    fn open_secure(config: &Self::Config, secure: Secure, tx: &mut SendBuffer) -> Self::Secure;

    /// Agrees to STARTTLS: the last cleartext answer goes to `tx`.
    ///
    /// # Errors
    /// [`StaleToken`](proto_mail::Misuse::StaleToken) if the request is not the one that is open.
    fn accept(
        machine: Self::Cleartext,
        request: StartTlsRequest,
        tx: &mut SendBuffer,
    ) -> Result<Self::Upgrade, Error>;

    /// Tells a connection that is one too many so, in place of the greeting: the session ends when what is in `tx` was
    /// sent. [`TOO_MANY_CONNECTIONS`](Self::TOO_MANY_CONNECTIONS) unless the protocol has more to say.
    fn refuse(config: &Self::Config, tx: &mut SendBuffer) {
        let _ = config;
        tx.put(Self::TOO_MANY_CONNECTIONS);
    }

    /// The same under implicit TLS.
    fn refuse_secure(config: &Self::Config, secure: Secure, tx: &mut SendBuffer) {
        drop(secure);
        Self::refuse(config, tx);
    }

    /// Says that the server is going down (`421`, `* BYE`), as far as the protocol allows it now.
    fn shutdown(machine: MachineMut<'_, Self>, tx: &mut SendBuffer);
}

/// The asking role.
pub trait ClientProtocol: Protocol {
    /// A STARTTLS on its way.
    type Negotiation: StartTlsNegotiation<Refused = Self::Cleartext, Ready = Self::Upgrade>;

    /// A client that waits for the greeting, on cleartext.
    fn open(config: &Self::Config, tx: &mut SendBuffer) -> Self::Cleartext;

    /// A client that waits for the greeting, under implicit TLS.
    fn open_secure(config: &Self::Config, secure: Secure, tx: &mut SendBuffer) -> Self::Secure;

    /// The configuration for a connection from this local address. The same unless the protocol names the client.
    fn config_for_address(config: &Self::Config, local: IpAddr) -> Self::Config {
        let _ = local;
        config.clone()
    }

    /// Does what must come before STARTTLS (greeting; EHLO in SMTP), event by event.
    ///
    /// # Errors
    /// STARTTLS cannot come about: it is not offered, or the server said good-bye.
    fn prepare_starttls(
        event: <Self::Cleartext as Machine>::Event<'_>,
        machine: &mut Self::Cleartext,
        tx: &mut SendBuffer,
    ) -> Result<StartTlsReadiness, crate::Error>;

    /// Gives the STARTTLS command.
    ///
    /// # Errors
    /// [`StartTlsNotOffered`](proto_mail::PeerError::StartTlsNotOffered), or a call in a wrong state.
    fn starttls(machine: Self::Cleartext, tx: &mut SendBuffer) -> Result<Self::Negotiation, Error>;
}

/// How near a client is to giving STARTTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTlsReadiness {
    /// Something else must come first.
    Continue,
    /// Give STARTTLS now.
    Ready,
}

/// A session's machine, on whichever channel it is.
pub enum MachineMut<'m, P: Protocol> {
    /// Before TLS.
    Cleartext(&'m mut P::Cleartext),
    /// Under TLS.
    Secure(&'m mut P::Secure),
}

impl<P: Protocol> MachineMut<'_, P> {
    /// The same machine for a shorter time.
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
