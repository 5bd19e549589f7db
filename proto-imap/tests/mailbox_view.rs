//! The mailbox view against a plain model: several sessions use one mailbox, and each client reconstructs it from the
//! responses that it receives.
//!
//! The model is a list of messages for the mailbox, and one for each client, with the rules of RFC 9051 §5.5 and §7.5.1
//! written out. After each step, the client's list is that of the view, every sequence number means the same message to
//! both, and no EXPUNGE was sent while it is forbidden. Once a client was told everything, its list is the mailbox.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proto_imap::mailbox_view::{
    ExpungeForm, Expunges, MailboxTracker, MailboxView, RecentMessages, ResolveError, TrackedView, UidBitmap,
    ViewUpdate,
};
use proto_imap::types::{NumberKind, SequenceNumber, SequenceSet, Untagged};

/// The messages of the mailbox, by UID, each with its flags as bits.
type Mailbox = BTreeMap<u32, u8>;

/// What a client knows.
#[derive(Debug, Default)]
struct Client {
    /// The UIDs of the messages, in the order of their sequence numbers.
    messages: Vec<u32>,
    flags: BTreeMap<u32, u8>,
    recent: BTreeSet<u32>,
    saved: BTreeSet<u32>,
}

impl Client {
    /// Receives an update. `mailbox` stands for the FETCH that the client sends for new messages, and for the flags that
    /// the server reads.
    fn receive(&mut self, update: &ViewUpdate, view: &MailboxView, mailbox: &Mailbox, expunges: Expunges) {
        match update {
            ViewUpdate::Expunge(number) => {
                assert_eq!(expunges, Expunges::Allowed, "EXPUNGE is sent while it is forbidden");
                assert_eq!(update.response(), Some(Untagged::Expunge(*number)));
                let uid = self.messages.remove(usize::try_from(*number).unwrap() - 1);
                self.forget(uid, mailbox);
            }
            ViewUpdate::Vanished(uids) => {
                assert_eq!(expunges, Expunges::Allowed, "VANISHED is sent while it is forbidden");
                for range in uids {
                    for uid in range.first()..=range.last() {
                        let number = self.messages.iter().position(|one| *one == uid).expect("a known UID");
                        self.messages.remove(number);
                        self.forget(uid, mailbox);
                    }
                }
            }
            ViewUpdate::Exists(count) => {
                let known = u32::try_from(self.messages.len()).unwrap();
                assert!(*count > known, "EXISTS reports a new message");
                for number in known + 1..=*count {
                    let uid = view.uid(number).expect("the view has each message");
                    assert!(self.messages.last().is_none_or(|last| *last < uid), "UIDs ascend");
                    self.messages.push(uid);
                    self.flags.extend(mailbox.get(&uid).map(|flags| (uid, *flags)));
                }
            }
            ViewUpdate::Flags { sequence, uid } => {
                let number = usize::try_from(*sequence).unwrap() - 1;
                assert_eq!(self.messages.get(number), Some(uid), "the number means the same message");
                self.flags.insert(*uid, *mailbox.get(uid).expect("the message can be read"));
            }
            ViewUpdate::Recent(count) => {
                assert_eq!(usize::try_from(*count).unwrap(), view.recent().iter().count())
            }
            other => panic!("{other:?} was not expected"),
        }
    }

    fn forget(&mut self, uid: u32, mailbox: &Mailbox) {
        assert!(!mailbox.contains_key(&uid), "{uid} is still there");
        self.flags.remove(&uid);
        self.recent.remove(&uid);
        self.saved.remove(&uid);
    }

    /// Checks that the view is what the client knows.
    fn check(&self, view: &MailboxView) {
        assert_eq!(view.uids().iter().collect::<Vec<_>>(), self.messages);
        assert_eq!(usize::try_from(view.exists()).unwrap(), self.messages.len());
        for (number, uid) in (1..).zip(&self.messages) {
            assert_eq!((view.sequence_number(*uid), view.uid(number)), (Some(number), Some(*uid)));
        }
        assert_eq!(view.saved().iter().collect::<BTreeSet<_>>(), self.saved);
    }

