//! Hostile peers and faulty programs: what they do costs them their own session, and nothing else.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod common;

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use io_tokio::{
    ConnectionLimits, Connector, Context, Deadlines, Error, Handler, ImapClient, ListenerSettings,
    ListenerTls, Next, Server, SmtpServer, Socket,
    server::{BoundPort, CleartextSession, SecureSession, Service},
};
use proto_mail::{Cleartext, Secure, SendBuffer};
use proto_smtp::{
    server::{self, Event},
    types::Response,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
    time::{sleep, timeout},
};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// How many events the sessions of a test have had.
type Count = Arc<AtomicUsize>;

/// A handler that leaves everything to the machine.
struct Idle(Count);

impl Handler<SmtpServer> for Idle {
    fn cleartext(
        &mut self,
        event: Event<'_, Cleartext>,
        machine: &mut server::Server<Cleartext>,
        tx: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        match event {
            Event::Closed => return Next::Close,
            Event::Help(_, token) => machine.reply(token, &Response::help(), tx).unwrap(),
            _ => {}
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        Next::Continue
    }

    fn secure(
        &mut self,
        _: Event<'_, Secure>,
        _: &mut server::Server<Secure>,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        Next::Continue
    }
}

/// A service that answers nothing by itself.
#[derive(Clone)]
struct Silent(Count);

impl Service<SmtpServer> for Silent {
    async fn secure(&self, mut session: SecureSession<SmtpServer>) -> Result<(), Error> {
        while session.next_event().await?.is_some() {}
        Ok(())
    }

