//! The routes of the HTTP endpoint, and its responses.

use std::{os::fd::BorrowedFd, time::Duration};

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::AUTHORIZATION,
    http::{HeaderValue, header},
};
use stsd_codes::Code;
use stsd_document::Printable;

use super::{
    body,
    body::ErrorBody,
    request_filter,
    request_filter::{Rejection, Transport},
};
use crate::{
    access::{Operation, Refusal, peer::Peer},
    audit::{AuditCaller, QuotaCell, ServedLifetime},
    profile::{Cause, Profile},
    runtime::clock::BootTime,
    serve::context::ServerContext,
    session::snapshot::SessionResult,
};

/// Maximum wait for a profile without a session: the timeout of the SDKs for a credentials URI.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum wait for a longer session than the available one: less than the shortest timeout of an
/// SDK, one second.
const UPGRADE_WAIT: Duration = Duration::from_millis(700);

/// Largest refresh window of an SDK, that of ossfs. An SDK whose session has less left sends a
/// request at each call.
const MAX_SDK_WINDOW: Duration = Duration::from_secs(20 * 60);

/// The first segment of a path without the secret: the secret is in a header, or is not needed.
const NO_SECRET: &str = "credentials";

/// The path of the role in the instance metadata, below the path of a profile.
const METADATA: &str = "latest/meta-data/ram/security-credentials/";

/// The path of the token of instance metadata version 2, below the path of a profile.
const METADATA_TOKEN: &str = "latest/api/token";

/// The caller and the connection of a request.
pub(super) struct RequestContext<'a> {
    pub(super) server: &'a ServerContext,
    pub(super) peer: &'a Peer,
    pub(super) socket: BorrowedFd<'a>,
    pub(super) quota: QuotaCell,
    pub(super) transport: Transport,
}

/// A response with a whole body.
pub(super) type FullResponse = Response<Full<Bytes>>;

