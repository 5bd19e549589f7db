//! The same through the driver, over sockets: bytes in the segment of STARTTLS or in the next one reach the machine
//! or the TLS handshake. Every split of one injection for each role of each protocol.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use io_mio::{
    ClientProtocol, CloseReason, ConnectionLimits, Connector, Context, Deadlines, Error, ErrorKind, Handler,
    ImapClientProtocol, ImapServer, ListenerTls, Next, Peer, Reactor, Security, SmtpClientProtocol,
    SmtpServer, Target, TlsClientConfig, TlsServerConfig, TlsVersions,
};
use proto_mail::{Machine, PeerError, SendBuffer};
use proto_smtp::Dialect;

use super::{ServerUnderTest, imap, smtp};

/// Long enough that two writes are two segments.
const PAUSE: Duration = Duration::from_millis(3);

const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\xee\x01\x00\x00\xea\x03\x03";

/// A self-signed certificate for localhost, and its key.
fn identity() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Whether the driver's error names an injection.
fn names_the_injection(error: &Error) -> bool {
    let plaintext = proto_mail::Error::Peer(PeerError::PlaintextAfterStartTls);
    error.kind() == ErrorKind::Security && matches!(error, Error::Protocol(error) if *error == plaintext)
}

/// A server that sends each line after the client has sent something (the first one at once), and the last one in two
/// parts.
fn speak(listener: &TcpListener, lines: &[&str], answer: &[u8], at: usize) -> String {
    let (socket, _) = listener.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut stream = BufReader::new(socket);
    let mut heard = String::new();
    for line in lines {
        stream.get_mut().write_all(line.as_bytes()).unwrap();
        stream.read_line(&mut heard).unwrap();
    }
    stream.get_mut().write_all(&answer[..at]).unwrap();
    std::thread::sleep(PAUSE);
    let _ = stream.get_mut().write_all(&answer[at..]);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    heard.push_str(&String::from_utf8_lossy(&rest));
    heard
}

/// Every split of a reply to STARTTLS with bytes after it is fatal to the client, which sends nothing more.
fn attack_client<P: ClientProtocol>(config: &P::Config, lines: &'static [&'static str], answer: &'static str)
where
    P::Config: Send + Sync,
{
    let (certificate, _) = identity();
    for at in 0..=answer.len() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || speak(&listener, lines, answer.as_bytes(), at));
        let tls = TlsClientConfig::authorities_pem(certificate.as_bytes()).unwrap();
        let connector = Connector::new(tls).deadlines(Deadlines::uniform(Duration::from_secs(5)));
        let target = Target::new("localhost", port, Security::StartTls).dial_to("127.0.0.1", port);
        let Err(error) = connector.connect::<P>(&target, config) else { panic!("split {at}: it connected") };
        assert!(names_the_injection(&error), "split {at}: {error}");
        let heard = server.join().unwrap();
        let behind = heard.split_once("STARTTLS\r\n").unwrap().1;
        // At most the beginning of a handshake, or an alert.
        assert!(behind.is_empty() || matches!(behind.as_bytes()[0], 0x15 | 0x16), "split {at}: {heard}");
    }
}

#[test]
fn clients_reject_bytes_after_the_starttls_reply() {
    let imap_lines = &["* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"];
    attack_client::<ImapClientProtocol>(&imap(), imap_lines, "M1 OK begin\r\n* PREAUTH welcome\r\n");
    let smtp_lines = &["220 mx.example\r\n", "250-mx.example\r\n250 STARTTLS\r\n"];
    for dialect in [Dialect::Smtp, Dialect::Lmtp] {
        attack_client::<SmtpClientProtocol>(
            &smtp(dialect),
            smtp_lines,
            "220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n",
        );
    }
}

/// What happened on a server, in all its sessions.
type Log = Arc<Mutex<Vec<String>>>;

/// Starts TLS when asked to, and records everything.
struct Noting(Log);

impl Noting {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl<P> Handler<P> for Noting
where
    P: ServerUnderTest,
{
    fn cleartext(
        &mut self,
        event: <P::Cleartext as Machine>::Event<'_>,
        machine: &mut P::Cleartext,
        tx: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        self.note(format!("cleartext {event:?}"));
        P::cleartext(event, machine, tx).map_or(Next::Continue, Next::StartTls)
    }

    fn secure(
        &mut self,
        event: <P::Secure as Machine>::Event<'_>,
        machine: &mut P::Secure,
        tx: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        self.note(format!("secure {event:?}"));
        P::secure(event, machine, tx);
        Next::Continue
    }

    fn closed(&mut self, why: &CloseReason) {
        let named = matches!(why, CloseReason::Failed(error) if names_the_injection(error));
        self.note(if named { "closed: an injection".into() } else { format!("closed: {why:?}") });
    }
}

/// Sends this to a server in two parts, and returns its answer.
fn say(address: SocketAddr, bytes: &[u8], at: usize) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    BufReader::new(&socket).read_line(&mut String::new()).unwrap();
    socket.write_all(&bytes[..at]).unwrap();
    std::thread::sleep(PAUSE);
    // The server may have closed already.
    let _ = socket.write_all(&bytes[at..]);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// Every split of a STARTTLS with bytes after it is fatal to the session, and none of those bytes is answered.
fn attack_server<P: ServerUnderTest>(config: &P::Config, before: &str, behind: &str, forbidden: &[&str]) {
    let (certificate, key) = identity();
    let tls = TlsServerConfig::from_pem(certificate.as_bytes(), key.as_bytes(), TlsVersions::Both).unwrap();
    let log = Log::default();
    let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
    let noted = Arc::clone(&log);
    let factory = move |_: &Peer| Noting(Arc::clone(&noted));
    let (any, deadlines) = ("127.0.0.1:0".parse().unwrap(), Deadlines::default());
    let tls = ListenerTls::StartTls(tls);
    let address = reactor.listen::<P, Noting>(any, tls, config.clone(), deadlines, factory).unwrap();
    let handle = reactor.handle();
    let thread = std::thread::spawn(move || reactor.run().unwrap());
    let mut sessions = 0;
    for hello in [&b""[..], CLIENT_HELLO] {
        let bytes = [before.as_bytes(), behind.as_bytes(), hello].concat();
        for at in before.len() - 12..bytes.len() {
            sessions += 1;
            let answer = say(address, &bytes, at);
            let answer = String::from_utf8_lossy(&answer);
            assert!(forbidden.iter().all(|word| !answer.contains(word)), "split {at}: {answer}");
        }
    }
    handle.shut_down(Duration::ZERO);
    thread.join().unwrap();
    let log = log.lock().unwrap();
    assert!(log.iter().all(|line| !line.starts_with("secure ") && !line.contains("evil")), "{log:#?}");
    let closed = log.iter().filter(|line| *line == "closed: an injection").count();
    assert_eq!(closed, sessions, "{log:#?}");
}

#[test]
fn servers_reject_bytes_after_starttls() {
    attack_server::<ImapServer>(&imap(), "a1 STARTTLS\r\n", "a2 ID (\"name\" \"evil\")\r\n", &["a2 "]);
    for (dialect, hello) in [(Dialect::Smtp, "EHLO"), (Dialect::Lmtp, "LHLO")] {
        let before = format!("{hello} client.example\r\nSTARTTLS\r\n");
        let forbidden = ["250 2.1.0", "503 ", "501 "];
        attack_server::<SmtpServer>(&smtp(dialect), &before, "MAIL FROM:<evil@example.test>\r\n", &forbidden);
    }
}
