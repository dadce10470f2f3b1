//! The operating system: processors, limits, time, and the resources that a process has used.

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

/// The processor of the measured servers.
pub(crate) const SERVER_CPU: usize = 0;

/// The processor of the load generator.
pub(crate) const CLIENT_CPU: usize = 1;

/// The start of a measurement.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "measures durations without suspend; no schedule depends on it"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn elapsed_micros(self) -> f64 {
        self.elapsed().as_secs_f64() * 1e6
    }
}

/// Pins a process and its future children to one processor; on a machine with a single processor, to
/// that one. `None` is this process.
pub(crate) fn pin_to_cpu(pid: Option<u32>, processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor.min(processors() - 1))?;
    let pid = pid.map_or(Pid::from_raw(0), |it| Pid::from_raw(it.cast_signed()));
    sched_setaffinity(pid, &set).context("sched_setaffinity")
}

/// Raises the limit of open files to the hard limit, and returns the limit.
pub(crate) fn raise_open_file_limit() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Returns the number of processors, also of those to which this process is not pinned.
fn processors() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with("processor"));
    lines.count().max(1)
}

/// Returns the kind of the machine, its processor and its kernel, without its name.
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
    // The text after the version is the name of a build.
    let release = release.split('-').next().unwrap_or_default().trim();
    let model = field("model name").unwrap_or(std::env::consts::ARCH);
    format!("{kind}{count} × {model}, Linux {release}")
}

/// Returns the load average of the last minute.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Returns the processor time of all threads of a process.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that has just exited has no such file.
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let first = text.split(' ').next().and_then(|it| it.parse::<u64>().ok());
        nanoseconds += first.unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Returns the resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<f64> {
    status_field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Returns the resident memory of a process without pages of files, in KiB.
pub(crate) fn anonymous_kib(pid: u32) -> Result<f64> {
    status_field(&format!("/proc/{pid}/status"), "RssAnon:")
}

/// Returns the voluntary context switches of a process, each of which precedes a wake-up.
pub(crate) fn voluntary_switches(pid: u32) -> Result<f64> {
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
