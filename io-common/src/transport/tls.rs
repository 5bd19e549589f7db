//! The TLS connection of a transport: decryption into and encryption from the buffers of a machine.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use proto_mail::{RecvBuffer, SendBuffer};
use rustls::Connection;

use super::slices::io_slices;
use crate::{
    error::Error,
    tls::{
        certificate::Certificate, error::TlsError, server::PresentedCertificate, verify::ObservedCertificate,
    },
};

/// How TLS starts. It decides what unexpected cleartext means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsStart {
    /// With the first byte (implicit TLS).
    Implicit,
    /// After STARTTLS.
    StartTls,
}

pub(super) struct Tls {
    pub(super) connection: Connection,
    pub(super) certificates: Certificates,
    pub(super) start: TlsStart,
    /// Whether the first bytes of the peer were received.
    pub(super) has_received: bool,
    /// Whether the handshake is done and a machine uses the connection.
    pub(super) is_open: bool,
    /// Whether the peer closed TLS in order.
    pub(super) is_closed: bool,
}

/// The certificates that a side has to know of.
pub(crate) enum Certificates {
    /// A client: the server's certificate.
    Client(ObservedCertificate),
    /// A server: its own certificate.
    Server(PresentedCertificate),
}

impl Certificates {
    /// The server's certificate, accepted or not.
    pub(super) fn observed(&self) -> Option<Arc<Certificate>> {
        match self {
            Self::Client(observed) => observed.certificate(),
            Self::Server(_) => None,
        }
    }
}

impl Tls {
    pub(super) fn failed(&self, error: &rustls::Error) -> Error {
        TlsError::new(error, self.certificates.observed()).into()
    }
}

/// Decrypts `input` into `rx`.
pub(super) fn decrypt(tls: &mut Tls, mut input: &[u8], rx: &mut RecvBuffer) -> Result<(), Error> {
    while !input.is_empty() && !tls.is_closed {
        tls.connection.read_tls(&mut input).map_err(Error::io("receiving"))?;
        let state = tls.connection.process_new_packets().map_err(|error| tls.failed(&error))?;
        if tls.is_open {
            let count = state.plaintext_bytes_to_read();
            take_plaintext(tls, rx, count)?;
        }
        tls.is_closed |= state.peer_has_closed();
    }
    Ok(())
}

pub(super) fn take_plaintext(tls: &mut Tls, rx: &mut RecvBuffer, count: usize) -> Result<(), Error> {
    if count > 0 {
        let spare = rx.spare_mut(count);
        tls.connection.reader().read_exact(&mut spare[..count]).map_err(Error::io("receiving"))?;
        rx.filled(count);
    }
    Ok(())
}

pub(super) fn encrypt(tls: &mut Tls, tx: &SendBuffer) -> Result<usize, Error> {
    let (slices, count) = io_slices(tx);
    tls.connection.writer().write_vectored(&slices[..count]).map_err(Error::io("sending"))
}
