//! Decides what can be typed.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{secret_store::SecretBackend, tool_name::ToolName};

/// Look after stsd, the local daemon for Alibaba Cloud credentials.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 done, 1 other failure, 2 usage or \
bad configuration, 3 daemon not reachable, 4 unknown profile, 5 not allowed, 6 no valid \
credentials yet, 7 refused by STS, 8 protocol version; doctor: 1 a warning, 9 a fault."
)]
pub(crate) struct Arguments {
    /// The daemon's socket [default: $STSD_SOCKET, else the usual places]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show every profile: remaining life, next renewal and why then, who asked last, last error
    Status(Status),
    /// Follow who got what: the events of the audit
    Log(Log),
    /// Look for what is wrong, and say how to mend it. Exit codes: 0 all is well, 1 something
    /// is to be warned of, 9 something is at fault
    Doctor {
        /// Print JSON: a list of check, verdict (ok, warning, fault), remark and fix
        #[arg(long)]
        json: bool,
    },
    /// Print what is counted, in the text format of Prometheus
    Metrics,
    /// Print a profile's credentials, secrets included, as JSON
    Get {
        /// The profile
        profile: String,
        /// They should live at least this long, such as 20m
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
        min_life: Duration,
        /// How long to wait for them
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
        patience: Duration,
    },
    /// Renew a profile's credentials now
    Refresh {
        /// The profile
        profile: String,
        /// How long to wait for the outcome
        #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_duration)]
        patience: Duration,
    },
    /// Print the URL by which a profile's credentials are had, secret included
    Url {
        /// The profile
        #[arg(required_unless_present = "rotate")]
        profile: Option<String>,
        /// Change the secret in all URLs instead: those printed before open nothing any more
        #[arg(long, conflicts_with = "profile")]
        rotate: bool,
    },
    /// Run a program that finds a profile's credentials in its environment: as a URL, by
    /// which a program that runs for long has new ones by itself
    Exec {
        #[command(flatten)]
        options: ExecOptions,
        /// The program and its arguments, after `--`
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Print what `exec` would set and clear, for a shell: eval "$(stsctl env PROFILE)"
    Env {
        #[command(flatten)]
        options: ExecOptions,
        /// Who reads it
        #[arg(long, value_enum, default_value_t = Shell::Sh)]
        shell: Shell,
    },
    /// Set it all up for one user: ask for region, key and role, or take them by options; put
    /// the key away, write the configuration, start the daemon, and prove it by a hand-out
    Init(Init),
    /// Show what the profiles of aliyun-cli and the SDKs come to here, and with --write take
    /// them over: keys to a keeper, the rest to the configuration. Their file stays as it is
    Import(Import),
    /// Print what a tool has to be told of a profile; without a tool, list the tools
    Setup(Setup),
    /// Open a second socket that answers one profile, narrowed by a policy, for as long as
    /// this command runs: for a container, another host or an agent
    Lease {
        /// The profile
        profile: String,
        /// The session policy that narrows it; not where the profile has its own
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// How long the lease lasts at the most, such as 20m
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Duration,
        /// Where the second socket is put
        #[arg(long, value_name = "PATH")]
        socket: PathBuf,
        /// How long to wait for the first credentials
        #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_duration)]
        patience: Duration,
    },
    /// Make the daemon read its configuration again
    Reload,
    /// Show it all against an emulated cloud, in a private directory, and clean up
    Demo,
    /// Print what makes a shell complete this command
    Completions {
        /// The shell
        shell: CompletionShell,
    },
    /// Print the manual page of this command
    Man {
        /// Write it there instead, and those of all commands
        #[arg(long, value_name = "PATH")]
        directory: Option<PathBuf>,
    },
}

/// Which profiles are shown how.
#[derive(Args)]
pub(crate) struct Status {
    /// Only these profiles
    #[arg(value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Print JSON; with --watch a line whenever something has changed
    #[arg(long)]
    pub json: bool,
    /// Go on: drawn over itself on a terminal, else printed whenever something has changed
    #[arg(long)]
    pub watch: bool,
    /// Print only what is stale, and end with 6 or 7 if anything is: for health checks.
    /// Without a PROFILE those are looked at that somebody has asked for lately
    #[arg(long, conflicts_with = "watch")]
    pub health: bool,
}

/// Which events are shown, and from where.
#[derive(Args)]
pub(crate) struct Log {
    /// Only events of these profiles
    #[arg(value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Print a line of JSON an event
    #[arg(long)]
    pub json: bool,
    /// Read this file of events [default: as the daemon says: its file, or systemd's journal]
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Begin with so many events that are there already
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 10)]
    pub lines: usize,
    /// End after those
    #[arg(long)]
    pub no_follow: bool,
}

