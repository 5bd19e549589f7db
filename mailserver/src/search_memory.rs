//! The memory that the results of SORT and THREAD may take: of one command, of one account, and of the whole server.
//!
//! A SEARCH keeps its matches in a compact set and needs none of it. SORT and THREAD hold something for each message
//! until their response is written.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mailstore::AccountId;

/// The bytes that one command may hold.
const COMMAND: usize = 64 * 1024 * 1024;

/// The bytes that all commands of one account may hold together.
const ACCOUNT: usize = 128 * 1024 * 1024;

/// The bytes that all commands may hold together.
const TOTAL: usize = 512 * 1024 * 1024;

/// The bytes that a command may always hold: they are not counted, so that a small result never fails because of large
/// ones.
const FREE: usize = 256 * 1024;

/// The step in which a reservation grows.
const STEP: usize = 256 * 1024;

/// Counts the memory of all commands.
#[derive(Default)]
pub(super) struct SearchMemory {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    total: usize,
    accounts: HashMap<AccountId, usize>,
}

/// The memory of one command. It is given back when the reservation is dropped.
pub(super) struct Reservation {
    memory: Arc<SearchMemory>,
    account: AccountId,
    bytes: usize,
}

impl SearchMemory {
    /// Starts the reservation of a command.
    pub(super) fn reserve(self: &Arc<Self>, account: AccountId) -> Reservation {
        Reservation { memory: Arc::clone(self), account, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Makes sure that the command may hold this many bytes in all.
    ///
    /// # Errors
    /// `Limit` if that is too much for one command, its account or the server.
    pub(super) fn grow_to(&mut self, bytes: usize) -> mailstore::Result<()> {
        if bytes <= FREE.max(self.bytes) {
            return Ok(());
        }
        let wanted = bytes.next_multiple_of(STEP);
        if wanted > COMMAND {
            return Err(mailstore::Error::Limit("the result is too large: search fewer messages"));
        }
        let more = wanted - self.bytes;
        let mut held = self.memory.lock();
        let of_account = held.accounts.get(&self.account).copied().unwrap_or(0);
        if of_account + more > ACCOUNT || held.total + more > TOTAL {
            return Err(mailstore::Error::Limit("too many large results at a time: try again later"));
        }
        held.total += more;
        held.accounts.insert(self.account, of_account + more);
        self.bytes = wanted;
        Ok(())
    }

    /// Gives back what is held beyond this many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let kept = if bytes <= FREE { 0 } else { bytes.next_multiple_of(STEP).min(self.bytes) };
        let less = self.bytes.saturating_sub(kept);
        if less == 0 {
            return;
        }
        self.bytes = kept;
        let mut held = self.memory.lock();
        held.total = held.total.saturating_sub(less);
        let left = held.accounts.get(&self.account).copied().unwrap_or(0).saturating_sub(less);
        if left == 0 {
            held.accounts.remove(&self.account);
        } else {
            held.accounts.insert(self.account, left);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

impl fmt::Debug for SearchMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchMemory").field("total", &self.lock().total).finish_non_exhaustive()
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_a_command_an_account_and_the_server() {
        let memory = Arc::new(SearchMemory::default());
        let mut one = memory.reserve(AccountId(1));
        assert!(one.grow_to(COMMAND + 1).is_err());
        one.grow_to(COMMAND).unwrap();
        let mut second = memory.reserve(AccountId(1));
        second.grow_to(ACCOUNT - COMMAND).unwrap();
        let mut third = memory.reserve(AccountId(1));
        assert!(third.grow_to(FREE + 1).is_err(), "the account holds as much as it may");
        third.grow_to(FREE).unwrap();
        let others: Vec<_> = (2..)
            .map(|account| {
                let mut other = memory.reserve(AccountId(account));
                other.grow_to(COMMAND).map(|()| other)
            })
            .take_while(Result::is_ok)
            .collect();
        assert_eq!(others.len(), (TOTAL - ACCOUNT) / COMMAND);
        one.shrink_to(STEP + 1);
        third.grow_to(COMMAND - 3 * STEP).unwrap();
        drop((one, second, third, others));
        let left = memory.lock();
        assert_eq!((left.total, left.accounts.len()), (0, 0));
    }
}
