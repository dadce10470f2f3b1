//! The tests, run by cargo-nextest: each in a process and with a time limit of its own.
//! `.config/nextest.toml` has the limits.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::{
    apt, clients, dist,
    notes::Notes,
    old_release,
    process::{
        Outcome, build_programs, cargo, cargo_command, heading, path_with, root, run, say,
        succeeds, target,
    },
    tier::Tier,
};

/// The version that is installed where there is none.
const NEXTEST_VERSION: &str = "0.9.143";

/// Debian's packages that stories need; a story that lacks one says NOT RUN.
pub(crate) const STORY_PACKAGES: [&str; 13] = [
    "age",
    "curl",
    "dbus",
    "gnome-keyring",
    "gnupg",
    "iproute2",
    "libsecret-tools",
    "mandoc",
    "nftables",
    "pass",
    "rclone",
    "rpm",
    "strace",
];

/// Integration tests that are as fast as unit tests: golden frames, malformed frames, and the
/// signature vectors of `stsd-sts` and the emulator.
const FAST_TESTS: [&str; 3] = ["golden", "hostile", "vectors"];

/// Stories that only the full gate runs: a part of the name, and why it takes long.
pub(crate) const FULL_ONLY: [(&str, &str); 5] = [
    (
        "sdk::uploads::one_minute",
        "uploads for a minute, by design; sdk::consumers:: rotates under each SDK as well",
    ),
    (
        OLD_RELEASE_STORIES,
        "the programs of release 0.1.0 are built for them",
    ),
    (
        DATA_TOOL_STORIES,
        "half a gigabyte of packages is installed for them",
    ),
    (
        CONTAINER_STORIES,
        "each waits for several looks at a volume, and runc is installed for them",
    ),
    (ANSIBLE_STORIES, "ansible-core is installed for them"),
];

/// The module of the stories that run the programs of release 0.1.0.
const OLD_RELEASE_STORIES: &str = "platform::old_release";

/// The module of the stories that start containers, and its Debian package.
const CONTAINER_STORIES: &str = "platform::container";
const CONTAINER_PACKAGES: [&str; 1] = ["runc"];

/// The module of the stories that run Ansible.
const ANSIBLE_STORIES: &str = "docs::fleet::ansible";

/// The module of the stories that run the data tools.
const DATA_TOOL_STORIES: &str = "sdk::data_tools";

/// Parts of the names of stories that run the official SDKs: groups, and the files in them.
const WITH_SDKS: [&str; 10] = [
    "sdk",
    "docs",
    "client",
    "ctl",
    "doctor",
    "exec",
    "setup",
    "sources",
    "oidc",
    "data_tools",
];

/// A workspace of its own: its libraries are needed by nothing else here.
const EXAMPLES: &str = "examples/rust/Cargo.toml";

/// Seeds of the simulation in the default gate; the full gate runs the thousand that the
/// simulation has by itself.
const SEEDS: &str = "100";

/// Stories that run at a time under `stress`: twice as many as otherwise.
const STRESS_THREADS: &str = "16";

/// The file to which stories add what they could not do here.
const NOT_RUN_FILE: &str = "STSD_TEST_NOT_RUN";

/// The file to which stories add figures that they have measured and do not judge.
const MEASURED_FILE: &str = "STSD_TEST_MEASURED";

/// The directory of programs that the stories run instead of those of the gate.
const PROGRAMS_DIRECTORY: &str = "STSD_TEST_PROGRAMS";

/// The directory of a release, which some stories of the packages test.
const RELEASE_DIRECTORY: &str = "STSD_TEST_PACKAGES";

/// Runs unit tests and the integration tests that are as fast.
pub(crate) fn unit(notes: &mut Notes) -> Outcome {
    let fast = fast_tests();
    noted(
        all_tests("default")?.arg(format!(
            "(not kind(test) or {fast}) and not package(simulation)"
        )),
        notes,
    )
}

/// Runs the stories and the slower integration tests of the default gate, or, of the full gate,
/// those that the default gate leaves out.
pub(crate) fn stories(notes: &mut Notes, tier: Tier) -> Outcome {
    let fast = FAST_TESTS
        .map(|name| format!("binary({name})"))
        .join(" or ");
    let long = FULL_ONLY
        .map(|(name, _)| format!("test({name})"))
        .join(" or ");
    let filter = match tier {
        Tier::Check | Tier::Test => {
            format!("kind(test) and not (binary(comparison) or {fast} or {long})")
        }
        Tier::Full => format!("binary(stories) and ({long})"),
    };
    if tier == Tier::Full {
        apt::ensure(&CONTAINER_PACKAGES);
        clients::install_data_tools(&root(), &target())?;
        build_old_release(notes);
    }
    let outcome = noted(all_tests("stories")?.arg(filter), notes);
    print_groups();
    outcome
}

