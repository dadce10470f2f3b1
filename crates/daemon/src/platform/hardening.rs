//! Decides what the process gives up, or takes, at start, and looks whether it is so. What
//! the system refuses is a warning with the fix, never a reason not to run.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus,
};
use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
    stat::{Mode, umask},
};
use tracing::warn;

use crate::runtime::protection::{MEMLOCK_HINT, Protection, SECRET_PAGES, protection};

/// Three quarters of these are for callers: enough for ten thousand at once.
const MIN_OPEN_FILES: u64 = 14_000;

/// Does what comes before anything secret is read: files are private from their first
/// moment, core dumps are off, other processes of the user can neither trace us nor read
/// our memory, and no program that we start gains rights. All the file descriptors that the
/// system allows are taken, because idle peers must not keep the next one out. Secrets are
/// kept in locked pages; see [`SecretPages`](crate::runtime::protection::SecretPages).
#[must_use]
pub fn apply() -> Vec<Protection> {
    umask(Mode::from_bits_truncate(0o077));
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let core = getrlimit(Resource::RLIMIT_CORE).is_ok_and(|limits| limits == (0, 0));
    let _ = prctl::set_dumpable(false);
    let _ = prctl::set_no_new_privs();
    // It may be refused at any later time, when more secrets have come.
    stsd_secret::lock_pages(|refusal| {
        warn!("not protected: {SECRET_PAGES}: some are not locked ({refusal}); {MEMLOCK_HINT}");
    });
    let _ = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    let descriptors = open_files();
    vec![
        protection(
            "core dumps",
            core,
            "off",
            "set LimitCORE=0 for this service",
        ),
        protection(
            "tracing",
            prctl::get_dumpable().is_ok_and(|dumpable| !dumpable),
            "no other process of the user can trace this one or read its memory",
            "the kernel refuses PR_SET_DUMPABLE; do not run this under a debugger",
        ),
        protection(
            "new privileges",
            prctl::get_no_new_privs().unwrap_or(false),
            "no program that is started gains rights",
            "set NoNewPrivileges=yes for this service",
        ),
        protection(
            "open files",
            descriptors >= MIN_OPEN_FILES,
            &format!("{descriptors} at once"),
            &format!("only {descriptors} at once; set LimitNOFILE=65536 for this service"),
        ),
    ]
}

/// Returns how many files this process may have open.
#[must_use]
pub fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// Gives up writing to any file but below `writable`, for this thread and all that it
/// starts; call it before there are others.
#[must_use]
pub fn restrict_filesystem(writable: &[PathBuf]) -> Protection {
    const NAME: &str = "writing files";
    let outcome = restrict(writable);
    let shown = match writable {
        [] => "nowhere".to_owned(),
        some => {
            let some: Vec<_> = some.iter().map(|it| it.display().to_string()).collect();
            format!("only below {}", some.join(", "))
        }
    };
    let unconfined = match outcome {
        Ok(RulesetStatus::NotEnforced) => "this kernel has no Landlock".to_owned(),
        Ok(_) => "Landlock does not hold".to_owned(),
        Err(error) => format!("Landlock: {error}"),
    };
    let fix = format!("{unconfined}; let systemd confine it: ProtectSystem=strict");
    // The system's word is good, a look is better: everybody else can write there.
    protection(NAME, is_denied(Path::new("/dev/null")), &shown, &fix)
}

/// Says what does not hold, once, with the fix.
pub fn warn_missing(protections: &[Protection]) {
    for it in protections.iter().filter(|it| !it.holds) {
        warn!("not protected: {}: {}", it.name, it.remark);
    }
}

fn restrict(writable: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    // The newest rights known here; an older kernel enforces those it has.
    let writing = AccessFs::from_write(ABI::V5);
    let mut ruleset = Ruleset::default().handle_access(writing)?.create()?;
    for directory in writable {
        // A directory that is not there cannot be written to.
        let Ok(directory) = PathFd::new(directory) else {
            continue;
        };
        ruleset = ruleset.add_rule(PathBeneath::new(directory, writing))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

fn is_denied(path: &Path) -> bool {
    let opened = OpenOptions::new().write(true).open(path);
    opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}