/// What a program is given.
#[derive(Args)]
pub(crate) struct ExecOptions {
    /// The profile
    pub profile: String,
    /// Give it the keys themselves, which end when the session does: for programs that take
    /// nothing else
    #[arg(long = "static")]
    pub fixed: bool,
    /// The credentials should live at least this long; a line says if not [default: 20m with --static, else 0s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub min_life: Option<Duration>,
    /// How long to wait for them
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub patience: Duration,
}

impl ExecOptions {
    /// Keys that are never renewed should live for a while; a URL gives what there is.
    pub(crate) fn minimum_lifetime(&self) -> Duration {
        const OF_KEYS: Duration = Duration::from_secs(20 * 60);
        let usual = if self.fixed { OF_KEYS } else { Duration::ZERO };
        self.min_life.unwrap_or(usual)
    }
}

/// Which tool is told what.
#[derive(Args)]
pub(crate) struct Setup {
    /// The tool
    #[arg(value_enum, hide_possible_values = true, requires = "profile")]
    pub tool: Option<ToolName>,
    /// The profile
    pub profile: Option<String>,
    /// What the tool calls the profile [default: as the daemon does]
    #[arg(long)]
    pub name: Option<String>,
    /// Where the buckets are, such as cn-hangzhou
    #[arg(long)]
    pub region: Option<String>,
    /// The program sts-shim [default: the one beside stsctl, else in PATH]
    #[arg(long, value_name = "PATH")]
    pub shim: Option<PathBuf>,
    /// Change the tool's own file: only by this, and with the file before kept beside it
    #[arg(long, conflicts_with = "check", requires = "tool")]
    pub write: bool,
    /// Look whether the tool would have the credentials now; exit code 1 if not
    #[arg(long, requires = "tool")]
    pub check: bool,
    /// Print the list of tools as JSON: tool, about, and whether --write has a file to change
    #[arg(long, conflicts_with = "tool")]
    pub json: bool,
}

/// Which profiles are taken over.
#[derive(Args)]
pub(crate) struct Import {
    /// The file, as aliyun-cli (JSON) or the SDKs (INI) have it [default: ~/.aliyun/config.json,
    /// else ~/.alibabacloud/credentials]
    pub file: Option<PathBuf>,
    /// Who keeps the keys
    #[arg(long = "keeper", value_name = "KEEPER", value_enum, default_value_t = SecretBackend::File)]
    pub secret_backend: SecretBackend,
    /// Write it; without this it is only shown
    #[arg(long)]
    pub write: bool,
}

/// What is set up. The secret is no option: lists of arguments are public.
#[derive(Args)]
pub(crate) struct Init {
    /// Where STS is asked, such as cn-hangzhou
    #[arg(long)]
    pub region: Option<String>,
    /// Who we are
    #[arg(long, value_enum, default_value_t = IdentityKind::AccessKey)]
    pub source: IdentityKind,
    /// The RAM user's AccessKey id
    #[arg(long, value_name = "ID")]
    pub access_key_id: Option<String>,
    /// Read its secret from stdin
    #[arg(long, conflicts_with = "key_file")]
    pub secret_stdin: bool,
    /// Read the key from a file: access_key_id and access_key_secret as stsd's own files have
    /// them, the CSV of the console, or the secret alone. It stays as it is
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The role that programs get: acs:ram::ACCOUNT:role/ROLE
    #[arg(long, value_name = "ARN")]
    pub role_arn: Option<String>,
    /// What programs call it
    #[arg(long, default_value = "default")]
    pub profile: String,
    /// Who keeps the key [default: file]
    #[arg(long = "keeper", value_name = "KEEPER", value_enum)]
    pub secret_backend: Option<SecretBackend>,
    /// Ask this STS instead of a region's
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Write it and start nothing
    #[arg(long)]
    pub no_start: bool,
}

/// Who we are to STS.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdentityKind {
    /// A RAM user, by its AccessKey
    AccessKey,
    /// The role of this ECS instance: there is no key; with --role-arn it becomes that role
    EcsRole,
}

/// Who reads an environment.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// sh, bash, zsh and the like
    Sh,
    Fish,
    /// A file of NAME=VALUE; it can clear nothing
    Dotenv,
}

/// Which shell completes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

/// Reads a time with its unit.
fn parse_duration(text: &str) -> Result<Duration, String> {
    const SHAPE: &str = "a time is a number with a unit: 500ms, 30s, 20m, 1h";
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| SHAPE.to_owned())?;
    Duration::try_from(parsed).map_err(|_| SHAPE.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
