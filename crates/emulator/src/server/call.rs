//! One call: applies a fault, runs the service, and counts the outcome.

use std::time::Duration;

use axum::{
    body::Body,
    http::{
        Response, StatusCode,
        header::{CONTENT_LENGTH, HeaderName, HeaderValue},
    },
};
use jiff::SignedDuration;

use crate::{
    clock::{RequestTime, http_date},
    fault::script::{CredentialFault, Fault},
    http::{
        reply::{self, Reply},
        request::HttpRequest,
        truncated_body,
    },
    imds,
    oss::{self, error::OssError},
    state::EmulatorState,
    sts::{
        self,
        error::StsError,
        response::{self, Format},
    },
    sync::lock,
};

/// Maximum duration of a `hang`.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum duration of a `delay`.
const MAX_DELAY_MILLIS: u64 = 10 * 60 * 1000;

/// The reply to the fault `html`, as a captive portal sends it.
const SIGN_IN_PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head>\
                            <body><h1>Sign in to the network</h1></body></html>\n";

/// The three services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Sts,
    Oss,
    Imds,
}

/// A request to a service.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a EmulatorState,
    pub(crate) service: Service,
    /// The name under which the call is counted.
    pub(crate) action: &'static str,
    pub(crate) request: HttpRequest,
    /// `true` if the body exceeds the service's maximum; `request` has an empty body then.
    pub(crate) is_too_large: bool,
}

