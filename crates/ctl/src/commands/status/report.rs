//! The status that is shown, as fetched from the daemon.

use std::path::PathBuf;

use anyhow::Result;
use stsd_client::{
    Audit, Client, Condition, Error, FailureKind, HttpListener, ProfileStatus, Status,
};
use stsd_codes::Code;

use crate::{error::CliError, http_listener, similar_name};

/// The status of the daemon and, if the daemon reports it, the last caller of each profile.
pub(crate) struct StatusReport {
    pub(super) status: Status,
    audit: Option<Audit>,
    /// The path of the daemon's socket.
    pub(super) socket: PathBuf,
    /// The sentence that tells the daemon from the other one on this machine, if there is one.
    pub(super) which_of_two: Option<String>,
    /// The state of the HTTP endpoint; `None` at a lease, and for an older daemon.
    pub(super) http: Option<HttpListener>,
    /// The daemon predates the `Audit` request.
    pub(super) lacks_audit: bool,
    /// The conditions of the daemon; `None` for a daemon that predates the request, and for a lease.
    pub(super) conditions: Option<Vec<Condition>>,
}

impl StatusReport {
    /// Returns the last caller of a profile.
    pub(super) fn last_caller(&self, profile: &ProfileStatus) -> Option<&stsd_client::LastCaller> {
        let callers = &self.audit.as_ref()?.callers;
        callers.iter().find(|it| it.profile == profile.name)
    }

    /// Returns the endpoint of STS and its origin, if the daemon reports them.
    pub(super) fn endpoint(&self) -> Option<&str> {
        let mut all = self.conditions.iter().flatten();
        let endpoint = all.find(|it| it.name == "sts_endpoint" && it.holds)?;
        (!endpoint.message.is_empty()).then_some(endpoint.message.as_str())
    }

    /// Returns the conditions that do not hold.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Condition> {
        self.conditions.iter().flatten().filter(|it| !it.holds)
    }
}

/// Fetches the status of the named profiles, or of all.
pub(crate) fn fetch(client: &Client, names: &[String]) -> Result<StatusReport> {
    let mut status = client.status()?;
    let unknown = |name: &&String| status.profiles.iter().all(|it| it.name != **name);
    if let Some(name) = names.iter().find(unknown) {
        return Err(unknown_profile(name, &status).into());
    }
    if !names.is_empty() {
        status.profiles.retain(|it| names.contains(&it.name));
    }
    // The socket of a lease serves only credentials.
    let is_lease = status.pid == 0;
    let audit = (!is_lease).then(|| client.audit());
    let conditions = (!is_lease).then(|| client.conditions().ok()).flatten();
    let http = (!is_lease).then(|| http_listener::fetch(client)).flatten();
    let lacks_audit = matches!(&audit, Some(Err(Error::Refused(failure)))
        if failure.kind == FailureKind::Malformed);
    Ok(StatusReport {
        status,
        audit: audit.and_then(Result::ok),
        socket: client.socket().to_owned(),
        which_of_two: client.which_of_two(),
        http,
        lacks_audit,
        conditions,
    })
}

/// Returns the error of a name that no visible profile has.
pub(super) fn unknown_profile(name: &str, status: &Status) -> CliError {
    let names = status.profiles.iter().map(|it| it.name.as_str());
    let list = "stsctl status lists the profiles; stsctl reload reads a changed configuration";
    CliError {
        text: format!(
            "no profile is named {name:?}, or it is not for you to see [{}]",
            Code::UnknownProfile
        ),
        hint: similar_name::hint(name, names).map_or(list.into(), Into::into),
        exit_code: 4,
    }
}
