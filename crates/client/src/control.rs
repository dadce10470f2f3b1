//! The replies about the daemon itself that can be longer than a frame, and come in parts.

use std::time::Duration;

use stsd_wire::{Audit, Reply, Request, Status};

use crate::{connection::Connection, error::Error, unexpected};

/// Returns the status, from as many replies as it needs.
pub(crate) fn whole_status(mut connection: Connection, _: Duration) -> Result<Status, Error> {
    let mut status = status_after(&mut connection, String::new())?;
    while status.more {
        let last = status.profiles.last().map(|it| it.name.clone());
        let after = last.unwrap_or_default();
        let part = status_after(&mut connection, after.clone())?;
        // A daemon that repeats the same part would make this loop endless.
        if part.profiles.first().is_none_or(|it| it.name <= after) {
            return Err(Error::Protocol("the status does not get on".to_owned()));
        }
        status.more = part.more;
        status.profiles.extend(part.profiles);
    }
    Ok(status)
}

/// Returns the audit, from as many replies as it needs.
pub(crate) fn whole_audit(mut connection: Connection, _: Duration) -> Result<Audit, Error> {
    let mut audit = audit_after(&mut connection, String::new())?;
    while audit.more {
        let last = audit.callers.last().map(|it| it.profile.clone());
        let after = last.unwrap_or_default();
        let part = audit_after(&mut connection, after.clone())?;
        if part.callers.first().is_some_and(|it| it.profile <= after) {
            return Err(Error::Protocol("the audit does not get on".to_owned()));
        }
        audit.more = part.more && !part.callers.is_empty();
        audit.callers.extend(part.callers);
    }
    Ok(audit)
}

fn status_after(connection: &mut Connection, after: String) -> Result<Status, Error> {
    connection.send(&Request::Status { after })?;
    match connection.receive()? {
        Reply::Status(status) => Ok(status),
        other => Err(unexpected(other)),
    }
}

fn audit_after(connection: &mut Connection, after: String) -> Result<Audit, Error> {
    connection.send(&Request::Audit { after })?;
    match connection.receive()? {
        Reply::Audit(audit) => Ok(audit),
        other => Err(unexpected(other)),
    }
}
