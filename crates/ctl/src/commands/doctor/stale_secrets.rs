//! The files of aliyun-cli and the SDKs: secrets that remain in them, and commands that some SDKs
//! cannot start.

use std::path::Path;

use stsctl::{
    aliyun_profiles,
    aliyun_profiles::{NotImported, StaleSecrets, files},
};

use super::sdk::{self, Installed};
use crate::report::Finding;

pub(super) fn check() -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in files::default_paths() {
        // Missing and unreadable files are no problem of stsd.
        let Ok(read) = files::read(&path) else {
            continue;
        };
        if aliyun_profiles::has_unreadable_mark(&read.bytes) {
            let shown = path.display().to_string();
            let problem = aliyun_profiles::MARK_PROBLEM;
            findings.push(Finding::warning(shown, problem, "save it without the mark"));
        }
        match aliyun_profiles::stale_secrets(&read.bytes) {
            Ok(stale) => findings.extend(of(&path, &stale, read.mode)),
            Err(error) => {
                let fix = "correct it, or move it away";
                findings.push(Finding::warning(
                    path.display().to_string(),
                    error.to_string(),
                    fix,
                ));
            }
        }
    }
    findings.extend(ossutil());
    findings
}

/// Returns the findings about the file of ossutil, the second place of AccessKeys in clear text.
fn ossutil() -> Vec<Finding> {
    let Some((path, file)) =
        files::ossutil_path().and_then(|path| Some((path.clone(), files::read(&path).ok()?)))
    else {
        return Vec::new();
    };
    let sections = aliyun_profiles::ossutil_keys(&file.bytes).unwrap_or_default();
    if sections.is_empty() {
        return Vec::new();
    }
    let shown = path.display().to_string();
    let mut findings = Vec::new();
    if file.mode & 0o077 != 0 {
        findings.push(readable(&shown, file.mode));
    }
    let remark = format!(
        "AccessKeys, which do not end, stand in it, in clear text: {}",
        sections.join(", ")
    );
    let fix = "give the AccessKey to stsctl init, take it out there, and run stsctl setup ossutil1 \
               PROFILE --write";
    findings.push(Finding::warning(&shown, remark, fix));
    findings
}

/// Returns the finding for a file with secrets that others can read.
fn readable(shown: &str, mode: u32) -> Finding {
    let remark = format!("mode {mode:04o}: others can read the secrets in it");
    let fix = format!("chmod 0600 {shown}, and consider them seen");
    Finding::fault(shown, remark, fix)
}

fn of(path: &Path, stale: &StaleSecrets, mode: u32) -> Vec<Finding> {
    let shown = path.display().to_string();
    let mut findings = Vec::new();
    if stale.has_secret && mode & 0o077 != 0 {
        findings.push(readable(&shown, mode));
    }
    if !stale.written_back.is_empty() {
        let remark = format!(
            "an SDK or aliyun-cli has written a session's secrets back into it, in clear text: {}",
            stale.written_back.join(", ")
        );
        let fix = "take access_key_id, access_key_secret and sts_token out of these profiles, and \
                   have programs ask by a URL (stsctl setup), after which nothing is written";
        findings.push(Finding::warning(&shown, remark, fix));
    }
    if !stale.long_lived.is_empty() {
        let remark = format!(
            "AccessKeys, which do not end, stand in it, in clear text: {}",
            stale.long_lived.join(", ")
        );
        let fix = "take them over with stsctl import --write, then delete these profiles, and \
                   have a new AccessKey made";
        findings.push(Finding::warning(&shown, remark, fix));
    }
    for NotImported { label, reason } in &stale.unimportable {
        let remark =
            format!("an AccessKey, which does not end, stands in it, in clear text: {label}");
        let fix = format!("stsctl import does not take {label} ({reason}): correct or delete it");
        findings.push(Finding::warning(&shown, remark, fix));
    }
    for NotImported { label, reason } in &stale.unusable {
        let remark = format!("a secret that stsd cannot use stands in it, in clear text: {label}");
        findings.push(Finding::warning(&shown, remark, reason));
    }
    if !stale.logins.is_empty() {
        let logins = stale.logins.join(", ");
        let remark = format!("logins of aliyun-cli stand in it, which end by themselves: {logins}");
        findings.push(Finding::ok(&shown, remark));
    }
    if !stale.quoted.is_empty() {
        findings.push(quoted(&shown, &stale.quoted.join(", "), &sdk::installed()));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(&shown, "nothing secret has been left in it"));
    }
    findings
}

/// Returns the finding for commands with quotes: by installed versions, else by known ones.
fn quoted(shown: &str, profiles: &str, installed: &[Installed]) -> Finding {
    let named = |splits| {
        let them = installed.iter().filter(|it| it.splits_at_spaces == splits);
        let names: Vec<_> = them.map(|it| it.name.as_str()).collect();
        names.join(", ")
    };
    let (bad, good) = (named(true), named(false));
    let fix = "name sts-shim by a path without spaces and quotes";
    if !bad.is_empty() {
        let remark =
            format!("process_command is split at each space, quotes or not, by {bad}: {profiles}");
        return Finding::warning(shown, remark, format!("{fix}, or bring that up to date"));
    }
    let good = match good.as_str() {
        "" => String::new(),
        good => format!("; not by {good}"),
    };
    let remark = format!(
        "process_command is split at each space, quotes or not, by older versions (aliyun-cli \
         before 3.4.9, credentials-go to 1.4.12, credentials for Node before 2.4.7){good}: \
         {profiles}"
    );
    Finding::warning(shown, remark, format!("{fix}, or bring these up to date"))
}
