//! File descriptors: how many this process may have, and for how many sessions they suffice.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept back from connections, for the store, its files and the messages that logged-in clients send and fetch.
const RESERVE: u64 = 256;

/// Raises the limit of this process to what the system allows, and returns it.
pub(super) fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(soft) = current else { return u64::MAX };
    let wanted = Rlimit { current: maximum, maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, limit = soft, "the limit of open files cannot be raised");
            soft
        }
    }
}

/// How many connections a process with that many descriptors can have, so that enough are left for everything else: a
/// quarter at least where there are few.
pub(super) fn connections(descriptors: u64) -> usize {
    let reserve = RESERVE.min(descriptors / 4).max(descriptors.min(64) / 2);
    usize::try_from(descriptors - reserve).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_back() {
        assert_eq!(connections(1024), 768);
        assert_eq!(connections(4096), 4096 - 256);
        assert_eq!(connections(256), 192);
        assert_eq!(connections(0), 0);
        assert!(connections(u64::MAX) > 1 << 40);
    }
}
