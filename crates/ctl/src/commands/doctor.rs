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
use context::Patient;
use stsd_client::Client;

use crate::report::{self, Finding, Verdict};

/// Prints every check; returns the worst finding.
pub(crate) fn examine(client: &Client, socket: Option<&Path>, as_json: bool) -> Result<Verdict> {
    let socket = socket::place(socket);
    let status = client.status();
    // By a lease nothing but credentials is had.
    let steers = status.as_ref().is_ok_and(|it| it.pid != 0);
    let patient = Patient {
        is_system: socket == Path::new(socket::SYSTEM),
        socket,
        audit: steers.then(|| client.audit().ok()).flatten(),
        status,
    };
    let mut findings = socket::examine(&patient);
    let by_lease = patient.status.as_ref().is_ok_and(|it| it.pid == 0);
    if !by_lease {
        findings.extend(unit::examine(&patient));
        let mut config = config::examine(&patient);
        let keys = config.table.as_ref();
        let keys = keys.map(|it| key::examine(it, &config.directory));
        let keys = keys.unwrap_or_default();
        if report::worst(&keys) == Verdict::Fault {
            // The same once more, in the daemon's words.
            let is_of_key = |it: &Finding| it.remark.contains(".access_key_file: ");
            config.findings.retain(|it| !is_of_key(it));
        }
        findings.append(&mut config.findings);
        findings.extend(keys);
        if let Some(table) = &config.table {
            findings.extend(endpoint::examine(table, || config.connect()));
        }
    }
    if let Ok(status) = &patient.status {
        findings.extend(profiles::examine(status));
    }
    findings.extend(stale_secrets::examine());
    findings.extend(environment::examine(&patient));
    if as_json {
        return report::tell_program(&findings);
    }
    report::tell(&findings)
}
