//! COMPRESS over two transports, in memory: with and without TLS, in pieces of any size.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use io_common::protocol::ProtocolPorts;
use io_common::stream::{Readiness, Stream};
use io_common::tls::HandshakeNames;
use io_common::transport::{Received, TlsStart, Transport, read_buffer};
use io_common::{Address, ImapClientProtocol, ImapServer, TlsClientConfig, TlsServerConfig, TlsVersions};
use proto_imap::client::{self, Client, LoginMethod};
use proto_imap::server::{self, Server};
use proto_imap::types::{AppendCommand, Command, Condition, StatusResponse, Text};
use proto_imap::{Config, NonSyncLiterals};
use proto_mail::{AuthVerdict, Credentials, Secure};

type Pipe = Arc<Mutex<VecDeque<u8>>>;

/// One end of a connection in memory. It passes `piece` bytes at once, and the wire is recorded.
struct End {
    incoming: Pipe,
    outgoing: Pipe,
    wire: Arc<Mutex<Vec<u8>>>,
    piece: usize,
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut incoming = self.incoming.lock().unwrap();
        let count = incoming.len().min(buffer.len()).min(self.piece);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer.iter_mut().zip(incoming.drain(..count)).for_each(|(to, from)| *to = from);
        Ok(count)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.piece);
        self.outgoing.lock().unwrap().extend(&bytes[..count]);
        self.wire.lock().unwrap().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for End {
    fn set_nodelay(&self) {}

    fn local_address(&self) -> io::Result<Address> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn peek(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn shutdown_write(&mut self) {}
}

const EVENT: Readiness = Readiness { readable: true, writable: true, read_closed: false, hung_up: false };

/// Both ends, with what each has written.
struct Wire {
    client: Transport<End>,
    server: Transport<End>,
    said: Arc<Mutex<Vec<u8>>>,
    answered: Arc<Mutex<Vec<u8>>>,
}

fn connect(piece: usize) -> Wire {
    let (there, back) = (Pipe::default(), Pipe::default());
    let (said, answered) = (Arc::default(), Arc::default());
    let client = End { incoming: back.clone(), outgoing: there.clone(), wire: Arc::clone(&said), piece };
    let server = End { incoming: there, outgoing: back, wire: Arc::clone(&answered), piece };
    Wire {
        client: Transport::new(client, ProtocolPorts::of::<ImapClientProtocol>()),
        server: Transport::new(server, ProtocolPorts::of::<ImapServer>()),
        said,
        answered,
    }
}

fn receive_all(transport: &mut Transport<End>) {
    transport.ready(EVENT);
    while transport.receive(&mut read_buffer()).unwrap() != Received::WouldBlock {}
}

/// Starts both machines, after a handshake under TLS.
fn open(wire: &mut Wire, client: Config, server: Config, tls: bool) -> (Client<Secure>, Server<Secure>) {
    if !tls {
        let opened = Server::<Secure>::new(server, Secure::trusted_local(), &mut wire.server.tx);
        return (Client::<Secure>::new(client, Secure::trusted_local()), opened);
    }
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
    let identity =
        TlsServerConfig::from_pem(chain.as_bytes(), key.as_bytes(), TlsVersions::default()).unwrap();
    let trust = TlsClientConfig::danger_accept_any_certificate().unwrap();
    wire.client.begin_client_tls(&trust, &HandshakeNames::new("localhost"), TlsStart::Implicit).unwrap();
    wire.server.begin_server_tls(&identity, TlsStart::Implicit).unwrap();
    let (client, server) = (Arc::new(client), Arc::new(server));
    let (mut one, mut other) = (None, None);
    loop {
        wire.client.transmit().unwrap();
        receive_all(&mut wire.server);
        if wire.server.handshake_done() {
            other = Some(wire.server.open_server::<ImapServer>(&server).unwrap().0);
        }
        wire.server.transmit().unwrap();
        receive_all(&mut wire.client);
        if wire.client.handshake_done() {
            one = Some(wire.client.open_client::<ImapClientProtocol>(&client).unwrap().0);
        }
        (one, other) = match (one, other) {
            (Some(client), Some(server)) => return (client, server),
            waiting => waiting,
        };
    }
}

/// Logs in, compresses, and appends a message. Returns the completions, what the server has received of the message, and
/// how many bytes both sides have written.
fn session(piece: usize, tls: bool) -> (Vec<String>, Vec<u8>, usize, usize) {
    let mut wire = connect(piece);
    let config = Config::default().literals(NonSyncLiterals::Never);
    let offering = Config::default().extensions(["COMPRESS=DEFLATE"]);
    let (mut client, mut server) = open(&mut wire, config, offering, tls);
    let message = b"Subject: the same words again and again\r\n".repeat(5000);
    let (mut completions, mut received, mut step) = (Vec::new(), Vec::new(), 0);
    let ok = StatusResponse::new(Condition::Ok, Text::first_line("done"));
    for _ in 0..4000 {
        receive_all(&mut wire.server);
        let (rx, tx) = (&mut wire.server.rx, &mut wire.server.tx);
        while let Some(event) = server.next_event(rx, tx).unwrap() {
            match event {
                server::Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, tx).unwrap(),
                server::Event::Compress(request) => server.accept_compression(request, tx).unwrap(),
                server::Event::Append { offer, .. } => server.accept_literal(offer, tx).unwrap(),
                server::Event::AppendChunk(chunk) => received.extend_from_slice(chunk),
                server::Event::AppendEnd(reply) | server::Event::Command(_, reply) => {
                    server.reply(reply, &ok, tx).unwrap();
                }
                event => panic!("{event:?}"),
            }
        }
        wire.server.transmit().unwrap();
        receive_all(&mut wire.client);
        let (rx, tx) = (&mut wire.client.rx, &mut wire.client.tx);
        while let Some(event) = client.next_event(rx, tx).unwrap() {
            match event {
                client::Event::AppendReady(_) => {
                    client.write_payload(Bytes::copy_from_slice(&message), tx).unwrap();
                }
                client::Event::Completed { status, .. } => {
                    completions.push(format!("{:?}", status.condition))
                }
                _ => {}
            }
        }
        let authenticated = client.state().is_some_and(|state| state.is_authenticated());
        if step == 0 && client.capabilities().is_some() {
            let credentials = Credentials::password("alice", &b"hunter2-in-clear"[..]);
            client.authenticate(LoginMethod::Strongest, &credentials, tx).unwrap();
            step = 1;
        } else if step == 1 && authenticated && client.capabilities().is_some() {
            client.compress(tx).unwrap();
            client.append(&AppendCommand::from("INBOX"), message.len() as u64, tx).unwrap();
            client.send(&Command::Noop, tx).unwrap();
            step = 2;
        }
        wire.client.transmit().unwrap();
        if completions.len() == 3 {
            break;
        }
    }
    assert!(client.is_compressed() && wire.client.is_compressed() && wire.server.is_compressed());
    assert!(!wire.client.has_output() && !wire.server.has_output());
    assert_eq!(received, message);
    let (said, answered) = (wire.said.lock().unwrap(), wire.answered.lock().unwrap());
    if !tls {
        let end = memchr::memmem::find(&said, b"COMPRESS DEFLATE\r\n").unwrap() + 18;
        let words = |bytes: &[u8]| memchr::memmem::find(bytes, b"APPEND INBOX").is_some();
        assert!(!words(&said[end..]), "nothing behind COMPRESS is readable");
        let end = memchr::memmem::find(&answered, b"OK DEFLATE active\r\n").unwrap() + 19;
        assert!(memchr::memmem::find(&answered[end..], b" OK ").is_none());
    }
    (completions, received, said.len(), answered.len())
}

#[test]
fn a_session_is_compressed_in_whatever_pieces() {
    for tls in [false, true] {
        for piece in [1, 7, 1000, usize::MAX] {
            let (completions, message, said, answered) = session(piece, tls);
            assert_eq!(completions, ["Ok", "Ok", "Ok"], "pieces of {piece}");
            println!(
                "TLS {tls}, pieces of {piece}: {} bytes of mail, {said} sent, {answered} received",
                message.len()
            );
            assert!(said < message.len() / 5, "{said} bytes for a message of {}", message.len());
        }
    }
}
