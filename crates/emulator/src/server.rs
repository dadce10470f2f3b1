//! HTTP around the services: reads a request, lets a fault strike, answers, counts.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        Response, StatusCode,
        header::{CONTENT_LENGTH, HeaderName, HeaderValue},
    },
};
use jiff::SignedDuration;

use crate::{
    clock::http_date,
    control::routes as control,
    fault::script::Fault,
    http::{reply::Reply, request::HttpRequest, truncated_body as broken},
    imds::service as metadata,
    oss::{error::OssError, service as oss, service::Operation},
    state::{Cloud, Now, hold, objects::LARGEST},
    sts::{
        error::StsError, issue::Twist, response as sts_answer, response::Format, service as sts,
    },
};

/// The longest that a `hang` lasts.
const HANG: Duration = Duration::from_secs(60);

/// The longest that a `delay` lasts.
const LONGEST_DELAY_MILLIS: u64 = 10 * 60 * 1000;

/// Above any STS request, also one with an assertion of a hundred thousand characters in
/// which some are escaped as three.
const STS_BODY: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Sts,
    Oss,
    Imds,
}

#[derive(Clone)]
struct Shared {
    cloud: Arc<Cloud>,
    service: Service,
}

/// One service's routes: everything goes one way.
pub(crate) fn router(cloud: Arc<Cloud>, service: Service) -> Router {
    Router::new()
        .fallback(serve)
        .with_state(Shared { cloud, service })
}

async fn serve(State(shared): State<Shared>, request: Request) -> Response<Body> {
    let Shared { cloud, service } = shared;
    let (parts, body) = request.into_parts();
    let limit = match service {
        Service::Sts | Service::Imds => STS_BODY,
        Service::Oss => LARGEST,
    };
    let body = to_bytes(body, limit).await;
    let target = parts.uri.path_and_query().map_or("/", |t| t.as_str());
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?))
    });
    let too_large = body.is_err();
    let body = body.map(|bytes| bytes.to_vec()).unwrap_or_default();
    let request = HttpRequest::new(parts.method.as_str(), target, headers, body);
    if service == Service::Sts && request.path.starts_with(control::PREFIX) {
        let now = Now::new(cloud.clock.now(), SignedDuration::ZERO);
        return whole(control::answer(&cloud, &request), now);
    }
    let call = Call {
        cloud: &cloud,
        service,
        name: match service {
            Service::Sts => sts::counted_name(&sts::action(&request)),
            Service::Oss => Operation::of(&request, &oss::place(&cloud, &request)).name(),
            Service::Imds => metadata::counted_name(&request),
        },
        request,
        too_large,
    };
    call.run().await
}

/// One call on its way to an answer.
struct Call<'a> {
    cloud: &'a Cloud,
    service: Service,
    /// What it is counted as.
    name: &'static str,
    request: HttpRequest,
    too_large: bool,
}

