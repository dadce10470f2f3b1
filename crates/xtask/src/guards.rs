//! Guards for dependencies: which package must not reach which, and which module imports which.

mod imports;
mod modules;
mod packages;

use crate::process::Outcome;

/// Checks every guard.
pub(crate) fn check() -> Outcome {
    modules::check()?;
    packages::check()
}
