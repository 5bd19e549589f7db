//! Flags of a large mailbox, changed all at once while sessions idle there and do not read.

use std::time::Duration;

use super::{Target, growth};
use crate::figures::Report;
use crate::fixtures::ATTACKERS;

const USER: &str = ATTACKERS[0];

const IDLE: usize = 20;
const KEYWORDS: usize = 90;

/// What waits for each session, and what the whole server may need beside: the pages and caches of its database.
const WAITING: u64 = 256 << 10;
const SLACK: u64 = 96 << 20;

pub(crate) fn run(target: &Target<'_>, report: &mut Report) {
    let keywords: Vec<String> = (0..KEYWORDS).map(|number| format!("{number}-{}", "k".repeat(50))).collect();
    let keywords = keywords.join(" ");
    let before = target.process.resident();
    target.process.forget_peak();
    std::thread::scope(|scope| {
        for _ in 0..IDLE {
            scope.spawn(|| {
                target.besiege(50, USER, |imap| {
                    imap.ask("SELECT big")?.ok()?;
                    imap.begin("IDLE")?;
                    target.pause(Duration::from_secs(60));
                    Ok(())
                });
            });
        }
        scope.spawn(|| {
            target.pause(Duration::from_secs(2));
            target.besiege(51, USER, |imap| {
                imap.ask("SELECT big")?.ok()?;
                for sign in ['+', '-'].into_iter().cycle().take_while(|_| !target.is_over()) {
                    imap.begin(&format!("STORE 1:* {sign}FLAGS ({keywords})"))?;
                    // Disconnects in the middle of the answer when the time is up.
                    while !target.is_over() && !imap.wire.line()?.starts_with("x ") {}
                }
                Ok(())
            });
        });
    });
    let bound = (IDLE + 1) as u64 * WAITING + SLACK;
    report.bytes("memory for STORE and IDLE", growth(before, target.process.peak()), bound);
}
