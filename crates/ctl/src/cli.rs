//! The command line: commands, options and help texts.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{secret_store::SecretBackend, tool_name::ToolName};

/// Manage stsd, the local daemon for Alibaba Cloud credentials.
#[derive(Parser)]
#[command(version, about)]
pub(crate) struct Arguments {
    /// The daemon's socket [default: $STSD_SOCKET, else the user's, else the system's]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show every profile: remaining lifetime, next refresh with its reason, last caller, last
    /// error
    Status(Status),
    /// Show the events of the audit: which caller got which credentials
    Log(Log),
    /// Diagnose problems and show how to fix them. Exit codes: 0 no problem, 1 a warning, 9 a
    /// fault
    Doctor {
        /// Print JSON: a list of check, verdict (ok, warning, fault), remark and fix
        #[arg(long)]
        json: bool,
    },
    /// Explain an error code, as in `[no-daemon]`: its cause and the fix; without a code, list all
    Explain(Explain),
    /// Print the counters in the text format of Prometheus
    Metrics,
    /// Print a profile's credentials, secrets included, as JSON
    Get {
        /// The profile
        profile: String,
        /// Minimum lifetime of the credentials, such as 20m
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
        min_life: Duration,
        /// How long to wait for the credentials [default: 10s]
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        patience: Option<Duration>,
    },
    /// Refresh a profile's credentials now
    Refresh {
        /// The profile
        profile: String,
        /// How long to wait for the outcome [default: 15s]
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        patience: Option<Duration>,
    },
    /// Print the URL of a profile's credentials, secret included
    Url {
        /// The profile
        #[arg(required_unless_present = "rotate")]
        profile: Option<String>,
        /// Change the secret in all URLs instead: URLs printed before stop working
        #[arg(long, conflicts_with = "profile")]
        rotate: bool,
    },
    /// Run a program with a profile's credentials in its environment: as a URL, from which a
    /// long-running program gets renewed credentials
    Exec {
        #[command(flatten)]
        options: ExecOptions,
        /// The program and its arguments; `--` before them is optional
        #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Print the variables that `exec` sets and clears, for a shell: eval "$(stsctl env PROFILE)"
    Env {
        #[command(flatten)]
        options: ExecOptions,
        /// The syntax of the output
        #[arg(long, value_enum, default_value_t = Shell::Sh)]
        shell: Shell,
    },
    /// Set up stsd, or add a profile: ask for region, key and role, or take them from options; fetch
    /// the first credentials; then store the key, write the configuration, and start the daemon
    Init(Init),
    /// Show the profiles of aliyun-cli and the SDKs as stsd's configuration, and import them with
    /// --write: keys to a secret store, the rest to the configuration. Their file stays as it is
    Import(Import),
    /// Print the configuration of a tool for a profile; without a tool, list the tools
    Setup(Setup),
    /// Open a second socket that serves one profile, narrowed by a policy, while this command
    /// runs: for a container, another host or an agent
    Lease {
        /// The profile
        profile: String,
        /// The session policy that narrows the profile; not for a profile with its own policy
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Maximum duration of the lease, such as 20m
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Duration,
        /// The path of the second socket
        #[arg(long, value_name = "PATH")]
        socket: PathBuf,
        /// How long to wait for the first credentials [default: 15s]
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        patience: Option<Duration>,
    },
    /// Make the daemon reload its configuration
    Reload,
    /// Run a demonstration against an emulated cloud, in a private directory, and clean up
    Demo,
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: CompletionShell,
    },
    /// Print the manual page of this command
    Man {
        /// Write the pages of this command and of all its subcommands to this directory
        #[arg(long, value_name = "PATH")]
        directory: Option<PathBuf>,
    },
}

/// The options of `explain`.
#[derive(Args)]
pub(crate) struct Explain {
    /// The code, with or without its brackets, or a code of STS such as NoPermission
    pub code: Option<String>,
    /// The language [default: by the locale]
    #[arg(long, value_enum)]
    pub lang: Option<Language>,
}

/// A language of the documents.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Language {
    /// English
    En,
    /// Chinese
    Zh,
}

