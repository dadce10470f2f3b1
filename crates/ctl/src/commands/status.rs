//! `stsctl status`: the daemon's state, once or continuously.

mod document;
mod health;
mod report;
mod scroll;
mod summary;
mod table;
mod watch;

use std::{io, process::ExitCode};

use anyhow::Result;
pub(crate) use report::{StatusReport, fetch};
use stsd_client::Client;

use crate::{
    cli,
    term::{stdout::print_json, style},
};

/// Runs the command.
pub(crate) fn run(client: &Client, typed: &cli::Status) -> Result<ExitCode> {
    if typed.health {
        return health::check(&fetch(client, &[])?, &typed.profiles, typed.json);
    }
    if typed.watch {
        return watch::watch(client, &typed.profiles, typed.json);
    }
    show(&fetch(client, &typed.profiles)?, typed.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a table, or JSON.
pub(crate) fn show(report: &StatusReport, as_json: bool) -> Result<()> {
    if as_json {
        return print_json(&document::json(report));
    }
    let width = style::terminal_width(&io::stdout());
    style::print_lines(&table::lines(report, width), width)
}
