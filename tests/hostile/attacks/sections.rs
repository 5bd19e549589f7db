//! Many sections of a large message in one FETCH, read slowly.

use std::time::Duration;

use super::{Target, growth};
use crate::figures::Report;
use crate::fixtures::ATTACKERS;

const SESSIONS: u8 = 8;
const SECTIONS: usize = 250;

/// What each session may hold while it is answered, and what the whole server may need beside.
const ANSWERING: u64 = (1 << 20) + (256 << 10);
const SLACK: u64 = 32 << 20;

pub(crate) fn run(target: &Target<'_>, report: &mut Report) {
    let commands = commands();
    let before = target.process.resident();
    target.process.forget_peak();
    std::thread::scope(|scope| {
        for number in 0..SESSIONS {
            let command = &commands[usize::from(number) % commands.len()];
            scope.spawn(move || {
                target.besiege(30 + number % 2, ATTACKERS[1], |imap| {
                    imap.ask("SELECT large")?.ok()?;
                    imap.begin(command)?;
                    let pause = Duration::from_millis(if number < SESSIONS / 2 { 20 } else { 2_000 });
                    target.read_slowly(imap, pause)
                });
            });
        }
    });
    let bound = u64::from(SESSIONS) * ANSWERING + SLACK;
    report.bytes(
        format!("memory for {SESSIONS} FETCH of {SECTIONS} sections"),
        growth(before, target.process.peak()),
        bound,
    );
}

fn commands() -> [String; 4] {
    let all = |item: &dyn Fn(usize) -> String| (0..SECTIONS).map(item).collect::<Vec<_>>().join(" ");
    [
        format!("FETCH 1 ({})", all(&|number| format!("BODY.PEEK[HEADER.FIELDS.NOT (X-{number})]"))),
        format!("FETCH 2 ({})", all(&|number| format!("BINARY.PEEK[1]<{}.4000000>", number * 1000))),
        format!("FETCH 3 ({})", all(&|number| format!("BINARY.PEEK[1]<{}.40000000>", number * 1000))),
        format!("FETCH 3 ({})", all(&|number| format!("BODY.PEEK[1]<{number}.50000000>"))),
    ]
}
