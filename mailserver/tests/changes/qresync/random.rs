//! Random changes by sessions with and without QRESYNC, and clients that mirror the mailbox by each method: after each
//! synchronisation a mirror equals the store. And what a resynchronisation costs.

use std::collections::BTreeMap;
use std::sync::Arc;

use mailserver::ServerContext;
use mailstore::{Columns, Store, UidSet};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proto_imap::resync::ResyncMethod;

use super::mirror::Mirror;
use super::{append, enabled, expunge, flag, inbox, select, with_stores};
use crate::pipe::Session;

#[derive(Debug, Clone, Copy)]
enum Step {
    Append(u8),
    /// A STORE of the n-th message.
    Store(u8, &'static str),
    /// An EXPUNGE of the n-th message and those after it.
    Expunge(u8, u8),
    Move(u8),
    Poll,
    Sync(usize),
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let flags = proptest::sample::select(&["\\Seen", "\\Flagged", "$Label", "\\Answered"][..]);
    let step = prop_oneof![
        (1_u8..5).prop_map(Step::Append),
        (any::<u8>(), flags).prop_map(|(message, flag)| Step::Store(message, flag)),
        (any::<u8>(), 1_u8..4).prop_map(|(message, count)| Step::Expunge(message, count)),
        any::<u8>().prop_map(Step::Move),
        Just(Step::Poll),
        (0_usize..3).prop_map(Step::Sync),
    ];
    proptest::collection::vec((0_usize..3, step), 10..40)
}

/// The sequence numbers that a session's client knows: how many messages there are.
struct Live {
    session: Session,
    /// The UIDs by sequence number, as the server has reported them.
    uids: Vec<u32>,
}

impl Live {
    fn run(&mut self, command: &str) {
        let answer = self.session.exchange(&format!("x {command}\r\n"), "x OK");
        for line in answer.lines() {
            self.hear(line);
        }
    }

    fn hear(&mut self, line: &str) {
        if let Some(uids) = line.strip_prefix("* VANISHED ") {
            for range in uids.split(',') {
                let (first, last) = range.split_once(':').unwrap_or((range, range));
                let (first, last): (u32, u32) = (first.parse().unwrap(), last.parse().unwrap());
                (first..=last).for_each(|uid| self.forget(uid));
            }
        } else if let Some(number) = line.strip_prefix("* ").and_then(|line| line.strip_suffix(" EXPUNGE")) {
            self.uids.remove(number.parse::<usize>().unwrap() - 1);
        } else if let Some(count) = line.strip_prefix("* ").and_then(|line| line.strip_suffix(" EXISTS")) {
            // The UIDs of new messages are not known before they are fetched.
            self.uids.resize(count.parse().unwrap(), 0);
        } else if let Some((number, rest)) =
            line.strip_prefix("* ").and_then(|line| line.split_once(" FETCH ("))
        {
            let uid = rest.split_once("UID ").map(|(_, rest)| rest);
            let uid = uid.and_then(|rest| rest.split([' ', ')']).next()?.parse().ok());
            let number: usize = number.parse().unwrap();
            if let Some(uid) = uid {
                let known = &mut self.uids[number - 1];
                assert!(*known == 0 || *known == uid, "message {number} is {known}, not {uid}");
                *known = uid;
            }
        }
    }

    /// Removes a message, whose UID may not be known yet.
    fn forget(&mut self, gone: u32) {
        let known = self.uids.iter().position(|uid| *uid == gone);
        let later = || self.uids.iter().position(|uid| *uid > gone).unwrap_or(self.uids.len());
        let removed = self.uids.remove(known.unwrap_or_else(|| later() - 1));
        assert!(removed == gone || removed == 0, "{gone} is not in the view");
    }

    /// The UID of the n-th message, in a circle.
    fn pick(&self, message: u8) -> Option<u32> {
        let known: Vec<u32> = self.uids.iter().copied().filter(|uid| *uid != 0).collect();
        known.get(usize::from(message) % known.len().max(1)).copied()
    }