    /// Resolves a sequence set, by the words of RFC 9051 §9 `sequence-set`.
    fn resolve(&self, set: SequenceSet<'_>, kind: NumberKind) -> Option<BTreeSet<u32>> {
        if set.is_saved() {
            return Some(self.saved.clone());
        }
        let exists = u32::try_from(self.messages.len()).unwrap();
        let largest = match kind {
            NumberKind::SequenceNumbers => exists,
            NumberKind::Uids => self.messages.last().copied().unwrap_or(0),
        };
        let mut named = BTreeSet::new();
        for range in set.ranges() {
            let number = |number| match number {
                SequenceNumber::Number(number) => number,
                SequenceNumber::Largest => largest,
            };
            let (a, b) = (number(range.first), number(range.last));
            if kind == NumberKind::SequenceNumbers && a.max(b) > exists && a.min(b) > 0 {
                return None;
            }
            for (position, uid) in (1..).zip(&self.messages) {
                let this = if kind == NumberKind::Uids { *uid } else { position };
                if (a.min(b)..=a.max(b)).contains(&this) {
                    named.insert(*uid);
                }
            }
        }
        Some(named)
    }
}

/// One session, and its client.
struct Session {
    tracked: TrackedView,
    client: Client,
    recent: RecentMessages,
    /// The command in progress: the messages that it still has to answer for.
    in_progress: Option<Vec<u32>>,
}

/// What happens next. Numbers are reduced to what there is.
#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    /// Another program removes a message, or changes its flags.
    Expunge(usize),
    Change(usize, u8),
    /// A session selects the mailbox again, in one of the forms.
    Select(usize, u8),
    /// FETCH, STORE or SEARCH begins; it answers for one message at a time.
    Begin(usize, String, NumberKind),
    Continue(usize),
    /// A session changes flags: of a message by its sequence number, with or without a response.
    Store(usize, usize, u8, bool),
    /// MOVE or EXPUNGE: the session removes some messages.
    Remove(usize, Vec<usize>),
    /// COPY to the same mailbox.
    Copy(usize, usize),
    Save(usize, Vec<usize>),
    /// NOOP, IDLE, UID FETCH and so on: the session reports some updates.
    Update(usize, usize),
}

const SESSIONS: usize = 3;

fn sets() -> impl Strategy<Value = String> {
    let range = prop_oneof![
        (1_u32..30).prop_map(|number| number.to_string()),
        (1_u32..30, 1_u32..30).prop_map(|(a, b)| format!("{a}:{b}")),
        (1_u32..30).prop_map(|number| format!("{number}:*")),
        Just("*".to_owned()),
    ];
    prop_oneof![8 => prop::collection::vec(range, 1..4).prop_map(|ranges| ranges.join(",")), 1 => Just("$".to_owned())]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let session = 0..SESSIONS;
    let message = 0_usize..40;
    let some = prop::collection::vec(0_usize..40, 0..4);
    let kind = prop_oneof![Just(NumberKind::SequenceNumbers), Just(NumberKind::Uids)];
    let step = prop_oneof![
        4 => (0_u8..4).prop_map(Step::Append),
        2 => message.clone().prop_map(Step::Expunge),
        2 => (message.clone(), 0_u8..4).prop_map(|(message, flags)| Step::Change(message, flags)),
        1 => (session.clone(), 0_u8..6).prop_map(|(session, form)| Step::Select(session, form)),
        3 => (session.clone(), sets(), kind).prop_map(|(session, set, kind)| Step::Begin(session, set, kind)),
        6 => session.clone().prop_map(Step::Continue),
        4 => (session.clone(), message.clone(), 0_u8..4, any::<bool>())
            .prop_map(|(session, message, flags, silent)| Step::Store(session, message, flags, silent)),
        2 => (session.clone(), some.clone()).prop_map(|(session, messages)| Step::Remove(session, messages)),
        1 => (session.clone(), message).prop_map(|(session, message)| Step::Copy(session, message)),
        1 => (session.clone(), some).prop_map(|(session, messages)| Step::Save(session, messages)),
        5 => (session, 1_usize..6).prop_map(|(session, limit)| Step::Update(session, limit)),
    ];
    prop::collection::vec(step, 0..120)
}

/// The mailbox, its tracker and its sessions.
struct World {
    mailbox: Mailbox,
    tracker: MailboxTracker,
    sessions: Vec<Session>,
    next_uid: u32,
    /// The messages that a session has claimed as recent.
    claimed: BTreeSet<u32>,
}

impl World {
    fn new(messages: u32) -> Self {
        let mailbox: Mailbox = (1..=messages).map(|number| (number * 2, 0)).collect();
        let tracker = MailboxTracker::new(mailbox.keys().copied().collect(), 1);
        let next_uid = messages * 2 + 1;
        let mut world = Self { mailbox, tracker, sessions: Vec::new(), next_uid, claimed: BTreeSet::new() };
        for form in 0..SESSIONS {
            let session = world.select(u8::try_from(form).unwrap());
            world.sessions.push(session);
        }
        world
    }

