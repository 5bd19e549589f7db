//! The wait after a failed request: it doubles with each failure, with jitter.

use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Returns the wait after so many failures in a row: 2, 4, 8 … seconds, at most ten minutes, of which a random part of up
/// to a half is left out. A provider's `Retry-After` is a lower bound.
pub(super) fn wait(failures: u32, random: u64, retry_after: Option<Duration>) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(1);
    let whole = FIRST.saturating_mul(factor).min(LONGEST);
    let wait = whole - (whole / 2).mul_f64(random as f64 / u64::MAX as f64);
    wait.max(retry_after.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let seconds = |failures, random| wait(failures, random, None).as_secs();
        assert_eq!([1, 2, 3, 9, 10, u32::MAX].map(|failures| seconds(failures, 0)), [2, 4, 8, 512, 600, 600]);
        assert_eq!([1, 2, 10].map(|failures| seconds(failures, u64::MAX)), [1, 2, 300]);
        assert_eq!(wait(1, 0, Some(Duration::from_secs(90))).as_secs(), 90);
    }
}
