//! Decides which functions of the daemon and of the shim lie side by side in their programs:
//! those that run in a usual life, of the daemon first what all of it needs until it rests. What
//! linkers are told is not which functions these are but what they are called, so it lasts from
//! one compiler to the next.

use std::{collections::BTreeSet, fs, iter, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    process::Programs,
    spawn,
    tools::Tool,
    world::{PROFILE, Setting, World, profile},
};

const MANY: usize = 150;

/// What a program's script has besides the functions that callgrind sees run.
struct Layout {
    program: &'static str,
    /// Whole files of code, because their functions have no sections of their own.
    files: &'static [&'static str],
    /// Functions that callgrind does not see, or knows by another one of their names.
    unseen: &'static [&'static str],
    /// About half of all of it. A linker that finds less has an outdated script.
    least_bytes: usize,
    /// The part about memory that is written to.
    memory: &'static str,
}

const DAEMON: Layout = Layout {
    program: "stsd",
    files: &["*crt1.o(.text)"],
    // Where a processor has instructions for it that callgrind's has not.
    unseen: &["_R*_4sha*x86_sha*"],
    least_bytes: 640 * 1024,
    memory: "",
};

const SHIM: Layout = Layout {
    program: "sts-shim",
    // Of the C library that is its assembler.
    files: &["*crt1.o(.text)", "*crtbegin*.o(.text)", "*libc.a:*(.text)"],
    unseen: &["__clock_gettime", "__libc_start_main", "static_init_tls"],
    least_bytes: 20 * 1024,
    memory: SHIM_MEMORY,
};

/// What the shim writes to lies side by side too: what belongs to the C library and to std, then
/// its own 64 KiB, of which it needs the beginning; behind it what is for panics alone. Without
/// the C library's or its own it is shorter than 65 KiB; std's is a hundred bytes.
const SHIM_MEMORY: &str = "SECTIONS {\n.bss.run (NOLOAD) : {\n*crtbegin*.o(.bss .bss.*)\n\
    *libc.a:*(.bss .bss.* COMMON)\n*(.bss*_3std*)\n*(.bss*_8sts_shim*)\n}\n\
    } INSERT BEFORE .bss;\nASSERT(SIZEOF(.bss.run) > 66560, \"memory of sts-shim.ld is not found\")\n";

/// How much of a daemon's life is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// A start, a first session, a hand-out, an end.
    Short,
    /// By TLS, with a reload, and with profiles enough that collections of them grow.
    Long,
}

/// Writes a script for each program's linker.
pub(crate) fn write(programs: &Programs, folder: &Path) -> Result<()> {
    let mut lives = Vec::new();
    for life in [Life::Short, Life::Long] {
        let mut functions = BTreeSet::new();
        for daemon in ["stsd", "stsd-musl"] {
            functions.extend(run(programs, daemon, life)?);
        }
        lives.push(functions);
    }
    DAEMON.write(folder, lives)?;
    SHIM.write(folder, vec![run_shim(programs)?])
}

impl Layout {
    fn write(&self, folder: &Path, lives: Vec<BTreeSet<String>>) -> Result<()> {
        let mut lines: Vec<_> = self.files.iter().map(ToString::to_string).collect();
        let unseen = self.unseen.iter().map(ToString::to_string).collect();
        let mut seen = BTreeSet::new();
        for functions in iter::once(unseen).chain(lives) {
            let new = functions.difference(&seen);
            // Those that are said to be unlikely have a word before their name.
            lines.extend(new.map(|name| format!("*(.text*.{name})")));
            seen.extend(functions);
        }
        let Self {
            program,
            least_bytes,
            memory,
            ..
        } = self;
        let text = format!(
            "/* Written by `cargo xtask layout`: how {program} is laid out. */\n\
             SECTIONS {{\n.text.run : {{\n{}\n}}\n}} INSERT BEFORE .text;\n\
             ASSERT(SIZEOF(.text.run) > {least_bytes}, \
             \"most functions of {program}.ld are not found: cargo xtask layout\")\n{memory}",
            lines.join("\n")
        );
        let script = folder.join(program).with_added_extension("ld");
        fs::write(&script, text).with_context(|| script.display().to_string())
    }
}