/// Prints the seconds of each group of stories that takes long, from the report of nextest.
/// Stories run side by side, so that the sum is more than the step takes.
fn print_groups() {
    let report = target().join("nextest/stories/junit.xml");
    let text = fs::read_to_string(report).unwrap_or_default();
    say("\nseconds  group of stories (those above 10)");
    let mut groups: Vec<_> = group_seconds(&text).into_iter().collect();
    groups.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    for (group, seconds) in groups.iter().filter(|(_, seconds)| *seconds > 10.0) {
        say(&format!("{seconds:7.1}  {group}"));
    }
}

/// Returns the seconds of each group in a JUnit report; a group is the module of the tests.
fn group_seconds(junit: &str) -> BTreeMap<String, f64> {
    let mut groups = BTreeMap::new();
    for case in junit.split("<testcase ").skip(1) {
        let attribute = |name: &str| {
            let (_, value) = case.split_once(&format!("{name}=\""))?;
            value.split('"').next()
        };
        let seconds = attribute("time").and_then(|it| it.parse::<f64>().ok());
        if let (Some(name), Some(seconds)) = (attribute("name"), seconds) {
            let group = name.rsplit_once("::").map_or(name, |(module, _)| module);
            *groups.entry(group.to_owned()).or_default() += seconds;
        }
    }
    groups
}

/// Runs the official libraries beside stsd, and compares the result with `docs/comparison.md`.
/// Not by nextest: its tests share one measurement.
pub(crate) fn comparison() -> Outcome {
    cargo(&[
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--test",
        "comparison",
    ])
}

/// Runs the simulation of a tier.
pub(crate) fn simulation(notes: &mut Notes, tier: Tier) -> Outcome {
    let mut nextest = all_tests("simulation")?;
    if tier == Tier::Test {
        nextest.env("SIMULATION_SEEDS", SEEDS);
        nextest.arg("package(simulation) and not test(/ten_thousand|hundred_thousand_daemons/)");
    } else {
        nextest.arg("package(simulation)");
    }
    noted(&mut nextest, notes)
}

/// Builds what stories need and runs those whose names contain one of `names`, or all.
pub(crate) fn e2e(names: &[&str]) -> Outcome {
    prepare(names)?;
    let mut notes = Notes::default();
    if names.iter().any(|it| it.contains("old_release")) {
        build_old_release(&mut notes);
    }
    let with_tools = ["data_tools", "ansible"];
    if with_tools
        .iter()
        .any(|tool| names.iter().any(|it| it.contains(tool)))
    {
        clients::install_data_tools(&root(), &target())?;
    }
    let outcome = noted(&mut named_stories(names)?, &mut notes);
    notes.print();
    outcome
}

/// Runs stories beside one busy loop for each core, several times; prints those that failed,
/// with their counts.
pub(crate) fn stress(rounds: u32, names: &[&str]) -> Outcome {
    prepare(names)?;
    // Nothing is compiled beside the busy loops.
    run(nextest("stories")?.args(["--workspace", "--test", "stories", "--no-run"]))?;
    let mut failures = BTreeMap::<String, u32>::new();
    let is_over = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let outcome: Outcome = (1..=rounds).try_for_each(|round| {
            heading(&format!("round {round} of {rounds}"));
            let mut stories = named_stories(names)?;
            stories.args(["--test-threads", STRESS_THREADS]);
            for name in failed_tests(&mut stories)? {
                *failures.entry(name).or_default() += 1;
            }
            Ok(())
        });
        is_over.store(true, Ordering::Relaxed);
        outcome
    });
    say("");
    for (name, count) in &failures {
        say(&format!("{count} of {rounds} rounds: {name}"));
    }
    outcome?;
    match failures.len() {
        0 => {
            say(&format!("no failure in {rounds} rounds"));
            Ok(())
        }
        count => Err(format!("{count} stories failed at least once")),
    }
}

/// Builds the examples that need other libraries, in a directory of their own, because other
/// features are built there.
pub(crate) fn build_rust_examples() -> Outcome {
    let mut build = cargo_command(&["build", "--locked", "--quiet", "--manifest-path", EXAMPLES]);
    let directory = target().join("examples-rust");
    run(build.arg("--target-dir").arg(directory))
}