impl Call<'_> {
    /// Returns the response, altered by the fault that matches the call.
    pub(crate) async fn run(self) -> Response<Body> {
        // Before the fault leaves the queue: a test that sees the queue without the fault may
        // clear the queue at once.
        let cleared = self.state.faults.cleared();
        let fault = self.state.faults.take(self.action, self.state.clock.now());
        match fault {
            None => self.respond(SignedDuration::ZERO),
            Some(Fault::Delay { millis }) => {
                let delay = Duration::from_millis(millis.min(MAX_DELAY_MILLIS));
                let _ = tokio::time::timeout(delay, cleared).await;
                self.respond(SignedDuration::ZERO)
            }
            Some(Fault::WrongDate { offset_seconds }) => {
                self.respond(SignedDuration::from_secs(offset_seconds))
            }
            Some(Fault::Expired {}) => self.respond_altered("expired", CredentialFault::Expired),
            Some(Fault::Empty {}) => self.respond_altered("empty", CredentialFault::Empty),
            Some(Fault::Beyond {}) => self.respond_altered("beyond", CredentialFault::Beyond),
            Some(Fault::Hang {}) => {
                self.count("fault:hang");
                let _ = tokio::time::timeout(HANG_TIMEOUT, cleared).await;
                Response::new(truncated_body::empty())
            }
            Some(fault) => {
                self.count(&format!("fault:{}", fault.kind()));
                self.respond_with_fault(fault)
            }
        }
    }

    /// Runs the service, with the server's clock shifted by `offset`.
    fn respond(&self, offset: SignedDuration) -> Response<Body> {
        let now = RequestTime::new(self.state.clock.now(), offset);
        let reply = self.run_service(now, None);
        self.count(&reply.outcome);
        response(reply, now)
    }

    /// Runs the service and alters the credentials of a successful reply. An error of the service
    /// is counted as that error, because it precedes the credentials.
    fn respond_altered(&self, kind: &str, fault: CredentialFault) -> Response<Body> {
        let now = now(self.state);
        let reply = self.run_service(now, Some(fault));
        if reply.outcome == reply::OK {
            self.count(&format!("fault:{kind}"));
        } else {
            self.count(&reply.outcome);
        }
        response(reply, now)
    }

    /// Returns the response to a fault that replaces the reply or truncates it.
    fn respond_with_fault(&self, fault: Fault) -> Response<Body> {
        let now = now(self.state);
        let reply = match fault {
            Fault::Reset {} => return Response::new(truncated_body::empty()),
            Fault::HalfBody {} => return half_body(self.run_service(now, None), now),
            Fault::Html {} => Reply::ok("text/html", SIGN_IN_PAGE),
            Fault::Unsuccessful { code } => imds::service::unsuccessful_reply(self.state, &code),
            Fault::Error {
                code,
                status,
                message,
            } => {
                let status = status.unwrap_or_else(|| self.default_status(&code));
                let message = message.unwrap_or_else(|| "Scripted by a fault.".to_owned());
                self.error_reply(code, status, message)
            }
            Fault::Throttle { retry_after_millis } => {
                let reply = self.error_reply(
                    "Throttling.User".to_owned(),
                    400,
                    "Request was denied due to user flow control.".to_owned(),
                );
                match retry_after_millis {
                    Some(millis) => reply.with_header("x-acs-retry-after", millis.to_string()),
                    None => reply,
                }
            }
            Fault::Delay { .. }
            | Fault::WrongDate { .. }
            | Fault::Expired {}
            | Fault::Empty {}
            | Fault::Beyond {}
            | Fault::Hang {} => self.run_service(now, None),
        };
        response(reply, now)
    }

    fn run_service(&self, now: RequestTime, fault: Option<CredentialFault>) -> Reply {
        match self.service {
            Service::Sts if self.is_too_large => {
                response::error(self.format(), &StsError::RequestTooLarge)
            }
            Service::Sts => sts::service::respond(self.state, &self.request, now, fault),
            Service::Oss if self.is_too_large => {
                oss::service::error_reply(&self.request, &OssError::EntityTooLarge)
            }
            Service::Oss => oss::service::respond(self.state, &self.request, now),
            Service::Imds => imds::service::respond(self.state, &self.request, now, fault),
        }
    }

    /// Returns a scripted error in the form of the service.
    fn error_reply(&self, code: String, status: u16, message: String) -> Reply {
        match self.service {
            Service::Sts => {
                let error = StsError::Scripted {
                    code,
                    status,
                    message,
                };
                response::error(self.format(), &error)
            }
            Service::Oss => {
                let error = OssError::Scripted {
                    code,
                    status,
                    message,
                };
                oss::service::error_reply(&self.request, &error)
            }
            Service::Imds => imds::service::error_reply(code, status, &message),
        }
    }

    /// Returns the HTTP status that an error code usually has in the service.
    fn default_status(&self, code: &str) -> u16 {
        match (code, self.service) {
            ("InternalError", _) => 500,
            ("ServiceUnavailable", _) => 503,
            ("NoPermission" | "AccessDenied", _) => 403,
            (code, _) if code.ends_with(".NotFound") => 404,
            (code, _) if code.starts_with("EntityNotExist") => 404,
            (_, Service::Oss) => 403,
            (_, Service::Imds) => 404,
            (_, Service::Sts) => 400,
        }
    }

    fn format(&self) -> Format {
        sts::service::requested_format(&self.request).unwrap_or(Format::Xml)
    }

    fn count(&self, outcome: &str) {
        lock(&self.state.stats).count(self.action, outcome);
    }
}

/// Returns the current time, with the server's clock not shifted.
pub(crate) fn now(state: &EmulatorState) -> RequestTime {
    RequestTime::new(state.clock.now(), SignedDuration::ZERO)
}

/// Returns the response with the whole body of a reply.
pub(crate) fn response(mut reply: Reply, now: RequestTime) -> Response<Body> {
    let body = Body::from(std::mem::take(&mut reply.body));
    with_headers(reply, now, body)
}

/// Returns a response whose `Content-Length` is that of the whole body, with half of the body.
fn half_body(reply: Reply, now: RequestTime) -> Response<Body> {
    let length = reply.body.len();
    let body = truncated_body::half_of(&reply.body);
    let mut response = with_headers(reply, now, body);
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Returns a response with the status and the headers of a reply. hyper would add its own `Date`,
/// which a fault cannot shift.
fn with_headers(reply: Reply, now: RequestTime, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = reply
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(reply.user_metadata)
        .chain([
            ("date".to_owned(), http_date(now.server)),
            ("server".to_owned(), "stsd-emulator".to_owned()),
        ]);
    for (name, value) in headers {
        let name = HeaderName::try_from(name);
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
