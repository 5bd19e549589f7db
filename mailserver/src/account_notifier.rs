//! Tells sessions of changes of their account outside the selected mailbox: for NOTIFY (RFC 5465) and METADATA (RFC
//! 5464).
//!
//! The store reports each change on the thread that made it. The notifier adds the change to the events of each session
//! that watches the account, and wakes it. A session has a limited number of events; beyond that it learns only that there
//! were too many. The changes that a session makes itself are left out.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use io_common::SessionHandle;
use mailstore::{AccountChange, AccountId, Annotated, MailboxId};

/// The maximum number of events that wait for a session.
const EVENT_LIMIT: usize = 256;

/// The maximum number of bytes of names in these events.
const NAME_BYTES_LIMIT: usize = 64 * 1024;

thread_local! {
    /// The session for which this thread works; 0 for none.
    static ACTING: Cell<u64> = const { Cell::new(0) };
}

/// Runs `work` for a session. The changes that `work` makes are not reported to this session.
pub(super) fn acting_for<T>(session: u64, work: impl FnOnce() -> T) -> T {
    /// Ends the work for the session, also if it panics.
    struct End;

    impl Drop for End {
        fn drop(&mut self) {
            ACTING.set(0);
        }
    }

    ACTING.set(session);
    let _end = End;
    work()
}

/// The watches of all sessions.
#[derive(Debug, Default)]
pub(super) struct AccountNotifier {
    accounts: Mutex<BTreeMap<AccountId, Vec<Arc<WatchState>>>>,
}

/// The kinds of changes that are reported to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Interests {
    pub(super) messages: bool,
    pub(super) flags: bool,
    pub(super) names: bool,
    pub(super) subscriptions: bool,
    pub(super) mailbox_metadata: bool,
    pub(super) server_metadata: bool,
}

impl Interests {
    /// Returns the kinds that at least one of both contains.
    pub(super) const fn or(self, other: Self) -> Self {
        Self {
            messages: self.messages || other.messages,
            flags: self.flags || other.flags,
            names: self.names || other.names,
            subscriptions: self.subscriptions || other.subscriptions,
            mailbox_metadata: self.mailbox_metadata || other.mailbox_metadata,
            server_metadata: self.server_metadata || other.server_metadata,
        }
    }

    const fn include(self, change: &AccountChange) -> bool {
        match change {
            AccountChange::Messages(_) => self.messages,
            AccountChange::Flags(_) => self.flags,
            AccountChange::Created(_) | AccountChange::Deleted(_) | AccountChange::Renamed { .. } => {
                self.names
            }
            AccountChange::Subscribed(_) | AccountChange::Unsubscribed(_) => self.subscriptions,
            AccountChange::Metadata(Annotated::Server, _) => self.server_metadata,
            AccountChange::Metadata(Annotated::Mailbox(_), _) => self.mailbox_metadata,
            _ => false,
        }
    }
}

/// What happened to the messages of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MessageEvents {
    /// Messages were added or removed.
    pub(super) messages: bool,
    /// Flags have changed.
    pub(super) flags: bool,
}

/// The events of one account that a session has not reported.
#[derive(Debug, Clone, Default)]
pub(super) struct AccountEvents {
    pub(super) mailboxes: BTreeMap<MailboxId, MessageEvents>,
    /// The other changes, in order.
    pub(super) changes: Vec<AccountChange>,
    /// There were more events than a session may have. The others are dropped.
    pub(super) overflow: bool,
    name_bytes: usize,
}

impl AccountEvents {
    fn is_empty(&self) -> bool {
        self.mailboxes.is_empty() && self.changes.is_empty() && !self.overflow
    }

    fn add(&mut self, change: &AccountChange) {
        if self.overflow {
            return;
        }
        match change {
            AccountChange::Messages(mailbox) => self.mailboxes.entry(*mailbox).or_default().messages = true,
            AccountChange::Flags(mailbox) => self.mailboxes.entry(*mailbox).or_default().flags = true,
            other if self.changes.last() == Some(other) => {}
            other => {
                self.name_bytes += name_bytes(other);
                self.changes.push(other.clone());
            }
        }
        let count = self.mailboxes.len() + self.changes.len();
        if count > EVENT_LIMIT || self.name_bytes > NAME_BYTES_LIMIT {
            *self = Self { overflow: true, ..Self::default() };
        }
    }
}