    async fn cleartext(&self, mut session: CleartextSession<SmtpServer>) -> Result<(), Error> {
        while session.next_event().await?.is_some() {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// A configuration whose machine bears any number of commands.
fn patient() -> Arc<proto_smtp::Config> {
    let mut limits = proto_mail::Limits::default();
    (limits.commands_before_auth, limits.errors) = (u32::MAX, u32::MAX);
    proto_smtp::Config::default().limits(limits).max_idle_commands(u32::MAX).into()
}

async fn greeted(address: SocketAddr) -> bool {
    let mut client = TcpStream::connect(address).await.unwrap();
    let mut greeting = [0; 4];
    matches!(timeout(Duration::from_secs(5), client.read_exact(&mut greeting)).await, Ok(Ok(_)))
        && &greeting == b"220 "
}

#[tokio::test]
async fn a_factory_that_panics_ends_only_its_own_connection() {
    for proxies in [None, Some("127.0.0.1".parse().unwrap())] {
        let mut server = Server::new(ConnectionLimits::default());
        let port = BoundPort::bind(ANY_PORT).await.unwrap();
        let address = port.address().as_socket_addr().unwrap();
        let config = proto_smtp::Config::default().into();
        let settings = ListenerSettings::new(config, ListenerTls::None, Deadlines::default());
        let made = AtomicUsize::new(0);
        let factory = move |_: &io_tokio::Peer| {
            assert!(made.fetch_add(1, Ordering::SeqCst) > 0, "the test wants it");
            Idle(Count::default())
        };
        let is_proxied = proxies.is_some();
        server.listen_on::<SmtpServer, _>(port, proxies, &settings, factory).unwrap();
        for is_served in [false, true] {
            let mut client = TcpStream::connect(address).await.unwrap();
            if is_proxied {
                client.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.2 40000 25\r\n").await.unwrap();
            }
            let mut greeting = [0; 4];
            let read = timeout(Duration::from_secs(5), client.read_exact(&mut greeting)).await;
            assert_eq!(read.unwrap().is_ok(), is_served, "behind a proxy: {is_proxied}");
        }
        assert_eq!(server.sessions(), 1);
    }
}

/// Sends commands without a pause, and reads the replies, until the server closes. Returns the last reply.
fn flood(address: SocketAddr, command: &[u8], stop: &AtomicBool) -> String {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut writer = socket.try_clone().unwrap();
    let commands = command.repeat(1000);
    std::thread::scope(|scope| {
        scope.spawn(move || while writer.write_all(&commands).is_ok() {});
        let mut last = Vec::new();
        let mut buffer = [0; 64 * 1024];
        while let Ok(count @ 1..) = socket.read(&mut buffer) {
            last.extend_from_slice(&buffer[..count]);
            last.drain(..last.len().saturating_sub(200));
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let _ = socket.shutdown(std::net::Shutdown::Both);
        String::from_utf8_lossy(&last).trim_end().lines().last().unwrap_or_default().to_owned()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_stops_sending_has_to_log_in_in_time() {
    let mut server = Server::new(ConnectionLimits::default());
    let mut deadlines = Deadlines::default();
    deadlines.login = Duration::from_millis(500);
    let config = patient();
    let handled = server
        .listen::<SmtpServer, _>(ANY_PORT, ListenerTls::None, config.clone(), deadlines.clone(), |_| {
            Idle(Count::default())
        })
        .await
        .unwrap();
    let served = server
        .serve::<SmtpServer>(ANY_PORT, ListenerTls::None, config, deadlines, Silent(Count::default()))
        .await
        .unwrap();
    for (kind, address) in [("handler", handled), ("service", served)] {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // HELP is an event for the application.
        let flooding = tokio::task::spawn_blocking(move || flood(address, b"HELP x\r\n", &stopped));
        sleep(Duration::from_secs(3)).await;
        stop.store(true, Ordering::Relaxed);
        let last = flooding.await.unwrap();
        assert!(last.starts_with("421 4.4.2 "), "{kind}: {last}");
    }
}

#[tokio::test]
async fn a_busy_session_lets_the_others_run() {
    let mut server = Server::new(ConnectionLimits::default());
    let (config, count) = (patient(), Count::default());
    let counted = Arc::clone(&count);
    let idle = move |_: &io_tokio::Peer| Idle(Arc::clone(&counted));
    let handled = server
        .listen::<SmtpServer, _>(ANY_PORT, ListenerTls::None, config.clone(), Deadlines::default(), idle)
        .await
        .unwrap();
    let silent = Silent(Arc::clone(&count));
    let served = server
        .serve::<SmtpServer>(ANY_PORT, ListenerTls::None, config, Deadlines::default(), silent)
        .await
        .unwrap();
    for (kind, address) in [("handler", handled), ("service", served)] {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let flooding = tokio::task::spawn_blocking(move || flood(address, b"HELP x\r\n", &stopped));
        let mut most = 0;
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            let before = count.load(Ordering::SeqCst);
            tokio::task::yield_now().await;
            most = most.max(count.load(Ordering::SeqCst) - before);
        }
        assert!(greeted(address).await, "{kind}: others are served");
        stop.store(true, Ordering::Relaxed);
        flooding.await.unwrap();
        assert!((1..10_000).contains(&most), "{kind}: {most} events while the others waited");
    }
}

/// A server that refuses the first APPEND before it has the message, and accepts the second one.
async fn refuses_early(mut stream: tokio::io::DuplexStream) {
    async fn until(stream: &mut tokio::io::DuplexStream, received: &mut Vec<u8>, end: &str) -> String {
        while !received.windows(end.len()).any(|part| part == end.as_bytes()) {
            received.push(stream.read_u8().await.unwrap());
        }
        let text = String::from_utf8(std::mem::take(received)).unwrap();
        text.split(' ').next().unwrap_or_default().to_owned()
    }
    let mut received = Vec::new();
    stream.write_all(b"* PREAUTH [CAPABILITY IMAP4rev1 UIDPLUS] hello\r\n").await.unwrap();
    let tag = until(&mut stream, &mut received, "}\r\n").await;
    stream.write_all(format!("+ go\r\n{tag} NO the disk is full\r\n").as_bytes()).await.unwrap();
    until(&mut stream, &mut received, "first\r\n").await;
    let tag = until(&mut stream, &mut received, "}\r\n").await;
    stream.write_all(b"+ go\r\n").await.unwrap();
    until(&mut stream, &mut received, "second\r\n").await;
    stream.write_all(format!("{tag} OK [APPENDUID 3 9] done\r\n").as_bytes()).await.unwrap();
    let _ = stream.read_to_end(&mut received).await;
}

#[tokio::test]
async fn the_status_of_an_append_is_never_that_of_another() {
    let (client, stream) = duplex(4096);
    tokio::spawn(refuses_early(stream));
    let config = Arc::new(proto_imap::Config::default().danger_cleartext());
    let connector = Connector::new(io_tokio::TlsClientConfig::danger_accept_any_certificate().unwrap());
    let connection = connector
        .danger_connect_cleartext_over::<io_tokio::io_common::ImapClientProtocol>(
            Socket::new(client),
            &config,
        )
        .unwrap();
    let mut imap = ImapClient::over(connection).await.unwrap();
    let mut writer = imap.append_stream("INBOX", 7).await.unwrap();
    writer.write_all(b"fi").await.unwrap();
    sleep(Duration::from_millis(50)).await;
    writer.write_all(b"rst\r\n").await.unwrap();
    // The program does not ask for the outcome.
    let _ = writer;
    let appended = timeout(Duration::from_secs(5), imap.append("INBOX", "second\r\n")).await.unwrap();
    assert_eq!(appended.unwrap().map(|appended| appended.uid), Some(9));
}
