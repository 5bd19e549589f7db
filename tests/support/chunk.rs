//! The law of a machine without I/O: however its input is cut, the same events and the same output come of it.

use proto_core::{Error, Machine, RecvBuffer, SendBuffer, WaitFor};

/// What came of a conversation: what happened, what was sent, how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the application saw, as it described it; neighbouring pieces of one body are joined.
    pub events: Vec<Seen>,
    /// Every octet that was sent.
    pub output: Vec<u8>,
    /// The error that ended it, if one did.
    pub error: Option<Error>,
}

/// One thing that an application saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// An event, described.
    Event(String),
    /// A piece of a body. How bodies are cut is free, so neighbours are joined.
    Piece(Vec<u8>),
}

/// An application: looks at each event, answers it if it must, and says what it saw.
pub trait Application<M: Machine> {
    /// One event.
    fn event(&mut self, event: M::Event<'_>, machine: &mut M, tx: &mut SendBuffer) -> Option<Seen>;

    /// Nothing more can happen before more input comes: the moment to give a command.
    fn quiet(&mut self, _machine: &mut M, _tx: &mut SendBuffer) {}
}

impl<M: Machine, F: FnMut(M::Event<'_>, &mut M, &mut SendBuffer) -> Option<Seen>> Application<M> for F {
    fn event(&mut self, event: M::Event<'_>, machine: &mut M, tx: &mut SendBuffer) -> Option<Seen> {
        self(event, machine, tx)
    }
}

/// Feeds `pieces` to a machine, one read each, then says that the peer has closed if `end`.
pub fn converse<'p, M: Machine>(
    mut machine: M,
    application: &mut impl Application<M>,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    end: bool,
) -> Record {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut record = Record { events: Vec::new(), output: Vec::new(), error: None };
    pump(&mut machine, application, &mut rx, &mut tx, &mut record);
    for piece in pieces {
        if record.error.is_some() {
            break;
        }
        rx.extend(piece);
        pump(&mut machine, application, &mut rx, &mut tx, &mut record);
    }
    if end && record.error.is_none() {
        rx.close();
        pump(&mut machine, application, &mut rx, &mut tx, &mut record);
    }
    record
}

/// Takes every event that there is. What is sent leaves at once.
///
/// # Panics
/// If a machine goes on after a fatal error.
fn pump<M: Machine>(
    machine: &mut M,
    application: &mut impl Application<M>,
    rx: &mut RecvBuffer,
    tx: &mut SendBuffer,
    record: &mut Record,
) {
    loop {
        let failed = match machine.next_event(rx, tx) {
            Ok(Some(event)) => {
                match application.event(event, machine, tx) {
                    Some(Seen::Piece(piece)) => match record.events.last_mut() {
                        Some(Seen::Piece(last)) => last.extend(piece),
                        _ => record.events.push(Seen::Piece(piece)),
                    },
                    Some(seen) => record.events.push(seen),
                    None => {}
                }
                continue;
            }
            Ok(None) => {
                application.quiet(machine, tx);
                // A delay is over at once: nobody waits here.
                let late = machine.wait().for_ == WaitFor::Delay;
                if late { machine.timed_out(tx).err() } else { None }
            }
            Err(error) => Some(error),
        };
        let sent = tx.take();
        let quiet = sent.is_empty();
        record.output.extend(sent);
        if let Some(error) = failed {
            record.error = Some(error);
            // What has failed stays failed, and says nothing more.
            let again = machine.next_event(rx, tx).err();
            assert_eq!(again, Some(error), "an error was forgotten");
            assert!(tx.is_empty(), "something was said after {error:?}");
            return;
        }
        if quiet {
            return;
        }
    }
}

/// Whole, at each octet, and cut in two at every place: the ways that a test tries.
pub fn every_split(input: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let whole = std::iter::once(vec![input]);
    let octets = std::iter::once(input.chunks(1).collect());
    let in_two = (1..input.len()).map(move |at| vec![&input[..at], &input[at..]]);
    whole.chain(octets).chain(in_two)
}

/// Runs the same conversation in every split and demands the same record.
///
/// # Panics
/// If two splits differ: the message shows where the input was cut and both records.
#[allow(clippy::panic)]
pub fn assert_same_in_every_split<M: Machine, A: Application<M>>(
    input: &[u8],
    end: bool,
    mut start: impl FnMut() -> (M, A),
) -> Record {
    let mut first: Option<Record> = None;
    for pieces in every_split(input) {
        let cuts: Vec<usize> = pieces.iter().map(|piece| piece.len()).take(3).collect();
        let (machine, mut application) = start();
        let record = converse(machine, &mut application, pieces, end);
        match &first {
            None => first = Some(record),
            Some(whole) if *whole == record => {}
            Some(whole) => panic!("cut into {cuts:?}…:\n{record:#?}\nwhole:\n{whole:#?}"),
        }
    }
    first.unwrap_or(Record { events: Vec::new(), output: Vec::new(), error: None })
}
