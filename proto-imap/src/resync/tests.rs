//! Resynchronisations against scripted servers.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU32;

use proto_mail::{RecvBuffer, Secure, SendBuffer};

use super::*;
use crate::Config;
use crate::client::{Client, Event};
use crate::types::MailboxName;

const QRESYNC: &str = "* PREAUTH [CAPABILITY IMAP4rev1 ENABLE CONDSTORE QRESYNC ESEARCH] x\r\n";
const CONDSTORE: &str = "* PREAUTH [CAPABILITY IMAP4rev1 CONDSTORE] x\r\n";
const NEITHER: &str = "* PREAUTH [CAPABILITY IMAP4rev1] x\r\n";
const ENABLED: &str = "* ENABLED QRESYNC\r\n$ OK enabled\r\n";
/// The end of the session instead of an answer.
const CLOSE: &str = "";
const SELECTED: &str = "$ OK [READ-WRITE] selected\r\n";

/// What a resynchronisation has sent and found.
struct Outcome {
    sent: String,
    found: Vec<String>,
    done: Option<ResyncedMailbox>,
    error: Option<ResyncError>,
}

/// The messages 1 to 5 and 9, up to mod-sequence 40.
fn known() -> KnownMailbox {
    KnownMailbox {
        uid_validity: NonZeroU32::new(7),
        uid_next: NonZeroU32::new(10),
        highest_mod_sequence: Some(40),
        uids: [1, 2, 3, 4, 5, 9].into_iter().collect(),
    }
}

/// Runs a resynchronisation. The server answers each command with the next of `answers`, in which `$` is the command's tag;
/// [`CLOSE`] ends the session, and another one follows. The bytes arrive in pieces of `split`.
fn run_split(mut resync: Resync, greeting: &str, answers: &[&str], split: usize) -> Outcome {
    let new_client = || Client::<Secure>::new(Config::default(), Secure::trusted_local());
    let mut client = new_client();
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut outcome = Outcome { sent: String::new(), found: Vec::new(), done: None, error: None };
    let mut input: Vec<u8> = greeting.into();
    let mut answers = answers.iter();
    let mut is_started = false;
    loop {
        let rest = input.split_off(split.min(input.len()));
        rx.extend(&core::mem::replace(&mut input, rest));
        while let Some(event) = client.next_event(&mut rx, &mut tx).unwrap() {
            let taken = match event {
                Event::Capabilities if !is_started => {
                    is_started = true;
                    resync.start(&mut client, &mut tx)
                }
                event => resync.take(&event, &mut client, &mut tx),
            };
            outcome.error = outcome.error.or(taken.err());
            while let Some(event) = resync.next_event() {
                match event {
                    ResyncEvent::Reset => outcome.found.push("reset".to_string()),
                    ResyncEvent::New(message) => outcome.found.push(shown("new", &message)),
                    ResyncEvent::Changed(message) => outcome.found.push(shown("changed", &message)),
                    ResyncEvent::Unreadable(uids) => outcome.found.push(format!("unreadable {uids:?}")),
                    ResyncEvent::Vanished(uids) => outcome.found.push(format!("vanished {uids:?}")),
                    ResyncEvent::Done(done) => outcome.done = Some(*done),
                }
            }
        }
        let output = tx.take();
        for line in String::from_utf8(output.to_vec()).unwrap().lines() {
            let (tag, command) = line.split_once(' ').unwrap();
            outcome.sent.push_str(command);
            outcome.sent.push('\n');
            let answer = answers.next().unwrap_or_else(|| panic!("no answer to {command}"));
            if *answer == CLOSE {
                if resync.connection_lost() == AfterLoss::Stop {
                    outcome.found.push("stopped".to_string());
                    return outcome;
                }
                (client, is_started, input) = (new_client(), false, greeting.into());
                (rx, tx) = (RecvBuffer::new(), SendBuffer::new());
                break;
            }
            input.extend(answer.replace('$', tag).bytes());
        }
        if resync.is_done() || input.is_empty() {
            return outcome;
        }
    }
}

