//! The metrics of the process, with the names that Prometheus's client libraries use:
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use std::fs;

use nix::{
    sys::resource::{Resource, getrlimit},
    unistd::{SysconfVar, sysconf},
};
use stsd_metrics::Text;

/// The fields of `/proc/self/stat` after the name of the program, from 0. Source: proc(5).
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;
const RESIDENT_PAGES: usize = 21;

/// Adds the families that the kernel reports; without `/proc`, none.
pub(super) fn add_to(text: &mut Text) {
    let Ok(stat) = fs::read_to_string("/proc/self/stat") else {
        return;
    };
    // The name may hold spaces and brackets.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<u64> = fields
        .split_whitespace()
        .map(|it| it.parse().unwrap_or_default())
        .collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or_default();
    let setting = |name| sysconf(name).ok().flatten().unwrap_or(1).unsigned_abs();
    let ticks = setting(SysconfVar::CLK_TCK);
    let mut add = |name: &str, kind: &str, help: &str, value: String| {
        text.family(name, kind, help);
        text.sample(name, &[], value);
    };
    let used = field(USER_TICKS) + field(SYSTEM_TICKS);
    add(
        "process_cpu_seconds_total",
        "counter",
        "Processor time, of the program and of the kernel for it.",
        format!("{}.{:02}", used / ticks, used % ticks * 100 / ticks),
    );
    add(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory.",
        (field(RESIDENT_PAGES) * setting(SysconfVar::PAGE_SIZE)).to_string(),
    );
    if let Some(boot) = boot_time() {
        add(
            "process_start_time_seconds",
            "gauge",
            "Start of the process, in seconds since 1970.",
            (boot + field(START_TICKS) / ticks).to_string(),
        );
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Without the descriptor of the directory itself.
        let open = open.count().saturating_sub(1);
        add(
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            open.to_string(),
        );
    }
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        add(
            "process_max_fds",
            "gauge",
            "Maximum number of open file descriptors.",
            limit.to_string(),
        );
    }
}

/// Returns the start of the system, in seconds since 1970.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|it| it.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Text, add_to};

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the kernel's clock is compared, not ours"
    )]
    fn process_metrics_are_those_of_this_process() {
        let mut text = Text::default();
        add_to(&mut text);
        let text = text.into_string();
        let value = |name: &str| {
            let line = text.lines().find_map(|it| it.strip_prefix(name));
            let line = line.unwrap_or_else(|| panic!("{name}: {text}"));
            line.trim().parse::<f64>().unwrap()
        };
        let now = jiff::Timestamp::now().as_second() as f64;
        let start = value("process_start_time_seconds");
        assert!((now - 86_400.0..=now + 2.0).contains(&start), "{start}");
        assert!(value("process_resident_memory_bytes") > 1_000_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
