//! Decides how work that does not depend on the machine's load is counted: system calls by
//! strace, user instructions and allocations by callgrind. A program is run under the tool
//! from its start to its end, so that nobody has to be allowed to look into it later; what
//! one more request costs is the difference between two runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::process::find;

/// Functions of the C library that give memory.
const ALLOCATORS: [&str; 5] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
];

/// A program that counts what another one does.
#[derive(Clone, Copy)]
pub(crate) enum Tool {
    Strace,
    Callgrind,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) system_calls: f64,
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

impl Tool {
    /// Returns what a command begins with to be counted, or how to come by the tool.
    pub(crate) fn prefix(self, output: &Path) -> Result<Vec<String>, String> {
        let name = match self {
            Self::Strace => "strace",
            Self::Callgrind => "valgrind",
        };
        let program = find(name).ok_or(format!("no {name}: apt-get install {name}"))?;
        let file = output.display();
        let options: &[String] = match self {
            Self::Strace => &["-f".into(), "-qq".into(), "-o".into(), file.to_string()],
            Self::Callgrind => &[
                "--tool=callgrind".into(),
                "-q".into(),
                "--demangle=no".into(),
                format!("--callgrind-out-file={file}"),
            ],
        };
        let program = [program.display().to_string()];
        Ok(program.iter().chain(options).cloned().collect())
    }

    pub(crate) fn read(self, output: &Path) -> Result<Counts> {
        let text = fs::read_to_string(output).with_context(|| output.display().to_string())?;
        match self {
            Self::Strace => Ok(Counts {
                system_calls: system_calls(&text),
                ..Counts::default()
            }),
            Self::Callgrind => callgrind(&text),
        }
    }

    /// Where it writes to.
    pub(crate) fn file(self, folder: &Path, run: usize) -> PathBuf {
        match self {
            Self::Strace => folder.join(format!("strace-{run}")),
            Self::Callgrind => folder.join(format!("callgrind-{run}")),
        }
    }
}

impl Counts {
    /// What each of so many requests cost, by a run with them and one without.
    pub(crate) fn each(self, without: Self, requests: usize) -> Self {
        let each = |more: f64, less: f64| (more - less) / requests as f64;
        Self {
            system_calls: each(self.system_calls, without.system_calls),
            instructions: each(self.instructions, without.instructions),
            allocations: each(self.allocations, without.allocations),
        }
    }
}

/// Counts lines that are calls: not signals, ends, nor the second half of one that was
/// interrupted by another thread's.
fn system_calls(text: &str) -> f64 {
    let calls = text.lines().filter(|line| {
        let call = line
            .split_once(' ')
            .map_or("", |(_, call)| call.trim_start());
        call.starts_with(|it: char| it.is_ascii_lowercase()) && call.contains('(')
    });
    calls.count() as f64
}

/// Reads callgrind's profile: its total, and the calls of functions that give memory. A
/// name stands in it once, with a number that stands for it afterwards.
fn callgrind(text: &str) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut allocators = Vec::new();
    let mut calls_allocator = false;
    for line in text.lines() {
        if let Some(total) = line
            .strip_prefix("summary: ")
            .or(line.strip_prefix("totals: "))
        {
            counts.instructions = total.trim().parse().context("callgrind's total")?;
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_default();
        match key {
            "fn" | "cfn" => {
                let (number, name) = value.split_once(' ').unwrap_or((value, ""));
                // A second version of a function has an apostrophe and a number.
                let name = name.split('\'').next().unwrap_or_default();
                if ALLOCATORS.contains(&name) {
                    allocators.push(number.to_owned());
                }
                calls_allocator = key == "cfn" && allocators.iter().any(|it| it == number);
            }
            "calls" if calls_allocator => {
                let count = value
                    .split(' ')
                    .next()
                    .and_then(|it| it.parse::<f64>().ok());
                counts.allocations += count.context("callgrind's calls")?;
            }
            _ => {}
        }
    }
    match counts.instructions > 0.0 {
        true => Ok(counts),
        false => bail!("callgrind counted nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::{callgrind, system_calls};

    #[test]
    fn system_calls_are_counted_and_nothing_else() {
        let text = "7 execve(\"/x\", [], 0x0) = 0\n7 brk(NULL) = 0x5\n8 read(3,  <unfinished ...>\n\
            7 write(1, \"a\", 1) = 1\n8 <... read resumed>\"\", 1) = 0\n\
            7 --- SIGTERM {si_signo=SIGTERM} ---\n7 +++ exited with 0 +++\n";
        assert_eq!(system_calls(text), 4.0);
    }

    #[test]
    fn allocations_are_counted_by_name_and_by_number() {
        let text = "fn=(1) main\n0 5\ncfn=(2) malloc\ncalls=3 0\n0 9\ncfn=(3) free\ncalls=8 0\n\
            0 9\nfn=(4) other\n0 1\ncfn=(2)\ncalls=4 0\n0 9\ntotals: 4711\n";
        let counts = callgrind(text).unwrap();
        assert_eq!((counts.instructions, counts.allocations), (4711.0, 7.0));
    }
}
