//! The result of a run: seconds by step, on the terminal and in a file that names the commit.

use std::{fs, path::PathBuf, process::Command, thread};

use super::Tier;
use crate::process::{output, root, say, target};

/// Minutes that a run of a tier may take before its last line says where they went. Time alone
/// fails nothing: a shared machine may be slow.
const fn expected_minutes(tier: Tier) -> u32 {
    match tier {
        Tier::Check => 2,
        Tier::Test => 15,
        Tier::Full => 75,
    }
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Passed,
    Failed,
}

/// The steps that have been run so far.
pub(super) struct Report {
    tier: Tier,
    file: PathBuf,
    commit: String,
    rows: Vec<Row>,
    /// Those of the run before, to show how many seconds a change adds.
    previous: Vec<Row>,
}

/// A line of the result file: name, seconds and ending, separated by tabs.
struct Row {
    name: String,
    seconds: f64,
    ending: Ending,
}

impl Report {
    /// Begins a report. With `resume`, the rows of an earlier run of the same commit stay,
    /// but for those of steps that are run again.
    ///
    /// # Errors
    /// When git does not say which commit is checked out.
    pub(super) fn open(tier: Tier, resume: bool) -> Result<Self, String> {
        let name = match tier {
            Tier::Check => "check.txt",
            Tier::Test => "test.txt",
            Tier::Full => "full.txt",
        };
        let file = target().join("gate").join(name);
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut report = Self {
            tier,
            file,
            commit: commit()?,
            rows: Vec::new(),
            previous: rows(&text),
        };
        if resume {
            match parse(&text, &report.commit) {
                Some(rows) => report.rows = rows,
                None => say(&format!(
                    "the earlier steps in {} are not of this commit; only the steps from here \
                     on are reported",
                    report.file.display()
                )),
            }
        }
        Ok(report)
    }

    /// Adds the result of a step and writes the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn add(&mut self, name: &str, seconds: f64, ending: Ending) -> Result<(), String> {
        self.rows.retain(|row| row.name != name);
        self.rows.push(Row {
            name: name.to_owned(),
            seconds,
            ending,
        });
        let folder = self.file.parent().unwrap_or(&self.file);
        let written = fs::create_dir_all(folder);
        let written = written.and_then(|()| fs::write(&self.file, self.text()));
        written.map_err(|error| format!("{}: {error}", self.file.display()))
    }

    /// Prints seconds by step.
    pub(super) fn print_table(&self) {
        say("\nseconds   before  step");
        for row in &self.rows {
            let failed = match row.ending {
                Ending::Passed => "",
                Ending::Failed => "  FAILED",
            };
            let before = self.previous.iter().find(|it| it.name == row.name);
            let before = before.map_or("-".to_owned(), |it| format!("{:.1}", it.seconds));
            say(&format!(
                "{:7.1}  {before:>7}  {}{failed}",
                row.seconds, row.name
            ));
        }
        let cores = thread::available_parallelism().map_or(1, Into::into);
        say(&format!(
            "{:7.1}           in all, on {cores} cores, load average {}; {}",
            self.seconds(),
            load_average(),
            self.file.display()
        ));
    }

    /// Returns the last line of a run that has passed.
    pub(super) fn last_line(&self) -> String {
        let passed = format!("xtask: {} passed, 0 failed", self.rows.len());
        let expected = expected_minutes(self.tier);
        if self.seconds() <= f64::from(expected * 60) {
            return passed;
        }
        let mut slowest: Vec<_> = self.rows.iter().collect();
        slowest.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        let slowest = slowest.iter().take(3);
        let slowest: Vec<_> = slowest
            .map(|row| format!("{} {:.0} s", row.name, row.seconds))
            .collect();
        format!(
            "{passed}\nThis run took more than {expected} minutes, most of them in: {}",
            slowest.join(", ")
        )
    }

    fn seconds(&self) -> f64 {
        self.rows.iter().map(|row| row.seconds).sum()
    }

    fn text(&self) -> String {
        let mut text = format!("commit\t{}\n", self.commit);
        for row in &self.rows {
            let ending = match row.ending {
                Ending::Passed => "passed",
                Ending::Failed => "failed",
            };
            text.push_str(&format!("{}\t{:.1}\t{ending}\n", row.name, row.seconds));
        }
        text
    }
}

/// Returns the rows of a result file, or `None` when it is of another commit.
fn parse(text: &str, commit: &str) -> Option<Vec<Row>> {
    let mut lines = text.lines();
    let is_same = lines.next()? == format!("commit\t{commit}");
    is_same.then(|| rows(text))
}

/// Returns the rows of a result file, of whatever commit. Lines that cannot be read are of
/// another version of this program, and are left out.
fn rows(text: &str) -> Vec<Row> {
    text.lines().skip(1).filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let mut fields = line.split('\t');
    Some(Row {
        name: fields.next()?.to_owned(),
        seconds: fields.next()?.parse().ok()?,
        ending: match fields.next()? {
            "passed" => Ending::Passed,
            "failed" => Ending::Failed,
            _ => return None,
        },
    })
}

/// Returns the commit that is checked out, and whether files differ from it. Without git or
/// outside of a repository, as in an unpacked archive, there is none.
fn commit() -> Result<String, String> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        output(git.args(arguments).current_dir(root()))
    };
    let Ok(commit) = git(&["rev-parse", "HEAD"]) else {
        return Ok("unknown".to_owned());
    };
    let changes = git(&["status", "--porcelain"])?;
    let changed = if changes.trim().is_empty() {
        ""
    } else {
        " with changes"
    };
    Ok(format!("{}{changed}", commit.trim()))
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let numbers: Vec<_> = text.split(' ').take(3).collect();
    numbers.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Ending, Report, Tier, parse};

    fn report(seconds: f64) -> Report {
        Report {
            tier: Tier::Test,
            file: "unused".into(),
            commit: "abc".to_owned(),
            rows: vec![super::Row {
                name: "unit tests".to_owned(),
                seconds,
                ending: Ending::Passed,
            }],
            previous: Vec::new(),
        }
    }

    #[test]
    fn report_is_read_back_for_the_same_commit_only() {
        let text = report(1.5).text();
        let rows = parse(&text, "abc").unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].name, "unit tests");
        assert!(parse(&text, "other").is_none());
        assert!(parse("commit\tabc\nbroken\n", "abc").unwrap().is_empty());
    }

    #[test]
    fn last_line_names_slow_steps_beyond_the_expected_time_alone() {
        assert_eq!(report(10.0).last_line(), "xtask: 1 passed, 0 failed");
        let slow = report(16.0 * 60.0).last_line();
        assert!(slow.contains("15 minutes"), "{slow}");
        assert!(slow.ends_with("unit tests 960 s"), "{slow}");
    }
}
