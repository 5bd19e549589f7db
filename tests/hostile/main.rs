//! Attacks on the built `mailwire serve` under a memory limit, beside well-behaved users whose waiting time is
//! measured. `tests/run` runs it; `cargo test --profile hostile -p mailwire --test hostile -- search` runs one
//! attack. With `--in-memory` the server keeps its mail in memory; with `--short` some attacks run, for a few seconds.
//!
//! Each attack runs alone for some seconds. Then all run at once, and the server receives SIGTERM while they do. The
//! figures and their bounds are printed as a table. The bounds leave a wide margin for a busy machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue must fail")]

mod attacks;
mod figures;
mod fixtures;
mod neighbours;
mod server_process;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use attacks::Target;
use figures::{Figure, Report};
use fixtures::Part;
use neighbours::{Neighbours, WaitLimits};
use server_process::{MEMORY, RunningServer, StoreKind};

/// How long the server may keep computing after an attack, and how much it may compute after that.
const AFTERMATH: Duration = Duration::from_secs(2);
const IDLE_CPU: Duration = Duration::from_millis(300);

/// How long a server may take to exit. It then ends its last sessions; a busy machine needs more time to end a
/// process of that size, and this test to notice it, for which [`MEASURING`] is added.
const ENDING: Duration = Duration::from_secs(10);
const MEASURING: Duration = Duration::from_millis(500);

/// One attack.
struct Attack {
    name: &'static str,
    seconds: u64,
    /// How long it runs with `--short`, if it does.
    short: Option<u64>,
    /// What it needs in a store in memory.
    parts: &'static [Part],
    run: fn(&Target<'_>, &mut Report),
    limits: WaitLimits,
}

/// How long neighbours may wait during one attack, including that of STORE on a large mailbox.
const ALONE: WaitLimits = WaitLimits {
    noop: Duration::from_millis(100),
    request: Duration::from_secs(1),
    delivery: Duration::from_secs(2),
    log_in: Duration::from_secs(2),
};

/// How long neighbours may wait while all attacks run at once, more than [`ALONE`] only here: the attackers of all five
/// attacks use the same two processors as the server and the neighbours.
const TOGETHER: WaitLimits = WaitLimits {
    noop: Duration::from_millis(500),
    request: Duration::from_secs(2),
    delivery: Duration::from_secs(4),
    log_in: Duration::from_secs(4),
};

const ATTACKS: [Attack; 6] = [
    Attack {
        name: "idle",
        seconds: 40,
        short: None,
        parts: &[Part::Idle],
        run: attacks::idle::run,
        limits: ALONE,
    },
    Attack {
        name: "messages",
        seconds: 10,
        short: Some(4),
        parts: &[],
        run: attacks::messages::run,
        limits: ALONE,
    },
    Attack {
        name: "sections",
        seconds: 8,
        short: None,
        parts: &[Part::Large],
        run: attacks::sections::run,
        limits: ALONE,
    },
    Attack {
        name: "search",
        seconds: 10,
        short: Some(5),
        parts: &[Part::Large, Part::Nested],
        run: attacks::search::run,
        limits: WaitLimits { delivery: Duration::from_secs(1), ..ALONE },
    },
    Attack {
        name: "flags",
        seconds: 15,
        short: Some(8),
        parts: &[Part::Big],
        run: attacks::flags::run,
        limits: ALONE,
    },
    Attack {
        name: "guesses",
        seconds: 12,
        short: None,
        parts: &[],
        run: attacks::guesses::run,
        limits: ALONE,
    },
];

/// How long all attacks run at once before the server receives SIGTERM.
const SECONDS_TOGETHER: u64 = 20;

/// The section `[serve]` of the server's configuration.
const SETTINGS: &str = "sessions = 5000\nsessions-per-address = 2000\nlogin-timeout = 5\n";

/// What to run, and over which store.
struct Run {
    store: StoreKind,
    is_short: bool,
    /// The only attack to run.
    only: Option<String>,
    directory: PathBuf,
}

impl Run {
    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == name)
    }

    /// How long an attack runs, if it does.
    fn seconds(&self, attack: &Attack) -> Option<u64> {
        let seconds = if self.is_short { attack.short } else { Some(attack.seconds) };
        seconds.filter(|_| self.wants(attack.name))
    }

    /// Starts a server after all one-time allocations: it has these parts, and each account has logged in.
    fn start(&self, parts: &[Part]) -> RunningServer {
        let served = RunningServer::start(&self.directory, self.store, SETTINGS);
        if self.store == StoreKind::Memory {
            fixtures::load(&served.endpoints, parts).unwrap();
        }
        std::thread::scope(|scope| {
            for user in fixtures::ATTACKERS.into_iter().chain([fixtures::ALICE]) {
                let endpoints = &served.endpoints;
                scope.spawn(move || endpoints.imap(1, user, fixtures::PASSWORD).unwrap());
            }
        });
        served
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    raise_descriptor_limit();
    let folder = tempfile::tempdir().unwrap();
    let run = Run {
        store: if has("--in-memory") { StoreKind::Memory } else { StoreKind::Sqlite },
        is_short: has("--short"),
        only: arguments.iter().find(|argument| !argument.starts_with('-')).cloned(),
        directory: folder.path().join("served"),
    };
    let begun = Instant::now();
    let say = |name: &str| println!("{name} (after {:.1} s)", begun.elapsed().as_secs_f64());
    fixtures::fill(&run.directory, run.store);
    say(&format!("store: {}", run.store.name()));

    let mut figures = Vec::new();
    for attack in &ATTACKS {
        if let Some(seconds) = run.seconds(attack) {
            say(attack.name);
            figures.extend(alone(attack, seconds, &run));
        }
    }
    if run.wants("quotas") {
        say("quotas");
        figures.extend(quotas(&folder.path().join("limited"), run.store));
    }
    // Its first seconds, when a thousand connections begin, are more than a short run can even out.
    if run.wants("together") && !run.is_short {
        say("together");
        figures.extend(together(&run));
    }
    figures::print(&figures);
    println!("\n{:.0} s in all", begun.elapsed().as_secs_f64());
    let exceeded = figures.iter().filter(|figure| figure.is_exceeded()).count();
    if figures.is_empty() || exceeded > 0 {
        println!("{exceeded} bounds of {} are exceeded", figures.len());
        std::process::exit(1);
    }
}

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
}