fn run(resync: Resync, greeting: &str, answers: &[&str]) -> Outcome {
    let whole = run_split(resync.clone(), greeting, answers, usize::MAX);
    let split = run_split(resync, greeting, answers, 1);
    assert_eq!((&whole.sent, &whole.found, &whole.done), (&split.sent, &split.found, &split.done));
    whole
}

fn shown(what: &str, message: &ResyncedMessage) -> String {
    format!("{what} {} {:?} {:?}", message.uid, message.flags, message.mod_sequence)
}

fn resync() -> Resync {
    Resync::select(MailboxName::new("box"), known())
}

/// The responses to SELECT of a mailbox with these numbers.
fn selected(exists: u32, uid_next: u32, mod_sequence: u64, more: &str) -> String {
    format!(
        "* {exists} EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT {uid_next}] x\r\n\
         * OK [HIGHESTMODSEQ {mod_sequence}] x\r\n{more}{SELECTED}"
    )
}

fn uids(outcome: &Outcome) -> String {
    format!("{:?}", outcome.done.as_ref().unwrap().mailbox.uids)
}

fn method(outcome: &Outcome) -> ResyncMethod {
    outcome.done.as_ref().unwrap().method
}

#[test]
fn qresync_needs_one_command_after_enable() {
    let more = "* VANISHED (EARLIER) 2:3,6:8\r\n* 4 FETCH (UID 9 FLAGS (\\Seen x) MODSEQ (44))\r\n\
                * 5 FETCH (UID 10 FLAGS () MODSEQ (43))\r\n";
    let outcome = run(resync(), QRESYNC, &[ENABLED, &selected(5, 11, 44, more)]);
    assert_eq!(outcome.sent, "ENABLE QRESYNC\nSELECT box (QRESYNC (7 40))\n");
    assert_eq!(outcome.found, ["changed 9 [\\Seen, x] Some(44)", "new 10 [] Some(43)", "vanished {2..=3}"]);
    let done = outcome.done.unwrap();
    assert_eq!(done.method, ResyncMethod::QResync);
    assert_eq!(format!("{:?}", done.mailbox.uids), "{1..=1, 4..=5, 9..=10}");
    assert_eq!(done.mailbox.highest_mod_sequence, Some(44));
    assert_eq!(done.mailbox.uid_next, NonZeroU32::new(11));

    let unchanged = run(resync(), QRESYNC, &[ENABLED, &selected(6, 10, 40, "")]);
    assert!(unchanged.found.is_empty());
    assert_eq!(unchanged.done.unwrap().mailbox, known());
}

#[test]
fn examine_leaves_the_mailbox_unchanged() {
    let resync = Resync::examine(MailboxName::new("box"), KnownMailbox::default());
    let outcome = run(resync, NEITHER, &["* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK [READ-ONLY] x\r\n"]);
    assert_eq!(outcome.sent, "EXAMINE box\n");
    assert!(outcome.done.unwrap().is_read_only && outcome.found.is_empty());
}

#[test]
fn server_that_does_not_enable_qresync_is_asked_by_condstore() {
    let fetched = "* 6 FETCH (UID 9 FLAGS (\\Seen) MODSEQ (44))\r\n$ OK x\r\n";
    let outcome = run(resync(), QRESYNC, &["$ NO not now\r\n", &selected(6, 10, 44, ""), fetched]);
    assert_eq!(
        outcome.sent,
        "ENABLE QRESYNC\nSELECT box (CONDSTORE)\nUID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 40)\n"
    );
    assert_eq!(outcome.found, ["changed 9 [\\Seen] Some(44)"]);
    assert_eq!(method(&outcome), ResyncMethod::CondStore);

    // The server rejects the parameter.
    let outcome = run(resync(), QRESYNC, &[ENABLED, "$ BAD what?\r\n", &selected(6, 10, 40, "")]);
    assert_eq!(outcome.sent, "ENABLE QRESYNC\nSELECT box (QRESYNC (7 40))\nSELECT box\n");
    assert!(outcome.found.is_empty() && method(&outcome) == ResyncMethod::CondStore);
}