    fn refresh(&mut self) {
        self.run("NOOP");
        self.run("UID FETCH 1:* (UID)");
    }
}

fn stored(store: &Arc<dyn Store>) -> BTreeMap<u32, Vec<String>> {
    let page = store.fetch_page(inbox(store), &UidSet::all(), Columns::summary(), 10_000).unwrap();
    let message = |message: mailstore::Message| {
        let mut flags: Vec<String> = message.flags.names().map(str::to_owned).collect();
        flags.sort_unstable();
        (message.uid, flags)
    };
    page.messages.into_iter().map(message).collect()
}

fn play(store: &Arc<dyn Store>, context: &Arc<ServerContext>, steps: &[(usize, Step)]) {
    let mut live = [
        Live { session: select(context, "SELECT INBOX"), uids: Vec::new() },
        Live { session: enabled(context, "QRESYNC"), uids: Vec::new() },
        Live { session: enabled(context, "CONDSTORE"), uids: Vec::new() },
    ];
    live.iter_mut().for_each(|live| live.run("SELECT INBOX"));
    live.iter_mut().for_each(Live::refresh);
    let hidden: [&'static [&'static str]; 3] = [&[], &["QRESYNC", "UIDONLY"], &["QRESYNC", "CONDSTORE"]];
    let methods = [ResyncMethod::QResync, ResyncMethod::CondStore, ResyncMethod::Full];
    let mut mirrors = hidden.map(|hidden| Mirror { hidden, ..Mirror::default() });
    for &(who, step) in steps {
        match step {
            Step::Append(count) => append(&**store, count.into(), 10),
            Step::Store(message, flag) => {
                if let Some(uid) = live[who].pick(message) {
                    let sign = if uid % 3 == 0 { '-' } else { '+' };
                    live[who].run(&format!("UID STORE {uid} {sign}FLAGS ({flag})"));
                }
            }
            Step::Expunge(message, count) => {
                if let Some(uid) = live[who].pick(message) {
                    let set = format!("{uid}:{}", uid + u32::from(count));
                    live[who].run(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"));
                    live[who].run(&format!("UID EXPUNGE {set}"));
                }
            }
            Step::Move(message) => {
                if let Some(uid) = live[who].pick(message) {
                    live[who].run(&format!("UID MOVE {uid} INBOX"));
                }
            }
            Step::Poll => live[who].refresh(),
            Step::Sync(mirror) => {
                let (method, is_first) = (methods[mirror], mirrors[mirror].known.uids.is_empty());
                let (used, _) = mirrors[mirror].sync(context);
                assert!(used == method || is_first || mirrors[mirror].messages.is_empty(), "{used:?}");
                assert_eq!(mirrors[mirror].messages, stored(store), "{method:?}");
            }
        }
    }
    let expected = stored(store);
    for live in &mut live {
        live.refresh();
        assert!(live.uids.iter().eq(expected.keys()), "a session's view equals the store");
    }
    for mirror in &mut mirrors {
        mirror.sync(context);
        assert_eq!(mirror.messages, expected);
    }
}

#[test]
fn mirrors_equal_the_store_after_random_changes() {
    with_stores(|context, store, _| {
        let config = ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() };
        TestRunner::new(config)
            .run(&steps(), |steps| {
                play(store, context, &steps);
                Ok(())
            })
            .unwrap();
    });
}

/// Fills INBOX up to this number of messages, by copies.
pub(super) fn fill(store: &Arc<dyn Store>, count: u32) {
    let mailbox = inbox(store);
    if store.status(mailbox).unwrap().messages == 0 {
        append(&**store, 1, 10);
    }
    loop {
        let have = store.status(mailbox).unwrap().messages;
        let left = (count - have).min(have).min(5_000);
        if left == 0 {
            return;
        }
        let copied = std::iter::once(1..=left).collect();
        store.copy(mailbox, &copied, mailbox, 5_000).unwrap();
    }
}

#[test]
fn an_unchanged_mailbox_of_100_000_messages_costs_a_few_kilobytes() {
    // The first store writes to the disk, the second one does not.
    let counts = std::cell::RefCell::new(Vec::from([100_000, 10_000]));
    with_stores(|context, store, _| {
        let count = counts.borrow_mut().pop().unwrap();
        fill(store, count);
        let mut mirror = Mirror::default();
        mirror.sync(context);
        assert_eq!(mirror.known.uids.len(), count);
        let (method, cost) = mirror.sync(context);
        assert_eq!(method, ResyncMethod::QResync);
        assert!(cost.sent + cost.received < 3_000 && cost.round_trips <= 6, "{cost:?}");

        // 50 messages are gone, 50 flags are set.
        (1..=50_u32).for_each(|n| flag(store, n * 100));
        expunge(store, (1..=50).map(|n| n * 101));
        let (method, cost) = mirror.sync(context);
        assert_eq!((method, mirror.known.uids.len()), (ResyncMethod::QResync, count - 50));
        assert!(cost.sent + cost.received < 10_000 && cost.round_trips <= 6, "{cost:?}");
    });
}
