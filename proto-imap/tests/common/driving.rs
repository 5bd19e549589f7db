//! Two drivers over bytes in memory: one passes borrowed events to a callback, the other is async and returns owned
//! events.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;
use std::fmt::Debug;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proto_mail::{Driver, Error, Machine, OwnedEvents, SendBuffer};

/// The record of a session.
#[derive(Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The events, as `Debug` shows them.
    pub events: Vec<String>,
    /// Everything that was sent.
    pub output: String,
    /// How the session ended.
    pub result: Result<(), Error>,
}

impl Conversation {
    /// Checks that an event of each of these variants was seen.
    #[track_caller]
    pub fn assert_has(&self, variants: &[&str]) {
        for variant in variants {
            let is_seen = |event: &String| {
                event.strip_prefix(variant).is_some_and(|rest| !rest.starts_with(char::is_alphabetic))
            };
            assert!(self.events.iter().any(is_seen), "{variant}: {self:#?}");
        }
    }
}

/// Runs a session that reads `reads`, one after the other. `act` is called with each event.
pub fn with_callback<M: Machine>(
    driver: &mut Driver<M>,
    reads: &[&str],
    mut act: impl FnMut(M::Event<'_>, &mut M, &mut SendBuffer),
) -> Conversation {
    let (mut events, mut output) = (Vec::new(), Vec::new());
    let mut reads = reads.iter();
    let result = loop {
        driver.handle_events(|event, machine, tx| {
            events.push(format!("{event:?}"));
            act(event, machine, tx);
        });
        output.extend(driver.tx.take());
        if let Some(outcome) = driver.outcome() {
            break outcome;
        }
        assert!(driver.wants_read(), "the session hangs after {events:?}");
        match reads.next() {
            Some(bytes) => driver.rx.extend(bytes.as_bytes()),
            None => driver.received(0),
        }
    };
    Conversation { events, output: String::from_utf8(output).unwrap(), result }
}

/// A stream that is pending before each read.
struct Stream {
    reads: VecDeque<Vec<u8>>,
    output: Vec<u8>,
}

impl Stream {
    async fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut pending = true;
        std::future::poll_fn(|_| if std::mem::take(&mut pending) { Poll::Pending } else { Poll::Ready(()) })
            .await;
        let bytes = self.reads.pop_front().unwrap_or_default();
        buffer[..bytes.len()].copy_from_slice(&bytes);
        bytes.len()
    }

    async fn write_all(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }
}

/// The session of an async program.
struct Session<'d, M: OwnedEvents> {
    driver: &'d mut Driver<M>,
    stream: Stream,
}

impl<M: OwnedEvents> Session<'_, M> {
    async fn next(&mut self) -> Result<Option<M::OwnedEvent>, Error> {
        loop {
            if let Some(event) = self.driver.next_owned() {
                return Ok(Some(event));
            }
            let output = self.driver.tx.take();
            self.stream.write_all(&output).await;
            if let Some(outcome) = self.driver.outcome() {
                return outcome.map(|()| None);
            }
            assert!(self.driver.wants_read(), "the session hangs");
            let count = self.stream.read(self.driver.rx.spare_mut(4096)).await;
            self.driver.received(count);
        }
    }
}

/// Like [`with_callback`], with owned events. Each is shown on another thread before `act` is called with it.
pub fn with_owned_events<M: OwnedEvents<OwnedEvent: Send + Debug>>(
    driver: &mut Driver<M>,
    reads: &[&str],
    mut act: impl FnMut(M::OwnedEvent, &mut M, &mut SendBuffer),
) -> Conversation {
    let reads = reads.iter().map(|bytes| bytes.as_bytes().to_vec()).collect();
    let mut session = Session { driver, stream: Stream { reads, output: Vec::new() } };
    let mut events = Vec::new();
    let result = block_on(async {
        while let Some(event) = session.next().await? {
            let (shown, event) = std::thread::spawn(move || (format!("{event:?}"), event)).join().unwrap();
            events.push(shown);
            act(event, &mut session.driver.machine, &mut session.driver.tx);
        }
        Ok(())
    });
    Conversation { events, output: String::from_utf8(session.stream.output).unwrap(), result }
}

/// Polls a future until it is ready.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
