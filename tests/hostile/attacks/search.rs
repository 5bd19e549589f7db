//! Expensive searches and lists, from several sessions of one account.

use std::time::Duration;

use super::Target;
use crate::figures::Report;
use crate::fixtures::{ATTACKERS, PASSWORD};

const USER: &str = ATTACKERS[1];

const SESSIONS: u8 = 8;

/// More keys of a search than a server should accept, and patterns of a list.
const TOO_MANY_KEYS: usize = 4_000;
const PATTERNS: usize = 60;

pub(crate) fn run(target: &Target<'_>, report: &mut Report) {
    let keys = most_keys(target, report);
    let (search, list) = (search_command(keys), list_command());
    std::thread::scope(|scope| {
        for number in 0..SESSIONS {
            let (search, list) = (&search, &list);
            scope.spawn(move || {
                target.besiege(40 + number % 2, USER, |imap| {
                    imap.ask("SELECT large")?.ok()?;
                    match number % 4 {
                        0 => imap.ask(search).map(drop),
                        // Disconnects without waiting for the answer.
                        1 => {
                            imap.begin(search)?;
                            target.pause(Duration::from_millis(100));
                            Ok(())
                        }
                        2 => imap.ask(list).map(drop),
                        _ => imap.ask("LIST \"\" *a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b").map(drop),
                    }
                });
            });
        }
    });
}

/// Finds the largest accepted number of keys by bisection, and checks that the limit is reported.
fn most_keys(target: &Target<'_>, report: &mut Report) -> usize {
    let mut keys = TOO_MANY_KEYS;
    let Ok(mut imap) = target.endpoints.imap(40, USER, PASSWORD) else { return 1 };
    // Empty, so that no text is searched.
    if imap.ask("SELECT messages").is_err() {
        return 1;
    }
    let mut named = 0;
    while keys > 1 {
        let Ok(answer) = imap.ask(&search_command(keys)) else { break };
        if !answer.status.contains("[LIMIT]") {
            break;
        }
        named += 1;
        keys /= 2;
    }
    report.faults(format!("SEARCH of {TOO_MANY_KEYS} keys: taken"), usize::from(named == 0));
    report.note("keys of a SEARCH that is taken", keys);
    keys
}

fn search_command(keys: usize) -> String {
    let keys: Vec<String> = (0..keys).map(|number| format!("NOT BODY zq{number}")).collect();
    format!("SEARCH {}", keys.join(" "))
}

fn list_command() -> String {
    let patterns: Vec<String> = (0..PATTERNS).map(|number| format!("{}b{number}", "*a".repeat(30))).collect();
    format!("LIST \"\" ({})", patterns.join(" "))
}