#[test]
fn condstore_searches_only_if_messages_have_vanished() {
    let fetched = "* 5 FETCH (UID 10 FLAGS () MODSEQ (41))\r\n$ OK x\r\n";
    let searched = "* SEARCH 1 2 4 9 10\r\n$ OK x\r\n";
    let outcome = run(resync(), CONDSTORE, &[&selected(5, 11, 41, ""), fetched, searched]);
    assert_eq!(
        outcome.sent,
        "SELECT box (CONDSTORE)\nUID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 40)\nUID SEARCH ALL\n"
    );
    assert_eq!(outcome.found, ["new 10 [] Some(41)", "vanished {3..=3, 5..=5}"]);
    // The highest mod-sequence need not grow when a message is expunged.
    let searched = "* SEARCH 1 2 3 4 5\r\n$ OK x\r\n";
    let outcome = run(resync(), CONDSTORE, &[&selected(5, 10, 40, ""), searched]);
    assert_eq!(outcome.found, ["vanished {9..=9}"]);
}

#[test]
fn server_without_mod_sequences_lists_all_messages() {
    let select = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 11] x\r\n$ OK [READ-WRITE] x\r\n";
    let fetched = "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 2 FETCH (FLAGS () UID 9)\r\n\
                   * 3 FETCH (UID 10 FLAGS ())\r\n$ OK x\r\n";
    let outcome = run(resync(), NEITHER, &[select, fetched]);
    assert_eq!(outcome.sent, "SELECT box\nUID FETCH 1:* (UID FLAGS)\n");
    assert_eq!(
        outcome.found,
        ["changed 1 [\\Seen] None", "changed 9 [] None", "new 10 [] None", "vanished {2..=5}"]
    );
    assert_eq!(outcome.done.unwrap().mailbox.highest_mod_sequence, None);
    // A server that has mod-sequences without CONDSTORE is not asked for them.
    let unlisted = select.replace("* OK [UIDNEXT", "* OK [HIGHESTMODSEQ 44] x\r\n* OK [UIDNEXT");
    let outcome = run(resync(), NEITHER, &[&unlisted, fetched]);
    assert_eq!((outcome.found.len(), method(&outcome)), (4, ResyncMethod::Full));
    // NOMODSEQ: this mailbox has none, although the server supports them.
    let nomodseq = select.replace("* OK [UIDNEXT", "* OK [NOMODSEQ] x\r\n* OK [UIDNEXT");
    let outcome = run(resync(), QRESYNC, &[ENABLED, &nomodseq, fetched]);
    assert!(outcome.sent.ends_with("UID FETCH 1:* (UID FLAGS)\n"));
    assert_eq!((outcome.found.len(), method(&outcome)), (4, ResyncMethod::Full));
}

#[test]
fn another_uidvalidity_makes_everything_new() {
    let select = selected(2, 3, 9, "").replace("UIDVALIDITY 7", "UIDVALIDITY 8");
    let fetched =
        "* 1 FETCH (UID 1 FLAGS () MODSEQ (9))\r\n* 2 FETCH (UID 2 FLAGS () MODSEQ (8))\r\n$ OK x\r\n";
    for greeting in [QRESYNC, CONDSTORE] {
        let mut answers = Vec::from([select.as_str(), fetched]);
        if greeting == QRESYNC {
            answers.insert(0, ENABLED);
        }
        let outcome = run(resync(), greeting, &answers);
        assert!(outcome.sent.ends_with("UID FETCH 1:* (UID FLAGS MODSEQ)\n"));
        assert_eq!(outcome.found, ["reset", "new 1 [] Some(9)", "new 2 [] Some(8)"]);
        assert_eq!(outcome.done.unwrap().mailbox.uid_validity, NonZeroU32::new(8));
    }
    let empty = selected(0, 1, 1, "").replace("UIDVALIDITY 7", "UIDVALIDITY 8");
    let outcome = run(resync(), CONDSTORE, &[&empty]);
    assert_eq!(outcome.found, ["reset"]);
    // Without UIDVALIDITY no UID means anything.
    let none = selected(1, 3, 9, "").replace("UIDVALIDITY 7", "UIDNOTSTICKY");
    let outcome = run(resync(), CONDSTORE, &[&none, "* 1 FETCH (UID 1 FLAGS ())\r\n$ OK x\r\n"]);
    assert_eq!(outcome.found, ["reset", "new 1 [] None"]);
    assert_eq!(outcome.done.unwrap().mailbox.highest_mod_sequence, None);
}

