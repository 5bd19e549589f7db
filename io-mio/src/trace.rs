//! The wire trace: the whole conversation with its times, safe to paste.
//!
//! What may be shown is decided where octets are understood and where they are queued: see [`proto_mail::trace`]. This
//! file adds who, when and whether TLS was in place. How a trace is written is in [`TraceWriter`].

mod writer;

use std::{
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use proto_mail::{
    RecvBuffer, SendBuffer,
    trace::{Event, TraceKind},
};

pub use self::writer::{NameVisibility, TraceFormat, TraceWriter};

/// Takes the records of one connection.
pub trait Trace: Send {
    /// Something passed, or happened.
    fn record(&mut self, record: &TraceRecord<'_>);

    /// How many octets of a line, or of a literal, are shown: the rest is only counted.
    fn line_limit(&self) -> usize {
        1024
    }
}

/// Makes a trace for each connection.
pub(crate) type Tracer = dyn Fn() -> Box<dyn Trace> + Send + Sync;

/// Who speaks here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// This side is the client.
    Client,
    /// This side is the server.
    Server,
}

/// One record of a trace.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TraceRecord<'r> {
    /// On which connection of this process.
    pub connection: u64,
    /// In which protocol: `imap`, `smtp`.
    pub protocol: &'static str,
    /// As whom.
    pub role: Role,
    /// When, since the connection was begun.
    pub at: Duration,
    /// Whether TLS was in place.
    pub secured: bool,
    /// What.
    pub item: RecordItem<'r>,
}

/// What a record is of.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum RecordItem<'r> {
    /// The connection to or from this address stands.
    Connected(SocketAddr),
    /// Octets passed, TLS began, or the connection is over.
    Event(&'r Event),
    /// Words on what happened: which TLS it is, or why a connection was closed. They hold no secret; they may hold a
    /// name or an address.
    Note(&'r str),
}

/// The trace of one connection, and everything that its records say alike.
pub struct ConnectionTrace {
    trace: Box<dyn Trace>,
    born: Instant,
    connection: u64,
    protocol: &'static str,
    role: Role,
}

impl ConnectionTrace {
    /// The trace of a connection that was begun at this moment: for whoever drives a machine by hand. It gets a number
    /// of its own in this process.
    #[must_use]
    pub fn new(trace: Box<dyn Trace>, protocol: &'static str, role: Role, born: Instant) -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        Self { trace, born, connection, protocol, role }
    }

    /// From here on both buffers tell what they know.
    pub fn attach(&self, rx: &mut RecvBuffer, tx: &mut SendBuffer) {
        rx.trace(self.trace.line_limit());
        tx.trace(self.trace.line_limit());
    }

    /// Takes what the machine has understood.
    pub fn received(&mut self, secured: bool, rx: &mut RecvBuffer) {
        for what in rx.take_trace() {
            self.record(secured, RecordItem::Event(&Event::Received(what)));
        }
    }

    /// Takes what was sent.
    pub fn sent(&mut self, secured: bool, tx: &mut SendBuffer) {
        for what in tx.take_trace() {
            self.record(secured, RecordItem::Event(&Event::Sent(what)));
        }
    }

    /// Nothing more will be read: what was not understood is counted.
    pub fn closed(&mut self, secured: bool, rx: &mut RecvBuffer) {
        rx.trace_span(rx.len(), TraceKind::Unknown);
        self.received(secured, rx);
        self.record(secured, RecordItem::Event(&Event::Closed));
    }

    /// Something else happened.
    pub fn record(&mut self, secured: bool, what: RecordItem<'_>) {
        let Self { connection, protocol, role, .. } = *self;
        let at = self.born.elapsed();
        self.trace.record(&TraceRecord { connection, protocol, role, at, secured, item: what });
    }
}

impl fmt::Debug for ConnectionTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionTrace").field("connection", &self.connection).finish_non_exhaustive()
    }
}