/// Builds the programs, and the rest that stories with such names need.
fn prepare(names: &[&str]) -> Outcome {
    build_programs()?;
    let needs_sdks = |name: &&str| WITH_SDKS.iter().any(|it| name.contains(it));
    if names.is_empty() || names.iter().any(needs_sdks) {
        build_rust_examples()?;
        clients::interpreters()?;
        clients::install(&root(), &target())?;
    }
    if names.is_empty() || names.iter().any(|it| it.contains("packages")) {
        dist::install_python_tools()?;
    }
    apt::ensure(&STORY_PACKAGES);
    apt::ensure_program("prometheus", "promtool");
    Ok(())
}

/// Builds the programs of release 0.1.0. Without them, the stories report that they did not run.
fn build_old_release(notes: &mut Notes) {
    if let Err(reason) = old_release::build() {
        notes.not_run(format!("the programs of release 0.1.0: {reason}"));
    }
}

fn named_stories(names: &[&str]) -> Result<Command, String> {
    let mut nextest = nextest("stories")?;
    nextest.args(["--workspace", "--test", "stories"]);
    nextest.args(names);
    Ok(nextest)
}

/// Returns nextest for all tests of the workspace; the filterset comes next. Every step builds
/// the same targets with the same features, so that the first of them builds for all. The gate only
/// compares snapshots: a wrong text fails, and no file is written.
fn all_tests(profile: &str) -> Result<Command, String> {
    let mut nextest = nextest(profile)?;
    nextest.env("INSTA_UPDATE", "no");
    nextest.args(["--workspace", "--tests", "--filterset"]);
    Ok(nextest)
}

fn fast_tests() -> String {
    FAST_TESTS
        .map(|name| format!("binary({name})"))
        .join(" or ")
}

/// Runs nextest and returns the names of the tests that failed. Its output passes through.
fn failed_tests(nextest: &mut Command) -> Result<Vec<String>, String> {
    nextest.args(["--color", "never", "--no-fail-fast"]);
    nextest.args(["--status-level", "fail", "--final-status-level", "none"]);
    let mut child = nextest
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cargo nextest does not start: {error}"))?;
    let mut failed = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            failed.extend(failed_test(&line));
            say(&line);
        }
    }
    let status = child.wait();
    let status = status.map_err(|error| format!("cargo nextest: {error}"))?;
    if !status.success() && failed.is_empty() {
        return Err(format!("cargo nextest: {status}"));
    }
    Ok(failed)
}

/// Returns the name in a status line of nextest, `FAIL [   0.012s] (1/9) e2e::stories name`.
fn failed_test(line: &str) -> Option<String> {
    let (status, rest) = line.trim_start().split_once(" [")?;
    let is_failure = ["FAIL", "TIMEOUT", "ABORT", "LEAK-FAIL"].contains(&status.trim_end());
    let is_failure = is_failure || status.starts_with("SIG");
    let (_, rest) = rest.split_once("s] ")?;
    is_failure.then(|| rest.trim().rsplit(' ').next().map(str::to_owned))?
}

/// Returns the command of the stories whose names contain one of `names` and none of `without`, with
/// programs from a directory.
pub(crate) fn emulated_stories(
    programs: &Path,
    names: &[&str],
    without: &[&str],
) -> Result<Command, String> {
    let any = |names: &[&str]| {
        let tests = names.iter().map(|name| format!("test({name})"));
        tests.collect::<Vec<_>>().join(" or ")
    };
    let mut filter = format!("binary(stories) and ({})", any(names));
    if !without.is_empty() {
        filter += &format!(" and not ({})", any(without));
    }
    let mut stories = all_tests("stories")?;
    stories.arg(filter).env(PROGRAMS_DIRECTORY, programs);
    Ok(stories)
}

/// Runs the stories of the packages that can be run with a release, with that of `cargo xtask dist`.
pub(crate) fn release_stories(notes: &mut Notes) -> Outcome {
    let mut stories = all_tests("stories")?;
    stories.arg("test(platform::packages::image) or test(platform::packages::tarball)");
    noted(
        stories.env(RELEASE_DIRECTORY, target().join("dist/out")),
        notes,
    )
}