#[test]
fn nothing_vanishes_because_a_server_contradicts_itself() {
    let all = "* ESEARCH (TAG \"$\") UID ALL 1:5,9\r\n$ OK x\r\n";
    for lie in
        ["* VANISHED (EARLIER) 1:4294967295\r\n", "* VANISHED (EARLIER) 2\r\n* VANISHED (EARLIER) 1:3\r\n"]
    {
        let outcome = run(resync(), QRESYNC, &[ENABLED, &selected(6, 10, 44, lie), all]);
        assert!(outcome.sent.ends_with("UID SEARCH RETURN (ALL) ALL\n"));
        assert!(outcome.found.is_empty(), "{:?}", outcome.found);
        assert_eq!(outcome.done.unwrap().mailbox.uids, known().uids);
    }
    // A message that the server also shows has not vanished.
    let both = "* VANISHED (EARLIER) 3\r\n* 3 FETCH (UID 3 FLAGS () MODSEQ (44))\r\n";
    let outcome = run(resync(), QRESYNC, &[ENABLED, &selected(6, 10, 44, both)]);
    assert_eq!(outcome.found, ["changed 3 [] Some(44)"]);
    // UIDs that the client does not know are ignored.
    let outcome =
        run(resync(), QRESYNC, &[ENABLED, &selected(6, 10, 44, "* VANISHED (EARLIER) 6:8,20:90\r\n")]);
    assert!(outcome.found.is_empty());
    // A list of all messages that lacks some: SEARCH decides.
    let fetched = "* 1 FETCH (UID 1 FLAGS ())\r\n$ OK x\r\n";
    let searched = "* SEARCH 1 2 3 4 9\r\n$ OK x\r\n";
    let again = "* 2 FETCH (UID 2 FLAGS ())\r\n$ OK x\r\n";
    let select = "* 5 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK x\r\n";
    let outcome = run(resync(), NEITHER, &[select, fetched, searched, again]);
    assert!(outcome.sent.ends_with("UID SEARCH ALL\nUID FETCH 2:4,9 (UID FLAGS)\n"));
    assert_eq!(
        outcome.found,
        ["changed 1 [] None", "changed 2 [] None", "unreadable {3..=4, 9..=9}", "vanished {5..=5}"]
    );
}

#[test]
fn mod_sequence_that_goes_back_makes_the_server_list_all_messages() {
    let all: Vec<_> = [1, 2, 3, 4, 5, 9]
        .iter()
        .map(|uid| format!("* 1 FETCH (UID {uid} FLAGS () MODSEQ (3))\r\n"))
        .collect();
    let fetched = format!("{}$ OK x\r\n", all.concat());
    let outcome = run(resync(), QRESYNC, &[ENABLED, &selected(6, 10, 39, ""), &fetched]);
    assert!(outcome.sent.ends_with("UID FETCH 1:* (UID FLAGS MODSEQ)\n"));
    assert_eq!((outcome.found.len(), method(&outcome)), (6, ResyncMethod::Full));
    let mailbox = outcome.done.unwrap().mailbox;
    assert_eq!((mailbox.highest_mod_sequence, mailbox.uids), (Some(39), known().uids));
    // No HIGHESTMODSEQ at all.
    let none = selected(6, 10, 40, "").replace("HIGHESTMODSEQ 40", "ALERT");
    let fetched = fetched.replace(" MODSEQ (3)", "");
    let outcome = run(resync(), QRESYNC, &[ENABLED, &none, &fetched]);
    assert!(outcome.sent.ends_with("UID FETCH 1:* (UID FLAGS)\n"));
    assert_eq!(outcome.found.len(), 6);
}

