//! Many sessions on one reactor: idle, slow, greedy and faulty clients.

#![allow(clippy::unwrap_used, clippy::panic)]

mod toy;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use io_mio::{ConnectionLimits, Deadlines, ListenerTls, MinimumRate, Security};
use toy::{Config, Server, ask, connect, line, localhost};

fn plain() -> Server {
    Server::start(ListenerTls::None)
}

/// Connects a client and reads the greeting.
fn client(server: &Server) -> BufReader<TcpStream> {
    let socket = TcpStream::connect(server.address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut client = BufReader::new(socket);
    assert_eq!(read_line(&mut client), "220 toy\r\n");
    client
}

fn read_line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line
}

fn say(client: &mut BufReader<TcpStream>, line: &str) {
    client.get_mut().write_all(line.as_bytes()).unwrap();
}

#[test]
fn two_thousand_idle_sessions_do_not_slow_one_down() {
    let mut limits = ConnectionLimits::default();
    limits.connections_per_address = 3000;
    let server = Server::with(ListenerTls::None, Config::default(), Deadlines::default(), limits);
    let mut idle: Vec<_> = (0..2000).map(|_| client(&server)).collect();
    let mut busy = client(&server);
    let begun = Instant::now();
    for number in 0..100 {
        say(&mut busy, &format!("PING {number}\r\n"));
        assert_eq!(read_line(&mut busy), format!("PONG {number}\r\n"));
    }
    assert!(begun.elapsed() < Duration::from_millis(1000), "{:?}: no step takes long", begun.elapsed());
    // The clients have been idle for so long that their buffers were freed. They still get replies.
    std::thread::sleep(Duration::from_millis(3500));
    for client in idle.iter_mut().step_by(100) {
        say(client, "PING still\r\n");
        assert_eq!(read_line(client), "PONG still\r\n");
    }
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let server = plain();
    let mut client = client(&server);
    let batch: String = (0..2000).map(|number| format!("PING {number}\r\n")).collect();
    let mut writer = client.get_ref().try_clone().unwrap();
    let thread = std::thread::spawn(move || writer.write_all(batch.as_bytes()).unwrap());
    for number in 0..2000 {
        assert_eq!(read_line(&mut client), format!("PONG {number}\r\n"));
    }
    thread.join().unwrap();
}

#[test]
fn a_worker_answers_later_and_the_order_stays() {
    let server = plain();
    let mut clients: Vec<_> = (0..4).map(|_| client(&server)).collect();
    for client in &mut clients {
        say(client, "LATE one\r\nPING two\r\nLATE three\r\n");
    }
    for client in &mut clients {
        assert_eq!(read_line(client), "LATE one\r\n");
        assert_eq!(read_line(client), "PONG two\r\n");
        assert_eq!(read_line(client), "LATE three\r\n");
    }
}

#[test]
fn a_session_may_end_before_its_job() {
    let server = plain();
    let mut gone = client(&server);
    say(&mut gone, "LATE one\r\n");
    drop(gone);
    let mut other = client(&server);
    std::thread::sleep(Duration::from_millis(200));
    say(&mut other, "PING two\r\n");
    assert_eq!(read_line(&mut other), "PONG two\r\n");
}

#[test]
fn work_ends_when_its_client_is_gone() {
    let server = plain();
    let mut gone = client(&server);
    say(&mut gone, "PING one\r\nFOREVER\r\nPING unread\r\n");
    server.saw("FOREVER");
    // The unread replies reset the connection: the client has not just closed its side.
    std::thread::sleep(Duration::from_millis(100));
    drop(gone);
    server.saw("job dropped");
}

#[test]
fn work_ends_soon_for_a_client_that_cut_tls_off() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let mut gone = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap();
    gone.with(|machine, tx| machine.0.say("FOREVER", tx));
    gone.flush().unwrap();
    server.saw("FOREVER");
    // The client closes without close_notify. This does not reset the connection: the client has read everything.
    let begun = Instant::now();
    drop(gone);
    server.saw("job dropped");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn work_goes_on_for_a_client_that_only_closed_its_side() {
    let server = plain();
    let mut half = client(&server);
    say(&mut half, "LATE one\r\nLATE two\r\n");
    half.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_line(&mut half), "LATE one\r\n");
    assert_eq!(read_line(&mut half), "LATE two\r\n");
}

