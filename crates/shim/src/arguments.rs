//! The command line, parsed into an action.

use std::{path::PathBuf, time::Duration};

use lexopt::prelude::*;
use stsd_document::Format;

pub(crate) const HELP: &str = "\
Prints the current credentials of a profile as one JSON document.

Usage: sts-shim [OPTIONS] [PROFILE]

PROFILE defaults to $STSD_PROFILE, else to `default`.

Options:
  --format FORMAT   union (default), aliyun, oss, aws, uri, env, dotenv or json
  --min-life TIME   credentials should live at least this long (default 0s); the best there
                    are by then, if none do
  --patience TIME   how long to wait for them at the most (default 10s)
  --socket PATH     the daemon's socket, instead of $STSD_SOCKET or the usual places
  --help, --version

TIME is a number with a unit: 500ms, 30s, 20m, 1h.

Exit codes: 0 done, 1 the document cannot be written, 2 usage, 3 daemon not reachable,
4 unknown profile, 5 not allowed, 6 no valid credentials yet, 7 refused by STS, 8 protocol
version, 70 bug.
";

/// The requested action.
pub(crate) enum Action {
    Help,
    Version,
    Print(Options),
}

pub(crate) struct Options {
    pub profile: Option<String>,
    pub format: Format,
    pub minimum_life: Duration,
    /// `None` if the default applies.
    pub patience: Option<Duration>,
    pub socket: Option<PathBuf>,
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Action, lexopt::Error> {
    let mut options = Options {
        profile: None,
        format: Format::default(),
        minimum_life: Duration::ZERO,
        patience: None,
        socket: None,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Action::Help),
            Long("version") | Short('V') => return Ok(Action::Version),
            Long("format") => {
                options.format = parser.value()?.parse_with(|name| {
                    Format::from_name(name).ok_or(format!("the formats are {}", Format::NAMES))
                })?;
            }
            Long("min-life") => options.minimum_life = parser.value()?.parse_with(duration)?,
            Long("patience") => options.patience = Some(parser.value()?.parse_with(duration)?),
            Long("socket") => options.socket = Some(parser.value()?.into()),
            Value(profile) if options.profile.is_none() => {
                options.profile = Some(profile.string()?);
            }
            _ => return Err(argument.unexpected()),
        }
    }
    if options.patience.is_some_and(|it| it.is_zero()) {
        return Err("--patience must be above zero".into());
    }
    Ok(Action::Print(options))
}

/// Returns the message for a command line that is wrong. It quotes nothing of the command line,
/// which may hold a secret.
pub(crate) fn why(error: lexopt::Error) -> String {
    match error {
        lexopt::Error::MissingValue { option } => {
            format!("{} needs a value", option.unwrap_or_default())
        }
        lexopt::Error::UnexpectedOption(_) => "there is no such option".to_owned(),
        lexopt::Error::UnexpectedArgument(_) => "it takes one profile".to_owned(),
        lexopt::Error::UnexpectedValue { option, .. } => format!("{option} takes no value"),
        lexopt::Error::ParsingFailed { error, .. } | lexopt::Error::Custom(error) => {
            error.to_string()
        }
        lexopt::Error::NonUnicodeValue(_) => "what was typed is not UTF-8".to_owned(),
    }
}

/// Parses `500ms`, `30s`, `20m` or `1h`.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const SHAPE: &str = "a time is a number with a unit: 500ms, 30s, 20m, 1h";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| SHAPE)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(SHAPE),
    };
    let total = number
        .checked_mul(millis)
        .filter(|total| *total <= 30 * 86_400_000);
    Ok(Duration::from_millis(
        total.ok_or("a time is at most 30 days")?,
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

    #[test]
    fn times_carry_their_unit() {
        let check = |text, millis: Option<u64>| {
            assert_eq!(
                duration(text).ok(),
                millis.map(Duration::from_millis),
                "{text}"
            );
        };
        check("500ms", Some(500));
        check("30s", Some(30_000));
        check("20m", Some(1_200_000));
        check("1h", Some(3_600_000));
        check("0s", Some(0));
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "99999999999999999999s",
            "9999h",
        ] {
            check(text, None);
        }
    }
}
