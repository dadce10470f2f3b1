//! HTTP around the services: reads a request, and returns the response of its service.

pub(crate) mod call;
pub(crate) mod listener;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::Response,
};
use http_body::Body as _;

use crate::{
    control::routes,
    http::request::HttpRequest,
    imds, oss,
    server::call::{Call, Service},
    state::{EmulatorState, objects::MAX_BODY_BYTES},
    sts,
};

/// Maximum body of a request to STS, above the size of an assertion of 100,000 characters of which
/// some are escaped as three.
const MAX_STS_BODY_BYTES: usize = 256 * 1024;

#[derive(Clone)]
struct Context {
    state: Arc<EmulatorState>,
    service: Service,
}

/// Returns a router with one handler for all requests to a service.
pub(crate) fn router(state: Arc<EmulatorState>, service: Service) -> Router {
    Router::new()
        .fallback(handle)
        .with_state(Context { state, service })
}

async fn handle(State(context): State<Context>, request: Request) -> Response<Body> {
    let Context { state, service } = context;
    let (parts, body) = request.into_parts();
    let max_body_bytes = match service {
        Service::Sts | Service::Imds => MAX_STS_BODY_BYTES,
        Service::Oss => MAX_BODY_BYTES,
    };
    // A body that is announced as too large is not read.
    let is_too_large = body.size_hint().lower() > max_body_bytes as u64;
    let body = match is_too_large {
        true => None,
        false => to_bytes(body, max_body_bytes).await.ok(),
    };
    let is_too_large = body.is_none();
    let body = body.unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("/", |t| t.as_str());
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?))
    });
    let request = HttpRequest::new(parts.method.as_str(), target, headers, body);
    if service == Service::Sts && request.path.starts_with(routes::PREFIX) {
        return call::response(routes::respond(&state, &request), call::now(&state));
    }
    let action = match service {
        Service::Sts => sts::service::counted_action(&request),
        Service::Oss => oss::service::counted_action(&state, &request),
        Service::Imds => imds::service::counted_action(&request),
    };
    let call = Call {
        state: &state,
        service,
        action,
        request,
        is_too_large,
    };
    call.run().await
}