#[test]
fn responses_of_the_previous_mailbox_are_ignored() {
    let stale =
        "* 1 FETCH (UID 77 FLAGS ())\r\n* VANISHED (EARLIER) 1:9\r\n* 900 EXISTS\r\n* OK [CLOSED] x\r\n";
    let select = format!("{stale}{}", selected(6, 10, 44, "* 1 FETCH (UID 1 FLAGS (x) MODSEQ (44))\r\n"));
    let outcome = run(resync(), QRESYNC, &[ENABLED, &select]);
    assert_eq!(outcome.found, ["changed 1 [x] Some(44)"]);
    assert_eq!(method(&outcome), ResyncMethod::QResync);
    // Without CLOSED, the server may have sent the changes before UIDVALIDITY: they are requested again.
    let select = format!("* 1 FETCH (UID 1 FLAGS (x) MODSEQ (44))\r\n{}", selected(6, 10, 44, ""));
    let fetched = "* 1 FETCH (UID 1 FLAGS (x) MODSEQ (44))\r\n$ OK x\r\n";
    let outcome = run(resync(), QRESYNC, &[ENABLED, &select, fetched]);
    assert!(outcome.sent.ends_with("(CHANGEDSINCE 40)\n"));
    assert_eq!(outcome.found, ["changed 1 [x] Some(44)"]);
}

#[test]
fn changes_that_could_not_be_read_are_requested_again_next_time() {
    for unclear in [
        "* 1 FETCH (FLAGS (x))\r\n",
        "* 1 FETCH (UID 1 MODSEQ (44))\r\n",
        "* 1 FETCH (UID 1 FLAGS x MODSEQ (44))\r\n",
    ] {
        let outcome = run(resync(), QRESYNC, &[ENABLED, &selected(6, 10, 44, unclear)]);
        let mailbox = outcome.done.unwrap().mailbox;
        assert_eq!((mailbox.highest_mod_sequence, mailbox.uid_next), (Some(40), None), "{unclear}");
    }
}

#[test]
fn changes_during_the_resynchronisation_are_found() {
    // A message vanishes and one arrives while the server lists the changes.
    let fetched = "* 6 FETCH (UID 9 FLAGS () MODSEQ (44))\r\n* 2 EXPUNGE\r\n* 6 EXISTS\r\n$ OK x\r\n";
    let searched = "* SEARCH 1 3 4 5 9 10\r\n$ OK x\r\n";
    let new = "* 6 FETCH (UID 10 FLAGS (\\Seen) MODSEQ (46))\r\n$ OK x\r\n";
    // EXISTS is again the number of known messages: the next resynchronisation finds the rest.
    let outcome = run(resync(), CONDSTORE, &[&selected(6, 10, 44, ""), fetched, searched, new]);
    assert_eq!(outcome.found, ["changed 9 [] Some(44)"]);
    let next = Resync::select(MailboxName::new("box"), outcome.done.unwrap().mailbox);
    let fetched = "* 6 FETCH (UID 10 FLAGS (\\Seen) MODSEQ (46))\r\n$ OK x\r\n";
    let outcome = run(next, CONDSTORE, &[&selected(6, 11, 46, ""), fetched, searched]);
    assert_eq!(outcome.found, ["new 10 [\\Seen] Some(46)", "vanished {2..=2}"]);
    // VANISHED during SEARCH of all messages.
    let enabled =
        [ENABLED, &selected(5, 11, 44, ""), "* ESEARCH (TAG \"$\") UID ALL 1:4,10\r\n$ OK x\r\n", new];
    let outcome = run(resync(), QRESYNC, &enabled);
    assert!(outcome.sent.ends_with("UID FETCH 10 (UID FLAGS MODSEQ)\n"));
    assert_eq!(outcome.found, ["new 10 [\\Seen] Some(46)", "vanished {5..=5, 9..=9}"]);
    assert_eq!(outcome.done.unwrap().mailbox.uid_next, NonZeroU32::new(11));
}

