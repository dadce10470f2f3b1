//! The help of the command line: the commands by task, and the examples of each command. The manual
//! pages show the same.

mod examples;

use std::fmt::Write as _;

use anstyle::Style;
use clap::{Command, CommandFactory as _, builder::StyledStr};
pub(crate) use examples::{Example, MAIN_EXAMPLES, examples};

use crate::cli::Arguments;

/// The style of clap's own headings.
const HEADING: Style = Style::new().bold().underline();
const LITERAL: Style = Style::new().bold();

/// The exit codes of all commands, below the help.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 other failure, 2 usage or bad configuration, 3 daemon \
not reachable, 4 unknown profile, 5 not allowed, 6 no valid credentials yet, 7 refused by STS, 8 \
protocol version; doctor: 1 a warning, 9 a fault.";

/// A task, and its commands with their summaries.
pub(crate) type Task = (&'static str, &'static [(&'static str, &'static str)]);

/// The commands by task. The one that begins the task comes first.
pub(crate) const TASKS: &[Task] = &[
    (
        "Set up",
        &[
            ("init", "Set up stsd, or add a profile"),
            ("import", "Import the profiles of aliyun-cli and the SDKs"),
            ("setup", "Print or write the configuration of a tool"),
            ("doctor", "Diagnose problems and show how to fix them"),
            ("demo", "Run a demonstration with an emulated cloud"),
        ],
    ),
    (
        "Use credentials",
        &[
            ("exec", "Run a program with a profile's credentials"),
            ("get", "Print a profile's credentials as JSON"),
            ("env", "Print the variables of exec for a shell"),
            ("url", "Print the URL of a profile's credentials"),
            ("lease", "Open a second socket with one narrowed profile"),
        ],
    ),
    (
        "Look",
        &[
            ("status", "Show every profile and the state of the daemon"),
            ("log", "Show which caller got which credentials"),
            ("metrics", "Print the counters for Prometheus"),
            ("explain", "Explain an error code: its cause and the fix"),
        ],
    ),
    (
        "Control",
        &[
            ("refresh", "Refresh a profile's credentials now"),
            ("reload", "Make the daemon reload its configuration"),
        ],
    ),
    (
        "Shell and manual",
        &[
            ("completions", "Print the completion script of a shell"),
            ("man", "Print the manual page of stsctl"),
            ("help", "Print the help of a command"),
        ],
    ),
];

/// Returns the command line with its help texts.
pub(crate) fn command() -> Command {
    let command = Arguments::command();
    let names = command.get_subcommands();
    let names: Vec<_> = names.map(|it| it.get_name().to_owned()).collect();
    let after = format!("{}\n\n{EXIT_CODES}", text_of(MAIN_EXAMPLES));
    let command = command
        .help_template(template())
        .after_help(StyledStr::from(after));
    names.into_iter().fold(command, |command, name| {
        let text = StyledStr::from(text_of(examples(&name)));
        command.mut_subcommand(name, |it| it.after_help(text))
    })
}

/// Returns the template of the help of `stsctl`: clap lists the commands in one group only.
fn template() -> StyledStr {
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (task, commands) in TASKS {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{HEADING}{task}:{HEADING:#}\n");
        for (name, summary) in *commands {
            let _ = writeln!(text, "  {LITERAL}{name:11}{LITERAL:#}  {summary}");
        }
    }
    let _ = write!(
        text,
        "\n{HEADING}Options:{HEADING:#}\n{{options}}{{after-help}}"
    );
    StyledStr::from(text)
}

/// Returns the examples as text, each with its purpose above it.
fn text_of(examples: &[Example]) -> String {
    let heading = if examples.len() == 1 {
        "Example"
    } else {
        "Examples"
    };
    let mut text = format!("{HEADING}{heading}:{HEADING:#}");
    for (purpose, line) in examples {
        let _ = write!(text, "\n  {purpose}:\n    {LITERAL}{line}{LITERAL:#}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::error::ErrorKind;

    use super::{MAIN_EXAMPLES, TASKS, command, examples};

    #[test]
    fn command_line_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_visible_subcommand_is_in_one_task() {
        let mut command = command();
        command.build();
        let visible = command.get_subcommands().filter(|it| !it.is_hide_set());
        let visible: BTreeSet<_> = visible.map(|it| it.get_name()).collect();
        let listed = TASKS.iter().flat_map(|(_, commands)| *commands);
        let listed: Vec<_> = listed.map(|(name, _)| *name).collect();
        let unique: BTreeSet<_> = listed.iter().copied().collect();
        assert_eq!(unique.len(), listed.len(), "{listed:?}");
        assert_eq!(unique, visible);
    }

    #[test]
    fn every_example_is_a_valid_command_line() {
        let command = command();
        let all = command.get_subcommands().flat_map(|it| {
            let own = examples(it.get_name());
            assert!(!own.is_empty(), "{}", it.get_name());
            let prefix = format!("stsctl {}", it.get_name());
            let is_own = |line: &str| line.contains(&prefix);
            assert!(own.iter().any(|(_, line)| is_own(line)), "{prefix}");
            own
        });
        for (purpose, line) in all.chain(MAIN_EXAMPLES) {
            assert!(line.len() <= 74 && purpose.len() <= 74, "{line}");
            let start = line.find("stsctl ").expect(line);
            let words = line[start..].split_whitespace();
            // The rest is for the shell.
            let words = words.take_while(|it| !matches!(*it, "|" | ">" | "<"));
            let words = words.map(|it| it.trim_end_matches([')', '"']));
            let parsed = command.clone().try_get_matches_from(words);
            let error = parsed
                .err()
                .filter(|it| it.kind() != ErrorKind::DisplayHelp);
            assert!(error.is_none(), "{line}: {}", error.unwrap());
        }
    }
}
