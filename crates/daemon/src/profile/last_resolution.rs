//! The outcome of the last resolution of a source, which is read without a wait for a resolution that is
//! under way.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::runtime::clock::BootTime;

/// The outcome of the last resolution of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastResolution {
    /// The time at which the resolution began, in whole milliseconds.
    pub asked: BootTime,
    /// The provider has given an identity.
    pub succeeded: bool,
}

/// The record of the last resolution, by the name of the source.
#[derive(Debug)]
pub(super) struct ResolutionRecord {
    name: Box<str>,
    /// Twice the milliseconds of `asked`, plus two, plus one after a success; 0 before the first
    /// resolution.
    last: AtomicU64,
}

impl ResolutionRecord {
    /// Returns a record without a resolution.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            last: AtomicU64::new(0),
        }
    }

    /// Returns the name of the source.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Records a resolution.
    pub(super) fn set(&self, last: LastResolution) {
        let encoded = 2 * (last.asked.as_millis() + 1) + u64::from(last.succeeded);
        self.last.store(encoded, Ordering::Relaxed);
    }

    /// Returns the last resolution; `None` before the first.
    pub(super) fn last(&self) -> Option<LastResolution> {
        let encoded = self.last.load(Ordering::Relaxed);
        let millis = (encoded / 2).checked_sub(1)?;
        Some(LastResolution {
            asked: BootTime::from_millis(millis),
            succeeded: encoded % 2 == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BootTime, LastResolution, ResolutionRecord};

    #[test]
    fn record_has_the_last_resolution_after_the_first() {
        let record = ResolutionRecord::new("key");
        assert_eq!(record.last(), None);
        for (millis, succeeded) in [(0, false), (0, true), (1_000_000, false), (1_000_001, true)] {
            let asked = BootTime::from_millis(millis);
            let last = LastResolution { asked, succeeded };
            record.set(last);
            assert_eq!(record.last(), Some(last));
        }
    }
}
