//! The TLS gate of a connection: switches from cleartext to TLS, and creates the evidence of a finished handshake.
//!
//! * On cleartext, everything that is read goes to `rx`. Bytes after STARTTLS therefore reach the machine, which ends the
//!   session, and never TLS.
//! * [`Transport::begin_client_tls`] and [`Transport::begin_server_tls`] move unsent cleartext into `cleartext_tail`. TLS
//!   writes nothing until that has been sent, so that the reply to STARTTLS precedes every byte of TLS.
//! * Decrypted bytes reach `rx` only after [`Transport::finish_handshake`], which is the only place in the workspace that
//!   calls [`Secure::tls`].

use std::sync::Arc;

use proto_mail::{PeerError, RecvBuffer, Secure, trace::Event};
use rustls::Connection;

use super::{
    CIPHERTEXT_LIMIT, Transport,
    tls::{Certificates, Tls, TlsStart, take_plaintext},
};
use crate::{
    error::Error,
    stream::Stream,
    tls::{
        client::{HandshakeNames, TlsClientConfig},
        info::{self, TlsInfo},
        server::TlsServerConfig,
    },
    trace::record::RecordItem,
};

impl<S: Stream> Transport<S> {
    /// Switches to TLS with a server. What is in `tx` is still sent in cleartext, before.
    ///
    /// # Errors
    /// `rx` is not empty: the server sent cleartext where only TLS may follow. A name cannot be one of a certificate.
    pub fn begin_client_tls(
        &mut self,
        tls: &TlsClientConfig,
        names: &HandshakeNames,
        start: TlsStart,
    ) -> Result<(), Error> {
        let (connection, observed) = tls.connect(names)?;
        self.begin_tls(connection, Certificates::Client(observed), start)
    }

    /// Switches to TLS with a client. What is in `tx` is still sent in cleartext, before.
    ///
    /// # Errors
    /// `rx` is not empty: the client sent cleartext where only TLS may follow.
    pub fn begin_server_tls(&mut self, tls: &TlsServerConfig, start: TlsStart) -> Result<(), Error> {
        let (connection, presented) = tls.accept()?;
        self.begin_tls(connection, Certificates::Server(presented), start)
    }

    /// Switches to TLS. What is in `tx` is still sent in cleartext, before.
    ///
    /// # Errors
    /// `rx` is not empty: the peer sent cleartext where only TLS may follow.
    fn begin_tls(
        &mut self,
        mut connection: Connection,
        certificates: Certificates,
        start: TlsStart,
    ) -> Result<(), Error> {
        if !self.rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        connection.set_buffer_limit(Some(CIPHERTEXT_LIMIT));
        self.take_trace();
        self.rx = RecvBuffer::new();
        self.cleartext_tail = std::mem::take(&mut self.tx);
        if let Some(trace) = &self.trace {
            trace.attach(&mut self.rx, &mut self.tx);
        }
        let tls =
            Tls { connection, certificates, start, has_received: false, is_open: false, is_closed: false };
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Whether the handshake is done and no machine uses the connection yet.
    pub fn handshake_done(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_open && !tls.connection.is_handshaking())
    }

    /// Returns what the handshake negotiated, and the evidence of it for a machine. `None` if no handshake has just
    /// finished.
    pub fn finish_handshake(&mut self) -> Option<(Secure, Arc<TlsInfo>)> {
        let tls = self.tls.as_mut().filter(|tls| !tls.is_open && !tls.connection.is_handshaking())?;
        tls.is_open = true;
        let info = Arc::new(TlsInfo::of(&tls.connection));
        let (presented, accepts_any) = match &tls.certificates {
            Certificates::Client(observed) => (None, observed.accepts_any),
            Certificates::Server(presented) => (presented.get(), false),
        };
        let secure = Secure::tls(info::binding(&tls.connection, presented.as_ref()));
        let secure = if accepts_any { secure.unverified() } else { secure };
        // Without randomness the session goes without the mechanisms that need a nonce.
        let secure = match info::seed() {
            Some(seed) => secure.with_seed(seed),
            None => secure,
        };
        if self.trace.is_some() {
            self.record(RecordItem::Event(&Event::TlsStarted));
            self.record(RecordItem::Note(&format!("{} {}", info.version, info.cipher)));
        }
        Some((secure, info))
    }

    /// Moves what was received with the last bytes of the handshake to `rx`. Call it when the machine is in
    /// place.
    pub fn release_plaintext(&mut self) -> Result<(), Error> {
        let Some(tls) = self.tls.as_mut().filter(|tls| tls.is_open) else { return Ok(()) };
        let state = tls.connection.process_new_packets().map_err(|error| tls.failed(&error))?;
        let count = state.plaintext_bytes_to_read();
        take_plaintext(tls, &mut self.rx, count)
    }
}
