//! The manual pages, generated from clap's description so that they match
//! `--help`.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use clap_mangen::Man;

use crate::{help, term::stdout};

/// Prints the page of stsctl, or writes the pages of stsctl and of each subcommand.
pub(crate) fn manual(directory: Option<&Path>) -> Result<()> {
    let mut command = help::command().disable_help_subcommand(true);
    // Commands get their full names, such as `stsctl-get`.
    command.build();
    let Some(directory) = directory else {
        return stdout::write(page(command)?.as_bytes());
    };
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let parts: Vec<_> = command.get_subcommands().cloned().collect();
    for command in parts.into_iter().chain([command]) {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let path = directory.join(format!("{name}.1"));
        fs::write(&path, page(command)?).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Renders one page, with two corrections of clap_mangen's output: the title's arguments without a
/// date, and empty lines between paragraphs.
fn page(command: clap::Command) -> Result<String> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let version = env!("CARGO_PKG_VERSION");
    let title = format!(".TH \"{name}\" 1 \"{}\" \"stsd {version}\"\n", date()?);
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    let page = String::from_utf8(page)?.replace("\n.br\n\n.br\n", "\n.sp\n");
    let lines = page.split_inclusive('\n');
    Ok(lines
        .map(|line| match line.starts_with(".TH ") {
            true => title.as_str(),
            false => line,
        })
        .collect())
}

/// Returns the date in `SOURCE_DATE_EPOCH`, for reproducible packages; otherwise an empty text.
fn date() -> Result<String> {
    let Some(seconds) = env::var("SOURCE_DATE_EPOCH").ok() else {
        return Ok(String::new());
    };
    let moment = seconds.parse().ok();
    let moment = moment.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let moment = moment.context("SOURCE_DATE_EPOCH is not a number of seconds")?;
    Ok(moment.to_string().chars().take(10).collect())
}
