//! The SMTP machines on the driver: implicit TLS and STARTTLS, authentication, a large message, a shutdown.

#![allow(clippy::unwrap_used, clippy::panic)]

mod loopback;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use io_mio::{
    Connection, ConnectionEvent, ConnectionLimits, Connector, Context, Deadlines, Error, ErrorKind, Handler,
    ListenerTls, Next, Peer, Reactor, ReactorHandle, Security, SmtpClientProtocol, SmtpServer,
    TlsClientConfig, TlsVersions,
};
use loopback::{localhost, target, users};
use mailclient::{delivery, login::LoggedIn};
use proto_mail::{Cleartext, Credentials, Mechanism, Mechanisms, Secure, SendBuffer};
use proto_smtp::{
    Config,
    client::{AuthOutcome, Client, Event, Outcome, Progress, Transaction},
    server::{self, Server},
    types::{Address, Mail, Rcpt, Response},
};

/// An application that knows one user, accepts every message and counts its bytes.
struct App {
    bytes: Arc<AtomicU64>,
}

impl Handler<SmtpServer> for App {
    fn cleartext(
        &mut self,
        event: server::Event<'_, Cleartext>,
        machine: &mut Server<Cleartext>,
        tx: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        match event {
            server::Event::StartTls(request) => return Next::StartTls(request),
            server::Event::Mail(_, reply) => machine.reply(reply, &Response::ok(), tx).unwrap(),
            _ => {}
        }
        Next::Continue
    }

