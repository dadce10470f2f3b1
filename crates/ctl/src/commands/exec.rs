//! Decides how a program is started with a profile: in our own place, so that signals, the
//! terminal, standard streams and the exit code are its own.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use crate::env_vars::{EnvEdit, EnvEdits};

/// What a shell says of a program that it does not find, and of one that it cannot start.
const EXIT_NOT_FOUND: u8 = 127;
const EXIT_CANNOT_START: u8 = 126;

/// Becomes the program. Returns only where that cannot be done, with a shell's exit code.
pub(crate) fn exec(command_line: &[OsString], edits: EnvEdits) -> ExitCode {
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
    let shown = program.display();
    let _ = writeln!(io::stderr(), "stsctl: {shown} cannot be started: {error}");
    ExitCode::from(match error.kind() {
        io::ErrorKind::NotFound => EXIT_NOT_FOUND,
        _ => EXIT_CANNOT_START,
    })
}
