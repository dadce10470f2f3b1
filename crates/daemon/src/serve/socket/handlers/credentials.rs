//! Requests for credentials: answered at once if memory has a session, else as soon as the profile
//! has one. A pending request holds no task and no thread, only a registered waker.

use std::{
    io,
    os::fd::AsFd as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use stsd_wire::Reply;

use crate::{
    access::Operation,
    audit::ServedLifetime,
    runtime::clock::BootTime,
    serve::socket::{
        client::Client,
        connection::{Connection, connection_error},
        failures,
        handlers::{MAX_PATIENCE, ReadOutcome},
        wire_convert,
    },
    session::{
        profile_entry::ProfileEntry,
        snapshot::{Session, SessionResult},
    },
};

/// The parameters of a request.
#[derive(Clone, Copy)]
pub(super) struct CredentialsRequest<'a> {
    pub(super) profile: &'a str,
    /// The minimum lifetime of the session.
    pub(super) minimum_life: Duration,
    /// The caller's timeout, from `began` on.
    pub(super) patience: Duration,
    /// The beginning of a request that has waited for a profile that a reload has changed; `None` for a
    /// new request.
    pub(super) began: Option<BootTime>,
}

/// A request that memory could not answer.
pub(super) struct PendingRequest {
    minimum_life: Duration,
    patience: Duration,
    began: BootTime,
    entry: Arc<ProfileEntry>,
    result: SessionFuture,
    waker: Waker,
}

/// The times of a request that is answered with a session.
#[derive(Clone, Copy)]
struct RequestTimes {
    began: BootTime,
    now: BootTime,
}

type SessionFuture = Pin<Box<dyn Future<Output = SessionResult> + Send + Sync>>;

/// Answers a request: one lookup, and one write of bytes that are encoded already. Without a
/// session the request becomes `pending`.
pub(super) fn serve(
    client: &Client,
    connection: &mut Connection,
    pending: &mut Option<Box<PendingRequest>>,
    request: CredentialsRequest<'_>,
    waker: impl FnOnce() -> Waker,
) -> io::Result<ReadOutcome> {
    const OPERATION: Operation = Operation::Credentials;
    let now = client.now();
    let began = request.began.unwrap_or(now);
    let Some(entry) = client.context.store.find(request.profile) else {
        let socket = connection.as_fd();
        let failure = client.unknown_profile_failure(OPERATION, request.profile, socket);
        return ReadOutcome::of_reply(connection, &Reply::Failure(failure));
    };
    if !client.can_read(&entry.profile, connection.as_fd()) {
        let failure = client.deny(OPERATION, request.profile, connection.as_fd());
        return ReadOutcome::of_reply(connection, &Reply::Failure(failure));
    }
    if let Some(session) = entry.current(request.minimum_life, now) {
        return reply_session(
            client,
            connection,
            &entry,
            session,
            RequestTimes { began, now },
        );
    }
    let rule = client.rule(&entry.profile, connection.as_fd());
    if !connection.permit().wait_by(rule) {
        let failure = failures::too_many_waiting();
        let socket = connection.as_fd();
        let failure = client.refuse(OPERATION, Some(request.profile), failure, socket);
        return ReadOutcome::of_reply(connection, &Reply::Failure(failure));
    }
    let patience = request.patience.min(MAX_PATIENCE);
    let left = patience.saturating_sub(now.since(began));
    let waiting = Box::new(PendingRequest {
        minimum_life: request.minimum_life,
        patience,
        began,
        result: session_future(client, &entry, request.minimum_life, left),
        entry,
        waker: waker(),
    });
    poll_pending(client, connection, pending, waiting)
}

/// Polls the result of a pending request. A caller that has closed does not count as waiting any
/// more.
pub(super) fn poll_pending(
    client: &Client,
    connection: &mut Connection,
    pending: &mut Option<Box<PendingRequest>>,
    mut request: Box<PendingRequest>,
) -> io::Result<ReadOutcome> {
    let (entry, began) = (&request.entry, request.began);
    if connection.is_closed() {
        // An access counts even if the caller has closed before the reply.
        client.record_access(Operation::Credentials, entry, client.now());
        return Ok(ReadOutcome::Eof);
    }
    let mut context = Context::from_waker(&request.waker);
    match request.result.as_mut().poll(&mut context) {
        Poll::Pending => {
            *pending = Some(request);
            Ok(ReadOutcome::Pending)
        }
        Poll::Ready(SessionResult::Ready(session)) => {
            let now = client.now();
            reply_session(
                client,
                connection,
                entry,
                session,
                RequestTimes { began, now },
            )
        }
        Poll::Ready(SessionResult::Short(session)) => {
            reply_short(client, connection, entry, &session, began)
        }
        // The profile has changed: the request goes on with the new one.
        Poll::Ready(SessionResult::Removed) => {
            let request_again = CredentialsRequest {
                profile: entry.profile.name.as_str(),
                minimum_life: request.minimum_life,
                patience: request.patience,
                began: Some(began),
            };
            serve(client, connection, pending, request_again, || {
                request.waker.clone()
            })
        }
        Poll::Ready(other) => {
            client.record_access(Operation::Credentials, entry, client.now());
            let (name, socket) = (entry.profile.name.as_str(), connection.as_fd());
            let failure = failures::result_failure(&other);
            let failure = client.refuse(Operation::Credentials, Some(name), failure, socket);
            ReadOutcome::of_reply(connection, &Reply::Failure(failure))
        }
    }
}

