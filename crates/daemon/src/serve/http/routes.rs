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

use super::{body, body::Complaint, request_filter, request_filter::Refusal};
use crate::{
    access::peer::Peer,
    audit::Operation,
    profile::Profile,
    runtime::clock::BootTime,
    serve::context::Service,
    session::snapshot::{Cause, SessionResult},
};

/// How long a caller waits for credentials where there are none: as long as the SDKs' own
/// patience with a credentials URI.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a caller waits for better ones than those that it could have at once: less than
/// the shortest patience of an SDK, a second.
const LITTLE: Duration = Duration::from_millis(700);

/// The widest window of an SDK, ossfs's: one that is given less asks again at each call.
const WIDEST_WINDOW: Duration = Duration::from_secs(20 * 60);

/// What stands in a path instead of the secret, when that comes by a header or is not needed.
const NO_SECRET: &str = "credentials";

/// Where instance metadata has its role, below a profile's path.
const METADATA: &str = "latest/meta-data/ram/security-credentials/";

/// Where instance metadata gives out what its version 2 has to be asked with.
const METADATA_TOKEN: &str = "latest/api/token";

/// Who asks, and by which way.
pub(super) struct Asker<'a> {
    pub(super) peer: &'a Peer,
    pub(super) socket: BorrowedFd<'a>,
    /// Our end, when it came by loopback.
    pub(super) tcp: Option<SocketAddr>,
}

/// An answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// What is asked for.
enum Wanted<'a> {
    /// The credentials of a profile.
    Credentials(&'a str),
    /// The name of the one role that there is.
    Role(&'a str),
    /// The token of metadata's version 2.
    Token,
}

impl Service {
    /// Answers one request.
    pub(super) async fn answer(
        &self,
        asker: &Asker<'_>,
        request: &Request<Incoming>,
    ) -> Result<Answer, Refusal> {
        let by_tcp = asker.tcp.is_some();
        request_filter::check(request.uri(), request.headers(), by_tcp)?;
        if !request.body().is_end_stream() {
            return Err(Refusal::Body);
        }
        let path = request.uri().path();
        let (key, rest) = split(path).ok_or(Refusal::Path)?;
        if !self.opens(key, request.headers(), by_tcp) {
            return Err(Refusal::Secret);
        }
        let wanted = wanted(rest).ok_or(Refusal::Path)?;
        let method = match wanted {
            Wanted::Token => Method::PUT,
            _ => Method::GET,
        };
        if request.method() != method {
            return Err(Refusal::Method);
        }
        Ok(match wanted {
            Wanted::Credentials(profile) => self.credentials(asker, profile).await,
            // Whether there is such a profile is said to who asks for its credentials.
            Wanted::Role(profile) => text(profile),
            Wanted::Token => text("unused"),
        })
    }

    fn opens(&self, key: &str, headers: &HeaderMap, by_tcp: bool) -> bool {
        let secret = self.http.secret();
        if key != NO_SECRET {
            return secret.opens(key);
        }
        let given = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        !by_tcp || given.is_some_and(|given| secret.opens(given))
    }

    async fn credentials(&self, asker: &Asker<'_>, profile: &str) -> Answer {
        let allowed = |profile: &Profile| {
            self.access
                .can_read(&profile.allow, asker.peer, asker.socket)
        };
        let (minimum_life, patience) = self.what_an_sdk_wants(profile);
        let (outcome, entry) = self
            .store
            .serve(profile, minimum_life, patience, &*self.clock, allowed)
            .await;
        let who = (asker.peer, asker.socket);
        let now = self.clock.boot();
        let answer = self.answer_with(outcome, profile, now, who);
        if let Some(entry) = entry {
            // After the audit, which may have looked at the process.
            let last_access = &entry.stats.last_access;
            last_access.record(asker.peer, Operation::Url, now);
        }
        answer
    }

    fn answer_with(
        &self,
        outcome: SessionResult,
        profile: &str,
        now: BootTime,
        who: (&Peer, BorrowedFd<'_>),
    ) -> Answer {
        match outcome {
            SessionResult::Ready(session) => {
                self.audit
                    .served(Operation::Url, profile, &session, false, now, who);
                json(StatusCode::OK, body::of(session))
            }
            // What it asked for was our idea; it gets the best there is.
            SessionResult::Short(session) => {
                self.audit
                    .served(Operation::Url, profile, &session, true, now, who);
                json(StatusCode::OK, body::of(session))
            }
            SessionResult::Removed if self.access.can_administer(who.0) => complain(
                StatusCode::NOT_FOUND,
                "UnknownProfile",
                "no profile has that name (hint: stsctl status lists the profiles)",
            ),
            SessionResult::Removed | SessionResult::NotAllowed => {
                self.audit.refused(Operation::Url, Some(profile), who);
                complain(
                    StatusCode::FORBIDDEN,
                    "NotAllowed",
                    "no rule allows you a profile of that name by this way (hint: rules by group \
                     and by unit hold at the Unix sockets alone)",
                )
            }
            SessionResult::NotYet(why) => complain(
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
                complain(status, code, &message)
            }
        }
    }

    /// Decides what an SDK should be given: it cannot say so itself. With less than its
    /// window it would ask at every call; more than half of a session's life is not to be
    /// had all the time. Where a renewal has just failed there is no point in waiting for
    /// another one while something lives.
    fn what_an_sdk_wants(&self, profile: &str) -> (Duration, Duration) {
        let Some(entry) = self.store.find(profile) else {
            return (Duration::ZERO, PATIENCE);
        };
        let snapshot = entry.snapshot();
        let serving = snapshot.usable_for(Duration::ZERO, self.clock.boot());
        let length = serving.map_or(Duration::ZERO, |it| it.lifetime.length());
        let minimum_life = WIDEST_WINDOW.min(length / 3);
        match (serving, &snapshot.failed) {
            (None, _) => (Duration::ZERO, PATIENCE),
            (Some(_), Some(_)) => (Duration::ZERO, LITTLE),
            (Some(_), None) => (minimum_life, LITTLE),
        }
    }
}

/// Splits `/KEY/REST`.
fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.split_once('/')
}

fn wanted(rest: &str) -> Option<Wanted<'_>> {
    let Some((profile, below)) = rest.split_once('/') else {
        return (!rest.is_empty()).then_some(Wanted::Credentials(rest));
    };
    match below.strip_prefix(METADATA) {
        Some("") => Some(Wanted::Role(profile)),
        Some(role) if role == profile => Some(Wanted::Credentials(profile)),
        None if below == METADATA_TOKEN => Some(Wanted::Token),
        _ => None,
    }
}

