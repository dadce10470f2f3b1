//! The tools that count independently of the machine's load: strace counts system calls, and
//! callgrind counts user instructions and allocations. The tool starts the program, because
//! attaching to a running process needs a privilege.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{callgrind, process::find_program, strace};

/// A tool that counts the work of a program.
#[derive(Clone, Copy)]
pub(crate) enum Tool {
    Strace,
    Callgrind,
}

/// The counts of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) system_calls: f64,
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

impl Tool {
    /// Returns the command line of the tool, or the text that says how to install the tool.
    pub(crate) fn prefix(self, output: &Path) -> Result<Vec<String>, String> {
        let name = match self {
            Self::Strace => "strace",
            Self::Callgrind => "valgrind",
        };
        let program = find_program(name).ok_or(format!("no {name}: apt-get install {name}"))?;
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
                system_calls: strace::system_calls(&text),
                ..Counts::default()
            }),
            Self::Callgrind => {
                let profile = callgrind::parse(&text)?;
                Ok(Counts {
                    instructions: profile.instructions,
                    allocations: profile.allocations,
                    ..Counts::default()
                })
            }
        }
    }

    /// Returns the path of the tool's output.
    pub(crate) fn file(self, folder: &Path, run: usize) -> PathBuf {
        match self {
            Self::Strace => folder.join(format!("strace-{run}")),
            Self::Callgrind => folder.join(format!("callgrind-{run}")),
        }
    }
}

impl Counts {
    /// Returns the counts of one request, from a run with and a run without `requests` more.
    pub(crate) fn per_request(self, without: Self, requests: usize) -> Self {
        let difference = |more: f64, less: f64| (more - less) / requests as f64;
        Self {
            system_calls: difference(self.system_calls, without.system_calls),
            instructions: difference(self.instructions, without.instructions),
            allocations: difference(self.allocations, without.allocations),
        }
    }
}
