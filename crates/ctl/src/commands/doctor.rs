//! The diagnosis: each check is a finding of severity ok, warning or fault, with its fix. No check
//! changes anything, and each has a timeout of seconds.

mod clock;
mod config;
mod context;
mod endpoint;
mod environment;
mod key;
mod profiles;
mod sdk;
mod socket;
mod stale_secrets;
mod unit;

use std::path::Path;

use anyhow::Result;
use context::DiagnosticContext;
use stsd_client::Client;

use crate::report::{self, Finding, Severity};

/// Runs and prints all checks; returns the maximum severity.
pub(crate) fn run(client: &Client, socket: Option<&Path>, as_json: bool) -> Result<Severity> {
    let socket = socket::socket_path(socket);
    let status = client.status();
    // The socket of a lease serves only credentials.
    let is_daemon = status.as_ref().is_ok_and(|it| it.pid != 0);
    let context = DiagnosticContext {
        is_system: socket == Path::new(socket::SYSTEM_SOCKET),
        socket,
        audit: is_daemon.then(|| client.audit().ok()).flatten(),
        status,
    };
    let mut findings = socket::check(&context);
    let is_lease = context.status.as_ref().is_ok_and(|it| it.pid == 0);
    if !is_lease {
        findings.extend(unit::check(&context));
        let mut config = config::check(&context);
        let keys = config.table.as_ref();
        let keys = keys.map(|it| key::check(it, &config.directory));
        let keys = keys.unwrap_or_default();
        if report::worst(&keys) == Severity::Fault {
            // stsd --check reports the same problem once more.
            let is_of_key = |it: &Finding| it.remark.contains(".access_key_file: ");
            config.findings.retain(|it| !is_of_key(it));
        }
        findings.append(&mut config.findings);
        findings.extend(keys);
        if let Some(table) = &config.table {
            findings.extend(endpoint::check(table, || config.connect_to_sts()));
        }
    }
    if let Ok(status) = &context.status {
        findings.extend(profiles::check(status));
    }
    findings.extend(stale_secrets::check());
    findings.extend(environment::check(&context));
    if as_json {
        return report::print_json(&findings);
    }
    report::print(&findings)
}
