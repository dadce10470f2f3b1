//! Decides what of the daemon's state is shown, once or for as long as somebody looks.

mod document;
mod health;
mod report;
mod table;
mod watch;

use std::{io, process::ExitCode};

use anyhow::Result;
pub(crate) use report::{Seen, look};
use stsd_client::Client;

use crate::{
    cli,
    term::{stdout::say, style},
};

/// Shows what was asked for.
pub(crate) fn run(client: &Client, typed: &cli::Status) -> Result<ExitCode> {
    if typed.health {
        return health::check(&look(client, &[])?, &typed.profiles, typed.json);
    }
    if typed.watch {
        return watch::watch(client, &typed.profiles, typed.json);
    }
    show(&look(client, &typed.profiles)?, typed.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a table, or JSON.
pub(crate) fn show(seen: &Seen, as_json: bool) -> Result<()> {
    if as_json {
        return say(&serde_json::to_string_pretty(&document::of(seen))?);
    }
    let width = style::width(&io::stdout());
    style::print(&table::of(seen, width), width)
}
