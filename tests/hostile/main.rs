//! Attacks on the built `mailwire serve` under a limit of memory, with well-behaved users beside, whose waiting is
//! measured. `tests/run` runs it; `cargo test --profile hostile -p mailwire --test hostile -- search` runs one attack.
//!
//! Each attack runs alone for some seconds, then all run at once, and the server is told to end while they do. The
//! figures and their bounds are printed as a table. A bound is far from what a busy machine does to a sound server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod attacks;
mod figures;
mod fill;
mod neighbours;
mod served;
mod wire;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use attacks::Target;
use figures::{Figure, Quantity, Report};
use neighbours::Neighbours;
use served::{MEMORY, Served};

/// How long the server may go on computing when an attack is over, and how much it may compute after that.
const AFTERMATH: Duration = Duration::from_secs(2);
const IDLE_CPU: Duration = Duration::from_millis(300);

/// How long a server may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// One attack by itself.
struct Attack {
    name: &'static str,
    seconds: u64,
    run: fn(&Target<'_>, &mut Report),
    /// How long a delivery may take meanwhile.
    delivery: Duration,
}

const ATTACKS: [Attack; 6] = [
    Attack { name: "idle", seconds: 30, run: attacks::idle::run, delivery: Duration::from_secs(2) },
    Attack { name: "messages", seconds: 10, run: attacks::messages::run, delivery: Duration::from_secs(2) },
    Attack { name: "sections", seconds: 8, run: attacks::sections::run, delivery: Duration::from_secs(2) },
    Attack { name: "search", seconds: 10, run: attacks::search::run, delivery: Duration::from_secs(1) },
    Attack { name: "flags", seconds: 15, run: attacks::flags::run, delivery: Duration::from_secs(2) },
    Attack { name: "guesses", seconds: 12, run: attacks::guesses::run, delivery: Duration::from_secs(2) },
];

/// How long all attacks run at once before the server is told to end.
const TOGETHER: u64 = 20;

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    raise_descriptor_limit();
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("served");
    let begun = Instant::now();
    fill::fill(&directory);
    println!("the store is filled after {:.1} s", begun.elapsed().as_secs_f64());

    let mut figures = Vec::new();
    let mut served = start(&directory);
    for attack in ATTACKS.iter().filter(|attack| wanted.as_deref().is_none_or(|name| attack.name == name)) {
        println!("{} (after {:.0} s)", attack.name, begun.elapsed().as_secs_f64());
        figures.extend(alone(attack, &mut served, &directory));
    }
    if wanted.as_deref().is_none_or(|name| name == "together") {
        println!("together (after {:.0} s)", begun.elapsed().as_secs_f64());
        figures.extend(together(&mut served, &directory));
    }
    figures::print(&figures);
    println!("\n{:.0} s in all", begun.elapsed().as_secs_f64());
    let exceeded = figures.iter().filter(|figure| figure.exceeds()).count();
    if exceeded > 0 {
        println!("{exceeded} bounds are exceeded");
        std::process::exit(1);
    }
}

fn start(directory: &Path) -> Served {
    Served::start(directory, SETTINGS)
}

/// The section `[serve]` of the server's configuration.
const SETTINGS: &str = "sessions = 5000\nsessions-per-address = 2000\n";

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
}

/// One attack beside the neighbours. A server that does not survive it is replaced.
fn alone(attack: &Attack, served: &mut Served, directory: &Path) -> Vec<Figure> {
    let mut report = Report::new(attack.name);
    let endpoints = served.endpoints.clone();
    let target = Target {
        endpoints: &endpoints,
        process: served.process(),
        directory,
        until: Instant::now() + Duration::from_secs(attack.seconds),
        sessions: AtomicUsize::new(0),
    };
    let neighbours = Neighbours::new();
    let watch = served.process().watch();
    std::thread::scope(|scope| {
        neighbours.start(scope, &endpoints);
        (attack.run)(&target, &mut report);
        neighbours.stop();
    });
    report.note("hostile sessions", Quantity::Count(target.sessions.load(Ordering::Relaxed) as u64));
    report.bytes("peak memory of the server", watch.peak(), MEMORY);
    neighbours.report(&mut report, attack.delivery);
    let survives = survives(served, &mut report);
    if !survives {
        println!("    the server is replaced: {}", served.log());
        *served = start(directory);
    }
    report.figures
}

/// Whether the server is there and soon has nothing left to do.
fn survives(served: &mut Served, report: &mut Report) -> bool {
    let process = served.process();
    std::thread::sleep(AFTERMATH);
    let before = process.cpu();
    std::thread::sleep(Duration::from_secs(1));
    let ended = served.ended();
    report.faults("the server ended", usize::from(ended.is_some()));
    let busy = process.cpu().saturating_sub(before);
    report.time("computing in the third second after the attack", busy, IDLE_CPU);
    ended.is_none() && busy <= IDLE_CPU
}

/// All attacks at once; SIGHUP in the midst, and SIGTERM before they are over.
fn together(served: &mut Served, directory: &Path) -> Vec<Figure> {
    let mut report = Report::new("together");
    let endpoints = served.endpoints.clone();
    let target = Target {
        endpoints: &endpoints,
        process: served.process(),
        directory,
        until: Instant::now() + Duration::from_secs(TOGETHER + 3),
        sessions: AtomicUsize::new(0),
    };
    let neighbours = Neighbours::new();
    let watch = served.process().watch();
    std::thread::scope(|scope| {
        for attack in ATTACKS.iter().filter(|attack| attack.name != "idle") {
            // What one attack costs cannot be told from what the others cost.
            let target = &target;
            scope.spawn(move || (attack.run)(target, &mut Report::new(attack.name)));
        }
        neighbours.start(scope, &endpoints);
        std::thread::sleep(Duration::from_secs(TOGETHER / 2));
        served.signal(Signal::HUP);
        std::thread::sleep(Duration::from_secs(TOGETHER / 2));
        report.faults("SIGHUP ended the server", usize::from(served.ended().is_some()));
        neighbours.stop();
        // The neighbours' last requests are answered.
        std::thread::sleep(Duration::from_millis(500));
        if served.ended().is_none() {
            served.signal(Signal::TERM);
            match served.wait(ENDING + Duration::from_secs(5)) {
                Some((status, took)) => {
                    report.time("SIGTERM ends the server after", took, ENDING);
                    report.faults(format!("its exit: {status}"), usize::from(!status.success()));
                }
                None => report.faults("SIGTERM does not end the server", 1),
            }
        }
    });
    report.note("hostile sessions", Quantity::Count(target.sessions.load(Ordering::Relaxed) as u64));
    report.bytes("peak memory of the server", watch.peak(), MEMORY);
    neighbours.report(&mut report, Duration::from_secs(2));
    report.figures
}
