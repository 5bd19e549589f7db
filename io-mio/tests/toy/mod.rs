//! A toy protocol with both roles, and a server that runs it.
//!
//! ```text
//! S: 220 toy                  greeting
//! C: STARTTLS                 S: 220 ready       then TLS, and the client goes on without a greeting
//! C: PING x                   S: PONG x
//! C: LATE x                   S: LATE x          by a worker thread, after a while
//! C: SLOW x                   S: SLOW x          by a worker thread, after three seconds
//! C: GET n                    S: DATA n, then n bytes
//! C: PUT n, then n bytes     S: GOT n
//! C: PANIC                    the handler panics
//! C: QUIT                     S: 221 bye
//! ```
#![allow(dead_code, unused_imports, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::{
    fmt,
    net::SocketAddr,
    str,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use io_mio::{
    ClientProtocol, CloseReason, ConnectionLimits, Connector, Context, Deadlines, Error, Handler, JobGroup,
    JobHandle, JobStep, ListenerTls, MachineMut, Next, Peer, Protocol, Reactor, ReactorHandle, Security,
    ServerProtocol, Slice, StartTlsReadiness, Target, TlsClientConfig, WorkerLimits, Workers,
};
use proto_mail::trace::TraceKind;
use proto_mail::{
    Line, Machine, Misuse, PeerError, RecvBuffer, Secure, SendBuffer, StartTlsRequest, Upgrade, Wait,
    WaitFor,
    machine::{Negotiation, StartTlsNegotiation},
};

pub use mailwire_fixtures::certificates::{
    Authority, Identity, bridge, localhost, rustls_client, rustls_client_config,
};
pub use mailwire_fixtures::users;

// --- The machine, which is the same for both roles and channels.

#[derive(Debug)]
pub enum Event<'i> {
    Line(&'i str),
    Chunk(&'i [u8]),
    DataEnd,
    StartTls(StartTlsRequest),
}

#[derive(Debug, Clone)]
pub struct Config {
    pub command: Duration,
    pub reply: Duration,
    pub high_water: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { command: Duration::from_secs(60), reply: Duration::from_secs(10), high_water: 256 * 1024 }
    }
}

pub struct Core {
    config: Config,
    server: bool,
    generation: u32,
    /// The bytes of the last event, which the next call consumes.
    shown: usize,
    /// The bytes of an incoming message that are still missing.
    left: u64,
    data: bool,
    greeted: bool,
    asked: bool,
    closed: bool,
}

impl Core {
    fn new(config: &Config, server: bool, greeted: bool) -> Self {
        Self {
            config: config.clone(),
            server,
            generation: 0,
            shown: 0,
            left: 0,
            data: false,
            greeted,
            asked: false,
            closed: false,
        }
    }

    fn next<'i>(&mut self, rx: &'i mut RecvBuffer) -> Result<Option<Event<'i>>, proto_mail::Error> {
        rx.consume(std::mem::take(&mut self.shown));
        if self.closed || self.asked {
            return Ok(None);
        }
        if self.left > 0 && !rx.is_empty() {
            let count = rx.len().min(usize::try_from(self.left).unwrap());
            self.left -= count as u64;
            self.generation += 1;
            self.shown = count;
            return Ok(Some(Event::Chunk(&rx.bytes()[..count])));
        }
        if self.left == 0 && std::mem::take(&mut self.data) {
            return Ok(Some(Event::DataEnd));
        }
        if self.left > 0 {
            return if rx.is_closed() { Err(PeerError::UnexpectedEnd.into()) } else { Ok(None) };
        }
        let Line::Complete(length) = rx.find_line(1000) else {
            if rx.is_closed() && (!rx.is_empty() || !self.server) {
                return Err(PeerError::UnexpectedEnd.into());
            }
            return Ok(None);
        };
        self.generation += 1;
        self.greeted = true;
        rx.trace_span(length, TraceKind::Text);
        let line = &rx.bytes()[..length];
        if self.server && line == b"STARTTLS\r\n" {
            self.asked = true;
            rx.consume(length);
            return Ok(Some(Event::StartTls(StartTlsRequest::new(
                proto_mail::token::TokenIssuer::new().issue(),
            ))));
        }
        let text = str::from_utf8(line).map_err(|_| PeerError::Malformed)?;
        if let Some(count) = text.strip_prefix("PUT ").or(text.strip_prefix("DATA ")) {
            self.left = count.trim_end().parse().map_err(|_| PeerError::Malformed)?;
            self.data = true;
        }
        self.shown = length;
        Ok(Some(Event::Line(str::from_utf8(&rx.bytes()[..length - 2]).map_err(|_| PeerError::Malformed)?)))
    }

    fn wait(&self) -> Wait {
        let (awaited, after) = match () {
            () if self.asked => (WaitFor::Application, Duration::MAX),
            () if self.left > 0 => (WaitFor::Data, self.config.reply),
            () if self.server => (WaitFor::Command, self.config.command),
            () if !self.greeted => (WaitFor::Greeting, self.config.reply),
            () => (WaitFor::Reply, self.config.reply),
        };
        Wait::new(awaited, after, self.generation)
    }

    pub fn say(&mut self, line: &str, tx: &mut SendBuffer) {
        tx.put(line.as_bytes());
        tx.put(b"\r\n");
    }

    pub fn secret(&mut self, line: &str, tx: &mut SendBuffer) {
        tx.put_secret(line.as_bytes());
        tx.put(b"\r\n");
    }

    pub fn quit(&mut self, tx: &mut SendBuffer) {
        self.say("221 bye", tx);
        self.closed = true;
    }
}

