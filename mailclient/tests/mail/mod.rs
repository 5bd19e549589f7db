//! A mail server on the driver that counts its sessions and records each message with its sender and recipients.
//!
//! The reply to a recipient depends on the address. `no…` is refused permanently. `later…` is refused temporarily the
//! first time, and `busy…` every time. `admission…` is refused temporarily after three other recipients. Any other
//! recipient is accepted.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    io::Cursor,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use io_mio::{
    Connection, ConnectionLimits, Connector, Context, Deadlines, Error, Handler, ListenerTls, Next, Peer,
    Reactor, ReactorHandle, Security, SmtpClientProtocol, SmtpServer, Target, TlsClientConfig,
};
use mailclient::delivery::{self, Clock, Message, Route};
use proto_mail::{AuthVerdict, Channel, Cleartext, Credentials, Secure, SendBuffer, token::AuthQuestion};
use proto_smtp::{
    Config,
    client::Client,
    server::{self, Reply, Server},
    types::{Code, Response},
};

/// The records of a server.
#[derive(Default)]
pub struct Book {
    open: AtomicUsize,
    most: AtomicUsize,
    sessions: AtomicUsize,
    messages: Mutex<Vec<Taken>>,
    asked: Mutex<BTreeSet<String>>,
    /// The step and the message at which the server replies 421. Messages are counted from one over all sessions.
    farewell: Mutex<Option<(&'static str, usize)>>,
    began: AtomicUsize,
    /// The state of the random generator that decides when the server leaves, with or without a reply; 0: never.
    chaos: Mutex<u64>,
    /// The maximum number of sessions that the application accepts; 0: no limit.
    session_limit: AtomicUsize,
    /// How long the server waits before it replies to a message.
    think: Mutex<Duration>,
}

/// An accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub session: usize,
    pub user: String,
    pub recipients: Vec<String>,
    pub bytes: Vec<u8>,
}

impl Book {
    /// Returns the number of open sessions, the maximum at once, and the total.
    pub fn sessions(&self) -> (usize, usize, usize) {
        let load = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (load(&self.open), load(&self.most), load(&self.sessions))
    }

    pub fn messages(&self) -> Vec<Taken> {
        self.messages.lock().unwrap().clone()
    }

    /// Makes the server reply 421 to this step of this message.
    pub fn reply_421_at(&self, step: &'static str, message: usize) {
        *self.farewell.lock().unwrap() = Some((step, message));
    }

    /// From now on the server leaves at random steps.
    pub fn go_mad(&self, seed: u64) {
        *self.chaos.lock().unwrap() = seed | 1;
    }

    /// Returns a random number below `sides`. Only 0 and 1 cause a failure.
    fn roll(&self, sides: u64) -> u64 {
        let mut chaos = self.chaos.lock().unwrap();
        if *chaos == 0 {
            return u64::MAX;
        }
        *chaos ^= *chaos << 13;
        *chaos ^= *chaos >> 7;
        *chaos ^= *chaos << 17;
        (*chaos >> 20) % sides
    }

    /// Makes the application refuse more sessions than this.
    pub fn limit_sessions(&self, sessions: usize) {
        self.session_limit.store(sessions, Ordering::SeqCst);
    }

    pub fn think(&self, time: Duration) {
        *self.think.lock().unwrap() = time;
    }

    fn leaves_at(&self, step: &str) -> bool {
        let mut farewell = self.farewell.lock().unwrap();
        let now = (*farewell)
            .is_some_and(|(at, message)| at == step && message == self.began.load(Ordering::SeqCst));
        if now {
            *farewell = None;
        }
        now
    }
}

struct App {
    book: Arc<Book>,
    session: usize,
    user: String,
    recipients: Vec<String>,
    bytes: Vec<u8>,
    end: Option<Reply>,
}

impl App {
    fn new(book: &Arc<Book>) -> Self {
        let open = book.open.fetch_add(1, Ordering::SeqCst) + 1;
        book.most.fetch_max(open, Ordering::SeqCst);
        let session = book.sessions.fetch_add(1, Ordering::SeqCst) + 1;
        let book = book.clone();
        Self { book, session, user: String::new(), recipients: Vec::new(), bytes: Vec::new(), end: None }
    }