impl Call<'_> {
    async fn run(self) -> Response<Body> {
        // Before the fault is taken from the queue: whoever sees that may clear the rest at once.
        let cleared = self.cloud.faults.cleared();
        let Some(fault) = self.cloud.faults.strike(self.name, self.cloud.clock.now()) else {
            return self.proceed(SignedDuration::ZERO, Twist::None, None);
        };
        let kind = fault.kind();
        match fault {
            Fault::Delay { millis } => {
                let delay = Duration::from_millis(millis.min(LONGEST_DELAY_MILLIS));
                let _ = tokio::time::timeout(delay, cleared).await;
                self.proceed(SignedDuration::ZERO, Twist::None, None)
            }
            Fault::WrongDate { offset_seconds } => {
                let offset = SignedDuration::from_secs(offset_seconds);
                self.proceed(offset, Twist::None, None)
            }
            Fault::Expired {} => self.proceed(SignedDuration::ZERO, Twist::Expired, Some(kind)),
            Fault::Empty {} => self.proceed(SignedDuration::ZERO, Twist::Empty, Some(kind)),
            Fault::Beyond {} => self.proceed(SignedDuration::ZERO, Twist::Beyond, Some(kind)),
            Fault::HalfBody {} => {
                self.count_fault(kind);
                let now = Now::new(self.cloud.clock.now(), SignedDuration::ZERO);
                let reply = self.answer(now, Twist::None);
                let length = reply.body.len();
                let body = broken::halfway(&reply.body);
                let mut response = head(reply, now, body);
                response
                    .headers_mut()
                    .insert(CONTENT_LENGTH, HeaderValue::from(length));
                response
            }
            Fault::Hang {} => {
                self.count_fault(kind);
                let _ = tokio::time::timeout(HANG, cleared).await;
                Response::new(broken::at_once())
            }
            Fault::Reset {} => {
                self.count_fault(kind);
                Response::new(broken::at_once())
            }
            Fault::Html {} => {
                self.count_fault(kind);
                let page = "<!DOCTYPE html><html><head><title>Sign in</title></head>\
                            <body><h1>Sign in to the network</h1></body></html>\n";
                self.finish(Reply::ok("text/html", page))
            }
            Fault::Unsuccessful { code } => {
                self.count_fault(kind);
                self.finish(metadata::unsuccessful(self.cloud, &code))
            }
            Fault::Error {
                code,
                status,
                message,
            } => {
                self.count_fault(kind);
                let status = status.unwrap_or(match (code.as_str(), self.service) {
                    ("InternalError", _) => 500,
                    ("ServiceUnavailable", _) => 503,
                    ("NoPermission" | "AccessDenied", _) => 403,
                    (code, _) if code.ends_with(".NotFound") => 404,
                    (code, _) if code.starts_with("EntityNotExist") => 404,
                    (_, Service::Oss) => 403,
                    (_, Service::Imds) => 404,
                    (_, Service::Sts) => 400,
                });
                let message = message.unwrap_or_else(|| "Scripted by a fault.".to_owned());
                self.finish(self.refuse(code, status, message))
            }
            Fault::Throttle { retry_after_millis } => {
                self.count_fault(kind);
                let reply = self.refuse(
                    "Throttling.User".to_owned(),
                    400,
                    "Request was denied due to user flow control.".to_owned(),
                );
                self.finish(match retry_after_millis {
                    Some(millis) => reply.with("x-acs-retry-after", millis.to_string()),
                    None => reply,
                })
            }
        }
    }

    /// Answers and counts; a fault that bent a good answer is counted as the fault.
    fn proceed(&self, offset: SignedDuration, twist: Twist, fault: Option<&str>) -> Response<Body> {
        let now = Now::new(self.cloud.clock.now(), offset);
        let reply = self.answer(now, twist);
        match fault {
            Some(kind) if reply.outcome == "ok" => self.count_fault(kind),
            _ => hold(&self.cloud.stats).count(self.name, &reply.outcome),
        }
        whole(reply, now)
    }

    fn answer(&self, now: Now, twist: Twist) -> Reply {
        match self.service {
            Service::Sts if self.too_large => {
                sts_answer::refusal(self.format(), &StsError::RequestTooLarge)
            }
            Service::Sts => sts::answer(self.cloud, &self.request, now, twist),
            Service::Oss if self.too_large => {
                oss::refusal(&self.request, &OssError::EntityTooLarge)
            }
            Service::Oss => oss::answer(self.cloud, &self.request, now),
            Service::Imds => metadata::answer(self.cloud, &self.request, now, twist),
        }
    }

    fn refuse(&self, code: String, status: u16, message: String) -> Reply {
        match self.service {
            Service::Sts => {
                let error = StsError::Scripted {
                    code,
                    status,
                    message,
                };
                sts_answer::refusal(self.format(), &error)
            }
            Service::Oss => {
                let error = OssError::Scripted {
                    code,
                    status,
                    message,
                };
                oss::refusal(&self.request, &error)
            }
            Service::Imds => metadata::refusal(code, status, &message),
        }
    }

    fn format(&self) -> Format {
        sts::format_of(&self.request).unwrap_or(Format::Xml)
    }

    fn finish(&self, reply: Reply) -> Response<Body> {
        whole(
            reply,
            Now::new(self.cloud.clock.now(), SignedDuration::ZERO),
        )
    }

    fn count_fault(&self, kind: &str) {
        hold(&self.cloud.stats).count(self.name, &format!("fault:{kind}"));
    }
}

fn whole(mut reply: Reply, now: Now) -> Response<Body> {
    let body = Body::from(std::mem::take(&mut reply.body));
    head(reply, now, body)
}

/// Status and headers. `Date` is ours, never hyper's: a fault may shift it.
fn head(reply: Reply, now: Now, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_REQUEST);
    let own = reply
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(reply.meta)
        .chain([
            ("date".to_owned(), http_date(now.by_server)),
            ("server".to_owned(), "stsd-emulator".to_owned()),
        ]);
    for (name, value) in own {
        let name = HeaderName::try_from(name);
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
