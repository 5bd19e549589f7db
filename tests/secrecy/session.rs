//! Two machines and the wire between them, or one machine and a script: everything that they show is collected.
//!
//! This file knows what a machine is, what a trace is, and nothing of either protocol.

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use io_mio::trace::{Record, Role, Trace, TraceFormat, TraceWriter, Tracing};
use proto_core::{Error, Machine, RecvBuffer, SendBuffer, WaitFor};

use crate::hunt::Hunt;

/// Both that a session showed, and everything that passed on the wire.
pub(crate) struct Shown {
    name: String,
    texts: HashSet<String>,
    written: Written,
    wire: Vec<u8>,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A trace in both forms.
struct Both {
    forms: [TraceWriter<Written>; 2],
}

impl Both {
    fn new(written: &Written) -> Self {
        let writer = || TraceWriter::new(written.clone());
        Self { forms: [writer(), writer().format(TraceFormat::Json)] }
    }
}

impl Trace for Both {
    fn record(&mut self, record: &Record<'_>) {
        self.forms.iter_mut().for_each(|form| form.record(record));
    }
}

/// A machine with its buffers and its application.
pub(crate) struct Side<M, A> {
    pub(crate) machine: M,
    pub(crate) application: A,
    pub(crate) role: Role,
    rx: RecvBuffer,
    tx: SendBuffer,
    tracing: Option<Tracing>,
    error: Option<Error>,
}

/// What an application does with an event: it shows what it was given, and answers.
pub(crate) trait Application<M: Machine> {
    fn event(&mut self, event: M::Event<'_>, machine: &mut M, tx: &mut SendBuffer, shown: &mut Shown);
}

impl Shown {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), texts: HashSet::new(), written: Written::default(), wire: Vec::new() }
    }

    pub(crate) fn debug(&mut self, value: &dyn Debug) {
        self.texts.insert(format!("{value:?}"));
    }

    pub(crate) fn display(&mut self, value: &dyn Display) {
        self.texts.insert(value.to_string());
    }

    /// These octets passed: what is shown must not repeat them.
    pub(crate) fn passed(&mut self, octets: &[u8]) {
        self.wire.extend_from_slice(octets);
    }

    /// Nothing was shown that is secret, although the secrets passed.
    pub(crate) fn end(self, hunt: &Hunt) {
        let Self { name, texts, written, wire } = self;
        assert!(hunt.find(&wire).is_some(), "{name}: nothing secret passed, so that this shows nothing");
        let trace = written.0.lock().unwrap().clone();
        for text in texts.iter().map(String::as_bytes).chain([trace.as_slice()]) {
            if let Some(piece) = hunt.find(text) {
                panic!("{name}: {piece:?} of a secret stands in\n{}", String::from_utf8_lossy(text));
            }
        }
    }
}

impl<M: Machine + Debug, A: Application<M>> Side<M, A> {
    pub(crate) fn new(machine: M, tx: SendBuffer, role: Role, application: A) -> Self {
        Self { machine, application, role, rx: RecvBuffer::new(), tx, tracing: None, error: None }
    }

    pub(crate) fn error(&self) -> Option<Error> {
        self.error
    }

    /// Receives octets in pieces of `size`. The state is looked at in the middle and behind them.
    fn receive(&mut self, octets: &[u8], size: usize, shown: &mut Shown) {
        shown.wire.extend_from_slice(octets);
        let middle = octets.len().div_ceil(size) / 2;
        for (index, piece) in octets.chunks(size).enumerate() {
            self.rx.extend(piece);
            self.pump(shown);
            if index == middle {
                self.show(shown);
            }
        }
        self.show(shown);
    }

    fn show(&self, shown: &mut Shown) {
        shown.debug(&(&self.machine, &self.rx, &self.tx, self.machine.wait()));
    }

    /// Takes every event that there is.
    fn pump(&mut self, shown: &mut Shown) {
        let Self { rx, tx, role, .. } = self;
        let tracing = self.tracing.get_or_insert_with(|| {
            let tracing = Tracing::new(Box::new(Both::new(&shown.written)), "test", *role, Instant::now());
            tracing.watch(rx, tx);
            tracing
        });
        tracing.received(true, rx);
        while self.error.is_none() {
            let result = match self.machine.next_event(&mut self.rx, &mut self.tx) {
                Ok(Some(event)) => {
                    shown.debug(&event);
                    self.application.event(event, &mut self.machine, &mut self.tx, shown);
                    shown.debug(&self.machine);
                    continue;
                }
                Ok(None) if self.machine.wait().for_ == WaitFor::Delay => {
                    self.machine.timed_out(&mut self.tx)
                }
                Ok(None) => break,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                shown.debug(&error);
                shown.display(&error);
                self.error = Some(error);
            }
        }
    }

    /// The connection is closed: what was not understood is counted.
    fn end(&mut self) {
        if let Some(mut tracing) = self.tracing.take() {
            tracing.closed(true, &mut self.rx);
        }
    }

    /// What is to be sent, as a driver would trace it.
    fn send(&mut self, shown: &mut Shown) -> Vec<u8> {
        let mut sent = Vec::new();
        for chunk in self.tx.chunks() {
            shown.debug(&chunk);
            sent.extend_from_slice(chunk.bytes);
        }
        self.tx.sent(sent.len());
        if let Some(tracing) = &mut self.tracing {
            tracing.received(true, &mut self.rx);
            tracing.sent(true, &mut self.tx);
        }
        shown.debug(&self.tx);
        sent
    }
}

/// Lets both talk until nobody says anything more. The wire carries pieces of `size`.
pub(crate) fn talk<C, S, A, B>(
    client: &mut Side<C, A>,
    server: &mut Side<S, B>,
    size: usize,
    shown: &mut Shown,
) where
    C: Machine + Debug,
    S: Machine + Debug,
    A: Application<C>,
    B: Application<S>,
{
    server.pump(shown);
    client.pump(shown);
    for _ in 0..1000 {
        let (there, back) = (client.send(shown), server.send(shown));
        if there.is_empty() && back.is_empty() {
            client.end();
            server.end();
            return;
        }
        shown.display(&String::from_utf8_lossy(&back));
        server.receive(&there, size, shown);
        client.receive(&back, size, shown);
    }
    panic!("{}: they never stop", shown.name);
}

/// Says each line when the machine is quiet, then closes the connection.
pub(crate) fn face<M, A>(side: &mut Side<M, A>, lines: &[&[u8]], size: usize, shown: &mut Shown)
where
    M: Machine + Debug,
    A: Application<M>,
{
    side.pump(shown);
    for line in lines {
        let sent = side.send(shown);
        shown.wire.extend(sent);
        side.receive(line, size, shown);
    }
    side.rx.close();
    side.pump(shown);
    let sent = side.send(shown);
    shown.wire.extend(sent);
    side.end();
}
