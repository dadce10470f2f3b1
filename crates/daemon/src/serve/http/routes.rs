//! Decides what a request gets: which path means what, and how an outcome is said in HTTP.

use std::{net::SocketAddr, os::fd::BorrowedFd, time::Duration};

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::AUTHORIZATION,
    http::{HeaderValue, header},
};

use super::{body, body::ErrorBody, request_filter, request_filter::Rejection};
use crate::{
    access::{Operation, peer::Peer},
    audit::{AuditCaller, QuotaCell, ServedLifetime},
    profile::{Cause, Profile},
    runtime::clock::BootTime,
    serve::context::ServerContext,
    session::snapshot::SessionResult,
};

/// How long a caller waits for credentials where there are none: as long as the SDKs' own
/// patience with a credentials URI.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a caller waits for better ones than those that it could have at once: less than
/// the shortest patience of an SDK, a second.
const UPGRADE_WAIT: Duration = Duration::from_millis(700);

/// The widest window of an SDK, ossfs's: one that is given less asks again at each call.
const MAX_SDK_WINDOW: Duration = Duration::from_secs(20 * 60);

/// What stands in a path instead of the secret, when that comes by a header or is not needed.
const NO_SECRET: &str = "credentials";

/// Where instance metadata has its role, below a profile's path.
const METADATA: &str = "latest/meta-data/ram/security-credentials/";

/// Where instance metadata gives out what its version 2 has to be asked with.
const METADATA_TOKEN: &str = "latest/api/token";

/// The caller of a request and the socket by which it came.
pub(super) struct RequestContext<'a> {
    pub(super) server: &'a ServerContext,
    pub(super) peer: &'a Peer,
    pub(super) socket: BorrowedFd<'a>,
    pub(super) quota: QuotaCell,
    /// The local address of a loopback connection; `None` on the Unix socket.
    pub(super) tcp: Option<SocketAddr>,
}

/// An answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// What is asked for.
enum Route<'a> {
    /// The credentials of a profile.
    Credentials(&'a str),
    /// The name of the one role that there is.
    Role(&'a str),
    /// The token of metadata's version 2.
    Token,
}

impl RequestContext<'_> {
    /// Responds to a request.
    ///
    /// # Errors
    /// The reason for which the request is rejected.
    pub(super) async fn respond(&self, request: &Request<Incoming>) -> Result<Answer, Rejection> {
        let is_tcp = self.tcp.is_some();
        request_filter::check(request.uri(), request.headers(), is_tcp)?;
        if !request.body().is_end_stream() {
            return Err(Rejection::Body);
        }
        let path = request.uri().path();
        let (key, rest) = split(path).ok_or(Rejection::Path)?;
        if !self.verify(key, request.headers(), is_tcp) {
            return Err(Rejection::Secret);
        }
        let wanted = wanted(rest).ok_or(Rejection::Path)?;
        let method = match wanted {
            Route::Token => Method::PUT,
            _ => Method::GET,
        };
        if request.method() != method {
            return Err(Rejection::Method);
        }
        Ok(match wanted {
            Route::Credentials(profile) => self.credentials(profile).await,
            // Only a request for credentials reports whether the profile exists.
            Route::Role(profile) => text(profile),
            Route::Token => text("unused"),
        })
    }

    fn verify(&self, key: &str, headers: &HeaderMap, is_tcp: bool) -> bool {
        let secret = self.server.http.secret();
        if key != NO_SECRET {
            return secret.verify(key);
        }
        let given = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        !is_tcp || given.is_some_and(|given| secret.verify(given))
    }

    async fn credentials(&self, profile: &str) -> Answer {
        let access = &self.server.access;
        let allowed = |profile: &Profile| access.can_read(&profile.allow, self.peer, self.socket);
        let (minimum_life, patience) = self.sdk_minimum_life(profile);
        let (outcome, entry) = self
            .server
            .store
            .serve(
                profile,
                minimum_life,
                patience,
                &*self.server.clock,
                allowed,
            )
            .await;
        let now = self.server.clock.boot();
        let answer = self.response_for(outcome, profile, now);
        if let Some(entry) = entry {
            // After the audit, which may have inspected the process.
            let last_access = &entry.stats.last_access;
            last_access.record(self.peer, Operation::Url, now);
        }
        answer
    }

    fn response_for(&self, outcome: SessionResult, profile: &str, now: BootTime) -> Answer {
        const SUFFICIENT: ServedLifetime = ServedLifetime::Sufficient;
        const SHORT: ServedLifetime = ServedLifetime::Short;
        let server = self.server;
        let caller = AuditCaller {
            peer: self.peer,
            socket: self.socket,
            quota: &self.quota,
        };
        match outcome {
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
                error_response(
                    StatusCode::NOT_FOUND,
                    "UnknownProfile",
                    "no profile has that name (hint: stsctl status lists the profiles)",
                )
            }
            SessionResult::Removed | SessionResult::NotAllowed => {
                server.audit.refused(Operation::Url, Some(profile), caller);
                error_response(
                    StatusCode::FORBIDDEN,
                    "NotAllowed",
                    "no rule allows you a profile of that name by this way (hint: rules by group \
                     and by unit hold at the Unix sockets alone)",
                )
            }
            SessionResult::NotYet(why) => error_response(
                StatusCode::SERVICE_UNAVAILABLE,
                "NotYetAvailable",
                &format!("no credentials yet: {why} (hint: ask again)"),
            ),
            SessionResult::Failed(failed) => {
                let (status, code) = match failed.cause {
                    Cause::Denied => (StatusCode::FORBIDDEN, "DeniedBySts"),
                    Cause::Unreachable => (StatusCode::SERVICE_UNAVAILABLE, "Unreachable"),
                    Cause::Throttled => (StatusCode::SERVICE_UNAVAILABLE, "Throttled"),
                    Cause::Source => (StatusCode::SERVICE_UNAVAILABLE, "NotYetAvailable"),
                };
                let message = format!("{} (hint: {})", failed.message, failed.hint);
                error_response(status, code, &message)
            }
        }
    }

    /// Returns the minimum lifetime and the patience for an SDK, which cannot send them. With less
    /// than its window an SDK asks at every call; more than half of a session's lifetime is not
    /// available all the time. After a failed renewal a live session is served without waiting.
    fn sdk_minimum_life(&self, profile: &str) -> (Duration, Duration) {
        let Some(entry) = self.server.store.find(profile) else {
            return (Duration::ZERO, SESSION_TIMEOUT);
        };
        let snapshot = entry.snapshot();
        let serving = snapshot.usable_for(Duration::ZERO, self.server.clock.boot());
        let length = serving.map_or(Duration::ZERO, |it| it.lifetime.length());
        let minimum_life = MAX_SDK_WINDOW.min(length / 3);
        match (serving, &snapshot.failed) {
            (None, _) => (Duration::ZERO, SESSION_TIMEOUT),
            (Some(_), Some(_)) => (Duration::ZERO, UPGRADE_WAIT),
            (Some(_), None) => (minimum_life, UPGRADE_WAIT),
        }
    }
}

