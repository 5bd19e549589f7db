//! The bytes of one connection: the socket, TLS if it is in place, and the two buffers of a machine.
//!
//! `tls_gate.rs` holds the switch from cleartext to TLS, `tls.rs` the TLS connection, and `compression.rs` the layer
//! between TLS and the machine's buffers.

#[cfg(feature = "compression")]
pub mod compression;
#[cfg(not(feature = "compression"))]
#[path = "without_compression.rs"]
mod compression;
mod slices;
mod tls;
mod tls_gate;

use std::{io, net::IpAddr, sync::Arc, time::Instant};

use proto_mail::{PeerError, RecvBuffer, SendBuffer};

pub use self::tls::TlsStart;
use self::{
    compression::{Compression, OutputLimit},
    slices::io_slices,
    tls::{Tls, decrypt, encrypt},
};
use crate::{
    address::Address,
    error::Error,
    protocol::ports::ProtocolPorts,
    server::output_filter::FilterLayer,
    stream::{Readiness, Stream},
    tls::{certificate::Certificate, detect::DetectedProtocol, error::TlsError},
    trace::record::{ConnectionTrace, RecordItem, Role, Trace, TraceChannel},
};

/// The number of bytes of waiting output below which a handler or closure is asked for more.
pub const LOW_WATER: usize = 64 * 1024;
/// How much is read at once: at first, and at most.
const MIN_READ: usize = 8 * 1024;
const MAX_READ: usize = 128 * 1024;
/// How much is read at once during the handshake. rustls can buffer more than this.
const HANDSHAKE_READ: usize = 8 * 1024;
/// How much ciphertext may wait to be sent.
const CIPHERTEXT_LIMIT: usize = 128 * 1024;

/// A buffer for ciphertext, shared by all connections of a thread. It is empty between two calls.
pub type ReadBuffer = Box<[u8]>;

/// Returns a buffer of 64 KiB.
pub fn read_buffer() -> ReadBuffer {
    vec![0; 64 * 1024].into_boxed_slice()
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Bytes were received.
    Bytes,
    /// The socket has no bytes now.
    WouldBlock,
    /// The peer closed its direction in order.
    Closed,
}

/// The bytes of one connection.
pub struct Transport<S> {
    socket: S,
    ports: ProtocolPorts,
    tls: Option<Box<Tls>>,
    compression: Option<Box<Compression>>,
    filter: Option<Box<FilterLayer>>,
    /// What was received, for the machine.
    pub rx: RecvBuffer,
    /// What the machine sends.
    pub tx: SendBuffer,
    /// Cleartext from before TLS that has not been sent yet.
    cleartext_tail: SendBuffer,
    readable: bool,
    writable: bool,
    /// The poll reported that the peer closed its direction: a short read does not mean that the socket is empty.
    read_closed: bool,
    /// The poll reported that both directions are closed.
    hung_up: bool,
    read_size: usize,
    received: u64,
    sent: u64,
    trace: Option<Box<ConnectionTrace>>,
}

impl<S: Stream> Transport<S> {
    /// Wraps a connected socket.
    pub fn new(socket: S, ports: ProtocolPorts) -> Self {
        // Each step is one write already: Nagle's algorithm would only delay it.
        socket.set_nodelay();
        Self {
            socket,
            ports,
            tls: None,
            compression: None,
            filter: None,
            rx: RecvBuffer::new(),
            tx: SendBuffer::new(),
            cleartext_tail: SendBuffer::new(),
            readable: false,
            writable: true,
            read_closed: false,
            hung_up: false,
            read_size: MIN_READ,
            received: 0,
            sent: 0,
            trace: None,
        }
    }

    /// Traces both directions. Call it before the machine uses the buffers.
    pub fn trace(&mut self, trace: Box<dyn Trace>, role: Role, peer: &Address, opened_at: Instant) {
        let mut tracing = ConnectionTrace::new(trace, self.ports.name, role, opened_at);
        tracing.attach(&mut self.rx, &mut self.tx);
        tracing.record(TraceChannel::Cleartext, RecordItem::Connected(peer));
        self.trace = Some(Box::new(tracing));
    }

    /// Has a filter change what the machine sends. Call it before the machine uses the buffers.
    pub(crate) fn filter_output(&mut self, filter: Option<Box<FilterLayer>>) {
        self.filter = filter;
    }

    /// Filters what the machine has queued.
    fn run_filter(&mut self) {
        if let Some(filter) = &mut self.filter {
            filter.run(&mut self.tx);
        }
    }

