//! The pauses before new connections while the engine watches an account.

use std::time::Duration;

/// The longest pause before a new connection while it watches.
const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Returns how long to wait before the next connection, after this many failures in a row: a second, then twice as long
/// each time, up to five minutes, and a random half less, so that many clients do not come back at once.
pub(super) fn reconnect_pause(failures: u32) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    let longest = Duration::from_secs(1 << failures.saturating_sub(1).min(9)).min(MAX_RECONNECT_PAUSE);
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish() % 512;
    longest - longest / 1024 * u32::try_from(random).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_five_minutes_and_differ() {
        for failures in 1..40 {
            let pause = reconnect_pause(failures);
            let longest = Duration::from_secs(1 << (failures - 1).min(9)).min(MAX_RECONNECT_PAUSE);
            assert!(pause <= longest && pause >= longest / 2, "{failures}: {pause:?}");
        }
        let pauses: std::collections::HashSet<Duration> = (0..20).map(|_| reconnect_pause(9)).collect();
        assert!(pauses.len() > 1);
    }
}
