//! Servers: handlers and async functions, the TLS gate, limits, proxies, shutdown.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::Identity;
use io_tokio::{
    CloseReason, ConnectionLimits, Connector, Context, Deadlines, Error, Handler, ListenerSettings,
    ListenerTls, MachineMut, Next, Security, Server, SmtpClient, SmtpServer, Socket, Target,
    server::{BoundPort, CleartextSession, SecureSession, Service},
    smtp::Envelope,
};
use proto_mail::{Cleartext, Credentials, Mechanism, Secure, SendBuffer};
use proto_smtp::{
    server::{self, Event, Reply},
    types::Response,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
    time::{sleep, timeout},
};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What the handlers of a test have seen.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, what: &str) {
        let seen = async {
            while !self.all().iter().any(|one| one.contains(what)) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), seen).await.unwrap_or_else(|_| panic!("{:?}", self.all()));
    }
}

/// A handler that accepts all mail, and answers HELP later from another thread.
struct Session {
    seen: Seen,
    pending: Option<Reply>,
}

impl Session {
    fn answer<C: proto_mail::Channel>(
        &mut self,
        event: Event<'_, C>,
        machine: &mut server::Server<C>,
        tx: &mut SendBuffer,
        cx: &Context<'_>,
    ) -> Next {
        let (token, response) = match event {
            Event::Mail(_, token) | Event::Rcpt(_, token) => (token, Response::ok()),
            Event::Data(token) => (token, Response::start_data()),
            Event::DataEnd(token) => {
                self.seen.add("message");
                (token, Response::ok())
            }
            Event::Help(topic, token) if topic == "later" => {
                self.pending = Some(token);
                let handle = cx.session_handle();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(50));
                    handle.wake();
                });
                return Next::Pause;
            }
            Event::Help(topic, token) if topic == "never" => {
                self.seen.add("paused");
                self.pending = Some(token);
                return Next::Pause;
            }
            Event::Help(topic, _) if topic == "panic" => panic!("the test wants it"),
            _ => return Next::Continue,
        };
        machine.reply(token, &response, tx).unwrap();
        Next::Continue
    }
}

impl Handler<SmtpServer> for Session {
    fn cleartext(
        &mut self,
        event: Event<'_, Cleartext>,
        machine: &mut server::Server<Cleartext>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        match event {
            Event::StartTls(request) => Next::StartTls(request),
            event => self.answer(event, machine, tx, cx),
        }
    }

    fn secure(
        &mut self,
        event: Event<'_, Secure>,
        machine: &mut server::Server<Secure>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        match event {
            Event::Auth(request) => {
                machine.answer_auth(request, proto_mail::AuthVerdict::Accept, tx).unwrap();
                cx.logged_in();
                Next::Continue
            }
            event => self.answer(event, machine, tx, cx),
        }
    }

    fn woken(
        &mut self,
        machine: MachineMut<'_, SmtpServer>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        let Some(token) = self.pending.take() else { return Next::Continue };
        self.seen.add(format!("woken among {}", cx.sessions()));
        let response = Response::help();
        match machine {
            MachineMut::Cleartext(machine) => machine.reply(token, &response, tx).unwrap(),
            MachineMut::Secure(machine) => machine.reply(token, &response, tx).unwrap(),
        }
        Next::Continue
    }

    fn closed(&mut self, reason: &CloseReason) {
        self.seen.add(format!("closed: {reason:?}"));
    }
}

async fn listen(server: &mut Server, tls: ListenerTls, seen: &Seen) -> SocketAddr {
    let seen = seen.clone();
    let factory = move |peer: &io_tokio::Peer| {
        seen.add(format!("{} {}", peer.address.ip(), peer.tls.is_some()));
        Session { seen: seen.clone(), pending: None }
    };
    let config = proto_smtp::Config::default().optional_authentication().into();
    server.listen::<SmtpServer, _>(ANY_PORT, tls, config, Deadlines::default(), factory).await.unwrap()
}

/// A client that reads what the server says.
struct Raw(TcpStream);

impl Raw {
    async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn says(&mut self, expected: &str) {
        let mut line = Vec::new();
        let read = async {
            while !line.ends_with(b"\r\n") || line.get(3) == Some(&b'-') {
                if line.ends_with(b"\r\n") {
                    line.clear();
                }
                line.push(self.0.read_u8().await.unwrap());
            }
        };
        timeout(Duration::from_secs(10), read).await.unwrap_or_else(|_| panic!("{expected}"));
        let line = String::from_utf8(line).unwrap();
        assert!(line.starts_with(expected), "{expected}: {line}");
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Everything until the server closes.
    async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        assert!(timeout(Duration::from_secs(10), read).await.is_ok(), "the server closes");
        rest
    }
}