    fn say(&self, step: &str, otherwise: Response<'static>) -> Response<'static> {
        if self.book.leaves_at(step) { response(421, "I must go") } else { otherwise }
    }

    fn answer<C: Channel>(
        &mut self,
        event: server::Event<'_, C>,
        machine: &mut Server<C>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        let answered =
            matches!(event, server::Event::Mail(..) | server::Event::Rcpt(..) | server::Event::Data(_));
        let chance = if answered { self.book.roll(24) } else { u64::MAX };
        match event {
            _ if chance == 0 => return Next::Close,
            server::Event::Mail(_, reply) | server::Event::Rcpt(_, reply) | server::Event::Data(reply)
                if chance == 1 =>
            {
                machine.reply(reply, &response(421, "I must go"), tx).unwrap();
            }
            server::Event::Mail(_, reply) => {
                self.book.began.fetch_add(1, Ordering::SeqCst);
                machine.reply(reply, &self.say("mail", Response::ok()), tx).unwrap();
            }
            server::Event::Rcpt(rcpt, reply) => {
                let address = rcpt.to.address().unwrap().to_string();
                let answer = self.recipient(&address);
                if answer.is_positive() {
                    self.recipients.push(address);
                }
                machine.reply(reply, &answer, tx).unwrap();
            }
            server::Event::Data(reply) => {
                machine.reply(reply, &self.say("data", Response::start_data()), tx).unwrap();
            }
            server::Event::DataChunk(bytes) => self.bytes.extend_from_slice(&bytes),
            server::Event::DataEnd(reply) => {
                let think = *self.book.think.lock().unwrap();
                self.end = Some(reply);
                cx.wake_after(think);
                return Next::Pause;
            }
            server::Event::Reset => self.forget(),
            _ => {}
        }
        Next::Continue
    }

    fn recipient(&mut self, address: &str) -> Response<'static> {
        let first = self.book.asked.lock().unwrap().insert(address.to_owned());
        if address.starts_with("no") {
            return Response::no_such_mailbox();
        }
        if address.starts_with("busy") || (address.starts_with("later") && first) {
            return response(450, "not now");
        }
        if address.starts_with("admission") && self.recipients.len() >= 3 {
            return response(452, "too many recipients");
        }
        self.say("rcpt", Response::ok())
    }

    fn ended<C: Channel>(&mut self, machine: &mut Server<C>, tx: &mut SendBuffer) -> Next {
        let Some(reply) = self.end.take() else { return Next::Continue };
        let chance = self.book.roll(12);
        let mad = if chance == 1 { response(421, "I must go") } else { Response::ok() };
        let answer = self.say("end", mad);
        if chance == 0 && self.book.roll(2) == 0 {
            return Next::Close;
        }
        if answer.is_positive() {
            self.book.messages.lock().unwrap().push(Taken {
                session: self.session,
                user: self.user.clone(),
                recipients: self.recipients.clone(),
                bytes: self.bytes.clone(),
            });
        }
        if chance == 0 {
            return Next::Close;
        }
        machine.reply(reply, &answer, tx).unwrap();
        self.forget();
        Next::Continue
    }

