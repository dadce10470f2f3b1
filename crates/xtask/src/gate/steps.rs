//! The steps of the gate, in the order in which they run.

use std::process::Command;

use super::Step;
use crate::{
    aarch64, apt, attack, bench, clients, dist, format, fuzz, guards, macos, nextest,
    notes::Notes,
    process::{
        Outcome, build_programs, cargo, cargo_command, output, root, run, say, succeeds, target,
    },
    prose, published_crates, supply_chain, systemd,
    tier::Tier,
};

/// The step that builds the programs, which all steps after this step use.
pub(super) const PROGRAMS: &str = "programs";

/// Every step. Names are arguments of `--from`.
pub(super) const STEPS: [Step; 27] = [
    Step {
        name: "format",
        about: "rustfmt, import style",
        tier: Tier::Check,
        replaced_by: None,
        run: |notes| format::check(notes),
    },
    Step {
        name: "scripts",
        about: "shellcheck",
        tier: Tier::Check,
        replaced_by: None,
        run: scripts,
    },
    Step {
        name: "workflows",
        about: "zizmor, and the schema of GitHub's workflows",
        tier: Tier::Check,
        replaced_by: None,
        run: workflows,
    },
    Step {
        name: "spelling",
        about: "typos",
        tier: Tier::Check,
        replaced_by: None,
        run: spelling,
    },
    Step {
        name: "prose",
        about: "words and openings that docs/contributing/style.md excludes",
        tier: Tier::Check,
        replaced_by: None,
        run: |_| prose::check(&[]),
    },
    Step {
        name: "dependencies",
        about: "which package must not reach which, which module imports which",
        tier: Tier::Check,
        replaced_by: None,
        run: |_| guards::check(),
    },
    Step {
        name: "lints",
        about: "clippy, warnings are errors",
        tier: Tier::Check,
        replaced_by: None,
        run: lints,
    },
    Step {
        name: "unit-tests",
        about: "unit tests, golden frames, signature vectors",
        tier: Tier::Check,
        replaced_by: None,
        run: |notes| nextest::unit(notes),
    },
    Step {
        name: "licences",
        about: "cargo-deny: licences, sources, banned crates",
        tier: Tier::Test,
        replaced_by: None,
        run: |notes| {
            notes.not_run(supply_chain::check()?);
            Ok(())
        },
    },
    Step {
        name: "documentation",
        about: "rustdoc without warnings, its examples",
        tier: Tier::Test,
        replaced_by: None,
        run: documentation,
    },
    Step {
        name: "book",
        about: "mdBook: the documents as a book",
        tier: Tier::Test,
        replaced_by: None,
        run: book,
    },
    Step {
        name: PROGRAMS,
        about: "all programs, examples with other libraries",
        tier: Tier::Test,
        replaced_by: None,
        run: programs,
    },
    Step {
        name: "set-up",
        about: "official SDKs, packages that stories need",
        tier: Tier::Test,
        replaced_by: None,
        run: set_up,
    },
    Step {
        name: "stories",
        about: "end-to-end tests over the real programs",
        tier: Tier::Test,
        replaced_by: None,
        run: |notes| nextest::stories(notes, Tier::Test),
    },
    Step {
        name: "simulation",
        about: "the refresh engine over months of paused time",
        tier: Tier::Test,
        replaced_by: Some("simulation-all"),
        run: |notes| nextest::simulation(notes, Tier::Test),
    },
    Step {
        name: "systemd",
        about: "this machine's systemd in a container",
        tier: Tier::Test,
        replaced_by: Some("systemd-all"),
        run: |notes| systemd::step(notes, systemd::Scope::Gate),
    },
    Step {
        name: "simulation-all",
        about: "a thousand seeds, ten thousand profiles for a day, ten thousand machines",
        tier: Tier::Full,
        replaced_by: None,
        run: |notes| nextest::simulation(notes, Tier::Full),
    },
    Step {
        name: "attack",
        about: "memory, latencies and refusals under attacks by other users",
        tier: Tier::Full,
        replaced_by: None,
        run: |_| attack::run_attacks(&[]),
    },
    Step {
        name: "long-stories",
        about: "stories that take long by design",
        tier: Tier::Full,
        replaced_by: None,
        run: |notes| nextest::stories(notes, Tier::Full),
    },
    Step {
        name: "comparison",
        about: "the official libraries beside stsd, against the table of docs/comparison.md",
        tier: Tier::Full,
        replaced_by: None,
        run: |_| nextest::comparison(),
    },
    Step {
        name: "published-crates",
        about: "the packages for crates.io, each built from its package",
        tier: Tier::Full,
        replaced_by: None,
        run: published_crates::check,
    },
    Step {
        name: "macos",
        about: "shim, stsctl and the client library compile for macOS",
        tier: Tier::Full,
        replaced_by: None,
        run: macos::check,
    },
    Step {
        name: "budget",
        about: "system calls, allocations and instructions of the release programs",
        tier: Tier::Full,
        replaced_by: None,
        run: budget,
    },
    Step {
        name: "fuzz",
        about: "libFuzzer on each reader of foreign bytes, ten seconds each",
        tier: Tier::Full,
        replaced_by: None,
        run: fuzz_targets,
    },
    Step {
        name: "packages",
        about: "both builds of the release, compared byte by byte; its tarball and image",
        tier: Tier::Full,
        replaced_by: None,
        run: |notes| {
            dist::dist(dist::Extent::Compared)?;
            nextest::release_stories(notes)
        },
    },
    Step {
        name: "aarch64",
        about: "stories with the release's programs for ARM, under qemu-user",
        tier: Tier::Full,
        replaced_by: None,
        run: |notes| aarch64::run(notes),
    },
    Step {
        name: "systemd-all",
        about: "systemd 247, 252, 254 and 257, longer checks, an emulated machine that sleeps",
        tier: Tier::Full,
        replaced_by: None,
        run: |notes| systemd::step(notes, systemd::Scope::Full),
    },
];