#[tokio::test]
async fn a_handler_serves_starttls_and_implicit_tls() {
    let (identity, seen) = (Identity::localhost(), Seen::default());
    let mut server = Server::new(ConnectionLimits::default());
    for (tls, security) in [
        (ListenerTls::StartTls(identity.server()), Security::StartTls),
        (ListenerTls::Implicit(identity.server()), Security::ImplicitTls),
    ] {
        let port = listen(&mut server, tls, &seen).await.port();
        let connector = Connector::new(identity.trust());
        let target = Target::new("localhost", port, security);
        let mut smtp = SmtpClient::connect(&connector, &target).await.unwrap();
        assert_eq!(smtp.tls_info().unwrap().version, "TLSv1.3");
        smtp.login_by(&[Mechanism::Plain], &Credentials::password("u", &b"p"[..])).await.unwrap();
        let envelope = Envelope::new("a@example.com", ["b@example.org", "c@example.org"]).unwrap();
        let report = smtp.send(envelope, "0123456789\r\n".repeat(200_000)).await.unwrap();
        assert!(report.is_delivered(), "{report:?}");
        smtp.quit().await.unwrap();
    }
    server.shut_down(Duration::from_secs(5)).await;
    let messages = seen.all().iter().filter(|one| *one == "message").count();
    let closed = seen.all().iter().filter(|one| *one == "closed: Done").count();
    assert_eq!((messages, closed), (2, 2), "{:?}", seen.all());
}

async fn refuse_all(mut session: SecureSession<SmtpServer>) -> Result<(), Error> {
    while let Some(event) = session.next_event().await? {
        assert!(!matches!(event, Event::Hello(..)), "nothing crosses the gate");
    }
    Ok(())
}

#[tokio::test]
async fn a_command_after_starttls_ends_the_session() {
    let (identity, seen) = (Identity::localhost(), Seen::default());
    let mut server = Server::new(ConnectionLimits::default());
    let tls = ListenerTls::StartTls(identity.server());
    let handled = listen(&mut server, tls.clone(), &seen).await;
    let config = proto_smtp::Config::default().into();
    let served =
        server.serve::<SmtpServer>(ANY_PORT, tls, config, Deadlines::default(), refuse_all).await.unwrap();
    for address in [handled, served] {
        for split in [0, 1, 10] {
            let mut client = Raw::connect(address).await;
            client.says("220 ").await;
            client.send("EHLO client.example\r\n").await;
            client.says("250 ").await;
            let injected = "STARTTLS\r\nEHLO injected.example\r\n";
            let (first, last) = injected.split_at(injected.len() - split);
            client.send(first).await;
            if split > 0 {
                sleep(Duration::from_millis(20)).await;
                let _ = client.0.write_all(last.as_bytes()).await;
            }
            let rest = client.rest().await;
            let rest = String::from_utf8_lossy(&rest);
            assert!(!rest.contains("250"), "{rest}");
        }
    }
}

#[tokio::test]
async fn a_client_rejects_bytes_after_the_reply_to_starttls() {
    let identity = Identity::localhost();
    for injected in ["220 go\r\n250 injected\r\n", "220 go\r\n2"] {
        let (client, mut server) = duplex(4096);
        let serving = tokio::spawn(async move {
            server.write_all(b"220 mx\r\n").await.unwrap();
            let mut buffer = [0; 1024];
            let _ = server.read(&mut buffer).await.unwrap();
            server.write_all(b"250-mx\r\n250 STARTTLS\r\n").await.unwrap();
            let _ = server.read(&mut buffer).await.unwrap();
            server.write_all(injected.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.unwrap();
            rest
        });
        let target = Target::new("localhost", 587, Security::StartTls);
        let connector = Connector::new(identity.trust());
        let config = proto_smtp::Config::default();
        let error = SmtpClient::connect_over(&connector, Socket::new(client), &target, config).await;
        assert_eq!(error.unwrap_err().kind(), io_tokio::ErrorKind::Security);
        let rest = serving.await.unwrap();
        assert!(!rest.windows(4).any(|four| four == b"EHLO"), "nothing is said after it");
    }
}

#[tokio::test]
async fn a_stream_of_unknown_origin_is_not_trusted() {
    let server = Server::new(ConnectionLimits::default());
    let settings = ListenerSettings::new(Default::default(), ListenerTls::TrustedLocal, Deadlines::default());
    for (is_local, expected) in [(true, "220 "), (false, "")] {
        let (mut client, socket) = duplex(4096);
        let socket = if is_local { common::local(socket) } else { Socket::new(socket) };
        server.serve_over::<SmtpServer>(socket, &settings, refuse_all).await;
        let mut said = vec![0; 4];
        let count = client.read(&mut said).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&said[..count]), expected);
    }
}

