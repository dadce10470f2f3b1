//! `stsctl log`: the events of the audit, from a file or systemd's journal.

mod event;
mod file;
mod journal;

use std::{io::ErrorKind, path::Path};

use anyhow::Result;
use stsd_client::Client;

use crate::{cli::Log, error::CliError};

/// The daemon's name for its standard output, in place of the path of a file.
const STDOUT: &str = "-";

/// Prints past events and, unless told otherwise, new ones.
pub(crate) fn run(client: &Client, typed: &Log) -> Result<()> {
    if let Some(path) = &typed.file {
        return follow_file(path, typed);
    }
    let audit = client.audit()?;
    let unit = match (audit.user_unit, audit.unit) {
        (Some(unit), _) => Some(journal::JournalUnit::User(unit)),
        (None, unit) => unit.map(journal::JournalUnit::System),
    };
    match (audit.file, unit) {
        (Some(path), _) if path != STDOUT => follow_file(Path::new(&path), typed),
        (_, Some(unit)) if audit.in_journal => journal::follow(&unit, typed),
        (Some(_), _) => Err(on_stdout()),
        (None, _) => Err(no_source()),
    }
}

fn on_stdout() -> anyhow::Error {
    let complaint = CliError {
        text: "the daemon's events go to its standard output, because [audit] file is \"-\""
            .to_owned(),
        hint: "read them where that output is collected, such as kubectl logs or podman logs"
            .into(),
        exit_code: 1,
    };
    complaint.into()
}

fn no_source() -> anyhow::Error {
    let complaint = CliError {
        text: "the daemon's events go to its stderr, or you may not know where".to_owned(),
        hint: "set file below [audit] in the configuration, a path that the daemon may write, and \
               start stsd again, because a reload adds no writable directory; at a machine's \
               daemon: sudo stsctl log"
            .into(),
        exit_code: 1,
    };
    complaint.into()
}

fn follow_file(path: &Path, typed: &Log) -> Result<()> {
    let failed = |error: std::io::Error| {
        let (hint, exit_code) = match error.kind() {
            ErrorKind::PermissionDenied => ("the file is its daemon's alone: sudo stsctl log", 5),
            ErrorKind::NotFound => ("[audit] file in the configuration names it", 2),
            _ => ("look at the file, and at [audit] in the configuration", 1),
        };
        anyhow::Error::from(CliError {
            text: format!("{}: {error}", path.display()),
            hint: hint.into(),
            exit_code,
        })
    };
    let mut file = file::TailedFile::open(path).map_err(failed)?;
    let mut shown: Vec<_> = event::matching(&file.last_lines().map_err(failed)?, typed).collect();
    let rest = shown.split_off(shown.len().saturating_sub(typed.lines));
    for event in &rest {
        event.print(typed.json)?;
    }
    if typed.no_follow {
        return Ok(());
    }
    loop {
        for event in event::matching(&file.wait_for_lines().map_err(failed)?, typed) {
            event.print(typed.json)?;
        }
    }
}