fn name_bytes(change: &AccountChange) -> usize {
    match change {
        AccountChange::Created(name)
        | AccountChange::Deleted(name)
        | AccountChange::Subscribed(name)
        | AccountChange::Unsubscribed(name) => name.len(),
        AccountChange::Renamed { from, to } => from.len() + to.len(),
        AccountChange::Metadata(_, names) => names.iter().map(String::len).sum(),
        _ => 0,
    }
}

struct WatchState {
    number: u64,
    session: SessionHandle,
    watched: Mutex<(Interests, AccountEvents)>,
}

/// One session's watch on its account. Dropping it ends the watch.
#[derive(Debug)]
pub(super) struct AccountWatch {
    account: AccountId,
    state: Arc<WatchState>,
    notifier: Arc<AccountNotifier>,
}

impl AccountNotifier {
    /// Records a change, and wakes the sessions that watch the account.
    pub(super) fn changed(&self, account: AccountId, change: &AccountChange) {
        let acting = ACTING.get();
        let accounts = lock(&self.accounts);
        for state in accounts.get(&account).into_iter().flatten().filter(|state| state.number != acting) {
            let mut watched = lock(&state.watched);
            if watched.0.include(change) {
                let was_empty = watched.1.is_empty();
                watched.1.add(change);
                drop(watched);
                if was_empty {
                    state.session.wake();
                }
            }
        }
    }

    /// Starts to watch an account for a session.
    pub(super) fn watch(
        self: &Arc<Self>,
        account: AccountId,
        number: u64,
        session: SessionHandle,
    ) -> AccountWatch {
        let state = Arc::new(WatchState { number, session, watched: Mutex::default() });
        lock(&self.accounts).entry(account).or_default().push(Arc::clone(&state));
        AccountWatch { account, state, notifier: Arc::clone(self) }
    }
}

impl AccountWatch {
    /// Replaces the kinds of changes that are reported to the session.
    pub(super) fn set_interests(&self, interests: Interests) {
        lock(&self.state.watched).0 = interests;
    }

    /// Returns whether there are events.
    pub(super) fn has_events(&self) -> bool {
        !lock(&self.state.watched).1.is_empty()
    }

    /// Takes all events.
    pub(super) fn take(&self) -> AccountEvents {
        std::mem::take(&mut lock(&self.state.watched).1)
    }

    /// Returns events that could not be reported. They come before those that were added in the meantime.
    pub(super) fn put_back(&self, events: &AccountEvents) {
        let mut watched = lock(&self.state.watched);
        let newer = std::mem::replace(&mut watched.1, events.clone());
        for (mailbox, MessageEvents { messages, flags }) in newer.mailboxes {
            let known = watched.1.mailboxes.entry(mailbox).or_default();
            known.messages |= messages;
            known.flags |= flags;
        }
        newer.changes.iter().for_each(|change| watched.1.add(change));
        watched.1.overflow |= newer.overflow;
    }

    /// Drops all events, and remembers that some were lost.
    pub(super) fn overflow(&self) {
        lock(&self.state.watched).1 = AccountEvents { overflow: true, ..AccountEvents::default() };
    }
}

impl Drop for AccountWatch {
    fn drop(&mut self) {
        let mut accounts = lock(&self.notifier.accounts);
        if let Some(states) = accounts.get_mut(&self.account) {
            states.retain(|state| !Arc::ptr_eq(state, &self.state));
            if states.is_empty() {
                accounts.remove(&self.account);
            }
        }
    }
}

impl fmt::Debug for WatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchState").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Locks a mutex, ignoring poisoning: no code panics while it holds the lock, and the guarded data is valid at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_merged_and_limited() {
        let mut events = AccountEvents::default();
        for _ in 0..1_000 {
            events.add(&AccountChange::Messages(MailboxId(1)));
            events.add(&AccountChange::Flags(MailboxId(1)));
            events.add(&AccountChange::Created("a".into()));
        }
        assert_eq!((events.mailboxes.len(), events.changes.len(), events.overflow), (1, 1, false));
        assert_eq!(events.mailboxes[&MailboxId(1)], MessageEvents { messages: true, flags: true });
        for number in 0..=EVENT_LIMIT {
            events.add(&AccountChange::Messages(MailboxId(number as i64)));
        }
        assert!(events.overflow && events.mailboxes.is_empty() && events.changes.is_empty());
        events.add(&AccountChange::Created("a".into()));
        assert!(events.changes.is_empty());

        let mut events = AccountEvents::default();
        for number in 0..70 {
            let name = format!("{number}{}", "x".repeat(1_000));
            events.add(&AccountChange::Renamed { from: String::new(), to: name });
        }
        assert!(events.overflow);
    }
}
