//! Well-behaved users whose waiting is measured while others attack.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crate::figures::Report;
use crate::fill::{ALICE, PASSWORD};
use crate::wire::{Endpoints, Imap, Smtp};

/// Where the neighbours connect from.
const HOST: u8 = 2;

/// The kinds of request, how often each is made, and how long it may take.
const PROBES: [Probe; 6] = [
    Probe { name: "NOOP", every: 10, p99: Some(100), worst: Some(1_000) },
    Probe { name: "STATUS", every: 50, p99: None, worst: Some(1_000) },
    Probe { name: "FETCH of one message", every: 50, p99: None, worst: Some(1_000) },
    Probe { name: "submission", every: 200, p99: None, worst: None },
    Probe { name: "LMTP delivery", every: 200, p99: None, worst: None },
    Probe { name: "log-in", every: 500, p99: None, worst: Some(2_000) },
];

/// One kind of request; all times in milliseconds.
struct Probe {
    name: &'static str,
    every: u64,
    p99: Option<u64>,
    /// `None`: what the attack allows for a delivery.
    worst: Option<u64>,
}

/// Measures until it is told to stop.
pub(crate) struct Neighbours {
    took: [Mutex<Vec<Duration>>; PROBES.len()],
    failed: [AtomicUsize; PROBES.len()],
    first_error: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Neighbours {
    pub(crate) fn new() -> Self {
        Self {
            took: std::array::from_fn(|_| Mutex::default()),
            failed: std::array::from_fn(|_| AtomicUsize::new(0)),
            first_error: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    pub(crate) fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        endpoints: &'scope Endpoints,
    ) {
        for kind in 0..PROBES.len() {
            scope.spawn(move || self.measure(kind, endpoints));
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn measure(&self, kind: usize, endpoints: &Endpoints) {
        let mut session = Session::None;
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = session.prepare(kind, endpoints) {
                self.fail(kind, "cannot connect", &error);
                continue;
            }
            let begun = Instant::now();
            match session.request(kind, endpoints) {
                Ok(()) => self.took[kind].lock().unwrap().push(begun.elapsed()),
                Err(error) => {
                    self.fail(kind, &format!("after {:?}", begun.elapsed()), &error);
                    session = Session::None;
                }
            }
            std::thread::sleep(Duration::from_millis(PROBES[kind].every));
        }
    }

    fn fail(&self, kind: usize, when: &str, error: &io::Error) {
        self.failed[kind].fetch_add(1, Ordering::Relaxed);
        let mut first = self.first_error.lock().unwrap();
        first.get_or_insert_with(|| format!("{} {when}: {error}", PROBES[kind].name));
        std::thread::sleep(Duration::from_millis(100));
    }

    /// Adds the latencies and the failures. `delivery` is the longest that a delivery may take.
    pub(crate) fn report(self, report: &mut Report, delivery: Duration) {
        if let Some(error) = self.first_error.into_inner().unwrap() {
            println!("    first failure of a neighbour: {}", error.trim_end());
        }
        for ((probe, took), failed) in PROBES.iter().zip(self.took).zip(self.failed) {
            let milliseconds = Duration::from_millis;
            report.latencies(
                probe.name,
                took.into_inner().unwrap(),
                probe.p99.map(milliseconds),
                probe.worst.map_or(delivery, milliseconds),
            );
            report.faults(format!("{}: failed", probe.name), failed.into_inner());
        }
    }
}

/// The connection that a kind of request uses again and again.
enum Session {
    None,
    Imap(Imap),
    Smtp(Smtp),
}

impl Session {
    fn prepare(&mut self, kind: usize, endpoints: &Endpoints) -> io::Result<()> {
        if !matches!(self, Self::None) {
            return Ok(());
        }
        *self = match PROBES[kind].name {
            "submission" => Self::Smtp(endpoints.smtp(HOST, ALICE, PASSWORD)?),
            "LMTP delivery" => Self::Smtp(endpoints.lmtp(HOST)?),
            "log-in" => Self::None,
            _ => {
                let mut imap = endpoints.imap(HOST, ALICE, PASSWORD)?;
                imap.ask("SELECT INBOX")?.ok()?;
                Self::Imap(imap)
            }
        };
        Ok(())
    }

    fn request(&mut self, kind: usize, endpoints: &Endpoints) -> io::Result<()> {
        match (PROBES[kind].name, self) {
            ("NOOP", Self::Imap(imap)) => imap.ask("NOOP")?.ok().map(drop),
            ("STATUS", Self::Imap(imap)) => {
                imap.ask("STATUS Archive (MESSAGES UIDNEXT UNSEEN)")?.ok().map(drop)
            }
            (_, Self::Imap(imap)) => imap.ask("FETCH 1 (UID FLAGS BODY.PEEK[])")?.ok().map(drop),
            (_, Self::Smtp(smtp)) => smtp.deliver(ALICE),
            (_, Self::None) => endpoints.imap(HOST, ALICE, PASSWORD).map(drop),
        }
    }
}