impl<'a> Target<'a> {
    fn new(
        served: &'a RunningServer,
        neighbours: &'a Neighbours,
        (store, directory): (StoreKind, &'a Path),
        time: Duration,
    ) -> Self {
        Self {
            endpoints: &served.endpoints,
            process: served.process(),
            store,
            neighbours,
            directory,
            until: Instant::now() + time,
            sessions: AtomicUsize::new(0),
        }
    }

    /// Adds what every attack reports.
    fn report(&self, report: &mut Report, peak: u64) {
        report.note("hostile sessions", self.sessions.load(Ordering::Relaxed));
        report.bytes("peak memory of the server", peak, MEMORY);
    }
}

/// Runs one attack beside the neighbours, on its own server.
fn alone(attack: &Attack, seconds: u64, run: &Run) -> Vec<Figure> {
    let mut report = Report::new(attack.name);
    let mut served = run.start(attack.parts);
    let watch = served.process().watch();
    let neighbours = Neighbours::new();
    {
        let (data, time) = ((run.store, run.directory.as_path()), Duration::from_secs(seconds));
        let target = Target::new(&served, &neighbours, data, time);
        std::thread::scope(|scope| {
            neighbours.start(scope, target.endpoints);
            (attack.run)(&target, &mut report);
            neighbours.stop();
        });
        target.report(&mut report, watch.peak());
    }
    neighbours.report(&mut report, &attack.limits);
    aftermath(&mut served, &mut report);
    report.figures
}

/// Runs one account that fills its quotas, on its own server.
fn quotas(directory: &Path, store: StoreKind) -> Vec<Figure> {
    let mut report = Report::new("quotas");
    let mut served = RunningServer::start(directory, store, attacks::quotas::SETTINGS);
    let watch = served.process().watch();
    // The neighbours do nothing here.
    let neighbours = Neighbours::new();
    let target = Target::new(&served, &neighbours, (store, directory), Duration::from_secs(10));
    attacks::quotas::run(&target, &mut report);
    target.report(&mut report, watch.peak());
    aftermath(&mut served, &mut report);
    report.figures
}

/// Checks that the server is alive and soon idle.
fn aftermath(served: &mut RunningServer, report: &mut Report) {
    let process = served.process();
    std::thread::sleep(AFTERMATH);
    let before = process.cpu();
    std::thread::sleep(Duration::from_secs(1));
    let ended = served.ended();
    if ended.is_some() {
        println!("    the server ended: {}", served.log());
    }
    report.faults("the server ended", usize::from(ended.is_some()));
    report.time(
        "computing in the third second after the attack",
        process.cpu().saturating_sub(before),
        IDLE_CPU,
    );
}

/// Runs all attacks at once; sends SIGHUP in between, and SIGTERM before they are over.
fn together(run: &Run) -> Vec<Figure> {
    let mut report = Report::new("together");
    let mut served = run.start(&Part::ALL);
    let endpoints = served.endpoints.clone();
    let neighbours = Neighbours::new();
    let half = Duration::from_secs(SECONDS_TOGETHER / 2);
    let target = Target {
        endpoints: &endpoints,
        process: served.process(),
        store: run.store,
        neighbours: &neighbours,
        directory: &run.directory,
        until: Instant::now() + half * 2 + Duration::from_secs(3),
        sessions: AtomicUsize::new(0),
    };
    let watch = served.process().watch();
    std::thread::scope(|scope| {
        for attack in ATTACKS.iter().filter(|attack| attack.name != "idle") {
            // The cost of one attack cannot be separated from that of the others.
            let target = &target;
            scope.spawn(move || (attack.run)(target, &mut Report::new(attack.name)));
        }
        neighbours.start(scope, &endpoints);
        std::thread::sleep(half);
        served.signal(Signal::HUP);
        std::thread::sleep(half);
        report.faults("SIGHUP ended the server", usize::from(served.ended().is_some()));
        neighbours.stop();
        // The neighbours' last requests are answered.
        std::thread::sleep(Duration::from_millis(500));
        end(&mut served, &mut report);
    });
    target.report(&mut report, watch.peak());
    neighbours.report(&mut report, &TOGETHER);
    report.figures
}

/// Ends the server by SIGTERM.
fn end(served: &mut RunningServer, report: &mut Report) {
    if served.ended().is_none() {
        served.signal(Signal::TERM);
    }
    match served.wait(ENDING + Duration::from_secs(5)) {
        Some((status, took)) => {
            report.time("SIGTERM ends the server after", took, ENDING + MEASURING);
            report.faults(format!("its end was no success: {status}"), usize::from(!status.success()));
        }
        None => report.faults("SIGTERM does not end the server", 1),
    }
}
