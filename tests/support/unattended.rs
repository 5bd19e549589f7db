//! Runs a machine whose application does nothing: it gives no commands, and drops every event with its token.
//!
//! Each run is made twice: by [`Driver`] with owned events and through `std::io`, and by calls of the machine's own
//! methods with borrowed events. Both have the same events and output, and end when the peer is gone, since a dropped
//! token never hangs its session.

use std::io::{self, Write};
use std::time::Duration;

use proto_mail::{Driver, Machine, OwnedEvents, RecvBuffer, SendBuffer};

use crate::play::{Ending, Entry, Record};

/// What calls the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrivenBy {
    /// [`Driver`], with owned events.
    Driver,
    /// The calls that [`Driver`] makes, with borrowed events.
    Hand,
}

/// The most timeouts and delays of one session. A machine that needs more would go on forever.
const TIMEOUTS: usize = 64;

/// The most bytes that one write takes.
const WRITE: usize = 48;

/// Runs the machine until the session is over. `greeting` is what it has output so far.
#[must_use]
pub fn run<M: OwnedEvents>(
    machine: M,
    greeting: SendBuffer,
    by: DrivenBy,
    pieces: &[&[u8]],
    ending: Ending,
) -> Record {
    let mut record = Record::default();
    let ended = match by {
        DrivenBy::Driver => by_driver(machine, greeting, pieces, ending, &mut record),
        DrivenBy::Hand => by_hand(machine, greeting, pieces, ending, &mut record),
    };
    record.requires(ended, || "the session did not end after its peer".to_owned());
    record
}

/// Returns whether the session has ended.
fn by_driver<M: OwnedEvents>(
    machine: M,
    greeting: SendBuffer,
    pieces: &[&[u8]],
    ending: Ending,
    record: &mut Record,
) -> bool {
    let mut driver = Driver::<_, Duration>::with_buffers(machine, RecvBuffer::new(), greeting);
    let (mut pieces, mut now, mut timeouts) = (pieces.iter(), Duration::ZERO, 0);
    loop {
        while let Some(event) = driver.next_owned() {
            record.event(&event);
        }
        if driver.wants_write() {
            let mut output = Writer(Vec::new());
            if driver.write_to(&mut output).is_err() {
                return false;
            }
            sent(output.0, record);
            // There may be events that had to wait for the output before them.
            continue;
        }
        if let Some(outcome) = driver.outcome() {
            record.entries.extend(outcome.err().map(Entry::Failed));
            return true;
        }
        if driver.handle_timeout(now) {
            continue;
        }
        let piece = if driver.wants_read() { pieces.next().copied() } else { None };
        let deadline = driver.deadline(now);
        let is_silent = !driver.wants_read() || (piece.is_none() && ending == Ending::TimedOut);
        match deadline.filter(|_| is_silent) {
            Some(deadline) if timeouts < TIMEOUTS => {
                timeouts += 1;
                now = deadline;
            }
            _ if !driver.wants_read() => return false,
            _ => {
                let mut piece = piece.unwrap_or_default();
                heard(piece, record);
                // A read takes all of it: pieces are shorter than what a driver reads at once.
                if driver.read_from(&mut piece).is_err() || !piece.is_empty() {
                    return false;
                }
            }
        }
    }
}

/// Returns whether the session has ended.
fn by_hand<M: Machine>(
    mut machine: M,
    mut tx: SendBuffer,
    pieces: &[&[u8]],
    ending: Ending,
    record: &mut Record,
) -> bool {
    let (mut rx, mut pieces, mut timeouts) = (RecvBuffer::new(), pieces.iter(), 0);
    loop {
        let error = loop {
            match machine.next_event(&mut rx, &mut tx) {
                Ok(Some(event)) => record.event(&event),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let is_over = error.is_some() || machine.is_closed();
        if !tx.is_empty() {
            sent(tx.take(), record);
            if !is_over {
                continue;
            }
        }
        if is_over {
            record.entries.extend(error.map(Entry::Failed));
            return true;
        }
        let wants_read = machine.wants_read(&tx) && !rx.is_closed();
        let piece = if wants_read { pieces.next() } else { None };
        let is_silent = !wants_read || (piece.is_none() && ending == Ending::TimedOut);
        if is_silent && machine.wait().after.is_some() && timeouts < TIMEOUTS {
            timeouts += 1;
            if let Err(error) = machine.timed_out(&mut tx) {
                sent(tx.take(), record);
                record.entries.push(Entry::Failed(error));
                return true;
            }
            continue;
        }
        if !wants_read {
            return false;
        }
        match piece {
            Some(piece) => {
                heard(piece, record);
                rx.extend(piece);
            }
            None => {
                heard(b"", record);
                rx.close();
            }
        }
    }
}

fn heard(piece: &[u8], record: &mut Record) {
    record.heard(piece.iter().filter(|&&byte| byte == b'\n').count());
}

fn sent(output: Vec<u8>, record: &mut Record) {
    if !output.is_empty() {
        record.entries.push(Entry::Sent(output, false));
    }
}

/// Takes few bytes at once, as a slow socket does.
struct Writer(Vec<u8>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(WRITE);
        self.0.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let before = self.0.len();
        let all = slices.iter().flat_map(|slice| slice.iter()).take(WRITE);
        self.0.extend(all);
        Ok(self.0.len() - before)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
