//! The rule of trust, asked for this process: `stsd-trust` has the rule.

use std::{ffi::OsStr, path::Path};

pub(crate) use stsd_trust::{Loose, Purpose, TrustError};
use stsd_trust::{ProcessIds, judge};

/// Judges a path that the daemon is about to open or to write below.
///
/// # Errors
/// [`TrustError`], for the first component that is not trusted, or that cannot be examined.
pub(crate) fn check(path: &Path, purpose: Purpose) -> Result<(), TrustError> {
    judge(path, purpose, &ProcessIds::own())
}

/// Judges a program that the daemon is about to run by its path.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_program(program: &OsStr) -> Result<(), TrustError> {
    check(Path::new(program), Purpose::Decides)
}