    fn select(&mut self, form: u8) -> Session {
        let recent = [RecentMessages::Claimed, RecentMessages::Observed, RecentMessages::Ignored]
            [usize::from(form % 3)];
        let mut tracked = self.tracker.select(recent);
        if form >= 3 {
            tracked.view_mut().set_expunge_form(ExpungeForm::Vanished);
        }
        let messages: Vec<u32> = self.mailbox.keys().copied().collect();
        let mut client = Client { messages, flags: self.mailbox.clone(), ..Client::default() };
        claim(&mut self.claimed, &mut client, recent, &self.mailbox.keys().copied().collect::<Vec<_>>());
        Session { tracked, client, recent, in_progress: None }
    }

    fn append(&mut self, flags: u8) {
        self.tracker.append(self.next_uid).unwrap();
        assert!(self.tracker.append(self.next_uid).is_err(), "a UID is used once");
        self.mailbox.insert(self.next_uid, flags);
        self.next_uid += 1;
    }

    fn expunge(&mut self, uid: u32) {
        assert_eq!(self.tracker.expunge(uid), self.mailbox.remove(&uid).is_some());
    }

    fn nth(&self, message: usize) -> Option<u32> {
        self.mailbox.keys().copied().nth(message.checked_rem(self.mailbox.len())?)
    }

