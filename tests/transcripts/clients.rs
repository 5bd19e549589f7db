//! Clients on drivers. Each runs in a thread of its own and takes orders.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use io_common::Error;
use io_mio::{ClientProtocol, Security, Target};
use proto_mail::machine::{Negotiation, StartTlsNegotiation};
use proto_mail::{Secure, SendBuffer, Upgrade};

use crate::peer::{Peer, trust};
use crate::role::{ClientMachine, Notes, Role, Seen};
use crate::{Cut, Driver};

/// How long a driver works before it looks for orders.
const TURN: Duration = Duration::from_millis(1);
/// How long a result may take.
const RESULT_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) trait Protocol:
    ClientProtocol<Cleartext: ClientMachine + 'static, Secure: ClientMachine + 'static, Config: 'static>
{
}

impl<P> Protocol for P where
    P: ClientProtocol<Cleartext: ClientMachine + 'static, Secure: ClientMachine + 'static, Config: 'static>
{
}

pub(crate) fn start<P: Protocol>(driver: Driver, config: P::Config, cleartext: bool) -> Box<dyn Role> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let peer = Peer::new(listener.accept().unwrap().0);
    let (orders, given) = channel();
    let (result, results) = channel();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    thread::spawn(move || match driver {
        Driver::Mio => work(MioClient::<P>::open(socket, &config, cleartext), &given, &result, &noted),
        Driver::Tokio => work(TokioClient::<P>::open(socket, &config, cleartext), &given, &result, &noted),
        Driver::Thread => work(ThreadClient::<P>::open(socket, &config, cleartext), &given, &result, &noted),
    });
    let has_tls = driver != Driver::Thread;
    Box::new(DrivenClient { peer, orders, results, seen, notes: Notes::default(), cleartext, has_tls })
}

/// An action, with the lines that belong to it.
type Order = (String, Vec<String>);

/// A client on a driver.
trait Client: Sized {
    /// Works for a moment.
    fn turn(&mut self, note: &mut dyn FnMut(Seen)) -> Result<(), String>;
    fn act(&mut self, action: &str, more: &[&str]) -> Result<(), String>;
    /// Sends STARTTLS and continues under TLS. A driver without TLS waits for an order instead of the handshake.
    fn upgrade(self, orders: &Receiver<Order>) -> Result<Self, String>;
}