/// The resource of a path.
enum Route<'a> {
    /// The credentials of a profile.
    Credentials(&'a str),
    /// The list of role names of the instance metadata: the name of the profile.
    Role(&'a str),
    /// The token of instance metadata version 2.
    Token,
}

impl RequestContext<'_> {
    /// Responds to a request.
    ///
    /// # Errors
    /// The reason for which the request is rejected.
    pub(super) async fn respond(
        &self,
        request: &Request<Incoming>,
    ) -> Result<FullResponse, Rejection> {
        request_filter::check(request.uri(), request.headers(), self.transport)?;
        if !request.body().is_end_stream() {
            return Err(Rejection::Body);
        }
        let path = request.uri().path();
        let (key, rest) = split(path).ok_or(Rejection::Path)?;
        if !self.verify(key, profile_in(rest), request.headers()) {
            return Err(Rejection::Secret);
        }
        let route = route(rest).ok_or(Rejection::Path)?;
        let method = match route {
            Route::Token => Method::PUT,
            _ => Method::GET,
        };
        if request.method() != method {
            return Err(Rejection::Method);
        }
        Ok(match route {
            Route::Credentials(profile) => self.credentials(profile).await,
            // Only a request for credentials reports whether the profile exists.
            Route::Role(profile) => text(profile),
            Route::Token => text("unused"),
        })
    }

    /// Returns `true` if the path or the `Authorization` header has the secret of this user and
    /// this profile. A path without the secret needs none on the Unix socket.
    fn verify(&self, key: &str, profile: &str, headers: &HeaderMap) -> bool {
        let secrets = self.server.http.secrets();
        let is_secret = |it: &str| secrets.verify(self.peer.uid, profile, it);
        if key != NO_SECRET {
            return is_secret(key);
        }
        let header = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        self.transport == Transport::Unix || header.is_some_and(is_secret)
    }

    async fn credentials(&self, profile: &str) -> FullResponse {
        let access = &self.server.access;
        let can_read = |profile: &Profile| access.can_read(&profile.allow, self.peer, self.socket);
        let began = self.server.clock.boot();
        let (minimum_life, patience) = self.sdk_minimum_life(profile);
        let (result, entry) = self
            .server
            .store
            .serve(
                profile,
                minimum_life,
                patience,
                &*self.server.clock,
                can_read,
            )
            .await;
        let now = self.server.clock.boot();
        if let SessionResult::Ready(_) | SessionResult::Short(_) = &result {
            self.server.serve_durations.observe(now.since(began));
        }
        let response = self.response_for(result, profile, now);
        if let Some(entry) = entry {
            // After the audit, which may have inspected the process.
            let last_access = &entry.stats.last_access;
            last_access.record(self.peer, Operation::Url, now);
        }
        response
    }

    fn audit_caller(&self) -> AuditCaller<'_> {
        AuditCaller {
            peer: self.peer,
            socket: self.socket,
            quota: &self.quota,
        }
    }

    /// Audits a rejected request.
    pub(super) fn audit_rejection(&self, rejection: Rejection) {
        let reason = match rejection {
            Rejection::Method | Rejection::Path | Rejection::Body | Rejection::Head => {
                Refusal::Invalid
            }
            Rejection::Full => Refusal::Busy,
            _ => Refusal::NotAllowed,
        };
        let (audit, caller) = (&self.server.audit, self.audit_caller());
        audit.refused(Operation::Url, None, reason, caller);
    }

    /// Returns the response to a result, and audits it.
    fn response_for(&self, result: SessionResult, profile: &str, now: BootTime) -> FullResponse {
        const SUFFICIENT: ServedLifetime = ServedLifetime::Sufficient;
        const SHORT: ServedLifetime = ServedLifetime::Short;
        let (server, caller) = (self.server, self.audit_caller());
        let refused = |reason| {
            server
                .audit
                .refused(Operation::Url, Some(profile), reason, caller);
        };
        match result {
            SessionResult::Ready(session) => {
                server
                    .audit
                    .served(Operation::Url, profile, &session, SUFFICIENT, now, caller);
                json(StatusCode::OK, body::of(session))
            }
            // The minimum lifetime was this module's choice: the best available session is served.
            SessionResult::Short(session) => {
                server
                    .audit
                    .served(Operation::Url, profile, &session, SHORT, now, caller);
                json(StatusCode::OK, body::of(session))
            }
            SessionResult::Removed if self.server.access.can_administer(self.peer) => {
                refused(Refusal::UnknownProfile);
                error_response(
                    StatusCode::NOT_FOUND,
                    "UnknownProfile",
                    "no profile has that name [unknown-profile] (hint: stsctl status lists the profiles)",
                )
            }
            SessionResult::Removed | SessionResult::NotAllowed => {
                refused(Refusal::NotAllowed);
                error_response(
                    StatusCode::FORBIDDEN,
                    "NotAllowed",
                    "no rule allows you a profile of that name by HTTP [not-allowed] (hint: rules by \
                     group and by unit apply at the Unix sockets only)",
                )
            }
            SessionResult::NotYet(reason) => {
                refused(Refusal::NotYetAvailable);
                error_response(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "NotYetAvailable",
                    &format!(
                        "no credentials yet: {reason} [{}] (hint: try again)",
                        Code::NotYetAvailable
                    ),
                )
            }
            SessionResult::Failed(failed) => {
                const AWAY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
                let (status, code, reason) = match failed.cause {
                    Cause::Denied => (StatusCode::FORBIDDEN, "DeniedBySts", Refusal::DeniedBySts),
                    Cause::Unreachable => (AWAY, "Unreachable", Refusal::Unreachable),
                    Cause::Throttled => (AWAY, "Throttled", Refusal::Throttled),
                    Cause::Source => (AWAY, "NotYetAvailable", Refusal::NotYetAvailable),
                };
                refused(reason);
                let message = format!("{} (hint: {})", failed.coded_message(), failed.hint);
                error_response(status, code, &message)
            }
        }
    }

    /// Returns the minimum lifetime and the timeout for an SDK, which cannot send them. An SDK
    /// whose session has less left than its window sends a request at every call; more than half
    /// of a session's lifetime is not available all the time. After a failed renewal a live session
    /// is served without a wait for a longer one.
    fn sdk_minimum_life(&self, profile: &str) -> (Duration, Duration) {
        let Some(entry) = self.server.store.find(profile) else {
            return (Duration::ZERO, SESSION_TIMEOUT);
        };
        let snapshot = entry.snapshot();
        let usable = snapshot.usable_for(Duration::ZERO, self.server.clock.boot());
        let length = usable.map_or(Duration::ZERO, |it| it.lifetime.length());
        let minimum_life = MAX_SDK_WINDOW.min(length / 3);
        match (usable, &snapshot.failed) {
            (None, _) => (Duration::ZERO, SESSION_TIMEOUT),
            (Some(_), Some(_)) => (Duration::ZERO, UPGRADE_WAIT),
            (Some(_), None) => (minimum_life, UPGRADE_WAIT),
        }
    }
}

/// Splits `/KEY/REST`, where `KEY` is the secret or [`NO_SECRET`].
fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.split_once('/')
}

