//! The TLS gate of a connection: switches from cleartext to TLS, and creates the evidence of a finished handshake.
//!
//! * On cleartext, everything that is read goes to `rx`. Bytes after STARTTLS therefore reach the machine, which ends the
//!   session, and never TLS.
//! * [`Transport::begin_client_tls`] and [`Transport::begin_server_tls`] move unsent cleartext into `cleartext_tail`. TLS
//!   writes nothing until that has been sent, so that the reply to STARTTLS precedes every byte of TLS.
//! * The evidence of a handshake never leaves this module: it goes into the machine that [`Transport::complete_upgrade`],
//!   [`Transport::open_client`] or [`Transport::open_server`] makes for this connection. Decrypted bytes reach `rx` only
//!   then.

use std::sync::Arc;

use proto_mail::{Misuse, PeerError, RecvBuffer, Secure, SendBuffer, Upgrade, trace::Event};
use rustls::Connection;

use super::{
    CIPHERTEXT_LIMIT, Transport,
    tls::{Certificates, Tls, TlsStart, take_plaintext},
};
use crate::{
    error::Error,
    protocol::traits::{ClientProtocol, ServerProtocol},
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
    /// [`Misuse::WrongState`] if TLS was started before: what is in `tx` was meant for that TLS.
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
    /// `rx` is not empty: the client sent cleartext where only TLS may follow. [`Misuse::WrongState`] if TLS was started
    /// before: what is in `tx` was meant for that TLS.
    pub fn begin_server_tls(&mut self, tls: &TlsServerConfig, start: TlsStart) -> Result<(), Error> {
        let (connection, presented) = tls.accept()?;
        self.begin_tls(connection, Certificates::Server(presented), start)
    }

    fn begin_tls(
        &mut self,
        mut connection: Connection,
        certificates: Certificates,
        start: TlsStart,
    ) -> Result<(), Error> {
        if self.tls.is_some() {
            return Err(wrong_state());
        }
        if !self.rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        connection.set_buffer_limit(Some(CIPHERTEXT_LIMIT));
        self.take_trace();
        self.rx = RecvBuffer::new();
        self.run_filter();
        self.cleartext_tail = std::mem::take(&mut self.tx);
        if let Some(filter) = &mut self.filter {
            filter.restart();
        }
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

    /// Continues under TLS after STARTTLS. Returns the machine, and what the handshake negotiated.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] if no handshake has just finished on this connection. `rx` is not empty.
    pub fn complete_upgrade<U: Upgrade>(&mut self, upgrade: U) -> Result<(U::Secured, Arc<TlsInfo>), Error> {
        let (secure, info) = self.finish_handshake()?;
        let machine = upgrade.complete(secure, &mut self.rx)?;
        self.release_plaintext()?;
        Ok((machine, info))
    }

    /// Starts a client under implicit TLS. Returns the machine, and what the handshake negotiated.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] if no handshake has just finished on this connection.
    pub fn open_client<P: ClientProtocol>(
        &mut self,
        config: &P::Config,
    ) -> Result<(P::Secure, Arc<TlsInfo>), Error> {
        self.open(|secure, tx| P::open_secure(config, secure, tx))
    }

    /// Starts a server's session under implicit TLS. Returns the machine, and what the handshake negotiated.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] if no handshake has just finished on this connection.
    pub fn open_server<P: ServerProtocol>(
        &mut self,
        config: &P::Config,
    ) -> Result<(P::Secure, Arc<TlsInfo>), Error> {
        self.open(|secure, tx| P::open_secure(config, secure, tx))
    }

    /// Refuses a connection under implicit TLS: queues the protocol's reply in `tx`.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] if no handshake has just finished on this connection.
    pub fn refuse_server<P: ServerProtocol>(&mut self, config: &P::Config) -> Result<(), Error> {
        self.open(|secure, tx| P::refuse_secure(config, secure, tx)).map(drop)
    }

    fn open<M>(
        &mut self,
        open: impl FnOnce(Secure, &mut SendBuffer) -> M,
    ) -> Result<(M, Arc<TlsInfo>), Error> {
        let (secure, info) = self.finish_handshake()?;
        let machine = open(secure, &mut self.tx);
        self.release_plaintext()?;
        Ok((machine, info))
    }

    /// Returns what the handshake negotiated, and the evidence of it. The only place in the workspace that calls
    /// [`Secure::tls`].
    fn finish_handshake(&mut self) -> Result<(Secure, Arc<TlsInfo>), Error> {
        let tls = self
            .tls
            .as_mut()
            .filter(|tls| !tls.is_open && !tls.connection.is_handshaking())
            .ok_or_else(wrong_state)?;
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
        Ok((secure, info))
    }

    /// Moves what was received with the last bytes of the handshake to `rx`, when the machine is in place.
    fn release_plaintext(&mut self) -> Result<(), Error> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let state = tls.connection.process_new_packets().map_err(|error| tls.failed(&error))?;
        let count = state.plaintext_bytes_to_read();
        take_plaintext(tls, &mut self.rx, count)
    }
}