    /// Records why the session ended.
    pub fn note(&mut self, why: &Error) {
        if self.trace.is_some() {
            self.take_trace();
            self.record(RecordItem::Note(&why.to_string()));
        }
    }

    /// Returns this side's IP address.
    pub fn local_ip(&self) -> Result<IpAddr, Error> {
        self.socket
            .local_address()
            .map(|address| address.ip())
            .map_err(Error::io("asking for the local address"))
    }

    /// Returns the socket.
    pub const fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Returns the error of a client's session whose machine failed, with what was received where the machine's own error
    /// says too little: the server's first line, or TLS where cleartext was expected.
    pub fn explain(&self, error: proto_mail::Error) -> Error {
        match error {
            proto_mail::Error::Peer(PeerError::TlsInCleartext) => self.wrong_mode(),
            proto_mail::Error::Peer(PeerError::InvalidGreeting) if !self.rx.is_empty() => {
                let received = self.rx.bytes();
                let end = received.iter().position(|byte| *byte == b'\n').unwrap_or(received.len());
                Error::InvalidGreeting { line: last_line(received.get(..end).unwrap_or_default()) }
            }
            error => error.into(),
        }
    }

    /// Returns the last line that was received and not processed yet, without its line end; at most 1,000 bytes. Both
    /// protocols give the reason of a refused STARTTLS there.
    pub fn last_received_line(&self) -> String {
        last_line(self.rx.bytes())
    }

    /// The error for TLS where cleartext was expected.
    fn wrong_mode(&self) -> Error {
        self.ports.wrong_mode(DetectedProtocol::Tls)
    }

    /// Reads on the next turn, although the poll reported nothing.
    pub const fn may_read(&mut self) {
        self.readable = true;
    }

    /// Notes what the driver knows about the socket.
    pub const fn ready(&mut self, readiness: Readiness) {
        self.readable |= readiness.readable;
        self.writable |= readiness.writable;
        self.read_closed |= readiness.read_closed;
        self.hung_up |= readiness.hung_up;
    }

    /// Whether the peer closed its direction. Some of what it sent may still be unread.
    pub const fn is_read_closed(&self) -> bool {
        self.read_closed
    }

    /// Whether the peer closed both directions.
    pub const fn is_hung_up(&self) -> bool {
        self.hung_up
    }

