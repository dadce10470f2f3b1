//! Reports about the protections of the process.

use std::{sync::Mutex, time::Duration};

use stsd_secret::Pages;

use crate::runtime::{clock::BootTime, sync::lock};

/// The name of the protection of the pages that hold secrets.
pub(crate) const SECRET_PAGES: &str = "secret pages";

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