fn wrong_state() -> Error {
    proto_mail::Error::Misuse(Misuse::WrongState).into()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        io::{self, Read, Write},
        sync::Mutex,
    };

    use proto_smtp::Config;

    use super::*;
    use crate::{
        address::Address,
        protocol::{
            ports::ProtocolPorts,
            smtp::{SmtpClientProtocol, SmtpServer},
        },
        tls::versions::TlsVersions,
        transport::read_buffer,
    };

    type Bytes = Arc<Mutex<VecDeque<u8>>>;

    /// One end of a connection in memory.
    struct Pipe {
        incoming: Bytes,
        outgoing: Bytes,
    }

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.incoming.lock().unwrap().read(buffer) {
                Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
                read => read,
            }
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.outgoing.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Pipe {
        fn set_nodelay(&self) {}

        fn local_address(&self) -> io::Result<Address> {
            Ok(Address::Unix(None))
        }

        fn peek(&self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn shutdown_write(&mut self) {}
    }

    struct Ends {
        client: Transport<Pipe>,
        server: Transport<Pipe>,
        client_tls: TlsClientConfig,
        server_tls: TlsServerConfig,
        /// What the client has sent and the server not read.
        from_client: Bytes,
    }

    impl Ends {
        fn new() -> Self {
            let [from_client, from_server] = [Bytes::default(), Bytes::default()];
            let key = rcgen::KeyPair::generate().unwrap();
            let names = vec!["localhost".to_owned()];
            let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
            let (chain, key) = (certificate.pem(), key.serialize_pem());
            let both = TlsVersions::Both;
            let server_tls = TlsServerConfig::from_pem(chain.as_bytes(), key.as_bytes(), both).unwrap();
            let end = |incoming: &Bytes, outgoing: &Bytes| {
                let pipe = Pipe { incoming: Arc::clone(incoming), outgoing: Arc::clone(outgoing) };
                Transport::new(pipe, ProtocolPorts::of::<SmtpServer>())
            };
            Self {
                client: end(&from_server, &from_client),
                server: end(&from_client, &from_server),
                client_tls: TlsClientConfig::pinned(server_tls.fingerprint()).unwrap(),
                server_tls,
                from_client,
            }
        }

        fn begin_client(&mut self) -> Result<(), Error> {
            let names = HandshakeNames::new("localhost");
            self.client.begin_client_tls(&self.client_tls, &names, TlsStart::Implicit)
        }

        fn begin(&mut self) {
            self.begin_client().unwrap();
            self.server.begin_server_tls(&self.server_tls, TlsStart::Implicit).unwrap();
        }

        fn exchange(&mut self) {
            for _ in 0..6 {
                for end in [&mut self.client, &mut self.server] {
                    end.transmit().unwrap();
                    end.receive(&mut read_buffer()).unwrap();
                }
            }
        }
    }

    fn is_misuse<T>(result: Result<T, Error>) -> bool {
        matches!(result, Err(Error::Protocol(proto_mail::Error::Misuse(Misuse::WrongState))))
    }

    #[test]
    fn tls_starts_once_and_no_output_of_it_leaves_in_cleartext() {
        let mut ends = Ends::new();
        ends.begin();
        assert!(is_misuse(ends.begin_client()), "during the handshake");
        ends.exchange();
        ends.client.open_client::<SmtpClientProtocol>(&Arc::new(Config::default())).unwrap();
        ends.from_client.lock().unwrap().clear();
        ends.client.tx.put(b"AUTH PLAIN secret\r\n");
        assert!(is_misuse(ends.begin_client()), "under TLS");
        ends.client.transmit().unwrap();
        let sent: Vec<u8> = ends.from_client.lock().unwrap().iter().copied().collect();
        assert!(sent.len() > 20 && !sent.windows(6).any(|part| part == b"secret"), "{sent:?}");
        let again = ends.server.begin_server_tls(&ends.server_tls, TlsStart::StartTls);
        assert!(is_misuse(again), "in a server");
    }

    #[test]
    fn a_machine_opens_once_and_only_after_the_handshake_of_its_connection() {
        let config = Arc::new(Config::default());
        let mut ends = Ends::new();
        assert!(is_misuse(ends.client.open_client::<SmtpClientProtocol>(&config)), "on cleartext");
        ends.begin();
        assert!(is_misuse(ends.server.open_server::<SmtpServer>(&config)), "during the handshake");
        ends.exchange();
        let mut other = Ends::new();
        assert!(is_misuse(other.client.open_client::<SmtpClientProtocol>(&config)), "of another connection");
        let (_, info) = ends.client.open_client::<SmtpClientProtocol>(&config).unwrap();
        assert_eq!(info.version, "TLSv1.3");
        assert!(is_misuse(ends.client.open_client::<SmtpClientProtocol>(&config)), "twice");
        ends.server.refuse_server::<SmtpServer>(&config).unwrap();
        assert!(is_misuse(ends.server.open_server::<SmtpServer>(&config)), "after a refusal");
    }

    #[test]
    fn cleartext_that_waits_in_the_buffer_prevents_tls() {
        let mut ends = Ends::new();
        ends.from_client.lock().unwrap().extend(b"NOOP\r\n");
        ends.server.may_read();
        ends.server.receive(&mut read_buffer()).unwrap();
        let begun = ends.server.begin_server_tls(&ends.server_tls, TlsStart::StartTls);
        let expected = proto_mail::Error::Peer(PeerError::PlaintextAfterStartTls);
        assert!(matches!(begun, Err(Error::Protocol(error)) if error == expected));
        assert!(!ends.server.handshake_done());
    }
}