    /// Whether the peer has closed TLS without an alert, as far as that is known without reading: nothing is left to read
    /// before the end of the connection.
    pub fn is_cut_off(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_closed) && matches!(self.socket.peek(&mut [0]), Ok(0))
    }

    /// Whether a read may return bytes.
    pub const fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether output waits to be sent, in the buffers of TLS too.
    pub fn has_output(&self) -> bool {
        !self.tx.is_empty()
            || !self.cleartext_tail.is_empty()
            || self.compression.as_ref().is_some_and(|layer| !layer.output.is_empty())
            || self.tls.as_ref().is_some_and(|tls| tls.connection.wants_write())
    }

    /// Whether output waits and the socket does not accept it.
    pub fn is_blocked(&self) -> bool {
        !self.writable && self.has_output()
    }

    /// Returns how many bytes were received and sent on the wire.
    pub const fn counts(&self) -> (u64, u64) {
        (self.received, self.sent)
    }

    /// Frees the memory that an idle connection does not need.
    pub fn release(&mut self) {
        self.rx.release();
        self.tx.release();
        self.cleartext_tail.release();
        if let Some(layer) = &mut self.compression {
            layer.received.release();
            layer.output.release();
        }
        self.read_size = MIN_READ;
    }

    /// Returns the server's certificate, accepted or not.
    pub fn observed_certificate(&self) -> Option<Arc<Certificate>> {
        self.tls.as_ref()?.certificates.observed()
    }

    /// Reads once.
    ///
    /// # Errors
    /// The connection or TLS broke; the peer closed without a TLS alert; the first bytes are of the wrong TLS mode.
    pub fn receive(&mut self, buffer: &mut ReadBuffer) -> Result<Received, Error> {
        self.start_compression();
        if self.compression.as_ref().is_some_and(|layer| layer.is_pending) {
            self.decompress()?;
            return Ok(Received::Bytes);
        }
        let first = self.received == 0;
        let result = if self.tls.is_some() { self.receive_tls(buffer) } else { self.receive_cleartext() };
        if matches!(result, Ok(Received::Bytes)) {
            self.decompress()?;
        }
        if first && self.tls.is_none() && DetectedProtocol::of(self.rx.bytes()) == Some(DetectedProtocol::Tls)
        {
            return Err(self.wrong_mode());
        }
        result
    }

    fn receive_cleartext(&mut self) -> Result<Received, Error> {
        let input = input(&mut self.compression, &mut self.rx);
        let spare = input.spare_mut(self.read_size);
        let room = spare.len();
        let count = match read(&mut self.socket, spare)? {
            None => {
                self.readable = false;
                return Ok(Received::WouldBlock);
            }
            Some(0) => {
                self.rx.close();
                return Ok(Received::Closed);
            }
            Some(count) => count,
        };
        input.filled(count);
        self.note_received(count, room);
        Ok(Received::Bytes)
    }

    fn receive_tls(&mut self, buffer: &mut ReadBuffer) -> Result<Received, Error> {
        let Some(tls) = &mut self.tls else { return Ok(Received::WouldBlock) };
        if tls.is_closed {
            self.rx.close();
            return Ok(Received::Closed);
        }
        let room = if tls.is_open { buffer.len() } else { HANDSHAKE_READ.min(buffer.len()) };
        let count = match read(&mut self.socket, &mut buffer[..room])? {
            None => {
                self.readable = false;
                return Ok(Received::WouldBlock);
            }
            Some(0) if tls.is_open => return Err(PeerError::Truncated.into()),
            Some(0) => {
                return Err(TlsError::closed(tls.certificates.observed()).into());
            }
            Some(count) => count,
        };
        let ciphertext = &buffer[..count];
        if !tls.has_received {
            tls.has_received = true;
            match DetectedProtocol::of(ciphertext) {
                Some(DetectedProtocol::Tls) | None => {}
                Some(_) if tls.start == TlsStart::StartTls => {
                    return Err(PeerError::PlaintextAfterStartTls.into());
                }
                Some(found) => return Err(self.ports.wrong_mode(found)),
            }
        }
        let plaintext = decrypt(tls, ciphertext, input(&mut self.compression, &mut self.rx));
        let closed = tls.is_closed;
        self.note_received(count, room);
        // The next read reports the end; the poll raises no further event for it.
        self.readable |= closed;
        plaintext.map(|()| Received::Bytes)
    }

    /// Counts what was read and adapts the size of the next read.
    fn note_received(&mut self, count: usize, room: usize) {
        self.received += count as u64;
        if count == room {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        } else if !self.read_closed {
            // The socket is empty: new bytes raise a new event.
            self.readable = false;
        }
    }

    /// Sends what the socket accepts.
    ///
    /// # Errors
    /// The connection broke.
    pub fn transmit(&mut self) -> Result<(), Error> {
        self.run_filter();
        self.start_compression();
        let sent = self.transmit_pending();
        self.take_trace();
        sent
    }

    fn transmit_pending(&mut self) -> Result<(), Error> {
        if self.tls.is_some() {
            while self.writable && !self.cleartext_tail.is_empty() {
                let step = send_cleartext(&mut self.socket, &mut self.cleartext_tail)?;
                self.note_sent(step);
            }
            self.transmit_tls()
        } else {
            loop {
                self.compress(OutputLimit::Usual)?;
                let output = output(&mut self.compression, &mut self.tx);
                if !self.writable || output.is_empty() {
                    return Ok(());
                }
                let step = send_cleartext(&mut self.socket, output)?;
                self.note_sent(step);
            }
        }
    }

    fn transmit_tls(&mut self) -> Result<(), Error> {
        while self.writable && self.cleartext_tail.is_empty() {
            self.compress(OutputLimit::Usual)?;
            let Some(tls) = &mut self.tls else { return Ok(()) };
            let output = output(&mut self.compression, &mut self.tx);
            if tls.is_open && !output.is_empty() {
                let count = encrypt(tls, output)?;
                output.sent(count);
            }
            if !tls.connection.wants_write() {
                return Ok(());
            }
            let step = match tls.connection.write_tls(&mut self.socket) {
                Ok(count) => Some(count),
                Err(error) if would_block(&error) => None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io("sending")(error)),
            };
            self.note_sent(step);
        }
        Ok(())
    }

    fn note_sent(&mut self, step: Option<usize>) {
        match step {
            Some(count) => self.sent += count as u64,
            None => self.writable = false,
        }
    }

    /// Queues the closing alert of TLS, behind what is in `tx`.
    pub fn send_close_notify(&mut self) {
        self.run_filter();
        let compressed = self.compress(OutputLimit::None);
        let Some(tls) = &mut self.tls else { return };
        let output = output(&mut self.compression, &mut self.tx);
        if tls.is_open && compressed.is_ok() && !output.is_empty() {
            // The alert must not overtake output: hand everything to TLS, without a limit.
            tls.connection.set_buffer_limit(None);
            while let Ok(count @ 1..) = encrypt(tls, output) {
                output.sent(count);
            }
        }
        tls.connection.send_close_notify();
        self.take_trace();
    }

    /// Creates the compression layer if the machine has marked a start.
    fn start_compression(&mut self) {
        if !self.rx.is_compression_due() && self.tx.uncompressed_len().is_none() {
            return;
        }
        let layer = self.compression.get_or_insert_with(|| Box::new(Compression::new()));
        layer.start_input(&mut self.rx);
        // The next read decompresses, although the socket may have nothing.
        self.readable |= layer.is_pending;
    }

    /// Decompresses what was received, up to the limit for one read.
    fn decompress(&mut self) -> Result<(), Error> {
        let Some(layer) = self.compression.as_mut().filter(|layer| layer.decompresses()) else {
            return Ok(());
        };
        layer.decompress(&mut self.rx)?;
        self.readable |= layer.is_pending;
        Ok(())
    }

    /// Compresses the machine's output, if the session is compressed.
    fn compress(&mut self, limit: OutputLimit) -> Result<(), Error> {
        self.compression.as_mut().map_or(Ok(()), |layer| layer.compress(&mut self.tx, limit))
    }

    /// Returns whether the session is compressed.
    pub const fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }

    /// Closes this side's direction of the socket.
    pub fn shutdown_write(&mut self) {
        self.socket.shutdown_write();
    }

    /// Reads and discards: unread input would make the closing socket reset the connection and destroy output.
    pub fn discard(&mut self, buffer: &mut ReadBuffer) -> Received {
        match read(&mut self.socket, buffer) {
            Ok(Some(0)) | Err(_) => Received::Closed,
            Ok(Some(_)) => Received::Bytes,
            Ok(None) => Received::WouldBlock,
        }
    }
}