    fn forget(&mut self) {
        self.recipients.clear();
        self.bytes.clear();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.book.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler<SmtpServer> for App {
    fn opened(
        &mut self,
        machine: io_mio::MachineMut<'_, SmtpServer>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        let limit = self.book.session_limit.load(Ordering::SeqCst);
        if limit > 0 && cx.sessions() > limit {
            let enough = response(554, "enough");
            match machine {
                io_mio::MachineMut::Cleartext(machine) => machine.reject_connection(&enough, tx).unwrap(),
                io_mio::MachineMut::Secure(machine) => machine.reject_connection(&enough, tx).unwrap(),
            }
        }
        Next::Continue
    }

    fn cleartext(
        &mut self,
        event: server::Event<'_, Cleartext>,
        machine: &mut Server<Cleartext>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        self.answer(event, machine, tx, cx)
    }

    fn secure(
        &mut self,
        event: server::Event<'_, Secure>,
        machine: &mut Server<Secure>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        match event {
            server::Event::Auth(request) => {
                let verdict = match request.question() {
                    AuthQuestion::Verify(Credentials::Password { username, password, .. })
                        if password.expose() == b"secret" =>
                    {
                        self.user.clone_from(username);
                        AuthVerdict::Accept
                    }
                    _ => AuthVerdict::Reject,
                };
                machine.answer_auth(request, verdict, tx).unwrap();
                Next::Continue
            }
            event => self.answer(event, machine, tx, cx),
        }
    }

    fn woken(
        &mut self,
        machine: io_mio::MachineMut<'_, SmtpServer>,
        tx: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        match machine {
            io_mio::MachineMut::Cleartext(machine) => self.ended(machine, tx),
            io_mio::MachineMut::Secure(machine) => self.ended(machine, tx),
        }
    }
}

pub fn response(code: u16, text: &'static str) -> Response<'static> {
    Response::new(Code::new(code).unwrap(), text)
}

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub book: Arc<Book>,
    handle: ReactorHandle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts a server without TLS.
    pub fn start() -> Self {
        Self::with(ListenerTls::None, Config::default().danger_cleartext(), ConnectionLimits::default())
    }

    pub fn with(tls: ListenerTls, config: Config, limits: ConnectionLimits) -> Self {
        let book = Arc::new(Book::default());
        let mut reactor = Reactor::new(limits).unwrap();
        let (any, kept) = ("127.0.0.1:0".parse().unwrap(), book.clone());
        let factory = move |_: &Peer| App::new(&kept);
        let config = Arc::new(config.optional_authentication());
        let address =
            reactor.listen::<SmtpServer, App>(any, tls, config, Deadlines::default(), factory).unwrap();
        let handle = reactor.handle();
        let thread = Some(std::thread::spawn(move || reactor.run().unwrap()));
        Self { address, book, handle, thread }
    }

    /// Starts a server without TLS, with these settings.
    pub fn set(set: impl FnOnce(Config) -> Config) -> Self {
        let config = set(Config::default()).danger_cleartext();
        Self::with(ListenerTls::None, config, ConnectionLimits::default())
    }

    /// Returns a route to this server without TLS.
    pub fn route(&self) -> Route<Cleartext> {
        route(self.address)
    }
}

/// Returns a route to a server without TLS.
pub fn route(address: SocketAddr) -> Route<Cleartext> {
    Route::new(&address.ip().to_string(), address.port(), open(address))
}

/// Returns a function that opens sessions with a server without TLS.
pub fn open(address: SocketAddr) -> impl Fn() -> Result<Connection<Client<Cleartext>>, Error> + Send + Sync {
    let connector = Connector::new(TlsClientConfig::danger_accept_any_certificate().unwrap())
        .deadlines(Deadlines::uniform(Duration::from_secs(5)))
        .without_probe();
    let config = Arc::new(Config::default().danger_cleartext());
    let target = Target::new(address.ip().to_string(), address.port(), Security::StartTls);
    move || {
        let mut connection = connector.danger_connect_cleartext::<SmtpClientProtocol>(&target, &config)?;
        delivery::wait_until_ready(&mut connection)?;
        Ok(connection)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down(Duration::ZERO);
        self.thread.take().unwrap().join().unwrap();
    }
}

pub type Text = Cursor<Vec<u8>>;

/// The content of the test messages.
pub const TEXT: &str =
    "From: from@example.com\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\n.dot\r\nbody\r\n";

/// Returns a message to these recipients.
pub fn message<A: AsRef<str>>(recipients: impl IntoIterator<Item = A>) -> Message<Text> {
    with_text(TEXT, recipients)
}

/// Returns a message with this content to these recipients.
pub fn with_text<A: AsRef<str>>(text: &str, recipients: impl IntoIterator<Item = A>) -> Message<Text> {
    let message = Message::from_text("from@example.com", Cursor::new(text.as_bytes().to_vec()));
    recipients.into_iter().fold(message, |message, recipient| message.recipient_text(recipient.as_ref()))
}

/// A clock that advances only by the requested delays.
#[derive(Default, Clone)]
pub struct Still(Arc<Mutex<Duration>>);

impl Clock for Still {
    fn now(&mut self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    fn elapsed(&mut self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn sleep(&mut self, pause: Duration) {
        *self.0.lock().unwrap() += pause;
    }

    fn random(&mut self) -> u64 {
        7
    }
}