fn run(programs: &Programs, daemon: &str, life: Life) -> Result<BTreeSet<String>> {
    let folder = tempfile::tempdir()?;
    let output = Tool::Callgrind.file(folder.path(), 0);
    let prefix = Tool::Callgrind
        .prefix(&output)
        .map_err(|why| anyhow!(why))?;
    let prefix: Vec<_> = prefix.iter().map(String::as_str).collect();
    let mut setting = Setting {
        daemon: programs.own(daemon),
        ..Setting::under(programs, &prefix)
    };
    if life == Life::Long {
        let python = programs.python.clone();
        setting.tls = Some(python.context("--python names one that can speak TLS")?);
        setting.profiles = MANY;
    }
    let mut world = World::hot(programs, &setting)?;
    // The audit leaves out the next ones, and says so later.
    for _ in 0..3 {
        world
            .client()
            .credentials(PROFILE, Duration::ZERO, Duration::from_secs(30))?;
    }
    if life == Life::Long {
        for index in 1..MANY {
            let client = world.client();
            client.credentials(&profile(index), Duration::ZERO, Duration::from_secs(30))?;
        }
        world.reload(&setting)?;
    }
    world.stop_watched()?;
    functions(&output)
}

/// A start, a hand-out, an end.
fn run_shim(programs: &Programs) -> Result<BTreeSet<String>> {
    let folder = tempfile::tempdir()?;
    let output = Tool::Callgrind.file(folder.path(), 0);
    let prefix = Tool::Callgrind
        .prefix(&output)
        .map_err(|why| anyhow!(why))?;
    let world = World::hot(programs, &Setting::usual(programs))?;
    let mut shim = spawn::shim_under(&prefix, programs, &world);
    let status = shim.stdout(Stdio::null()).status()?;
    ensure!(status.success(), "sts-shim while it is looked at: {status}");
    functions(&output)
}

/// Reads what ran from callgrind's profile, as patterns.
fn functions(profile: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(profile)?;
    Ok(text.lines().filter_map(function).map(pattern).collect())
}

/// Returns the function that a line of callgrind's profile names for the first time.
fn function(line: &str) -> Option<&str> {
    let named = line.strip_prefix("fn=").or(line.strip_prefix("cfn="))?;
    // One that calls itself has an apostrophe and a number as well.
    let name = named.split_once(' ')?.1.split('\'').next()?;
    let usual = |it: char| it.is_ascii_alphanumeric() || "_.$".contains(it);
    let is_one = name.chars().all(usual) && !name.starts_with(|it: char| it.is_ascii_digit());
    is_one.then_some(name)
}

/// Leaves out of a mangled name what the next compiler, or another C library, would have
/// otherwise: the numbers of crates (`Cs`), what points back into the name (`B`), and the number
/// of one that an optimizer has made twice (`.7`).
fn pattern(name: &str) -> String {
    let Some((all, last)) = name.rsplit_once('_').filter(|_| name.starts_with("_R")) else {
        return name.to_owned();
    };
    let kept = |part: &str| {
        let ends = ["Cs", "B"]
            .iter()
            .filter_map(|it| part.find(it).map(|at| at + it.len()));
        ends.min()
            .map_or(part.to_owned(), |end| format!("{}*", &part[..end]))
    };
    let all: Vec<_> = all.split('_').map(kept).collect();
    let last = match last.split_once('.') {
        Some((last, _)) => format!("{last}*"),
        None => last.to_owned(),
    };
    format!("{}_{last}", all.join("_"))
}

#[cfg(test)]
mod tests {
    use super::{function, pattern};

    #[test]
    fn a_function_is_taken_by_its_name_alone() {
        let profile = "fn=(1) _RNvCs1Ab_4stsd4main\ncfn=(2) malloc'2\ncfn=(2)\n\
            fn=(3) 0x0000000000001050\nfn=(4) (below main)\nob=(5) /x\ncalls=1 2\n";
        let functions: Vec<_> = profile.lines().filter_map(function).collect();
        assert_eq!(functions, ["_RNvCs1Ab_4stsd4main", "malloc"]);
    }

    #[test]
    fn a_pattern_has_no_number_of_a_build() {
        for (name, expected) in [
            ("memcpy", "memcpy"),
            ("_RNvCs64PMdFr33Ln_4stsd4main", "_RNvCs*_4stsd4main"),
            (
                "_RNvXs_NtCs1z_5bytesNtB4_5Bytes4drop",
                "_RNvXs_NtCs*_5bytesNtB*_5Bytes4drop",
            ),
            (
                "_RNvXsZ_NtCs2_5alloc9write_str.265",
                "_RNvXsZ_NtCs*_5alloc9write_str*",
            ),
            ("memcpy.part.0", "memcpy.part.0"),
        ] {
            assert_eq!(pattern(name), expected);
        }
    }
}