impl<S> Transport<S> {
    /// Adds a record to the trace, if there is one.
    fn record(&mut self, what: RecordItem<'_>) {
        let channel = self.trace_channel();
        if let Some(trace) = &mut self.trace {
            trace.record(channel, what);
        }
    }

    fn trace_channel(&self) -> TraceChannel {
        match &self.tls {
            Some(tls) if tls.is_open => TraceChannel::Tls,
            _ => TraceChannel::Cleartext,
        }
    }

    /// Moves what was read and sent since the last call into the trace, if there is one.
    fn take_trace(&mut self) {
        let channel = self.trace_channel();
        if let Some(trace) = &mut self.trace {
            trace.received(channel, &mut self.rx);
            trace.sent(TraceChannel::Cleartext, &mut self.cleartext_tail);
            trace.sent(channel, &mut self.tx);
        }
    }
}

impl<S> Drop for Transport<S> {
    fn drop(&mut self) {
        self.take_trace();
        let channel = self.trace_channel();
        if let Some(trace) = &mut self.trace {
            trace.closed(channel, &mut self.rx);
        }
    }
}

/// Returns where received bytes go: to the machine, or to the compression layer.
fn input<'b>(compression: &'b mut Option<Box<Compression>>, rx: &'b mut RecvBuffer) -> &'b mut RecvBuffer {
    match compression {
        Some(layer) if layer.decompresses() => &mut layer.received,
        _ => rx,
    }
}

/// Returns what is sent: the machine's output, or what the compression layer has made of it.
fn output<'b>(compression: &'b mut Option<Box<Compression>>, tx: &'b mut SendBuffer) -> &'b mut SendBuffer {
    match compression {
        Some(layer) => &mut layer.output,
        None => tx,
    }
}

fn send_cleartext(socket: &mut impl Stream, tx: &mut SendBuffer) -> Result<Option<usize>, Error> {
    let (slices, used) = io_slices(tx);
    match socket.write_vectored(&slices[..used]) {
        Ok(0) => Err(Error::io("sending")(io::ErrorKind::WriteZero.into())),
        Ok(count) => {
            tx.sent(count);
            Ok(Some(count))
        }
        Err(error) if would_block(&error) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
        Err(error) => Err(Error::io("sending")(error)),
    }
}

fn read(socket: &mut impl Stream, into: &mut [u8]) -> Result<Option<usize>, Error> {
    loop {
        match socket.read(into) {
            Ok(count) => return Ok(Some(count)),
            Err(error) if would_block(&error) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("receiving")(error)),
        }
    }
}

fn last_line(received: &[u8]) -> String {
    const MAX_LEN: usize = 1000;
    let received = received.trim_ascii_end();
    let line = received.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line.get(..MAX_LEN).unwrap_or(line)).into_owned()
}

fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