#[tokio::test]
async fn another_thread_wakes_a_session() {
    let seen = Seen::default();
    let mut server = Server::new(ConnectionLimits::default());
    let address = listen(&mut server, ListenerTls::None, &seen).await;
    let mut client = Raw::connect(address).await;
    client.says("220 ").await;
    client.send("HELP later\r\nNOOP\r\n").await;
    client.says("214 ").await;
    client.says("250 ").await;
    assert!(seen.all().contains(&"woken among 1".into()), "{:?}", seen.all());
}

#[tokio::test]
async fn a_peer_that_leaves_ends_the_session_of_a_busy_handler() {
    let seen = Seen::default();
    let mut server = Server::new(ConnectionLimits::default());
    let address = listen(&mut server, ListenerTls::None, &seen).await;
    let mut client = Raw::connect(address).await;
    client.says("220 ").await;
    client.send("HELP never\r\n").await;
    seen.until("paused").await;
    client.0.set_zero_linger().unwrap();
    drop(client);
    seen.until("closed: Failed").await;
}

#[tokio::test]
async fn a_panic_ends_only_its_own_session() {
    let seen = Seen::default();
    let mut server = Server::new(ConnectionLimits::default());
    let address = listen(&mut server, ListenerTls::None, &seen).await;
    let (mut one, mut two) = (Raw::connect(address).await, Raw::connect(address).await);
    one.says("220 ").await;
    two.says("220 ").await;
    one.send("HELP panic\r\n").await;
    assert_eq!(one.rest().await, b"");
    two.send("NOOP\r\n").await;
    two.says("250 ").await;
    assert_eq!(server.sessions(), 1);
}

#[tokio::test]
async fn limits_refuse_with_the_protocols_reply() {
    let seen = Seen::default();
    let mut limits = ConnectionLimits::default();
    (limits.connections_per_address, limits.refused_connections) = (1, 1);
    let mut server = Server::new(limits);
    let handled = listen(&mut server, ListenerTls::None, &seen).await;
    let config = proto_smtp::Config::default().into();
    let served = server
        .serve::<SmtpServer>(ANY_PORT, ListenerTls::None, config, Deadlines::default(), refuse_all)
        .await
        .unwrap();
    let mut first = Raw::connect(handled).await;
    first.says("220 ").await;
    for address in [handled, served] {
        let second = Raw::connect(address).await;
        let third = Raw::connect(address).await;
        for refused in [second, third] {
            let said = refused.rest().await;
            assert!(said.starts_with(b"421 4.3.2 "), "{}", said.escape_ascii());
        }
    }
    drop(first);
    while server.sessions() > 0 {
        sleep(Duration::from_millis(5)).await;
    }
    Raw::connect(served).await.says("220 ").await;
}

#[tokio::test]
async fn a_proxy_announces_the_client_in_any_pieces() {
    let seen = Seen::default();
    let mut server = Server::new(ConnectionLimits::default());
    let port = BoundPort::bind(ANY_PORT).await.unwrap();
    let address = port.address().as_socket_addr().unwrap();
    let settings =
        ListenerSettings::new(proto_smtp::Config::default().into(), ListenerTls::None, Deadlines::default());
    let proxies = "127.0.0.1".parse().unwrap();
    let saw = seen.clone();
    let factory = move |peer: &io_tokio::Peer| {
        saw.add(peer.address.to_string());
        Session { seen: saw.clone(), pending: None }
    };
    server.listen_on::<SmtpServer, _>(port, Some(proxies), &settings, factory).unwrap();
    let header = "PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\nNOOP\r\n";
    for split in [5, header.len() - 6, header.len()] {
        let mut client = Raw::connect(address).await;
        client.send(&header[..split]).await;
        sleep(Duration::from_millis(30)).await;
        client.send(&header[split..]).await;
        client.says("220 ").await;
        client.says("250 ").await;
    }
    assert_eq!(seen.all().iter().filter(|one| *one == "192.0.2.7:4711").count(), 3);
}

