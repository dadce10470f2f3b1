//! The configuration, checked by `stsd --check`.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use stsd_client::Condition;
use stsd_trust::depends_on_the_process;

use super::{
    context::{DiagnosticContext, split_hint},
    daemon_user::DaemonUser,
    endpoint::Endpoints,
};
use crate::{
    config_file,
    config_file::{CheckResult, Checker},
    config_fragments,
    report::Finding,
};

const SUBJECT: &str = "config";

/// The daemon's condition whose message has the endpoints of STS.
const STS_ENDPOINT: &str = "sts_endpoint";

/// The words of a warning that the check of the endpoint reports as a fault.
const UNUSABLE_PROXY: &str = "names no usable proxy";

/// The configuration of the system daemon.
pub(super) const SYSTEM_CONFIG: &str = "/etc/stsd/config.toml";

/// The findings, and the parsed configuration for the other checks.
pub(super) struct ConfigReport {
    pub(super) findings: Vec<Finding>,
    pub(super) table: Option<toml::Table>,
    /// The output of `stsd --check`, if the configuration is accepted.
    check_output: String,
    /// The directory to which its relative paths refer.
    pub(super) directory: PathBuf,
    /// The path and the text that stsd accepts, and the run that has accepted them.
    accepted: Option<(PathBuf, String, Checker)>,
}

impl ConfigReport {
    /// Returns the endpoints of STS: those of the running daemon, else those of `stsd --check`. `None` if
    /// none is called, or if the daemon reports a problem of its endpoint.
    pub(super) fn endpoints(&self, conditions: &[Condition]) -> Option<Endpoints> {
        let mut all = conditions.iter();
        match all.find(|it| it.name == STS_ENDPOINT) {
            Some(it) if it.holds => Endpoints::of_daemon(&it.message),
            Some(_) => None,
            None => Endpoints::of_check(&self.check_output),
        }
    }

    /// Makes stsd connect to STS, at the `endpoint` of the daemon's environment if the configuration
    /// names none; `None` if stsd rejects the configuration.
    pub(super) fn connect_to_sts(&self, endpoint: Option<&str>) -> Option<CheckResult> {
        let (path, text, checker) = self.accepted.as_ref()?;
        config_file::connect_to_sts(path, text, *checker, endpoint).ok()
    }
}

pub(super) fn check(context: &DiagnosticContext) -> ConfigReport {
    let path = match &context.config {
        Ok(path) => path.clone(),
        Err(error) => return only(Finding::fault(SUBJECT, error, "set HOME")),
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        // Fragments alone are a configuration.
        Err(error)
            if error.kind() == ErrorKind::NotFound
                && !config_fragments::paths(&path).is_empty() =>
        {
            String::new()
        }
        Err(error) => return only(unreadable(&path, &error, context.status.is_ok())),
    };
    let mut findings = Vec::new();
    let mut is_good = false;
    let mut check_output = String::new();
    let user = &context.daemon_user;
    let is_exact = user.is_caller() || user.to_become().is_some();
    let mistake = |line: &str| match line {
        line if !is_exact && depends_on_the_caller(line) => not_judged(line, user),
        line => mistake(line),
    };
    let checker = Checker {
        is_system: context.is_system,
        user: user.to_become(),
    };
    match config_file::check_file(&path, &text, checker) {
        Ok(CheckResult::Accepted(accepted)) => {
            is_good = true;
            findings.push(Finding::ok(SUBJECT, path.display().to_string()));
            let fragments = config_fragments::paths(&path).into_iter();
            let fragments = fragments.map(|it| Finding::ok(SUBJECT, it.display().to_string()));
            findings.extend(fragments);
            check_output = accepted.output;
            let warnings = accepted.warnings.iter();
            let warnings = warnings.filter(|it| !it.contains(UNUSABLE_PROXY));
            findings.extend(warnings.map(|it| warning(it)));
        }
        Ok(CheckResult::Rejected(reason)) => findings.extend(reason.lines().map(mistake)),
        Ok(CheckResult::NotChecked(reason)) => {
            let fix = "install stsd beside stsctl, or run `stsd --check`";
            findings.push(Finding::warning(
                SUBJECT,
                format!("not checked: {reason}"),
                fix,
            ));
        }
        Err(error) => {
            let remark = format!("not checked: {error:#}");
            findings.push(Finding::warning(SUBJECT, remark, "run `stsd --check`"));
        }
    }
    ConfigReport {
        findings,
        table: toml::from_str::<toml::Table>(&text)
            .is_ok()
            .then(|| config_fragments::tables(&path, &text)),
        check_output,
        directory: path.parent().map(Path::to_owned).unwrap_or_default(),
        accepted: is_good.then_some((path, text, checker)),
    }
}

fn only(finding: Finding) -> ConfigReport {
    ConfigReport {
        findings: vec![finding],
        table: None,
        check_output: String::new(),
        directory: PathBuf::new(),
        accepted: None,
    }
}

fn unreadable(path: &Path, error: &io::Error, answers: bool) -> Finding {
    let shown = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied if answers => {
            let remark = format!("{shown} is not for you to read; its owner can check it");
            Finding::ok(SUBJECT, remark)
        }
        ErrorKind::NotFound => {
            let fix = "stsctl init writes one; stsctl import --write takes over what other tools have; \
                       man stsd-config has every key";
            Finding::fault(SUBJECT, format!("there is no {shown}"), fix)
        }
        _ => {
            let fix = "make it a file that the daemon's user can read";
            Finding::fault(SUBJECT, format!("{shown} cannot be read: {error}"), fix)
        }
    }
}

/// Returns `true` if the daemon may judge otherwise than a check that another user runs.
fn depends_on_the_caller(line: &str) -> bool {
    depends_on_the_process(line) || line.contains("Permission denied")
}

/// Returns the finding of a mistake that may be none for the daemon's user.
fn not_judged(line: &str, user: &DaemonUser) -> Finding {
    let (problem, _) = split_hint(line);
    let place = problem.split(": ").next().unwrap_or_default();
    let reason = user.why_not();
    let remark =
        format!("{place}: cannot be judged from here: {reason}; run `stsd --check` as that user");
    Finding::ok(SUBJECT, remark)
}

/// `FILE:LINE: KEY: PROBLEM (hint: HINT)`.
fn warning(line: &str) -> Finding {
    let (problem, hint) = split_hint(line);
    Finding::warning(SUBJECT, problem, hint)
}

/// `FILE:LINE: KEY: PROBLEM (hint: HINT)`.
fn mistake(line: &str) -> Finding {
    let (problem, hint) = split_hint(line);
    let fix = if problem.contains("the variable ") {
        // A reload cannot change the environment of a daemon.
        format!("{hint}; then start stsd again")
    } else if hint.is_empty() {
        "correct it, then stsctl reload".to_owned()
    } else {
        format!("{hint}; then stsctl reload")
    };
    Finding::fault(SUBJECT, problem, fix)
}