#[test]
fn rejections_and_too_many_messages_end_it() {
    let outcome = run(resync(), NEITHER, &["$ NO [NONEXISTENT] no such mailbox\r\n"]);
    assert!(matches!(outcome.error, Some(ResyncError::Rejected(_))) && outcome.done.is_none());
    let limited = || resync().with_message_limit(6);
    let new = selected(7, 11, 44, "* 7 FETCH (UID 10 FLAGS () MODSEQ (44))\r\n");
    let outcome = run(limited(), QRESYNC, &[ENABLED, &new]);
    assert_eq!(outcome.error, Some(ResyncError::TooManyMessages { limit: 6 }));
    let found = "* ESEARCH (TAG \"$\") UID ALL 1:4294967295\r\n$ OK x\r\n";
    let outcome = run(limited(), QRESYNC, &[ENABLED, &selected(4, 10, 44, ""), found]);
    assert_eq!(outcome.error, Some(ResyncError::TooManyMessages { limit: 6 }));
}

#[test]
fn cannot_start_twice_or_before_the_capabilities_are_known() {
    let mut client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut resync = resync();
    assert!(resync.start(&mut client, &mut tx).is_err());
    rx.extend(NEITHER.as_bytes());
    while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
    resync.start(&mut client, &mut tx).unwrap();
    assert!(resync.start(&mut client, &mut tx).is_err());
}

#[test]
fn many_ranges_become_one() {
    let known = KnownMailbox { uids: [1_000].into_iter().collect(), ..known() };
    let resync = Resync::select(MailboxName::new("box"), known);
    let odd: Vec<_> = (1..200).step_by(2).map(|uid| uid.to_string()).collect();
    let searched = format!("* SEARCH {} 1000\r\n$ OK x\r\n", odd.join(" "));
    let fetched = "* 1 FETCH (UID 1 FLAGS ())\r\n$ OK x\r\n";
    let outcome = run(resync, QRESYNC, &[ENABLED, &selected(101, 1_001, 40, ""), &searched, fetched]);
    assert!(outcome.sent.ends_with("UID FETCH 1:199 (UID FLAGS MODSEQ)\n"));
    // What SEARCH has found exists, although the server does not show it. The next time asks again.
    let done = outcome.done.unwrap();
    assert_eq!((done.mailbox.uids.len(), done.mailbox.highest_mod_sequence), (101, Some(40)));
    assert!(outcome.found.iter().any(|found| found.starts_with("unreadable {3..=3, 5..=5")));
}

#[test]
fn a_message_on_which_the_server_failed_before_is_not_named_with_others() {
    let known = KnownMailbox { uids: (1..=9).collect(), highest_mod_sequence: None, ..known() };
    let avoiding = |avoided: &[u32]| {
        Resync::select(MailboxName::new("box"), known.clone())
            .with_unreadable(avoided.iter().copied().collect())
    };
    let select =
        |exists: u32| format!("* {exists} EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK [READ-WRITE] x\r\n");
    let fetched = "* 1 FETCH (UID 1 FLAGS ())\r\n* 9 FETCH (UID 9 FLAGS ())\r\n$ OK x\r\n";
    let all = "* SEARCH 1 5 9\r\n$ OK x\r\n";
    let outcome = run(avoiding(&[5, 7]), NEITHER, &[&select(3), all, fetched]);
    assert!(outcome.sent.ends_with("UID SEARCH ALL\nUID FETCH 1,9 (UID FLAGS)\n"), "{}", outcome.sent);
    let unreadable: Vec<_> = outcome.found.iter().filter(|found| found.starts_with("unreadable")).collect();
    assert_eq!(unreadable, ["unreadable {5..=5}"]);
    assert_eq!(uids(&outcome), "{1..=1, 5..=5, 9..=9}");
    // There is nothing else to name.
    let alone = run(avoiding(&[5]), NEITHER, &[&select(1), "* SEARCH 5\r\n$ OK x\r\n"]);
    assert!(alone.sent.ends_with("UID SEARCH ALL\n"), "{}", alone.sent);
    assert_eq!(uids(&alone), "{5..=5}");
}

