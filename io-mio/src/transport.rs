//! One connection's octets: the socket, TLS where it is in place, and the two buffers that a machine sees.
//!
//! This file moves octets and knows which side of the TLS gate they belong to. It knows no protocol and no machine.
//!
//! # How the gate is kept
//!
//! * On cleartext everything that is read goes to `rx`, where the machine finds it: whatever came behind STARTTLS is
//!   seen by the machine, which makes it fatal, and never by TLS.
//! * [`Transport::begin_tls`] moves what is still to be said in cleartext into `tail`, and TLS writes nothing before `tail`
//!   has left in full: "220 ready" goes before every TLS octet by construction.
//! * What TLS decrypts reaches `rx` only after [`Transport::vouch`] was called, and that is the one place in the workspace
//!   where [`Secure::tls`] is.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr},
    sync::Arc,
    time::Instant,
};

use mio::net::TcpStream;
use proto_mail::{PeerError, RecvBuffer, Secure, SendBuffer, trace::Event};
use rustls::{Connection, pki_types::CertificateDer};

use crate::{
    Error, Protocol,
    tls::{self, DetectedProtocol, Seen, TlsError, TlsErrorKind, TlsInfo},
    trace::{ConnectionTrace, RecordItem, Role, Trace},
};

/// How much is read at once: at first, and at most.
const READ_AT_FIRST: usize = 8 * 1024;
const READ_AT_MOST: usize = 128 * 1024;
/// Read at once while the handshake is on: what TLS may hold back is more than this.
const READ_HANDSHAKE: usize = 8 * 1024;
/// How many pieces go into one system call.
const PIECES: usize = 64;
/// How much ciphertext may wait.
const WIRE_LIMIT: usize = 128 * 1024;

/// Memory to read ciphertext into, shared by all connections of a thread: it is empty between two calls.
pub(crate) type Scratch = Box<[u8]>;

pub(crate) fn scratch() -> Scratch {
    vec![0; 64 * 1024].into_boxed_slice()
}

/// What [`Transport::receive`] brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Something.
    Octets,
    /// Nothing for now.
    Nothing,
    /// The peer will send no more, and said so.
    End,
}

/// What a protocol calls itself, for advice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    name: &'static str,
    implicit: u16,
    starttls: u16,
}

impl Ports {
    pub(crate) const fn of<P: Protocol>() -> Self {
        Self { name: P::NAME, implicit: P::IMPLICIT_TLS_PORT, starttls: P::STARTTLS_PORT }
    }

    pub(crate) fn wrong_mode(self, found: DetectedProtocol) -> Error {
        Error::WrongTlsMode { found, hint: found.hint(self.name, self.implicit, self.starttls) }
    }
}

/// How TLS is begun, which decides what cleartext in its place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the first octet.
    Implicit,
    /// After STARTTLS.
    StartTls,
}

struct Tls {
    connection: Connection,
    /// A client's: the certificate that came.
    seen: Option<Seen>,
    begin: Begin,
    /// Whether anything of the peer's handshake came.
    begun: bool,
    /// Whether a machine speaks over it.
    vouched: bool,
    /// Whether the peer closed it in order.
    closed: bool,
}

/// A connection.
pub(crate) struct Transport {
    socket: TcpStream,
    ports: Ports,
    tls: Option<Box<Tls>>,
    pub(crate) rx: RecvBuffer,
    pub(crate) tx: SendBuffer,
    /// What was said in cleartext before TLS began and has not left yet.
    tail: SendBuffer,
    readable: bool,
    writable: bool,
    /// The peer is known to have closed: a short read does not mean that the next one would wait.
    read_closed: bool,
    /// The connection is known to be closed in both directions.
    hung_up: bool,
    read_size: usize,
    received: u64,
    sent: u64,
    trace: Option<Box<ConnectionTrace>>,
}

impl Transport {
    pub(crate) fn new(socket: TcpStream, ports: Ports) -> Self {
        // Each step is one write: waiting for more would only delay it.
        let _ = socket.set_nodelay(true);
        Self {
            socket,
            ports,
            tls: None,
            rx: RecvBuffer::new(),
            tx: SendBuffer::new(),
            tail: SendBuffer::new(),
            readable: false,
            writable: true,
            read_closed: false,
            hung_up: false,
            read_size: READ_AT_FIRST,
            received: 0,
            sent: 0,
            trace: None,
        }
    }

    /// Traces both directions, from before the machine has its buffers.
    pub(crate) fn trace(&mut self, trace: Box<dyn Trace>, role: Role, peer: SocketAddr, born: Instant) {
        let mut tracing = ConnectionTrace::new(trace, self.ports.name, role, born);
        tracing.attach(&mut self.rx, &mut self.tx);
        tracing.record(false, RecordItem::Connected(peer));
        self.trace = Some(Box::new(tracing));
    }

