//! A blocking client: uploads in bounded memory, every kind of timeout, a peer that disconnects.

#![allow(clippy::unwrap_used, clippy::panic)]

mod toy;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use io_mio::{
    ConnectionEvent, Connector, Deadlines, Error, ErrorKind, ListenerTls, Security, Target, TimeoutStage,
    TlsClientConfig,
};
use proto_mail::WaitFor;
use toy::{Config, Event, Server, Toy, ask, connect, line, localhost, target};

#[test]
fn an_upload_streams_in_bounded_memory() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let mut connection = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap();
    assert_eq!(line(&mut connection).unwrap(), "220 toy");
    let size: u64 = 128 * 1024 * 1024;
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    let (mut left, mut most) = (size, 0);
    connection.with(|machine, tx| machine.0.say(&format!("PUT {size}"), tx));
    let answer = connection.drive(|turn, _, tx| match turn {
        ConnectionEvent::Machine(Event::Line(line)) => Ok::<_, Error>(Some(line.to_owned())),
        ConnectionEvent::Writable if left > 0 => {
            tx.put_payload(chunk.clone());
            left -= chunk.len() as u64;
            most = most.max(tx.len());
            Ok(None)
        }
        _ => Ok(None),
    });
    assert_eq!(answer.unwrap(), format!("GOT {size}"));
    assert!(most <= 256 * 1024, "{most} bytes waited");
    connection.close().unwrap();
}

#[test]
fn a_time_out_names_what_was_awaited() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let limit = Duration::from_millis(200);
    let connector = Connector::new(TlsClientConfig::danger_accept_any_certificate().unwrap())
        .deadlines(Deadlines::uniform(limit))
        .without_probe();
    let config = Config::default();
    let begun = Instant::now();
    let error = connector.connect::<Toy>(&target(address, Security::StartTls), &config).unwrap_err();
    assert!(
        matches!(error, Error::TimedOut { stage: TimeoutStage::Wait(WaitFor::Greeting), after } if after == limit)
    );
    assert!(error.hint().unwrap().contains("implicit TLS"), "{error}");
    let error = connector.connect::<Toy>(&target(address, Security::ImplicitTls), &config).unwrap_err();
    assert!(matches!(error, Error::TimedOut { stage: TimeoutStage::Tls, .. }), "{error}");
    assert!(error.hint().unwrap().contains("STARTTLS"), "{error}");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

/// A client that is not allowed a second connection opens none.
#[test]
fn a_silent_server_is_only_asked_if_it_may_be() {
    let connections = |connector: Connector| {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = target(silent.local_addr().unwrap(), Security::StartTls);
        assert_eq!(target.host(), "localhost");
        let connector = connector.deadlines(Deadlines::uniform(Duration::from_millis(700)));
        assert!(connector.connect::<Toy>(&target, &Config::default()).is_err());
        silent.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| silent.accept().ok()).count()
    };
    let connector = || Connector::new(TlsClientConfig::danger_accept_any_certificate().unwrap());
    assert_eq!(connections(connector()), 2);
    assert_eq!(connections(connector().without_probe()), 1);
    // A server that has begun its greeting is slow but not silent.
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = target(slow.local_addr().unwrap(), Security::StartTls);
    let server = std::thread::spawn(move || {
        let (mut socket, _) = slow.accept().unwrap();
        socket.write_all(b"220 t").unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
        slow.set_nonblocking(true).unwrap();
        slow.accept().is_err()
    });
    let connector = connector().deadlines(Deadlines::uniform(Duration::from_millis(700)));
    assert!(connector.connect::<Toy>(&target, &Config::default()).is_err());
    assert!(server.join().unwrap(), "no other connection came");
}

