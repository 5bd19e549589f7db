//! The records of a wire trace.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use proto_mail::{
    RecvBuffer, SendBuffer,
    trace::{Event, TraceKind},
};

use crate::address::Address;

/// Receives the records of one connection.
pub trait Trace: Send {
    /// Receives a record.
    fn record(&mut self, record: &TraceRecord<'_>);

    /// Returns how many bytes of a line or literal are shown. The rest is only counted. Default: 1024.
    fn line_limit(&self) -> usize {
        1024
    }
}

/// Creates a trace for each connection.
pub type Tracer = dyn Fn() -> Box<dyn Trace> + Send + Sync;

/// The role of this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// This side is the client.
    Client,
    /// This side is the server.
    Server,
}

/// The channel on which bytes passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TraceChannel {
    /// Bytes pass as they are.
    Cleartext,
    /// Bytes pass under TLS.
    Tls,
}

/// One record of a trace.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TraceRecord<'r> {
    /// The number of the connection in this process.
    pub connection: u64,
    /// The protocol: `imap`, `smtp`.
    pub protocol: &'static str,
    /// The role of this side.
    pub role: Role,
    /// The time since the connection was opened.
    pub at: Duration,
    /// The channel at that time.
    pub channel: TraceChannel,
    /// What happened.
    pub item: RecordItem<'r>,
}

/// What happened on a connection.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum RecordItem<'r> {
    /// The connection to or from this address is established.
    Connected(&'r Address),
    /// Bytes passed, TLS started, or the connection ended.
    Event(&'r Event),
    /// A note: what TLS negotiated, or why a connection was closed. It contains no secret, but may contain a name or an
    /// address.
    Note(&'r str),
}

/// The trace of one connection, with what all of its records have in common.
pub struct ConnectionTrace {
    trace: Box<dyn Trace>,
    opened_at: Instant,
    connection: u64,
    protocol: &'static str,
    role: Role,
}

impl ConnectionTrace {
    /// The trace of a connection that was opened at this moment, for drivers outside of this crate. It gets a number of its
    /// own in this process.
    #[must_use]
    pub fn new(trace: Box<dyn Trace>, protocol: &'static str, role: Role, opened_at: Instant) -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        Self { trace, opened_at, connection, protocol, role }
    }

    /// Turns tracing on in both buffers.
    pub fn attach(&self, rx: &mut RecvBuffer, tx: &mut SendBuffer) {
        rx.trace(self.trace.line_limit());
        tx.trace(self.trace.line_limit());
    }

    /// Records what the machine has parsed.
    pub fn received(&mut self, channel: TraceChannel, rx: &mut RecvBuffer) {
        for what in rx.take_trace() {
            self.record(channel, RecordItem::Event(&Event::Received(what)));
        }
    }

    /// Records what was sent.
    pub fn sent(&mut self, channel: TraceChannel, tx: &mut SendBuffer) {
        for what in tx.take_trace() {
            self.record(channel, RecordItem::Event(&Event::Sent(what)));
        }
    }

    /// Records the end of the connection. Unparsed input is only counted.
    pub fn closed(&mut self, channel: TraceChannel, rx: &mut RecvBuffer) {
        rx.trace_span(rx.len(), TraceKind::Unknown);
        self.received(channel, rx);
        self.record(channel, RecordItem::Event(&Event::Closed));
    }

    /// Records something else.
    pub fn record(&mut self, channel: TraceChannel, what: RecordItem<'_>) {
        let Self { connection, protocol, role, .. } = *self;
        let at = self.opened_at.elapsed();
        self.trace.record(&TraceRecord { connection, protocol, role, at, channel, item: what });
    }
}

impl fmt::Debug for ConnectionTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionTrace").field("connection", &self.connection).finish_non_exhaustive()
    }
}
