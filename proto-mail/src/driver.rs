//! A driver's part without I/O: the buffers, the deadline and the order of calls.
//!
//! # A blocking driver
//!
//! A driver adds a socket and a clock. `Driver::run` (feature `std`) runs any machine on any blocking stream.
//!
//! # An async driver
//!
//! With [`OwnedEvents`] an event outlives the call that produced it, so the natural signature compiles:
//!
//! ```
//! use proto_mail::{Driver, Error, OwnedEvents};
//!
//! trait AsyncStream {
//!     async fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize>;
//!     async fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()>;
//! }
//!
//! struct Session<M: OwnedEvents, S> {
//!     driver: Driver<M>,
//!     stream: S,
//! }
//!
//! impl<M: OwnedEvents, S: AsyncStream> Session<M, S> {
//!     /// Returns the next event; `None` when the session has ended. (A real driver also waits for the deadline.)
//!     async fn next(&mut self) -> std::io::Result<Option<M::OwnedEvent>> {
//!         loop {
//!             let event = self.driver.next_owned();
//!             // Large payloads can be written without this copy: see `SendBuffer::chunks`.
//!             let output = self.driver.tx.take();
//!             self.stream.write_all(&output).await?;
//!             if event.is_some() {
//!                 return Ok(event);
//!             }
//!             if !output.is_empty() {
//!                 continue; // events may have waited for room in the output
//!             }
//!             if let Some(outcome) = self.driver.outcome() {
//!                 return outcome.map(|()| None).map_err(std::io::Error::other);
//!             }
//!             let count = self.stream.read(self.driver.rx.spare_mut(4096)).await?;
//!             self.driver.received(count);
//!         }
//!     }
//! }
//! ```

use core::time::Duration;

use crate::machine::{Machine, OwnedEvents};
use crate::wait::{Deadline, TimePoint};
use crate::{Error, RecvBuffer, SendBuffer};

/// The least room for one read, in bytes.
#[cfg(feature = "std")]
const READ: usize = 16 * 1024;

/// A machine with its two buffers, its deadline and its result: everything of a driver but the I/O.
///
/// `T` is the driver's clock: `std::time::Instant`, or by default a [`Duration`] since any fixed moment.
///
/// # The order of calls
/// 1. Take events until there are none: [`handle_events`](Self::handle_events), [`next_event`](Self::next_event) or
///    [`next_owned`](Self::next_owned).
/// 2. While [`wants_write`](Self::wants_write), write, then go back to 1: a server whose output is above
///    [`output_high_water`](crate::Limits::output_high_water) handles no further command until it is sent. After an error
///    this sends the farewell.
/// 3. If there is an [`outcome`](Self::outcome), the session is over: close the connection.
/// 4. Call [`handle_timeout`](Self::handle_timeout), also while bytes arrive: a peer that sends one byte at a time must
///    not extend a wait.
/// 5. If [`wants_read`](Self::wants_read), read until the [`deadline`](Self::deadline) at most, and report it with
///    [`received`](Self::received). Otherwise wait until the deadline, or until the application answers.
#[derive(Debug)]
pub struct Driver<M, T = Duration> {
    /// The machine. Give commands and answers to it with [`tx`](Self::tx).
    pub machine: M,
    /// What was received from the peer.
    pub rx: RecvBuffer,
    /// What is to be sent to the peer.
    pub tx: SendBuffer,
    deadline: Deadline<T>,
    error: Option<Error>,
}

impl<M: Machine, T: TimePoint> Driver<M, T> {
    /// Drives `machine`, with empty buffers.
    #[must_use]
    pub const fn new(machine: M) -> Self {
        Self::with_buffers(machine, RecvBuffer::new(), SendBuffer::new())
    }

    /// Drives `machine` with these buffers: `tx` holds a server's greeting, for example.
    #[must_use]
    pub const fn with_buffers(machine: M, rx: RecvBuffer, tx: SendBuffer) -> Self {
        Self { machine, rx, tx, deadline: Deadline::new(), error: None }
    }

    /// Returns the machine and the buffers, for example to start TLS.
    #[must_use]
    pub fn into_parts(self) -> (M, RecvBuffer, SendBuffer) {
        (self.machine, self.rx, self.tx)
    }

