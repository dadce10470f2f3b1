//! Decides what is wrong, and how to mend it: each check is a line with ok, warning or
//! fault, and the fix. Nothing is changed, and nothing is waited for longer than seconds.

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

/// Prints every check; returns the worst finding.
pub(crate) fn run(client: &Client, socket: Option<&Path>, as_json: bool) -> Result<Severity> {
    let socket = socket::socket_path(socket);
    let status = client.status();
    // By a lease nothing but credentials is had.
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
            // The same once more, in the daemon's words.
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