fn scripts(notes: &mut Notes) -> Outcome {
    let mut shellcheck = Command::new("shellcheck");
    if !succeeds(shellcheck.arg("--version")) {
        notes.not_run("shellcheck, which is not installed; its package is shellcheck");
        return Ok(());
    }
    let mut git = Command::new("git");
    let listed = output(
        git.args(["ls-files", "*.sh", ".ci/run"])
            .current_dir(root()),
    )?;
    let mut shellcheck = Command::new("shellcheck");
    run(shellcheck.args(listed.lines()).current_dir(root()))
}

fn workflows(notes: &mut Notes) -> Outcome {
    let schema = ["--builtin-schema", "vendor.github-workflows"];
    let tools = [
        ("zizmor", &["--offline", "--quiet"][..]),
        ("check-jsonschema", &schema[..]),
    ];
    let mut git = Command::new("git");
    let listed = output(
        git.args(["ls-files", ".github/workflows"])
            .current_dir(root()),
    )?;
    for (tool, arguments) in tools {
        if !succeeds(Command::new(tool).arg("--version")) {
            notes.not_run(format!(
                "{tool}, which is not installed: `pip install --user {tool}`"
            ));
            continue;
        }
        let mut command = Command::new(tool);
        command.args(arguments).args(listed.lines());
        run(command.current_dir(root()))?;
    }
    Ok(())
}

fn spelling(notes: &mut Notes) -> Outcome {
    let mut typos = Command::new("typos");
    if !succeeds(typos.arg("--version")) {
        notes.not_run("typos, which is not installed: `cargo install --locked typos-cli`");
        return Ok(());
    }
    run(Command::new("typos").current_dir(root()))
}

fn lints(_: &mut Notes) -> Outcome {
    let targets = ["clippy", "--workspace", "--all-targets", "--locked"];
    cargo(&[&targets[..], &["--quiet", "--", "-D", "warnings"]].concat())
}

fn documentation(_: &mut Notes) -> Outcome {
    let mut doc = cargo_command(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    cargo(&["test", "--workspace", "--doc", "--locked", "--quiet"])
}

fn book(notes: &mut Notes) -> Outcome {
    let mut mdbook = Command::new("mdbook");
    if !succeeds(mdbook.arg("--version")) {
        notes.not_run("the book: mdbook is not installed: `cargo install --locked mdbook`");
        return Ok(());
    }
    run(Command::new("mdbook")
        .args(["build", "docs"])
        .current_dir(root()))
}

fn programs(_: &mut Notes) -> Outcome {
    build_programs()?;
    nextest::build_rust_examples()
}

fn set_up(_: &mut Notes) -> Outcome {
    clients::interpreters()?;
    clients::install(&root(), &target())?;
    dist::install_python_tools()?;
    apt::ensure(&nextest::STORY_PACKAGES);
    apt::ensure_program("prometheus", "promtool");
    Ok(())
}

fn budget(notes: &mut Notes) -> Outcome {
    apt::ensure(&["strace", "valgrind"]);
    if let Some(reason) = bench::bench(bench::Scope::Budget)? {
        notes.not_run(format!("the shim's budget: {reason}"));
    }
    Ok(())
}

fn fuzz_targets(notes: &mut Notes) -> Outcome {
    if let Some(reason) = fuzz::obstacle() {
        notes.not_run(format!("fuzz targets: {reason}"));
        return Ok(());
    }
    fuzz::fuzz(fuzz::Bound::Seconds(10))
}

/// Builds the programs that the demonstration shows, and no others, and runs it.
pub(crate) fn demo() -> Outcome {
    let shown = [
        "stsd",
        "sts-shim",
        "stsctl",
        "stsd-emulator",
        "stsd-oss-client",
    ];
    say(&format!("building {} …", shown.join(", ")));
    let mut build = cargo_command(&["build", "--locked", "--bins"]);
    for package in shown {
        build.args(["--package", package]);
    }
    run(&mut build)?;
    run(Command::new(target().join("debug/stsctl")).arg("demo"))
}
