//! An account that exceeds its quotas, from several sessions at once.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Target;
use crate::figures::Report;
use crate::fixtures::{ALICE, PASSWORD};
use crate::wire::Imap;

/// The `[serve]` section of the attacked server.
pub(crate) const SETTINGS: &str = "quota-messages = 40\nquota-bytes = 1000000\nquota-mailboxes = 30\n\
    quota-subscriptions = 25\nquota-keywords = 20\n";
const MESSAGES: usize = 40;
const MAILBOXES: usize = 30;
const SUBSCRIPTIONS: usize = 25;
const KEYWORDS: usize = 20;

/// Sessions, and how often each requests one more of each kind.
const SESSIONS: usize = 6;
const TRIES: usize = 12;

/// Refusals and their codes.
#[derive(Default)]
struct Refusals {
    right: AtomicUsize,
    wrong: AtomicUsize,
}

impl Refusals {
    /// Counts an answer: whether it is a success, and whether it has the code of a quota.
    fn count(&self, answer: &str, success: &str, codes: &[&str]) {
        if answer.starts_with(success) {
            return;
        }
        let kind = if codes.iter().any(|code| answer.contains(code)) { &self.right } else { &self.wrong };
        if kind.fetch_add(1, Ordering::Relaxed) == 0 && std::ptr::eq(kind, &raw const self.wrong) {
            println!("    refused without the code of a quota: {}", answer.trim_end());
        }
    }
}

pub(crate) fn run(target: &Target<'_>, report: &mut Report) {
    let refusals = Refusals::default();
    let lost: usize = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|number| {
                let refusals = &refusals;
                scope.spawn(move || {
                    target.opened();
                    let done = if number.is_multiple_of(2) {
                        fill_by_imap(target, number, refusals)
                    } else {
                        fill_by_lmtp(target, refusals)
                    };
                    done.inspect_err(|error| println!("    a session ended: {error}")).is_err()
                })
            })
            .collect();
        sessions.into_iter().map(|session| usize::from(session.join().unwrap())).sum()
    });
    report.faults("sessions that ended", lost);
    report.faults("refused without the code of a quota", refusals.wrong.into_inner());
    report.note("refused with the code of a quota", refusals.right.into_inner());
    match kept(target) {
        Ok(kept) => {
            for ((what, bound), kept) in [
                ("messages", MESSAGES),
                ("mailboxes", MAILBOXES),
                ("subscriptions", SUBSCRIPTIONS),
                ("keywords", KEYWORDS),
            ]
            .into_iter()
            .zip(kept)
            {
                report.count(format!("{what} of the account"), kept as u64, bound as u64);
            }
        }
        Err(error) => report.faults(format!("the account cannot be read: {error}"), 1),
    }
}

fn session(target: &Target<'_>) -> io::Result<Imap> {
    let mut imap = target.endpoints.imap(6, ALICE, PASSWORD)?;
    imap.ask("SELECT INBOX")?.ok()?;
    Ok(imap)
}

fn fill_by_imap(target: &Target<'_>, number: usize, refusals: &Refusals) -> io::Result<()> {
    let overquota = |answer: &str| refusals.count(answer, "OK", &["[OVERQUOTA]"]);
    let mut imap = session(target)?;
    for round in 0..TRIES {
        overquota(&imap.append_to("INBOX", b"Subject: x\r\n\r\nx\r\n")?.status);
        let created = imap.ask(&format!("CREATE box-{number}-{round}"))?.status;
        overquota(&created);
        // Only a mailbox that exists can be subscribed to; the account may have more of those than subscriptions.
        if created.starts_with("OK") {
            overquota(&imap.ask(&format!("SUBSCRIBE box-{number}-{round}"))?.status);
        }
        overquota(&imap.ask(&format!("STORE 1 +FLAGS (word-{number}-{round})"))?.status);
        // Too many BAD or NO in a row end a session.
        imap.ask("NOOP")?.ok()?;
    }
    Ok(())
}

fn fill_by_lmtp(target: &Target<'_>, refusals: &Refusals) -> io::Result<()> {
    let codes = ["452 4.2.2", "552 5.2.2"];
    let mut lmtp = target.endpoints.lmtp(6)?;
    for _ in 0..TRIES {
        lmtp.ask("RSET", 250)?;
        lmtp.ask("MAIL FROM:<a@client.example>", 250)?;
        lmtp.wire.send(format!("RCPT TO:<{ALICE}@localhost>\r\n").as_bytes())?;
        let reply = lmtp.reply()?;
        refusals.count(&reply, "250", &codes);
        if reply.starts_with("250") {
            lmtp.ask("DATA", 354)?;
            lmtp.wire.send(b"Subject: x\r\n\r\nx\r\n.\r\n")?;
            refusals.count(&lmtp.reply()?, "250", &codes);
        }
    }
    // A message that can never fit.
    lmtp.ask("RSET", 250)?;
    lmtp.wire.send(b"MAIL FROM:<a@client.example> SIZE=2000000\r\n")?;
    let mut reply = lmtp.reply()?;
    if reply.starts_with("250") {
        lmtp.wire.send(format!("RCPT TO:<{ALICE}@localhost>\r\n").as_bytes())?;
        reply = lmtp.reply()?;
    }
    refusals.count(&reply, "never", &["552 5.2.2", "552 5.3.4"]);
    Ok(())
}

/// How much of each kind the account has.
fn kept(target: &Target<'_>) -> io::Result<[usize; 4]> {
    let mut imap = session(target)?;
    let messages = imap.ask("UID SEARCH ALL")?.ok()?.untagged.concat().split(' ').skip(2).count();
    let mailboxes = imap.ask("LIST \"\" *")?.ok()?.untagged.len();
    let subscriptions = imap.ask("LSUB \"\" *")?.ok()?.untagged.len();
    let flags = imap.ask("FETCH 1 FLAGS")?.ok()?.untagged.concat();
    Ok([messages, mailboxes, subscriptions, flags.matches("word-").count()])
}
