//! The histogram of the time from a request for credentials to its answer. One observation is two
//! additions to atomics: it takes no lock and allocates nothing.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The upper bounds of the buckets but the last. An answer from memory takes tens of microseconds; an
/// answer after a call to STS takes tenths of a second, and a caller waits ten seconds by default.
const BOUNDS: [Duration; 9] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// Counts of durations, in buckets of fixed bounds.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    /// The last bucket has no bound.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl DurationHistogram {
    /// Counts a duration.
    pub(crate) fn observe(&self, duration: Duration) {
        let index = BOUNDS.iter().position(|bound| duration <= *bound);
        let count = &self.counts[index.unwrap_or(BOUNDS.len())];
        count.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns the bound and the count of each bucket, without those of the smaller buckets; the last
    /// bound is `None`.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        bounds.zip(self.counts.iter().map(|it| it.load(Ordering::Relaxed)))
    }

    /// Returns the sum of all durations.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, Duration, DurationHistogram};

    #[test]
    fn duration_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = DurationHistogram::default();
        for millis in [0, 1, 2, 5, 11_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let counts: Vec<_> = histogram.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 0, 0, 1, 2, 0, 0, 0, 0, 1]);
        assert!(BOUNDS.is_sorted());
        assert_eq!(histogram.sum(), Duration::from_millis(11_008));
    }
}