impl Command {
    /// Returns the profile of a command that takes one.
    pub(crate) fn profile(&self) -> Option<&str> {
        match self {
            Self::Get { profile, .. }
            | Self::Refresh { profile, .. }
            | Self::Lease { profile, .. } => Some(profile),
            Self::Url { profile, .. } => profile.as_deref(),
            Self::Exec { options, .. } | Self::Env { options, .. } => Some(&options.profile),
            Self::Setup(setup) => setup.profile.as_deref(),
            _ => None,
        }
    }

    /// Returns the patience that was typed.
    pub(crate) fn typed_patience(&self) -> Option<Duration> {
        match self {
            Self::Get { patience, .. }
            | Self::Refresh { patience, .. }
            | Self::Lease { patience, .. } => *patience,
            Self::Exec { options, .. } | Self::Env { options, .. } => options.patience,
            _ => None,
        }
    }
}

/// The options of `stsctl status`.
#[derive(Args)]
pub(crate) struct Status {
    /// Only these profiles
    #[arg(value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Print JSON; with --watch one line for each change
    #[arg(long)]
    pub json: bool,
    /// Keep running: redraw on a terminal, otherwise print on change
    #[arg(long)]
    pub watch: bool,
    /// Print only stale profiles, and exit with 6 or 7 if there is one: for health checks.
    /// Without a PROFILE, the profiles in recent use are checked
    #[arg(long, conflicts_with = "watch")]
    pub health: bool,
}

/// The options of `stsctl log`.
#[derive(Args)]
pub(crate) struct Log {
    /// Only events of these profiles
    #[arg(value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Print one line of JSON for each event
    #[arg(long)]
    pub json: bool,
    /// Read the events from this file [default: the daemon's audit file, or systemd's journal]
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Number of past events to show first
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10)]
    pub lines: usize,
    /// Exit after the past events
    #[arg(long)]
    pub no_follow: bool,
}

/// The options of `stsctl exec` and `stsctl env`.
#[derive(Args)]
pub(crate) struct ExecOptions {
    /// The profile
    pub profile: String,
    /// Pass the temporary keys instead of a URL; they expire with the session: for programs that
    /// support nothing else
    #[arg(long = "static")]
    pub fixed: bool,
    /// Minimum lifetime of the credentials, with a warning if it is shorter [default: 20m with
    /// --static, else 0s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub min_life: Option<Duration>,
    /// How long to wait for the credentials [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub patience: Option<Duration>,
}

impl ExecOptions {
    /// Returns the minimum lifetime: longer for keys, because they are never renewed.
    pub(crate) fn minimum_lifetime(&self) -> Duration {
        const OF_KEYS: Duration = Duration::from_secs(20 * 60);
        let usual = if self.fixed { OF_KEYS } else { Duration::ZERO };
        self.min_life.unwrap_or(usual)
    }
}

/// The options of `stsctl setup`.
#[derive(Args)]
pub(crate) struct Setup {
    /// The tool
    #[arg(value_enum, hide_possible_values = true, requires = "profile")]
    pub tool: Option<ToolName>,
    /// The profile
    pub profile: Option<String>,
    /// The name of the profile in the tool [default: the same name]
    #[arg(long)]
    pub name: Option<String>,
    /// The region of the buckets, such as cn-hangzhou
    #[arg(long)]
    pub region: Option<String>,
    /// The path of sts-shim [default: beside stsctl, else in PATH]
    #[arg(long, value_name = "PATH")]
    pub shim: Option<PathBuf>,
    /// Edit the tool's own file, after a backup beside it
    #[arg(long, conflicts_with = "check", requires = "tool")]
    pub write: bool,
    /// Check that the tool would get the credentials now; exit code 1 if not
    #[arg(long, requires = "tool")]
    pub check: bool,
    /// Print the list of tools as JSON: tool, about, and whether --write edits a file
    #[arg(long, conflicts_with = "tool")]
    pub json: bool,
}

