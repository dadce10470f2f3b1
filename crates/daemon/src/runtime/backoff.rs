//! The back-off after failures that may pass without a change.

use std::time::Duration;

/// Minimum pause between two attempts.
const MIN_BACKOFF: Duration = Duration::from_millis(200);

/// Maximum pause between two attempts that may succeed without a change, and of a pause that STS
/// asks for: its quota counts by the second (docs/configuration.md has the source). Throttling has
/// pauses of its own, in `sts/congestion.rs`.
pub const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// Returns the pause after the `failures`-th failure in a row: exponential with full jitter
/// (`random` is from 0 to 1), and at most a quarter of the `remaining` lifetime of the session that
/// is served.
#[must_use]
pub fn retry_backoff(failures: u32, remaining: Option<Duration>, random: f64) -> Duration {
    let doubled = Duration::from_secs(1) * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let mut ceiling = doubled.min(MAX_BACKOFF);
    if let Some(remaining) = remaining.filter(|it| !it.is_zero()) {
        ceiling = ceiling.min((remaining / 4).max(Duration::from_secs(1)));
    }
    ceiling.mul_f64(random.clamp(0.0, 1.0)).max(MIN_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_backoff_grows_and_shrinks_near_the_expiration() {
        let check = |failures, remaining, random, expected_ms: u64| {
            let pause = retry_backoff(failures, remaining, random);
            assert_eq!(
                pause.as_millis(),
                u128::from(expected_ms),
                "{failures} {remaining:?}"
            );
        };
        let minutes = |count: u64| Duration::from_secs(count * 60);
        check(1, None, 1.0, 1_000);
        check(1, None, 0.0, 200);
        check(4, None, 1.0, 8_000);
        check(9, None, 1.0, 60_000);
        check(u32::MAX, None, 1.0, 60_000);
        check(9, Some(minutes(1)), 1.0, 15_000);
        check(9, Some(Duration::from_secs(2)), 1.0, 1_000);
        check(9, Some(Duration::ZERO), 1.0, 60_000);
    }
}