    /// Returns the next event, with the machine and the send buffer to answer it. `None` means that there is none now;
    /// after an error there is none any more, and [`outcome`](Self::outcome) returns the error.
    #[must_use]
    pub fn next_event(&mut self) -> Option<(M::Event<'_>, &mut M, &mut SendBuffer)> {
        if self.error.is_some() {
            return None;
        }
        match self.machine.next_event(&mut self.rx, &mut self.tx) {
            Ok(event) => event.map(|event| (event, &mut self.machine, &mut self.tx)),
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }

    /// Calls `handle` with each event, until there are none.
    pub fn handle_events(&mut self, mut handle: impl FnMut(M::Event<'_>, &mut M, &mut SendBuffer)) {
        while let Some((event, machine, tx)) = self.next_event() {
            handle(event, machine, tx);
        }
    }

    /// Returns the next event as one that borrows nothing; see [`next_event`](Self::next_event).
    #[must_use]
    pub fn next_owned(&mut self) -> Option<M::OwnedEvent>
    where
        M: OwnedEvents,
    {
        self.next_event().map(|(event, ..)| M::into_owned(event))
    }

    /// Returns true if output waits in [`tx`](Self::tx).
    #[must_use]
    pub const fn wants_write(&self) -> bool {
        !self.tx.is_empty()
    }

    /// Returns true if the machine needs more input. False while the application owes an answer or too much output
    /// waits, after the peer has closed, and when the session is over.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        self.error.is_none()
            && !self.rx.is_closed()
            && !self.machine.is_closed()
            && self.machine.wants_read(&self.tx)
    }

    /// Reports that `count` bytes were read into [`RecvBuffer::spare_mut`]; 0 means that the peer will send no more.
    pub fn received(&mut self, count: usize) {
        if count == 0 {
            self.rx.close();
        } else {
            self.rx.filled(count);
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) at the latest; `None` if there is no limit. A wait
    /// is counted from the first call of this method after it began.
    pub fn deadline(&mut self, now: T) -> Option<T> {
        self.deadline.arm(self.machine.wait(), now);
        self.deadline.at()
    }

    /// Tells the machine that its wait is over, if that is so by `now`. Returns true if it was. Events or the
    /// [`outcome`](Self::outcome) follow.
    pub fn handle_timeout(&mut self, now: T) -> bool {
        self.deadline.arm(self.machine.wait(), now);
        if self.error.is_some() || !self.deadline.is_due(now) {
            return false;
        }
        self.deadline.disarm();
        self.error = self.machine.timed_out(&mut self.tx).err();
        true
    }

    /// Returns how the session ended, once everything was sent: close the connection then. `None` while it is in
    /// progress or output waits.
    ///
    /// A session that the application ended (LOGOUT, QUIT) or that the peer ended in order returns `Ok`.
    pub fn outcome(&self) -> Option<Result<(), Error>> {
        if !self.tx.is_empty() {
            return None;
        }
        match &self.error {
            Some(error) => Some(Err(error.clone())),
            None => self.machine.is_closed().then_some(Ok(())),
        }
    }

    /// Writes output until there is none or the writer fails; see [`SendBuffer::write_to`].
    ///
    /// # Errors
    /// The writer's error, unless it is `Interrupted`.
    #[cfg(feature = "std")]
    pub fn write_to(&mut self, writer: &mut (impl std::io::Write + ?Sized)) -> std::io::Result<usize> {
        self.tx.write_to(writer)
    }

    /// Reads once, if [`wants_read`](Self::wants_read). Returns how many bytes were read; 0 if the peer will send no
    /// more, or without `wants_read`: wait for the [`deadline`](Self::deadline) or an answer then.
    ///
    /// # Errors
    /// The reader's error, unless it is `Interrupted`.
    #[cfg(feature = "std")]
    pub fn read_from(&mut self, reader: &mut (impl std::io::Read + ?Sized)) -> std::io::Result<usize> {
        if !self.wants_read() {
            return Ok(0);
        }
        loop {
            match reader.read(self.rx.spare_mut(READ)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.received(count);
                    return Ok(count);
                }
            }
        }
    }
}
