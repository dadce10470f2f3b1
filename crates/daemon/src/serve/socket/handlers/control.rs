//! Requests that are not for credentials: they administer the daemon, or ask for its state.

use std::{os::fd::AsFd as _, sync::atomic::Ordering, time::Duration};

use stsd_metrics::Text;
use stsd_wire::{Conditions, Failure, FailureKind, Metrics, Reply};
use tokio::sync::oneshot;

use crate::{
    access::{Operation, peer::Peer},
    profile::Profile,
    runtime::clock::BootTime,
    serve::{
        call_limit::MIN_REFRESH_INTERVAL,
        context::SupervisorCommand,
        daemon_metrics,
        socket::{client::Client, connection::Connection, failures, wire_convert},
    },
    session::{last_access::LastAccess, profile_entry::ProfileEntry, snapshot::SessionResult},
};

/// Maximum length of the metrics: below that of a frame.
const MAX_METRICS_BYTES: usize = 48 * 1024;

/// Returns the state of the profiles after a name that the client may see.
pub(super) fn status(client: &Client, connection: &Connection, after: &str) -> Reply {
    let is_administrator = client.can_administer();
    let socket = connection.as_fd();
    let is_visible = |profile: &Profile| is_administrator || client.can_read(profile, socket);
    Reply::Status(wire_convert::status(&client.context, after, is_visible))
}

/// Refreshes a profile now, and waits for the attempt.
pub(super) async fn refresh(
    client: &Client,
    connection: &Connection,
    profile: &str,
    patience: Duration,
) -> Reply {
    let (context, socket) = (&client.context, connection.as_fd());
    if !context.access.allows_lease_and_refresh() {
        return Reply::Failure(client.deny_on_lease(Operation::Refresh, socket));
    }
    let entry = match client.find(Operation::Refresh, profile, socket) {
        Ok(entry) => entry,
        Err(failure) => return Reply::Failure(failure),
    };
    let refused = |failure| {
        let failure = client.refuse(Operation::Refresh, Some(profile), failure, socket);
        Reply::Failure(failure)
    };
    if !client.can_administer() {
        match coalesced_refresh(client, &entry) {
            Some(Ok(())) => return Reply::Done,
            Some(Err(failure)) => return refused(failure),
            None => {}
        }
    }
    let rule = client.rule(&entry.profile, socket);
    if !connection.permit().wait_by(rule) {
        return refused(failures::too_many_waiting());
    }
    let result = tokio::select! {
        biased;
        result = context.store.refresh(profile, patience, &*context.clock) => result,
        () = connection.peer_closed() => return Reply::Done,
    };
    match result {
        Ok(()) => Reply::Done,
        Err(SessionResult::Removed) => refused(failures::unknown_profile(profile)),
        Err(other) => refused(failures::result_failure(&other)),
    }
}

/// Returns the result of a refresh that causes no attempt: that of an attempt that has just ended, or
/// a failure if the client's user has caused too many calls. `None` if an attempt is needed or is
/// requested already.
fn coalesced_refresh(client: &Client, entry: &ProfileEntry) -> Option<Result<(), Failure>> {
    let now = client.now();
    let snapshot = entry.snapshot();
    let is_recent = |at: BootTime| now.since(at) < MIN_REFRESH_INTERVAL;
    if let Some(failed) = snapshot.failed.filter(|it| is_recent(it.at)) {
        let result = SessionResult::Failed(failed);
        return Some(Err(failures::result_failure(&result)));
    }
    let session = snapshot.session.map(|session| session.lifetime.began);
    let mut ended = [session, snapshot.confirmed].into_iter().flatten();
    if ended.any(is_recent) {
        return Some(Ok(()));
    }
    let is_requested = entry.forced.load(Ordering::Relaxed);
    if is_requested {
        return None;
    }
    client.take_call().err().map(Err)
}

/// Returns the last accesses to the profiles after a name: an administrator sees all, other
/// clients their own user's.
pub(super) fn audit(client: &Client, connection: &Connection, after: &str) -> Reply {
    let (context, socket) = (&client.context, connection.as_fd());
    if !context.access.allows_lease_and_refresh() {
        return Reply::Failure(client.deny_on_lease(Operation::Audit, socket));
    }
    let is_administrator = client.can_administer();
    let is_visible = |entry: &ProfileEntry, access: &LastAccess| {
        let is_own = access.uid == client.peer.uid;
        is_administrator || (is_own && client.can_read(&entry.profile, socket))
    };
    let mut audit = wire_convert::last_callers(context, after, is_visible);
    if is_administrator {
        wire_convert::add_audit_destinations(&mut audit, context);
    }
    Reply::Audit(audit)
}

