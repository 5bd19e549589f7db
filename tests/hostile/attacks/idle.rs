//! Many sessions that do nothing: what each costs, and what is left when they are gone.

use std::io;
use std::time::Duration;

use super::{Target, growth};
use crate::figures::Report;
use crate::fill::{ATTACKERS, IDLE, PASSWORD};
use crate::wire::{Imap, Service, Wire};

/// Sessions under TLS in a mailbox, and connections in cleartext.
const SECURE: usize = 2_000;
const CLEARTEXT: usize = 1_000;

/// How much memory one may cost, in bytes. It is about 12 KiB under TLS and 6 KiB in cleartext: the bounds leave room for
/// what the allocator keeps and for what the other users need meanwhile.
const SECURE_COST: u64 = 18 << 10;
const CLEARTEXT_COST: u64 = 12 << 10;

/// What the allocator may keep when the sessions are gone, in bytes, beside a fifth of what was there before.
const KEPT: u64 = 12 << 20;

/// Threads that open sessions.
const OPENERS: usize = 4;

pub(crate) fn run(target: &Target<'_>, report: &mut Report) {
    // What the first sessions cost once is not counted.
    warm_up(target);
    let start = target.process.resident();
    let secure = open(SECURE, |number| secure(target, number));
    let with_secure = target.process.resident();
    report.faults("idle sessions under TLS: not opened", SECURE - secure.len());
    let cost = growth(start, with_secure) / SECURE as u64;
    report.bytes(format!("an idle session under TLS in a mailbox of {IDLE}"), cost, SECURE_COST);
    let cleartext = open(CLEARTEXT, |number| greeted(target, number));
    report.faults("idle connections in cleartext: not opened", CLEARTEXT - cleartext.len());
    let cost = growth(with_secure, target.process.resident()) / CLEARTEXT as u64;
    report.bytes("an idle connection in cleartext", cost, CLEARTEXT_COST);
    drop((secure, cleartext));
    // Memory is given back within a few seconds.
    let bound = start + start / 5 + KEPT;
    for _ in 0..50 {
        if target.process.resident() <= bound {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    report.bytes("memory when they are gone", target.process.resident(), bound);
}

fn warm_up(target: &Target<'_>) {
    drop(open(40, |number| secure(target, number)));
    drop(open(40, |number| greeted(target, number)));
    settle(target);
}

/// Waits until memory is no longer given back. The server keeps what the computing of passwords needs for 5 s.
fn settle(target: &Target<'_>) {
    let (mut least, mut unchanged) = (u64::MAX, 0);
    for _ in 0..40 {
        let now = target.process.resident();
        unchanged = if now.saturating_add(256 << 10) < least { 0 } else { unchanged + 1 };
        least = least.min(now);
        if unchanged == 14 {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
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