#[test]
fn message_whose_flags_cannot_be_read_is_isolated() {
    let select = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n$ OK [READ-WRITE] x\r\n";
    let first = "* 1 FETCH (UID 1 FLAGS ())\r\n";
    let (one, three) =
        ("* 1 FETCH (UID 1 FLAGS ())\r\n$ OK x\r\n", "* 3 FETCH (UID 3 FLAGS ())\r\n$ OK x\r\n");
    let all = "* SEARCH 1 2 3\r\n$ OK x\r\n";
    let no = format!("{first}$ NO not that\r\n");
    let new = || Resync::select(MailboxName::new("box"), KnownMailbox::default());
    // SEARCH names the messages, and ranges without those that came show the other flags.
    let outcome = run(new(), NEITHER, &[select, &no, all, "$ NO x\r\n", "$ NO x\r\n", "$ BAD x\r\n", three]);
    assert!(outcome.sent.ends_with(
        "UID SEARCH ALL\nUID FETCH 2:3 (UID FLAGS)\nUID FETCH 2:3 (UID FLAGS)\nUID FETCH 2 (UID FLAGS)\n\
         UID FETCH 3 (UID FLAGS)\n"
    ));
    assert_eq!(outcome.found, ["new 1 [] None", "new 3 [] None", "unreadable {2..=2}"]);
    let done = outcome.done.unwrap();
    assert_eq!((done.unlisted, format!("{:?}", done.mailbox.uids)), (0, "{1..=3}".to_string()));
    assert_eq!(done.mailbox.uid_next, None);
    // Without SEARCH, ranges cover all UIDs.
    let rejected = "$ NO x\r\n";
    let outcome =
        run(new(), NEITHER, &[select, rejected, rejected, rejected, one, rejected, rejected, three]);
    assert!(
        outcome
            .sent
            .contains("UID FETCH 1:3 (UID FLAGS)\nUID FETCH 1 (UID FLAGS)\nUID FETCH 2:3 (UID FLAGS)\n")
    );
    assert_eq!(outcome.found, ["new 1 [] None", "new 3 [] None", "unreadable {2..=2}"]);
    // The same in new sessions.
    let answers = [select, CLOSE, select, rejected, CLOSE, select, one, CLOSE, select, three];
    let outcome = run(new(), NEITHER, &answers);
    assert_eq!(outcome.found, ["new 1 [] None", "new 3 [] None", "unreadable {2..=2}"]);
    assert_eq!(outcome.sent.matches("SELECT").count(), 4);
}