#[tokio::test]
async fn a_shutdown_says_goodbye_and_frees_the_port() {
    let (identity, seen) = (Identity::localhost(), Seen::default());
    let mut server = Server::new(ConnectionLimits::default());
    let handled = listen(&mut server, ListenerTls::None, &seen).await;
    let config = proto_smtp::Config::default().into();
    let tls = ListenerTls::StartTls(identity.server());
    let served =
        server.serve::<SmtpServer>(ANY_PORT, tls, config, Deadlines::default(), refuse_all).await.unwrap();
    let mut clients = Vec::new();
    for address in [handled, served] {
        let mut client = Raw::connect(address).await;
        client.says("220 ").await;
        clients.push(client);
    }
    let stopping = tokio::spawn(server.shut_down(Duration::from_secs(5)));
    for client in clients {
        let said = client.rest().await;
        assert!(said.starts_with(b"421 "), "{}", said.escape_ascii());
    }
    stopping.await.unwrap();
    assert!(seen.all().contains(&"closed: Shutdown".into()), "{:?}", seen.all());
    for address in [handled, served] {
        drop(BoundPort::bind(address).await.unwrap());
    }
}

/// A mail exchanger, which accepts mail with and without TLS.
#[derive(Clone)]
struct Exchanger(Seen);

impl Exchanger {
    async fn serve<C: proto_mail::Channel>(
        &self,
        session: &mut io_tokio::server::Session<server::Server<C>>,
        event: Event<'static, C>,
    ) -> Result<(), Error>
    where
        server::Server<C>: io_tokio::server::ServedMachine<Reply = Reply, OwnedEvent = Event<'static, C>>,
    {
        match event {
            Event::Mail(_, token) | Event::Rcpt(_, token) => session.reply(token, &Response::ok())?,
            Event::Data(token) => {
                if let Some((message, token)) = session.receive(token).await? {
                    self.0.add(String::from_utf8(message).unwrap());
                    session.reply(token, &Response::ok())?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Service<SmtpServer> for Exchanger {
    async fn secure(&self, mut session: SecureSession<SmtpServer>) -> Result<(), Error> {
        self.0.add("secure");
        while let Some(event) = session.next_event().await? {
            self.serve(&mut session, event).await?;
        }
        Ok(())
    }

    async fn cleartext(&self, mut session: CleartextSession<SmtpServer>) -> Result<(), Error> {
        while let Some(event) = session.next_event().await? {
            match event {
                Event::StartTls(request) => return self.secure(session.start_tls(request).await?).await,
                event => self.serve(&mut session, event).await?,
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_async_service_accepts_mail_before_and_after_tls() {
    let (identity, seen) = (Identity::localhost(), Seen::default());
    let mut server = Server::new(ConnectionLimits::default());
    let tls = ListenerTls::StartTls(identity.server());
    let config = proto_smtp::Config::mail_exchanger().max_message(20).into();
    let service = Exchanger(seen.clone());
    let address =
        server.serve::<SmtpServer>(ANY_PORT, tls, config, Deadlines::default(), service).await.unwrap();
    let (connector, target) =
        (Connector::new(identity.trust()), Target::new("localhost", address.port(), Security::StartTls));
    let envelope = || Envelope::new("", ["b@example.org"]).unwrap();
    let mut smtp = SmtpClient::connect(&connector, &target).await.unwrap();
    assert!(smtp.send(envelope(), "secret\r\n").await.unwrap().is_delivered());
    let report = smtp.send(envelope(), "more than twenty bytes\r\n").await.unwrap();
    assert!(!report.is_delivered() && report.error().is_none(), "{report:?}");
    smtp.quit().await.unwrap();
    let config = proto_smtp::Config::default();
    let mut smtp = SmtpClient::danger_connect_cleartext(&connector, &target, config).await.unwrap();
    assert!(smtp.send(envelope(), "open\r\n").await.unwrap().is_delivered());
    smtp.quit().await.unwrap();
    server.shut_down(Duration::from_secs(5)).await;
    assert_eq!(seen.all(), ["secure", "secret\r\n", "open\r\n"]);
}