/// The options of `stsctl import`.
#[derive(Args)]
pub(crate) struct Import {
    /// A file of aliyun-cli (JSON) or of the SDKs (INI) [default: ~/.aliyun/config.json,
    /// else ~/.alibabacloud/credentials]
    pub file: Option<PathBuf>,
    /// Where to store the AccessKeys
    #[arg(long = "keeper", value_name = "KEEPER", value_enum, default_value_t = SecretBackend::File)]
    pub secret_backend: SecretBackend,
    /// Write the configuration and store the keys; without this option they are only shown
    #[arg(long)]
    pub write: bool,
}

/// The options of `stsctl init`. The secret is no option, because other users can read the
/// arguments of a process.
#[derive(Args)]
pub(crate) struct Init {
    /// Region of STS, such as cn-hangzhou
    #[arg(long)]
    pub region: Option<String>,
    /// Identity used to call STS
    #[arg(long, value_enum, default_value_t = IdentityKind::AccessKey)]
    pub source: IdentityKind,
    /// The AccessKey ID of the RAM user
    #[arg(long, value_name = "ID")]
    pub access_key_id: Option<String>,
    /// Read the AccessKey secret from stdin
    #[arg(long, conflicts_with = "key_file")]
    pub secret_stdin: bool,
    /// Read the key from a file, which is not changed: a key file of stsd (access_key_id and
    /// access_key_secret), the CSV file of the console, or the secret alone
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Use the key of this source of the configuration [default: the only source, if no key is given]
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["access_key_id", "secret_stdin", "key_file"])]
    pub use_source: Option<String>,
    /// The role whose credentials programs get: its name, or acs:ram::ACCOUNT:role/ROLE
    #[arg(long, alias = "role-arn")]
    pub role: Option<String>,
    /// The name of the profile [default: default]
    #[arg(long)]
    pub profile: Option<String>,
    /// Replace a profile of that name
    #[arg(long)]
    pub force: bool,
    /// Where to store the AccessKey [default: file]
    #[arg(long = "keeper", value_name = "KEEPER", value_enum)]
    pub secret_backend: Option<SecretBackend>,
    /// URL of STS, instead of a region's endpoint
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Write the configuration without asking STS and without starting the daemon
    #[arg(long)]
    pub no_start: bool,
}

/// The identity that signs calls to STS.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdentityKind {
    /// A RAM user with its AccessKey
    AccessKey,
    /// The role of this ECS instance, without a key; with --role-arn it assumes that role
    EcsRole,
}

/// The syntax in which the environment is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// sh, bash, zsh and the like
    Sh,
    Fish,
    /// Lines of NAME=VALUE; they cannot clear a variable
    Dotenv,
}

/// A shell with a completion script.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

/// Parses a number with its unit.
fn parse_duration(text: &str) -> Result<Duration, String> {
    const SHAPE: &str = "a time is a number with a unit: 500ms, 30s, 20m, 1h";
    stsd_model::parse_duration(text).ok_or_else(|| SHAPE.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::{Arguments, Command};

    #[test]
    fn options_after_the_program_of_exec_are_its_own() {
        let check = |line: &str, expected: &str| {
            let words = ["stsctl", "exec", "oss-upload"];
            let words = words.into_iter().chain(line.split(' '));
            let parsed = Arguments::try_parse_from(words).ok();
            let Some(Command::Exec { options, command }) = parsed.map(|it| it.command) else {
                assert_eq!(expected, "", "{line}");
                return;
            };
            let command: Vec<_> = command.iter().map(|it| it.to_str().unwrap()).collect();
            assert_eq!(command.join(" "), expected, "{line}");
            let typed = line
                .starts_with("--patience")
                .then(|| Duration::from_secs(5));
            assert_eq!(options.patience, typed, "{line}");
        };
        check("ls -l", "ls -l");
        check("-- ls -l", "ls -l");
        check("ls --patience 9s", "ls --patience 9s");
        check("--patience 5s ls --help", "ls --help");
        check("--patience 5s -- ls -- -x", "ls -- -x");
        check("ls -- -x", "ls -- -x");
        check("-- -x", "-x");
        check("--patienc 5s ls", "");
    }
}