macro_rules! machine {
    ($name:ident) => {
        impl Machine for $name {
            type Event<'i> = Event<'i>;

            fn next_event<'i>(
                &mut self,
                rx: &'i mut RecvBuffer,
                _: &mut SendBuffer,
            ) -> Result<Option<Event<'i>>, proto_mail::Error> {
                self.0.next(rx)
            }

            fn wants_read(&self, tx: &SendBuffer) -> bool {
                !self.0.asked && !self.0.closed && tx.len() < self.0.config.high_water
            }

            fn wait(&self) -> Wait {
                self.0.wait()
            }

            fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), proto_mail::Error> {
                if self.0.server {
                    self.0.say("421 too slow", tx);
                }
                Err(proto_mail::Limit::Timeout(self.0.wait().awaited).into())
            }

            fn is_closed(&self) -> bool {
                self.0.closed
            }
        }
    };
}

pub struct ToyClear(pub Core);
pub struct ToySecure(pub Core, pub Secure);
machine!(ToyClear);
machine!(ToySecure);

pub struct ToyUpgrade(Config, bool);

impl Upgrade for ToyUpgrade {
    type Secured = ToySecure;

    fn complete(self, secure: Secure, rx: &mut RecvBuffer) -> Result<ToySecure, proto_mail::Error> {
        if !rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        Ok(ToySecure(Core::new(&self.0, self.1, true), secure))
    }
}

pub struct ToyNegotiation(Core);

impl StartTlsNegotiation for ToyNegotiation {
    type Refused = ToyClear;
    type Ready = ToyUpgrade;

    fn advance(
        mut self,
        rx: &mut RecvBuffer,
        _: &mut SendBuffer,
    ) -> Result<Negotiation<Self, ToyClear, ToyUpgrade>, proto_mail::Error> {
        let ready = match self.0.next(rx)? {
            None => return Ok(Negotiation::Pending(self)),
            Some(event) => matches!(event, Event::Line("220 ready")),
        };
        rx.consume(std::mem::take(&mut self.0.shown));
        if !ready {
            return Ok(Negotiation::Refused(ToyClear(self.0)));
        }
        if !rx.is_empty() {
            return Err(PeerError::PlaintextAfterStartTls.into());
        }
        Ok(Negotiation::Ready(ToyUpgrade(self.0.config, false)))
    }

    fn wait(&self) -> Wait {
        self.0.wait()
    }
}

// --- The protocol: how the driver uses the machine.

pub struct Toy;

impl Protocol for Toy {
    type Cleartext = ToyClear;
    type Secure = ToySecure;
    type Upgrade = ToyUpgrade;
    type Config = Config;

    const NAME: &'static str = "toy";
    const IMPLICIT_TLS_PORT: u16 = 993;
    const STARTTLS_PORT: u16 = 143;
}

impl ServerProtocol for Toy {
    const LOGIN_TIMED_OUT: &'static [u8] = b"too late\n";
    const TOO_MANY_CONNECTIONS: &'static [u8] = b"421 too busy\r\n";

    fn open(config: &Config, tx: &mut SendBuffer) -> ToyClear {
        tx.put(b"220 toy\r\n");
        ToyClear(Core::new(config, true, true))
    }

