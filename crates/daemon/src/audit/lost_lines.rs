//! The lines of the audit that could not be written.

use std::fmt::Display;

use tracing::warn;

/// The reason for which a line was not written.
#[derive(Debug)]
pub(super) struct LostLine {
    /// The message for a person.
    pub(super) problem: String,
    /// The hint: the correction by a person.
    pub(super) hint: &'static str,
}

/// The number of lines lost since the last successful write.
#[derive(Debug, Default)]
pub(super) struct LostLines(u64);

impl LostLines {
    /// Counts a lost line. The first of several is logged, and after the last one their number.
    pub(super) fn record(&mut self, written: &Result<(), LostLine>, destination: &dyn Display) {
        match written {
            Ok(()) if self.0 > 0 => {
                warn!(
                    "writing to {destination} works again; {} audit lines were lost",
                    self.0
                );
                self.0 = 0;
            }
            Ok(()) => {}
            Err(LostLine { problem, hint }) => {
                if self.0 == 0 {
                    warn!(hint, "{problem}");
                }
                self.0 += 1;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        self.0
    }
}
