//! The IMAP machines on the driver: greeting, STARTTLS, authentication, a delay, a shutdown.

#![allow(clippy::unwrap_used, clippy::panic)]

mod toy;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use io_mio::{
    Connection, ConnectionEvent, ConnectionLimits, Connector, Context, Deadlines, Error, Handler,
    ImapClientProtocol, ImapServer, ListenerTls, Next, Peer, Reactor, ReactorHandle, Security,
    TlsClientConfig, TlsVersions, protocol::MachineMut,
};
use proto_imap::{
    Config, Waits,
    client::{self, Client, LoginMethod},
    server::{self, Server},
    types::{Command, Condition, StatusResponse, Text},
};
use proto_mail::{Cleartext, Credentials, Mechanism, Mechanisms, Secure, SendBuffer};
use toy::{localhost, target, users};

/// An application that knows one user and answers every command with OK.
struct App;

impl Handler<ImapServer> for App {
    fn cleartext(
        &mut self,
        event: server::Event<'_, Cleartext>,
        machine: &mut Server<Cleartext>,
        tx: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        match event {
            server::Event::StartTls(request) => Next::StartTls(request),
            server::Event::Command(_, reply) => {
                machine
                    .reply(reply, &StatusResponse::new(Condition::Ok, Text::first_line("clear")), tx)
                    .unwrap();
                Next::Continue
            }
            _ => Next::Continue,
        }
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
            server::Event::Command(_, reply) => {
                machine
                    .reply(reply, &StatusResponse::new(Condition::Ok, Text::first_line("done")), tx)
                    .unwrap();
            }
            _ => {}
        }
        Next::Continue
    }

    fn woken(&mut self, _: MachineMut<'_, ImapServer>, _: &mut SendBuffer, _: &mut Context<'_>) -> Next {
        Next::Continue
    }
}

struct Running {
    address: SocketAddr,
    handle: ReactorHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start(tls: ListenerTls) -> Self {
        let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
        let mut waits = Waits::default();
        waits.delay = Duration::from_millis(100);
        let config = Arc::new(Config::default().waits(waits).offered_mechanisms(Mechanisms::all()));
        let any = "127.0.0.1:0".parse().unwrap();
        let factory = |_: &Peer| App;
        let address =
            reactor.listen::<ImapServer, App>(any, tls, config, Deadlines::default(), factory).unwrap();
        let handle = reactor.handle();
        let thread = Some(std::thread::spawn(move || reactor.run().unwrap()));
        Self { address, handle, thread }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down(Duration::ZERO);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn connect(address: SocketAddr, security: Security, tls: TlsClientConfig) -> Connection<Client<Secure>> {
    let connector = Connector::new(tls).deadlines(Deadlines::uniform(Duration::from_secs(5)));
    connector.connect::<ImapClientProtocol>(&target(address, security), &Arc::new(Config::default())).unwrap()
}

/// Logs in with the strongest mechanism. Returns whether the server accepted it.
fn log_in(connection: &mut Connection<Client<Secure>>, password: &[u8]) -> bool {
    log_in_by(connection, Credentials::password("alice", password), LoginMethod::Strongest)
}

/// Logs in with one of these mechanisms. Returns whether the server accepted it.
fn log_in_by(
    connection: &mut Connection<Client<Secure>>,
    credentials: Credentials,
    method: LoginMethod,
) -> bool {
    if connection.machine().capabilities().is_none() {
        connection
            .drive(|turn, _, _| {
                Ok::<_, Error>(
                    matches!(turn, ConnectionEvent::Machine(client::Event::Capabilities)).then_some(()),
                )
            })
            .unwrap();
    }
    connection.with(|client, tx| client.authenticate(method, &credentials, tx)).unwrap();
    connection
        .drive(|turn, _, _| {
            Ok::<_, Error>(match turn {
                ConnectionEvent::Machine(client::Event::Auth(client::AuthOutcome::Accepted { .. })) => {
                    Some(true)
                }
                ConnectionEvent::Machine(client::Event::Auth(_)) => Some(false),
                _ => None,
            })
        })
        .unwrap()
}

#[test]
fn both_ways_to_tls_lead_to_a_session() {
    let (authority, identity) = localhost();
    for (tls, security) in [
        (ListenerTls::StartTls(identity.server()), Security::StartTls),
        (ListenerTls::Implicit(identity.server()), Security::ImplicitTls),
    ] {
        let server = Running::start(tls);
        let mut connection = connect(server.address, security, authority.trust());
        let begun = Instant::now();
        assert!(!log_in(&mut connection, b"wrong"));
        assert!(begun.elapsed() >= Duration::from_millis(90), "a refusal is held back");
        assert!(log_in(&mut connection, b"hunter2"));
        let noop = connection.with(|client, tx| client.send(&Command::Noop, tx)).unwrap();
        let text = connection.drive(|turn, _, _| match turn {
            ConnectionEvent::Machine(client::Event::Completed { id, status }) if id == noop => {
                Ok::<_, Error>(Some(status.text.to_str_lossy().into_owned()))
            }
            _ => Ok(None),
        });
        assert_eq!(text.unwrap(), "done");
        connection.with(Client::logout).unwrap();
        connection
            .drive(|turn, _, _| {
                Ok::<_, Error>(matches!(turn, ConnectionEvent::Machine(client::Event::Closed)).then_some(()))
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
            let mut connection = connect(server.address, Security::ImplicitTls, trust);
            let choice = LoginMethod::Mechanism(mechanism);
            for (name, password, good) in
                [("alice", "hunter3", false), ("bob", "hunter2", false), ("alice", "hunter2", true)]
            {
                let credentials = Credentials::password(name, password.as_bytes());
                let believed = log_in_by(&mut connection, credentials, choice);
                assert_eq!(believed, good, "{versions:?} {mechanism} {name}");
            }
        }
        let trust = authority.trust().versions(versions).unwrap();
        let mut connection = connect(server.address, Security::ImplicitTls, trust);
        let external = LoginMethod::Mechanism(Mechanism::External);
        assert!(!log_in_by(&mut connection, Credentials::external(), external), "nothing has proved anybody");
        assert!(log_in_by(&mut connection, Credentials::anonymous("a visitor"), LoginMethod::Strongest));
    }
}

#[test]
fn a_command_after_starttls_ends_the_session() {
    let (_, identity) = localhost();
    let server = Running::start(ListenerTls::StartTls(identity.server()));
    let bytes = b"a STARTTLS\r\nb NOOP\r\n";
    for at in 1..=bytes.len() {
        let mut socket = TcpStream::connect(server.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.write_all(&bytes[..at]).unwrap();
        std::thread::sleep(Duration::from_millis(3));
        let _ = socket.write_all(&bytes[at..]);
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        let text = String::from_utf8_lossy(&rest);
        assert!(!text.contains("b OK") && !text.contains("b NO") && !text.contains("b BAD"), "{at}: {text}");
    }
}

#[test]
fn says_bye_on_shutdown() {
    let (authority, identity) = localhost();
    let server = Running::start(ListenerTls::Implicit(identity.server()));
    let mut connection = connect(server.address, Security::ImplicitTls, authority.trust());
    assert!(log_in(&mut connection, b"hunter2"));
    server.handle.shut_down(Duration::from_secs(5));
    let bye = connection.drive(|turn, _, _| match turn {
        ConnectionEvent::Machine(client::Event::Bye(status)) => {
            Ok::<_, Error>(Some(status.text.to_str_lossy().into_owned()))
        }
        _ => Ok(None),
    });
    assert!(bye.unwrap().contains("shutting down"));
}