/// Says that a request was refused, and closes the connection.
pub(super) fn refusal(refusal: Refusal) -> Answer {
    let (status, message) = match refusal {
        Refusal::OtherUser => (
            StatusCode::FORBIDDEN,
            "this daemon does not serve your user",
        ),
        Refusal::UnknownUser => (
            StatusCode::FORBIDDEN,
            "the system does not say whose connection this is",
        ),
        Refusal::Full => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many callers are waiting for an answer; ask again in a moment",
        ),
        Refusal::Browser => (StatusCode::FORBIDDEN, "credentials are not for web pages"),
        Refusal::Proxy => (
            StatusCode::FORBIDDEN,
            "credentials do not go through a proxy; add 127.0.0.1 to NO_PROXY",
        ),
        Refusal::Host => (
            StatusCode::FORBIDDEN,
            "the host of the URL has to be 127.0.0.1",
        ),
        Refusal::Secret => (
            StatusCode::FORBIDDEN,
            "the secret in the URL or in Authorization is missing or an old one; stsctl url \
             prints a URL with the current one",
        ),
        Refusal::Method => (
            StatusCode::METHOD_NOT_ALLOWED,
            "credentials are asked for with GET",
        ),
        Refusal::Path => (
            StatusCode::NOT_FOUND,
            "nothing is there; stsctl url prints a URL",
        ),
        Refusal::Body => (StatusCode::BAD_REQUEST, "a request has no body here"),
        Refusal::Head => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the request's head is too large",
        ),
    };
    let mut answer = complain(status, "Refused", message);
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}

fn complain(status: StatusCode, code: &str, message: &str) -> Answer {
    let complaint = Complaint { code, message };
    let body = serde_json::to_vec(&complaint).unwrap_or_default();
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
    use super::{Wanted, split, wanted};

    #[test]
    fn a_path_is_a_key_a_profile_and_perhaps_what_metadata_has_below_it() {
        let check = |path: &str, expected: Option<&str>| {
            let read = split(path).and_then(|(key, rest)| {
                Some(match wanted(rest)? {
                    Wanted::Credentials(profile) => format!("{key}: credentials of {profile}"),
                    Wanted::Role(profile) => format!("{key}: role {profile}"),
                    Wanted::Token => format!("{key}: token"),
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
