//! File descriptors: raises this process's limit, and determines how many sessions fit in it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors reserved for the store, its files, and the messages that logged-in clients send and fetch.
const RESERVED: u64 = 256;

/// Raises the soft limit of this process to the hard limit, and returns it.
pub(super) fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(soft) = current else { return u64::MAX };
    let wanted = Rlimit { current: maximum, maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, limit = soft, "cannot raise the limit of open files");
            soft
        }
    }
}

/// Returns how many connections a process with this many descriptors can serve. At least a quarter of few descriptors
/// is reserved.
pub(super) fn connections(descriptors: u64) -> usize {
    let reserve = RESERVED.min(descriptors / 4).max(descriptors.min(64) / 2);
    usize::try_from(descriptors - reserve).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserves_descriptors() {
        assert_eq!(connections(1024), 768);
        assert_eq!(connections(4096), 4096 - 256);
        assert_eq!(connections(256), 192);
        assert_eq!(connections(0), 0);
        assert!(connections(u64::MAX) > 1 << 40);
    }
}
