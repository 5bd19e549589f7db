//! What a driver needs to know of a machine, whichever protocol and role it has.
//!
//! The four machines implement these traits beside methods of the same names, so that one loop can drive them all.
//! An embedder who drives one machine by hand does not need them.

use core::fmt::Debug;

use crate::{Error, RecvBuffer, Secure, SendBuffer, Wait};

/// A protocol's state machine on one channel: bytes in, events out; commands in, bytes out.
pub trait Machine {
    /// What can happen. An event borrows the receive buffer and never the machine, so that the application can
    /// answer while it looks at the event.
    type Event<'i>: Debug;

    /// The next thing that happened; `None` means nothing more until more is received, sent or answered.
    ///
    /// # Errors
    /// The session is over; see [`Error`]. Whatever is to be said to the peer is in `tx`. Every later call returns
    /// the same error.
    fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Self::Event<'i>>, Error>;

    /// Whether more input could help now. False while an answer of the application is owed or too much output
    /// waits in `tx`: that is the back-pressure.
    fn wants_read(&self, tx: &SendBuffer) -> bool;

    /// What is awaited, and how long at most.
    fn wait(&self) -> Wait;

    /// The driver reports that what [`wait`](Self::wait) named did not come in time (or, for
    /// [`WaitFor::Delay`](crate::WaitFor::Delay), that the delay is over).
    ///
    /// # Errors
    /// The session is over; a farewell is in `tx` where the protocol has one.
    fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error>;

    /// Whether the session has ended in order: send what is in `tx` and close.
    fn is_closed(&self) -> bool;
}

/// The moment between an agreed STARTTLS and a finished handshake.
pub trait Upgrade {
    /// The machine that goes on under TLS. It remembers nothing of the cleartext session.
    type Secured: Machine;

    /// TLS is in place.
    ///
    /// # Errors
    /// [`PlaintextAfterStartTls`](crate::PeerError::PlaintextAfterStartTls) if `rx` is not empty.
    fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<Self::Secured, Error>;
}

/// How far a client's STARTTLS has come.
#[derive(Debug)]
#[must_use]
pub enum Negotiation<Pending, Refused, Ready> {
    /// The answer has not come yet.
    Pending(Pending),
    /// The server said no. Only a program that was told to speak cleartext may go on with this.
    Refused(Refused),
    /// The server agreed: begin the handshake, then complete this.
    Ready(Ready),
}

/// A client's STARTTLS on its way.
pub trait StartTlsNegotiation: Sized {
    /// The client on cleartext, given back after a refusal.
    type Refused: Machine;
    /// The agreed upgrade.
    type Ready: Upgrade;

    /// Looks for the answer.
    ///
    /// # Errors
    /// The peer broke the rules: an answer before the command was sent, octets behind it, anything else.
    fn advance(
        self,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Negotiation<Self, Self::Refused, Self::Ready>, Error>;

    /// What is awaited, and how long at most.
    fn wait(&self) -> Wait;
}