#[test]
fn work_of_some_seconds_goes_on_for_a_client_that_closed_its_side() {
    let server = plain();
    let mut half = client(&server);
    say(&mut half, "SLOW one\r\nPING two\r\n");
    half.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_line(&mut half), "SLOW one\r\n");
    assert_eq!(read_line(&mut half), "PONG two\r\n");
    assert_eq!(read_line(&mut half), "", "closed when all is answered");
}

#[test]
fn the_oldest_client_that_has_not_logged_in_gives_its_place_to_a_new_one() {
    let mut limits = ConnectionLimits::default();
    limits.connections_before_login = Some(3);
    let mut deadlines = Deadlines::default();
    deadlines.login = Duration::from_secs(60);
    let server = Server::with(ListenerTls::None, Config::default(), deadlines, limits);
    let mut silent: Vec<_> = (0..3).map(|_| client(&server)).collect();
    // No session is old enough to be closed for a new one.
    assert_eq!(
        read_line(&mut BufReader::new(TcpStream::connect(server.address).unwrap())),
        "421 too busy\r\n"
    );
    std::thread::sleep(Duration::from_millis(1_100));
    let mut owner = client(&server);
    say(&mut owner, "PING in\r\n");
    assert_eq!(read_line(&mut owner), "PONG in\r\n");
    assert_eq!(read_line(&mut silent[0]), "421 too busy\r\n");
    assert_eq!(read_line(&mut silent[0]), "", "closed");
    say(&mut silent[1], "PING still\r\n");
    assert_eq!(read_line(&mut silent[1]), "PONG still\r\n");
}

/// Connects from another loopback address.
fn client_from(address: [u8; 4], server: &Server) -> BufReader<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let mut client = BufReader::new(TcpStream::from(socket));
    client.get_mut().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    read_line(&mut client);
    client
}

#[test]
fn the_address_with_the_most_connections_gives_its_place_to_a_new_client() {
    let mut limits = ConnectionLimits::default();
    limits.connections_before_login = Some(3);
    let mut deadlines = Deadlines::default();
    deadlines.login = Duration::from_secs(60);
    let server = Server::with(ListenerTls::None, Config::default(), deadlines, limits);
    let mut oldest = client_from([127, 0, 0, 1], &server);
    let mut many: Vec<_> = (0..2).map(|_| client_from([127, 0, 0, 2], &server)).collect();
    std::thread::sleep(Duration::from_millis(1_100));
    let mut owner = client_from([127, 0, 0, 3], &server);
    assert_eq!(read_line(&mut many[0]), "421 too busy\r\n");
    for (client, word) in [(&mut oldest, "old"), (&mut owner, "new")] {
        say(client, &format!("PING {word}\r\n"));
        assert_eq!(read_line(client), format!("PONG {word}\r\n"));
    }
}

#[test]
fn a_panic_costs_one_session() {
    let server = plain();
    let (mut bad, mut good) = (client(&server), client(&server));
    say(&mut bad, "PANIC\r\n");
    assert_eq!(read_line(&mut bad), "", "closed");
    say(&mut good, "PING on\r\n");
    assert_eq!(read_line(&mut good), "PONG on\r\n");
}

#[test]
fn dripped_bytes_do_not_extend_the_wait_for_a_command() {
    let config = Config { command: Duration::from_millis(400), ..Config::default() };
    let server = Server::with(ListenerTls::None, config, Deadlines::default(), ConnectionLimits::default());
    let mut client = client(&server);
    let begun = Instant::now();
    let mut writer = client.get_ref().try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        while writer.write_all(b"P").is_ok() && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(read_line(&mut client), "421 too slow\r\n");
    let took = begun.elapsed();
    assert!((300..1500).contains(&took.as_millis()), "{took:?}");
    drop(client);
    drip.join().unwrap();
    server.saw("closed: the client sent no command in time");
}

