//! Guards for dependencies: which package must not reach which, and which module imports which.

mod import_scan;
mod module_imports;
mod package_dependencies;

use crate::process::Outcome;

/// Checks every guard.
pub(crate) fn check() -> Outcome {
    module_imports::check()?;
    package_dependencies::check()
}