/// Runs nextest, and adds what its tests could not do to the notes.
pub(crate) fn noted(nextest: &mut Command, notes: &mut Notes) -> Outcome {
    let folder = target().join("gate");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (not_run, measured) = (folder.join("not-run.txt"), folder.join("measured.txt"));
    for file in [&not_run, &measured] {
        let _ = fs::remove_file(file);
    }
    nextest.env(NOT_RUN_FILE, &not_run);
    let outcome = run(nextest.env(MEASURED_FILE, &measured));
    let lines = |file| fs::read_to_string(file).unwrap_or_default();
    for line in lines(measured).lines() {
        say(&format!("MEASURED: {line}"));
    }
    for line in lines(not_run).lines() {
        notes.not_run(line);
    }
    outcome
}

/// Returns the command of nextest with a profile, installed below the target directory where
/// the machine has none.
fn nextest(profile: &str) -> Result<Command, String> {
    let tools = target().join("tools");
    if !succeeds(cargo_command(&["nextest", "--version"]).env("PATH", path(&tools))) {
        say("installing cargo-nextest, once; this takes some minutes");
        let version = format!("cargo-nextest@{NEXTEST_VERSION}");
        let mut install = cargo_command(&["install", "--locked", "--quiet", &version]);
        run(install.arg("--root").arg(&tools))?;
    }
    let mut nextest = cargo_command(&["nextest", "run", "--locked", "--profile", profile]);
    nextest.env("PATH", path(&tools));
    Ok(nextest)
}

fn path(tools: &Path) -> OsString {
    path_with(&tools.join("bin"))
}

/// Measures the official libraries and stsd, and writes the table of `docs/comparison.md`.
pub(crate) fn compare() -> Outcome {
    prepare(&["sdk"])?;
    let mut test = cargo_command(&["test", "--quiet", "--locked", "--workspace"]);
    test.args(["--test", "comparison"]);
    run(test.env("STSD_COMPARISON", "write"))?;
    let page = fs::read_to_string(root().join("docs/comparison.md"));
    let page = page.map_err(|error| format!("docs/comparison.md: {error}"))?;
    let table = page.lines().filter(|line| line.starts_with('|'));
    say(&table.collect::<Vec<_>>().join("\n"));
    Ok(())
}

/// Runs the story of uploads for ten minutes.
pub(crate) fn soak() -> Outcome {
    prepare(&["sdk"])?;
    let mut test = cargo_command(&["test", "--locked", "--workspace", "--test", "stories"]);
    run(test.args(["ten_minutes", "--", "--ignored", "--nocapture"]))
}

/// Runs the simulation alone, optimised, with an environment variable that names its seeds.
pub(crate) fn simulate(which: Option<(&str, &str)>) -> Outcome {
    let mut test = cargo_command(&["test", "--release", "--locked", "--package", "simulation"]);
    test.args(["no_seed", "--", "--nocapture"]);
    run(test.envs(which))
}

/// Runs the simulation of a fleet, optimised, and prints its figures.
pub(crate) fn simulate_fleet() -> Outcome {
    let mut test = cargo_command(&["test", "--release", "--locked", "--package", "simulation"]);
    run(test.args(["fleet", "--", "--nocapture", "--test-threads", "1"]))
}

#[cfg(test)]
mod unit_tests {
    use super::{failed_test, group_seconds};

    #[test]
    fn seconds_are_added_up_by_the_module() {
        let junit = "<testcase name=\"sources::role_chain::a\" classname=\"e2e\" time=\"1.5\">\
             <testcase name=\"sources::role_chain::b\" classname=\"e2e\" time=\"2.000\">\
             <testcase name=\"alone\" classname=\"e2e\" time=\"0.25\">";
        let groups = group_seconds(junit);
        assert_eq!(groups["sources::role_chain"], 3.5);
        assert_eq!(groups["alone"], 0.25);
    }

    #[test]
    fn failed_test_is_read_from_nextest_status_lines() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(failed_test(line).as_deref(), expected, "{line}");
        };
        check(
            "        FAIL [   0.012s] ( 3/420) e2e::stories sources::role_chain::it_is_renewed",
            Some("sources::role_chain::it_is_renewed"),
        );
        check(
            "     TIMEOUT [ 180.004s] (12/420) e2e::stories hangs",
            Some("hangs"),
        );
        check(
            "     SIGSEGV [   1.1s] (1/1) e2e::stories dies",
            Some("dies"),
        );
        check("        PASS [   0.012s] (1/1) e2e::stories passes", None);
        check("        SLOW [> 60.000s] e2e::stories slow", None);
        check("  Summary [   1.0s] 3 tests run: 3 passed", None);
    }
}
