//! A driver for blocking streams, such as `TcpStream` or a TLS stream over it (feature `std`).

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::time::{Duration, Instant};

use crate::{Driver, Machine, SendBuffer};

impl<M: Machine> Driver<M, Instant> {
    /// Reads, writes and waits until `step` returns a value. Returns `None` if the session ends in order before.
    ///
    /// `step` is called with each event, the machine, and the send buffer to answer with. It must answer every token before
    /// it returns, or drop it; this driver has no other way to wait for an answer. `now` is the clock:
    /// [`Instant::now`]. `set_timeout` sets the stream's read timeout.
    ///
    /// When `step` returns a value, output that it queued leaves with the next call, or with
    /// [`write_to`](Self::write_to).
    ///
    /// # Errors
    /// Those of `step` and of the stream. The machine's error is inside an [`Error`] of the kind
    /// [`Other`](ErrorKind::Other).
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use std::time::Instant;
    ///
    /// use proto_mail::{Driver, Machine};
    ///
    /// /// Prints the events of a client until the session ends.
    /// fn print_events<M: Machine>(machine: M, mut stream: TcpStream) -> std::io::Result<()> {
    ///     let mut driver = Driver::new(machine);
    ///     driver.run(&mut stream, Instant::now, TcpStream::set_read_timeout, |event, _, _| {
    ///         println!("{event:?}");
    ///         Ok::<_, std::io::Error>(None::<()>)
    ///     })?;
    ///     Ok(())
    /// }
    /// ```
    pub fn run<S: Read + Write, T, E: From<Error>>(
        &mut self,
        stream: &mut S,
        now: impl Fn() -> Instant,
        set_timeout: impl Fn(&S, Option<Duration>) -> Result<()>,
        mut step: impl FnMut(M::Event<'_>, &mut M, &mut SendBuffer) -> core::result::Result<Option<T>, E>,
    ) -> core::result::Result<Option<T>, E> {
        loop {
            while let Some((event, machine, tx)) = self.next_event() {
                if let Some(value) = step(event, machine, tx)? {
                    return Ok(Some(value));
                }
            }
            if self.wants_write() {
                self.write_to(stream)?;
                continue; // events may have waited for room in the output
            }
            if let Some(outcome) = self.outcome() {
                outcome.map_err(Error::other)?;
                return Ok(None);
            }
            self.wait(stream, now(), &set_timeout)?;
        }
    }

    /// Reads once, or waits until the deadline.
    fn wait<S: Read>(
        &mut self,
        stream: &mut S,
        now: Instant,
        set_timeout: impl Fn(&S, Option<Duration>) -> Result<()>,
    ) -> Result<()> {
        if self.handle_timeout(now) {
            return Ok(());
        }
        let left = self.deadline(now).map(|at| (at - now).max(Duration::from_millis(1)));
        if !self.wants_read() {
            // The machine delays its reply: only time continues the session.
            std::thread::sleep(left.ok_or_else(|| Error::other("the application owes an answer"))?);
            return Ok(());
        }
        set_timeout(stream, left)?;
        match self.read_from(stream) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }
}