/// Returns the conditions of the daemon, to an administrator: their messages quote the configuration.
pub(super) fn conditions(client: &Client, connection: &Connection) -> Reply {
    let (context, socket) = (&client.context, connection.as_fd());
    match &context.status {
        None => Reply::Failure(client.deny_on_lease(Operation::Conditions, socket)),
        Some(_) if !client.can_administer() => Reply::Conditions(Conditions::default()),
        Some(state) => {
            let conditions = wire_convert::conditions(&state.conditions, client.now());
            Reply::Conditions(conditions)
        }
    }
}

/// Returns the metrics that the status has not, to an administrator: they have the names of all sources.
pub(super) fn metrics(client: &Client, connection: &Connection) -> Reply {
    let (context, socket) = (&client.context, connection.as_fd());
    if context.status.is_none() {
        return Reply::Failure(client.deny_on_lease(Operation::Conditions, socket));
    }
    let mut text = Text::default();
    if client.can_administer() {
        daemon_metrics::add_to(&mut text, context, MAX_METRICS_BYTES);
    }
    let text = text.into_string();
    Reply::Metrics(Metrics { text })
}

/// Returns the state of the HTTP endpoint.
pub(super) fn http_listener(client: &Client, connection: &Connection) -> Reply {
    let (context, socket) = (&client.context, connection.as_fd());
    match &context.status {
        None => Reply::Failure(client.deny_on_lease(Operation::Url, socket)),
        Some(_) => Reply::HttpListener(wire_convert::http_listener(&context.http)),
    }
}

/// Returns the URL of a profile.
pub(super) fn url(client: &Client, connection: &Connection, profile: &str) -> Reply {
    let (context, socket) = (&client.context, connection.as_fd());
    if !context.access.allows_lease_and_refresh() {
        return Reply::Failure(client.deny_on_lease(Operation::Url, socket));
    }
    let entry = match client.find(Operation::Url, profile, socket) {
        Ok(entry) => entry,
        Err(failure) => return Reply::Failure(failure),
    };
    // The HTTP endpoint knows only the user of a request.
    let by_http = Peer::of_user(client.peer.uid);
    if !context
        .access
        .can_read(&entry.profile.allow, &by_http, socket)
    {
        let failure = failures::no_rule_for_http();
        return Reply::Failure(client.refuse(Operation::Url, Some(profile), failure, socket));
    }
    let state = context.http.state();
    let Some(address) = state.bound() else {
        let failure = failures::no_http(&state);
        return Reply::Failure(client.refuse(Operation::Url, Some(profile), failure, socket));
    };
    let secret = context.http.secrets().derive(client.peer.uid, profile);
    Reply::Url(wire_convert::url(address, &secret, profile))
}

/// Replaces the secrets in the URLs.
pub(super) async fn rotate_urls(client: &Client, connection: &Connection) -> Reply {
    if !client.can_administer() {
        let reason = failures::no_rotation();
        return deny_admin(client, Operation::RotateUrls, connection, reason);
    }
    let (reply, result) = oneshot::channel();
    let command = SupervisorCommand::RotateUrls(reply);
    let sent = client.context.commands.send(command).await;
    match (sent, result.await) {
        (Ok(()), Ok(Ok(()))) => Reply::Done,
        (Ok(()), Ok(Err(error))) => Reply::Failure(failures::rotation_failed(&error)),
        _ => Reply::Failure(failures::shutting_down()),
    }
}

/// Reloads the configuration.
pub(super) async fn reload(client: &Client, connection: &Connection) -> Reply {
    if !client.can_administer() {
        let reason = failures::no_reload();
        return deny_admin(client, Operation::Reload, connection, reason);
    }
    let (reply, result) = oneshot::channel();
    let command = SupervisorCommand::Reload(reply);
    if client.context.commands.send(command).await.is_err() {
        return Reply::Failure(failures::shutting_down());
    }
    match result.await {
        Ok(Ok(())) => Reply::Done,
        Ok(Err(errors)) => Reply::Failure(failures::reply(
            FailureKind::BadConfig,
            &errors,
            "the running configuration stays in force; correct the file and reload again",
        )),
        Err(_) => Reply::Failure(failures::shutting_down()),
    }
}

fn deny_admin(
    client: &Client,
    operation: Operation,
    connection: &Connection,
    reason: Failure,
) -> Reply {
    Reply::Failure(client.deny_admin(operation, reason, connection.as_fd()))
}
