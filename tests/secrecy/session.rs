//! Two machines and the wire between them, or one machine and a script: everything that they show is collected.
//!
//! This module knows machines and traces, and neither protocol.

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use io_mio::trace::{
    ConnectionTrace, NameVisibility, RecordItem, Role, Trace, TraceChannel, TraceFormat, TraceRecord,
    TraceWriter,
};
use proto_mail::trace::{self, Event};
use proto_mail::{Error, Machine, RecvBuffer, SendBuffer, WaitFor};

use crate::search::SecretSearch;

/// Everything that a session showed, and everything that passed on the wire.
pub(crate) struct Shown {
    name: String,
    /// Formatted output; `None` if only the trace is checked.
    texts: Option<HashSet<String>>,
    written: Written,
    wire: Vec<u8>,
}

/// A trace in every form: as written, and its events.
#[derive(Clone, Default)]
pub(crate) struct Written {
    bytes: Arc<Mutex<Vec<u8>>>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// A trace in three formats: text, text without names, and JSON.
    pub(crate) fn trace(&self) -> Box<dyn Trace> {
        let writer = || TraceWriter::new(self.clone());
        let forms = [writer(), writer().names(NameVisibility::Hidden), writer().format(TraceFormat::Json)];
        Box::new(Forms { forms, events: self.events.clone() })
    }

    /// Everything that was written, and every event.
    pub(crate) fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap();
        format!("{}{:?}", String::from_utf8_lossy(&bytes), self.events.lock().unwrap())
    }
}

struct Forms {
    forms: [TraceWriter<Written>; 3],
    events: Arc<Mutex<Vec<Event>>>,
}

impl Trace for Forms {
    fn record(&mut self, record: &TraceRecord<'_>) {
        // The text of a trace must be a function of its events.
        let mut record = *record;
        (record.at, record.connection) = (Duration::ZERO, 1);
        self.forms.iter_mut().for_each(|form| form.record(&record));
        if let RecordItem::Event(event) = record.item {
            let mut events = self.events.lock().unwrap();
            if !events.last_mut().is_some_and(|last| join(last, event)) {
                events.push(event.clone());
            }
        }
    }
}

/// Adds an event to the last one if both are parts of the same thing, since pieces may come one by one.
fn join(last: &mut Event, event: &Event) -> bool {
    use trace::TraceSpan::{Data, Elided, Secret, Text, Unknown};
    let ((Event::Received(last), Event::Received(more)) | (Event::Sent(last), Event::Sent(more))) =
        (last, event)
    else {
        return false;
    };
    match (last, more) {
        (Text(text), Text(more)) => text.extend_from_slice(more),
        (Elided(count), Elided(more))
        | (Secret(count), Secret(more))
        | (Data(count), Data(more))
        | (Unknown(count), Unknown(more)) => *count += more,
        _ => return false,
    }
    true
}

/// How input is split.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// In pieces of this many bytes.
    Every(usize),
    /// Each turn in two, after this many bytes.
    At(usize),
}

impl Cut {
    fn pieces(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Every(size) => bytes.chunks(size).collect(),
            Self::At(at) => {
                let (front, back) = bytes.split_at(at.min(bytes.len()));
                [front, back].into_iter().filter(|piece| !piece.is_empty()).collect()
            }
        }
    }
}

/// A machine with its buffers and its application.
pub(crate) struct Side<M, A> {
    pub(crate) machine: M,
    pub(crate) application: A,
    pub(crate) role: Role,
    rx: RecvBuffer,
    tx: SendBuffer,
    tracing: Option<ConnectionTrace>,
    error: Option<Error>,
}

/// How an application handles an event: it shows what it was given, and answers.
pub(crate) trait Application<M: Machine> {
    /// The protocol's name in a trace.
    const PROTOCOL: &'static str;

    fn event(&mut self, event: M::Event<'_>, machine: &mut M, tx: &mut SendBuffer, shown: &mut Shown);
}

impl Shown {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        let texts = Some(HashSet::new());
        Self { name: name.into(), texts, written: Written::default(), wire: Vec::new() }
    }

    /// Checks only the trace.
    pub(crate) fn only_the_trace(name: impl Into<String>) -> Self {
        Self { texts: None, ..Self::new(name) }
    }

