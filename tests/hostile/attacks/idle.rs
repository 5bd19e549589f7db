//! Many idle sessions: the memory of each, and what remains after they end.

use std::io;
use std::time::{Duration, Instant};

use super::{Target, growth};
use crate::figures::Report;
use crate::fixtures::{ATTACKERS, IDLE, PASSWORD};
use crate::wire::{Imap, Service, Wire};

/// Sessions under TLS in a mailbox, and connections in cleartext.
const SECURE: usize = 2_000;
const CLEARTEXT: usize = 1_000;

/// How much memory one may cost, in bytes.
const SECURE_COST: u64 = 12 << 10;
const CLEARTEXT_COST: u64 = 6 << 10;

/// Threads that open sessions.
const OPENERS: usize = 4;

/// Sessions of each kind that come and go before anything is measured.
const FIRST: usize = 400;

/// How long the neighbours send requests before the first measurement.
const WARM_UP: Duration = Duration::from_secs(8);

/// The server gives memory back 5 s after a password was computed and 3 s after a session fell silent. Memory that has
/// not gone down for [`STEADY`] is settled.
const STEADY: Duration = Duration::from_secs(6);
const LONGEST: Duration = Duration::from_secs(20);

/// Samples of the settled memory, whose median counts, and the time from one to the next.
const SAMPLES: usize = 9;
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn run(target: &Target<'_>, report: &mut Report) {
    // What the first sessions cost once is not counted: caches of the database that each worker fills, also for the
    // neighbours.
    drop(open(FIRST, |number| secure(target, number)));
    drop(open(FIRST, |number| greeted(target, number)));
    std::thread::sleep(WARM_UP);
    let start = settled(target);
    let secure = open(SECURE, |number| secure(target, number));
    report.faults("idle sessions under TLS: not opened", SECURE - secure.len());
    let with_secure = settled(target);
    let cost = growth(start, with_secure) / SECURE as u64;
    report.bytes(format!("an idle session under TLS in a mailbox of {IDLE}"), cost, SECURE_COST);
    let cleartext = open(CLEARTEXT, |number| greeted(target, number));
    report.faults("idle connections in cleartext: not opened", CLEARTEXT - cleartext.len());
    let cost = growth(with_secure, settled(target)) / CLEARTEXT as u64;
    report.bytes("an idle connection in cleartext", cost, CLEARTEXT_COST);
    drop((secure, cleartext));
    report.bytes("memory when they are gone", settled(target), start + start / 5);
    report.size("memory before they came", start);
}

/// The memory of the server when it has given back what it will. The neighbours wait meanwhile: what they need for a
/// request is no cost of idle sessions.
fn settled(target: &Target<'_>) -> u64 {
    let _quiet = target.neighbours.hold();
    let begun = Instant::now();
    let (mut least, mut unchanged_since) = (u64::MAX, begun);
    while unchanged_since.elapsed() < STEADY && begun.elapsed() < LONGEST {
        let now = target.process.resident();
        if now.saturating_add(128 << 10) < least {
            unchanged_since = Instant::now();
        }
        least = least.min(now);
        std::thread::sleep(PAUSE);
    }
    let mut samples: [u64; SAMPLES] = std::array::from_fn(|_| {
        std::thread::sleep(PAUSE);
        target.process.resident()
    });
    samples.sort_unstable();
    samples[SAMPLES / 2]
}

fn open<T: Send>(count: usize, one: impl Fn(usize) -> io::Result<T> + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let one = &one;
        let openers: Vec<_> = (0..OPENERS)
            .map(|opener| {
                scope.spawn(move || {
                    (opener..count).step_by(OPENERS).filter_map(|n| one(n).ok()).collect::<Vec<_>>()
                })
            })
            .collect();
        openers.into_iter().flat_map(|opener| opener.join().unwrap()).collect()
    })
}

fn secure(target: &Target<'_>, number: usize) -> io::Result<Imap> {
    target.opened();
    let mut imap = target.endpoints.imap(host(number), ATTACKERS[0], PASSWORD)?;
    imap.ask("SELECT idle")?.ok()?;
    imap.begin("IDLE")?;
    imap.wire.line()?;
    Ok(imap)
}

fn greeted(target: &Target<'_>, number: usize) -> io::Result<Wire> {
    target.opened();
    target.endpoints.greeted(Service::Lmtp, host(number))
}

fn host(number: usize) -> u8 {
    100 + u8::try_from(number % 20).unwrap()
}