    fn secure(
        &mut self,
        event: server::Event<'_, Secure>,
        machine: &mut Server<Secure>,
        tx: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        match event {
            server::Event::Auth(request) => {
                let verdict = users::verdict(&request);
                machine.answer_auth(request, verdict, tx).unwrap();
            }
            server::Event::Mail(_, reply) | server::Event::Rcpt(_, reply) => {
                machine.reply(reply, &Response::ok(), tx).unwrap();
            }
            server::Event::Data(reply) => machine.reply(reply, &Response::start_data(), tx).unwrap(),
            server::Event::DataChunk(bytes) => {
                self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            server::Event::DataEnd(reply) => machine.reply(reply, &Response::ok(), tx).unwrap(),
            _ => {}
        }
        Next::Continue
    }
}

struct Running {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
    handle: ReactorHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(tls: ListenerTls) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let counted = bytes.clone();
        let factory = move |_: &Peer| App { bytes: counted.clone() };
        let mut waits = proto_smtp::Waits::default();
        waits.delay = Duration::from_millis(20);
        let config = Arc::new(
            Config::default().optional_authentication().waits(waits).offered_mechanisms(Mechanisms::all()),
        );
        let address =
            reactor.listen::<SmtpServer, App>(any, tls, config, Deadlines::default(), factory).unwrap();
        let handle = reactor.handle();
        let thread = Some(std::thread::spawn(move || reactor.run().unwrap()));
        Self { address, bytes, handle, thread }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down(Duration::ZERO);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Connects and waits until the session is ready for commands.
fn connect(address: SocketAddr, security: Security, tls: TlsClientConfig) -> Connection<Client<Secure>> {
    let connector = Connector::new(tls).deadlines(Deadlines::uniform(Duration::from_secs(10)));
    let target = target(address, security);
    let mut connection =
        connector.connect::<SmtpClientProtocol>(&target, &Arc::new(Config::default())).unwrap();
    connection
        .drive(|turn, _, _| {
            Ok::<_, Error>(matches!(turn, ConnectionEvent::Machine(Event::Capabilities(_))).then_some(()))
        })
        .unwrap();
    connection
}

/// Sends a message of this many lines. Returns whether the server accepted it.
fn send(connection: &mut Connection<Client<Secure>>, lines: u64) -> bool {
    let mut transaction = Transaction::new(Mail::new(Address::parse("a@example.com").unwrap()))
        .recipient(Rcpt::new(Address::parse("b@example.org").unwrap()));
    let begun = connection.with(|client, tx| transaction.start(client, tx)).unwrap();
    assert!(!matches!(begun, Progress::Done), "{begun:?}");
    let batch = Bytes::from([&[b'x'; 62][..], b"\r\n"].concat().repeat(1024));
    let (mut writing, mut left) = (false, lines.div_ceil(1024));
    connection
        .drive(|turn, client, tx| {
            match turn {
                ConnectionEvent::Machine(event) => match transaction.event(&event, client, tx)? {
                    Progress::SendData => writing = true,
                    Progress::Done => return Ok::<_, Error>(Some(())),
                    _ => {}
                },
                ConnectionEvent::Writable if writing && left > 0 => {
                    left -= 1;
                    client.data_writer()?.write_payload(&batch, tx)?;
                }
                ConnectionEvent::Writable if writing => {
                    writing = false;
                    client.data_writer()?.finish(tx)?;
                }
                ConnectionEvent::Writable => {}
            }
            Ok(None)
        })
        .unwrap();
    matches!(transaction.recipients()[0].outcome(), Outcome::Delivered(_))
}

#[test]
fn delivers_with_starttls_and_implicit_tls() {
    let (authority, identity) = localhost();
    for (tls, security) in [
        (ListenerTls::StartTls(identity.server()), Security::StartTls),
        (ListenerTls::Implicit(identity.server()), Security::ImplicitTls),
    ] {
        let server = Running::start(tls);
        let mut connection = connect(server.address, security, authority.trust());
        let credentials = Credentials::password("alice", &b"hunter2"[..]);
        connection.with(|client, tx| client.authenticate(Mechanism::Plain, credentials, tx)).unwrap();
        let accepted = connection.drive(|turn, _, _| match turn {
            ConnectionEvent::Machine(Event::Auth(outcome)) => {
                Ok::<_, Error>(Some(matches!(outcome, AuthOutcome::Accepted(_))))
            }
            _ => Ok(None),
        });
        assert!(accepted.unwrap());
        assert!(send(&mut connection, 1024));
        assert_eq!(server.bytes.load(Ordering::Relaxed), 64 * 1024);
        connection.with(Client::quit).unwrap();
        connection
            .drive(|turn, _, _| {
                Ok::<_, Error>(matches!(turn, ConnectionEvent::Machine(Event::Closed(_))).then_some(()))
            })
            .unwrap();
        connection.close().unwrap();
    }
}

#[test]
fn logs_in_with_every_mechanism_under_tls_1_2_and_1_3() {
    let (authority, identity) = localhost();
    let server = Running::start(ListenerTls::Implicit(identity.server()));
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        for mechanism in users::BY_PASSWORD {
            let trust = authority.trust().versions(versions).unwrap();
            for (name, password, good) in
                [("alice", "hunter3", false), ("bob", "hunter2", false), ("alice", "hunter2", true)]
            {
                let mut connection = connect(server.address, Security::ImplicitTls, trust.clone());
                let credentials = Credentials::password(name, password.as_bytes());
                if mechanism == Mechanism::ScramSha256Plus {
                    assert_eq!(
                        connection.machine().choose_mechanism(&Mechanism::ALL, &credentials).into_result(),
                        Ok(mechanism)
                    );
                }
                connection.with(|client, tx| client.authenticate(mechanism, credentials, tx)).unwrap();
                let believed = connection.drive(|turn, _, _| match turn {
                    ConnectionEvent::Machine(Event::Auth(outcome)) => {
                        Ok::<_, Error>(Some(matches!(outcome, AuthOutcome::Accepted(_))))
                    }
                    _ => Ok(None),
                });
                assert_eq!(believed.unwrap(), good, "{versions:?} {mechanism} {name}");
                if good {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_large_message_streams_in_bounded_memory() {
    let (authority, identity) = localhost();
    let server = Running::start(ListenerTls::Implicit(identity.server()));
    let mut connection = connect(server.address, Security::ImplicitTls, authority.trust());
    let before = resident();
    let lines = 1024 * 1024;
    assert!(send(&mut connection, lines));
    assert_eq!(server.bytes.load(Ordering::Relaxed), lines * 64);
    assert!(resident() < before + 32 * 1024, "{before} to {} KiB, client and server together", resident());
}

#[test]
fn a_command_after_starttls_ends_the_session() {
    let (_, identity) = localhost();
    let server = Running::start(ListenerTls::StartTls(identity.server()));
    let bytes = b"EHLO c.example\r\nSTARTTLS\r\nMAIL FROM:<evil@example.com>\r\n";
    for at in 16..=bytes.len() {
        let mut socket = TcpStream::connect(server.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut greeting = [0; 512];
        assert!(socket.read(&mut greeting).unwrap() > 4);
        socket.write_all(&bytes[..at]).unwrap();
        std::thread::sleep(Duration::from_millis(3));
        let _ = socket.write_all(&bytes[at..]);
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        let text = String::from_utf8_lossy(&rest);
        let behind = text.rsplit_once("220 ").map_or("", |(_, behind)| behind);
        assert!(!behind.contains("\r\n2") && !behind.contains("\r\n5"), "{at}: {text}");
    }
}

#[test]
fn a_server_shutdown_is_retryable() {
    let (authority, identity) = localhost();
    let server = Running::start(ListenerTls::Implicit(identity.server()));
    let mut connection = connect(server.address, Security::ImplicitTls, authority.trust());
    server.handle.shut_down(Duration::from_secs(5));
    let farewell = connection.drive(|turn, _, _| match turn {
        ConnectionEvent::Machine(Event::Closed(Some(response))) => {
            Ok::<_, Error>(Some(format!("{response:?}")))
        }
        _ => Ok(None),
    });
    match farewell {
        Ok(text) => assert!(text.contains("421"), "{text}"),
        Err(error) => assert!(error.is_retryable() && error.kind() != ErrorKind::Security, "{error}"),
    }
}

/// Returns the resident memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Starts a server under TLS that sends a greeting and then replies to each line in turn. The thread returns the lines
/// after EHLO.
fn scripted(replies: &'static [&'static str]) -> (SocketAddr, TlsClientConfig, JoinHandle<Vec<String>>) {
    let (authority, identity) = localhost();
    let config = identity.rustls();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let tls = rustls::ServerConnection::new(config).unwrap();
        let mut stream = BufReader::new(rustls::StreamOwned::new(tls, socket));
        stream.get_mut().write_all(b"220 mx\r\n").unwrap();
        let mut heard = Vec::new();
        for reply in ["250-mx\r\n250 AUTH PLAIN\r\n"].iter().chain(replies) {
            heard.push(line(&mut stream));
            stream.get_mut().write_all(reply.as_bytes()).unwrap();
        }
        while let said = line(&mut stream)
            && !said.is_empty()
        {
            heard.push(said);
        }
        heard.split_off(1)
    });
    (address, authority.trust(), thread)
}

fn line(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    // The client has disconnected: there are no more lines.
    let _ = stream.read_line(&mut line);
    line.trim_end().to_owned()
}

/// Logs in this many times and disconnects. Returns the outcomes and the lines that the server received.
fn log_in(times: usize, replies: &'static [&'static str]) -> (Vec<Result<LoggedIn, Error>>, Vec<String>) {
    let (address, trust, server) = scripted(replies);
    let connector = Connector::new(trust).deadlines(Deadlines::uniform(Duration::from_secs(5)));
    let to = target(address, Security::ImplicitTls);
    let mut connection = connector.connect::<SmtpClientProtocol>(&to, &Arc::new(Config::default())).unwrap();
    delivery::wait_until_ready(&mut connection).unwrap();
    let credentials = || Credentials::password("user", &b"secret"[..]);
    let outcomes =
        (0..times).map(|_| delivery::log_in(&mut connection, &Mechanism::ALL, credentials())).collect();
    drop(connection);
    (outcomes, server.join().unwrap())
}

const WITH: &str = "AUTH PLAIN AHVzZXIAc2VjcmV0";
const WITHOUT: [&str; 2] = ["AUTH PLAIN", "AHVzZXIAc2VjcmV0"];

#[test]
fn retries_a_login_without_an_initial_response() {
    for refusal in ["500 5.5.2 what\r\n", "501 5.5.4 what\r\n"] {
        let replies: &'static [&'static str] = Box::leak(Box::new([refusal, "334 \r\n", "235 in\r\n"]));
        let (outcomes, heard) = log_in(1, replies);
        assert_eq!(outcomes[0].as_ref().unwrap().method, Mechanism::Plain.name());
        assert_eq!(heard, [&[WITH], &WITHOUT[..]].concat());
    }
}

#[test]
fn does_not_repeat_refused_credentials() {
    let refused = |outcome: &Result<LoggedIn, Error>, expected: u16| matches!(outcome, Err(Error::AuthenticationFailed { code: Some(code), .. }) if *code == expected);
    // Replies that are not about the initial response.
    let others: [(u16, &'static [&'static str]); 5] = [
        (535, &["535 5.7.8 no\r\n"]),
        (504, &["504 5.5.4 no\r\n"]),
        (454, &["454 4.7.0 later\r\n"]),
        (502, &["502 5.5.1 no\r\n"]),
        (534, &["534 5.7.9 weak\r\n"]),
    ];
    for (code, replies) in others {
        let (outcomes, heard) = log_in(1, replies);
        assert!(refused(&outcomes[0], code), "{outcomes:?}");
        assert_eq!(heard, [WITH]);
    }
    // The client tries once without an initial response, whatever the server replies then.
    for (code, last) in [(535, "535 5.7.8 no\r\n"), (501, "501 5.5.4 what\r\n"), (500, "500 what\r\n")] {
        let replies: &'static [&'static str] = Box::leak(Box::new(["501 5.5.4 what\r\n", "334 \r\n", last]));
        let (outcomes, heard) = log_in(1, replies);
        assert!(refused(&outcomes[0], code), "{outcomes:?}");
        assert_eq!(heard, [&[WITH], &WITHOUT[..]].concat());
        // The client remembers this for the session: the next login takes one try.
        let replies: &'static [&'static str] =
            Box::leak(Box::new(["501 5.5.4 what\r\n", "334 \r\n", last, "334 \r\n", "535 5.7.8 no\r\n"]));
        let (outcomes, heard) = log_in(2, replies);
        assert!(refused(&outcomes[0], code) && refused(&outcomes[1], 535), "{outcomes:?}");
        assert_eq!(heard, [&[WITH], &WITHOUT[..], &WITHOUT[..]].concat());
    }
}