    fn open_secure(config: &Config, secure: Secure, tx: &mut SendBuffer) -> ToySecure {
        tx.put(b"220 toy\r\n");
        ToySecure(Core::new(config, true, true), secure)
    }

    fn accept(
        machine: ToyClear,
        _: StartTlsRequest,
        tx: &mut SendBuffer,
    ) -> Result<ToyUpgrade, proto_mail::Error> {
        if !machine.0.asked {
            return Err(Misuse::StaleToken.into());
        }
        tx.put(b"220 ready\r\n");
        Ok(ToyUpgrade(machine.0.config, true))
    }

    fn shutdown(mut machine: MachineMut<'_, Self>, tx: &mut SendBuffer) {
        core(&mut machine).say("421 going down", tx);
    }
}

impl ClientProtocol for Toy {
    type Negotiation = ToyNegotiation;

    fn open(config: &Config, _: &mut SendBuffer) -> ToyClear {
        ToyClear(Core::new(config, false, false))
    }

    fn open_secure(config: &Config, secure: Secure, _: &mut SendBuffer) -> ToySecure {
        ToySecure(Core::new(config, false, false), secure)
    }

    fn prepare_starttls(
        event: Event<'_>,
        _: &mut ToyClear,
        _: &mut SendBuffer,
    ) -> Result<StartTlsReadiness, Error> {
        match event {
            Event::Line(line) if line.starts_with("220") => Ok(StartTlsReadiness::Ready),
            _ => Err(PeerError::InvalidGreeting.into()),
        }
    }

    fn starttls(machine: ToyClear, tx: &mut SendBuffer) -> Result<ToyNegotiation, proto_mail::Error> {
        tx.put(b"STARTTLS\r\n");
        Ok(ToyNegotiation(machine.0))
    }
}

pub fn core<'m>(machine: &'m mut MachineMut<'_, Toy>) -> &'m mut Core {
    match machine {
        MachineMut::Cleartext(machine) => &mut machine.0,
        MachineMut::Secure(machine) => &mut machine.0,
    }
}

// --- The server's application.

/// What happened in all sessions of a server, in order.
pub type Log = Arc<Mutex<Vec<String>>>;

pub struct App {
    log: Log,
    workers: Workers,
    later: Option<JobHandle<String>>,
    /// The bytes of a GET that are still to be sent.
    left: u64,
    /// The bytes of a PUT that were received.
    got: u64,
}

/// Logs when a job is dropped.
struct Ended(Log);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("job dropped".to_owned());
    }
}

impl App {
    /// Creates an application with its own log and workers.
    pub fn new() -> Self {
        let workers = Workers::new(WorkerLimits::default()).unwrap();
        Self { log: Log::default(), workers, later: None, left: 0, got: 0 }
    }

    fn note(&self, what: impl fmt::Display) {
        self.log.lock().unwrap().push(what.to_string());
    }

    fn told(&mut self, event: Event<'_>, core: &mut Core, tx: &mut SendBuffer, cx: &Context<'_>) -> Next {
        let line = match event {
            Event::StartTls(request) => return Next::StartTls(request),
            Event::Chunk(chunk) => {
                self.got += chunk.len() as u64;
                return Next::Continue;
            }
            Event::DataEnd => {
                core.say(&format!("GOT {}", self.got), tx);
                self.got = 0;
                return Next::Continue;
            }
            Event::Line(line) => line,
        };
        self.note(format_args!("{} {line}", if cx.peer().tls.is_some() { "tls" } else { "clear" }));
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "PING" => core.say(&format!("PONG {rest}"), tx),
            "LATE" | "SLOW" => {
                let answer = line.to_owned();
                let takes = Duration::from_millis(if verb == "SLOW" { 3_000 } else { 100 });
                let job = move || {
                    std::thread::sleep(takes);
                    answer
                };
                self.later = Some(self.workers.run(JobGroup::SHARED, cx.session_handle(), job).unwrap());
                return Next::Pause;
            }
            "FOREVER" => {
                let ended = Ended(self.log.clone());
                let job = move |slice: &Slice| {
                    let _ = &ended;
                    while !slice.is_over() {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    JobStep::More
                };
                self.later =
                    Some(self.workers.run_in_slices(JobGroup::SHARED, cx.session_handle(), job).unwrap());
                return Next::Pause;
            }
            "GET" => {
                self.left = rest.parse().unwrap();
                core.say(&format!("DATA {}", self.left), tx);
                return self.more(tx);
            }
            "PANIC" => panic!("on purpose"),
            "QUIT" => core.quit(tx),
            _ => {}
        }
        Next::Continue
    }

