//! HTTP for both services: reads a request, lets faults have their way, counts, answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::SignedDuration;
use tokio::time::sleep;

use crate::assume_role::Twist;
use crate::clock::http_date;
use crate::cloud::{Cloud, Now, hold};
use crate::faults::Fault;
use crate::listener::Switch;
use crate::oss_error::OssError;
use crate::reply::Reply;
use crate::request::HttpRequest;
use crate::sts_error::StsError;
use crate::{oss, sts, sts_answer};

/// The largest body that is read: an object, and some more to refuse it by name.
const LARGEST_BODY: usize = 6 * 1024 * 1024;

/// How long a hanging call hangs when nobody clears the faults.
const HANG: Duration = Duration::from_secs(60);

/// Which of the two services an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Sts,
    Oss,
}

/// Makes the HTTP side of one service.
pub(crate) fn router(cloud: Arc<Cloud>, service: Service) -> Router {
    Router::new().fallback(handle).with_state((cloud, service))
}

async fn handle(
    State((cloud, service)): State<(Arc<Cloud>, Service)>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    request: Request,
) -> Response {
    let Some(request) = read(request).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    if service == Service::Sts && request.path.starts_with("/_emulator/") {
        return steer(&cloud, &request);
    }
    let action = match service {
        Service::Sts => sts::counted_name(&sts::action(&request)),
        Service::Oss => oss::action(&cloud, &request),
    };
    let fault = cloud.faults.strike(action, cloud.clock.now());
    let outcome = |outcome: &str| hold(&cloud.stats).count(action, outcome);
    match &fault {
        Some(Fault::Delay { millis }) => sleep(Duration::from_millis(*millis)).await,
        Some(fault @ (Fault::Hang {} | Fault::Reset {})) => {
            outcome(&format!("fault:{}", fault.kind()));
            if matches!(fault, Fault::Hang {}) {
                tokio::select! {
                    () = cloud.faults.cleared() => {}
                    () = sleep(HANG) => {}
                }
            }
            switch.cut_all();
            return StatusCode::OK.into_response();
        }
        _ => {}
    }
    let offset = match fault {
        Some(Fault::WrongDate { offset_seconds }) => SignedDuration::from_secs(offset_seconds),
        _ => SignedDuration::ZERO,
    };
    let now = Now::new(cloud.clock.now(), offset);
    let reply = match service {
        Service::Sts => sts_reply(&cloud, &request, now, fault.as_ref()),
        Service::Oss => oss_reply(&cloud, &request, now, fault.as_ref()),
    };
    // A bent answer is counted as bent; a late one and a wrong clock keep their outcome.
    let bent = match &fault {
        None | Some(Fault::Delay { .. } | Fault::WrongDate { .. } | Fault::Error { .. }) => None,
        Some(fault) => Some(format!("fault:{}", fault.kind())),
    };
    outcome(bent.as_deref().unwrap_or(&reply.outcome));
    if matches!(fault, Some(Fault::HalfBody {})) {
        switch.cut((reply.body.len() / 2).max(1));
    }
    respond(reply, now)
}

fn sts_reply(cloud: &Cloud, request: &HttpRequest, now: Now, fault: Option<&Fault>) -> Reply {
    let format = sts::format_of(request).unwrap_or(sts_answer::Format::Xml);
    let twist = match fault {
        Some(Fault::Html {}) => return html(),
        Some(Fault::Error {
            code,
            status,
            message,
        }) => {
            let error = StsError::Scripted {
                code: code.clone(),
                status: status.unwrap_or_else(|| usual_status(code, 400)),
                message: message
                    .clone()
                    .unwrap_or_else(|| "A scripted fault.".to_owned()),
            };
            return sts_answer::refusal(format, &error);
        }
        Some(Fault::Throttle { retry_after_millis }) => {
            let error = StsError::Scripted {
                code: "Throttling.User".to_owned(),
                status: 400,
                message: "Request was denied due to user flow control.".to_owned(),
            };
            let reply = sts_answer::refusal(format, &error);
            return hinted(reply, *retry_after_millis);
        }
        Some(Fault::Expired {}) => Twist::Expired,
        Some(Fault::Empty {}) => Twist::Empty,
        Some(Fault::Beyond {}) => Twist::Beyond,
        _ => Twist::None,
    };
    sts::answer(cloud, request, now, twist)
}

fn oss_reply(cloud: &Cloud, request: &HttpRequest, now: Now, fault: Option<&Fault>) -> Reply {
    let scripted = |code: &str, status, message: &str| OssError::Scripted {
        code: code.to_owned(),
        status,
        message: message.to_owned(),
    };
    match fault {
        Some(Fault::Html {}) => html(),
        Some(Fault::Error {
            code,
            status,
            message,
        }) => {
            let status = status.unwrap_or_else(|| usual_status(code, 403));
            let message = message.as_deref().unwrap_or("A scripted fault.");
            oss::refusal(request, &scripted(code, status, message))
        }
        Some(Fault::Throttle { retry_after_millis }) => {
            let error = scripted("Throttling.User", 503, "Your requests are being limited.");
            hinted(oss::refusal(request, &error), *retry_after_millis)
        }
        _ => oss::answer(cloud, request, now),
    }
}

fn usual_status(code: &str, otherwise: u16) -> u16 {
    match code {
        "InternalError" => 500,
        "ServiceUnavailable" => 503,
        _ => otherwise,
    }
}

fn hinted(reply: Reply, millis: Option<u64>) -> Reply {
    match millis {
        Some(millis) => reply.with("x-acs-retry-after", millis.to_string()),
        None => reply,
    }
}

fn html() -> Reply {
    Reply::ok(
        "text/html",
        "<!doctype html><title>Sign in</title><p>Sign in to the network.",
    )
}

/// The emulator's own addresses: counters and faults.
fn steer(cloud: &Cloud, request: &HttpRequest) -> Response {
    let now = cloud.clock.now();
    let json = |value: serde_json::Value| {
        let headers = [("content-type", "application/json")];
        (headers, value.to_string()).into_response()
    };
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/_emulator/stats") => {
            let calls = serde_json::to_value(&*hold(&cloud.stats)).unwrap_or_default();
            let live = hold(&cloud.sessions).live(now);
            json(serde_json::json!({"calls": calls, "sessions_live": live}))
        }
        ("DELETE", "/_emulator/stats") => {
            hold(&cloud.stats).clear();
            StatusCode::NO_CONTENT.into_response()
        }
        ("GET", "/_emulator/faults") => json(cloud.faults.list(now)),
        ("POST", "/_emulator/faults") => match cloud.faults.add(&request.body, now) {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
        },
        ("DELETE", "/_emulator/faults") => {
            cloud.faults.clear();
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn read(request: Request) -> Option<HttpRequest> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.ok()?;
    let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
    let headers = head.headers.iter().map(|(name, value)| {
        (
            name.as_str(),
            std::str::from_utf8(value.as_bytes()).unwrap_or_default(),
        )
    });
    Some(HttpRequest::new(
        head.method.as_str(),
        target,
        headers,
        body.to_vec(),
    ))
}

fn respond(reply: Reply, now: Now) -> Response {
    let mut headers = HeaderMap::new();
    let fixed = reply
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let date = ("date".to_owned(), http_date(now.by_server));
    for (name, value) in fixed.chain(reply.meta).chain([date]) {
        // Foreign text that is no header is left out, as a proxy would.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, headers, Body::from(reply.body)).into_response()
}
