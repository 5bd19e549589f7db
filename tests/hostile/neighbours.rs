//! Well-behaved users whose waiting time is measured during attacks.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock, RwLockWriteGuard};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crate::figures::{Latencies, LatencyBounds, Report};
use crate::fixtures::{ALICE, PASSWORD};
use crate::wire::{Endpoints, Imap, Smtp};

/// Where the neighbours connect from.
const HOST: u8 = 2;

/// A neighbour's request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    Noop,
    Status,
    Fetch,
    Submission,
    Delivery,
    LogIn,
}

impl Request {
    const ALL: [Self; 6] =
        [Self::Noop, Self::Status, Self::Fetch, Self::Submission, Self::Delivery, Self::LogIn];

    const fn name(self) -> &'static str {
        match self {
            Self::Noop => "NOOP",
            Self::Status => "STATUS",
            Self::Fetch => "FETCH of one message",
            Self::Submission => "submission",
            Self::Delivery => "LMTP delivery",
            Self::LogIn => "login",
        }
    }

    /// The pause between two requests.
    const fn pause(self) -> Duration {
        Duration::from_millis(match self {
            Self::Noop => 10,
            Self::Status | Self::Fetch => 50,
            Self::Submission | Self::Delivery => 200,
            Self::LogIn => 500,
        })
    }
}

/// How long a neighbour may wait.
#[derive(Clone, Copy)]
pub(crate) struct WaitLimits {
    /// The 99th percentile of NOOP.
    pub(crate) noop: Duration,
    /// Any one request of IMAP.
    pub(crate) request: Duration,
    /// A message that is submitted or delivered.
    pub(crate) delivery: Duration,
    /// A login.
    pub(crate) log_in: Duration,
}

impl WaitLimits {
    const fn bounds(&self, request: Request) -> LatencyBounds {
        let worst = match request {
            Request::Noop | Request::Status | Request::Fetch => self.request,
            Request::Submission | Request::Delivery => self.delivery,
            Request::LogIn => self.log_in,
        };
        LatencyBounds { p99: if matches!(request, Request::Noop) { self.noop } else { worst }, worst }
    }
}

/// Measures until it is stopped.
pub(crate) struct Neighbours {
    latencies: [Mutex<Latencies>; Request::ALL.len()],
    first_error: Mutex<Option<String>>,
    /// Each request holds a read lock.
    asking: RwLock<()>,
    stop: AtomicBool,
}

impl Neighbours {
    pub(crate) fn new() -> Self {
        Self {
            latencies: std::array::from_fn(|_| Mutex::default()),
            first_error: Mutex::default(),
            asking: RwLock::default(),
            stop: AtomicBool::new(false),
        }
    }

    pub(crate) fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        endpoints: &'scope Endpoints,
    ) {
        for (request, latencies) in Request::ALL.into_iter().zip(&self.latencies) {
            scope.spawn(move || self.measure(request, latencies, endpoints));
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Stops all requests until the value is dropped. Waits for pending answers.
    pub(crate) fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.asking.write().unwrap()
    }

    fn measure(&self, request: Request, latencies: &Mutex<Latencies>, endpoints: &Endpoints) {
        let mut session = Session::None;
        while !self.stop.load(Ordering::Relaxed) {
            let asking = self.asking.read().unwrap();
            let begun = Instant::now();
            let answered = session.prepare(request, endpoints).and_then(|()| {
                let begun = Instant::now();
                session.ask(request, endpoints)?;
                Ok(begun.elapsed())
            });
            match answered {
                Ok(took) => latencies.lock().unwrap().took.push(took),
                Err(error) => {
                    latencies.lock().unwrap().failed += 1;
                    let mut first = self.first_error.lock().unwrap();
                    first.get_or_insert_with(|| {
                        format!("{} after {:?}: {error}", request.name(), begun.elapsed())
                    });
                    session = Session::None;
                }
            }
            drop(asking);
            std::thread::sleep(request.pause());
        }
    }

    /// Adds the latencies.
    pub(crate) fn report(self, report: &mut Report, limits: &WaitLimits) {
        if let Some(error) = self.first_error.into_inner().unwrap() {
            println!("    first failure of a neighbour: {}", error.trim_end());
        }
        for (request, latencies) in Request::ALL.into_iter().zip(self.latencies) {
            report.latencies(request.name(), latencies.into_inner().unwrap(), limits.bounds(request));
        }
    }
}

/// The connection that requests of one kind reuse.
enum Session {
    None,
    Imap(Imap),
    Smtp(Smtp),
}

impl Session {
    fn prepare(&mut self, request: Request, endpoints: &Endpoints) -> io::Result<()> {
        if !matches!(self, Self::None) {
            return Ok(());
        }
        *self = match request {
            Request::Submission => Self::Smtp(endpoints.smtp(HOST, ALICE, PASSWORD)?),
            Request::Delivery => Self::Smtp(endpoints.lmtp(HOST)?),
            Request::LogIn => Self::None,
            Request::Noop | Request::Status | Request::Fetch => {
                let mut imap = endpoints.imap(HOST, ALICE, PASSWORD)?;
                imap.ask("SELECT INBOX")?.ok()?;
                Self::Imap(imap)
            }
        };
        Ok(())
    }

    fn ask(&mut self, request: Request, endpoints: &Endpoints) -> io::Result<()> {
        match self {
            Self::Imap(imap) => imap.ask(command(request))?.ok().map(drop),
            Self::Smtp(smtp) => smtp.deliver(ALICE),
            Self::None => endpoints.imap(HOST, ALICE, PASSWORD).map(drop),
        }
    }
}

const fn command(request: Request) -> &'static str {
    match request {
        Request::Status => "STATUS Archive (MESSAGES UIDNEXT UNSEEN)",
        Request::Fetch => "FETCH 1 (UID FLAGS BODY.PEEK[])",
        _ => "NOOP",
    }
}
