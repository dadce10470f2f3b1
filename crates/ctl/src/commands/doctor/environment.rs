//! Variables that take precedence over stsd. A program started from this shell inherits them.

use std::env;

use super::context::DiagnosticContext;
use crate::{env_vars, report::Finding};

const SUBJECT: &str = "environment";

/// Variables that make tools ignore profiles: the name, the values, and the effect.
const SWITCHES: &[(&str, &[&str], &str)] = &[
    (
        "ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS",
        &["1", "true"],
        "keeps aliyun-cli from running sts-shim and from asking URLs",
    ),
    (
        "ALIBABA_CLOUD_IGNORE_PROFILE",
        &["TRUE"],
        "makes aliyun-cli ignore its profiles",
    ),
    (
        "ALIBABACLOUD_IGNORE_PROFILE",
        &["TRUE"],
        "makes aliyun-cli ignore its profiles",
    ),
    (
        "ALIBABA_CLOUD_CLI_PROFILE_DISABLED",
        &["true"],
        "makes the SDKs ignore aliyun-cli's profiles",
    ),
];

pub(super) fn check(context: &DiagnosticContext) -> Vec<Finding> {
    let text = |name: &str| env::var_os(name).map(|it| it.to_string_lossy().into_owned());
    let set = |name: &str| text(name).filter(|it| !it.is_empty());
    let mut findings = Vec::new();
    // `stsctl exec` and `stsctl env` set some of these together with STSD_PROFILE; STSD_PROFILE
    // alone only selects the profile of sts-shim.
    let ignores = set("ALIBABA_CLOUD_IGNORE_PROFILE").is_some_and(|it| it == "TRUE");
    let is_ours = ignores && set("STSD_PROFILE").is_some();
    let identities: Vec<_> = env_vars::identity_variables()
        .filter(|name| !is_ours && set(name).is_some())
        .collect();
    if !identities.is_empty() {
        let names = identities.join(", ");
        let remark = format!(
            "{names}: SDKs take what is there before any profile, command or URL (the order is \
             variables, OIDC, files, an instance's role, the URL)"
        );
        let fix = format!(
            "unset {}, and take it out of what sets it; or start programs with stsctl exec",
            identities.join(" ")
        );
        findings.push(Finding::warning(SUBJECT, remark, fix));
    }
    for (name, values, what) in SWITCHES {
        let matters = |it: &String| values.contains(&it.as_str());
        if !is_ours && set(name).is_some_and(|it| matters(&it)) {
            findings.push(Finding::warning(
                SUBJECT,
                format!("{name} {what}"),
                format!("unset {name}"),
            ));
        }
    }
    findings.extend(proxy(context, set));
    if findings.is_empty() {
        findings.push(Finding::ok(
            SUBJECT,
            "no variable takes precedence over stsd",
        ));
    }
    findings
}

/// Warns of a proxy for loopback URLs, because it would see the secret in them.
fn proxy(context: &DiagnosticContext, set: impl Fn(&str) -> Option<String>) -> Option<Finding> {
    let status = context.status.as_ref().ok()?;
    status.http_address.as_ref()?;
    let names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let proxy = names.into_iter().find(|name| set(name).is_some())?;
    let list = set("NO_PROXY")
        .or_else(|| set("no_proxy"))
        .unwrap_or_default();
    let mut entries = list.split(',').map(str::trim);
    if entries.any(|it| it == "127.0.0.1" || it == "*") {
        return None;
    }
    let remark = format!(
        "{proxy} is set, and NO_PROXY does not name 127.0.0.1: URLs of stsd, with \
                          their secret, go to the proxy"
    );
    let fix = "export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 beside what is in them, or start \
               programs with stsctl exec";
    Some(Finding::warning(SUBJECT, remark, fix))
}
