//! The protections of the process at start, and their checks. A protection that the system refuses
//! causes a warning with the fix; the daemon starts nevertheless.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind},
    path::PathBuf,
};

use landlock::RulesetStatus;
use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
    stat::{Mode, umask},
};
use tracing::{error, warn};

use crate::runtime::{
    landlock::restrict_writes,
    protection_report::{MEMLOCK_HINT, Protection, SECRET_PAGES, protection, tracing},
};

/// Minimum number of open files. Three quarters are for connections: enough for ten thousand.
const MIN_OPEN_FILES: u64 = 14_000;

/// Devices that every process may write to, and for which Landlock has no rule. Opening them has no
/// effect.
const PROBE_DEVICES: [&str; 2] = ["/dev/urandom", "/dev/random"];

/// Applies the protections that must precede the first secret: private modes of new files, no core
/// dumps, no tracing by other processes of the user, and no new privileges for child processes.
/// Raises the limit of open files to its maximum, because idle peers must not exhaust the limit.
/// Locks the pages of secrets; see [`SecretPages`](crate::runtime::protection_report::SecretPages).
#[must_use]
pub fn apply() -> Vec<Protection> {
    umask(Mode::from_bits_truncate(0o077));
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let core = getrlimit(Resource::RLIMIT_CORE).is_ok_and(|limits| limits == (0, 0));
    let _ = prctl::set_dumpable(false);
    let _ = prctl::set_no_new_privs();
    // mlock(2) may be refused at any later time, with more secrets.
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

/// Returns the limit of open files.
#[must_use]
pub fn open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// Restricts writes to files below `writable` and to devices that hold nothing, for this thread and
/// its children. The caller must not have started other threads.
#[must_use]
pub fn restrict_filesystem(writable: &[PathBuf]) -> Protection {
    const NAME: &str = "writing files";
    let outcome = restrict_writes(writable);
    let is_enforced = matches!(&outcome, Ok(it) if *it != RulesetStatus::NotEnforced);
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
    // The check is independent of the reported status: without Landlock any process can write there.
    let holds = match probe() {
        Ok(()) => false,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => true,
        Err(_) => is_enforced,
    };
    if let Err(error) = OpenOptions::new().write(true).open("/dev/null") {
        warn!(
            "the programs of the configuration cannot write to /dev/null: {error}; after an upgrade \
             by SIGUSR2 the restriction of the previous program stays until a restart"
        );
    }
    protection(NAME, holds, &shown, &fix)
}

/// Logs a warning for each protection that is not in force, and an error for a tracer: the daemon serves
/// nevertheless, because a debugger may be wanted, and `stsctl doctor` shows the tracer.
pub fn warn_missing(protections: &[Protection]) {
    let tracing = tracing();
    if !tracing.holds {
        error!("not protected: {}: {}", tracing.name, tracing.remark);
    }
    for it in protections.iter().filter(|it| !it.holds) {
        warn!("not protected: {}: {}", it.name, it.remark);
    }
}

/// Opens the first of [`PROBE_DEVICES`] that exists for writing.
fn probe() -> io::Result<()> {
    let mut outcome = Err(ErrorKind::NotFound.into());
    for device in PROBE_DEVICES {
        outcome = OpenOptions::new().write(true).open(device).map(drop);
        if !matches!(&outcome, Err(error) if error.kind() == ErrorKind::NotFound) {
            break;
        }
    }
    outcome
}