#[test]
fn an_answer_that_stops_in_the_middle() {
    let (address, thread) = says(b"220 toy\r\nDATA 100\r\nhalf");
    let connector = Connector::new(TlsClientConfig::danger_accept_any_certificate().unwrap())
        .deadlines(Deadlines::uniform(Duration::from_millis(200)));
    let target = target(address, Security::StartTls);
    let mut connection = connector.danger_connect_cleartext::<Toy>(&target, &Config::default()).unwrap();
    let error = connection.drive(|_, _, _| Ok::<Option<()>, Error>(None)).unwrap_err();
    assert!(matches!(error, Error::TimedOut { stage: TimeoutStage::Wait(WaitFor::Data), .. }), "{error}");
    drop(connection);
    thread.join().unwrap();
}

#[test]
fn driving_until_an_instant_loses_nothing() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let mut connection = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap();
    assert_eq!(line(&mut connection).unwrap(), "220 toy");
    connection.with(|machine, tx| machine.0.say("LATE x", tx));
    let soon = Instant::now() + Duration::from_millis(20);
    let early = connection.drive_until(soon, |turn, _, _| match turn {
        ConnectionEvent::Machine(event) => Ok::<_, Error>(Some(format!("{event:?}"))),
        ConnectionEvent::Writable => Ok(None),
    });
    assert_eq!(early.unwrap(), None);
    assert_eq!(line(&mut connection).unwrap(), "LATE x");
}

#[test]
fn an_error_of_the_program_ends_the_drive() {
    #[derive(Debug)]
    struct Mine(&'static str);
    impl From<Error> for Mine {
        fn from(_: Error) -> Self {
            Self("the driver's")
        }
    }
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let mut connection = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap();
    let error = connection.drive(|_, _, _| Err::<Option<()>, _>(Mine("my own"))).unwrap_err();
    assert_eq!(error.0, "my own");
    assert_eq!(line(&mut connection).unwrap(), "220 toy", "the connection is as it was");
}

#[test]
fn reports_closed_ports_and_unknown_names() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tls = TlsClientConfig::danger_accept_any_certificate().unwrap();
    let error = connect(address, Security::ImplicitTls, tls.clone()).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    // A label of more than 63 bytes: the client asks no name server about it.
    let target = Target::new("x".repeat(300), 993, Security::ImplicitTls);
    let connector = Connector::new(tls).deadlines(Deadlines::uniform(Duration::from_secs(3)));
    let error = connector.connect::<Toy>(&target, &Config::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoHost, "{error}");
}

#[test]
fn two_writers_do_not_wait_for_each_other_for_ever() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let mut connection = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap();
    assert_eq!(line(&mut connection).unwrap(), "220 toy");
    // Far more commands and replies than all buffers on the way hold.
    let batch = Bytes::from(format!("PING {}\r\n", "y".repeat(500)).repeat(200));
    let (mut left, mut answers) = (500u32, 0);
    connection.set_deadlines(Deadlines::uniform(Duration::from_secs(10)));
    connection
        .drive(|turn, _, tx| {
            match turn {
                ConnectionEvent::Machine(_) => answers += 1,
                ConnectionEvent::Writable if left > 0 => {
                    left -= 1;
                    tx.put_payload(batch.clone());
                }
                ConnectionEvent::Writable => {}
            }
            Ok::<_, Error>((answers == 100_000).then_some(()))
        })
        .unwrap();
}

#[test]
fn a_connector_is_shared_between_threads() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let connector = Arc::new(Connector::new(authority.trust()));
    let address = server.address;
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let connector = connector.clone();
            std::thread::spawn(move || {
                let target = target(address, Security::ImplicitTls);
                let mut connection = connector.connect::<Toy>(&target, &Config::default()).unwrap();
                assert_eq!(line(&mut connection).unwrap(), "220 toy");
                ask(&mut connection, &format!("PING {number}")).unwrap()
            })
        })
        .collect();
    for (number, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), format!("PONG {number}"));
    }
}

/// Starts a server that sends this text at once and then waits until the client disconnects.
fn says(text: &'static [u8]) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(text).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    });
    (address, thread)
}