#[test]
fn a_message_below_the_least_rate_is_cut_off() {
    let mut deadlines = Deadlines::default();
    deadlines.rate = MinimumRate { bytes: 1000, per: Duration::from_millis(300) };
    let server = Server::with(ListenerTls::None, Config::default(), deadlines, ConnectionLimits::default());
    let mut client = client(&server);
    say(&mut client, "PUT 100000\r\n");
    let begun = Instant::now();
    // Each part extends the machine's own time limit: only the minimum rate ends the session.
    while client.get_mut().write_all(b"x").is_ok() && begun.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    server.saw("closed: ");
}

#[test]
fn disconnects_a_peer_that_stops_reading_with_little_memory() {
    let mut deadlines = Deadlines::default();
    deadlines.rate = MinimumRate { bytes: 1000, per: Duration::from_millis(500) };
    let server = Server::with(ListenerTls::None, Config::default(), deadlines, ConnectionLimits::default());
    let before = resident();
    let mut greedy = client(&server);
    say(&mut greedy, "GET 1000000000\r\n");
    let mut other = client(&server);
    say(&mut other, "PING meanwhile\r\n");
    assert_eq!(read_line(&mut other), "PONG meanwhile\r\n");
    server.saw("closed: the peer did not read what was sent within 500ms");
    // Far less than what the client requested. Other tests of this process use memory at the same time.
    assert!(resident() < before + 256 * 1024, "{before} to {} KiB", resident());
}

/// A peer that sends or reads at the minimum rate is not disconnected, however long it takes.
#[test]
fn a_peer_at_the_least_rate_is_served() {
    let mut deadlines = Deadlines::default();
    deadlines.rate = MinimumRate { bytes: 1, per: Duration::from_millis(600) };
    let server = Server::with(ListenerTls::None, Config::default(), deadlines, ConnectionLimits::default());
    let mut sender = client(&server);
    let mut reader = client(&server);
    let size = 64 * 1024 * 1024;
    say(&mut sender, "PUT 400\r\n");
    say(&mut reader, &format!("GET {size}\r\nPING after\r\n"));
    assert_eq!(read_line(&mut reader), format!("DATA {size}\r\n"));
    let mut part = vec![0; 256 * 1024];
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(40));
        say(&mut sender, "ten bytes!");
        reader.read_exact(&mut part).unwrap();
    }
    assert_eq!(read_line(&mut sender), "GOT 400\r\n");
    let rest = size - 40 * part.len() as u64;
    let read = std::io::copy(&mut (&mut reader).take(rest), &mut std::io::sink()).unwrap();
    assert_eq!((read, read_line(&mut reader).as_str()), (rest, "PONG after\r\n"));
}

/// Only the first bytes of a session can be TLS by mistake. The same bytes in a message belong to the message.
#[test]
fn a_message_that_begins_like_tls_is_a_message() {
    let server = plain();
    let mut client = client(&server);
    say(&mut client, "PUT 6\r\n");
    std::thread::sleep(Duration::from_millis(50));
    say(&mut client, "\x16\x03\x01\0\0\0PING on\r\n");
    assert_eq!(read_line(&mut client), "GOT 6\r\n");
    assert_eq!(read_line(&mut client), "PONG on\r\n");
}

/// Returns how many bytes a server accepts while it owes an answer that the client does not read.
fn taken(from: &mut impl Write) -> usize {
    const MUCH: usize = 64 * 1024 * 1024;
    let lines = b"PING on\r\n".repeat(8192);
    let (mut taken, mut waited) = (0, 0);
    while taken < MUCH && waited < 15 {
        match from.write(&lines) {
            Ok(count) => (taken, waited) = (taken + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                std::thread::sleep(Duration::from_millis(20));
                waited += 1;
            }
        }
    }
    taken
}

