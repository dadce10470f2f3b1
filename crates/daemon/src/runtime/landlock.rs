//! The confinement of writes by Landlock, for the calling thread and the programs that it starts.

use std::path::PathBuf;

use landlock::{
    ABI, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus,
};

/// Devices that hold nothing. Scripts discard output in the first; the others are as harmless.
pub(crate) const WRITABLE_DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/full"];

/// Restricts writes of this thread, and of the processes that it starts from now on, to
/// [`WRITABLE_DEVICES`] and to `writable`: files, and directories with all below. A path that is
/// missing now stays forbidden. Restrictions of one thread add up.
///
/// # Errors
/// The kernel refuses a system call; nothing is restricted further.
pub(crate) fn restrict_writes(writable: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    // The newest access rights that were tried; an older kernel enforces those that it has.
    let writing = AccessFs::from_write(ABI::V5);
    let mut ruleset = Ruleset::default().handle_access(writing)?.create()?;
    let devices = WRITABLE_DEVICES.iter().map(PathBuf::from);
    for path in devices.chain(writable.iter().cloned()) {
        let Ok(path) = PathFd::new(path) else {
            continue;
        };
        ruleset = ruleset.add_rule(PathBeneath::new(path, writing))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}