fn session_future(
    client: &Client,
    entry: &Arc<ProfileEntry>,
    minimum_life: Duration,
    patience: Duration,
) -> SessionFuture {
    let (entry, clock) = (Arc::clone(entry), Arc::clone(&client.context.clock));
    Box::pin(async move { entry.wait_for(minimum_life, patience, &*clock).await })
}

fn reply_session(
    client: &Client,
    connection: &mut Connection,
    entry: &ProfileEntry,
    session: Arc<Session>,
    RequestTimes { began, now }: RequestTimes,
) -> io::Result<ReadOutcome> {
    const OPERATION: Operation = Operation::Credentials;
    const LIFETIME: ServedLifetime = ServedLifetime::Sufficient;
    client.record_served(
        OPERATION,
        entry,
        &session,
        LIFETIME,
        now,
        connection.as_fd(),
    );
    let rest = connection.try_write_session(session)?;
    client.observe_served(began);
    Ok(ReadOutcome::of_write(rest))
}

fn reply_short(
    client: &Client,
    connection: &mut Connection,
    entry: &ProfileEntry,
    session: &Session,
    began: BootTime,
) -> io::Result<ReadOutcome> {
    const OPERATION: Operation = Operation::Credentials;
    const LIFETIME: ServedLifetime = ServedLifetime::Short;
    let (now, socket) = (client.now(), connection.as_fd());
    client.record_served(OPERATION, entry, session, LIFETIME, now, socket);
    let reply = Reply::ShortCredentials(wire_convert::credentials(session));
    let outcome = ReadOutcome::of_reply(connection, &reply)?;
    client.observe_served(began);
    Ok(outcome)
}

/// Sends the session now and after each renewal, until the peer closes.
pub(super) async fn watch(
    client: &Client,
    connection: &mut Connection,
    profile: &str,
) -> io::Result<()> {
    const OPERATION: Operation = Operation::Watch;
    const LIFETIME: ServedLifetime = ServedLifetime::Sufficient;
    const UNEXPECTED_INPUT: &str = "the client has sent a request on a connection that watches";
    if connection.has_buffered_input() {
        return Err(connection_error(UNEXPECTED_INPUT));
    }
    let clock = &client.context.clock;
    let mut entry = match client.find(OPERATION, profile, connection.as_fd()) {
        Ok(entry) => entry,
        Err(failure) => return connection.reply(&Reply::Failure(failure)).await,
    };
    let rule = client.rule(&entry.profile, connection.as_fd());
    if !connection.permit().watch_by(rule) {
        let failure = failures::too_many_waiting();
        let failure = client.refuse(OPERATION, Some(profile), failure, connection.as_fd());
        return connection.reply(&Reply::Failure(failure)).await;
    }
    let mut changes = entry.subscribe();
    let mut sent: Option<Arc<Session>> = None;
    loop {
        let snapshot = changes.latest().clone();
        if snapshot.removed {
            match client.find(OPERATION, profile, connection.as_fd()) {
                Ok(changed) => entry = changed,
                Err(failure) => {
                    connection.reply(&Reply::Failure(failure)).await?;
                    let reason = "the watched profile was removed, or the client may not read it";
                    return Err(connection_error(reason));
                }
            }
            changes = entry.subscribe();
            continue;
        }
        let now = clock.boot();
        let session = entry.current(Duration::ZERO, now);
        if session.is_none() {
            entry.wake.notify_one();
        }
        if let Some(session) = session.filter(|new| !is_same(sent.as_ref(), new)) {
            let socket = connection.as_fd();
            client.record_served(OPERATION, &entry, &session, LIFETIME, now, socket);
            connection.write_session(&session).await?;
            sent = Some(session);
        }
        tokio::select! {
            () = changes.changed() => {}
            input = connection.readable() => {
                input?;
                return Err(connection_error(UNEXPECTED_INPUT));
            }
        }
    }
}

/// Returns `true` if the session was sent already.
fn is_same(sent: Option<&Arc<Session>>, new: &Arc<Session>) -> bool {
    sent.is_some_and(|sent| Arc::ptr_eq(sent, new))
}
