//! The manual pages: the description and the options from clap, so that they match `--help`, and the
//! sections that clap does not know.

mod roff;
mod sections;

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;

use crate::{
    help::{self, Example, MAIN_EXAMPLES, TASKS, examples},
    term::stdout,
};

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

/// Renders one page.
fn page(command: Command) -> Result<String> {
    let title = command.get_display_name().unwrap_or(command.get_name());
    let version = env!("CARGO_PKG_VERSION");
    let date = date()?;
    let mut page = roff::PREAMBLE.to_owned();
    page += &format!(".TH \"{title}\" 1 \"{date}\" \"stsd {version}\"\n");
    let name = command.get_name().to_owned();
    let is_main = command.has_subcommands();
    page += &from_clap(command)?;
    if is_main {
        page += &commands();
    }
    page += &example_section(if is_main {
        MAIN_EXAMPLES
    } else {
        examples(&name)
    });
    page += &sections::environment(&name);
    page += &sections::files(&name);
    page += &sections::exit_status(&name);
    page += &sections::see_also(&name);
    Ok(page)
}

/// Returns the sections of clap_mangen, with empty lines between paragraphs.
fn from_clap(command: Command) -> Result<String> {
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    // Each section begins with the preamble of the page.
    let page = String::from_utf8(page)?.replace(roff::PREAMBLE, "");
    Ok(page.replace("\n.br\n\n.br\n", "\n.sp\n"))
}

/// Returns the section with the commands, by task.
fn commands() -> String {
    let mut section = roff::section("COMMANDS");
    for (task, commands) in TASKS {
        section += &format!(".SS \"{task}\"\n");
        for (name, summary) in commands.iter().filter(|(name, _)| *name != "help") {
            let page = format!("\\fBstsctl\\-{name}\\fR(1)");
            section += &roff::item(&page, summary);
        }
    }
    section
}

fn example_section(examples: &[Example]) -> String {
    let mut section = roff::section("EXAMPLES");
    for (index, (purpose, line)) in examples.iter().enumerate() {
        if index > 0 {
            section += ".PP\n";
        }
        section += &roff::text(&format!("{purpose}:"));
        section += &format!(".PP\n.RS 4\n.nf\n{}.fi\n.RE\n", roff::text(line));
    }
    section
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