/// Asserts that the server reads no more once the buffers of the two sockets are full.
fn is_not_read_from(from: &mut impl Write) {
    let first = taken(from);
    std::thread::sleep(Duration::from_millis(200));
    let (then, at_last) = (taken(from), taken(from));
    assert!(then + at_last < 512 * 1024, "{first}, then {then} and {at_last} bytes");
}

/// The server stops reading from a client that does not read, even if the machine wants input: the client's bytes stay
/// on its side.
#[test]
fn a_peer_that_does_not_read_is_not_read_from() {
    let (authority, identity) = localhost();
    let serving = |tls: ListenerTls| {
        let config = Config { high_water: usize::MAX, ..Config::default() };
        Server::with(tls, config, Deadlines::default(), ConnectionLimits::default())
    };
    let server = serving(ListenerTls::None);
    let mut socket = client(&server).into_inner();
    socket.write_all(b"GET 1000000000\r\n").unwrap();
    socket.set_nonblocking(true).unwrap();
    is_not_read_from(&mut socket);

    let server = serving(ListenerTls::Implicit(identity.server()));
    let socket = TcpStream::connect(server.address).unwrap();
    let mut tls = rustls::StreamOwned::new(toy::rustls_client(&authority), socket);
    tls.write_all(b"GET 1000000000\r\n").unwrap();
    tls.flush().unwrap();
    tls.sock.set_nonblocking(true).unwrap();
    is_not_read_from(&mut tls);
}

#[test]
fn a_large_answer_arrives_whole_under_tls_and_not() {
    let (authority, identity) = localhost();
    let server = plain();
    let mut reader = client(&server);
    let size = 64 * 1024 * 1024;
    say(&mut reader, &format!("GET {size}\r\nPING after\r\n"));
    assert_eq!(read_line(&mut reader), format!("DATA {size}\r\n"));
    let read = std::io::copy(&mut (&mut reader).take(size), &mut std::io::sink()).unwrap();
    assert_eq!(read, size);
    assert_eq!(read_line(&mut reader), "PONG after\r\n");

    let server = Server::start(ListenerTls::StartTls(identity.server()));
    let mut connection = connect(server.address, Security::StartTls, authority.trust()).unwrap();
    assert_eq!(ask(&mut connection, &format!("GET {size}\r\nPING after")).unwrap(), format!("DATA {size}"));
    let mut got = 0;
    let after = connection.drive(|turn, _, _| match turn {
        io_mio::ConnectionEvent::Machine(toy::Event::Chunk(chunk)) => {
            got += chunk.len() as u64;
            Ok(None)
        }
        io_mio::ConnectionEvent::Machine(toy::Event::Line(line)) => {
            Ok::<_, io_mio::Error>(Some(line.to_owned()))
        }
        _ => Ok(None),
    });
    assert_eq!((after.unwrap().as_str(), got), ("PONG after", size));
}

#[test]
fn limits_hold_per_address_and_in_all() {
    let mut limits = ConnectionLimits::default();
    limits.connections_per_address = 3;
    let server = Server::with(ListenerTls::None, Config::default(), Deadlines::default(), limits);
    let clients: Vec<_> = (0..3).map(|_| client(&server)).collect();
    let mut fourth = BufReader::new(TcpStream::connect(server.address).unwrap());
    assert_eq!(read_line(&mut fourth), "421 too busy\r\n");
    // Input that the server has not read does not destroy its reply.
    let mut eager = TcpStream::connect(server.address).unwrap();
    let _ = eager.write_all(&[b'x'; 100_000]);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(read_line(&mut BufReader::new(eager)), "421 too busy\r\n");
    drop(clients);
    server.saw("closed: done");
    std::thread::sleep(Duration::from_millis(100));
    client(&server);
}

