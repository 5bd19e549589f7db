//! Password guessing, connections that never log in, and recipient guessing.

use std::io;
use std::time::{Duration, Instant};

use super::Target;
use crate::figures::Report;
use crate::fixtures::{ATTACKERS, PASSWORD, VICTIM};
use crate::wire::Service;

const GUESSERS: usize = 400;
const TRIES: usize = 10;

/// How long the owner of the account may wait.
const OWNER: Duration = Duration::from_secs(2);

/// Recipients that do not exist; the server may answer some.
const RECIPIENTS: usize = 3_000;
const ANSWERED: u64 = 200;

/// When a connection that never logs in must be closed; the suite sets a timeout of five seconds.
const CLOSED: Duration = Duration::from_secs(9);

pub(crate) fn run(target: &Target<'_>, report: &mut Report) {
    std::thread::scope(|scope| {
        for number in 0..GUESSERS {
            scope.spawn(move || guess(target, number));
        }
        let silent = scope.spawn(|| silence(target));
        let recipients = scope.spawn(|| guess_recipients(target));
        // The guessers have started by then.
        target.pause(Duration::from_secs(2));
        own(target, report);
        match silent.join().unwrap() {
            Ok(time) => report.time("a connection that never logs in is closed after", time, CLOSED),
            Err(error) => report.faults(format!("a connection that never logs in: {error}"), 1),
        }
        match recipients.join().unwrap() {
            Ok(count) => report.count("unknown recipients answered in one session", count, ANSWERED),
            Err(error) => report.faults(format!("unknown recipients: {error}"), 1),
        }
    });
}

/// Guesses by IMAP or SMTP, in as many sessions as needed.
fn guess(target: &Target<'_>, number: usize) {
    let host = 60 + u8::try_from(number % 40).unwrap();
    for round in 0.. {
        if target.is_over() {
            return;
        }
        target.opened();
        let password = format!("guess-{number}-{round}");
        // One guess, and then an error: a new connection takes the attacker some time.
        let _ = if number.is_multiple_of(2) {
            target.endpoints.imap(host, VICTIM, &password).map(drop)
        } else {
            target.endpoints.smtp(host, VICTIM, &password).map(drop)
        };
        target.pause(Duration::from_secs(2));
    }
}

/// The owner logs in with the right password.
fn own(target: &Target<'_>, report: &mut Report) {
    let (mut longest, mut failed) = ([Duration::ZERO; 2], [0; 2]);
    for _ in 0..TRIES {
        for protocol in 0..2 {
            let begun = Instant::now();
            let logged_in = if protocol == 0 {
                target.endpoints.imap(3, VICTIM, PASSWORD).map(drop)
            } else {
                target.endpoints.smtp(3, VICTIM, PASSWORD).map(drop)
            };
            if let Err(error) = logged_in {
                if failed[protocol] == 0 {
                    println!("    the owner's login: {error}");
                }
                failed[protocol] += 1;
            }
            longest[protocol] = longest[protocol].max(begun.elapsed());
        }
    }
    for (protocol, name) in ["IMAP", "SMTP"].into_iter().enumerate() {
        report.time(format!("the owner's login by {name}: worst of {TRIES}"), longest[protocol], OWNER);
        report.faults(format!("the owner's login by {name}: refused"), failed[protocol]);
    }
}

/// Connections in cleartext and under TLS that do nothing: returns the time until all are closed.
fn silence(target: &Target<'_>) -> io::Result<Duration> {
    let begun = Instant::now();
    let mut silent = Vec::new();
    for service in [Service::Imap, Service::Imaps, Service::Smtps] {
        silent.push(target.endpoints.greeted(service, 4)?);
    }
    for wire in &mut silent {
        // A goodbye, and then the end. An error other than the end means that the server keeps the connection.
        loop {
            match wire.line() {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(io::Error::other("still open"));
                }
                Err(_) => break,
            }
        }
    }
    Ok(begun.elapsed())
}

/// Counts the replies to unknown recipients until the session is ended.
fn guess_recipients(target: &Target<'_>) -> io::Result<u64> {
    let mut smtp = target.endpoints.smtp(5, ATTACKERS[2], PASSWORD)?;
    smtp.ask("MAIL FROM:<a@client.example>", 250)?;
    let mut answered = 0;
    for number in 0..RECIPIENTS {
        if smtp.wire.send(format!("RCPT TO:<missing-{number}@localhost>\r\n").as_bytes()).is_err() {
            break;
        }
        match smtp.reply() {
            Ok(reply) if reply.starts_with("421") => break,
            Ok(_) => answered += 1,
            Err(_) => break,
        }
    }
    Ok(answered)
}