    /// Reports updates to one client. Returns whether there were any.
    fn update(&mut self, index: usize, expunges: Expunges, limit: usize) -> bool {
        let session = &mut self.sessions[index];
        let before = session.client.messages.clone();
        let updates = self.tracker.update(&mut session.tracked, expunges, limit);
        assert!(updates.len() <= limit + 1);
        for update in &updates {
            session.client.receive(update, session.tracked.view(), &self.mailbox, expunges);
        }
        let new: Vec<u32> =
            session.client.messages.iter().copied().filter(|uid| !before.contains(uid)).collect();
        claim(&mut self.claimed, &mut session.client, session.recent, &new);
        !updates.is_empty()
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append(flags) => self.append(*flags),
            Step::Expunge(message) => {
                if let Some(uid) = self.nth(*message) {
                    self.expunge(uid);
                }
            }
            Step::Change(message, flags) => {
                if let Some(uid) = self.nth(*message) {
                    self.mailbox.insert(uid, *flags);
                    self.tracker.change_flags(uid, None);
                }
            }
            Step::Select(index, form) => {
                let session = self.select(*form);
                let old = std::mem::replace(&mut self.sessions[*index], session);
                assert_eq!(old.tracked.close(), ViewUpdate::Closed);
            }
            Step::Begin(index, set, kind) => self.begin(*index, set, *kind),
            Step::Continue(index) => self.continue_command(*index),
            Step::Store(index, message, flags, silent) => self.store(*index, *message, *flags, *silent),
            Step::Remove(index, messages) => {
                let client = &self.sessions[*index].client;
                let uids: Vec<u32> = messages
                    .iter()
                    .filter_map(|message| client.messages.get(message.checked_rem(client.messages.len())?))
                    .copied()
                    .collect();
                uids.into_iter().for_each(|uid| self.expunge(uid));
            }
            Step::Copy(index, message) => {
                let client = &self.sessions[*index].client;
                let uid = client.messages.get(message.checked_rem(client.messages.len()).unwrap_or(0));
                if let Some(flags) = uid.and_then(|uid| self.mailbox.get(uid)).copied() {
                    self.append(flags);
                }
            }
            Step::Save(index, messages) => {
                let Session { client, tracked, .. } = &mut self.sessions[*index];
                let uids = messages.iter().filter_map(|message| client.messages.get(*message));
                client.saved = uids.copied().collect();
                tracked.view_mut().save(client.saved.iter().copied().collect());
            }
            Step::Update(index, limit) => {
                // While a command with sequence numbers is in progress, only some updates are allowed.
                let busy = self.sessions[*index].in_progress.is_some();
                let expunges = if busy { Expunges::HeldBack } else { Expunges::Allowed };
                self.update(*index, expunges, *limit);
            }
        }
    }

    fn begin(&mut self, index: usize, set: &str, kind: NumberKind) {
        let Session { client, tracked, in_progress, .. } = &mut self.sessions[index];
        let set = SequenceSet::from_text(set).unwrap();
        match (tracked.view().resolve(set, kind, 100), client.resolve(set, kind)) {
            (Ok(ranges), Some(expected)) => {
                let found: Vec<_> = tracked.view().messages(ranges).collect();
                for (sequence, uid) in &found {
                    assert_eq!(client.messages[usize::try_from(*sequence).unwrap() - 1], *uid);
                }
                let uids: Vec<u32> = found.into_iter().map(|(_, uid)| uid).collect();
                assert_eq!(uids, expected.into_iter().collect::<Vec<_>>());
                *in_progress = Some(uids);
            }
            (Err(ResolveError::NoSuchMessage), None) => {}
            (resolved, expected) => panic!("{set}: {resolved:?}, expected {expected:?}"),
        }
    }

    /// Answers for one message of the command in progress, or ends the command.
    fn continue_command(&mut self, index: usize) {
        let Session { client, tracked, in_progress, .. } = &mut self.sessions[index];
        let Some(uids) = in_progress else { return };
        let Some(uid) = uids.pop() else {
            self.update(index, Expunges::HeldBack, 100);
            self.sessions[index].in_progress = None;
            return;
        };
        let sequence = tracked.view().sequence_number(uid).expect("no message disappears during a command");
        assert_eq!(client.messages[usize::try_from(sequence).unwrap() - 1], uid);
        assert_eq!(self.tracker.is_expunged(tracked, uid), !self.mailbox.contains_key(&uid));
        if let Some(flags) = self.mailbox.get(&uid) {
            client.flags.insert(uid, *flags);
        }
    }

    /// Adds flags to a message of the client, and reports them unless the command is silent.
    fn store(&mut self, index: usize, message: usize, flags: u8, silent: bool) {
        let Session { client, tracked, .. } = &mut self.sessions[index];
        let Some(number) = message.checked_rem(client.messages.len()) else { return };
        let uid = client.messages[number];
        let Some(known) = self.mailbox.get_mut(&uid) else { return };
        *known |= flags;
        self.tracker.change_flags(uid, Some(tracked));
        let expected = client.flags.entry(uid).or_insert(0);
        *expected = if silent { *expected | flags } else { *known };
    }

    fn check(&self) {
        for session in &self.sessions {
            session.client.check(session.tracked.view());
            let recent: BTreeSet<u32> = session.tracked.view().recent().iter().collect();
            assert_eq!(recent, session.client.recent);
        }
        assert_eq!(
            self.tracker.uids().iter().collect::<Vec<_>>(),
            self.mailbox.keys().copied().collect::<Vec<_>>()
        );
    }

    /// Tells each client everything. Each then knows the mailbox.
    fn finish(&mut self) {
        for index in 0..self.sessions.len() {
            let mut updates = 0;
            while self.update(index, Expunges::Allowed, 3) {
                updates += 1;
                assert!(updates < 1_000, "updates end");
                self.check();
            }
            let session = &self.sessions[index];
            assert!(!self.tracker.has_updates(&session.tracked, Expunges::Allowed));
            assert_eq!(session.client.flags, self.mailbox);
            assert_eq!(session.client.messages, self.mailbox.keys().copied().collect::<Vec<_>>());
        }
        let [one, other, ..] = &self.sessions[..] else { return };
        assert!(
            std::ptr::eq(one.tracked.view().uids(), other.tracked.view().uids()),
            "the views share memory"
        );
    }
}