fn work<C: Client>(
    client: Result<C, String>,
    orders: &Receiver<Order>,
    results: &Sender<Result<(), String>>,
    seen: &Mutex<Vec<Seen>>,
) {
    let note = |what: Seen| seen.lock().unwrap().push(what);
    let mut client = match client {
        Ok(client) => client,
        Err(error) => return note(Seen::Event(error)),
    };
    loop {
        match orders.try_recv() {
            Ok((action, _)) if action == "starttls" => match client.upgrade(orders) {
                Ok(upgraded) => client = upgraded,
                Err(error) => return note(Seen::Event(error)),
            },
            Ok((action, more)) => {
                let more: Vec<&str> = more.iter().map(String::as_str).collect();
                let _ = results.send(client.act(&action, &more));
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        if let Err(error) = client.turn(&mut |seen| note(seen)) {
            return note(Seen::Event(error));
        }
    }
}

/// Says an error as the machine does, if it is the machine's.
fn said(error: &Error) -> String {
    match error {
        Error::Protocol(error) => format!("{error:?}"),
        error => format!("{error:?}"),
    }
}

fn target() -> Target {
    Target::new("localhost", 0, Security::ImplicitTls)
}

enum Channel<A, B> {
    Cleartext(A),
    Secure(B),
}

/// A client on `io-mio`.
struct MioClient<P: Protocol>(Channel<io_mio::Connection<P::Cleartext>, io_mio::Connection<P::Secure>>);

impl<P: Protocol> MioClient<P> {
    fn open(socket: TcpStream, config: &P::Config, cleartext: bool) -> Result<Self, String> {
        let connector = io_mio::Connector::new(trust());
        let connected = if cleartext {
            connector.danger_connect_cleartext_over::<P>(socket, config).map(Channel::Cleartext)
        } else {
            connector.connect_over::<P>(socket, &target(), config).map(Channel::Secure)
        };
        connected.map(Self).map_err(|error| said(&error))
    }
}

impl<P: Protocol> Client for MioClient<P> {
    fn turn(&mut self, note: &mut dyn FnMut(Seen)) -> Result<(), String> {
        fn turn<M: ClientMachine>(
            connection: &mut io_mio::Connection<M>,
            note: &mut dyn FnMut(Seen),
        ) -> Result<(), Error> {
            let until = Instant::now() + TURN;
            connection
                .drive_until(until, |event, _, _| {
                    if let io_mio::ConnectionEvent::Machine(event) = event {
                        note(M::look(event));
                    }
                    Ok::<_, Error>(None::<()>)
                })
                .map(drop)
        }
        match &mut self.0 {
            Channel::Cleartext(connection) => turn(connection, note),
            Channel::Secure(connection) => turn(connection, note),
        }
        .map_err(|error| said(&error))
    }

    fn act(&mut self, action: &str, more: &[&str]) -> Result<(), String> {
        match &mut self.0 {
            Channel::Cleartext(connection) => connection.with(|machine, tx| machine.act(action, more, tx)),
            Channel::Secure(connection) => connection.with(|machine, tx| machine.act(action, more, tx)),
        }
    }

    fn upgrade(self, _: &Receiver<Order>) -> Result<Self, String> {
        let Channel::Cleartext(connection) = self.0 else { return Err("TLS is in place".into()) };
        let upgraded = connection.starttls::<P>(&trust(), "localhost");
        upgraded.map(|connection| Self(Channel::Secure(connection))).map_err(|error| said(&error))
    }
}

/// A client on `io-tokio`.
struct TokioClient<P: Protocol> {
    runtime: tokio::runtime::Runtime,
    connection: Channel<io_tokio::Connection<P::Cleartext>, io_tokio::Connection<P::Secure>>,
}

/// As [`said`].
fn said_by_tokio(error: &io_tokio::Error) -> String {
    match error {
        io_tokio::Error::Session(error) => said(error),
        error => format!("{error:?}"),
    }
}

impl<P: Protocol> TokioClient<P> {
    fn open(socket: TcpStream, config: &P::Config, cleartext: bool) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        socket.set_nonblocking(true).unwrap();
        let connected = runtime.block_on(async {
            let socket =
                io_tokio::Socket::try_from(tokio::net::TcpStream::from_std(socket).unwrap()).unwrap();
            let connector = io_tokio::Connector::new(trust());
            if cleartext {
                connector.danger_connect_cleartext_over::<P>(socket, config).map(Channel::Cleartext)
            } else {
                connector.connect_over::<P>(socket, &target(), config).await.map(Channel::Secure)
            }
        });
        connected.map(|connection| Self { runtime, connection }).map_err(|error| said_by_tokio(&error))
    }
}

impl<P: Protocol> Client for TokioClient<P> {
    fn turn(&mut self, note: &mut dyn FnMut(Seen)) -> Result<(), String> {
        async fn turn<M: ClientMachine>(
            connection: &mut io_tokio::Connection<M>,
            note: &mut dyn FnMut(Seen),
        ) -> Result<(), io_tokio::Error> {
            let driven = connection.drive(|event, _, _| {
                if let io_tokio::ConnectionEvent::Machine(event) = event {
                    note(M::look(event));
                }
                Ok::<_, io_tokio::Error>(None::<()>)
            });
            tokio::time::timeout(TURN, driven).await.unwrap_or(Ok(()))
        }
        match &mut self.connection {
            Channel::Cleartext(connection) => self.runtime.block_on(turn(connection, note)),
            Channel::Secure(connection) => self.runtime.block_on(turn(connection, note)),
        }
        .map_err(|error| said_by_tokio(&error))
    }

    fn act(&mut self, action: &str, more: &[&str]) -> Result<(), String> {
        match &mut self.connection {
            Channel::Cleartext(connection) => connection.with(|machine, tx| machine.act(action, more, tx)),
            Channel::Secure(connection) => connection.with(|machine, tx| machine.act(action, more, tx)),
        }
    }

    fn upgrade(self, _: &Receiver<Order>) -> Result<Self, String> {
        let Self { runtime, connection } = self;
        let Channel::Cleartext(connection) = connection else { return Err("TLS is in place".into()) };
        let upgraded = runtime.block_on(connection.starttls::<P>(&trust(), &target()));
        let connection = upgraded.map(Channel::Secure).map_err(|error| said_by_tokio(&error))?;
        Ok(Self { runtime, connection })
    }
}

/// A client in a thread with blocking calls, without TLS.
struct ThreadClient<P: Protocol> {
    socket: TcpStream,
    driver: Channel<proto_mail::Driver<P::Cleartext, Instant>, proto_mail::Driver<P::Secure, Instant>>,
}

impl<P: Protocol> ThreadClient<P> {
    fn open(socket: TcpStream, config: &P::Config, cleartext: bool) -> Result<Self, String> {
        socket.set_read_timeout(Some(TURN)).unwrap();
        let mut tx = SendBuffer::new();
        let driver = if cleartext {
            let machine = P::open(config, &mut tx);
            Channel::Cleartext(proto_mail::Driver::with_buffers(machine, Default::default(), tx))
        } else {
            let machine = P::open_secure(config, Secure::trusted_local(), &mut tx);
            Channel::Secure(proto_mail::Driver::with_buffers(machine, Default::default(), tx))
        };
        Ok(Self { socket, driver })
    }
}

/// One turn of a blocking driver, as `proto_mail::driver` documents it.
pub(crate) fn blocking_turn<M: proto_mail::Machine>(
    driver: &mut proto_mail::Driver<M, Instant>,
    socket: &mut TcpStream,
    handle: impl FnMut(M::Event<'_>, &mut M, &mut SendBuffer),
) -> Result<(), String> {
    driver.handle_events(handle);
    if driver.wants_write() {
        // What was sent may have events.
        return driver.write_to(socket).map(drop).map_err(|error| error.to_string());
    }
    if let Some(outcome) = driver.outcome() {
        return Err(outcome.err().map_or("the session is over".into(), |error| format!("{error:?}")));
    }
    if driver.handle_timeout(Instant::now()) {
        return Ok(());
    }
    if !driver.wants_read() {
        thread::sleep(TURN);
        return Ok(());
    }
    match driver.read_from(socket) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(_) => Ok(()),
    }
}

impl<P: Protocol> Client for ThreadClient<P> {
    fn turn(&mut self, note: &mut dyn FnMut(Seen)) -> Result<(), String> {
        let socket = &mut self.socket;
        match &mut self.driver {
            Channel::Cleartext(driver) => {
                blocking_turn(driver, socket, |event, _, _| note(P::Cleartext::look(event)))
            }
            Channel::Secure(driver) => {
                blocking_turn(driver, socket, |event, _, _| note(P::Secure::look(event)))
            }
        }
    }

    fn act(&mut self, action: &str, more: &[&str]) -> Result<(), String> {
        match &mut self.driver {
            Channel::Cleartext(driver) => driver.machine.act(action, more, &mut driver.tx),
            Channel::Secure(driver) => driver.machine.act(action, more, &mut driver.tx),
        }
    }

    fn upgrade(self, orders: &Receiver<Order>) -> Result<Self, String> {
        let Self { mut socket, driver } = self;
        let Channel::Cleartext(driver) = driver else { return Err("TLS is in place".into()) };
        let (machine, mut rx, mut tx) = driver.into_parts();
        let fault = |error: proto_mail::Error| format!("{error:?}");
        let mut negotiation = P::starttls(machine, &mut tx).map_err(fault)?;
        let upgrade = loop {
            match negotiation.advance(&mut rx, &mut tx).map_err(fault)? {
                Negotiation::Ready(upgrade) => break upgrade,
                Negotiation::Refused(_) => return Err("StartTls refused".into()),
                Negotiation::Pending(more) => negotiation = more,
            }
            tx.write_to(&mut socket).map_err(|error| error.to_string())?;
            if let Ok(count) = io::Read::read(&mut socket, rx.spare_mut(4096)) {
                rx.filled(count);
            }
        };
        orders.recv().map_err(|error| error.to_string())?;
        let machine = upgrade.complete(Secure::trusted_local(), &mut rx).map_err(fault)?;
        let driver = Channel::Secure(proto_mail::Driver::with_buffers(machine, rx, tx));
        Ok(Self { socket, driver })
    }
}

struct DrivenClient {
    peer: Peer,
    orders: Sender<Order>,
    results: Receiver<Result<(), String>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    notes: Notes,
    cleartext: bool,
    has_tls: bool,
}

impl Role for DrivenClient {
    fn start(&mut self) {
        if !self.cleartext && self.has_tls {
            self.peer.accept_tls().unwrap();
        }
    }

    fn hear(&mut self, bytes: &[u8], cut: Cut, goes_on: bool) {
        self.peer.send(bytes, cut, goes_on);
    }

    fn act(&mut self, action: &str, more: &[&str]) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            let more = more.iter().map(ToString::to_string).collect();
            self.orders.send((action.into(), more)).map_err(|_| "the session is over")?;
            if action == "starttls" {
                // The upgrade is complete only after the handshake.
                self.notes.note(Seen::Event("StartTls agreed".into()));
                return Ok(());
            }
            match self.results.recv_timeout(RESULT_TIMEOUT).map_err(|_| "the session is over")? {
                // What the action depends on may not have arrived yet.
                Err(_) if begin.elapsed() < RESULT_TIMEOUT => thread::sleep(TURN),
                result => return result,
            }
        }
    }

    fn upgrade(&mut self) -> Result<(), String> {
        if self.has_tls {
            return self.peer.accept_tls();
        }
        self.orders.send(("handshake".into(), Vec::new())).map_err(|error| error.to_string())
    }

    fn closed(&mut self) {
        self.peer.close();
    }

    fn notes(&mut self) -> &mut Notes {
        self.notes.sent(self.peer.receive());
        self.seen.lock().unwrap().drain(..).for_each(|seen| self.notes.note(seen));
        &mut self.notes
    }

    fn may_change(&mut self, since: Duration) -> bool {
        thread::sleep(TURN);
        since < RESULT_TIMEOUT
    }
}