/// Returns the name of the profile in the path behind the key.
fn profile_in(rest: &str) -> &str {
    rest.split('/').next().unwrap_or_default()
}

/// Returns the route of the path behind the key; `None` for an unknown path.
fn route(rest: &str) -> Option<Route<'_>> {
    let Some((profile, below)) = rest.split_once('/') else {
        return (!rest.is_empty()).then_some(Route::Credentials(rest));
    };
    match below.strip_prefix(METADATA) {
        Some("") => Some(Route::Role(profile)),
        Some(role) if role == profile => Some(Route::Credentials(profile)),
        None if below == METADATA_TOKEN => Some(Route::Token),
        _ => None,
    }
}

/// Returns the response to a rejected request, which closes the connection.
pub(super) fn rejection_response(rejection: Rejection) -> FullResponse {
    let (status, message) = match rejection {
        Rejection::OtherUser => (
            StatusCode::FORBIDDEN,
            "this daemon does not serve your user",
        ),
        Rejection::UnknownUser => (
            StatusCode::FORBIDDEN,
            "the kernel does not report the owner of this connection",
        ),
        Rejection::Full => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many callers wait for an answer; try again in a moment",
        ),
        Rejection::Browser => (StatusCode::FORBIDDEN, "credentials are not for web pages"),
        Rejection::Proxy => (
            StatusCode::FORBIDDEN,
            "credentials do not go through a proxy; add 127.0.0.1 to NO_PROXY",
        ),
        Rejection::Upgrade => (
            StatusCode::FORBIDDEN,
            "the request asks for an upgrade of the protocol; send HTTP/1.1 without Upgrade",
        ),
        Rejection::Query => (
            StatusCode::FORBIDDEN,
            "the URL has a query; stsctl url prints the URL, which has none",
        ),
        Rejection::Host => (
            StatusCode::FORBIDDEN,
            "the host of the URL has to be 127.0.0.1",
        ),
        Rejection::Secret => (
            StatusCode::FORBIDDEN,
            "the secret in the URL or in Authorization is missing, out of date, or of another \
             user or profile; stsctl url PROFILE prints the current URL",
        ),
        Rejection::Method => (
            StatusCode::METHOD_NOT_ALLOWED,
            "this path does not support the method; request credentials with GET",
        ),
        Rejection::Path => (
            StatusCode::NOT_FOUND,
            "no such path; stsctl url prints a URL",
        ),
        Rejection::Body => (StatusCode::BAD_REQUEST, "the request must not have a body"),
        Rejection::Head => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the head of the request is too large",
        ),
    };
    let message = format!("{message} [{}]", Code::HttpRefused);
    let mut response = error_response(status, "Refused", &message);
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

fn error_response(status: StatusCode, code: &str, message: &str) -> FullResponse {
    let message = &Printable(message).to_string();
    let body = ErrorBody { code, message };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    json(status, body.into())
}

fn json(status: StatusCode, body: Bytes) -> FullResponse {
    response(status, "application/json", body)
}

fn text(body: &str) -> FullResponse {
    response(StatusCode::OK, "text/plain", body.to_owned().into())
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> FullResponse {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(content_type);
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::{Route, route, split};

    #[test]
    fn path_of_key_profile_and_metadata_is_routed() {
        let check = |path: &str, expected: Option<&str>| {
            let routed = split(path).and_then(|(key, rest)| {
                Some(match route(rest)? {
                    Route::Credentials(profile) => format!("{key}: credentials of {profile}"),
                    Route::Role(profile) => format!("{key}: role {profile}"),
                    Route::Token => format!("{key}: token"),
                })
            });
            assert_eq!(routed.as_deref(), expected, "{path}");
        };
        let metadata = "latest/meta-data/ram/security-credentials";
        check("/k/oss", Some("k: credentials of oss"));
        check("//oss", Some(": credentials of oss"));
        check(&format!("/k/oss/{metadata}/"), Some("k: role oss"));
        check(
            &format!("/k/oss/{metadata}/oss"),
            Some("k: credentials of oss"),
        );
        check("/k/oss/latest/api/token", Some("k: token"));
        for path in [
            "",
            "/",
            "/k",
            "/k/",
            "/k/oss/",
            "/k/oss/x",
            "*",
            "/k/oss/latest/api/token/",
        ] {
            check(path, None);
        }
        check(&format!("/k/oss/{metadata}"), None);
        check(&format!("/k/oss/{metadata}/other"), None);
    }
}
