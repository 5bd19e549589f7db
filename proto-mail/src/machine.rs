//! The traits by which one driver can run every machine, whatever its protocol and role.
//!
//! The four machines implement these traits; their inherent methods have the same names. A program that drives one
//! machine by hand does not need the traits. [`Driver`](crate::Driver) is a driver's part without I/O.

use core::fmt::Debug;

use crate::{Error, RecvBuffer, Secure, SendBuffer, Wait};

/// The state machine of one protocol and role on one channel: bytes in, events out; commands in, bytes out.
pub trait Machine {
    /// What can happen. An event borrows the receive buffer and never the machine, so that the application can answer
    /// while it has the event.
    type Event<'i>: Debug;

    /// Returns the next event. `None` means that there is none until more is received, sent or answered.
    ///
    /// # Errors
    /// The session is over; see [`Error`]. `tx` holds the farewell, if the protocol has one: send it, then close. Every
    /// later call returns the same error.
    fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Self::Event<'i>>, Error>;

    /// Returns false while the machine does not need more input: the application owes an answer, or too much output
    /// waits in `tx`. A driver that does not read then lets TCP slow the peer down.
    fn wants_read(&self, tx: &SendBuffer) -> bool;

    /// Returns what the machine awaits, and for how long at most.
    fn wait(&self) -> Wait;

    /// Reports that what [`wait`](Self::wait) names did not arrive in time. For
    /// [`WaitFor::Delay`](crate::WaitFor::Delay) it reports that the delay is over.
    ///
    /// # Errors
    /// The session is over; `tx` holds the farewell, if the protocol has one.
    fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error>;

    /// Returns true if the session has ended in order: send what is in `tx`, then close.
    fn is_closed(&self) -> bool;
}

/// A machine whose events can be made independent of the receive buffer, so that a channel, a worker thread or an async
/// stream can carry them.
pub trait OwnedEvents: Machine {
    /// An event that borrows nothing.
    type OwnedEvent: Debug + 'static;

    /// Copies what the event borrows.
    fn into_owned(event: Self::Event<'_>) -> Self::OwnedEvent;
}

/// The moment between an agreed STARTTLS and a finished handshake.
pub trait Upgrade {
    /// The machine that continues under TLS. It remembers nothing of the cleartext session.
    type Secured: Machine;

    /// Continues under TLS, when the handshake has finished.
    ///
    /// # Errors
    /// [`PlaintextAfterStartTls`](crate::PeerError::PlaintextAfterStartTls) if `rx` is not empty.
    fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Self::Secured, Error>;
}

/// The state of a client's STARTTLS.
#[derive(Debug)]
#[must_use]
pub enum Negotiation<Pending, Refused, Ready> {
    /// The server has not replied yet.
    Pending(Pending),
    /// The server refused. Only a program that may continue in cleartext has a use for this.
    Refused(Refused),
    /// The server agreed: make the handshake, then complete the upgrade.
    Ready(Ready),
}

/// A client's STARTTLS that awaits its reply.
pub trait StartTlsNegotiation: Sized {
    /// The client on cleartext, returned after a refusal.
    type Refused: Machine;
    /// The agreed upgrade.
    type Ready: Upgrade;

    /// Looks for the server's reply in `rx`.
    ///
    /// # Errors
    /// The server broke the protocol: it replied before the command was sent, or sent bytes after its reply.
    fn advance(
        self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Negotiation<Self, Self::Refused, Self::Ready>, Error>;

    /// Returns what the client awaits, and for how long at most.
    fn wait(&self) -> Wait;
}