    /// Tells the trace, if there is one.
    fn record(&mut self, what: RecordItem<'_>) {
        let secured = self.is_secured();
        if let Some(trace) = &mut self.trace {
            trace.record(secured, what);
        }
    }

    /// Why the session is over.
    pub(crate) fn note(&mut self, why: &Error) {
        if self.trace.is_some() {
            self.take_trace();
            self.record(RecordItem::Note(&why.to_string()));
        }
    }

    fn is_secured(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.vouched)
    }

    /// What was read and what was sent since the last time goes into the trace, if there is one.
    fn take_trace(&mut self) {
        let secured = self.is_secured();
        if let Some(trace) = &mut self.trace {
            trace.received(secured, &mut self.rx);
            trace.sent(false, &mut self.tail);
            trace.sent(secured, &mut self.tx);
        }
    }

    /// This side's address.
    pub(crate) fn local_address(&self) -> Result<IpAddr, Error> {
        self.socket
            .local_addr()
            .map(|address| address.ip())
            .map_err(Error::io("asking for the local address"))
    }

    pub(crate) const fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// TLS came where cleartext was due.
    pub(crate) fn wrong_mode(&self) -> Error {
        self.ports.wrong_mode(DetectedProtocol::Tls)
    }

    /// Octets may be there of which nobody was told.
    pub(crate) const fn may_read(&mut self) {
        self.readable = true;
    }

    /// The poll says what is ready.
    pub(crate) fn ready(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_error();
        self.read_closed |= event.is_read_closed() || event.is_error();
        self.hung_up |= event.is_error() || event.is_read_closed() && event.is_write_closed();
    }

    /// Whether the peer is known to send nothing more, be it that some of what it sent was not read yet.
    pub(crate) const fn is_read_closed(&self) -> bool {
        self.read_closed
    }

    /// Whether the peer is known to be gone: it does not receive anything either.
    pub(crate) const fn is_hung_up(&self) -> bool {
        self.hung_up
    }

    /// Whether the peer has ended TLS without its closing alert, as far as that is known without reading: nothing is left
    /// to read in front of the end of the connection.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.closed) && matches!(self.socket.peek(&mut [0]), Ok(0))
    }

    /// Whether a read may bring something.
    pub(crate) const fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether something is to be sent, buffers of TLS included.
    pub(crate) fn has_output(&self) -> bool {
        !self.tx.is_empty()
            || !self.tail.is_empty()
            || self.tls.as_ref().is_some_and(|tls| tls.connection.wants_write())
    }

    /// Whether something is to be sent and the socket does not take it.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.writable && self.has_output()
    }

    /// How many octets of the wire came and went.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.received, self.sent)
    }

    /// Gives back the memory that an idle connection does not need.
    pub(crate) fn release(&mut self) {
        self.rx.release();
        self.tx.release();
        self.tail.release();
        self.read_size = READ_AT_FIRST;
    }

    /// From here on TLS is spoken. What is in `tx` still leaves in cleartext, before.
    ///
    /// # Errors
    /// `rx` is not empty: octets came in cleartext where only TLS may follow.
    pub(crate) fn begin_tls(
        &mut self,
        mut connection: Connection,
        seen: Option<Seen>,
        begin: Begin,
    ) -> Result<(), Error> {
        if !self.rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        connection.set_buffer_limit(Some(WIRE_LIMIT));
        self.take_trace();
        self.rx = RecvBuffer::new();
        self.tail = std::mem::take(&mut self.tx);
        if let Some(trace) = &self.trace {
            trace.attach(&mut self.rx, &mut self.tx);
        }
        let tls = Tls { connection, seen, begin, begun: false, vouched: false, closed: false };
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Whether the handshake is done and nobody speaks over it yet.
    pub(crate) fn handshake_done(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.vouched && !tls.connection.is_handshaking())
    }

    /// The handshake is done: what was negotiated, and the evidence for a machine. `own` is a server's own certificate.
    /// `None` if there is nothing to vouch for.
    pub(crate) fn vouch(&mut self, own: Option<&CertificateDer<'_>>) -> Option<(Secure, Arc<TlsInfo>)> {
        let tls = self.tls.as_mut().filter(|tls| !tls.vouched && !tls.connection.is_handshaking())?;
        tls.vouched = true;
        let info = Arc::new(TlsInfo::of(&tls.connection));
        let secure = Secure::tls(tls::binding(&tls.connection, own));
        let anybody = tls.seen.as_ref().is_some_and(|seen| seen.anybody);
        let secure = if anybody { secure.unverified() } else { secure };
        // Without randomness the session does without the mechanisms that need a nonce.
        let secure = match tls::seed() {
            Some(seed) => secure.with_seed(seed),
            None => secure,
        };
        if self.trace.is_some() {
            self.record(RecordItem::Event(&Event::TlsStarted));
            self.record(RecordItem::Note(&format!("{} {}", info.version, info.cipher)));
        }
        Some((secure, info))
    }

    /// Moves what came with the last octets of the handshake to `rx`, once the machine is in place.
    pub(crate) fn open(&mut self) -> Result<(), Error> {
        let Some(tls) = self.tls.as_mut().filter(|tls| tls.vouched) else { return Ok(()) };
        let state = tls.connection.process_new_packets().map_err(|error| tls.failed(&error))?;
        let count = state.plaintext_bytes_to_read();
        take_plaintext(tls, &mut self.rx, count)
    }

    /// The certificate that came, whether it was accepted or not.
    pub(crate) fn certificate_seen(&self) -> Option<Arc<tls::Certificate>> {
        self.tls.as_ref()?.seen.as_ref().and_then(Seen::certificate)
    }

    /// Reads once.
    ///
    /// # Errors
    /// The connection or TLS broke; the peer cut TLS off without its closing alert; what came first is of the wrong
    /// mode.
    pub(crate) fn receive(&mut self, scratch: &mut Scratch) -> Result<Received, Error> {
        let first = self.received == 0;
        let result = if self.tls.is_some() { self.receive_tls(scratch) } else { self.receive_clear() };
        if first && self.tls.is_none() && DetectedProtocol::of(self.rx.bytes()) == Some(DetectedProtocol::Tls)
        {
            return Err(self.wrong_mode());
        }
        result
    }

    fn receive_clear(&mut self) -> Result<Received, Error> {
        let spare = self.rx.spare_mut(self.read_size);
        let room = spare.len();
        let count = match read(&mut self.socket, spare)? {
            None => {
                self.readable = false;
                return Ok(Received::Nothing);
            }
            Some(0) => {
                self.rx.close();
                return Ok(Received::End);
            }
            Some(count) => count,
        };
        self.rx.filled(count);
        self.took(count, room);
        Ok(Received::Octets)
    }

    fn receive_tls(&mut self, scratch: &mut Scratch) -> Result<Received, Error> {
        let Some(tls) = &mut self.tls else { return Ok(Received::Nothing) };
        if tls.closed {
            self.rx.close();
            return Ok(Received::End);
        }
        let room = if tls.vouched { scratch.len() } else { READ_HANDSHAKE.min(scratch.len()) };
        let count = match read(&mut self.socket, &mut scratch[..room])? {
            None => {
                self.readable = false;
                return Ok(Received::Nothing);
            }
            Some(0) if tls.vouched => return Err(PeerError::Truncated.into()),
            Some(0) => {
                let certificate = tls.seen.as_ref().and_then(Seen::certificate);
                return Err(TlsError { kind: TlsErrorKind::Closed, certificate }.into());
            }
            Some(count) => count,
        };
        let input = &scratch[..count];
        if !tls.begun {
            tls.begun = true;
            match DetectedProtocol::of(input) {
                Some(DetectedProtocol::Tls) | None => {}
                Some(_) if tls.begin == Begin::StartTls => {
                    return Err(PeerError::PlaintextAfterStartTls.into());
                }
                Some(found) => return Err(self.ports.wrong_mode(found)),
            }
        }
        let plaintext = decrypt(tls, input, &mut self.rx);
        let closed = tls.closed;
        self.took(count, room);
        // The end is news of its own, and no further event will bring it.
        self.readable |= closed;
        plaintext.map(|()| Received::Octets)
    }

    /// Counts what was read and learns from it how much to ask for the next time.
    fn took(&mut self, count: usize, room: usize) {
        self.received += count as u64;
        if count == room {
            self.read_size = (self.read_size * 2).min(READ_AT_MOST);
        } else if !self.read_closed {
            // The socket ran empty; whatever comes from now on raises a new event.
            self.readable = false;
        }
    }

    /// Sends what the socket takes.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn transmit(&mut self) -> Result<(), Error> {
        let sent = self.transmit_octets();
        self.take_trace();
        sent
    }

    fn transmit_octets(&mut self) -> Result<(), Error> {
        if self.tls.is_some() {
            while self.writable && !self.tail.is_empty() {
                let step = send_clear(&mut self.socket, &mut self.tail)?;
                self.left(step);
            }
            self.transmit_tls()
        } else {
            while self.writable && !self.tx.is_empty() {
                let step = send_clear(&mut self.socket, &mut self.tx)?;
                self.left(step);
            }
            Ok(())
        }
    }

    fn transmit_tls(&mut self) -> Result<(), Error> {
        while self.writable && self.tail.is_empty() {
            let Some(tls) = &mut self.tls else { return Ok(()) };
            if tls.vouched && !self.tx.is_empty() {
                let count = encrypt(tls, &self.tx)?;
                self.tx.sent(count);
            }
            if !tls.connection.wants_write() {
                return Ok(());
            }
            let step = match tls.connection.write_tls(&mut self.socket) {
                Ok(count) => Some(count),
                Err(error) if waits(&error) => None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io("sending")(error)),
            };
            self.left(step);
        }
        Ok(())
    }

    fn left(&mut self, step: Option<usize>) {
        match step {
            Some(count) => self.sent += count as u64,
            None => self.writable = false,
        }
    }

    /// Says under TLS that nothing more will come. What is in `tx` still goes before it.
    pub(crate) fn say_end(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        if tls.vouched && !self.tx.is_empty() {
            // The alert must not overtake: what TLS does not take now is handed to it without a limit.
            tls.connection.set_buffer_limit(None);
            while let Ok(count @ 1..) = encrypt(tls, &self.tx) {
                self.tx.sent(count);
            }
        }
        tls.connection.send_close_notify();
        self.take_trace();
    }

    /// Closes our direction of the socket.
    pub(crate) fn shut(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Reads and forgets, so that closing does not destroy what the peer has not read yet.
    pub(crate) fn discard(&mut self, scratch: &mut Scratch) -> Received {
        match read(&mut self.socket, scratch) {
            Ok(Some(0)) | Err(_) => Received::End,
            Ok(Some(_)) => Received::Octets,
            Ok(None) => Received::Nothing,
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.take_trace();
        let secured = self.is_secured();
        if let Some(trace) = &mut self.trace {
            trace.closed(secured, &mut self.rx);
        }
    }
}

impl Tls {
    fn failed(&self, error: &rustls::Error) -> Error {
        TlsError::new(error, self.seen.as_ref().and_then(Seen::certificate)).into()
    }
}

/// Hands ciphertext to TLS piece by piece and what it decrypts to `rx`.
fn decrypt(tls: &mut Tls, mut input: &[u8], rx: &mut RecvBuffer) -> Result<(), Error> {
    while !input.is_empty() && !tls.closed {
        tls.connection.read_tls(&mut input).map_err(Error::io("receiving"))?;
        let state = tls.connection.process_new_packets().map_err(|error| tls.failed(&error))?;
        if tls.vouched {
            let count = state.plaintext_bytes_to_read();
            take_plaintext(tls, rx, count)?;
        }
        tls.closed |= state.peer_has_closed();
    }
    Ok(())
}

fn take_plaintext(tls: &mut Tls, rx: &mut RecvBuffer, count: usize) -> Result<(), Error> {
    if count > 0 {
        let spare = rx.spare_mut(count);
        tls.connection.reader().read_exact(&mut spare[..count]).map_err(Error::io("receiving"))?;
        rx.filled(count);
    }
    Ok(())
}

fn encrypt(tls: &mut Tls, tx: &SendBuffer) -> Result<usize, Error> {
    let (pieces, count) = pieces(tx);
    tls.connection.writer().write_vectored(&pieces[..count]).map_err(Error::io("sending"))
}

fn pieces(tx: &SendBuffer) -> ([IoSlice<'_>; PIECES], usize) {
    let mut pieces = [IoSlice::new(&[]); PIECES];
    let mut count = 0;
    for (piece, chunk) in pieces.iter_mut().zip(tx.chunks()) {
        *piece = IoSlice::new(chunk.bytes);
        count += 1;
    }
    (pieces, count)
}

fn send_clear(socket: &mut TcpStream, tx: &mut SendBuffer) -> Result<Option<usize>, Error> {
    let (pieces, used) = pieces(tx);
    match socket.write_vectored(&pieces[..used]) {
        Ok(0) => Err(Error::io("sending")(io::ErrorKind::WriteZero.into())),
        Ok(count) => {
            tx.sent(count);
            Ok(Some(count))
        }
        Err(error) if waits(&error) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
        Err(error) => Err(Error::io("sending")(error)),
    }
}

fn read(socket: &mut TcpStream, into: &mut [u8]) -> Result<Option<usize>, Error> {
    loop {
        match socket.read(into) {
            Ok(count) => return Ok(Some(count)),
            Err(error) if waits(&error) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("receiving")(error)),
        }
    }
}

fn waits(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