#[test]
fn lost_session_does_not_list_twice_or_forget_changes() {
    let fetched = "* 6 FETCH (UID 9 FLAGS (\\Seen) MODSEQ (44))\r\n";
    let all = "* ESEARCH (TAG \"$\") UID ALL 1:5,9:10\r\n$ OK x\r\n";
    let rest = "* 1 FETCH (UID 1 FLAGS (x) MODSEQ (43))\r\n$ OK x\r\n";
    // QRESYNC ends the session, so the next one uses CONDSTORE.
    let answers = [ENABLED, CLOSE, ENABLED, &selected(6, 10, 44, ""), &format!("{fetched}$ OK x\r\n")];
    let outcome = run(resync(), QRESYNC, &answers);
    assert!(outcome.sent.ends_with("SELECT box\nUID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 40)\n"));
    assert_eq!(outcome.found, ["changed 9 [\\Seen] Some(44)"]);
    // The response to FETCH is cut: what was not shown is fetched. A later mod-sequence is not recorded.
    let enabled = [
        ENABLED,
        CLOSE,
        ENABLED,
        &selected(6, 10, 44, ""),
        CLOSE,
        ENABLED,
        &selected(7, 11, 46, ""),
        all,
        rest,
    ];
    let outcome = run(resync(), QRESYNC, &enabled);
    assert!(
        outcome.sent.ends_with("UID SEARCH RETURN (ALL) ALL\nUID FETCH 1:5,9:10 (UID FLAGS MODSEQ)\n"),
        "{}",
        outcome.sent
    );
    assert_eq!(outcome.found, ["changed 1 [x] Some(43)", "unreadable {2..=5, 9..=10}"]);
    assert_eq!(outcome.done.unwrap().mailbox.highest_mod_sequence, Some(40));
    // A session that ends at SELECT twice, and another UIDVALIDITY in the next session.
    let outcome = run(resync(), CONDSTORE, &[CLOSE, CLOSE]);
    assert_eq!(outcome.found, ["stopped"]);
    let other = selected(6, 10, 44, "").replace("UIDVALIDITY 7", "UIDVALIDITY 8");
    let outcome = run(resync(), CONDSTORE, &[&selected(6, 10, 44, ""), CLOSE, &other]);
    assert_eq!(outcome.error, Some(ResyncError::UidValidityChanged));
}

#[test]
fn client_that_fetches_new_messages_anyway_gets_their_uids_only() {
    let resync =
        |known| Resync::examine(MailboxName::new("box"), known).with_new_messages(NewMessages::UidsOnly);
    let fetched = "* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 4)\r\n$ OK x\r\n";
    let outcome = run(resync(KnownMailbox::default()), CONDSTORE, &[&selected(3, 5, 9, ""), fetched]);
    assert!(outcome.sent.ends_with("UID FETCH 1:* (UID)\n") && outcome.found.is_empty());
    assert_eq!(uids(&outcome), "{1..=2, 4..=4}");
    // Of a known mailbox, changed flags are reported.
    let changes =
        "* 6 FETCH (UID 9 FLAGS (x) MODSEQ (44))\r\n* 7 FETCH (UID 10 FLAGS () MODSEQ (43))\r\n$ OK x\r\n";
    let outcome = run(resync(known()), CONDSTORE, &[&selected(7, 11, 44, ""), changes]);
    assert_eq!(outcome.found, ["changed 9 [x] Some(44)"]);
    assert_eq!(uids(&outcome), "{1..=5, 9..=10}");
}

#[test]
fn server_that_lists_fewer_or_far_more_messages_than_it_counts_is_not_believed() {
    let one = "* 1 FETCH (UID 1 FLAGS ())\r\n$ OK x\r\n";
    let select = selected(3, 11, 40, "").replace("HIGHESTMODSEQ 40", "NOMODSEQ");
    let outcome = run(resync(), NEITHER, &[&select, one, "* SEARCH 1\r\n$ OK x\r\n"]);
    assert_eq!(outcome.found, ["changed 1 [] None"]);
    let done = outcome.done.unwrap();
    assert_eq!((done.unlisted, done.mailbox.uids), (2, known().uids));
    let many: String = (1..1200).map(|uid| format!("* 1 FETCH (UID {uid} FLAGS ())\r\n")).collect();
    let outcome = run(resync(), NEITHER, &[&select, &format!("{many}$ OK x\r\n")]);
    assert_eq!(outcome.error, Some(ResyncError::MoreThanCounted { exists: 3 }));
    let repeated = format!("{}$ OK x\r\n", "* SEARCH 1\r\n".repeat(1200));
    let outcome = run(resync(), NEITHER, &[&select, one, &repeated]);
    assert_eq!(outcome.error, Some(ResyncError::MoreThanCounted { exists: 3 }));
}
