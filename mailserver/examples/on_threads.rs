//! The mail server with a thread for each connection: `cargo run -p mailserver --example on_threads`.
//!
//! This is a whole driver for servers. It has no event loop, so each session polls for input. With `io-mio` and `io-tokio` the
//! operating system reports input instead.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use io_common::server::{
    Admission, AdmissionControl, Entry, SessionFactory, SessionTask, TurnOutcome, WakeReason, WakeSessions,
};
use io_common::stream::Readiness;
use io_common::transport::read_buffer;
use io_common::{Peer, SessionHandle, TlsServerConfig};
use mailserver::{Encryption, ListenerOptions, Options, ServerContext, Service, Settings};
use mailstore::{Accounts, MemoryStore, Store};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How often an idle session looks for input.
const INTERVAL: Duration = Duration::from_millis(20);

/// Counts the sessions, within the limits.
type Sessions = Arc<Mutex<AdmissionControl>>;

fn lock(sessions: &Sessions) -> MutexGuard<'_, AdmissionControl> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of one session among those that are counted, until it is dropped.
struct Place {
    sessions: Sessions,
    /// It is taken when the place is dropped.
    entry: Option<Entry>,
    admission: Admission,
}

impl Place {
    /// A place for a connection from this address. `None`: there are too many.
    fn take(sessions: &Sessions, address: SocketAddr) -> Option<Self> {
        let mut control = lock(sessions);
        let entry = control.admit(Some(address.ip()))?;
        let admission = entry.admission();
        Some(Self { sessions: Arc::clone(sessions), entry: Some(entry), admission })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            lock(&self.sessions).remove(entry);
        }
    }
}

/// Wakes the thread of one session: a worker has a result for it, or another session has changed its mailbox.
struct Waker {
    wakes: SyncSender<()>,
    sessions: Sessions,
}

impl WakeSessions for Waker {
    fn wake(&self, _session: u64) {
        // If the channel is full, the thread is about to wake.
        let _ = self.wakes.try_send(());
    }

    fn sessions(&self) -> usize {
        lock(&self.sessions).sessions()
    }
}

/// Serves one session to its end.
fn serve(mut session: Box<dyn SessionTask<TcpStream>>, wakes: &Receiver<()>, mut place: Place) {
    let (mut buffer, mut reason) = (read_buffer(), WakeReason::default());
    loop {
        // Only trying tells whether the socket is ready.
        session.ready(Readiness { readable: true, writable: true, ..Readiness::default() });
        let outcome = session.turn(std::mem::take(&mut reason), Instant::now(), &mut buffer);
        if let (false, Some(entry)) = (session.awaits_login(), &mut place.entry) {
            lock(&place.sessions).logged_in(entry);
        }
        match outcome {
            TurnOutcome::Again => {}
            TurnOutcome::Waiting(until) => {
                let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                reason.woken = wakes.recv_timeout(left.map_or(INTERVAL, |left| left.min(INTERVAL))).is_ok();
                reason.timer = until.is_some_and(|until| until <= Instant::now());
            }
            // No proxy is trusted here.
            TurnOutcome::ClientAnnounced(_) | TurnOutcome::Finished => return,
        }
    }
}

/// Starts the session of a connection.
fn start_session(socket: TcpStream, factory: &SessionFactory<TcpStream>, sessions: &Sessions) -> Result<()> {
    let (address, local) = (socket.peer_addr()?, socket.local_addr()?);
    socket.set_nonblocking(true)?;
    let Some(place) = Place::take(sessions, address) else {
        factory.cut_off(socket);
        return Ok(());
    };
    let (wakes, woken) = sync_channel(1);
    let handle = SessionHandle::new(0, Arc::new(Waker { wakes, sessions: Arc::clone(sessions) }));
    let (peer, admission) = (Peer::new(address.into(), local.into()), place.admission);
    let session = factory.start(socket, peer, handle, admission, Instant::now())?;
    thread::Builder::new().spawn(move || serve(session, &woken, place))?;
    Ok(())
}

/// Listens for IMAP with implicit TLS on any free port of loopback and returns the address.
pub(crate) fn listen(store: Arc<dyn Store>, tls: TlsServerConfig) -> Result<SocketAddr> {
    let settings = Settings::default();
    let context = ServerContext::new(store, &settings, Options::default())?;
    let factory =
        context.listener(&settings, ListenerOptions::new(Service::Imaps, Encryption::Tls(tls))).sessions;
    let sessions = Arc::new(Mutex::new(AdmissionControl::new(settings.connections, 10_000)));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::Builder::new().spawn(move || {
        for socket in listener.incoming().flatten() {
            // The error of one connection concerns no other.
            let _ = start_session(socket, &factory, &sessions);
        }
        drop(context);
    })?;
    Ok(address)
}

fn main() -> Result<()> {
    let store = MemoryStore::new()?;
    store.create_account("ann", b"a long password")?;
    let tls = TlsServerConfig::from_files("chain.pem", "key.pem")?;
    println!("listening on {}", listen(Arc::new(store), tls)?);
    loop {
        thread::park();
    }
}