    fn more(&mut self, tx: &mut SendBuffer) -> Next {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        while self.left > 0 && tx.len() < 256 * 1024 {
            let count = self.left.min(ZEROS.len() as u64);
            self.left -= count;
            tx.put_payload(Bytes::from_static(&ZEROS[..usize::try_from(count).unwrap()]));
        }
        if self.left > 0 { Next::More } else { Next::Continue }
    }
}

impl Handler<Toy> for App {
    fn cleartext(
        &mut self,
        event: Event<'_>,
        machine: &mut ToyClear,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        self.told(event, &mut machine.0, tx, cx)
    }

    fn secure(
        &mut self,
        event: Event<'_>,
        machine: &mut ToySecure,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        self.told(event, &mut machine.0, tx, cx)
    }

    fn secured(&mut self, _: &mut ToySecure, _: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        let tls = cx.peer().tls.as_ref().unwrap();
        self.note(format_args!("secured {} {:?}", tls.version, tls.server_name));
        Next::Continue
    }

    fn woken(&mut self, mut machine: MachineMut<'_, Toy>, tx: &mut SendBuffer, _: &mut Context<'_>) -> Next {
        let Some(later) = &mut self.later else { return Next::Continue };
        let Some(answer) = later.take() else { return Next::Pause };
        self.later = None;
        core(&mut machine).say(&answer.unwrap(), tx);
        Next::Continue
    }

    fn drained(&mut self, _: MachineMut<'_, Toy>, tx: &mut SendBuffer, _: &mut Context<'_>) -> Next {
        self.more(tx)
    }

    fn closed(&mut self, why: &CloseReason) {
        match why {
            CloseReason::Done => self.note("closed: done"),
            CloseReason::Shutdown => self.note("closed: shutdown"),
            CloseReason::Failed(error) => self.note(format_args!("closed: {error}")),
            _ => self.note("closed: ?"),
        }
    }
}

// --- A running server.

pub struct Server {
    pub address: SocketAddr,
    pub log: Log,
    pub handle: ReactorHandle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(tls: ListenerTls) -> Self {
        Self::with(tls, Config::default(), Deadlines::default(), ConnectionLimits::default())
    }

    pub fn with(tls: ListenerTls, config: Config, deadlines: Deadlines, limits: ConnectionLimits) -> Self {
        let log = Log::default();
        let workers = Workers::new(WorkerLimits::default()).unwrap();
        let mut reactor = Reactor::new(limits).unwrap();
        let noted = log.clone();
        let factory = move |_: &Peer| App {
            log: noted.clone(),
            workers: workers.clone(),
            later: None,
            left: 0,
            got: 0,
        };
        let any = "127.0.0.1:0".parse().unwrap();
        let address = reactor.listen::<Toy, App>(any, tls, config, deadlines, factory).unwrap();
        let handle = reactor.handle();
        let thread = Some(std::thread::spawn(move || reactor.run().unwrap()));
        Self { address, log, handle, thread }
    }

    pub fn logged(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits five seconds at most until a line with this text is logged, and returns it.
    pub fn saw(&self, text: &str) -> String {
        for _ in 0..500 {
            if let Some(line) = self.logged().into_iter().find(|line| line.contains(text)) {
                return line;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{text:?} was not logged, but {:?}", self.logged());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.shut_down(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

// --- The client.

pub type Connection = io_mio::Connection<ToySecure>;

pub fn target(address: SocketAddr, security: Security) -> Target {
    Target::new("localhost", address.port(), security).dial_to(address.ip().to_string(), address.port())
}

pub fn connect(address: SocketAddr, security: Security, tls: TlsClientConfig) -> Result<Connection, Error> {
    let deadlines = Deadlines::uniform(Duration::from_secs(5));
    Connector::new(tls).deadlines(deadlines).connect::<Toy>(&target(address, security), &Config::default())
}

/// Sends a command and returns the next line.
pub fn ask(connection: &mut Connection, command: &str) -> Result<String, Error> {
    connection.with(|machine, tx| machine.0.say(command, tx));
    line(connection)
}

/// Returns the next line.
pub fn line(connection: &mut Connection) -> Result<String, Error> {
    connection.drive(|turn, _, _| match turn {
        io_mio::ConnectionEvent::Machine(Event::Line(line)) => Ok(Some(line.to_owned())),
        _ => Ok::<_, Error>(None),
    })
}