/// Splits `/KEY/REST`.
fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.split_once('/')
}

fn wanted(rest: &str) -> Option<Route<'_>> {
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

/// Says that a request was refused, and closes the connection.
pub(super) fn rejection_response(rejection: Rejection) -> Answer {
    let (status, message) = match rejection {
        Rejection::OtherUser => (
            StatusCode::FORBIDDEN,
            "this daemon does not serve your user",
        ),
        Rejection::UnknownUser => (
            StatusCode::FORBIDDEN,
            "the system does not say whose connection this is",
        ),
        Rejection::Full => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many callers are waiting for an answer; ask again in a moment",
        ),
        Rejection::Browser => (StatusCode::FORBIDDEN, "credentials are not for web pages"),
        Rejection::Proxy => (
            StatusCode::FORBIDDEN,
            "credentials do not go through a proxy; add 127.0.0.1 to NO_PROXY",
        ),
        Rejection::Host => (
            StatusCode::FORBIDDEN,
            "the host of the URL has to be 127.0.0.1",
        ),
        Rejection::Secret => (
            StatusCode::FORBIDDEN,
            "the secret in the URL or in Authorization is missing or an old one; stsctl url \
             prints a URL with the current one",
        ),
        Rejection::Method => (
            StatusCode::METHOD_NOT_ALLOWED,
            "credentials are asked for with GET",
        ),
        Rejection::Path => (
            StatusCode::NOT_FOUND,
            "nothing is there; stsctl url prints a URL",
        ),
        Rejection::Body => (StatusCode::BAD_REQUEST, "a request has no body here"),
        Rejection::Head => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the request's head is too large",
        ),
    };
    let mut answer = error_response(status, "Refused", message);
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}

fn error_response(status: StatusCode, code: &str, message: &str) -> Answer {
    let body = ErrorBody { code, message };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    json(status, body.into())
}

fn json(status: StatusCode, body: Bytes) -> Answer {
    answer(status, "application/json", body)
}

fn text(body: &str) -> Answer {
    answer(StatusCode::OK, "text/plain", body.to_owned().into())
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::{Route, split, wanted};

    #[test]
    fn a_path_is_a_key_a_profile_and_perhaps_what_metadata_has_below_it() {
        let check = |path: &str, expected: Option<&str>| {
            let read = split(path).and_then(|(key, rest)| {
                Some(match wanted(rest)? {
                    Route::Credentials(profile) => format!("{key}: credentials of {profile}"),
                    Route::Role(profile) => format!("{key}: role {profile}"),
                    Route::Token => format!("{key}: token"),
                })
            });
            assert_eq!(read.as_deref(), expected, "{path}");
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
