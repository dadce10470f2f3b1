//! `execve` of a program with a profile's variables, so that signals, the terminal, the standard
//! streams and the exit code are the program's own.

use std::{ffi::OsString, io, os::unix::process::CommandExt as _, process::Command};

use stsd_codes::Code;
use stsd_document::Printable;

use crate::{
    env_vars::{EnvEdit, EnvEdits},
    error::CliError,
};

/// Exit codes of POSIX shells for a program that is missing, or cannot be executed.
const EXIT_NOT_FOUND: u8 = 127;
const EXIT_CANNOT_START: u8 = 126;

/// Replaces this process by the program. Returns only after a failure.
pub(crate) fn exec(command_line: &[OsString], edits: EnvEdits) -> CliError {
    let (program, arguments) = command_line
        .split_first()
        .expect("clap asks for one at least");
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, edit) in edits {
        match edit {
            EnvEdit::Set(value) => command.env(name, value),
            EnvEdit::Unset => command.env_remove(name),
        };
    }
    let error = command.exec();
    let shown = program.to_string_lossy();
    let shown = Printable(&shown);
    let (exit_code, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            EXIT_NOT_FOUND,
            "install it, or write its path; the variable PATH has the directories of programs",
        ),
        io::ErrorKind::PermissionDenied => (
            EXIT_CANNOT_START,
            "it must be a file that this user may execute: chmod +x, on a file system without noexec",
        ),
        io::ErrorKind::ArgumentListTooLong => (
            EXIT_CANNOT_START,
            "pass fewer or shorter arguments and variables; execve(2) has the limits",
        ),
        _ => (
            EXIT_CANNOT_START,
            "it must be a program of this machine, or a script whose first line names its interpreter",
        ),
    };
    CliError {
        text: format!(
            "{shown} cannot be started: {error} [{}]",
            Code::ProgramNotStarted
        ),
        hint: hint.into(),
        exit_code,
    }
}
