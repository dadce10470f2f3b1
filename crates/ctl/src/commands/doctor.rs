//! The diagnosis: each check is a finding of severity ok, warning or fault, with its fix. No check
//! changes anything, and each has a timeout of seconds.

mod clock;
mod conditions;
mod config;
mod context;
mod daemon_user;
mod endpoint;
mod environment;
mod http_listener;
mod key;
mod profiles;
mod sdk;
mod socket;
mod stale_secrets;
mod unit;
mod written_urls;

use std::path::{Path, PathBuf};

use anyhow::Result;
use context::DiagnosticContext;
use daemon_user::DaemonUser;
use stsd_client::{Client, SYSTEM_SOCKET, Status};

use crate::{
    config_file,
    report::{self, Finding, Severity},
    term::stdout::print_line,
};

/// Runs and prints all checks; returns the maximum severity.
pub(crate) fn run(client: &Client, as_json: bool) -> Result<Severity> {
    let status = client.status();
    // The socket of a lease serves only credentials.
    let is_daemon = status.as_ref().is_ok_and(|it| it.pid != 0);
    let is_system = is_system(client);
    let config = config_path(status.as_ref().ok(), is_system);
    let context = DiagnosticContext {
        is_system,
        daemon_user: DaemonUser::find(&status, config.as_deref().ok()),
        config,
        socket: client.socket().to_owned(),
        which_of_two: client.which_of_two(),
        audit: is_daemon.then(|| client.audit().ok()).flatten(),
        status,
    };
    // A daemon that predates the request has none.
    let all = is_daemon.then(|| client.conditions().ok()).flatten();
    let all = all.unwrap_or_default();
    let mut findings = socket::check(&context);
    let is_lease = context.status.as_ref().is_ok_and(|it| it.pid == 0);
    if !is_lease {
        findings.extend(unit::check(&context));
        let mut config = config::check(&context);
        let keys = config.table.as_ref();
        let user = &context.daemon_user;
        let mut keys = keys
            .map(|it| key::check(it, &config.directory, user))
            .unwrap_or_default();
        if report::worst(&keys) == Severity::Fault {
            // stsd --check reports the same problem once more.
            let is_of_key = |it: &Finding| it.remark.contains(".access_key_file: ");
            config.findings.retain(|it| !is_of_key(it));
        }
        if let Some(table) = &config.table {
            keys.extend(unit::check_credentials(&context, table));
        }
        if let (Some(table), Ok(path)) = (&config.table, &context.config)
            && !user.is_caller()
            && user.to_become().is_none()
        {
            keys.extend(key::check_others(table, path, &config.directory, user));
        }
        findings.append(&mut config.findings);
        findings.extend(keys);
        if let Some(endpoints) = config.endpoints(&all) {
            findings.extend(endpoint::check(&endpoints, |it| config.connect_to_sts(it)));
        }
    }
    if is_daemon {
        findings.extend(conditions::check(&all));
        if let Some(listener) = crate::http_listener::fetch(client) {
            findings.extend(http_listener::check(&listener, &all));
        }
    }
    if let Ok(status) = &context.status {
        findings.extend(profiles::check(status));
        if is_daemon {
            findings.extend(written_urls::check(client, status.http_address.as_deref()));
        }
    }
    findings.extend(stale_secrets::check());
    findings.extend(environment::check(&context));
    if as_json {
        return report::print_json(&findings);
    }
    let worst = report::print(&findings)?;
    print_line(&report::summary(&findings))?;
    Ok(worst)
}

/// Returns `true` for a client of the system daemon, on a machine that has one: without any daemon a
/// client ends at that socket as well.
fn is_system(client: &Client) -> bool {
    let socket = Path::new(SYSTEM_SOCKET);
    let has_daemon =
        || socket.parent().is_some_and(Path::exists) || Path::new(config::SYSTEM_CONFIG).exists();
    client.socket() == socket && has_daemon()
}

/// Returns the path of the daemon's configuration.
///
/// # Errors
/// The reason for which the path of this user's configuration is unknown.
fn config_path(status: Option<&Status>, is_system: bool) -> Result<PathBuf, String> {
    let in_force = status.map(|it| it.config_path.as_str());
    match in_force.filter(|it| !it.is_empty()) {
        // A path that is not UTF-8 is shown with replacement characters.
        Some(shown) => match config_file::path() {
            Ok(own) if own.to_string_lossy() == shown => Ok(own),
            _ => Ok(shown.into()),
        },
        None if is_system => Ok(config::SYSTEM_CONFIG.into()),
        None => config_file::path().map_err(|error| format!("{error:#}")),
    }
}
