//! Reports about the protections of the process.

use std::{fs, io, sync::Mutex, time::Duration};

use nix::{
    sys::prctl,
    unistd::{AccessFlags, access, geteuid},
};
use stsd_secret::Pages;

use crate::runtime::{clock::BootTime, sync::lock};

/// The name of the protection of the pages that hold secrets.
pub(crate) const SECRET_PAGES: &str = "secret pages";

/// The name of the protection against tracers.
pub(crate) const TRACING: &str = "tracing";

/// The hint for a memory limit that is too low; 8 MiB hold the secrets of 2,000 profiles.
pub(crate) const MEMLOCK_HINT: &str = "set LimitMEMLOCK=8M for this service";

/// One protection of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// The name for `stsctl status`.
    pub name: &'static str,
    /// The protection is in force, as the kernel reports.
    pub holds: bool,
    /// The effect, or the fix.
    pub remark: String,
}

/// The last report about the pages that hold secrets. The report is cached for a second, because
/// `/proc/self/smaps` grows with the process.
#[derive(Debug, Default)]
pub struct SecretPages(Mutex<Option<(BootTime, Protection)>>);

impl SecretPages {
    /// Returns the report, from the cache if it is fresh.
    pub fn inspect(&self, now: BootTime) -> Protection {
        let mut inspected = lock(&self.0);
        match &*inspected {
            Some((at, protection)) if now.since(*at) < Duration::from_secs(1) => protection.clone(),
            _ => {
                let protection = secret_pages();
                *inspected = Some((now, protection.clone()));
                protection
            }
        }
    }
}

/// Returns the number of a process that traces a thread of this one; `None` without a tracer.
///
/// # Errors
/// `/proc/self/task` cannot be read.
pub fn tracer() -> io::Result<Option<u32>> {
    for task in fs::read_dir("/proc/self/task")? {
        let status = match fs::read_to_string(task?.path().join("status")) {
            Ok(status) => status,
            // The thread has ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix("TracerPid:"));
        let number = value.and_then(|it| it.trim().parse().ok());
        let number = number.ok_or_else(|| io::Error::other("the kernel names no TracerPid"))?;
        if number != 0 {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Returns a report about the tracing of the process, as the kernel has it now: a tracer that attached
/// before the start of the protection stays attached.
#[must_use]
pub fn tracing() -> Protection {
    let is_undumpable = prctl::get_dumpable().is_ok_and(|dumpable| !dumpable);
    let tracer = tracer();
    let fix = match &tracer {
        Ok(Some(tracer)) => format!(
            "the process {tracer} traces the daemon and can read every key; end it, start stsd again, \
             and replace the keys"
        ),
        Ok(None) => {
            "the kernel refuses PR_SET_DUMPABLE; do not run this under a debugger".to_owned()
        }
        Err(error) => format!("unknown: /proc/self/task cannot be read: {error}"),
    };
    let effect = match is_program_readable() {
        false => "no other process of the user can trace this one or read its memory",
        true => {
            "no other process of the user can trace this one from now on; one that opened its memory \
             during the start still reads it: install stsd with owner root and mode 0711"
        }
    };
    let holds = is_undumpable && matches!(tracer, Ok(None));
    protection(TRACING, holds, effect, &fix)
}

/// Returns `true` if the user of this process can read its program: the kernel then lets other processes
/// of the user open the memory until the process has protected itself.
fn is_program_readable() -> bool {
    !geteuid().is_root() && access("/proc/self/exe", AccessFlags::R_OK).is_ok()
}

/// Returns a report about the pages that hold secrets.
#[must_use]
pub fn secret_pages() -> Protection {
    let inspected = stsd_secret::pages();
    let Pages {
        mapped,
        locked,
        undumped,
    } = inspected.as_ref().copied().unwrap_or_default();
    let kib = |bytes| bytes / 1024;
    let effect = format!("{} KiB, locked and left out of core dumps", kib(mapped));
    let fix = match inspected {
        Err(error) => format!("unknown whether they are locked: /proc/self/smaps: {error}"),
        Ok(_) if undumped < mapped => format!(
            "{} of {} KiB would be in a core dump: the kernel refuses MADV_DONTDUMP",
            kib(mapped - undumped),
            kib(mapped)
        ),
        Ok(_) => format!(
            "{} of {} KiB are not locked and may be swapped out; {MEMLOCK_HINT}",
            kib(mapped - locked),
            kib(mapped)
        ),
    };
    let holds = mapped > 0 && locked == mapped && undumped == mapped;
    protection(SECRET_PAGES, holds, &effect, &fix)
}

/// Returns a report with the effect of a protection, or with the fix if the protection is not in
/// force.
pub(crate) fn protection(name: &'static str, holds: bool, effect: &str, fix: &str) -> Protection {
    let remark = if holds { effect } else { fix };
    Protection {
        name,
        holds,
        remark: remark.to_owned(),
    }
}