    pub(crate) fn debug(&mut self, value: &dyn Debug) {
        if let Some(texts) = &mut self.texts {
            texts.insert(format!("{value:?}"));
        }
    }

    pub(crate) fn display(&mut self, value: &dyn Display) {
        if let Some(texts) = &mut self.texts {
            texts.insert(value.to_string());
        }
    }

    /// Records bytes of the wire, which must not be shown.
    pub(crate) fn passed(&mut self, bytes: &[u8]) {
        self.wire.extend_from_slice(bytes);
    }

    /// The trace.
    pub(crate) fn trace(&self) -> String {
        self.written.text()
    }

    /// Asserts that nothing shown is secret, although the secrets passed on the wire.
    pub(crate) fn end(self, search: &SecretSearch) {
        let Self { name, texts, written, wire } = self;
        assert!(search.find(&wire).is_some(), "{name}: no secret passed, so the test is meaningless");
        for text in texts.into_iter().flatten().chain([written.text()]) {
            search.finds_nothing(&name, &text);
        }
    }
}

impl<M: Machine + Debug, A: Application<M>> Side<M, A> {
    pub(crate) fn new(machine: M, tx: SendBuffer, role: Role, application: A) -> Self {
        Self { machine, application, role, rx: RecvBuffer::new(), tx, tracing: None, error: None }
    }

    pub(crate) fn error(&self) -> Option<Error> {
        self.error.clone()
    }

    /// Receives bytes in pieces. Checks the state in the middle and after them.
    fn receive(&mut self, bytes: &[u8], cut: Cut, shown: &mut Shown) {
        shown.wire.extend_from_slice(bytes);
        let pieces = cut.pieces(bytes);
        let middle = pieces.len() / 2;
        for (index, piece) in pieces.into_iter().enumerate() {
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

    /// Handles all pending events.
    fn pump(&mut self, shown: &mut Shown) {
        let Self { rx, tx, role, .. } = self;
        let tracing = self.tracing.get_or_insert_with(|| {
            let tracing = ConnectionTrace::new(shown.written.trace(), A::PROTOCOL, *role, Instant::now());
            tracing.attach(rx, tx);
            tracing
        });
        tracing.received(TraceChannel::Tls, rx);
        while self.error.is_none() {
            let result = match self.machine.next_event(&mut self.rx, &mut self.tx) {
                Ok(Some(event)) => {
                    shown.debug(&event);
                    self.application.event(event, &mut self.machine, &mut self.tx, shown);
                    shown.debug(&self.machine);
                    continue;
                }
                Ok(None) if self.machine.wait().awaited == WaitFor::Delay => {
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

    /// The connection is closed; input that was not understood is counted.
    fn end(&mut self) {
        if let Some(mut tracing) = self.tracing.take() {
            tracing.closed(TraceChannel::Tls, &mut self.rx);
        }
    }

    /// The pending output, traced as a driver would.
    fn send(&mut self, shown: &mut Shown) -> Vec<u8> {
        let mut sent = Vec::new();
        for chunk in self.tx.chunks() {
            shown.debug(&chunk);
            sent.extend_from_slice(chunk.bytes);
        }
        self.tx.sent(sent.len());
        if let Some(tracing) = &mut self.tracing {
            tracing.received(TraceChannel::Tls, &mut self.rx);
            tracing.sent(TraceChannel::Tls, &mut self.tx);
        }
        shown.debug(&self.tx);
        sent
    }
}

/// Runs both sides until neither sends anything more. The wire carries pieces of `size` bytes.
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
        server.receive(&there, Cut::Every(size), shown);
        client.receive(&back, Cut::Every(size), shown);
    }
    panic!("{}: the sides never finish", shown.name);
}

/// Sends each line when the machine is idle, then closes the connection.
pub(crate) fn face<M, A>(side: &mut Side<M, A>, lines: &[&[u8]], cut: Cut, shown: &mut Shown)
where
    M: Machine + Debug,
    A: Application<M>,
{
    side.pump(shown);
    for line in lines {
        let sent = side.send(shown);
        shown.wire.extend(sent);
        side.receive(line, cut, shown);
    }
    side.rx.close();
    side.pump(shown);
    let sent = side.send(shown);
    shown.wire.extend(sent);
    side.end();
}