/// A new message is recent in the first session with SELECT that is told about it, and in each with EXAMINE before that.
fn claim(claimed: &mut BTreeSet<u32>, client: &mut Client, recent: RecentMessages, new: &[u32]) {
    if recent == RecentMessages::Ignored {
        return;
    }
    client.recent.extend(new.iter().filter(|uid| !claimed.contains(uid)));
    if recent == RecentMessages::Claimed {
        claimed.extend(new);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Sessions with a tracker.
    #[test]
    fn each_client_reconstructs_the_mailbox(messages in 0_u32..12, steps in steps()) {
        let mut world = World::new(messages);
        for step in &steps {
            world.run(step);
            world.check();
        }
        world.finish();
    }
}

/// A change in a store's log.
#[derive(Debug, Clone, Copy)]
enum Logged {
    Appended(u32),
    Expunged(u32),
    /// The flags of a message, changed by session 0 or by another.
    Changed(u32, usize),
}

fn log() -> impl Strategy<Value = Vec<(u8, u8, usize)>> {
    prop::collection::vec((0_u8..4, any::<u8>(), 0_usize..2), 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Two sessions read the log of a store, at different speeds, and pass each change to their views.
    #[test]
    fn clients_of_a_store_with_a_log_reconstruct_the_mailbox(log in log(), speeds in [1_usize..4, 1..4]) {
        let mut mailbox = Mailbox::new();
        let mut changes = Vec::new();
        let mut views = [MailboxView::default(), MailboxView::default()];
        views[1].set_expunge_form(ExpungeForm::Vanished);
        let mut clients = [Client::default(), Client::default()];
        let (mut next_uid, mut positions) = (1, [0, 0]);
        for round in 0..log.len() * 4 {
            if let Some((kind, number, by)) = log.get(round) {
                let uid = mailbox.keys().copied().nth(usize::from(*number) % mailbox.len().max(1));
                match (kind, uid) {
                    (0, Some(uid)) => {
                        mailbox.remove(&uid);
                        changes.push(Logged::Expunged(uid));
                    }
                    (1, Some(uid)) => {
                        mailbox.insert(uid, number % 8);
                        changes.push(Logged::Changed(uid, *by));
                        let modseq = u64::try_from(changes.len()).unwrap();
                        if views[*by].contains(uid) {
                            views[*by].record_own_change(modseq);
                            clients[*by].flags.insert(uid, number % 8);
                        }
                    }
                    _ => {
                        mailbox.insert(next_uid, number % 8);
                        changes.push(Logged::Appended(next_uid));
                        next_uid += 1;
                    }
                }
            }
            for (index, view) in views.iter_mut().enumerate() {
                for _ in 0..speeds[index] {
                    let Some(change) = changes.get(positions[index]) else { break };
                    positions[index] += 1;
                    let modseq = u64::try_from(positions[index]).unwrap();
                    let update = match *change {
                        Logged::Appended(uid) => view.append([uid]),
                        Logged::Expunged(uid) => view.expunge(uid),
                        Logged::Changed(uid, by) => {
                            assert!(by == index || !view.is_own_change(modseq));
                            // A message that is already gone has no flags to read.
                            let told = !view.is_own_change(modseq) && mailbox.contains_key(&uid);
                            view.sequence_number(uid)
                                .filter(|_| told)
                                .map(|sequence| ViewUpdate::Flags { sequence, uid })
                        }
                    };
                    if let Some(update) = update {
                        clients[index].receive(&update, view, &mailbox, Expunges::Allowed);
                    }
                    clients[index].check(view);
                }
            }
        }
        for (index, client) in clients.iter().enumerate() {
            prop_assert_eq!(positions[index], changes.len());
            prop_assert_eq!(&client.flags, &mailbox);
        }
    }
}

#[test]
fn the_view_of_a_large_mailbox_is_small_and_shared() {
    // A million messages, every fourth of which is gone.
    let uids: UidBitmap = (1..=1_333_333_u32).filter(|uid| uid % 4 != 0).collect();
    let mut tracker = MailboxTracker::new(uids, u32::MAX);
    let mut sessions: Vec<_> = (0..100).map(|_| tracker.select(RecentMessages::Claimed)).collect();
    assert_eq!(sessions[0].view().exists(), 1_000_000);
    assert!(tracker.uids().memory() < 200_000, "{}", tracker.uids().memory());
    assert!(size_of::<TrackedView>() <= 192, "{}", size_of::<TrackedView>());
    assert!(tracker.expunge(1));
    for session in &mut sessions {
        assert_eq!(tracker.update(session, Expunges::Allowed, 10), [ViewUpdate::Expunge(1)]);
        assert!(std::ptr::eq(session.view().uids(), tracker.uids()));
    }
}

#[test]
fn a_client_that_is_far_behind_is_told_in_pieces() {
    let mut tracker = MailboxTracker::new((1..=50_000).collect(), 50_001);
    let mut session = tracker.select(RecentMessages::Claimed);
    (1..=50_000).for_each(|uid| tracker.change_flags(uid, None));
    (1..=20_000).for_each(|uid| assert!(tracker.expunge(uid)));
    let mut told = Vec::new();
    loop {
        let updates = tracker.update(&mut session, Expunges::Allowed, 500);
        if updates.is_empty() {
            break;
        }
        assert!(updates.len() <= 500);
        told.extend(updates);
    }
    assert_eq!(told.len(), 20_000 + 30_000);
    assert_eq!(session.view().exists(), 30_000);
}