#[test]
fn one_too_many_is_told_so_under_tls_and_in_order() {
    let (authority, identity) = localhost();
    let mut limits = ConnectionLimits::default();
    limits.connections = 1;
    limits.refused_connections = 1;
    let tls = ListenerTls::Implicit(identity.server());
    let server = Server::with(tls, Config::default(), Deadlines::default(), limits);
    let mut first = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap();
    assert_eq!(line(&mut first).unwrap(), "220 toy");
    for _ in 0..2 {
        let mut second = connect(server.address, Security::ImplicitTls, authority.trust()).unwrap();
        assert_eq!(line(&mut second).unwrap(), "421 too busy");
        assert!(second.close().is_ok());
        std::thread::sleep(Duration::from_millis(50));
    }
    // A client that does not complete its handshake takes the single slot for refusals, not the slot of a session.
    let silent = TcpStream::connect(server.address).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(connect(server.address, Security::ImplicitTls, authority.trust()).is_err());
    assert_eq!(ask(&mut first, "PING 1").unwrap(), "PONG 1");
    drop(silent);
}

#[test]
fn a_shutdown_lets_a_message_finish_and_says_goodbye() {
    let server = plain();
    let (mut idle, mut busy) = (client(&server), client(&server));
    say(&mut busy, "PUT 10\r\n12345");
    server.saw("clear PUT 10");
    server.handle.shut_down(Duration::from_secs(5));
    assert_eq!(read_line(&mut idle), "421 going down\r\n");
    assert_eq!(read_line(&mut idle), "");
    say(&mut busy, "67890");
    assert_eq!(read_line(&mut busy), "GOT 10\r\n");
    assert_eq!(read_line(&mut busy), "421 going down\r\n");
    drop((idle, busy));
    drop(server);
}

#[test]
fn a_shutdown_has_a_deadline() {
    let server = plain();
    let mut busy = client(&server);
    say(&mut busy, "PUT 10\r\n12345");
    server.saw("clear PUT 10");
    let begun = Instant::now();
    server.handle.shut_down(Duration::from_millis(200));
    assert_eq!(read_line(&mut busy), "");
    assert!(begun.elapsed() < Duration::from_secs(2));
    server.saw("closed: shutdown");
}

#[test]
fn closing_loses_no_output() {
    let server = plain();
    let mut client = client(&server);
    // Much more than the server reads after QUIT: closing at once would reset the connection before the reply is read.
    say(&mut client, "QUIT\r\n");
    let _ = client.get_mut().write_all(&[b'x'; 100_000]);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(read_line(&mut client), "221 bye\r\n");
    server.saw("closed: done");
}

#[test]
fn implicit_tls_sessions_are_served_side_by_side() {
    let (authority, identity) = localhost();
    let server = Server::start(ListenerTls::Implicit(identity.server()));
    let mut open: Vec<_> =
        (0..50).map(|_| connect(server.address, Security::ImplicitTls, authority.trust()).unwrap()).collect();
    for (number, connection) in open.iter_mut().enumerate() {
        assert_eq!(line(connection).unwrap(), "220 toy");
        assert_eq!(ask(connection, &format!("PING {number}")).unwrap(), format!("PONG {number}"));
    }
}

/// Runs in its own process with few file descriptors, started by the test below.
fn server_with_few_descriptors() {
    let server = plain();
    println!("port {}", server.address.port());
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn descriptors_that_run_out_come_back() {
    const CHILD: &str = "TOY_FEW_DESCRIPTORS";
    if std::env::var_os(CHILD).is_some() {
        return server_with_few_descriptors();
    }
    let mut child = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 32 && exec \"$0\" --exact --nocapture descriptors_that_run_out_come_back"])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let port: u16 = loop {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).unwrap(), 0);
        if let Some((_, port)) = line.split_once("port ") {
            break port.trim().parse().unwrap();
        }
    };
    let open = || {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1000))).unwrap();
        BufReader::new(socket)
    };
    let mut clients: Vec<_> = (0..60).map(|_| open()).collect();
    assert_eq!(read_line(&mut clients[0]), "220 toy\r\n");
    let waits = clients[59].get_mut().read(&mut [0]).is_err();
    assert!(waits, "the last one is not served yet");
    drop(clients.drain(..40));
    assert_eq!(read_line(&mut clients[19]), "220 toy\r\n", "and now it is");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// Returns the resident memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
