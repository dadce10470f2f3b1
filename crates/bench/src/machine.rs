//! Decides what is asked of the system: processors, limits, time, and what a process has
//! used so far.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};

/// Where servers run.
pub(crate) const SERVER: usize = 0;

/// Where those run who ask them.
pub(crate) const CALLER: usize = 1;

/// When something began.
#[derive(Clone, Copy)]
pub(crate) struct Began(Instant);

impl Began {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is measured is time awake, and no schedule depends on it"
    )]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn micros(self) -> f64 {
        self.elapsed().as_secs_f64() * 1e6
    }
}

/// Keeps a process, and what it starts from now on, on one processor. A machine with a
/// single one has no choice.
pub(crate) fn pin(pid: Option<u32>, processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor.min(processors() - 1))?;
    let pid = pid.map_or(Pid::from_raw(0), |it| Pid::from_raw(it.cast_signed()));
    sched_setaffinity(pid, &set).context("sched_setaffinity")
}

/// Allows as many descriptors as there may be; returns how many that is.
pub(crate) fn raise_descriptors() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// How many processors there are, whichever of them we keep to.
fn processors() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with("processor"));
    lines.count().max(1)
}

/// What kind of machine this is, without its name.
pub(crate) fn description() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = processor.lines().find(|line| line.starts_with(name));
        line.and_then(|it| it.split_once(": ")).map(|(_, it)| it)
    };
    let hypervisor = field("flags").is_some_and(|it| it.split(' ').any(|it| it == "hypervisor"));
    let count = processors();
    let kind = if hypervisor {
        "virtual machine with "
    } else {
        "machine with "
    };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What comes after the version names a build, or a house.
    let release = release.split('-').next().unwrap_or_default().trim();
    let model = field("model name").unwrap_or(std::env::consts::ARCH);
    format!("{kind}{count} × {model}, Linux {release}")
}

/// The average number of processes that wanted a processor in the last minute.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Processor time of all threads of a process so far.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that has just ended has nothing more to say.
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let first = text.split(' ').next().and_then(|it| it.parse::<u64>().ok());
        nanoseconds += first.unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident(pid: u32) -> Result<f64> {
    status_field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Resident memory of a process that is not pages of files, in KiB.
pub(crate) fn anonymous(pid: u32) -> Result<f64> {
    status_field(&format!("/proc/{pid}/status"), "RssAnon:")
}

/// How often the threads of a process went to sleep so far, which is how often they woke.
pub(crate) fn wake_ups(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = thread?.path().join("status");
        sum += status_field(&status.to_string_lossy(), "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

fn status_field(path: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|it| it.split_whitespace().next());
    let number = number.and_then(|it| it.parse().ok());
    number.with_context(|| format!("{path} has no {name}"))
}
